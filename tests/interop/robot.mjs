// A person at a browser, in one file: keeps cookies, follows redirects, presses the button that says yes.
//
//   node robot.mjs AUTHORIZE_URL     prints, as the last line, the URL the client's callback was called with
//
// It sends what Chromium sends with a navigation (Origin on POST, Sec-Fetch-*), because the gateway may look at it.
// A login form it fills with ROBOT_USERNAME and ROBOT_PASSWORD.
// It never presses a button that denies or switches accounts. Steps are told on stderr, without query strings.
import http from 'node:http';
import { pathToFileURL } from 'node:url';

const NEVER = /^(cancel|deny|decline|reject|switch|logout|sign[ -]?out|use another account|connect)\b/i;
const YES = /^(approve|allow|authorize|continue|accept)\b/i;
const KNOWN = { username: process.env.ROBOT_USERNAME, password: process.env.ROBOT_PASSWORD };
const MAX_STEPS = 30;

/** Cookies by host, as browsers keep them: the port does not count. */
class CookieJar {
  #cookies = new Map();

  store(url, headers = []) {
    for (const header of headers) {
      const [pair, ...attributes] = header.split(';').map((part) => part.trim());
      const [name, value] = splitOnce(pair, '=');
      const given = new Map(attributes.map((a) => splitOnce(a, '=')).map(([k, v]) => [k.toLowerCase(), v]));
      if (name.startsWith('__Host-') && !(given.has('secure') && given.get('path') === '/' && !given.has('domain')))
        throw new Error(`the cookie ${name} breaks the __Host- rules`);
      const path = given.get('path') || '/';
      const key = `${url.hostname} ${path} ${name}`;
      const gone = given.get('max-age') === '0' || Date.parse(given.get('expires') ?? '') < Date.now();
      if (gone) this.#cookies.delete(key);
      else this.#cookies.set(key, { host: url.hostname, path, pair: `${name}=${value}` });
    }
  }

  header(url) {
    const fits = ({ host, path }) =>
      host === url.hostname &&
      (url.pathname === path || url.pathname.startsWith(path.endsWith('/') ? path : `${path}/`));
    return [...this.#cookies.values()].filter(fits).map((c) => c.pair).join('; ');
  }
}

function splitOnce(text, separator) {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

function unescapeHtml(text) {
  const named = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) =>
    hex ? String.fromCodePoint(parseInt(hex, 16)) : decimal ? String.fromCodePoint(+decimal) : named[name] ?? whole);
}

function attributesOf(tag) {
  const found = {};
  for (const [, name, , double, single, bare] of tag.matchAll(
    /\s([a-zA-Z-]+)(\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+)))?/g)) {
    found[name.toLowerCase()] = unescapeHtml(double ?? single ?? bare ?? '');
  }
  return found;
}

function textOf(html) {
  return unescapeHtml(html.replace(/<(style|script)[\s\S]*?<\/\1>/gi, ' ').replace(/<[^>]+>/g, ' '))
    .replace(/\s+/g, ' ').trim();
}

/** The forms of a page: method, action, fields and buttons in order. */
export function formsOf(html) {
  return [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map(([, head, body]) => {
    const { action = '', method = 'get' } = attributesOf(` ${head}`);
    const fields = [];
    const buttons = [];
    // A label belongs to a button alone: an input has no end tag, and must not reach to the next button's.
    for (const [tag, label] of body.matchAll(/<input\b(?:"[^"]*"|'[^']*'|[^>])*>|<button\b(?:"[^"]*"|'[^']*'|[^>])*>([\s\S]*?)<\/button>/gi)) {
      const kind = /^<button/i.test(tag) ? 'button' : 'input';
      const head = tag.match(/^<\w+((?:"[^"]*"|'[^']*'|[^>])*)>/)[1];
      const a = attributesOf(head);
      if ('disabled' in a) continue;
      const type = (a.type ?? (kind.toLowerCase() === 'button' ? 'submit' : 'text')).toLowerCase();
      if (type === 'submit') buttons.push({ ...a, label: textOf(label ?? a.value ?? '') });
      else if (['checkbox', 'radio'].includes(type)) { if ('checked' in a) fields.push([a.name, a.value ?? 'on']); }
      else if (a.name && type !== 'button') fields.push([a.name, a.value || (type === 'email' ? 'robot@example.com' : KNOWN[a.name] ?? '')]);
    }
    return { action, method: method.toLowerCase(), fields, buttons };
  });
}

/** The button a willing person presses: what they came for, an outspoken yes anywhere on the page, else the first that is no refusal. */
export function chooseButton(forms, wanted) {
  const pressable = forms.flatMap((form) => form.buttons.map((button) => ({ form, button })))
    .filter(({ button }) => ![button.value, button.label].some((word) => NEVER.test(word ?? '')));
  const said = (words) => pressable.find(({ button }) => [button.value, button.label].some((word) => words?.test(word ?? '')));
  return said(wanted) ?? said(YES) ?? pressable[0];
}

function relation(from, to) {
  if (from.origin === to.origin) return 0;
  return from.protocol === to.protocol && from.hostname === to.hostname ? 1 : 2;
}

function send(url, { method, body, cookie, site, origin }) {
  const headers = {
    'User-Agent': 'Mozilla/5.0 (X11; Linux x64) doorward-robot',
    Accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
    'Accept-Language': 'en',
    'Sec-Fetch-Site': site, 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document', 'Sec-Fetch-User': '?1',
    'Upgrade-Insecure-Requests': '1',
  };
  if (cookie) headers.Cookie = cookie;
  if (origin) headers.Origin = origin;
  if (body !== undefined) {
    headers['Content-Type'] = 'application/x-www-form-urlencoded';
    headers['Content-Length'] = Buffer.byteLength(body);
  }
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers, agent: false, timeout: 60_000 }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() }));
      response.on('error', reject);
    });
    request.on('timeout', () => request.destroy(new Error(`no answer from ${url.origin}${url.pathname} in a minute`)));
    request.on('error', reject);
    request.end(body);
  });
}

/**
 * Walks from an authorize URL to the client's callback.
 * `redirectUri` tells the callback; by default the one named in the URL. `visit: false` does not call it.
 * `as` is the address of the person who signs in at WorkOS, or at a double of it; by default its first.
 * `press` tells the button that they prefer where there are several.
 * Gives the URL the callback was (or would be) called with, and the pages met on the way.
 */
export async function browse(start, { redirectUri, visit = true, jar = new CookieJar(), as, press, log = () => {} } = {}) {
  let url = new URL(start);
  const target = new URL(redirectUri ?? url.searchParams.get('redirect_uri') ?? 'none:');
  const isCallback = (u) => u.protocol === target.protocol && u.host === target.host && u.pathname === target.pathname;
  let step = { method: 'GET' };
  let initiator; // the page whose form started this chain of redirects
  let distance = 0;
  const pages = [];

  for (let count = 0; count < MAX_STEPS; count++) {
    if (initiator) distance = Math.max(distance, relation(initiator, url));
    const site = initiator ? ['same-origin', 'same-site', 'cross-site'][distance] : 'none';
    const answer = await send(url, { ...step, cookie: jar.header(url), site });
    jar.store(url, answer.headers['set-cookie']);
    log(`${step.method} ${url.origin}${url.pathname} → ${answer.status}`);

    if (answer.status >= 300 && answer.status < 400 && answer.headers.location) {
      url = new URL(answer.headers.location, url);
      if (as && url.pathname === '/user_management/authorize') url.searchParams.set('login_hint', as);
      if (isCallback(url) || !url.protocol.startsWith('http')) {
        if (visit && url.protocol === 'http:') await send(url, { method: 'GET', site }).catch(() => {});
        return { url: url.href, pages };
      }
      step = [307, 308].includes(answer.status) ? step : { method: 'GET' };
      continue;
    }
    pages.push({ url: `${url.origin}${url.pathname}`, text: textOf(answer.body) });
    const choice = answer.status === 200 ? chooseButton(formsOf(answer.body), press) : undefined;
    if (!choice) throw new Error(`stuck at ${url.origin}${url.pathname} (${answer.status}): ${textOf(answer.body).slice(0, 600)}`);
    const { form, button } = choice;
    const data = new URLSearchParams(form.fields);
    if (button.name) data.append(button.name, button.value ?? '');
    log(`  press "${button.label}"${button.name ? ` (${button.name}=${button.value})` : ''}`);
    initiator = url;
    distance = 0;
    const action = button.formaction ?? form.action;
    url = action ? new URL(action, url) : new URL(url);
    if (form.method === 'post') step = { method: 'POST', body: data.toString(), origin: initiator.origin };
    else { url.search = data.toString(); step = { method: 'GET' }; }
  }
  throw new Error(`more than ${MAX_STEPS} steps without reaching the client's callback`);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { url } = await browse(process.argv[2], { log: (line) => console.error(line) });
  console.log(url);
}

// A real browser logs in and decides, in every way a client may want its answer; pictures of every page on the way.
//
//   node chromium.mjs MCP_URL FOLDER
//
// What must hold (CONS-11): the answer arrives at the client's redirect URI and no Content-Security-Policy stops it on the
// way, for loopback, private-use and https redirects that hop on to a private-use scheme. Chromium enforces `form-action`
// on every redirect that follows a POST, which no other client of ours would notice. A control page, whose policy does
// block, shows that the watch would see it. Nothing needs a script; nothing can be framed (CONS-10); a double click on
// Approve gives one code (CONS-12); a person takes back what they approved (REV-4).
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { createHash, randomBytes } from 'node:crypto';
import { chromium } from 'playwright-core';
import { discover } from './obtain_token.mjs';
import { picture } from './person.mjs';

const [mcpUrl, folder] = process.argv.slice(2);
const NEVER = /^\s*(cancel|deny|decline|reject|switch|logout|sign[ -]?out|use another account|connect)\b/i;
const NO = /^\s*cancel\b/i;
const YES = /^\s*(approve|allow|authorize|continue|accept)\b/i;
const CURSOR = 'cursor://anysphere.cursor-mcp/oauth/callback';
const VSCODE = 'vscode://vscode.mcp/oauth/callback';
const HOST = 'client.example';
const HTTPS = `https://${HOST}/oauth/callback`;
const POLICY = /content security policy|form-action|csp/i;

async function button(page, decision) {
  if (decision === 'cancel' && new URL(page.url()).pathname.endsWith('/oauth/consent')) {
    const consent = page.getByRole('button', { name: NO });
    if ((await page.getByRole('button', { name: /^approve$/i }).count()) > 0) return consent;
  }
  const candidates = [];
  for (const element of await page.locator('button, input[type=submit]').all()) {
    if (!(await element.isVisible()) || !(await element.isEnabled())) continue;
    const words = [await element.textContent(), await element.getAttribute('value')].filter(Boolean);
    if (!words.some((word) => NEVER.test(word))) candidates.push({ element, yes: words.some((word) => YES.test(word)) });
  }
  return (candidates.find(({ yes }) => yes) ?? candidates[0])?.element;
}

// What a page was refused, by its own account and by Chromium's.
async function watched(context) {
  const page = await context.newPage();
  const problems = [];
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(message.text());
  });
  page.on('requestfailed', (request) => {
    if (/csp/i.test(request.failure()?.errorText ?? '')) problems.push(`${new URL(request.url()).origin}: ${request.failure().errorText}`);
  });
  // This also covers redirects that no page sees.
  const devtools = await context.newCDPSession(page);
  await devtools.send('Network.enable');
  devtools.on('Network.loadingFailed', (event) => {
    if (event.blockedReason) problems.push(`blocked: ${event.blockedReason}`);
  });
  return { page, problems, blocked: () => problems.filter((problem) => POLICY.test(problem)) };
}

function request({ metadata, clientId, resource, redirectUri }) {
  const state = randomBytes(16).toString('base64url');
  const authorize = new URL(metadata.authorization_endpoint);
  authorize.search = new URLSearchParams({
    response_type: 'code', client_id: clientId, redirect_uri: redirectUri, resource, state,
    code_challenge: createHash('sha256').update(randomBytes(32).toString('base64url')).digest('base64url'),
    code_challenge_method: 'S256',
  });
  return { authorize: authorize.href, state };
}

// Waits for something that comes at once but where the machine is busy.
async function until(page, reached) {
  for (let waited = 0; waited < 60_000 && !reached(); waited += 50) await page.waitForTimeout(50);
}

// From the client's request to its redirect URI. `hop` is where that sends the browser on to.
async function journey(context, { name, decision = 'approve', clicks = 1, hop, ...client }) {
  const { page, problems, blocked } = await watched(context);
  const { metadata, redirectUri } = client;
  const arrivals = [];
  let hopped = !hop;
  let shown = 0;
  page.on('framenavigated', (frame) => { if (frame === page.mainFrame()) shown += 1; });
  const watch = (url) => {
    if (url?.startsWith(redirectUri)) arrivals.push(url);
    if (hop && url?.startsWith(hop)) hopped = true;
  };
  page.on('request', (sent) => watch(sent.url()));
  // Holds the answer to an approval back until the second click has come.
  const approvals = [];
  let bothCame;
  const both = new Promise((came) => { bothCame = came; });
  if (clicks > 1) await page.route((url) => url.pathname.endsWith('/oauth/consent'), async (route) => {
    if (!route.request().postData()?.includes('decision=approve')) return route.fallback();
    const response = await route.fetch({ maxRedirects: 0 });
    approvals.push(response.headers().location);
    if (approvals.length === clicks) bothCame();
    await both;
    // The second click has given the first one up.
    return route.fulfill({ response }).catch(() => {});
  });
  page.on('response', (response) => watch(response.headers().location));
  const { authorize, state } = request(client);
  await page.goto(authorize);
  for (let step = 1; arrivals.length === 0 && step <= 8; step += 1) {
    await picture(page, path.join(folder, `${name}-${step}.png`));
    const pressed = await button(page, decision);
    if (!pressed) throw new Error(`${name}: no button to press at ${new URL(page.url()).pathname}: ${await page.locator('body').innerText()}`);
    const words = (await pressed.textContent())?.trim();
    console.log(`${name} ${step}: ${await page.title()} → "${words}"`);
    const before = shown;
    if (clicks === 2 && /^approve$/i.test(words)) {
      await pressed.scrollIntoViewIfNeeded();
      const { x, y, width, height } = await pressed.boundingBox();
      await page.mouse.dblclick(x + width / 2, y + height / 2, { delay: 60 });
    }
    else await pressed.click({ noWaitAfter: true });
    await until(page, () => arrivals.length > 0 || shown > before || blocked().length > 0);
    if (arrivals.length === 0 && shown === before && blocked().length === 0) throw new Error(`${name}: nothing came of "${words}"`);
    await page.waitForLoadState('domcontentloaded').catch(() => {});
    if (blocked().length > 0) throw new Error(`${name}: stopped by a policy: ${blocked().join('; ')}`);
  }
  await page.waitForTimeout(300);
  await until(page, () => hopped || blocked().length > 0);
  if (blocked().length > 0) throw new Error(`${name}: stopped by a policy: ${blocked().join('; ')}`);
  await page.close();
  if (arrivals.length === 0) throw new Error(`${name}: the browser never went to ${redirectUri}: ${problems.join('; ')}`);
  if (clicks > 1 && approvals.length !== clicks) throw new Error(`${name}: ${clicks} clicks posted ${approvals.length} forms`);
  if (!hopped) throw new Error(`${name}: the browser did not go on to ${hop}: ${problems.join('; ')}`);
  for (const arrived of arrivals) {
    const answer = new URL(arrived).searchParams;
    const fits = decision === 'approve' ? answer.get('code') : answer.get('error') === 'access_denied' && !answer.has('code');
    if (!fits || answer.get('state') !== state || answer.get('iss') !== metadata.issuer)
      throw new Error(`${name}: the answer is not what it should be: ${[...answer.keys()].join(' ')} ${answer.get('error') ?? ''}`);
  }
  console.log(`${name}: arrived (${decision})`);
  return new Set([...arrivals, ...approvals].map((url) => new URL(url).searchParams.get('code')));
}

// A page whose policy blocks what ours must not: the watch sees it.
async function control(context, url) {
  const { page, blocked } = await watched(context);
  await page.goto(url);
  await page.getByRole('button').click({ noWaitAfter: true });
  await until(page, () => blocked().length > 0);
  if (blocked().length === 0) throw new Error('control: a policy blocked a form and nothing was seen of it');
  await page.close();
}

// Framed by a page of the same site, so that the cookie goes along: the browser shows none of ours.
async function framing(context, client, frames) {
  const { page, problems } = await watched(context);
  await page.goto(request(client).authorize);
  const consent = page.url();
  if (!consent.includes('/oauth/consent')) throw new Error(`framing: nobody is signed in at ${consent}`);
  const origin = new URL(consent).origin;
  for (const framed of [consent, `${origin}/account`, `${origin}/oauth/logout`, `${origin}/oauth/authorize`]) {
    const before = problems.length;
    await page.goto(frames(framed));
    const refusals = () => problems.slice(before).filter((problem) => /frame-ancestors|x-frame-options/i.test(problem));
    const inside = () => page.frames()[1];
    await until(page, () => refusals().length > 0 && inside()?.url().startsWith('chrome-error:'));
    if (refusals().length === 0 || !inside()?.url().startsWith('chrome-error:'))
      throw new Error(`framing: ${framed} shows in a frame at ${inside()?.url()}: ${problems.join('; ')}`);
  }
  await page.close();
}

// A person looks at what acts in their name and takes all of it back.
async function takingBack(context, origin) {
  const { page } = await watched(context);
  await page.goto(`${origin}/account`);
  await picture(page, path.join(folder, 'account.png'));
  if (!(await page.locator('body').innerText()).includes('cursor://anysphere.cursor-mcp')) throw new Error('account: Cursor is not shown');
  await page.getByRole('button', { name: 'Revoke all' }).click();
  await page.getByText('No application has access').waitFor();
  await page.close();
}

const callback = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  const html = (text, headers = {}) => response.writeHead(200, { 'content-type': 'text/html', ...headers }).end(text);
  if (url.pathname === '/control')
    html('<form method="post" action="/hop"><button>Go</button></form>', { 'content-security-policy': "form-action 'self'" });
  else if (url.pathname === '/hop') response.writeHead(303, { location: `${CURSOR}?code=x` }).end();
  else if (url.pathname === '/frame') html(`<iframe src="${url.searchParams.get('of').replaceAll('&', '&amp;')}"></iframe>`);
  else html('You can close this window.');
});
await new Promise((listening) => callback.listen(0, '127.0.0.1', listening));
const { port } = callback.address();
const loopback = `http://127.0.0.1:${port}/callback`;

// An https callback of a web application, which hands over to its desktop program.
const keys = mkdtempSync(path.join(tmpdir(), 'chromium-'));
execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
  '-keyout', 'key.pem', '-out', 'cert.pem', '-subj', `/CN=${HOST}`], { cwd: keys, stdio: 'pipe' });
const web = https.createServer(
  { key: readFileSync(path.join(keys, 'key.pem')), cert: readFileSync(path.join(keys, 'cert.pem')) },
  (request, response) => {
    const { search } = new URL(request.url, HTTPS);
    response.writeHead(302, { location: `claude://oauth/callback${search}` }).end();
  },
);
await new Promise((listening) => web.listen(0, '127.0.0.1', listening));

const { prm, metadata } = await discover(mcpUrl);
const register = async (body) => {
  const answer = await fetch(metadata.registration_endpoint, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
  });
  if (answer.status !== 201) throw new Error(`registration answered ${answer.status}: ${await answer.text()}`);
  return (await answer.json()).client_id;
};

const client = async (name, redirectUri, extra = {}) => ({
  metadata, resource: prm.resource, redirectUri,
  clientId: await register({ client_name: name, redirect_uris: [redirectUri], token_endpoint_auth_method: 'none', ...extra }),
});

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', `--host-resolver-rules=MAP ${HOST}:443 127.0.0.1:${web.address().port}`, '--ignore-certificate-errors'],
});
const fresh = (options) => browser.newContext({ ignoreHTTPSErrors: true, ...options });
const wide = { viewport: { width: 1280, height: 900 }, colorScheme: 'light' };
const narrow = { viewport: { width: 390, height: 844 }, colorScheme: 'dark', javaScriptEnabled: false };
try {
  await control(await fresh(wide), `http://localhost:${port}/control`);
  const desk = await client('Desk client', loopback);
  // As Cursor registers: three redirect URIs in one body, one of them private-use, "web" all the same.
  const cursor = await client('Cursor', CURSOR, {
    application_type: 'web', grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
    redirect_uris: [CURSOR, 'https://www.cursor.com/agents/mcp/oauth/callback', 'http://localhost:8787/callback'],
  });
  const code = await client('Visual Studio Code', VSCODE);
  const app = await client('Desktop app', HTTPS);
  for (const [name, who, options] of [['loopback', desk, wide], ['cursor', cursor, narrow], ['vscode', code, wide], ['https', app, narrow]]) {
    const hop = who === app ? 'claude://' : undefined;
    const context = await fresh(options);
    await journey(context, { name, hop, ...who });
    await journey(context, { name: `${name}-cancelled`, decision: 'cancel', hop, ...who });
    await context.close();
  }
  for (const options of [wide, narrow]) {
    const context = await fresh(options);
    const codes = await journey(context, { name: 'double-click', clicks: 2, ...desk });
    if (codes.size !== 1) throw new Error(`double-click: ${codes.size} codes`);
    await framing(context, cursor, (url) => `http://localhost:${port}/frame?of=${encodeURIComponent(url)}`);
    await journey(context, { name: 'again', ...cursor });
    await takingBack(context, new URL(metadata.authorization_endpoint).origin);
    await context.close();
  }
  console.log('PASS chromium');
} catch (error) {
  console.log(`FAIL chromium: ${error.stack}`);
  process.exitCode = 1;
} finally {
  await browser.close();
  callback.close();
  web.close();
}

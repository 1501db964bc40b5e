// A person in Chromium: signs in at the gateway, connects what is behind it with an account there, and approves.
//
//   node person.mjs URL EMAIL ACCOUNT COOKIES [UNTIL]
//
// Goes to URL and on until the browser is sent to UNTIL, by default the `redirect_uri` in URL, or until no page has a
// button to press. Cookies stay in the file COOKIES. Prints one JSON line {arrived, pages, pressed}.
import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const NEVER = /^\s*(cancel|deny|decline|use another account|sign[ -]?out|disconnect|revoke)\b/i;
/** What a person presses first where it stands beside others. */
const FIRST = [/^\s*(re)?connect\b/i, /^\s*(approve|allow|authorize|continue|accept)\b/i];
const POLICY = /content security policy|form-action/i;
const STEPS = 12;
/** Milliseconds that a page may take to come after a button was pressed: far longer than any does. */
const PATIENCE = 60_000;

export const launch = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });

/** For people to look at. A browser under load sometimes has none to give, which says nothing of the pages. */
export async function picture(page, path) {
  await page.screenshot({ path, fullPage: true }).catch((error) =>
    console.error(`no picture ${path}: ${error.message.split('\n')[0]}`));
}

export class Person {
  /** `email` is whom WorkOS or a double of it signs in; `account` is whose account at the upstream it is. */
  static async open(browser, { email, account, cookies, screenshots }) {
    const storageState = cookies && existsSync(cookies) ? cookies : undefined;
    return Object.assign(new Person(), { email, account, screenshots, context: await browser.newContext({ storageState }), taken: 0 });
  }

  /** Walks from `start` as far as it goes. Gives where the browser was sent in the end, the pages and the buttons. */
  async visit(start, until = new URL(start).searchParams.get('redirect_uri') ?? 'none:') {
    const page = await this.context.newPage();
    const [pages, pressed, problems] = [[], [], []];
    let arrived;
    let shown = 0;
    page.on('framenavigated', (frame) => { if (frame === page.mainFrame()) shown += 1; });
    page.on('request', (request) => { if (request.url().startsWith(until)) arrived ??= request.url(); });
    page.on('console', (message) => { if (POLICY.test(message.text())) problems.push(message.text()); });
    // Hints at the person on the way to the login: also where a redirect goes there, which a page's routes do not see.
    const devtools = await this.context.newCDPSession(page);
    await devtools.send('Fetch.enable', { patterns: [{ urlPattern: '*/user_management/authorize*' }] });
    devtools.on('Fetch.requestPaused', ({ requestId, request }) => {
      const url = new URL(request.url);
      url.searchParams.set('login_hint', this.email);
      devtools.send('Fetch.continueRequest', { requestId, url: url.href }).catch(() => {});
    });
    try {
      await page.goto(start).catch((error) => { if (!arrived) throw error; });
      for (let step = 0; !arrived && step < STEPS; step += 1) {
        pages.push({ url: page.url().split('?')[0], title: await page.title(), text: await page.locator('body').innerText() });
        if (this.screenshots) await picture(page, `${this.screenshots}/${this.account}-${this.taken += 1}.png`);
        const wanted = await this.#button(page);
        if (!wanted) break;
        pressed.push(wanted.words);
        const before = shown;
        await wanted.element.click({ noWaitAfter: true });
        for (let waited = 0; waited < PATIENCE && !arrived && shown === before; waited += 50) await page.waitForTimeout(50);
        await page.waitForLoadState('domcontentloaded').catch(() => {});
        if (problems.length > 0) throw new Error(`stopped by a policy: ${problems.join('; ')}`);
      }
      return { arrived, pages, pressed };
    } finally {
      await page.close();
    }
  }

  async #button(page) {
    const found = [];
    for (const element of await page.locator('button, input[type=submit], a.button, a[role=button]').all()) {
      if (!(await element.isVisible()) || !(await element.isEnabled())) continue;
      const words = (await element.textContent())?.trim() || (await element.getAttribute('value')) || '';
      if (!NEVER.test(words) && (!/^Sign in as /.test(words) || words === `Sign in as ${this.account}`)) found.push({ element, words });
    }
    for (const pattern of FIRST) {
      const first = found.find(({ words }) => pattern.test(words));
      if (first) return first;
    }
    return found[0];
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [url, email, account, cookies, until] = process.argv.slice(2);
  const browser = await launch();
  try {
    const person = await Person.open(browser, { email, account, cookies });
    console.log(JSON.stringify(await person.visit(url, until)));
    await person.context.storageState({ path: cookies });
  } finally {
    await browser.close();
  }
}

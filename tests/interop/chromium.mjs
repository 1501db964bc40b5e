// A real browser logs in and consents, twice; pictures of every page on the way.
//
//   node chromium.mjs MCP_URL FOLDER
//
// 1. a loopback redirect, wide and light; 2. Cursor's private-use redirect, narrow, dark and without JavaScript.
// What must hold (CONS-11): the approval arrives at the client's redirect URI and no Content-Security-Policy stops it.
// Chromium enforces `form-action` on the redirects that follow a POST, which no other client of ours would notice.
import http from 'node:http';
import path from 'node:path';
import { createHash, randomBytes } from 'node:crypto';
import { chromium } from 'playwright-core';
import { discover } from './obtain_token.mjs';

const [mcpUrl, folder] = process.argv.slice(2);
const NEVER = /^\s*(cancel|deny|decline|reject|switch|logout|sign[ -]?out|use another account|connect)\b/i;
const YES = /^\s*(approve|allow|authorize|continue|accept)\b/i;
const CURSOR = 'cursor://anysphere.cursor-mcp/oauth/callback';

async function button(page) {
  const candidates = [];
  for (const element of await page.locator('button, input[type=submit]').all()) {
    if (!(await element.isVisible()) || !(await element.isEnabled())) continue;
    const words = [await element.textContent(), await element.getAttribute('value')].filter(Boolean);
    if (!words.some((word) => NEVER.test(word))) candidates.push({ element, yes: words.some((word) => YES.test(word)) });
  }
  return (candidates.find(({ yes }) => yes) ?? candidates[0])?.element;
}

async function journey(browser, { name, metadata, clientId, resource, redirectUri, context: options }) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const problems = [];
  let arrived;
  const watch = (url) => { if (url?.startsWith(redirectUri)) arrived ??= url; };
  page.on('request', (request) => watch(request.url()));
  page.on('response', (response) => watch(response.headers().location));
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(message.text());
  });
  page.on('requestfailed', (request) => {
    if (/csp/i.test(request.failure()?.errorText ?? '')) problems.push(`${new URL(request.url()).origin}: ${request.failure().errorText}`);
  });
  // Chromium's own account of why a request ended, which also covers redirects that no page sees.
  const devtools = await context.newCDPSession(page);
  await devtools.send('Network.enable');
  devtools.on('Network.loadingFailed', (event) => {
    if (event.blockedReason) problems.push(`blocked: ${event.blockedReason}`);
  });

  const verifier = randomBytes(32).toString('base64url');
  const state = randomBytes(16).toString('base64url');
  const authorize = new URL(metadata.authorization_endpoint);
  authorize.search = new URLSearchParams({
    response_type: 'code', client_id: clientId, redirect_uri: redirectUri, resource, state,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256',
  });
  await page.goto(authorize.href);
  for (let step = 1; !arrived && step <= 8; step += 1) {
    const picture = path.join(folder, `${name}-${step}.png`);
    await page.screenshot({ path: picture, fullPage: true });
    const pressed = await button(page);
    if (!pressed) throw new Error(`${name}: no button to press at ${new URL(page.url()).pathname}: ${await page.locator('body').innerText()}`);
    console.log(`${name} ${step}: ${await page.title()} → "${(await pressed.textContent())?.trim()}"`);
    const before = page.url();
    await pressed.click({ noWaitAfter: true });
    for (let waited = 0; waited < 100 && !arrived; waited += 1) {
      await page.waitForTimeout(50);
      if (page.url() !== before && waited > 4) break;
    }
    await page.waitForLoadState('domcontentloaded').catch(() => {});
    const policy = problems.filter((problem) => /content security policy|form-action|csp/i.test(problem));
    if (policy.length > 0) throw new Error(`${name}: stopped by a policy: ${policy.join('; ')}`);
  }
  await page.waitForTimeout(300);
  await context.close();
  if (!arrived) throw new Error(`${name}: the browser never went to ${redirectUri}: ${problems.join('; ')}`);
  const answer = new URL(arrived).searchParams;
  if (!answer.get('code') || answer.get('state') !== state || answer.get('iss') !== metadata.issuer)
    throw new Error(`${name}: the callback lacks code, state or iss: ${[...answer.keys()].join(' ')} ${answer.get('error') ?? ''}`);
  console.log(`${name}: arrived with code, state and iss`);
}

let called = 0;
const callback = http.createServer((request, response) => {
  if (request.url.startsWith('/callback')) called += 1;
  response.writeHead(200, { 'content-type': 'text/plain' }).end('You can close this window.');
});
await new Promise((listening) => callback.listen(0, '127.0.0.1', listening));
const loopback = `http://127.0.0.1:${callback.address().port}/callback`;

const { prm, metadata } = await discover(mcpUrl);
const register = async (body) => {
  const answer = await fetch(metadata.registration_endpoint, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
  });
  if (answer.status !== 201) throw new Error(`registration answered ${answer.status}: ${await answer.text()}`);
  return (await answer.json()).client_id;
};

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
try {
  await journey(browser, {
    name: 'loopback', metadata, resource: prm.resource, redirectUri: loopback,
    clientId: await register({ client_name: 'Desk client', redirect_uris: [loopback], token_endpoint_auth_method: 'none' }),
    context: { viewport: { width: 1280, height: 900 }, colorScheme: 'light' },
  });
  if (called !== 1) throw new Error(`the loopback callback was called ${called} times`);
  // As Cursor registers: three redirect URIs in one body, one of them private-use, "web" all the same.
  await journey(browser, {
    name: 'cursor', metadata, resource: prm.resource, redirectUri: CURSOR,
    clientId: await register({
      client_name: 'Cursor', application_type: 'web', token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
      redirect_uris: [CURSOR, 'https://www.cursor.com/agents/mcp/oauth/callback', 'http://localhost:8787/callback'],
    }),
    context: { viewport: { width: 390, height: 844 }, colorScheme: 'dark', javaScriptEnabled: false },
  });
  console.log('PASS chromium');
} catch (error) {
  console.log(`FAIL chromium: ${error.stack}`);
  process.exitCode = 1;
} finally {
  await browser.close();
  callback.close();
}

// A person without the role is kept out and takes another account; one with it approves, signs out, and is signed out at
// Keycloak too.
//
//   node chromium_keycloak.mjs MCP_URL POLICY     POLICY is derived or generic; PASSWORD_ADA and PASSWORD_BOB
import { createHash, randomBytes } from 'node:crypto';
import { chromium } from 'playwright-core';
import { discover, register } from './obtain_token.mjs';

const [mcpUrl, policy] = process.argv.slice(2);
const callback = 'http://127.0.0.1:43123/callback';
const { prm, metadata } = await discover(mcpUrl);
const origin = new URL(mcpUrl).origin;
const authorize = new URL(metadata.authorization_endpoint);
authorize.search = new URLSearchParams({
  response_type: 'code', client_id: await register(metadata, callback), redirect_uri: callback, resource: prm.resource,
  state: randomBytes(16).toString('base64url'), code_challenge_method: 'S256',
  code_challenge: createHash('sha256').update(randomBytes(32).toString('base64url')).digest('base64url'),
});

let page;
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
try {
  const context = await browser.newContext();
  context.setDefaultTimeout(120_000);
  page = await context.newPage();
  let arrived;
  await context.route((url) => url.href.startsWith(callback), (route) => {
    arrived = new URL(route.request().url()).searchParams;
    return route.fulfill({ body: 'You can close this window.' });
  });
  const shows = (text) => page.getByText(text).first().waitFor();
  const logIn = async (name) => {
    await page.locator('#username').fill(name);
    await page.locator('#password').fill(process.env[`PASSWORD_${name.toUpperCase()}`]);
    await page.locator('#kc-login').click();
  };
  const signOut = async () => {
    await page.goto(`${origin}/account`);
    await page.getByRole('link', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.locator('#kc-logout').click();
    await shows('You are signed out');
    if (new URL(page.url()).origin !== origin) throw new Error(`stranded at ${page.url()}`);
  };

  await page.goto(authorize.href);
  await page.getByRole('button', { name: /^continue/i }).click();
  await logIn('bob');
  await shows('You cannot use this server');
  if (policy === 'derived') {
    await page.locator('button[value=switch]').click();
    await page.locator('#kc-logout').click();
  } else {
    await signOut();
    await page.goto(authorize.href);
  }
  await page.getByRole('button', { name: /^continue/i }).click();
  await logIn('ada');
  await shows('ada@example.com');
  await page.getByRole('button', { name: /^approve$/i }).click();
  await shows('You can close this window.');
  if (!arrived?.get('code') || arrived.get('iss') !== metadata.issuer) throw new Error(`no code: ${arrived?.get('error')}`);
  await signOut();
  await page.goto(`${origin}/account`);
  await page.getByRole('button', { name: 'Sign in' }).click();
  // Keycloak asks again: its own session is over.
  await page.locator('#password').waitFor();
  console.log(`PASS keycloak ${policy}`);
} catch (error) {
  console.log(`FAIL keycloak ${policy}: ${error.stack}`);
  const { origin, pathname } = new URL(page.url());
  console.log(`at ${origin}${pathname}: ${await page.locator('body').innerText()}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}

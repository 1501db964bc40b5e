// A person signs in through WorkOS to their own page, signs out, and is signed out at both.
//
//   node chromium_sign_out.mjs ORIGIN
import { chromium } from 'playwright-core';

const [origin] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
try {
  const context = await browser.newContext({ javaScriptEnabled: false });
  context.setDefaultTimeout(120_000);
  const page = await context.newPage();
  const ended = [];
  page.on('response', (response) => {
    const url = new URL(response.url());
    if (url.pathname === '/user_management/sessions/logout') ended.push([url.searchParams.get('session_id'), response.status()]);
  });
  const shows = (text) => page.getByText(text).first().waitFor();
  await page.goto(`${origin}/account`);
  await page.getByRole('button', { name: 'Sign in' }).click();
  // The emulator signs its first person in without a page.
  await shows('@example.com');
  await page.getByRole('link', { name: 'Sign out' }).click();
  await shows('Sign out?');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await shows('You are signed out');
  if (new URL(page.url()).origin !== origin) throw new Error(`stranded at ${page.url()}`);
  if (ended.length !== 1 || !ended[0][0]?.startsWith('session_') || ended[0][1] !== 302) throw new Error(`WorkOS was told ${JSON.stringify(ended)}`);
  await page.goto(`${origin}/account`);
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  console.log('PASS sign-out');
} catch (error) {
  console.log(`FAIL sign-out: ${error.stack}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}

// What the OAuth-protected servers behind the gateway have in common: two accounts, a page on which a person says whose
// they are, and a port of its own at which a test sees what happened and takes an account's tokens back.
import { createServer } from 'node:http';

export const ACCOUNTS = ['augusta', 'robert'];

/** A page with a button for each account, which posts `account` and `fields` to `action`. */
export function accountPage(action, fields = {}) {
  const hidden = Object.entries(fields).map(([name, value]) => `<input type="hidden" name="${name}" value="${value}">`).join('');
  const buttons = ACCOUNTS.map((account) => `<button name="account" value="${account}">Sign in as ${account}</button>`).join('');
  return `<!doctype html><title>Notes</title><h1>Notes</h1><form method="post" action="${action}">${hidden}${buttons}
<button name="account" value="">Cancel</button></form>`;
}

/** Answers every GET with `seen()`; POST /revoke-account?account=NAME calls `revoke`. Gives where. */
export async function control(seen, revoke) {
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://control');
    if (request.method === 'POST' && url.pathname === '/revoke-account') await revoke(url.searchParams.get('account'));
    response.setHeader('content-type', 'application/json').end(JSON.stringify(seen()));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${server.address().port}`;
}

/** Says where it is, in one line, and serves until stdin closes. */
export function ready(told) {
  console.log(JSON.stringify(told));
  process.stdin.resume();
  process.stdin.on('end', () => process.exit(0));
}

// A web application on an origin of its own, in Chromium: everything a client does, with `fetch` across origins.
//
//   node page.mjs MCP_URL FOLDER ORIGIN      such as https://app.example; FOLDER is for its certificate
//
// Chromium holds the page to CORS (CORS-1, CORS-3, CORS-4, CORS-7): a header it may not read is not there, an origin
// that is not allowed gets nothing. The last thing it does is the call of a tool.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { chromium } from 'playwright-core';

const [mcpUrl, folder, origin] = process.argv.slice(2);
const NEVER = /^\s*(cancel|deny|use another account)\b/i;

/** What runs in the page. It keeps its state across the redirect as such applications do. */
async function application(mcpUrl) {
  const callback = `${location.origin}/callback`;
  const json = async (url, init) => {
    const answer = await fetch(url, init);
    if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
    return answer.json();
  };
  const base64url = (bytes) =>
    btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  const message = (id, method, params) => JSON.stringify({ jsonrpc: '2.0', id, method, params });
  const headers = {
    'content-type': 'application/json', accept: 'application/json, text/event-stream', 'mcp-protocol-version': '2025-11-25',
  };
  const initialize = message(1, 'initialize', {
    protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'page', version: '1' },
  });

  if (location.pathname !== '/callback') {
    const refused = await fetch(mcpUrl, { method: 'POST', headers, body: initialize });
    const prmUrl = refused.headers.get('www-authenticate')?.match(/resource_metadata="([^"]+)"/)?.[1];
    if (refused.status !== 401 || !prmUrl) throw new Error(`no challenge to read: ${refused.status}`);
    const prm = await json(prmUrl, { headers: { 'mcp-protocol-version': '2025-11-25' } });
    const metadata = await json(`${prm.authorization_servers[0]}/.well-known/oauth-authorization-server`);
    const client = await json(metadata.registration_endpoint, {
      method: 'POST', headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ client_name: 'A page', redirect_uris: [callback], token_endpoint_auth_method: 'none' }),
    });
    const verifier = base64url(crypto.getRandomValues(new Uint8Array(32)));
    const challenge = base64url(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier)));
    sessionStorage.setItem('login', JSON.stringify({ metadata, resource: prm.resource, id: client.client_id, verifier }));
    const authorize = new URL(metadata.authorization_endpoint);
    authorize.search = new URLSearchParams({
      response_type: 'code', client_id: client.client_id, redirect_uri: callback, resource: prm.resource, state: 'from-the-page',
      code_challenge: challenge, code_challenge_method: 'S256',
    });
    location.assign(authorize);
    return;
  }

  const { metadata, resource, id, verifier } = JSON.parse(sessionStorage.getItem('login'));
  const answer = new URLSearchParams(location.search);
  if (answer.get('state') !== 'from-the-page' || answer.get('iss') !== metadata.issuer) throw new Error('not the answer to this login');
  const form = (fields) => ({ method: 'POST', body: new URLSearchParams({ client_id: id, resource, ...fields }) });
  let tokens = await json(metadata.token_endpoint,
    form({ grant_type: 'authorization_code', code: answer.get('code'), redirect_uri: callback, code_verifier: verifier }));
  tokens = await json(metadata.token_endpoint, form({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token }));

  const call = async (body, session) => {
    const reply = await fetch(mcpUrl, {
      method: 'POST', body,
      headers: { ...headers, authorization: `Bearer ${tokens.access_token}`, ...(session ? { 'mcp-session-id': session } : {}) },
    });
    if (!reply.ok) throw new Error(`the call answered ${reply.status}`);
    const text = await reply.text();
    const data = text.startsWith('{') ? text : text.split('\n').filter((line) => line.startsWith('data:')).at(-1)?.slice(5);
    return { session: reply.headers.get('mcp-session-id'), result: data?.trim() ? JSON.parse(data).result : undefined };
  };
  const { session } = await call(initialize);
  await call(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' }), session);
  const { result: { tools } } = await call(message(2, 'tools/list', {}), session);
  const tool = tools.find(({ inputSchema }) => !inputSchema.required?.length) ?? tools[0];
  const { result } = await call(message(3, 'tools/call', { name: tool.name, arguments: {} }), session);
  if (!result?.content) throw new Error(`no content from ${tool.name}`);
  await fetch(metadata.revocation_endpoint, form({ token: tokens.refresh_token }));
  document.title = `called ${tool.name}, session id ${session ? 'read' : 'none'}`;
}

const file = (name) => path.join(folder, name);
const { hostname } = new URL(origin);
execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', file('page.key'),
  '-out', file('page.pem'), '-days', '2', '-subj', `/CN=${hostname}`], { stdio: 'pipe' });
const html = `<!doctype html><title>working</title><script type="module">
${application}
application(${JSON.stringify(mcpUrl)}).catch((error) => { document.title = 'failed: ' + error.message; });
</script>`;
const server = https.createServer({ key: readFileSync(file('page.key')), cert: readFileSync(file('page.pem')) },
  (request, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(html));
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', `--host-resolver-rules=MAP ${hostname}:443 127.0.0.1:${server.address().port}`],
});
try {
  const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
  page.on('console', (line) => { if (line.type() === 'error') console.log(`console: ${line.text()}`); });
  await page.goto(origin);
  let title = '';
  for (let step = 0; step < 1_200; step += 1) {
    title = await page.title().catch(() => '');
    if (/^(called|failed)/.test(title)) break;
    // The gateway's own pages: a person presses the button that goes on.
    if (!page.url().startsWith(origin)) {
      for (const button of await page.locator('button, input[type=submit]').all().catch(() => [])) {
        const label = await button.textContent({ timeout: 500 }).catch(() => '');
        if (NEVER.test(label)) continue;
        await button.click({ timeout: 2000 }).catch(() => {});
        break;
      }
    }
    await page.waitForTimeout(100);
  }
  console.log(title);
  process.exitCode = title.startsWith('called') ? 0 : 1;
} finally {
  await browser.close();
  server.close();
}

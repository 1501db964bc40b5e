// The official TypeScript client at a server that wants OAuth, straight: what the gateway is later asked to do for people,
// this shows to be necessary and possible.
//
//   node upstream_direct.mjs MCP_URL WAIT      seconds after which an access token has expired
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { browse } from './robot.mjs';

const [mcpUrl, wait] = process.argv.slice(2);

function check(held, what) {
  if (!held) throw new Error(`expected: ${what}`);
  console.error(`  ok: ${what}`);
}

/** Somebody who signs in there as `account`. */
class Provider {
  redirectUrl = 'http://localhost:43119/callback';
  saved = [];
  clientMetadata = {
    client_name: 'Interop', redirect_uris: [this.redirectUrl], grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'], token_endpoint_auth_method: 'none', scope: 'notes',
  };
  constructor(account) { this.account = account; }
  state() { return randomUUID(); }
  clientInformation() { return this.client; }
  saveClientInformation(client) { this.client = client; }
  tokens() { return this.saved.at(-1); }
  saveTokens(tokens) { this.saved.push(tokens); }
  saveCodeVerifier(verifier) { this.verifier = verifier; }
  codeVerifier() { return this.verifier; }
  saveDiscoveryState(state) { this.discovered = state; }
  discoveryState() { return this.discovered; }
  async redirectToAuthorization(url) {
    const press = new RegExp(`^Sign in as ${this.account}$`);
    ({ url: this.callback } = await browse(url.href, { press, log: (line) => console.error(`  browser: ${line}`) }));
  }
}

async function connected(authProvider) {
  const refused = new StreamableHTTPClientTransport(new URL(mcpUrl), { authProvider });
  const error = await new Client({ name: 'direct', version: '1' }).connect(refused).then(() => undefined, (error) => error);
  if (!(error instanceof UnauthorizedError)) throw error ?? new Error('let in without a token');
  check(true, `${authProvider.account} is refused without a token`);
  await refused.finishAuth(new URL(authProvider.callback).searchParams);
  const client = new Client({ name: 'direct', version: '1' });
  await client.connect(new StreamableHTTPClientTransport(new URL(mcpUrl), { authProvider }));
  return client;
}

const whoami = async (client) => JSON.parse((await client.callTool({ name: 'whoami', arguments: {} })).content[0].text);
for (const account of ['augusta', 'robert']) {
  const provider = new Provider(account);
  const client = await connected(provider);
  const told = await whoami(client);
  check(told.account === account && told.notes[0].includes(account), `${account} is told so: ${JSON.stringify(told)}`);
  const before = provider.saved.length;
  await sleep(Number(wait) * 1000);
  check((await whoami(client)).account === account, `${account} is told so after expiry`);
  const [old, fresh] = provider.saved.slice(-2);
  check(provider.saved.length === before + 1 && old.refresh_token !== fresh.refresh_token, 'refreshed once, and rotated');
  await client.close();
}
console.log('PASS');
process.exit(0);

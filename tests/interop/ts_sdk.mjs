// The official TypeScript clients, from the first 401 to a call with a refreshed token.
//
//   node ts_sdk.mjs MCP_URL --sdk v1|v2 [--cimd DOCUMENT_URL] [--wait SECONDS]
//
// v1 is @modelcontextprotocol/sdk, v2 is @modelcontextprotocol/client. Exit 0 when every step held.
import { parseArgs } from 'node:util';
import { randomUUID } from 'node:crypto';
import { browse } from './robot.mjs';

const { positionals: [mcpUrl], values: options } = parseArgs({
  allowPositionals: true,
  options: { sdk: { type: 'string', default: 'v2' }, cimd: { type: 'string' }, wait: { type: 'string', default: '0' } },
});

const sdk = options.sdk === 'v1'
  ? {
      ...(await import('@modelcontextprotocol/sdk/client/index.js')),
      ...(await import('@modelcontextprotocol/sdk/client/streamableHttp.js')),
      ...(await import('@modelcontextprotocol/sdk/client/auth.js')),
    }
  : await import('@modelcontextprotocol/client');

/** Keeps everything in memory and counts what the assertions need. */
class Provider {
  redirectUrl = 'http://localhost:43117/callback';
  clientMetadataUrl = options.cimd;
  visits = 0;
  saved = [];
  clientMetadata = {
    client_name: `Interop TypeScript ${options.sdk}`,
    redirect_uris: [this.redirectUrl],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  };
  state() { return (this.sentState = randomUUID()); }
  clientInformation() { return this.client; }
  saveClientInformation(client) { this.client = client; }
  tokens() { return this.saved.at(-1); }
  saveTokens(tokens) { this.saved.push(tokens); }
  saveCodeVerifier(verifier) { this.verifier = verifier; }
  codeVerifier() { return this.verifier; }
  saveDiscoveryState(state) { this.discovered = state; }
  discoveryState() { return this.discovered; }
  /** Whether the authorization server is another than the gateway: direct mode. */
  elsewhere() { return this.authorizeUrl.origin !== new URL(mcpUrl).origin; }
  async redirectToAuthorization(url) {
    this.visits += 1;
    this.authorizeUrl = url;
    ({ url: this.callback } = await browse(url.href, { log: (line) => console.error(`  browser: ${line}`) }));
  }
}

function check(held, what) {
  if (!held) throw new Error(`expected: ${what}`);
  console.error(`  ok: ${what}`);
}

const textOf = (result) => (result.content ?? []).map((part) => part.text ?? '').join('');
const provider = new Provider();
const connect = async () => {
  const client = new sdk.Client({ name: 'doorward-interop', version: '1' });
  const transport = new sdk.StreamableHTTPClientTransport(new URL(mcpUrl), { authProvider: provider });
  try {
    await client.connect(transport);
    return { client, transport };
  } catch (error) {
    if (!(error instanceof sdk.UnauthorizedError) || !provider.callback) throw error;
    const callback = new URL(provider.callback).searchParams;
    check(!callback.get('error'), `no error in the callback (${callback.get('error')})`);
    check(callback.get('state') === provider.sentState, 'the state comes back');
    // AuthKit promises no `iss`, the gateway does (RFC 9207).
    check(callback.get('iss') || provider.elsewhere(), 'the callback names its issuer (AUTHZ-12)');
    if (options.sdk === 'v1') await transport.finishAuth(callback.get('code'));
    else await transport.finishAuth(callback);
    return undefined;
  }
};

async function callTools(client, round) {
  const { tools } = await client.listTools();
  const names = tools.map((tool) => tool.name);
  check(names.includes('echo'), `tools/list shows echo among ${names.length} tools (${round})`);
  const echo = await client.callTool({ name: 'echo', arguments: { message: `hello ${round}` } });
  check(textOf(echo).includes(`hello ${round}`), `echo answers (${round})`);
  if (names.includes('whoami')) {
    const whoami = textOf(await client.callTool({ name: 'whoami', arguments: {} }));
    check(JSON.parse(whoami)['x-forwarded-user']?.startsWith('usr_'), `the upstream is told who calls (PROX-14): ${whoami}`);
  }
  return names;
}

async function callWithProgress(client, names) {
  const request = names.includes('count')
    ? { name: 'count', arguments: { to: 3 } }
    : { name: 'trigger-long-running-operation', arguments: { duration: 1, steps: 3 } };
  let progress = 0;
  const onprogress = () => { progress += 1; };
  if (options.sdk === 'v1') await client.callTool(request, undefined, { onprogress });
  else await client.callTool(request, { onprogress });
  check(progress >= 2, `${request.name} reports progress while it runs (${progress} notifications)`);
}

const call = (client, name, args, more = {}) =>
  options.sdk === 'v1'
    ? client.callTool({ name, arguments: args }, undefined, more)
    : client.callTool({ name, arguments: args }, more);

/** Each notification arrives while the tool waits for it to be seen: none is held back (STRM-1). */
async function seeProgressOneByOne(client) {
  const [key, numbers, acknowledged] = [randomUUID(), [], []];
  const onprogress = ({ progress }) => {
    numbers.push(progress);
    acknowledged.push(call(client, 'acknowledge', { key, reached: progress }));
  };
  const result = await call(client, 'step', { key, to: 3 }, { onprogress });
  await Promise.all(acknowledged);
  check(textOf(result) === 'seen 3', `step ends once each step was seen: ${textOf(result)}`);
  check(numbers.join() === '1,2,3', `progress arrives one by one (${numbers})`);
}

/** A call that its client gives up ends at the upstream (STRM-4). */
async function cancelAndSee(client) {
  const [key, giveUp] = [randomUUID(), new AbortController()];
  const onprogress = () => giveUp.abort('enough');
  const outcome = await call(client, 'hang', { key }, { onprogress, signal: giveUp.signal }).catch((error) => error);
  check(outcome instanceof Error || outcome === 'enough', `the given up call rejects (${outcome})`);
  check(/true/.test(textOf(await call(client, 'was_cancelled', { key }))), 'the upstream saw the cancellation');
}

/** The server closes the stream of a call; the client comes back with Last-Event-ID and gets the answer (STRM-5). */
async function resume(client) {
  const result = await call(client, 'test_reconnection', {});
  check(!result.isError && textOf(result), `a dropped stream is resumed: ${textOf(result)}`);
}

try {
  const first = await connect();
  check(!first, 'the first request is refused and starts the login');
  const { client, transport } = await connect();
  check(provider.visits === 1, 'one visit of the browser');
  const resource = provider.authorizeUrl.searchParams.get('resource');
  check(resource === mcpUrl, 'the resource asked for is the URL of the server');
  const clientId = (await provider.clientInformation())?.client_id;
  check(options.cimd ? clientId === options.cimd : clientId, `the client id is ${options.cimd ? 'the document' : 'registered'}: ${clientId}`);

  const names = await callTools(client, 'first');
  await callWithProgress(client, names);
  if (names.includes('step')) {
    await seeProgressOneByOne(client);
    await cancelAndSee(client);
    await resume(client);
  }
  if (Number(options.wait) > 0) {
    const before = provider.tokens();
    await new Promise((done) => setTimeout(done, Number(options.wait) * 1000));
    await callTools(client, 'after expiry');
    const after = provider.tokens();
    check(after.access_token !== before.access_token, 'the expired access token was replaced');
    check(after.refresh_token !== before.refresh_token, 'the refresh token was rotated (REFR-3)');
    check(provider.visits === 1, 'still one visit of the browser');
  }
  await transport.terminateSession?.();
  await client.close();
  console.log(`PASS typescript ${options.sdk} ${options.cimd ? 'cimd' : 'dcr'} tokens=${provider.saved.length}`);
  process.exit(0);
} catch (error) {
  console.log(`FAIL typescript ${options.sdk} ${options.cimd ? 'cimd' : 'dcr'}: ${error.stack ?? error}`);
  process.exit(1);
}

// Two people use a server that wants OAuth through the gateway, with the official TypeScript clients and in Chromium.
// `own`: each connects an account of their own on the consent page, and again when the server took it back.
// `shared`: the first of them, an operator, connects one account that both use.
// `asserted`: one person, whom the gateway vouches for; there is nothing to connect.
//
//   node upstream_people.mjs own|shared|asserted MCP_URL v1|v2 CONTROL WAIT FOLDER
//
// CONTROL is the server's (accounts.mjs), WAIT the seconds after which its access tokens have expired, FOLDER takes
// pictures. Exit 0 when every step held.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Person, launch } from './person.mjs';

const [mode, mcpUrl, version, control, wait, screenshots] = process.argv.slice(2);
const sdk = version === 'v1'
  ? {
      ...(await import('@modelcontextprotocol/sdk/client/index.js')),
      ...(await import('@modelcontextprotocol/sdk/client/streamableHttp.js')),
      ...(await import('@modelcontextprotocol/sdk/client/auth.js')),
    }
  : await import('@modelcontextprotocol/client');
const NOT_CONNECTED = -32042;
/** How a client was told of a link. */
let way = 'of none';

function check(held, what) {
  if (!held) throw new Error(`expected: ${what}`);
  console.error(`  ok: ${what}`);
}

/** The client of one person. */
class Application {
  redirectUrl = 'http://localhost:43120/callback';
  saved = [];
  clientMetadata = {
    client_name: 'Interop', redirect_uris: [this.redirectUrl], grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'], token_endpoint_auth_method: 'none',
  };
  constructor(person) { this.person = person; }
  state() { return randomUUID(); }
  clientInformation() { return this.client; }
  saveClientInformation(client) { this.client = client; }
  tokens() { return this.saved.at(-1); }
  saveTokens(tokens) { this.saved.push(tokens); }
  saveCodeVerifier(verifier) { this.verifier = verifier; }
  codeVerifier() { return this.verifier; }
  saveDiscoveryState(state) { this.discovered = state; }
  discoveryState() { return this.discovered; }
  async redirectToAuthorization(url) { this.visited = await this.person.visit(url.href); }

  async connect() {
    const refused = new sdk.StreamableHTTPClientTransport(new URL(mcpUrl), { authProvider: this });
    const client = new sdk.Client({ name: 'interop', version: '1' });
    const error = await client.connect(refused).then(() => undefined, (error) => error);
    if (!(error instanceof sdk.UnauthorizedError)) throw error ?? new Error('let in without a token');
    if (!this.visited.arrived) throw new Error(`the browser does not come back: ${JSON.stringify(this.visited)}`);
    const callback = new URL(this.visited.arrived).searchParams;
    if (version === 'v1') await refused.finishAuth(callback.get('code'));
    else await refused.finishAuth(callback);
    const transport = new sdk.StreamableHTTPClientTransport(new URL(mcpUrl), { authProvider: this });
    // It can open links.
    this.mcp = new sdk.Client({ name: 'interop', version: '1' }, {
      capabilities: { elicitation: { url: {} } }, versionNegotiation: { mode: 'auto' },
    });
    if (version === 'v2') this.mcp.setRequestHandler('elicitation/create', async ({ params }) => {
      if (params.mode !== 'url' || !this.open) return { action: 'decline' };
      await this.open(params.url);
      return { action: 'accept' };
    });
    await this.mcp.connect(transport);
  }

  async whoami() {
    return JSON.parse((await this.mcp.callTool({ name: 'whoami', arguments: {} })).content[0].text);
  }
}

const seen = async (path = '/', method = 'GET') => (await fetch(`${control}${path}`, { method })).json();
const own = (told, account) => told.account === account && told.notes.every((note) => note.includes(account));
const connects = (words) => /^connect/i.test(words);

/**
 * Calls as `application`, which goes to the page that the call needs first: asked in the course of the call where the newer
 * era has that, and by an error in the older one. `go` takes the link. Gives what the call said in the end.
 */
async function whoamiByWayOf(application, go) {
  let links = 0;
  const visit = async (url) => { links += 1; await go(url); };
  application.open = visit;
  const first = await application.whoami().catch((error) => error);
  application.open = undefined;
  if (!(first instanceof Error)) {
    check(links === 1, `asked to open ${links} link in the course of the call`);
    way = 'by a question';
    return first;
  }
  check(first.code === NOT_CONNECTED, `refused for want of a connection: ${first.code} ${first.message.split('http')[0]}`);
  // The typed error of the SDKs keeps the links alone.
  const [{ mode: kind, url } = {}] = first.data?.elicitations ?? [];
  check(kind === 'url' && first.message.includes(url), 'with a link for whoever takes one, which stands in the text as well');
  way = 'by an error';
  await visit(url);
  return application.whoami();
}

async function ownAccounts(applications) {
  const [ada, bob] = applications;
  for (const application of applications) {
    const { account } = application.person;
    await application.connect();
    const { pressed } = application.visited;
    const connected = pressed.findIndex(connects);
    const signedIn = pressed.indexOf(`Sign in as ${account}`);
    check(connected >= 0 && connected < signedIn && /^approve/i.test(pressed.at(-1)) && signedIn < pressed.length - 1,
      `connect, then sign in there, then approve: ${pressed}`);
  }

  const both = () => Promise.all(applications.flatMap((application) => [application, application, application].map(async (one) => {
    const told = await one.whoami();
    if (!own(told, one.person.account)) throw new Error(`${one.person.account} saw ${JSON.stringify(told)}`);
  })));
  await both();
  check(true, 'each sees their own account and nothing of the other');

  await sleep(Number(wait) * 1000);
  await both();
  const before = await seen();
  check(before.refreshed >= 2 && before.refusedRefreshes === 0, `the gateway refreshed for each, and never twice with a token: ${JSON.stringify(before)}`);
  check(before.authorizations === 2, 'nobody had to sign in there again');

  await seen('/revoke-account?account=augusta', 'POST');
  const again = await whoamiByWayOf(ada, async (url) => {
    await bob.person.visit(url);
    check((await seen()).authorizations === 2, 'the link does nothing for somebody else');
    const { pressed } = await ada.person.visit(url);
    check(pressed.some(connects) && (await seen()).authorizations === 3, `it lets its owner connect: ${pressed}`);
  });
  check(own(again, 'augusta'), 'connected again, the call goes through');
  check(own(await bob.whoami(), 'robert'), 'nothing changed for the other');
}

async function sharedAccount([operator, other]) {
  await operator.connect();
  check(operator.visited.pressed.some(connects), `the operator connects: ${operator.visited.pressed}`);
  await other.connect();
  check(!other.visited.pressed.some(connects), `nobody else has to: ${other.visited.pressed}`);
  await sleep(Number(wait) * 1000);
  const told = await Promise.all([operator, other, operator, other].map((application) => application.whoami()));
  check(told.every((one) => own(one, 'augusta')), 'everyone uses the account of the operator');
  const after = await seen();
  check(after.authorizations === 1 && after.refusedRefreshes === 0, `one connection: ${JSON.stringify(after)}`);

  await seen('/revoke-account?account=augusta', 'POST');
  const refused = await other.whoami().then((told) => new Error(`let through: ${JSON.stringify(told)}`), (error) => error);
  check(!refused.data?.elicitations?.length && /administrator/.test(refused.message), `an operator has to connect it again: ${refused.message}`);
  const again = await whoamiByWayOf(operator, async (url) => {
    const { pressed } = await operator.person.visit(url);
    check(pressed.some(connects) && (await seen()).authorizations === 2, `which the link lets the operator do: ${pressed}`);
  });
  check(own(again, 'augusta'), 'and the call goes through');
  check(own(await other.whoami(), 'augusta'), 'for everyone');
}

async function assertedAccount([application]) {
  await application.connect();
  check(!application.visited.pressed.some(connects), `there is nothing to connect: ${application.visited.pressed}`);
  check(own(await application.whoami(), 'ada'), 'the server knows the person who signed in at the gateway');
  await sleep(Number(wait) * 1000);
  check(own(await application.whoami(), 'ada'), 'and again by another assertion, once its token has expired');
  const { assertions } = await seen();
  check(assertions === 2, `one assertion for each token: ${assertions}`);
}

const browser = await launch();
try {
  const open = (email, account) => Person.open(browser, { email, account, screenshots });
  const people = [await open('ada@example.com', 'augusta'), await open('bob@example.com', 'robert')];
  const applications = people.map((person) => new Application(person));
  await { own: ownAccounts, shared: sharedAccount, asserted: assertedAccount }[mode](applications);
  for (const { mcp } of applications) await mcp?.close();
  console.log(`PASS ${mode} ${version} told ${way} ${JSON.stringify(await seen())}`);
} catch (error) {
  console.log(`FAIL ${mode} ${version}: ${error.stack ?? error}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
process.exit();

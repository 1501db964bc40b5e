// The official TypeScript client brings an identity assertion instead of sending anybody to a browser: from the first 401
// to a call with the token of a second assertion.
//
//   node cross_app.mjs MCP_URL CLIENT_ID CLIENT_SECRET PROVIDER
//
// PROVIDER is the line of asserting_idp.mjs. Exit 0 when every step held.
import { setTimeout as sleep } from 'node:timers/promises';
import {
  Client, CrossAppAccessProvider, StreamableHTTPClientTransport, discoverAndRequestJwtAuthGrant,
} from '@modelcontextprotocol/client';

const [mcpUrl, clientId, clientSecret, provider, wait] = process.argv.slice(2);
const idp = JSON.parse(provider);

function check(held, what) {
  if (!held) throw new Error(`expected: ${what}`);
  console.error(`  ok: ${what}`);
}

const asked = [];
const authProvider = new CrossAppAccessProvider({
  clientId,
  clientSecret,
  expectedIssuer: new URL(mcpUrl).origin,
  assertion: async ({ authorizationServerUrl, resourceUrl, scope, fetchFn }) => {
    asked.push({ audience: String(authorizationServerUrl), resource: String(resourceUrl), scope });
    const { jwtAuthGrant } = await discoverAndRequestJwtAuthGrant({
      idpUrl: idp.url,
      audience: authorizationServerUrl,
      resource: resourceUrl,
      idToken: idp.idToken,
      clientId: idp.clientId,
      clientSecret: idp.clientSecret,
      scope,
      fetchFn,
    });
    return jwtAuthGrant;
  },
});

const client = new Client({ name: 'doorward-interop', version: '1' });
await client.connect(new StreamableHTTPClientTransport(new URL(mcpUrl), { authProvider }));
const call = async (name, args) =>
  (await client.callTool({ name, arguments: args })).content.map((item) => item.text ?? '').join('');

check((await call('echo', { message: 'hello' })).includes('hello'), 'echo answers');
const whoami = JSON.parse(await call('whoami', {}));
check(whoami['x-forwarded-email'] === 'ada@example.com', `the server is told who calls: ${JSON.stringify(whoami)}`);
check(asked.length === 1 && asked[0].resource === mcpUrl, `one assertion: ${JSON.stringify(asked)}`);
check(!authProvider.tokens().refresh_token, 'there is no refresh token');
const [first] = [authProvider.tokens().access_token];

await sleep(Number(wait) * 1000);
check((await call('echo', { message: 'again' })).includes('again'), 'echo answers after expiry');
check(asked.length === 2, 'a second assertion');
check(authProvider.tokens().access_token !== first, 'a second token');
await client.close();
console.log(`PASS typescript ${JSON.stringify(asked[0])}`);

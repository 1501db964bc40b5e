// The official TypeScript client at a server of `examples/`, for several people at once.
//
//   node identity_client.mjs MCP_URL SERVER_URL EMAIL...
//
// SERVER_URL is the server straight, which has to refuse what the gateway gave the client. Prints, as one line of JSON,
// what each tool said to each person: {EMAIL: {"get-user-info": …, …}}.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { obtainToken } from './obtain_token.mjs';

const [mcpUrl, serverUrl, ...people] = process.argv.slice(2);
const TOOLS = ['get-user-info', 'get-user-permissions', 'get-workos-user'];
const ROUNDS = 5;

async function connect(email) {
  const { accessToken } = await obtainToken(mcpUrl, { as: email, log: (line) => console.error(line) });
  const client = new Client({ name: 'doorward-interop', version: '1' });
  // Whoever calls may say what they like about themselves.
  const headers = { authorization: `Bearer ${accessToken}`, 'x-doorward-assertion': accessToken, 'x-forwarded-user': 'root' };
  await client.connect(new StreamableHTTPClientTransport(new URL(mcpUrl), { requestInit: { headers } }));
  return { email, client, accessToken };
}

async function call(client, name) {
  const result = await client.callTool({ name, arguments: {} });
  if (result.isError) throw new Error(`${name}: ${JSON.stringify(result.content)}`);
  return result.structuredContent;
}

// One after the other at the provider, all at once at the server.
const connected = [];
for (const email of people) connected.push(await connect(email));
const told = {};
for (let round = 0; round < ROUNDS; round++) {
  await Promise.all(connected.flatMap(({ email, client }) => TOOLS.map(async (name) => {
    const answer = await call(client, name);
    told[email] ??= {};
    told[email][name] ??= answer;
    if (JSON.stringify(told[email][name]) !== JSON.stringify(answer)) throw new Error(`${name} changed for ${email}`);
  })));
}

for (const headers of [{}, { authorization: `Bearer ${connected[0].accessToken}` }, { 'x-doorward-assertion': connected[0].accessToken }]) {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
  const { status } = await fetch(serverUrl, {
    method: 'POST', body, headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers },
  });
  if (status !== 401) throw new Error(`straight at the server with ${Object.keys(headers)}: ${status}`);
}
console.log(JSON.stringify(told));
process.exit(0);

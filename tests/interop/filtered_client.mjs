// An official TypeScript client at a route with a capability filter.
//
//   node filtered_client.mjs MCP_URL v1|v2 EMAIL
//
// v1 is @modelcontextprotocol/sdk, v2 is @modelcontextprotocol/client. Prints, as one line of JSON, what is listed, and for
// each thing that is used "ok" or the code of the error.
import { obtainToken } from './obtain_token.mjs';

const [mcpUrl, version, email] = process.argv.slice(2);
const { Client, StreamableHTTPClientTransport } = version === 'v1'
  ? {
      ...(await import('@modelcontextprotocol/sdk/client/index.js')),
      ...(await import('@modelcontextprotocol/sdk/client/streamableHttp.js')),
    }
  : await import('@modelcontextprotocol/client');

const { accessToken } = await obtainToken(mcpUrl, { as: email, log: (line) => console.error(line) });
const client = new Client({ name: 'doorward-interop', version: '1' });
const headers = { authorization: `Bearer ${accessToken}` };
await client.connect(new StreamableHTTPClientTransport(new URL(mcpUrl), { requestInit: { headers } }));

const { tools } = await client.listTools();
const { prompts } = await client.listPrompts();
const { resources } = await client.listResources();
const { resourceTemplates } = await client.listResourceTemplates();
const echo = tools.find(({ name }) => name === 'echo');
const uses = {
  'echo': () => client.callTool({ name: 'echo', arguments: { message: 'hello' } }),
  'get-sum': () => client.callTool({ name: 'get-sum', arguments: { a: 1, b: 2 } }),
  'get-env': () => client.callTool({ name: 'get-env', arguments: {} }),
  'get-structured-content': () => client.callTool({ name: 'get-structured-content', arguments: { location: 'Chicago' } }),
  'no-such-tool': () => client.callTool({ name: 'no-such-tool', arguments: {} }),
  'static': () => client.readResource({ uri: resources[0].uri }),
  'text': () => client.readResource({ uri: 'demo://resource/dynamic/text/1' }),
  'blob': () => client.readResource({ uri: 'demo://resource/dynamic/blob/1' }),
  'prompt': () => client.getPrompt({ name: 'simple-prompt' }),
};
const used = {};
for (const [name, use] of Object.entries(uses)) {
  used[name] = await use().then((result) => (result.isError ? result : 'ok'), (error) => error.code ?? `${error}`);
}
await client.close();
console.log(JSON.stringify({
  tools: tools.map(({ name }) => name), description: echo?.description, readOnly: echo?.annotations?.readOnlyHint, prompts,
  resources: resources.map(({ uri }) => uri), templates: resourceTemplates.map(({ uriTemplate }) => uriTemplate), used,
}));

// MCPJam's conformance test of a server: one line for each check, without what differs between two runs.
//
//   node mcpjam_server.mjs MCP_URL      MCP_TOKEN is sent when it is there
process.env.DO_NOT_TRACK = '1';

const [serverUrl] = process.argv.slice(2);
const { MCPConformanceTest } = await import('@mcpjam/sdk');
const { checks } = await new MCPConformanceTest({
  serverUrl,
  accessToken: process.env.MCP_TOKEN,
  fetchFn: globalThis.fetch,
}).run();
for (const { id, status, error } of checks) console.log(`${status} ${id}${error ? `: ${error.message}` : ''}`);
process.exit(0);

// Preloaded (`node --import`) into suites that have no option for a token: adds it to each request for MCP_URL.
// Works on Node's own diagnostics channel of undici, which both `fetch` and the undici package announce requests on.
import diagnostics from 'node:diagnostics_channel';

const target = new URL(process.env.MCP_URL);
diagnostics.subscribe('undici:request:create', ({ request }) => {
  if (request.origin === target.origin && new URL(request.path, target).pathname === target.pathname)
    request.addHeader('authorization', `Bearer ${process.env.MCP_TOKEN}`);
});

// Preloaded (`node --import`) into suites that have no option for a token: adds it to each request for MCP_URL.
// `fetch` and the undici package announce their requests on a diagnostics channel of Node; requests of node:http are
// met at `http.request`, since headers given as a list are written before that channel speaks.
import diagnostics from 'node:diagnostics_channel';
import http from 'node:http';
import { syncBuiltinESMExports } from 'node:module';

const target = new URL(process.env.MCP_URL);
const bearer = `Bearer ${process.env.MCP_TOKEN}`;

diagnostics.subscribe('undici:request:create', ({ request }) => {
  if (request.origin === target.origin && new URL(request.path, target).pathname === target.pathname)
    request.addHeader('authorization', bearer);
});

const original = http.request;
http.request = (...args) => {
  const [url, options] = typeof args[0] === 'string' || args[0] instanceof URL ? [new URL(args[0]), args[1]] : [undefined, args[0]];
  const place = url ?? { port: options.port, pathname: options.path?.split('?')[0] };
  if (options && typeof options === 'object' && `${place.port}` === target.port && place.pathname === target.pathname) {
    options.headers = Array.isArray(options.headers)
      ? [...options.headers, 'Authorization', bearer]
      : { ...options.headers, Authorization: bearer };
  }
  return original(...args);
};
syncBuiltinESMExports();

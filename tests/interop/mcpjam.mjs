// MCPJam's OAuth conformance test, headless: it cannot click, so the gateway runs with --auto-approve.
//
//   node mcpjam.mjs MCP_URL dcr|cimd|preregistered REVISION
//
// The suite offers `cimd` from 2025-11-25 on. For older revisions the URL is given to it as a client id that was
// agreed before, which is all a client of that time could do with one; the gateway reads the document all the same.
// Whatever is neither the gateway nor the client's own document is refused: the suite would report usage.
process.env.DO_NOT_TRACK = '1';

const [mcpUrl, registration, revision] = process.argv.slice(2);
const origin = new URL(mcpUrl).origin;
const document = JSON.parse(process.env.CLIENT_DOCUMENT);

const network = globalThis.fetch;
globalThis.fetch = async (input, init) => {
  const url = new URL(input instanceof Request ? input.url : input);
  if (url.href === document.client_id) return Response.json(document);
  if (url.origin !== origin) throw new Error(`the suite wanted to reach ${url.host}`);
  return network(input, init);
};

const { OAuthConformanceTest } = await import('@mcpjam/sdk');
const byDocument = registration === 'cimd';
const suiteKnowsDocuments = revision === '2025-11-25';
const preregistered = byDocument
  ? { clientId: document.client_id }
  : { clientId: 'preregistered', clientSecret: process.env.CLIENT_SECRET };
const { passed, summary, steps, verification } = await new OAuthConformanceTest({
  serverUrl: mcpUrl,
  protocolVersion: revision,
  registrationStrategy: byDocument && !suiteKnowsDocuments ? 'preregistered' : registration,
  client: { clientIdMetadataUrl: document.client_id, preregistered },
  auth: { mode: 'headless' },
  oauthConformanceChecks: true,
  verification: { listTools: true },
  redirectUrl: document.redirect_uris[0],
  fetchFn: globalThis.fetch,
}).run();

for (const { step, status, error } of steps) console.log(`${status} ${step}${error ? `: ${error.message}` : ''}`);
console.log(`${summary} ${JSON.stringify(verification)}`);
const checks = steps.filter(({ step, status }) => step.startsWith('oauth_') && status === 'passed');
const listed = verification?.listTools?.passed === true;
process.exit(passed && listed && checks.length >= 5 ? 0 : 1);

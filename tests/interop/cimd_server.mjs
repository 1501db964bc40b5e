// Serves client-id metadata documents over https from loopback, under a certificate authority of its own.
//
//   node cimd_server.mjs FOLDER     prints {port, ca} (the authority's certificate, PEM) and serves until stdin closes
//
// The hosts are claude.ai, with Claude Code's document under its real path and its portless loopback redirects
// (CIMD-12), and client.example. The gateway is told where they are with --outbound-resolve.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import path from 'node:path';

const folder = process.argv[2];
const file = (name) => path.join(folder, name);
const openssl = (...args) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=Interop test CA',
  '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign');
writeFileSync(file('leaf.ext'), 'basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:claude.ai,DNS:client.example\n');
openssl('req', ...key, '-keyout', 'leaf.key', '-out', 'leaf.csr', '-subj', '/CN=client.example');
openssl('x509', '-req', '-in', 'leaf.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2',
  '-extfile', 'leaf.ext', '-out', 'leaf.pem');

const document = (clientId, fields) => ({
  client_id: clientId,
  redirect_uris: ['http://localhost/callback', 'http://127.0.0.1/callback'],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  token_endpoint_auth_method: 'none',
  ...fields,
});
const documents = Object.fromEntries([
  document('https://claude.ai/oauth/claude-code-client-metadata', { client_name: 'Claude Code', client_uri: 'https://claude.ai' }),
  document('https://client.example/oauth/client.json', { client_name: 'Interop client', client_uri: 'https://client.example' }),
].map((it) => [it.client_id, it]));

const server = https.createServer({ key: readFileSync(file('leaf.key')), cert: readFileSync(file('leaf.pem')) }, (request, response) => {
  const found = documents[`https://${request.headers.host?.replace(/:443$/, '')}${request.url}`];
  response.writeHead(found ? 200 : 404, { 'content-type': 'application/json', 'cache-control': 'max-age=300' });
  response.end(JSON.stringify(found ?? { error: 'no such document' }));
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port, ca: file('ca.pem') })));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

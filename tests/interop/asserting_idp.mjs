// A provider that gives out identity assertions (ID-JAG) by token exchange, to one client and for one person who signed
// in there. Prints one JSON line {url, idToken, clientId, clientSecret} and serves until stdin closes.
//
//   node asserting_idp.mjs CLIENT_ID [any]
//
// CLIENT_ID is what the assertions call that client. With `any`, it takes the ID tokens of every provider on this machine
// instead of its own, and asserts whoever they name.
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose';

const [clientIdThere, any] = process.argv.slice(2);
const client = { id: 'wiki-at-the-provider', secret: 'the wiki and its secret' };
const idToken = 'an ID token, as far as anybody but this provider can tell';
const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const jwks = { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig', alg: 'RS256' }] };

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
function assertion(claims) {
  const signed = `${part({ alg: 'RS256', kid: 'k1', typ: 'oauth-id-jag+jwt' })}.${part(claims)}`;
  return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`;
}

const expected = {
  grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
  requested_token_type: 'urn:ietf:params:oauth:token-type:id-jag',
  subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
  ...(!any && { subject_token: idToken }),
  client_id: client.id,
  client_secret: client.secret,
};

/** `sub` of an ID token; the claims of one that is not our own are read after its provider's keys have proven it. */
async function subjectOf(token) {
  if (!any) return 'u-1';
  const { iss } = decodeJwt(token);
  if (new URL(iss).hostname !== '127.0.0.1') throw new Error(`not on this machine: ${iss}`);
  return (await jwtVerify(token, createRemoteJWKSet(new URL(`${iss}/jwks`)), { issuer: iss })).payload.sub;
}

async function exchange(form) {
  for (const [name, value] of Object.entries(expected)) {
    if (form.get(name) !== value) return [400, { error: 'invalid_request', error_description: `not expected: ${name}` }];
  }
  const iat = Math.floor(Date.now() / 1000);
  const claims = {
    iss: url, sub: await subjectOf(form.get('subject_token')), aud: form.get('audience'), resource: form.get('resource'), client_id: clientIdThere,
    jti: randomUUID(), iat, exp: iat + 300, email: 'ada@example.com', email_verified: true,
    ...(form.has('scope') && { scope: form.get('scope') }),
  };
  const issued = { issued_token_type: expected.requested_token_type, token_type: 'N_A', expires_in: 300 };
  return [200, { ...issued, access_token: assertion(claims) }];
}

const server = createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  const answers = {
    'GET /.well-known/openid-configuration': () => [200, metadata],
    'GET /.well-known/oauth-authorization-server': () => [200, metadata],
    'GET /jwks': () => [200, jwks],
    'POST /token': () => exchange(new URLSearchParams(body)),
  };
  const [status, answer] = await answers[`${request.method} ${request.url}`]?.() ?? [404, {}];
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${server.address().port}`;
const metadata = {
  issuer: url,
  authorization_endpoint: `${url}/authorize`,
  token_endpoint: `${url}/token`,
  jwks_uri: `${url}/jwks`,
  response_types_supported: ['code'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['RS256'],
  identity_chaining_requested_token_types_supported: [expected.requested_token_type],
};
console.log(JSON.stringify({ url, idToken, clientId: client.id, clientSecret: client.secret }));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

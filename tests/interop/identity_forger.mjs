// Assertions that are good and assertions that are not, straight at a server of `examples/` that trusts the keys of this
// script as if they were the gateway's.
//
//   node identity_forger.mjs PORT SERVER_URL     PORT is where the server asks for keys: its issuer is http://localhost:PORT
import { createServer } from 'node:http';
import { SignJWT, UnsecuredJWT, base64url, exportJWK, exportSPKI, generateKeyPair } from 'jose';

const [port, audience] = process.argv.slice(2);
const issuer = `http://localhost:${port}`;

const pair = async (alg, kid) => {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true, crv: alg === 'EdDSA' ? 'Ed25519' : undefined });
  const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' };
  return { alg, kid, publicKey, privateKey, jwk };
};
const current = await pair('ES256', 'current');
const next = await pair('ES256', 'next');
const edwards = await pair('EdDSA', 'edwards');
const stranger = await pair('ES256', 'current');
const rsa = await pair('RS256', 'rsa');
const published = JSON.stringify({ keys: [current, next, edwards, rsa].map(({ jwk }) => jwk) });
let asked = 0;
createServer((_request, response) => {
  asked += 1;
  response.setHeader('content-type', 'application/json').end(published);
}).listen(Number(port), 'localhost');

const now = Math.floor(Date.now() / 1000);
const claims = {
  iss: issuer, aud: audience, sub: 'usr_1', client_id: 'dcr_1', scope: 'mcp:tools', sid: 'grt_1', jti: '1', iat: now,
  exp: now + 60, provider: 'https://idp.example', user_id: 'user_1', email_verified: false, roles: [], groups: [],
  permissions: [], entitlements: [],
};
const without = (name) => Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name));

/** An assertion with changes to its header and claims, signed by a key. */
async function sign({ key = current, secret, header = {}, body = claims }) {
  const protectedHeader = { alg: key.alg, kid: key.kid, typ: 'doorward-assertion+jwt', ...header };
  return new SignJWT(body).setProtectedHeader(protectedHeader).sign(secret ?? key.privateKey);
}

const text = (string) => new TextEncoder().encode(string);
const hs256 = { alg: 'HS256' };
const good = await sign({});
const [head, payload, signature] = good.split('.');
const cases = {
  good: {
    current: good,
    next: await sign({ key: next }),
    edwards: await sign({ key: edwards }),
    'a clock that is three seconds behind': await sign({ body: { ...claims, exp: now - 2 } }),
  },
  bad: {
    'none at all': undefined,
    empty: '',
    'no JWT': 'x',
    'no signature': `${head}.${payload}.`,
    'a foreign signature': `${head}.${payload}.${(await sign({ key: stranger })).split('.')[2]}`,
    'other claims under the signature': `${head}.${base64url.encode(JSON.stringify({ ...claims, sub: 'usr_2' }))}.${signature}`,
    'a foreign key under a known id': await sign({ key: stranger }),
    'an unknown key id': await sign({ header: { kid: 'unknown' } }),
    'a key of its own in the header': await sign({ key: stranger, header: { kid: 'mine', jwk: stranger.jwk } }),
    'another known key': await sign({ header: { kid: 'next' } }),
    'alg none': new UnsecuredJWT(claims).encode(),
    'alg none, with typ and kid': `${base64url.encode(JSON.stringify({ alg: 'none', typ: 'doorward-assertion+jwt', kid: 'current' }))}.${payload}.`,
    'HS256 with the public key as PEM': await sign({ header: hs256, secret: text(await exportSPKI(current.publicKey)) }),
    'HS256 with the public key as JWK': await sign({ header: hs256, secret: text(JSON.stringify(current.jwk)) }),
    'HS256 with a coordinate': await sign({ header: hs256, secret: base64url.decode(current.jwk.x) }),
    'RS256 by a published key': await sign({ key: rsa }),
    'the audience of another server': await sign({ body: { ...claims, aud: 'http://other.example/mcp' } }),
    'a longer audience': await sign({ body: { ...claims, aud: `${audience}/x` } }),
    'no audience': await sign({ body: without('aud') }),
    'another issuer': await sign({ body: { ...claims, iss: 'http://other.example' } }),
    'no issuer': await sign({ body: without('iss') }),
    'no subject': await sign({ body: without('sub') }),
    expired: await sign({ body: { ...claims, iat: now - 120, exp: now - 60 } }),
    'no expiry': await sign({ body: without('exp') }),
    'an access token': await sign({ header: { typ: 'at+jwt' } }),
    'typ JWT': await sign({ header: { typ: 'JWT' } }),
    'no typ': await sign({ header: { typ: undefined } }),
  },
};

let failed = 0;
for (const [kind, assertions] of Object.entries(cases)) {
  for (const [name, assertion] of Object.entries(assertions)) {
    const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
    if (assertion !== undefined) headers['x-doorward-assertion'] = assertion;
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'get-user-info', arguments: {} } });
    const answer = await fetch(audience, { method: 'POST', headers, body });
    const said = await answer.text();
    const holds = kind === 'good' ? answer.status === 200 && said.includes('user_1') : answer.status === 401 && !said.includes('user_1');
    if (!holds) failed += 1;
    console.log(`${holds ? 'ok' : 'FAILED'}: ${kind}, ${name}: ${answer.status} ${holds ? '' : said.slice(0, 300)}`);
  }
}
// Strangers cannot make it fetch the keys again and again.
if (asked < 1 || asked > 2) { failed += 1; console.log(`FAILED: the keys were fetched ${asked} times`); }
process.exit(failed ? 1 : 0);

// The certified OpenID provider of npm, with one person who signs in without a page and the gateway as its client.
// Prints one JSON line {url, clientId, secret} (secret: a client secret, or a private key in PEM) and serves until stdin
// closes.
//
//   node oidc_provider.mjs METHOD REDIRECT_URI [LIKE]
//
// METHOD is client_secret_basic, client_secret_post or private_key_jwt: no other is accepted at the token endpoint.
// LIKE puts the endpoints where that provider has them, and hides its metadata; url is then what its option takes.
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const [method, redirectUri, like] = process.argv.slice(2);
const KEYCLOAK = '/realms/main/protocol/openid-connect';
const likenesses = {
  clerk: { issuer: '', routes: { authorization: '/oauth/authorize', token: '/oauth/token', jwks: '/.well-known/jwks.json', userinfo: '/oauth/userinfo' } },
  keycloak: {
    issuer: '/realms/main',
    routes: {
      authorization: `${KEYCLOAK}/auth`, token: `${KEYCLOAK}/token`, jwks: `${KEYCLOAK}/certs`, userinfo: `${KEYCLOAK}/userinfo`,
      end_session: `${KEYCLOAK}/logout`,
    },
  },
  logto: {
    issuer: '/oidc',
    routes: { authorization: '/oidc/auth', token: '/oidc/token', jwks: '/oidc/jwks', userinfo: '/oidc/me', end_session: '/oidc/session/end' },
  },
};
const { issuer, routes } = likenesses[like] ?? { issuer: '', routes: {} };
const clientId = 'doorward:gateway';
const client = { client_id: clientId, redirect_uris: [redirectUri], token_endpoint_auth_method: method };
let secret;
if (method === 'private_key_jwt') {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  client.jwks = { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig', alg: 'RS256' }] };
  secret = privateKey.export({ format: 'pem', type: 'pkcs8' });
} else {
  secret = client.client_secret = 'a secret/with+signs% and: more';
}

const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(`${url}${issuer}`, {
  routes,
  clients: [client],
  cookies: { keys: ['only for tests'] },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
  findAccount: (_ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: 'ada@example.com', email_verified: true, name: 'Ada Byron' }),
  }),
});

// What the person would do: sign in, then agree.
provider.use(async (ctx, next) => {
  if (like && ctx.path.startsWith('/.well-known/openid')) return ctx.throw(404);
  if (!ctx.path.startsWith('/interaction/')) return next();
  const { prompt, params, session, grantId } = await provider.interactionDetails(ctx.req, ctx.res);
  let result = { login: { accountId: 'ada' } };
  if (prompt.name === 'consent') {
    const grant = grantId
      ? await provider.Grant.find(grantId)
      : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    result = { consent: { grantId: await grant.save() } };
  }
  ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result, { mergeWithLastSubmission: true }));
});

server.on('request', provider.callback());
console.log(JSON.stringify({ url, clientId, secret }));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

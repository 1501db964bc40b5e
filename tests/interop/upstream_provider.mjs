// The authorization server of an MCP server behind the gateway: the certified `oidc-provider`, which knows that server as a
// resource (RFC 8707), registers clients (RFC 7591), rotates refresh tokens and introspects (RFC 7662).
// Prints one JSON line {issuer, introspection, id, secret, control} and serves until stdin closes.
//
//   node upstream_provider.mjs RESOURCE TTL      seconds that an access token lives
import { createServer } from 'node:http';
import Provider from 'oidc-provider';
import { ACCOUNTS, accountPage, control, ready } from './accounts.mjs';

const [resource, ttl] = process.argv.slice(2);
const [id, secret] = ['the-notes-server', 'what it introspects with'];
const seen = { authorizations: 0, redeemed: 0, refreshed: 0, refusedRefreshes: 0, registered: 0, revoked: 0 };

const server = createServer();
await new Promise((resolve) => server.listen(0, 'localhost', resolve));
const url = `http://localhost:${server.address().port}`;
const grants = new Map();

const provider = new Provider(url, {
  clients: [{ client_id: id, client_secret: secret, redirect_uris: [], response_types: [], grant_types: [] }],
  cookies: { keys: ['only for tests'] },
  features: {
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_ctx, asked) => {
        if (asked !== resource) throw new Error(`not a resource here: ${asked}`);
        return { scope: 'notes', accessTokenTTL: Number(ttl), accessTokenFormat: 'opaque' };
      },
    },
    revocation: { enabled: true },
  },
  pkce: { required: () => true },
  issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
  scopes: ['openid', 'offline_access', 'notes'],
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_ctx, account) => ({ accountId: account, claims: () => ({ sub: account }) }),
});
provider.on('authorization.success', () => { seen.authorizations += 1; });
provider.on('registration_create.success', () => { seen.registered += 1; });
provider.on('grant.success', (ctx) => {
  seen[ctx.oidc.params.grant_type === 'refresh_token' ? 'refreshed' : 'redeemed'] += 1;
});
provider.on('grant.error', (ctx) => { if (ctx.oidc.params?.grant_type === 'refresh_token') seen.refusedRefreshes += 1; });
provider.on('refresh_token.destroyed', () => { seen.revoked += 1; });

async function fieldsOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return new URLSearchParams(Buffer.concat(chunks).toString());
}

// Whose account it is, the person says; that they agree goes without saying.
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next();
  const { prompt, params, session, grantId } = await provider.interactionDetails(ctx.req, ctx.res);
  let result;
  if (prompt.name === 'login') {
    if (ctx.method === 'GET') {
      ctx.type = 'html';
      ctx.body = accountPage(ctx.path);
      return;
    }
    const account = (await fieldsOf(ctx.req)).get('account');
    result = ACCOUNTS.includes(account) ? { login: { accountId: account } } : { error: 'access_denied' };
  } else {
    const grant = grantId ? await provider.Grant.find(grantId)
      : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    if (params.scope) grant.addOIDCScope(params.scope);
    grant.addResourceScope(resource, 'notes');
    const saved = await grant.save();
    grants.set(saved, session.accountId);
    result = { consent: { grantId: saved } };
  }
  ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result, { mergeWithLastSubmission: true }));
});
server.on('request', provider.callback());

async function revoke(account) {
  for (const [grantId, owner] of grants) {
    if (owner !== account) continue;
    for (const kind of ['AccessToken', 'RefreshToken', 'AuthorizationCode']) await provider[kind].revokeByGrantId(grantId);
    await (await provider.Grant.find(grantId))?.destroy();
    grants.delete(grantId);
  }
}
ready({ issuer: url, introspection: `${url}/token/introspection`, id, secret, control: await control(() => seen, revoke) });

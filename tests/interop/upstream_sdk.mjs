// An MCP server that wants OAuth, on the official TypeScript SDK alone: its `mcpAuthRouter` over its demo provider, to which
// accounts, refresh tokens and revocation are added, and its `requireBearerAuth` before its transport.
// Prints one JSON line {url, control} and serves until stdin closes.
//
//   node upstream_sdk.mjs PORT TTL      seconds that an access token lives
import { randomUUID } from 'node:crypto';
import express from 'express';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { getOAuthProtectedResourceMetadataUrl, mcpAuthRouter } from '@modelcontextprotocol/sdk/server/auth/router.js';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import { InvalidGrantError, InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { DemoInMemoryAuthProvider } from '@modelcontextprotocol/sdk/examples/server/demoInMemoryOAuthProvider.js';
import { ACCOUNTS, accountPage, control, ready } from './accounts.mjs';

const [port, ttl] = process.argv.slice(2).map(Number);
const base = new URL(`http://localhost:${port}`);
const mcpUrl = new URL('/mcp', base);
const seen = { authorizations: 0, redeemed: 0, refreshed: 0, refusedRefreshes: 0, registered: 0, revoked: 0, calls: {} };

/** The demo's, for several accounts. A refresh token works once; used again, it ends everything that came of its code. */
class Provider extends DemoInMemoryAuthProvider {
  pending = new Map();
  refreshTokens = new Map();

  async authorize(client, params, res) {
    seen.authorizations += 1;
    const id = randomUUID();
    this.pending.set(id, { client, params });
    res.type('html').send(accountPage('/choose', { id }));
  }

  choose(id, account) {
    const { client, params } = this.pending.get(id);
    this.pending.delete(id);
    const back = new URL(params.redirectUri);
    if (params.state) back.searchParams.set('state', params.state);
    if (ACCOUNTS.includes(account)) {
      const code = randomUUID();
      this.codes.set(code, { client, params, account });
      back.searchParams.set('code', code);
    } else {
      back.searchParams.set('error', 'access_denied');
    }
    return back.href;
  }

  async exchangeAuthorizationCode(client, code, verifier) {
    const asked = this.codes.get(code);
    if (!asked) throw new InvalidGrantError('no such code');
    const answer = await super.exchangeAuthorizationCode(client, code, verifier);
    seen.redeemed += 1;
    return this.issue({ client: client.client_id, account: asked.account, live: true, scopes: asked.params.scopes ?? [] },
      this.tokens.get(answer.access_token));
  }

  async exchangeRefreshToken(client, refreshToken) {
    const found = this.refreshTokens.get(refreshToken);
    if (!found?.family.live || found.used || found.family.client !== client.client_id) {
      if (found) found.family.live = false;
      seen.refusedRefreshes += 1;
      throw new InvalidGrantError('no such refresh token');
    }
    found.used = true;
    seen.refreshed += 1;
    return this.issue(found.family, found.data);
  }

  issue(family, data) {
    const [access, refresh] = [randomUUID(), randomUUID()];
    this.tokens.set(access, { ...data, family, expiresAt: Date.now() + ttl * 1000 });
    this.refreshTokens.set(refresh, { family, data });
    return { access_token: access, token_type: 'bearer', expires_in: ttl, refresh_token: refresh, scope: family.scopes.join(' ') };
  }

  async verifyAccessToken(token) {
    const data = this.tokens.get(token);
    if (!data?.family?.live || data.expiresAt < Date.now()) throw new InvalidTokenError('expired, revoked or unknown');
    return { ...(await super.verifyAccessToken(token)), extra: { account: data.family.account } };
  }

  async revokeToken(_client, { token }) {
    const family = this.tokens.get(token)?.family ?? this.refreshTokens.get(token)?.family;
    if (family) family.live = false;
    seen.revoked += 1;
  }

  revokeAccount(account) {
    for (const { family } of this.refreshTokens.values()) if (family.account === account) family.live = false;
  }
}

const validateResource = (resource) => resource?.href === mcpUrl.href;
const provider = new Provider(validateResource);
const register = provider.clientsStore.registerClient.bind(provider.clientsStore);
provider.clientsStore.registerClient = (client) => { seen.registered += 1; return register(client); };
const notes = Object.fromEntries(ACCOUNTS.map((account) => [account, [`the first note of ${account}`]]));
const app = express();
app.use(mcpAuthRouter({ provider, issuerUrl: base, resourceServerUrl: mcpUrl, scopesSupported: ['notes'] }));
app.post('/choose', express.urlencoded({ extended: false }), (req, res) =>
  res.redirect(303, provider.choose(req.body.id, req.body.account)));

const bearer = requireBearerAuth({
  verifier: provider, expectedResource: mcpUrl, resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(mcpUrl),
});
app.post('/mcp', bearer, express.json(), async (req, res) => {
  const { account } = req.auth.extra;
  seen.calls[account] = (seen.calls[account] ?? 0) + (req.body.method === 'tools/call' ? 1 : 0);
  const server = new McpServer({ name: 'notes', version: '1' });
  const text = (value) => ({ content: [{ type: 'text', text: JSON.stringify(value) }] });
  server.registerTool('whoami', { description: 'The account, and what belongs to it.' },
    () => text({ account, notes: notes[account], authorization: req.headers.authorization?.length > 0 }));
  server.registerTool('echo', { description: 'The account again.' }, () => text({ account }));
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  res.on('close', () => { transport.close(); server.close(); });
  await server.connect(transport);
  await transport.handleRequest(req, res, req.body);
});
app.all('/mcp', bearer, (_req, res) => res.status(405).end());

await new Promise((resolve) => app.listen(port, 'localhost', resolve));
ready({ url: mcpUrl.href, control: await control(() => seen, (account) => provider.revokeAccount(account)) });

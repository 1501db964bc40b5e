// An access token for an MCP URL, the way a client gets one: challenge, metadata, registration, browser, code.
//
//   node obtain_token.mjs MCP_URL     prints {clientId, accessToken, refreshToken, expiresIn, tokenEndpoint}
import { createHash, randomBytes } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { browse } from './robot.mjs';

async function json(url, init) {
  const answer = await fetch(url, init);
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}: ${text.slice(0, 300)}`);
  return JSON.parse(text);
}

/** The metadata an unauthenticated request leads to. */
export async function discover(mcpUrl) {
  const refused = await fetch(mcpUrl, { method: 'POST' });
  const challenge = refused.headers.get('www-authenticate') ?? '';
  const [, prmUrl] = challenge.match(/resource_metadata="([^"]+)"/) ?? [];
  if (refused.status !== 401 || !prmUrl) throw new Error(`no challenge at ${mcpUrl}: ${refused.status} ${challenge}`);
  const prm = await json(prmUrl);
  const issuer = new URL(prm.authorization_servers[0]);
  const path = issuer.pathname === '/' ? '' : issuer.pathname;
  const metadata = await json(`${issuer.origin}/.well-known/oauth-authorization-server${path}`);
  return { prm, metadata };
}

/** Registers a public client; gives its id. */
export async function register(metadata, redirectUri, name = 'Interop suite') {
  const body = JSON.stringify({ client_name: name, redirect_uris: [redirectUri], token_endpoint_auth_method: 'none' });
  return (await json(metadata.registration_endpoint, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body,
  })).client_id;
}

export async function obtainToken(mcpUrl, { log, as } = {}) {
  const { prm, metadata } = await discover(mcpUrl);
  const redirectUri = 'http://127.0.0.1:43119/callback';
  const clientId = await register(metadata, redirectUri);
  const verifier = randomBytes(32).toString('base64url');
  const authorize = new URL(metadata.authorization_endpoint);
  const state = randomBytes(16).toString('base64url');
  for (const [name, value] of Object.entries({
    response_type: 'code', client_id: clientId, redirect_uri: redirectUri, resource: prm.resource, state,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256',
  })) authorize.searchParams.set(name, value);
  const { url } = await browse(authorize.href, { visit: false, log, as });
  const callback = new URL(url).searchParams;
  if (!callback.get('code') || callback.get('state') !== state) throw new Error(`no code: ${callback.get('error')}`);
  const tokens = await json(metadata.token_endpoint, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'authorization_code', code: callback.get('code'), redirect_uri: redirectUri, client_id: clientId,
      code_verifier: verifier, resource: prm.resource,
    }),
  });
  return {
    clientId, accessToken: tokens.access_token, refreshToken: tokens.refresh_token, expiresIn: tokens.expires_in,
    tokenEndpoint: metadata.token_endpoint,
  };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href)
  console.log(JSON.stringify(await obtainToken(process.argv[2], { log: (line) => console.error(line) })));

"""An MCP server on the official Python SDK whose own authorization server takes identity assertions (SEP-990).

    python upstream_asserted.py PORT PROVIDER TTL

PROVIDER is the line of asserting_idp.mjs, TTL the seconds that an access token lives. The gateway is its client `gateway`
with the secret `known to both`. GET /seen tells how many assertions it took.
"""

import json
import secrets
import sys
import time

import httpx2
import jwt
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken, OAuthAuthorizationServerProvider, TokenError
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from starlette.responses import JSONResponse

port, idp, ttl = int(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
issuer = f"http://localhost:{port}"
url = f"{issuer}/mcp"
GATEWAY = OAuthClientInformationFull(
    client_id="gateway",
    client_secret="known to both",
    redirect_uris=None,
    grant_types=["urn:ietf:params:oauth:grant-type:jwt-bearer"],
    token_endpoint_auth_method="client_secret_post",
)


class Provider(OAuthAuthorizationServerProvider):
    """Trusts one provider, and every assertion of it once."""

    def __init__(self) -> None:
        self.tokens: dict[str, AccessToken] = {}
        self.taken: set[str] = set()

    async def get_client(self, client_id):
        return GATEWAY if client_id == GATEWAY.client_id else None

    async def exchange_identity_assertion(self, client, params) -> OAuthToken:
        async with httpx2.AsyncClient(trust_env=False) as http:
            keys = (await http.get(f"{idp['url']}/jwks")).json()["keys"]
        try:
            token = jwt.decode_complete(
                params.assertion,
                jwt.PyJWK(keys[0]),
                algorithms=["RS256"],
                issuer=idp["url"],
                audience=issuer,
                options={"require": ["exp", "iat", "sub", "jti", "client_id", "resource"]},
            )
        except jwt.InvalidTokenError as error:
            raise TokenError("invalid_grant", str(error)) from error
        claims = token["payload"]
        fits = token["header"]["typ"] == "oauth-id-jag+jwt" and claims["client_id"] == client.client_id
        if not fits or claims["jti"] in self.taken:
            raise TokenError("invalid_grant", "not for this client, or not for the first time")
        if claims["resource"] != url:
            raise TokenError("invalid_target", "another resource")
        self.taken.add(claims["jti"])
        value = secrets.token_urlsafe(32)
        scopes = claims.get("scope", "").split()
        self.tokens[value] = AccessToken(
            token=value,
            client_id=client.client_id,
            scopes=scopes,
            expires_at=int(time.time()) + ttl,
            resource=url,
            subject=claims["sub"],
        )
        return OAuthToken(access_token=value, token_type="Bearer", expires_in=ttl, scope=" ".join(scopes))

    async def load_access_token(self, token):
        return self.tokens.get(token)


provider = Provider()
server = MCPServer(
    "notes",
    version="1",
    auth_server_provider=provider,
    auth=AuthSettings(
        issuer_url=issuer,
        resource_server_url=url,
        required_scopes=["notes"],
        validate_token_resource=True,
        identity_assertion_enabled=True,
    ),
)


@server.custom_route("/seen", methods=["GET"])
async def seen(_request):
    return JSONResponse({"assertions": len(provider.taken)})


@server.tool()
def whoami() -> str:
    """The account, and what belongs to it."""
    account = get_access_token().subject
    return json.dumps({"account": account, "notes": [f"the first note of {account}"]})


server.run("streamable-http", port=port)

"""An MCP server that wants OAuth, on the official Python SDK alone: its authorization server over a provider in memory.

    python upstream_sdk.py PORT TTL

TTL is the seconds that an access token lives. GET / tells what happened; POST /revoke-account?account=NAME takes an account's
tokens back.
"""

import json
import secrets
import sys
import time
from dataclasses import dataclass, field

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.server.mcpserver import MCPServer
from mcp.shared.auth import OAuthToken
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse

port, ttl = int(sys.argv[1]), int(sys.argv[2])
issuer = f"http://localhost:{port}"
url = f"{issuer}/mcp"
ACCOUNTS = ["augusta", "robert"]
counts = {"authorizations": 0, "redeemed": 0, "refreshed": 0, "refusedRefreshes": 0, "registered": 0, "revoked": 0}


@dataclass
class Family:
    """Everything that came of one code."""

    account: str
    live: bool = True


@dataclass
class Provider(OAuthAuthorizationServerProvider):
    """A refresh token works once; used again, it ends its family."""

    clients: dict = field(default_factory=dict)
    pending: dict = field(default_factory=dict)
    codes: dict = field(default_factory=dict)
    access: dict = field(default_factory=dict)
    refresh: dict = field(default_factory=dict)
    used: set = field(default_factory=set)

    async def get_client(self, client_id):
        return self.clients.get(client_id)

    async def register_client(self, client_info):
        counts["registered"] += 1
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client, params):
        counts["authorizations"] += 1
        key = secrets.token_urlsafe()
        self.pending[key] = (client, params)
        return f"{issuer}/choose?id={key}"

    def choose(self, key, account):
        client, params = self.pending.pop(key)
        if account not in ACCOUNTS:
            return construct_redirect_uri(str(params.redirect_uri), error="access_denied", state=params.state)
        code = AuthorizationCode(
            code=secrets.token_urlsafe(32),
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
            subject=account,
        )
        self.codes[code.code] = code
        return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state, iss=issuer)

    async def load_authorization_code(self, client, authorization_code):
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(self, client, authorization_code):
        del self.codes[authorization_code.code]
        counts["redeemed"] += 1
        family = Family(authorization_code.subject)
        return self.issue(client, family, authorization_code.scopes, authorization_code.resource)

    async def load_refresh_token(self, client, refresh_token):
        token, family, _resource = self.refresh.get(refresh_token, (None, None, None))
        if token is None or not family.live or refresh_token in self.used:
            if family:
                family.live = False
            counts["refusedRefreshes"] += 1
            return None
        return token

    async def exchange_refresh_token(self, client, refresh_token, scopes):
        _token, family, resource = self.refresh[refresh_token.token]
        self.used.add(refresh_token.token)
        counts["refreshed"] += 1
        return self.issue(client, family, scopes or refresh_token.scopes, resource)

    def issue(self, client, family, scopes, resource):
        access, refresh = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        known = {"client_id": client.client_id, "scopes": scopes, "subject": family.account}
        token = AccessToken(token=access, expires_at=int(time.time()) + ttl, resource=resource, **known)
        self.access[access] = (token, family)
        self.refresh[refresh] = (RefreshToken(token=refresh, **known), family, resource)
        return OAuthToken(
            access_token=access, token_type="Bearer", expires_in=ttl, scope=" ".join(scopes), refresh_token=refresh
        )

    async def load_access_token(self, token):
        found, family = self.access.get(token, (None, None))
        return found if found and family.live else None

    async def revoke_token(self, token):
        counts["revoked"] += 1
        for found, family, *_ in [*self.access.values(), *self.refresh.values()]:
            if found.token == token.token:
                family.live = False


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
        client_registration_options=ClientRegistrationOptions(enabled=True, valid_scopes=["notes"]),
        revocation_options=RevocationOptions(enabled=True),
    ),
)


@server.custom_route("/choose", methods=["GET", "POST"])
async def choose(request):
    if request.method == "POST":
        form = await request.form()
        return RedirectResponse(provider.choose(request.query_params["id"], form["account"]), status_code=303)
    buttons = "".join(f'<button name="account" value="{name}">Sign in as {name}</button>' for name in ACCOUNTS)
    return HTMLResponse(f'<!doctype html><title>Notes</title><h1>Notes</h1><form method="post">{buttons}</form>')


@server.custom_route("/", methods=["GET"])
async def seen(_request):
    return JSONResponse(counts)


@server.custom_route("/revoke-account", methods=["POST"])
async def revoke(request):
    for _token, family in provider.access.values():
        family.live = family.live and family.account != request.query_params["account"]
    return JSONResponse(counts)


@server.tool()
def whoami() -> str:
    """The account, and what belongs to it."""
    account = get_access_token().subject
    return json.dumps({"account": account, "notes": [f"the first note of {account}"]})


server.run("streamable-http", port=port)

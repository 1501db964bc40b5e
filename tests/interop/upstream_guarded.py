"""An MCP server that wants OAuth, on the official Python SDK, behind an authorization server that is not its own.

    python upstream_guarded.py PORT PROVIDER

PROVIDER is the line of upstream_provider.mjs. It asks there about every token (RFC 7662).
"""

import json
import sys

import httpx2
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer

port, provider = int(sys.argv[1]), json.loads(sys.argv[2])
url = f"http://localhost:{port}/mcp"


class Introspection(TokenVerifier):
    """Active, and for this server."""

    async def verify_token(self, token: str) -> AccessToken | None:
        async with httpx2.AsyncClient(trust_env=False) as http:
            credentials = (provider["id"], provider["secret"])
            answer = await http.post(provider["introspection"], data={"token": token}, auth=credentials)
        told = answer.json()
        if not told.get("active"):
            return None
        return AccessToken(
            token=token,
            client_id=told["client_id"],
            scopes=told.get("scope", "").split(),
            expires_at=told["exp"],
            resource=told["aud"],
            subject=told["sub"],
        )


server = MCPServer(
    "notes",
    version="1",
    token_verifier=Introspection(),
    auth=AuthSettings(
        issuer_url=provider["issuer"],
        resource_server_url=url,
        required_scopes=["notes"],
        validate_token_resource=True,
    ),
)


@server.tool()
def whoami() -> str:
    """The account, and what belongs to it."""
    account = get_access_token().subject
    return json.dumps({"account": account, "notes": [f"the first note of {account}"]})


@server.tool()
def echo() -> str:
    """The account again."""
    return json.dumps({"account": get_access_token().subject})


server.run("streamable-http", port=port)

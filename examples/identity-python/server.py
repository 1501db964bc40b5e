"""An MCP server that knows who calls, because the gateway in front of it says so: `python server.py`."""

import os
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from identity import AUDIENCE, RequirePerson

WORKOS_URL = os.environ.get("WORKOS_API_URL", "https://api.workos.com")

server = MCPServer("identity-python", version="1.0.0")


def caller(ctx: Context) -> dict[str, Any]:
    """The claims of the assertion that came with this very request."""
    return ctx.request_context.request.state.person


@server.tool(name="get-user-info")
def get_user_info(ctx: Context) -> dict[str, Any]:
    """Gives the profile of the person who signed in."""
    # `sub` is the gateway's id of the person: what to keep data by.
    fields = ("sub", "user_id", "name", "email", "email_verified", "picture", "organization_id")
    return {name: caller(ctx)[name] for name in fields if name in caller(ctx)}


@server.tool(name="get-user-permissions")
def get_user_permissions(ctx: Context) -> dict[str, Any]:
    """Gives the roles, groups and permissions of the person who signed in."""
    fields = ("organization_id", "roles", "groups", "permissions")
    return {name: caller(ctx)[name] for name in fields if name in caller(ctx)}


@server.tool(name="get-workos-user")
async def get_workos_user(ctx: Context) -> dict[str, Any]:
    """Gives what WorkOS knows of the person who signed in."""
    # The id is the verified caller's own. A tool that took it as an argument would show anybody to anybody.
    url = f"{WORKOS_URL}/user_management/users/{quote(caller(ctx)['user_id'], safe='')}"
    async with httpx2.AsyncClient(timeout=10) as client:
        response = await client.get(url, headers={"Authorization": f"Bearer {os.environ.get('WORKOS_API_KEY')}"})
    # An error that a tool raises becomes a result with `isError`.
    if not response.is_success:
        raise RuntimeError(f"WorkOS answered {response.status_code}")
    return response.json()


# Without sessions, nothing of one caller is kept that another could get at. The SDK's guard against DNS rebinding allows
# loopback names only; a web page that rebinds a name has no assertion, so it is not needed here.
app = server.streamable_http_app(
    streamable_http_path=urlsplit(AUDIENCE).path,
    stateless_http=True,
    transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
)
app.add_middleware(RequirePerson)

if __name__ == "__main__":
    uvicorn.run(app, host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ.get("PORT", "3002")))

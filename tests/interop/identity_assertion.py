"""The official Python client brings an identity assertion instead of sending anybody to a browser: from the first 401 to a
call with the token of a second assertion.

    python identity_assertion.py MCP_URL CLIENT_ID CLIENT_SECRET PROVIDER WAIT

PROVIDER is the line of asserting_idp.mjs. Exit 0 when every step held.
"""

import asyncio
import json
import sys
from urllib.parse import urlsplit

from mcp import Client
from mcp.client.auth.extensions.identity_assertion import IdentityAssertionOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client


def check(held: object, what: str) -> None:
    if not held:
        raise AssertionError(f"expected: {what}")
    print(f"  ok: {what}", file=sys.stderr)


class MemoryStorage:
    """Keeps every token set in order."""

    def __init__(self) -> None:
        self.saved = []

    async def get_tokens(self):
        return self.saved[-1] if self.saved else None

    async def set_tokens(self, tokens):
        self.saved.append(tokens)

    async def get_client_info(self):
        return None

    async def set_client_info(self, client_info):
        raise AssertionError("nobody registers")


def text_of(result) -> str:
    return "".join(getattr(part, "text", "") for part in result.content)


async def journey(url: str, client_id: str, client_secret: str, idp: dict, wait: float, method: str) -> None:
    storage, asked = MemoryStorage(), []
    parts = urlsplit(url)

    async def assertion(audience: str, resource: str) -> str:
        asked.append((audience, resource))
        async with create_mcp_http_client() as http:
            form = {
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "requested_token_type": "urn:ietf:params:oauth:token-type:id-jag",
                "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
                "subject_token": idp["idToken"],
                "client_id": idp["clientId"],
                "client_secret": idp["clientSecret"],
                "audience": audience,
                "resource": resource,
            }
            answer = await http.post(f"{idp['url']}/token", data=form)
            return answer.json()["access_token"]

    provider = IdentityAssertionOAuthProvider(
        server_url=url,
        storage=storage,
        client_id=client_id,
        client_secret=client_secret,
        issuer=f"{parts.scheme}://{parts.netloc}",
        assertion_provider=assertion,
        token_endpoint_auth_method=method,
    )
    async with create_mcp_http_client(auth=provider) as http:
        async with Client(streamable_http_client(url, http_client=http), cache=None) as client:
            echo = text_of(await client.call_tool("echo", {"message": "hello"}))
            check("hello" in echo, "echo answers")
            whoami = json.loads(text_of(await client.call_tool("whoami", {})))
            check(whoami["x-forwarded-email"] == "ada@example.com", f"the server is told who calls: {whoami}")
            check(len(asked) == 1 and asked[0][1] == url, f"one assertion: {asked}")
            check(storage.saved[0].refresh_token is None, "there is no refresh token")
            await asyncio.sleep(wait)
            echo = text_of(await client.call_tool("echo", {"message": "again"}))
            check("again" in echo, "echo answers after expiry")
            check(len(asked) == 2 and len(storage.saved) == 2, "a second assertion and token")


def main() -> None:
    url, client_id, client_secret, idp, wait = sys.argv[1:]
    for method in ("client_secret_post", "client_secret_basic"):
        work = journey(url, client_id, client_secret, json.loads(idp), float(wait), method)
        asyncio.run(asyncio.wait_for(work, timeout=250))
        print(f"PASS python {method}")


if __name__ == "__main__":
    main()

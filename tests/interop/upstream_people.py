"""Two people use a server that wants OAuth through the gateway, with the official Python client and in Chromium: each
connects an account of their own on the consent page, and again when the server took it back.

    python upstream_people.py MCP_URL CONTROL WAIT FOLDER

The browser is person.mjs (NODE names the interpreter), CONTROL is the server's (accounts.mjs), WAIT the seconds after
which its access tokens have expired, FOLDER takes the cookies. Exit 0 when every step held.
"""

import asyncio
import json
import os
import pathlib
import subprocess
import sys
import traceback
from contextlib import AsyncExitStack
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult
from python_sdk import MemoryStorage, check, text_of

REDIRECT = "http://127.0.0.1:43121/callback"
NOT_CONNECTED = -32042


class Person:
    """Somebody with a browser of their own, and their client."""

    def __init__(self, email: str, account: str, folder: str) -> None:
        self.email, self.account = email, account
        self.cookies = pathlib.Path(folder) / f"{account}.json"
        self.visited: dict = {}
        self.opened: list[str] = []

    async def visit(self, url: str) -> dict:
        script = pathlib.Path(__file__).with_name("person.mjs")
        command = [os.environ.get("NODE", "node"), str(script), url, self.email, self.account, str(self.cookies)]
        done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, text=True, timeout=300, check=True)
        self.visited = json.loads(done.stdout.strip().splitlines()[-1])
        return self.visited

    async def arrived(self) -> AuthorizationCodeResult:
        check(self.visited.get("arrived"), f"the browser comes back: {self.visited}")
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.visited["arrived"]).query).items()}
        return AuthorizationCodeResult(code=query["code"], state=query.get("state"), iss=query.get("iss"))

    async def connect(self, stack: AsyncExitStack, url: str) -> None:
        provider = OAuthClientProvider(
            server_url=url,
            client_metadata=OAuthClientMetadata(client_name="Interop Python", redirect_uris=[REDIRECT]),
            storage=MemoryStorage(),
            redirect_handler=self.visit,
            callback_handler=self.arrived,
        )
        http = await stack.enter_async_context(create_mcp_http_client(auth=provider))
        client = Client(streamable_http_client(url, http_client=http), cache=None, elicitation_callback=self.asked)
        self.mcp = await stack.enter_async_context(client)

    async def asked(self, context, params) -> ElicitResult:
        """Opens the link that a call needs first."""
        self.opened.append(params.url)
        await self.visit(params.url)
        return ElicitResult(action="accept")

    async def whoami(self) -> dict:
        return json.loads(text_of(await self.mcp.call_tool("whoami", {})))

    async def sees_their_own(self) -> None:
        told = await self.whoami()
        if told["account"] != self.account or not all(self.account in note for note in told["notes"]):
            raise AssertionError(f"{self.account} saw {told}")


async def seen(control: str, path: str = "/", method: str = "GET") -> dict:
    async with httpx2.AsyncClient(trust_env=False) as http:
        return (await http.request(method, control + path)).json()


async def connect_again(person: Person) -> None:
    """Calls, and goes to the page that the call needs first: asked in the course of the call, or by an error."""
    try:
        await person.sees_their_own()
        check(len(person.opened) == 1, f"asked to open {len(person.opened)} link in the course of the call")
    except MCPError as refused:
        check(refused.error.code == NOT_CONNECTED, f"refused for want of a connection: {refused.error.message}")
        data = refused.error.data
        check(data["elicitations"][0]["url"] == data["authUrl"], f"with a link for whoever takes one: {list(data)}")
        await person.visit(data["authUrl"])
        await person.sees_their_own()
    pressed = person.visited["pressed"]
    check(any(words.startswith("Connect") for words in pressed), f"the link lets its owner connect: {pressed}")


async def journey(url: str, control: str, wait: float, folder: str) -> None:
    ada, bob = Person("ada@example.com", "augusta", folder), Person("bob@example.com", "robert", folder)
    async with AsyncExitStack() as stack:
        for person in (ada, bob):
            await person.connect(stack, url)
            pressed = person.visited["pressed"]
            check(f"Sign in as {person.account}" in pressed, f"connected with an account of their own: {pressed}")
        both = [ada, bob, ada, bob, ada, bob]
        await asyncio.gather(*(person.sees_their_own() for person in both))
        check(True, "each sees their own account and nothing of the other")

        await asyncio.sleep(wait)
        await asyncio.gather(*(person.sees_their_own() for person in both))
        counts = await seen(control)
        check(counts["refreshed"] >= 2 and counts["refusedRefreshes"] == 0, f"refreshed for each: {counts}")
        check(counts["authorizations"] == 2, "nobody had to sign in there again")

        await seen(control, "/revoke-account?account=augusta", "POST")
        await connect_again(ada)
        await bob.sees_their_own()


def main() -> int:
    url, control, wait, folder = sys.argv[1:]
    try:
        asyncio.run(asyncio.wait_for(journey(url, control, float(wait), folder), timeout=500))
    except Exception:
        traceback.print_exc()
        print("FAIL python")
        return 1
    print("PASS python")
    return 0


if __name__ == "__main__":
    sys.exit(main())

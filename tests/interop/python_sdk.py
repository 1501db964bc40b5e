"""The official Python client, from the first 401 to a call with a refreshed token.

    python python_sdk.py MCP_URL [--cimd DOCUMENT_URL] [--wait SECONDS] [--era auto|legacy|2026-07-28]

The browser is robot.mjs (NODE names the interpreter). Exit 0 when every step held.
"""

import argparse
import asyncio
import os
import pathlib
import subprocess
import sys
import traceback
from urllib.parse import parse_qs, urlsplit

from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

REDIRECT = "http://127.0.0.1:43118/callback"


def check(held: object, what: str) -> None:
    if not held:
        raise AssertionError(f"expected: {what}")
    print(f"  ok: {what}", file=sys.stderr)


class MemoryStorage:
    """Keeps every token set in order, so that a rotation can be seen."""

    def __init__(self) -> None:
        self.saved = []
        self.client = None

    async def get_tokens(self):
        return self.saved[-1] if self.saved else None

    async def set_tokens(self, tokens):
        self.saved.append(tokens)

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


class Browser:
    """Runs the robot and keeps where it ended."""

    def __init__(self) -> None:
        self.visits = []
        self.callback = ""

    async def open(self, url: str) -> None:
        self.visits.append(url)
        robot = pathlib.Path(__file__).with_name("robot.mjs")
        done = await asyncio.to_thread(
            subprocess.run, [os.environ.get("NODE", "node"), str(robot), url],
            stdout=subprocess.PIPE, text=True, timeout=300, check=True,
        )
        self.callback = done.stdout.strip().splitlines()[-1]

    async def result(self) -> AuthorizationCodeResult:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.callback).query).items()}
        check("error" not in query, f"no error in the callback ({query.get('error')})")
        check("iss" in query, "the callback names its issuer (AUTHZ-12)")
        return AuthorizationCodeResult(code=query["code"], state=query.get("state"), iss=query.get("iss"))


def text_of(result) -> str:
    return "".join(getattr(part, "text", "") for part in result.content)


async def call_tools(client: Client, turn: str) -> list[str]:
    names = [tool.name for tool in (await client.list_tools()).tools]
    check("echo" in names, f"tools/list shows echo among {len(names)} tools ({turn})")
    echo = text_of(await client.call_tool("echo", {"message": f"hello {turn}"}))
    check(f"hello {turn}" in echo, f"echo answers ({turn})")
    if "whoami" in names:
        print(f"  whoami: {text_of(await client.call_tool('whoami', {}))}", file=sys.stderr)
    return names


async def call_with_progress(client: Client, names: list[str]) -> None:
    seen = []

    async def on_progress(progress, total, message) -> None:
        seen.append(progress)

    name, arguments = (
        ("count", {"to": 3})
        if "count" in names
        else ("trigger-long-running-operation", {"duration": 1, "steps": 3})
    )
    await client.call_tool(name, arguments, progress_callback=on_progress)
    check(len(seen) >= 2, f"{name} reports progress while it runs ({len(seen)} notifications)")


async def journey(options: argparse.Namespace) -> str:
    storage, browser = MemoryStorage(), Browser()
    provider = OAuthClientProvider(
        server_url=options.url,
        client_metadata=OAuthClientMetadata(client_name="Interop Python", redirect_uris=[REDIRECT]),
        storage=storage,
        redirect_handler=browser.open,
        callback_handler=browser.result,
        client_metadata_url=options.cimd,
    )
    async with create_mcp_http_client(auth=provider) as http:
        transport = streamable_http_client(options.url, http_client=http)
        async with Client(transport, mode=options.era, cache=None) as client:
            version = client.session.protocol_version
            check(len(browser.visits) == 1, "one visit of the browser")
            asked = parse_qs(urlsplit(browser.visits[0]).query)
            check(asked["resource"] == [options.url], "the resource asked for is the URL of the server")
            client_id = storage.client.client_id
            check(client_id == options.cimd if options.cimd else client_id, f"the client id is {client_id}")

            names = await call_tools(client, "first")
            await call_with_progress(client, names)
            if options.wait > 0:
                before = storage.saved[-1]
                await asyncio.sleep(options.wait)
                await call_tools(client, "after expiry")
                after = storage.saved[-1]
                check(after.access_token != before.access_token, "the expired access token was replaced")
                check(after.refresh_token != before.refresh_token, "the refresh token was rotated (REFR-3)")
                check(len(browser.visits) == 1, "still one visit of the browser")
    return f"protocol={version} tokens={len(storage.saved)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--cimd")
    parser.add_argument("--wait", type=float, default=0)
    parser.add_argument("--era", default="auto")
    options = parser.parse_args()
    how = "cimd" if options.cimd else "dcr"
    try:
        summary = asyncio.run(asyncio.wait_for(journey(options), timeout=500))
    except Exception:
        traceback.print_exc()
        print(f"FAIL python {how} {options.era}")
        return 1
    print(f"PASS python {how} {options.era} {summary}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

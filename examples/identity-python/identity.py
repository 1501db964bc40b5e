"""Who calls, according to the gateway: verifies the header `X-Doorward-Assertion`."""

import asyncio
import logging
import os
from typing import Any

import jwt
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

# The gateway's origin: what `iss` holds.
ISSUER = os.environ.get("DOORWARD_ISSUER", "http://localhost:9000")
# This server's URL as `rewritePattern` has it, without a query: what `aud` holds.
AUDIENCE = os.environ.get("MCP_URL", "http://127.0.0.1:3002/mcp")

# Keeps the keys, and asks again for one that it does not know: that is how a rotation arrives.
keys = jwt.PyJWKClient(os.environ.get("DOORWARD_JWKS_URL", f"{ISSUER}/.well-known/jwks.json"), timeout=10)


def verify_assertion(assertion: str) -> dict[str, Any]:
    """The claims of a good assertion; raises `jwt.PyJWTError` for any other."""
    verified = jwt.decode_complete(
        assertion,
        keys.get_signing_key_from_jwt(assertion),
        algorithms=["ES256", "EdDSA"],
        issuer=ISSUER,
        audience=AUDIENCE,
        leeway=5,  # Seconds. An assertion lives for 60.
        options={"require": ["iss", "aud", "sub", "client_id", "exp"]},
    )
    # An access token is signed by the same keys, and is none.
    if verified["header"].get("typ") != "doorward-assertion+jwt":
        raise jwt.InvalidTokenError("not an identity assertion")
    return verified["payload"]


class RequirePerson:
    """ASGI middleware: a request has a person, as `request.state.person`, or gets 401."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            assertion = Headers(scope=scope).get("x-doorward-assertion", "")
            try:
                # In a thread, because it may have to fetch the keys.
                person = await asyncio.to_thread(verify_assertion, assertion)
            except jwt.PyJWTError as error:
                # Not its message, which may quote what a stranger sent.
                logging.warning("refused an assertion: %s", type(error).__name__)
                refusal = JSONResponse({"error": "a valid X-Doorward-Assertion is needed"}, status_code=401)
                return await refusal(scope, receive, send)
            scope.setdefault("state", {})["person"] = person
        await self.app(scope, receive, send)

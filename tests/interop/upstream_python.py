"""An MCP server for the gateway to stand in front of, made with the official Python SDK.

    python upstream_python.py PORT [stateless]

Speaks 2025-11-25 (with sessions and resumable streams, unless `stateless`) and 2026-07-28 (stateless). It has

- `echo`, `count` (progress), `step` and `acknowledge` (progress that waits to be seen), `hang` and `was_cancelled`, and `whoami` (the identity headers it received; it fails when the client's
  own token came through, PROX: the token never goes upstream), which the client journeys call;
- what the scenarios of @modelcontextprotocol/conformance ask a server for, under the names they ask for.
"""

import asyncio
import base64
import json
import sys
from typing import Annotated

from mcp.server.mcpserver import Context, MCPServer, RequestStateSecurity
from mcp.server.streamable_http import EventMessage, EventStore
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    Completion,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel, Field

# One red pixel, and a wave file without samples.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
WAV = base64.b64encode(
    b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"
    b"\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00"
).decode()

server = MCPServer("doorward-upstream", version="1", request_state_security=RequestStateSecurity(keys=[b"k" * 32]))


# --- what the client journeys call -----------------------------------------------------------------------------


@server.tool()
def echo(message: str) -> str:
    """Says it again."""
    return f"Echo: {message}"


@server.tool()
async def count(to: int, ctx: Context) -> str:
    """Counts up, telling its progress."""
    for reached in range(1, to + 1):
        await ctx.report_progress(reached, to, f"{reached} of {to}")
        await asyncio.sleep(0.05)
    return f"Counted to {to}"


seen: dict[str, asyncio.Event] = {}
cancelled: set[str] = set()


@server.tool()
async def step(key: str, to: int, ctx: Context) -> str:
    """Tells its progress, and goes on only once the client has said that it saw it (STRM-1)."""
    for reached in range(1, to + 1):
        event = seen.setdefault(f"{key} {reached}", asyncio.Event())
        await ctx.report_progress(reached, to, f"{reached} of {to}")
        await asyncio.wait_for(event.wait(), 120)
    return f"seen {to}"


@server.tool()
async def acknowledge(key: str, reached: int) -> str:
    """Lets `step` go on."""
    seen.setdefault(f"{key} {reached}", asyncio.Event()).set()
    return "ok"


@server.tool()
async def hang(key: str, ctx: Context) -> str:
    """Tells its progress once and works on until it is cancelled, and remembers that (STRM-4)."""
    try:
        await ctx.report_progress(1, 2, "working")
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        cancelled.add(key)
        raise
    return "done"


@server.tool()
async def was_cancelled(key: str) -> bool:
    """Whether `hang` was cancelled; waits a while for it."""
    for _ in range(1_200):
        if key in cancelled:
            return True
        await asyncio.sleep(0.05)
    return False


@server.tool()
def whoami(ctx: Context) -> str:
    """The person the gateway says it is; refuses to answer when a client's token was let through."""
    headers = {name.lower(): value for name, value in (ctx.headers or {}).items()}
    if "authorization" in headers or "cookie" in headers:
        raise ValueError("the client's credentials reached the upstream")
    return json.dumps({name: value for name, value in sorted(headers.items()) if name.startswith("x-forwarded-")})


# --- plain content -----------------------------------------------------------------------------------------------


@server.tool()
def test_simple_text() -> str:
    """Text."""
    return "This is a simple text response for testing."


@server.tool()
def test_image_content() -> list[ImageContent]:
    """An image."""
    return [ImageContent(type="image", data=PNG, mime_type="image/png")]


@server.tool()
def test_audio_content() -> list[AudioContent]:
    """A sound."""
    return [AudioContent(type="audio", data=WAV, mime_type="audio/wav")]


def embedded(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(
        type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    )


@server.tool()
def test_embedded_resource() -> list[EmbeddedResource]:
    """A resource inside the answer."""
    return [embedded("test://embedded-resource", "This is an embedded resource content.")]


@server.tool()
def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
    """Text, image and resource in one answer."""
    return [
        TextContent(type="text", text="Multiple content types test:"),
        ImageContent(type="image", data=PNG, mime_type="image/png"),
        embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json"),
    ]


@server.tool()
def test_error_handling() -> str:
    """Fails."""
    raise RuntimeError("This tool intentionally returns an error for testing")


@server.tool()
def test_x_mcp_header(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "") -> str:
    """Its argument is mirrored in the header Mcp-Param-Region, which a proxy has to leave alone."""
    return f"region={region}"


# --- messages while a tool runs --------------------------------------------------------------------------------


@server.tool()
async def test_tool_with_logging(ctx: Context) -> str:
    """Three log messages."""
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(line)
        await asyncio.sleep(0.05)
    return "logged"


@server.tool()
async def test_tool_with_progress(ctx: Context) -> str:
    """Three progress notifications."""
    for reached in (0, 50, 100):
        await ctx.report_progress(reached, 100, f"Completed step {reached} of 100")
        await asyncio.sleep(0.05)
    return "progressed"


@server.tool()
async def test_reconnection(ctx: Context) -> str:
    """Hangs up in the middle of the call; the client takes the stream up again with Last-Event-ID."""
    await ctx.close_sse_stream()
    await asyncio.sleep(0.2)
    return "Reconnection test completed"


@server.tool()
async def test_sampling(prompt: str, ctx: Context) -> str:
    """Asks the client's model."""
    answer = await ctx.session.create_message(
        messages=[SamplingMessage(role="user", content=TextContent(type="text", text=prompt))],
        max_tokens=100,
        related_request_id=ctx.request_id,
    )
    return f"LLM response: {getattr(answer.content, 'text', '')}"


class Answer(BaseModel):
    response: str = Field(description="User's response")


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: str = Field("active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = True


def titled(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"const": const, "title": title} for const, title in pairs]


OPTIONS = [f"option{n}" for n in (1, 2, 3)]
TITLED = titled(("value1", "First Option"), ("value2", "Second Option"), ("value3", "Third Option"))


class Choices(BaseModel):
    untitledSingle: str = Field(json_schema_extra={"enum": OPTIONS})
    titledSingle: str = Field(json_schema_extra={"oneOf": TITLED})
    legacyEnum: str = Field(json_schema_extra={"enum": OPTIONS, "enumNames": ["One", "Two", "Three"]})
    untitledMulti: list[str] = Field(json_schema_extra={"items": {"type": "string", "enum": OPTIONS}})
    titledMulti: list[str] = Field(json_schema_extra={"items": {"anyOf": TITLED}})


async def elicited(ctx: Context, message: str, schema: type[BaseModel]) -> str:
    answer = await ctx.elicit(message=message, schema=schema)
    content = answer.data.model_dump_json() if answer.action == "accept" else "{}"
    return f"action={answer.action}, content={content}"


@server.tool()
async def test_elicitation(message: str, ctx: Context) -> str:
    """Asks the person."""
    return f"User response: {await elicited(ctx, message, Answer)}"


@server.tool()
async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    """Asks with a default for every primitive type."""
    return f"Elicitation completed: {await elicited(ctx, 'Please review', Defaults)}"


@server.tool()
async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    """Asks with every kind of enumeration."""
    return f"Elicitation completed: {await elicited(ctx, 'Please choose', Choices)}"


@server.tool()
async def test_missing_capability(ctx: Context) -> str:
    """Needs a client that can sample."""
    declared = ctx.client_capabilities
    if declared is None or declared.sampling is None:
        raise MCPError(
            code=MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="sampling is required",
            data={"requiredCapabilities": {"sampling": {}}},
        )
    return "sampling is there"


# --- questions in the result, 2026-07-28 -----------------------------------------------------------------------


def ask(message: str, name: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(text: str) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=100))


def answered(ctx: Context, *names: str) -> bool:
    return set(names) <= set(ctx.input_responses or {})


def elicited_value(ctx: Context, request: str, name: str) -> str:
    content = getattr((ctx.input_responses or {}).get(request), "content", None) or {}
    return str(content.get(name, "")) if isinstance(content, dict) else ""


@server.tool()
async def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
    """One question to the person."""
    if answered(ctx, "user_name"):
        return f"Hello, {elicited_value(ctx, 'user_name', 'name')}!"
    return InputRequiredResult(input_requests={"user_name": ask("What is your name?", "name")})


@server.tool()
async def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
    """One question to the model."""
    if answered(ctx, "capital_question"):
        return "The model answered."
    return InputRequiredResult(input_requests={"capital_question": sample("What is the capital of France?")})


@server.tool()
async def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
    """One question for the client's roots."""
    if answered(ctx, "client_roots"):
        return "The roots came."
    return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})


@server.tool()
async def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
    """State that has to come back as it was given."""
    if answered(ctx, "confirm") and ctx.request_state == "kept":
        return "state-ok"
    return InputRequiredResult(input_requests={"confirm": ask("Please confirm", "ok", "boolean")}, request_state="kept")


@server.tool()
async def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
    """Three questions at once."""
    if answered(ctx, "user_name", "greeting", "client_roots"):
        return "All inputs received."
    return InputRequiredResult(
        input_requests={
            "user_name": ask("What is your name?", "name"),
            "greeting": sample("Generate a greeting"),
            "client_roots": ListRootsRequest(),
        },
        request_state="several",
    )


@server.tool()
async def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
    """Two questions, one after the other."""
    if ctx.request_state == "second" and answered(ctx, "step2"):
        return f"The colour is {elicited_value(ctx, 'step2', 'color')}."
    if ctx.request_state == "first" and answered(ctx, "step1"):
        question = ask("Step 2: What is your favorite color?", "color")
        return InputRequiredResult(input_requests={"step2": question}, request_state="second")
    question = ask("Step 1: What is your name?", "name")
    return InputRequiredResult(input_requests={"step1": question}, request_state="first")


@server.tool()
async def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
    """State that was changed on the way is refused by the SDK before this runs."""
    if ctx.request_state is not None:
        return "state-ok"
    question = ask("Please confirm", "ok", "boolean")
    return InputRequiredResult(input_requests={"confirm": question}, request_state="round-1")


@server.tool()
async def test_input_required_result_capabilities(ctx: Context) -> InputRequiredResult:
    """Asks only what the client said it can answer."""
    declared = ctx.client_capabilities
    requests = {}
    if declared is None or declared.sampling is not None:
        requests["sample"] = sample("Say hello")
    if declared is None or declared.elicitation is not None:
        requests["ask"] = ask("What is your name?", "name")
    return InputRequiredResult(input_requests=requests, request_state="gated")


@server.tool()
async def test_trigger_tool_change(ctx: Context) -> str:
    """Says that the list of tools changed."""
    await ctx.notify_tools_changed()
    return "announced"


@server.tool()
async def test_trigger_prompt_change(ctx: Context) -> str:
    """Says that the list of prompts changed."""
    await ctx.notify_prompts_changed()
    return "announced"


# --- resources, prompts, completion ----------------------------------------------------------------------------


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    """Text."""
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    """Bytes."""
    return base64.b64decode(PNG)


@server.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> str:
    """A template."""
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


@server.resource("test://watched-resource", mime_type="text/plain")
def watched() -> str:
    """To be subscribed to."""
    return "Watched resource content."


def said(content: TextContent | ImageContent | EmbeddedResource) -> dict:
    return {"role": "user", "content": content}


@server.prompt()
def test_simple_prompt() -> str:
    """Without arguments."""
    return "This is a simple prompt for testing."


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """With two arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@server.prompt()
def test_prompt_with_embedded_resource(resourceUri: str) -> list[dict]:
    """With a resource inside."""
    return [
        said(embedded(resourceUri, "Embedded resource content for testing.")),
        said(TextContent(type="text", text="Please process the embedded resource above.")),
    ]


@server.prompt()
def test_prompt_with_image() -> list[dict]:
    """With an image inside."""
    return [
        said(ImageContent(type="image", data=PNG, mime_type="image/png")),
        said(TextContent(type="text", text="Please analyze the image above.")),
    ]


@server.prompt()
async def test_input_required_result_prompt(ctx: Context) -> str | InputRequiredResult:
    """Asks before it answers."""
    if answered(ctx, "user_context"):
        return f"Use this context: {elicited_value(ctx, 'user_context', 'context')}"
    return InputRequiredResult(input_requests={"user_context": ask("What context should be used?", "context")})


@server.completion()
async def complete(ref, argument, context) -> Completion:
    """Knows two cities."""
    values = [city for city in ("paris", "park city") if city.startswith(argument.value)]
    return Completion(values=values, total=len(values), has_more=False)


def accept(method: str, params: type[BaseModel]) -> None:
    """Answers `method` with an empty result: the SDK has no public way to say so."""

    async def handler(ctx, _params) -> EmptyResult:
        return EmptyResult()

    server._lowlevel_server.add_request_handler(method, params, handler)


accept("logging/setLevel", SetLevelRequestParams)
accept("resources/subscribe", SubscribeRequestParams)
accept("resources/unsubscribe", UnsubscribeRequestParams)


class Events(EventStore):
    """Every event of every stream, so that a stream can be resumed."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    async def store_event(self, stream_id, message) -> str:
        self.events.append((stream_id, message))
        return str(len(self.events))

    async def replay_events_after(self, last_event_id, send_callback):
        if not (last_event_id.isdigit() and 0 < int(last_event_id) <= len(self.events)):
            return None
        stream = self.events[int(last_event_id) - 1][0]
        for number, (owner, message) in enumerate(self.events[int(last_event_id) :], start=int(last_event_id) + 1):
            if owner == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


if __name__ == "__main__":
    if sys.argv[2:] == ["stateless"]:
        server.run("streamable-http", port=int(sys.argv[1]), stateless_http=True)
    else:
        server.run("streamable-http", port=int(sys.argv[1]), event_store=Events(), retry_interval=100)

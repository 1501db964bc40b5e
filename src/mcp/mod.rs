//! The MCP vocabulary (Streamable HTTP, revisions 2025-03-26 to 2026-07-28), as far as a proxy must speak it:
//! header names and JSON-RPC errors. Pure.

use serde_json::{Value, json};

/// `Mcp-Session-Id` of the handshake era.
pub const SESSION_ID: &str = "mcp-session-id";
/// `MCP-Protocol-Version` of both eras.
pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";

/// The request was refused before it reached a server. From the range −32000 … −32019 that is ours (PROX-8).
pub const REFUSED: i32 = -32000;
/// The session does not exist, or is somebody else's.
pub const SESSION_NOT_FOUND: i32 = -32001;
/// The server behind the gateway could not be reached, or did not answer as it should. Not −32002, which
/// meant a missing resource until 2025-11-25.
pub const UPSTREAM_FAILED: i32 = -32010;

/// A JSON-RPC error that answers no request in particular.
#[must_use]
pub fn error(code: i32, message: &str, reference: &str) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": null,
        "error": { "code": code, "message": message, "data": { "reference": reference } },
    })
}

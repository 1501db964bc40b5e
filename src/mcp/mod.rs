//! The MCP vocabulary (Streamable HTTP, revisions 2025-03-26 to 2026-07-28), as far as a proxy must speak it:
//! header names, JSON-RPC errors, messages and lists. Pure.

pub mod capability;
pub mod elicitation;
pub mod events;
pub mod listing;
pub mod mirrored;
pub mod posted;
mod scanner;
pub(crate) mod text;
mod unique;

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

/// There is no such method, tool, prompt or resource for the caller.
pub const NOT_FOUND: i32 = -32601;
/// A header does not agree with the body (2026-07-28).
pub const HEADER_MISMATCH: i32 = -32020;

/// A JSON-RPC error that answers no request in particular.
#[must_use]
pub fn error(code: i32, message: &str, reference: &str) -> Value {
    error_for(None, code, message, reference)
}

/// A JSON-RPC error for the request with this id. An id that is no text or number is not repeated.
#[must_use]
pub fn error_for(id: Option<&Value>, code: i32, message: &str, reference: &str) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": id.filter(|id| id.is_string() || id.is_number()),
        "error": { "code": code, "message": message, "data": { "reference": reference } },
    })
}

//! How the double answers, and what becomes of single requests.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a refresh answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refreshing {
    /// With a new refresh token; the old one used again ends the whole family (RFC 9700 §4.14.2).
    #[default]
    Rotates,
    /// Without a refresh token: the old one stays (RFC 6749 §6).
    KeepsSilently,
    /// With the same refresh token.
    Keeps,
    /// There are no refresh tokens at all.
    Never,
}

/// How it answers. `Default` is how it should be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Behaviour {
    /// The MCP endpoint is the origin itself, whose metadata stand at the root.
    pub at_root: bool,
    /// No protected resource metadata where RFC 9728 §3.1 inserts the path.
    pub no_path_metadata: bool,
    /// None at the root either.
    pub no_root_metadata: bool,
    /// The challenge names no metadata.
    pub silent_challenge: bool,
    /// `scope` of the challenge.
    pub challenge_scope: Option<String>,
    /// Members to set in the protected resource metadata; null takes one out.
    pub resource_metadata: Option<Value>,
    /// Members to set in the authorization server's metadata; null takes one out.
    pub metadata: Option<Value>,
    /// Its issuer is the origin, without a path.
    pub root_issuer: bool,
    pub no_rfc_8414: bool,
    pub no_openid: bool,
    /// No dynamic registration.
    pub no_registration: bool,
    /// Members to set in the answer of a registration; null takes one out.
    pub registration: Option<Value>,
    /// Takes URLs of client-id metadata documents as client ids.
    pub takes_documents: bool,
    /// The authorization endpoint sends the browser back with this `error`: `access_denied` where consent is refused.
    pub callback_error: Option<String>,
    /// `state` on the callback.
    pub callback_state: Option<String>,
    /// `iss` on the callback.
    pub callback_issuer: Option<String>,
    /// No `iss` on the callback, and none promised.
    pub no_issuer: bool,
    /// No `iss` on the callback, although the metadata promise it.
    pub broken_promise: bool,
    pub refreshing: Refreshing,
    /// A superseded refresh token works until its successor is used.
    pub superseded_works: bool,
    /// Seconds an access token lives, and says so; an hour where it is not set.
    pub expires_in: Option<i64>,
    /// The token answer does not say how long it lives.
    pub no_expires_in: bool,
    /// Members to set in the token answer; null takes one out.
    pub token_answer: Option<Value>,
    /// Scope that every call of a tool needs; without it: 403, and the scope in the challenge.
    pub required_scope: Option<String>,
    /// The MCP endpoint answers in an event stream.
    pub streams: bool,
}

/// What becomes of one request instead.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// Nothing is done, and this answered.
    #[serde(rename_all = "camelCase")]
    Answer { status: u16, body: String, retry_after: Option<u64> },
    /// Nothing is done, and the connection ends without an answer.
    Dropped,
    /// It is done, and the connection ends without an answer.
    AnswerLost,
    /// It waits until [`FakeUpstream::release`](super::FakeUpstream::release), and is then done.
    HeldBefore,
    /// It is done, and the answer waits until [`FakeUpstream::release`](super::FakeUpstream::release).
    HeldAfter,
    /// Nothing is done; 401 with the challenge. Of the MCP endpoint.
    Unauthorized,
    /// It is done, and 401 answered nevertheless. Of the MCP endpoint.
    DoneAndUnauthorized,
}

impl Fault {
    /// An OAuth error.
    pub fn error(status: u16, code: &str) -> Self {
        Self::Answer { status, body: json!({ "error": code }).to_string(), retry_after: None }
    }

    pub fn invalid_grant() -> Self {
        Self::error(400, "invalid_grant")
    }

    /// 200 with an `error`, as GitHub has it.
    pub fn error_in_200(code: &str) -> Self {
        Self::error(200, code)
    }

    /// 429; `retry_after` in seconds.
    pub fn too_many(retry_after: u64) -> Self {
        Self::Answer { status: 429, body: "too many".to_owned(), retry_after: Some(retry_after) }
    }

    /// 500 with a page.
    pub fn down() -> Self {
        Self::Answer { status: 500, body: "<html>down</html>".to_owned(), retry_after: None }
    }
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Endpoint {
    /// RFC 9728, with the path inserted.
    PathMetadata,
    /// RFC 9728, at the root.
    RootMetadata,
    Rfc8414,
    OpenId,
    Registration,
    Authorize,
    Token,
    Revocation,
    Mcp,
}

//! Token endpoint answers (OAuth 2.1 §3.2.3, RFC 6749 §5).

use std::fmt;

use serde::Serialize;

/// `grant_type` of RFC 7523 §2.1: an assertion is the grant.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Errors of the token endpoint (RFC 6749 §5.2, RFC 8707 §2.2, RFC 8628 §3.5). No RFC names the one that goes with 429; client
/// libraries know `too_many_requests`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenErrorCode {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    InvalidTarget,
    AccessDenied,
    TooManyRequests,
    TemporarilyUnavailable,
    ServerError,
}

impl TokenErrorCode {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::AccessDenied => "access_denied",
            Self::TooManyRequests => "too_many_requests",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }

    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::InvalidClient => 401,
            Self::TooManyRequests => 429,
            Self::TemporarilyUnavailable => 503,
            Self::ServerError => 500,
            _ => 400,
        }
    }
}

/// A successful answer. No member is ever null (CODE-12); `Debug` shows no token (SEC-6).
#[derive(Clone, Serialize)]
pub struct TokenResponse {
    pub access_token: String,
    pub token_type: &'static str,
    /// Seconds.
    pub expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    pub scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}

/// Brings a text into the characters an `error_description` may have: %x20-21 / %x23-5B / %x5D-7E (CODE-15).
#[must_use]
pub fn sanitize_description(text: &str) -> String {
    text.chars()
        .take(500)
        .map(|char| match char {
            '"' | '`' => '\'',
            '\\' => '/',
            ' '..='~' => char,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // CODE-15
    proptest::proptest! {
        #[test]
        fn a_description_holds_only_the_characters_the_rfc_allows(text in "\\PC{0,600}|[\\x00-\\x7f]{0,50}") {
            let clean = sanitize_description(&text);
            assert!(clean.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)));
        }
    }

    // CODE-2, CODE-15
    #[test]
    fn only_what_a_client_can_mend_is_a_bad_request() {
        use TokenErrorCode::{InvalidClient, InvalidGrant, InvalidTarget, ServerError, TemporarilyUnavailable};
        let answers = [InvalidGrant, InvalidTarget, InvalidClient, ServerError, TemporarilyUnavailable]
            .map(|code| (code.http_status(), code.as_str()));
        let expected = [
            (400, "invalid_grant"),
            (400, "invalid_target"),
            (401, "invalid_client"),
            (500, "server_error"),
            (503, "temporarily_unavailable"),
        ];
        assert_eq!(answers, expected);
    }

    // CODE-12
    #[test]
    fn an_answer_has_no_null_member() {
        let response = TokenResponse {
            access_token: "a".into(),
            token_type: "Bearer",
            expires_in: 900,
            refresh_token: None,
            scope: "mcp:tools".into(),
            resource: None,
        };
        let json = serde_json::to_value(&response).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"access_token": "a", "token_type": "Bearer", "expires_in": 900, "scope": "mcp:tools"})
        );
    }
}

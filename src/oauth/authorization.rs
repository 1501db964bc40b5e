//! Authorization responses (OAuth 2.1 §4.1.2, RFC 9207): what goes back to the redirect URI.

use super::token::sanitize_description;

/// Errors of the authorization endpoint (RFC 6749 §4.1.2.1, RFC 8707 §2, OIDC Core §3.1.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorizationErrorCode {
    InvalidRequest,
    UnauthorizedClient,
    AccessDenied,
    UnsupportedResponseType,
    InvalidScope,
    ServerError,
    TemporarilyUnavailable,
    InvalidTarget,
    LoginRequired,
    ConsentRequired,
    RequestNotSupported,
    RequestUriNotSupported,
}

impl AuthorizationErrorCode {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::AccessDenied => "access_denied",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::InvalidTarget => "invalid_target",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
        }
    }
}

/// `code`, `state` and `iss` (AUTHZ-12, AUTHZ-13).
#[must_use]
pub fn success_params(code: &str, state: Option<&str>, issuer: &str) -> Vec<(String, String)> {
    let mut params = vec![("code".to_owned(), code.to_owned())];
    finish(&mut params, state, issuer);
    params
}

/// `error`, `error_description`, `state` and `iss`.
#[must_use]
pub fn error_params(
    code: AuthorizationErrorCode,
    description: Option<&str>,
    state: Option<&str>,
    issuer: &str,
) -> Vec<(String, String)> {
    let mut params = vec![("error".to_owned(), code.as_str().to_owned())];
    if let Some(description) = description {
        params.push(("error_description".to_owned(), sanitize_description(description)));
    }
    finish(&mut params, state, issuer);
    params
}

fn finish(params: &mut Vec<(String, String)>, state: Option<&str>, issuer: &str) {
    if let Some(state) = state {
        params.push(("state".to_owned(), state.to_owned()));
    }
    params.push(("iss".to_owned(), issuer.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    // AUTHZ-12, AUTHZ-13
    #[test]
    fn answers_carry_iss_once_and_state_only_when_there_was_one() {
        let names = |params: Vec<(String, String)>| params.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(success_params("c", Some("s"), "https://gw")), ["code", "state", "iss"]);
        assert_eq!(names(success_params("c", None, "https://gw")), ["code", "iss"]);
        let denied = error_params(AuthorizationErrorCode::AccessDenied, Some("no \"thanks\""), Some("s"), "https://gw");
        assert_eq!(denied[1].1, "no 'thanks'");
        assert_eq!(names(denied), ["error", "error_description", "state", "iss"]);
    }
}

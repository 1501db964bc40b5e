//! What WorkOS means when it says no (WOS-3, WOS-4, WOS-5).
//!
//! Descriptions are read for one purpose, telling an unlisted redirect URI from other bad requests, and go no
//! further: they repeat the code.

use http::StatusCode;
use serde_json::Value;

use super::shown::error_code;
use super::{InteractiveStep, LoginError, SetUpFault};

/// A failed answer of `authenticate`: `{error, error_description}`, `{code, message}` or `{message}` alone.
pub(super) fn of_answer(status: StatusCode, body: &[u8], redirect_uri: &str) -> LoginError {
    if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) {
        return LoginError::Unavailable(format!("HTTP {}", status.as_u16()));
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let description = text("error_description").or_else(|| text("message"));
    if let Some(name) = text("error").or_else(|| text("code"))
        && let Some(error) = by_name(name, description, redirect_uri)
    {
        return error;
    }
    match status.as_u16() {
        401 => LoginError::SetUp(SetUpFault::WrongSecret),
        403 => LoginError::AccessDenied,
        404 => LoginError::SetUp(SetUpFault::UnknownClient),
        other => {
            let name = text("error").or_else(|| text("code")).map_or_else(|| "no error code".to_owned(), error_code);
            LoginError::Untrusted(format!("HTTP {other} from the code exchange, {name}"))
        }
    }
}

/// `error=` on the callback.
pub(super) fn of_callback(error: &str, description: Option<&str>, redirect_uri: &str) -> LoginError {
    by_name(error, description, redirect_uri)
        .unwrap_or_else(|| LoginError::Untrusted(format!("the error {} on the callback", error_code(error))))
}

/// `None` for a name that says nothing by itself.
fn by_name(name: &str, description: Option<&str>, redirect_uri: &str) -> Option<LoginError> {
    let unlisted = || LoginError::SetUp(SetUpFault::RedirectUriNotListed { redirect_uri: redirect_uri.to_owned() });
    Some(match name {
        "organization_selection_required" => LoginError::Interactive(InteractiveStep::SelectOrganization),
        "email_verification_required" => LoginError::Interactive(InteractiveStep::VerifyEmail),
        "sso_required" => LoginError::Interactive(InteractiveStep::Sso),
        "organization_authentication_methods_required" | "login_required" | "interaction_required" => {
            LoginError::Interactive(InteractiveStep::Other)
        }
        _ if name.starts_with("mfa_") => LoginError::Interactive(InteractiveStep::Mfa),
        "access_denied"
        | "user_not_found"
        | "no_users"
        | "profile_not_allowed_outside_organization"
        | "signup_disabled" => LoginError::AccessDenied,
        "invalid_grant" | "invalid_code" => LoginError::CodeRejected,
        "invalid_client" | "invalid_client_secret" | "unauthorized" => LoginError::SetUp(SetUpFault::WrongSecret),
        "application_not_found" | "client_not_found" | "invalid_client_id" | "unauthorized_client" => {
            LoginError::SetUp(SetUpFault::UnknownClient)
        }
        "invalid_redirect_uri" | "redirect_uri_invalid" | "redirect_uri_mismatch" => unlisted(),
        "invalid_request" if description.is_some_and(names_redirect_uri) => unlisted(),
        "temporarily_unavailable" | "server_error" | "rate_limit_exceeded" => {
            LoginError::Unavailable(format!("it says {name}"))
        }
        _ => return None,
    })
}

fn names_redirect_uri(description: &str) -> bool {
    let description = description.to_ascii_lowercase();
    description.contains("redirect uri") || description.contains("redirect_uri")
}

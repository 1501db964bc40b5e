//! Where outcomes become HTTP: OAuth JSON, pages and redirects, each with the headers it owes.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::json;

use super::admission::Context;
use super::pages::{self, ErrorPage, PageLink};
use crate::authorization::{RegisterError, TokenFailure};
use crate::domain::Throttled;
use crate::oauth::token::{TokenErrorCode, sanitize_description};
use crate::store::StoreError;

/// Seconds a client should wait when the store is away.
const RETRY_AFTER: &str = "2";

/// JSON that must not be kept by anyone (CODE-1).
pub fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")], Json(body)).into_response()
}

/// An OAuth error (RFC 6749 §5.2). The description ends with a reference that is in the log too (CODE-15).
pub fn oauth_error(status: StatusCode, code: &str, description: &str, context: &Context) -> Response {
    let description = sanitize_description(&format!("{description} (reference {})", context.request_id));
    json(status, &json!({ "error": code, "error_description": description }))
}

/// An error outside OAuth, such as an unknown path.
pub fn plain_error(code: &str, text: &str, request_id: &str) -> Json<serde_json::Value> {
    Json(json!({ "error": code, "message": text, "requestId": request_id }))
}

pub fn not_found(context: &Context) -> Response {
    let body = plain_error("not_found", "There is nothing at this address.", &context.request_id);
    (StatusCode::NOT_FOUND, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// 414, for whoever it was (LIM-4).
pub fn target_too_long(headers: &HeaderMap, context: &Context) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let text = "The address is longer than this server takes.";
    if accept.contains("text/html") {
        return trouble(
            Trouble {
                status: StatusCode::URI_TOO_LONG,
                title: "The address is too long",
                message: text.to_owned(),
                next_steps: &["Go back to the application and connect again."],
                link: None,
            },
            context,
        );
    }
    let body = plain_error("uri_too_long", text, &context.request_id);
    (StatusCode::URI_TOO_LONG, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}

pub fn unavailable(error: &StoreError, context: &Context) -> Response {
    tracing::error!(event = "store_unavailable", %error);
    let mut response = oauth_error(
        StatusCode::SERVICE_UNAVAILABLE,
        "temporarily_unavailable",
        "temporarily unavailable; try again",
        context,
    );
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    response
}

/// 429 in the words of OAuth (LIM-2).
pub fn throttled(throttled: Throttled, context: &Context) -> Response {
    let code = TokenErrorCode::TooManyRequests.as_str();
    let response = oauth_error(StatusCode::TOO_MANY_REQUESTS, code, &throttled.to_string(), context);
    retry_after(response, throttled)
}

/// 429 for people.
pub fn throttled_page(throttled: Throttled, context: &Context) -> Response {
    let page = trouble(
        Trouble {
            status: StatusCode::TOO_MANY_REQUESTS,
            title: "Too many sign-ins at once",
            message: "More sign-ins were started from your network than this server takes in a minute.".to_owned(),
            next_steps: &["Wait a minute and reload this page."],
            link: None,
        },
        context,
    );
    retry_after(page, throttled)
}

fn retry_after(mut response: Response, throttled: Throttled) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, throttled.retry_after.into());
    response
}

/// The one mapping of token, revocation and client-authentication failures.
pub fn token_failure(failure: &TokenFailure, context: &Context) -> Response {
    if let TokenFailure::Throttled(refusal) = failure {
        tracing::info!(event = "mcp_auth_token_refused", reasonCode = "too_many_requests");
        return throttled(*refusal, context);
    }
    let code = failure.code();
    let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
    tracing::info!(event = "mcp_auth_token_refused", reasonCode = code.as_str(), reason = %failure);
    let mut response = oauth_error(status, code.as_str(), &failure.to_string(), context);
    match failure {
        TokenFailure::ClientAuthentication { basic: true } => {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"doorward\""));
        }
        _ if code == TokenErrorCode::TemporarilyUnavailable => {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        _ => {}
    }
    response
}

pub fn register_failure(failure: &RegisterError, context: &Context) -> Response {
    match failure {
        RegisterError::Off => not_found(context),
        RegisterError::InitialAccessToken => {
            let mut response = oauth_error(StatusCode::UNAUTHORIZED, "invalid_token", &failure.to_string(), context);
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
            response
        }
        RegisterError::Metadata(error) => {
            oauth_error(StatusCode::BAD_REQUEST, error.code.as_str(), &error.description, context)
        }
        RegisterError::Throttled(refusal) => throttled(*refusal, context),
        RegisterError::Store(error) => unavailable(error, context),
    }
}

/// A page.
pub fn page(status: StatusCode, html: String, form_action: Option<&'static str>) -> Response {
    (status, pages::security_headers(form_action), html).into_response()
}

/// The page of something that went wrong.
pub struct Trouble<'a> {
    pub status: StatusCode,
    pub title: &'a str,
    pub message: String,
    pub next_steps: &'a [&'a str],
    pub link: Option<PageLink>,
}

pub fn trouble(trouble: Trouble<'_>, context: &Context) -> Response {
    tracing::info!(
        event = "page_refused",
        status = trouble.status.as_u16(),
        title = trouble.title,
        reason = trouble.message
    );
    let html = ErrorPage {
        title: trouble.title.to_owned(),
        message: trouble.message,
        next_steps: trouble.next_steps.iter().map(|step| (*step).to_owned()).collect(),
        reference: context.request_id.to_string(),
        link: trouble.link,
    }
    .render();
    page(trouble.status, html, pages::NO_FORM)
}

/// The page for a store that is away.
pub fn unavailable_page(error: &StoreError, context: &Context) -> Response {
    tracing::error!(event = "store_unavailable", %error);
    let mut response = trouble(
        Trouble {
            status: StatusCode::SERVICE_UNAVAILABLE,
            title: "Please try again in a moment",
            message: "The gateway cannot reach its records right now. Nothing was lost.".to_owned(),
            next_steps: &["Wait a few seconds and reload this page."],
            link: None,
        },
        context,
    );
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    response
}

/// 303: the browser follows with GET, whatever it came with (AUTHZ-15).
pub fn see_other(location: &str) -> Response {
    match HeaderValue::from_str(location) {
        Ok(location) => {
            let headers = [
                (header::LOCATION, location),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
                (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            ];
            (StatusCode::SEE_OTHER, headers).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

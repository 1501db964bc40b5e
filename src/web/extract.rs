//! Reading bodies within bounds (LIM-4, DCR-12, CODE-1).

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;

use super::admission::Context;
use super::respond::{self, Trouble};
use crate::authorization::TokenRequest;
use crate::oauth::params::Params;

/// The largest form or registration body, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// How long such a body may take. The listener bounds the head only.
const BODY_READ: Duration = Duration::from_secs(30);

/// The whole body, up to [`MAX_BODY`].
pub async fn bytes(body: Body) -> Result<Vec<u8>, StatusCode> {
    match tokio::time::timeout(BODY_READ, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes.to_vec()),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// The one segment or tail that a route of the URL table leaves open. What is no text names nothing (DISC-2).
pub struct Named(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let context =
            Context::from_request_parts(parts, state).await.map_err(axum::response::IntoResponse::into_response)?;
        let named = Path::<String>::from_request_parts(parts, state).await;
        named.map(|Path(name)| Self(name)).map_err(|_| respond::not_found(&context))
    }
}

/// A client's form, or the OAuth error that says what is wrong with it.
pub async fn form(headers: &HeaderMap, body: Body, context: &Context) -> Result<Params, Response> {
    read_form(headers, body)
        .await
        .map_err(|(status, text)| respond::oauth_error(status, "invalid_request", text, context))
}

/// A client's form as the token, revocation and introspection endpoints read it.
pub fn token_request<'a>(form: &'a Params, headers: &'a HeaderMap, context: &'a Context) -> TokenRequest<'a> {
    TokenRequest {
        form,
        authorization: headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()),
        origin: &context.origin,
        peer: context.client_ip,
    }
}

/// The form of a page of ours, or the page that says what is wrong with it.
pub async fn page_form(headers: &HeaderMap, body: Body, context: &Context) -> Result<Params, Response> {
    read_form(headers, body).await.map_err(|(status, text)| {
        let trouble = Trouble {
            status,
            title: "This form was not accepted",
            message: format!("It was not sent as this page's own form is: {text}. Nothing was changed."),
            next_steps: &["Go back, reload the page and try again."],
            link: None,
        };
        respond::trouble(trouble, context)
    })
}

async fn read_form(headers: &HeaderMap, body: Body) -> Result<Params, (StatusCode, &'static str)> {
    if !is_form(headers) {
        return Err((StatusCode::BAD_REQUEST, "the body must be application/x-www-form-urlencoded"));
    }
    match bytes(body).await {
        Ok(bytes) => Ok(Params::parse(&String::from_utf8_lossy(&bytes))),
        Err(status) => Err((status, "the body is larger than 64 KiB, or did not come in time")),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// The token of an `Authorization: Bearer` header.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a form was posted by a page of this origin: browsers say so themselves. A browser too old for
/// `Sec-Fetch-Site` is held by the `SameSite` cookie and the page's own hidden value.
pub fn is_same_origin(headers: &HeaderMap, origin: &str) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    match headers.get(header::ORIGIN).and_then(|value| value.to_str().ok()) {
        // Our own pages send no referrer, so their forms come with `Origin: null`.
        None | Some("null") => true,
        Some(sent) => sent == origin,
    }
}

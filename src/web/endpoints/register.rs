//! `POST /oauth/register` (RFC 7591) and `GET|PUT|DELETE /oauth/register/<id>` (RFC 7592).

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::authorization::{AuthorizationServer, ManagementError};
use crate::web::admission::Context;
use crate::web::extract::{self, Named};
use crate::web::respond;

pub async fn post(context: Context, headers: HeaderMap, body: Body) -> Response {
    let Some(server) = &context.gateway.authorization else { return respond::not_found(&context) };
    let Ok(body) = extract::bytes(body).await else { return too_large(&context) };
    match server.register(&body, extract::bearer(&headers), &context.origin, context.client_ip).await {
        Ok(registered) => respond::json(StatusCode::CREATED, &registered),
        Err(failure) => respond::register_failure(&failure, &context),
    }
}

pub async fn read(context: Context, Named(id): Named, headers: HeaderMap) -> Response {
    let Some(server) = &context.gateway.authorization else { return respond::not_found(&context) };
    let token = extract::bearer(&headers).unwrap_or_default();
    match server.read_registration(&id, token, &context.origin).await {
        Ok(registered) => respond::json(StatusCode::OK, &registered),
        Err(failure) => refused(&failure, &id, server, &context),
    }
}

pub async fn update(context: Context, Named(id): Named, headers: HeaderMap, body: Body) -> Response {
    let Some(server) = &context.gateway.authorization else { return respond::not_found(&context) };
    let Ok(body) = extract::bytes(body).await else { return too_large(&context) };
    let token = extract::bearer(&headers).unwrap_or_default();
    match server.update_registration(&id, token, &body, &context.origin).await {
        Ok(registered) => respond::json(StatusCode::OK, &registered),
        Err(failure) => refused(&failure, &id, server, &context),
    }
}

pub async fn delete(context: Context, Named(id): Named, headers: HeaderMap) -> Response {
    let Some(server) = &context.gateway.authorization else { return respond::not_found(&context) };
    match server.delete_registration(&id, extract::bearer(&headers).unwrap_or_default()).await {
        Ok(()) => (StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response(),
        Err(failure) => refused(&failure, &id, server, &context),
    }
}

fn refused(failure: &ManagementError, id: &str, server: &AuthorizationServer, context: &Context) -> Response {
    match failure {
        ManagementError::Unauthorized => {
            if let Err(throttled) = server.budgets.unproven(id, context.client_ip, server.now()) {
                return respond::throttled(throttled, context);
            }
            let mut response =
                respond::oauth_error(StatusCode::UNAUTHORIZED, "invalid_token", &failure.to_string(), context);
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
            response
        }
        ManagementError::Metadata(error) => {
            respond::oauth_error(StatusCode::BAD_REQUEST, error.code.as_str(), &error.description, context)
        }
        ManagementError::Store(error) => respond::unavailable(error, context),
    }
}

fn too_large(context: &Context) -> Response {
    let text = "a registration may have 64 KiB";
    respond::oauth_error(StatusCode::BAD_REQUEST, "invalid_client_metadata", text, context)
}

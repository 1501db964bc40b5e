//! `POST /oauth/revoke` (RFC 7009).

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::web::admission::Context;
use crate::web::{extract, respond};

pub async fn post(context: Context, headers: HeaderMap, body: Body) -> Response {
    let Some(server) = &context.gateway.authorization else { return respond::not_found(&context) };
    let form = match extract::form(&headers, body, &context).await {
        Ok(form) => form,
        Err(response) => return response,
    };
    let request = extract::token_request(&form, &headers, &context);
    match server.revoke(&request).await {
        Ok(()) => (StatusCode::OK, [(header::CACHE_CONTROL, "no-store")]).into_response(),
        Err(failure) => respond::token_failure(&failure, &context),
    }
}

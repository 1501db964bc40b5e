//! `POST /oauth/introspect` (RFC 7662). There is none where no resource server is configured.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::web::admission::Context;
use crate::web::{extract, respond};

pub async fn post(context: Context, headers: HeaderMap, body: Body) -> Response {
    let Some(server) = context.gateway.authorization.as_ref().filter(|server| server.may_be_introspected()) else {
        return respond::not_found(&context);
    };
    let form = match extract::form(&headers, body, &context).await {
        Ok(form) => form,
        Err(response) => return response,
    };
    let request = extract::token_request(&form, &headers, &context);
    match server.introspect(&request).await {
        Ok(answer) => respond::json(StatusCode::OK, &answer),
        Err(failure) => respond::token_failure(&failure, &context),
    }
}

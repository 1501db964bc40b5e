//! `GET /healthz`, `/livez`, `/readyz`: unauthenticated, on any Host, quiet (OPS-3).

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::web::gateway::SharedGateway;

/// The process runs. Depends on nothing else.
pub async fn live() -> Response {
    answer(StatusCode::OK, "ok\n")
}

/// It can serve: the store answers.
pub async fn ready(State(shared): State<SharedGateway>) -> Response {
    match shared.load_full().store.ping().await {
        Ok(()) => answer(StatusCode::OK, "ready\n"),
        Err(_) => answer(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n"),
    }
}

fn answer(status: StatusCode, text: &'static str) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store"), (header::CONTENT_TYPE, "text/plain")], text).into_response()
}

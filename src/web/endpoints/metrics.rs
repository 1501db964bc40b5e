//! `GET /metrics`: OpenMetrics text, on a listener of its own, without a token and on any Host (OPS-4).

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};

use crate::web::gateway::SharedGateway;

/// How long the store may take to answer before it counts as away. Prometheus waits for ten seconds by default.
const PATIENCE: Duration = Duration::from_secs(2);

pub async fn get(State(shared): State<SharedGateway>) -> Response {
    let gateway = shared.load_full();
    let asked = Instant::now();
    let answered = tokio::time::timeout(PATIENCE, gateway.store.ping()).await.is_ok_and(|pong| pong.is_ok());
    gateway.metrics.store.set(answered.then(|| asked.elapsed()));
    let headers = [
        (header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, gateway.metrics.to_text()).into_response()
}

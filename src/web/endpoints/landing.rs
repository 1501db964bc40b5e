//! `GET /`: what the gateway serves and how to connect.

use axum::http::StatusCode;
use axum::response::Response;

use crate::web::admission::Context;
use crate::web::pages::{self, LandingPage, LandingRoute};
use crate::web::respond;

pub async fn get(context: Context) -> Response {
    // In production a stranger is not told what there is to knock at.
    let shown = context.gateway.development.is_some();
    let routes = context
        .gateway
        .config
        .routes
        .iter()
        .filter(|_| shown)
        .map(|route| LandingRoute {
            name: route.display_name().to_owned(),
            slug: route.path.rsplit('/').next().unwrap_or_default().to_owned(),
            url: format!("{}{}", context.origin, route.path),
            public: route.proxy.public,
        })
        .collect();
    let html = LandingPage { name: "doorward".to_owned(), routes }.render();
    respond::page(StatusCode::OK, html, pages::NO_FORM)
}

//! The whole URL table (gateway.md §4).

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{any, get, post};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use super::admission::Context;
use super::endpoints::{
    account, authorize, callback, client_document, connections, consent, delegated, dev_login, discovery, health,
    introspect, landing, logout, mcp, metrics, register, revoke, token,
};
use super::gateway::SharedGateway;
use super::{counting, respond};

/// Every path the gateway answers, but for the MCP routes ([`Web`](super::Web)).
pub(super) fn router(shared: &SharedGateway) -> Router {
    let base = shared.load().base_path.trim_end_matches('/').to_owned();

    let mut table = Router::new()
        .merge(discovery_table())
        .merge(Router::new().route("/", get(landing::get)).method_not_allowed_fallback(method_not_allowed))
        .route("/healthz", get(health::live))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready).with_state(shared.clone()));
    let endpoints = authorization_table().route_layer(middleware::from_fn(delegated::guard)).merge(connection_table());
    table = if base.is_empty() { table.merge(endpoints) } else { table.nest(&base, endpoints) };
    table.merge(alias_table()).route_layer(middleware::from_fn(counting::count)).fallback(any(mcp::below))
}

/// What the metrics listener answers: this path and no other (OPS-4).
pub(super) fn metrics_router(shared: &SharedGateway) -> Router {
    Router::new().route("/metrics", get(metrics::get).with_state(shared.clone()))
}

/// Documents that clients read across origins and without credentials (CORS-1).
fn discovery_table() -> Router {
    Router::new()
        .route("/.well-known/oauth-protected-resource", get(discovery::protected_resource))
        .route("/.well-known/oauth-protected-resource/{*route}", get(discovery::protected_resource_at))
        .route("/.well-known/oauth-authorization-server", get(discovery::authorization_server))
        .route("/.well-known/oauth-authorization-server/{*route}", get(discovery::authorization_server_at))
        .route("/.well-known/openid-configuration", get(discovery::openid_configuration))
        .route("/.well-known/openid-configuration/{*route}", get(discovery::openid_configuration_at))
        .route("/.well-known/jwks.json", get(discovery::jwks))
        .route("/.well-known/oauth-client/{upstream}", get(client_document::get))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(cors(&[Method::GET]))
}

/// The endpoints below the base path.
fn authorization_table() -> Router {
    // For browsers' address bars and forms only: no CORS (CORS-2).
    let pages = Router::new()
        .route("/oauth/authorize", get(authorize::get).post(authorize::post))
        .route("/oauth/authorize/{*route}", get(authorize::get_bound).post(authorize::post_bound))
        .route("/oauth/callback", get(callback::get))
        .route("/oauth/consent", get(consent::get).post(consent::post))
        .route("/oauth/setup", get(consent::get).post(consent::post))
        .route("/oauth/logout", get(logout::get).post(logout::post))
        .route("/account", get(account::get).post(account::post))
        .route("/oauth/dev-login", get(dev_login::get).post(dev_login::post))
        .method_not_allowed_fallback(method_not_allowed);
    pages.merge(
        Router::new()
            .route("/oauth/token", post(token::post))
            .route("/oauth/revoke", post(revoke::post))
            .route("/oauth/introspect", post(introspect::post))
            .route("/oauth/register", post(register::post))
            .route("/oauth/register/{id}", get(register::read).put(register::update).delete(register::delete))
            .method_not_allowed_fallback(method_not_allowed)
            .layer(cors(&[Method::GET, Method::POST, Method::PUT, Method::DELETE])),
    )
}

/// Pages below the base path that are there in direct mode too (CORS-2).
fn connection_table() -> Router {
    Router::new()
        .route("/auth/connections/{upstream}/connect", get(connections::connect::get).post(connections::connect::post))
        .route("/auth/connections/{upstream}/callback", get(connections::callback::get))
        .method_not_allowed_fallback(method_not_allowed)
}

/// 2025-03-26 clients that skip discovery (DISC-20), unless `legacyAliases` is off.
fn alias_table() -> Router {
    let pages = Router::new()
        .route("/authorize", get(authorize::get).post(authorize::post))
        .method_not_allowed_fallback(method_not_allowed);
    let endpoints = Router::new()
        .route("/token", post(token::post))
        .route("/register", post(register::post))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(cors(&[Method::POST]));
    pages
        .merge(endpoints)
        .route_layer(middleware::from_fn(aliases_are_on))
        .route_layer(middleware::from_fn(delegated::guard))
}

async fn aliases_are_on(context: Context, request: Request, next: Next) -> Response {
    match &context.gateway.authorization {
        Some(server) if server.options().legacy_aliases => next.run(request).await,
        _ => respond::not_found(&context),
    }
}

/// Set before the CORS layer, which must stay outermost: a preflight is an OPTIONS that no route takes.
async fn method_not_allowed(context: Context) -> Response {
    respond::oauth_error(
        StatusCode::METHOD_NOT_ALLOWED,
        "invalid_request",
        "this endpoint does not take that method",
        &context,
    )
}

/// CORS for anyone, without credentials (CORS-1).
fn cors(methods: &[Method]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(methods.to_vec())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::WWW_AUTHENTICATE, header::RETRY_AFTER, HeaderName::from_static("x-request-id")])
        .max_age(std::time::Duration::from_secs(3600))
}

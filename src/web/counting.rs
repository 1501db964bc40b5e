//! Counts the answers of the gateway's own endpoints (OPS-4). The MCP routes are counted by the proxy, and health is
//! not counted at all.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;

use super::admission::Context;

/// The endpoints as metrics name them, without a base path; of two that fit, the longer one comes first.
const ENDPOINTS: [&str; 26] = [
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/{*route}",
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-authorization-server/{*route}",
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/{*route}",
    "/.well-known/jwks.json",
    "/.well-known/oauth-client/{upstream}",
    "/oauth/authorize",
    "/oauth/authorize/{*route}",
    "/oauth/callback",
    "/oauth/consent",
    "/oauth/setup",
    "/oauth/logout",
    "/oauth/dev-login",
    "/oauth/token",
    "/oauth/revoke",
    "/oauth/introspect",
    "/oauth/register",
    "/oauth/register/{id}",
    "/account",
    "/auth/connections/{upstream}/connect",
    "/auth/connections/{upstream}/callback",
    "/authorize",
    "/token",
    "/register",
];
/// The page at `/`.
const LANDING: &str = "/";

/// A layer around the URL table.
pub async fn count(request: Request, next: Next) -> Response {
    let metrics = request.extensions().get::<Context>().map(|context| context.gateway.metrics.clone());
    let endpoint = request.extensions().get::<MatchedPath>().and_then(|path| endpoint(path.as_str()));
    let response = next.run(request).await;
    if let (Some(metrics), Some(endpoint)) = (metrics, endpoint) {
        metrics.endpoints.answered(endpoint, response.status());
    }
    response
}

/// The name of the endpoint at a path of the URL table.
fn endpoint(path: &str) -> Option<&'static str> {
    let at_root = (path == LANDING).then_some(LANDING);
    at_root.or_else(|| ENDPOINTS.into_iter().find(|endpoint| path.ends_with(endpoint)))
}

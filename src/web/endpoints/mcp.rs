//! Everything that is not in the URL table: the MCP routes, and the well-known forms that hang below them.

use axum::extract::Request;
use axum::http::Method;
use axum::response::Response;

use super::discovery;
use crate::web::admission::Context;
use crate::web::respond;

const PROTECTED_RESOURCE_SUFFIX: &str = "/.well-known/oauth-protected-resource";
const OPENID_SUFFIX: &str = "/.well-known/openid-configuration";

/// A route by its literal path, or a suffix form below one (DISC-4, DISC-8). Nothing else reaches an upstream
/// (PROX-10): the path is compared as it stands, without decoding or normalising.
pub async fn any(context: Context, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    if let Some(route) = context.gateway.config.routes.iter().find(|route| route.path == path) {
        let peer = context.client_ip;
        return context
            .gateway
            .proxy
            .handle(route, &context.origin, &context.request_id, peer, request)
            .await
            .map(axum::body::Body::new);
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        if let Some(route) = path.strip_suffix(PROTECTED_RESOURCE_SUFFIX) {
            return discovery::protected_resource_of(&context, route);
        }
        if let Some(route) = path.strip_suffix(OPENID_SUFFIX) {
            return discovery::openid_configuration_of(&context, route);
        }
    }
    respond::not_found(&context)
}

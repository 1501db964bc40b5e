//! Everything that is not in the URL table: the MCP routes, and the well-known forms that hang below them.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

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
    let document = match (path.strip_suffix(PROTECTED_RESOURCE_SUFFIX), path.strip_suffix(OPENID_SUFFIX)) {
        (Some(route), _) => discovery::protected_resource_of(&context, route),
        (_, Some(route)) => discovery::openid_configuration_of(&context, route),
        _ => return respond::not_found(&context),
    };
    match *request.method() {
        Method::GET | Method::HEAD => for_any_page(document),
        Method::OPTIONS if document.status() == StatusCode::OK => preflight(request.headers()),
        _ => respond::not_found(&context),
    }
}

/// CORS-1, as the URL table has it for the other forms.
fn for_any_page(mut response: Response) -> Response {
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn preflight(asked: &HeaderMap) -> Response {
    let mut response = for_any_page(StatusCode::OK.into_response());
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET"));
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    response
}

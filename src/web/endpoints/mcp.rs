//! Everything that is neither an MCP route nor in the URL table: the well-known forms that hang below a route.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::discovery;
use crate::web::admission::Context;
use crate::web::respond;

const PROTECTED_RESOURCE_SUFFIX: &str = "/.well-known/oauth-protected-resource";
const OPENID_SUFFIX: &str = "/.well-known/openid-configuration";

/// A suffix form below a route (DISC-4, DISC-8).
pub async fn below(context: Context, request: Request) -> Response {
    let path = request.uri().path();
    let document = match (path.strip_suffix(PROTECTED_RESOURCE_SUFFIX), path.strip_suffix(OPENID_SUFFIX)) {
        (Some(route), _) => discovery::protected_resource_of(&context, route),
        (_, Some(route)) => discovery::openid_configuration_of(&context, Some(route)).await,
        _ => {
            context.gateway.metrics.endpoints.answered("unknown path", StatusCode::NOT_FOUND);
            return respond::not_found(&context);
        }
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

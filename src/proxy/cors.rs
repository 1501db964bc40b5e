//! CORS on `/mcp/<slug>` (CORS-3, CORS-4): preflights need no token, and browsers may read what clients need.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::body::ProxyBody;

const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("POST, GET, DELETE, OPTIONS");
const ALLOWED_HEADERS: &str =
    "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id, Last-Event-ID";
const EXPOSED: HeaderValue =
    HeaderValue::from_static("WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version, Retry-After, X-Request-Id");

/// What a preflight asks for, in the form the answer repeats it: the known headers, and of the rest those of
/// MCP's own `Mcp-Param-` family and the trace context.
pub fn asked_headers(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS)?.to_str().ok()?;
    let more = asked.split(',').map(str::trim).filter(|name| {
        let name = name.to_ascii_lowercase();
        name.starts_with("mcp-") || matches!(name.as_str(), "traceparent" | "tracestate" | "baggage")
    });
    let mut allowed = ALLOWED_HEADERS.to_owned();
    for name in more.take(50) {
        if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            allowed.push_str(", ");
            allowed.push_str(name);
        }
    }
    HeaderValue::from_str(&allowed).ok()
}

/// The answer to a preflight, which [`expose`] completes.
pub fn preflight() -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::own(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED_HEADERS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    headers.insert(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    response
}

/// On every answer of a route. Any origin may read it: what opens it is a bearer token, never a cookie.
pub fn expose(headers: &mut HeaderMap, asked: Option<HeaderValue>) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    if let (Some(asked), true) = (asked, headers.contains_key(header::ACCESS_CONTROL_ALLOW_HEADERS)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
    }
}

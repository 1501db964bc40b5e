//! CORS on `/mcp/<slug>` (CORS-3 … CORS-5): which pages may call, preflights without a token, and what browsers
//! may read of an answer.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use url::{Host, Url};

use super::answer::ProxyBody;
use crate::config::model::CorsPolicy;

const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("POST, GET, DELETE, OPTIONS");
const ALLOWED_HEADERS: &str =
    "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id, Last-Event-ID";
const EXPOSED: &str = "WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version, Retry-After, X-Request-Id";
/// How long a browser may keep the answer to a preflight, in seconds, where the policy says nothing.
const MAX_AGE: u32 = 3600;

/// Whether the page that sends a request, if it is a page, may do so (CORS-5): one of the gateway's own origin, of
/// the route's policy, and beside a gateway on loopback any page on loopback (an Inspector on another port).
/// This is what keeps a page that rebinds its name to this machine out.
pub fn is_allowed(headers: &HeaderMap, own: &str, policy: &CorsPolicy) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    origins.next().is_none() && (origin == own || policy.allows(origin) || (is_loopback(own) && is_loopback(origin)))
}

fn is_loopback(origin: &str) -> bool {
    match Url::parse(origin).ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// What a preflight asks for, in the form the answer repeats it: the known headers, and of the rest those of
/// MCP's own `Mcp-Param-` family, the trace context, and what the route's policy allows.
pub fn asked_headers(headers: &HeaderMap, policy: &CorsPolicy) -> Option<HeaderValue> {
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS)?.to_str().ok()?;
    let more = asked.split(',').map(str::trim).filter(|name| {
        let name = name.to_ascii_lowercase();
        let configured =
            policy.allowed_headers.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(&name));
        configured || name.starts_with("mcp-") || matches!(name.as_str(), "traceparent" | "tracestate" | "baggage")
    });
    let mut allowed = ALLOWED_HEADERS.to_owned();
    for name in more.take(50) {
        if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            allowed.push_str(", ");
            allowed.push_str(name);
        }
    }
    HeaderValue::from_str(&allowed).ok()
}

/// The answer to a preflight, which [`expose`] completes.
pub fn preflight(policy: &CorsPolicy) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::own(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED_HEADERS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(policy.max_age.unwrap_or(MAX_AGE)));
    headers.insert(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    response
}

/// What pages may read of every answer of a route.
pub fn exposed(policy: &CorsPolicy) -> HeaderValue {
    let names: Vec<_> = [EXPOSED].into_iter().chain(policy.expose_headers.iter().map(String::as_str)).collect();
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(EXPOSED))
}

/// On every answer of a route. Pages that may not call were refused before; what opens the rest is a bearer token,
/// never a cookie, so `*` will do.
pub fn expose(headers: &mut HeaderMap, asked: Option<HeaderValue>, exposed: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    if let (Some(asked), true) = (asked, headers.contains_key(header::ACCESS_CONTROL_ALLOW_HEADERS)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::PageOrigin;

    // CORS-5
    #[test]
    fn only_own_configured_and_neighbouring_loopback_pages_may_call() {
        let origins = vec![PageOrigin::Exact("https://app.example".to_owned())];
        let configured = CorsPolicy { origins, ..CorsPolicy::default() };
        for (own, origin, allowed) in [
            ("https://gw.example", None, true),
            ("https://gw.example", Some("https://gw.example"), true),
            ("https://gw.example", Some("https://app.example"), true),
            ("https://gw.example", Some("https://evil.example"), false),
            ("https://gw.example", Some("http://gw.example"), false),
            ("https://gw.example", Some("https://gw.example.evil.example"), false),
            ("https://gw.example", Some("http://localhost:6274"), false),
            ("https://gw.example", Some("null"), false),
            ("http://localhost:9000", Some("http://localhost:6274"), true),
            ("http://localhost:9000", Some("http://127.0.0.1:6274"), true),
            ("http://[::1]:9000", Some("http://[::1]:1"), true),
            ("http://localhost:9000", Some("http://localhost.evil.example:9000"), false),
            ("http://localhost:9000", Some("null"), false),
            ("http://localhost:9000", Some(""), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(is_allowed(&headers, own, &configured), allowed, "{origin:?} at {own}");
        }
        let mut twice = HeaderMap::new();
        twice.append(header::ORIGIN, HeaderValue::from_static("https://gw.example"));
        twice.append(header::ORIGIN, HeaderValue::from_static("https://evil.example"));
        assert!(!is_allowed(&twice, "https://gw.example", &CorsPolicy::default()));
    }
}

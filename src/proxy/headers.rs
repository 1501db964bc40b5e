//! Which headers cross the proxy (RFC 9110 §7.6.1; PROX-1 … PROX-3, PROX-7, STRM-1).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::config::model::HeaderChange;

/// Headers that are about one connection, or are the client's own secrets.
fn is_for_the_gateway(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "cookie"
            | "host"
            | "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "expect"
            | "http2-settings"
            | "forwarded"
            | "x-real-ip"
            // Judged here (CORS-5). An upstream that knows only its own address would refuse pages the gateway allows.
            | "origin"
            // CGI hands it to programs as `HTTP_PROXY`, through which their own requests would then go (httpoxy).
            | "proxy"
            // Frameworks take these for the request's target and method, which are the route's to choose (PROX-10).
            | "x-original-url"
            | "x-rewrite-url"
            | "x-http-method-override"
            | "x-http-method"
            | "x-method-override"
    ) || IDENTITY_FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Families that tell an upstream who calls. Only the gateway may say that.
const IDENTITY_FAMILIES: &[&str] = &["x-forwarded-", "x-doorward-"];

/// Headers that are about the upstream's connection, or would speak to the client in the gateway's name.
fn is_for_the_upstreams_side(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            // The upstream's cookies and challenges are for the gateway, not for the client.
            | "set-cookie"
            | "www-authenticate"
            | "location"
            | "alt-svc"
            | "strict-transport-security"
            // Nor may it tell browsers anything about the gateway's origin, where people sign in.
            | "clear-site-data"
            | "content-security-policy"
            | "service-worker-allowed"
            | "nel"
            | "report-to"
            | "reporting-endpoints"
            | "refresh"
            // CORS is answered here.
            | "access-control-allow-origin"
            | "access-control-allow-credentials"
            | "access-control-allow-headers"
            | "access-control-allow-methods"
            | "access-control-expose-headers"
            | "access-control-max-age"
    )
}

/// Takes out of a request what is not for the upstream. Everything else stays as it is, duplicates included.
pub fn strip_request(headers: &mut HeaderMap) {
    // RFC 9112 §6.3: of the two the length is the one that lies.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    strip(headers, |name| {
        if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return is_for_the_gateway(name);
        }
        // An upstream behind CGI reads `x_forwarded_user`, and some `x.forwarded.user`, as `x-forwarded-user`.
        let plain = name.replace(|char: char| !char.is_ascii_alphanumeric(), "-");
        // The session's real name is translated; another spelling would go past that.
        is_for_the_gateway(&plain) || plain == "mcp-session-id"
    });
}

/// Makes the changes that the route's policies ask for. Comes after [`strip_request`], so that nothing the client sent
/// under the name of a credential is there to be kept; and before the identity headers, which no policy can name.
pub fn change_request(headers: &mut HeaderMap, changes: &[HeaderChange]) {
    if changes.is_empty() {
        return;
    }
    // An upstream behind CGI joins what the client calls `x_api_key` to what a policy calls `x-api-key`.
    let spelt_otherwise = |name: &HeaderName| {
        changes.iter().filter_map(HeaderChange::taken).any(|taken| taken != name && is_other_spelling(taken, name))
    };
    let names: Vec<HeaderName> = headers.keys().filter(|name| spelt_otherwise(name)).cloned().collect();
    for name in names {
        headers.remove(&name);
    }
    for change in changes {
        match change {
            HeaderChange::Set { name, overwrite: false, .. } if headers.contains_key(name) => {}
            HeaderChange::Set { name, value, .. } => {
                headers.insert(name.clone(), value.clone());
            }
            HeaderChange::Remove(name) => {
                headers.remove(name);
            }
        }
    }
}

fn is_other_spelling(one: &HeaderName, other: &HeaderName) -> bool {
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
    one.as_str().bytes().map(plain).eq(other.as_str().bytes().map(plain))
}

/// Takes out of a response what is not for the client.
pub fn strip_response(headers: &mut HeaderMap) {
    strip(headers, is_for_the_upstreams_side);
    // Whatever an upstream of a public route answers, a browser must not run it as a page of the gateway.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Takes out what `Connection` names, and what is to go.
fn strip(headers: &mut HeaderMap, is_to_go: impl Fn(&str) -> bool) {
    for name in named_by_connection(headers) {
        headers.remove(&name);
    }
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_to_go(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(&name);
    }
}

/// Keeps an answer that a token opened out of the caches in front of the gateway: the upstream, which asks nobody for
/// a token, may well call it public (RFC 9111 §3.5, RFC 9213).
pub fn keep_private(headers: &mut HeaderMap) {
    let targeted: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().ends_with("cdn-cache-control") || *name == "surrogate-control")
        .cloned()
        .collect();
    for name in targeted {
        headers.remove(&name);
    }
    let directives: Vec<String> = headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|part| String::from_utf8_lossy(part.split(|byte| *byte == b'=').next().unwrap_or_default()).into_owned())
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let says = |names: &[&str]| directives.iter().any(|directive| names.contains(&directive.as_str()));
    if says(&["public", "s-maxage", "must-revalidate"]) && !says(&["no-store", "private"]) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    }
}

/// `Connection: x` makes `x` a header of this hop. Some must not be named away, or a client could hide what
/// the gateway or the upstream relies on.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    const KEPT: &[&str] =
        &["content-length", "content-type", "mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name"];
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .filter(|name| !KEPT.contains(&name.as_str()))
        .collect()
}

#[must_use]
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// Tells what stands in front of the gateway not to hold or change an event stream.
pub fn keep_unbuffered(headers: &mut HeaderMap) {
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    let marked = headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .any(|value| value.to_str().is_ok_and(|value| value.to_ascii_lowercase().contains("no-transform")));
    if !marked {
        headers.append(header::CACHE_CONTROL, HeaderValue::from_static("no-transform"));
    }
    headers.remove(header::CONTENT_LENGTH);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    // PROX-1, PROX-2, PROX-3
    #[test]
    fn credentials_hop_by_hop_and_identity_headers_go_and_the_rest_stays() {
        let mut headers = map(&[
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("connection", "close, x-hop, mcp-session-id"),
            ("x-hop", "1"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-user", "admin"),
            ("x_forwarded_user", "admin"),
            ("X-Doorward-Assertion", "x"),
            ("x_doorward_assertion", "x"),
            ("forwarded", "for=1"),
            ("te", "trailers"),
            ("mcp-session-id", "s"),
            ("mcp_session_id", "another's"),
            ("mcp-param-a", "1"),
            ("mcp-name", "echo"),
            ("traceparent", "00"),
            ("x-unknown", "kept"),
            ("accept", "application/json"),
            ("content-length", "3"),
        ]);
        headers.append("x-unknown", HeaderValue::from_static("twice"));
        strip_request(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            ["accept", "content-length", "mcp-name", "mcp-param-a", "mcp-session-id", "traceparent", "x-unknown"]
        );
        assert_eq!(headers.get_all("x-unknown").iter().count(), 2);
    }

    // PROX-7
    #[test]
    fn an_upstream_tells_browsers_nothing_about_the_origin_where_people_sign_in() {
        let mut headers = map(&[
            ("set-cookie", "a=b"),
            ("www-authenticate", "Basic"),
            ("nel", "{}"),
            ("report-to", "{}"),
            ("reporting-endpoints", "a=\"https://evil.example\""),
            ("refresh", "0; url=https://evil.example"),
            ("content-type", "application/json"),
        ]);
        strip_response(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-security-policy", "content-type", "x-content-type-options"]);
    }

    // STRM-1
    #[test]
    fn an_event_stream_is_marked_as_not_to_be_buffered() {
        let mut headers = map(&[("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")]);
        assert!(is_event_stream(&headers));
        keep_unbuffered(&mut headers);
        assert_eq!(headers["x-accel-buffering"], "no");
        let values: Vec<_> = headers.get_all("cache-control").iter().collect();
        assert_eq!(values, ["no-cache", "no-transform"]);
    }
}

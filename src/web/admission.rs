//! What happens to a request before any endpoint sees it: an id, an origin, or 421 (DISC-11, DISC-12, OPS-12).

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use ipnet::IpNet;

use super::gateway::Gateway;
use super::origin::is_loopback_host;
use super::respond;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Bytes of the longest request target: an authorization request with the longest `state` and redirect URI, several
/// times (LIM-4).
const MAX_TARGET: usize = 16 * 1024;
/// How many strange hosts are remembered so that each is logged once.
const LOGGED_HOSTS: usize = 1000;

/// What an endpoint knows about its request.
#[derive(Clone)]
pub struct Context {
    pub gateway: Arc<Gateway>,
    /// The public origin the request came in on.
    pub origin: Arc<str>,
    /// Stands in the response's `x-request-id`, in the log and on error pages.
    pub request_id: Arc<str>,
    pub peer: Option<SocketAddr>,
    /// The caller's address: the peer, or what a trusted proxy says.
    pub client_ip: Option<IpAddr>,
}

impl Context {
    /// Puts the request's id on its answer (OPS-12).
    pub fn sign<B>(&self, response: axum::http::Response<B>) -> axum::http::Response<B> {
        sign(response, &self.request_id)
    }

    /// Whether the caller sits at this very machine, with nothing in between that could carry strangers here
    /// (gateway.md §6.4: a tunnel must not hand out the admin).
    #[must_use]
    pub fn is_direct_loopback(&self, headers: &HeaderMap) -> bool {
        let carried = headers.keys().any(|name| {
            let name = name.as_str();
            matches!(name, "forwarded" | "via") || name.starts_with("x-forwarded-") || name.starts_with("cf-")
        });
        let host = url::Url::parse(&self.origin).ok().and_then(|url| url.host_str().map(is_loopback_host));
        let peer = self.peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        peer && host == Some(true) && !carried
    }
}

impl<S: Sync> FromRequestParts<S> for Context {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().cloned().ok_or(StatusCode::MISDIRECTED_REQUEST)
    }
}

/// Puts the id of a request without a context on its answer.
pub fn sign<B>(mut response: axum::http::Response<B>, request_id: &str) -> axum::http::Response<B> {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// What is known of a request by its head alone.
///
/// # Errors
/// The answer to a request whose Host no public URL matches, or whose target is too long.
pub fn admit(gateway: Arc<Gateway>, peer: Option<SocketAddr>, head: &Parts) -> Result<Context, Box<Response>> {
    let request_id = gateway.request_ids.next();
    let trusted = peer.is_some_and(|peer| {
        let ip = peer.ip().to_canonical();
        gateway.trusted_proxies.iter().any(|network| network.contains(&ip))
    });
    let Some(origin) = authority(head, trusted).and_then(|host| gateway.origins.resolve(&host)) else {
        gateway.metrics.endpoints.answered("unknown host", StatusCode::MISDIRECTED_REQUEST);
        return Err(Box::new(sign(misdirected(&head.headers, &request_id), &request_id)));
    };
    let client_ip = if trusted { forwarded_for(&head.headers, &gateway.trusted_proxies) } else { None }
        .or(peer.map(|peer| peer.ip()));
    let context = Context { gateway, origin, request_id, peer, client_ip };
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET {
        return Err(Box::new(context.sign(respond::target_too_long(&head.headers, &context))));
    }
    Ok(context)
}

/// The authority that names the gateway: what a trusted proxy forwards, else the request's own.
fn authority(head: &Parts, trusted: bool) -> Option<Cow<'_, str>> {
    if trusted {
        match (forwarded_host(&head.headers), last_element(&head.headers, "x-forwarded-host")) {
            // A proxy that sets one of the two passes the client's own word in the other.
            (Some(one), Some(other)) if !one.eq_ignore_ascii_case(&other) => return None,
            (Some(host), _) | (None, Some(host)) => return Some(host.into()),
            (None, None) => {}
        }
    }
    let mut hosts = head.headers.get_all(header::HOST).iter();
    match (head.uri.authority(), hosts.next(), hosts.next()) {
        // An absolute-form target and a Host that disagree are nobody's honest request.
        (Some(target), Some(host), None) => {
            let host = host.to_str().ok()?;
            host.eq_ignore_ascii_case(target.as_str()).then_some(host.into())
        }
        (Some(target), None, None) => Some(target.as_str().into()),
        (None, Some(host), None) => host.to_str().ok().map(Cow::Borrowed),
        // No Host, or several.
        _ => None,
    }
}

/// `Forwarded: host=` (RFC 7239); of several values the one the nearest proxy added.
fn forwarded_host(headers: &HeaderMap) -> Option<String> {
    last_element(headers, "forwarded")?.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim_matches('"').to_owned())
    })
}

/// The caller's address, read from the nearest proxy outwards: the first one that is not a trusted proxy's. What
/// stands before it was written by the caller.
fn forwarded_for(headers: &HeaderMap, trusted_proxies: &[IpNet]) -> Option<IpAddr> {
    let forwarded = hops(headers, "forwarded").filter_map(|hop| {
        let pairs = hop.split(';').filter_map(|pair| pair.trim().split_once('='));
        let mut named = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("for"));
        named.next().map(|(_, value)| value.trim_matches('"'))
    });
    let mut furthest = None;
    for hop in forwarded.chain(hops(headers, "x-forwarded-for")) {
        let Some(address) = parse_hop(hop) else { break };
        furthest = Some(address);
        if !trusted_proxies.iter().any(|network| network.contains(&address)) {
            break;
        }
    }
    furthest
}

/// The elements of a list header, the last one first.
fn hops<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.into_iter().rev().flat_map(|value| value.rsplit(',')).map(str::trim)
}

/// An address, in brackets and with a port or without.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let address = hop.parse().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    let address = address.or_else(|_| hop.trim_start_matches('[').trim_end_matches(']').parse()).ok()?;
    Some(address.to_canonical())
}

fn last_element(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(|element| element.trim().to_owned()).filter(|element| !element.is_empty())
}

fn misdirected(headers: &HeaderMap, request_id: &str) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host: String = host.chars().take(100).collect();
    if first_seen(&host) {
        tracing::warn!(event = "unknown_host", host, "no --public-url matches this Host; answering 421");
    }
    let text =
        "No public URL of this gateway matches the Host of the request. The operator sets them with --public-url.";
    let body = respond::plain_error("misdirected_request", text, request_id);
    (StatusCode::MISDIRECTED_REQUEST, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}

fn first_seen(host: &str) -> bool {
    static SEEN: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = seen.get_or_insert_with(HashSet::new);
    seen.len() < LOGGED_HOSTS && seen.insert(host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    // DISC-12, LIM-1
    #[test]
    fn the_caller_is_the_first_address_outwards_that_no_trusted_proxy_has() {
        let proxies: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let caller = |name: &'static str, values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(name, HeaderValue::from_static(value));
            }
            forwarded_for(&headers, &proxies).map(|address| address.to_string())
        };
        for (values, address) in [
            (&["203.0.113.7"][..], Some("203.0.113.7")),
            (&["1.2.3.4, 203.0.113.7"], Some("203.0.113.7")),
            (&["1.2.3.4, 203.0.113.7, 10.0.0.9"], Some("203.0.113.7")),
            (&["1.2.3.4", "203.0.113.7 , 10.0.0.9"], Some("203.0.113.7")),
            (&["10.0.0.8, 10.0.0.9"], Some("10.0.0.8")),
            (&["nobody, 10.0.0.9"], Some("10.0.0.9")),
            (&["203.0.113.7:4711"], Some("203.0.113.7")),
            (&["[2001:db8::7]:4711"], Some("2001:db8::7")),
            (&["::ffff:203.0.113.7"], Some("203.0.113.7")),
            (&["unknown"], None),
            (&[], None),
        ] {
            assert_eq!(caller("x-forwarded-for", values).as_deref(), address, "{values:?}");
        }
        let rfc7239 = ["for=1.2.3.4, for=203.0.113.7;proto=https;host=gw.example", "For=\"[fd00::1]:80\""];
        assert_eq!(caller("forwarded", &rfc7239).as_deref(), Some("203.0.113.7"));
    }
}

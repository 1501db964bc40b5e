//! One route's upstream: its addresses, its deadlines, and how a request gets there.
//!
//! Each route has connections of its own, so a dead upstream delays no other (LIM-7).

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::uri::Authority;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use rustls::client::Resumption;
use url::Url;

use super::addresses::{self, Address};
use super::body::RequestBody;
use super::error::ProxyError;
use super::pool::{Answer, SendError};
use crate::config::model::{ClientCertificate, ProxyOptions};

/// How many redirects on the same origin are followed, with `followRedirects`.
const MAX_REDIRECTS: usize = 5;

/// The trust roots for upstreams: the platform's, and the operator's own.
#[derive(Clone)]
pub struct UpstreamTls(pub Arc<rustls::ClientConfig>);

impl UpstreamTls {
    /// Shows `certificate` to upstreams that ask for one. Sessions are not resumed across certificates: a resumed one
    /// is that of the certificate it began with (RFC 8446 §2.2).
    fn showing(&self, certificate: &ClientCertificate) -> Self {
        let mut config = (*self.0).clone();
        config.client_auth_cert_resolver = certificate.resolver();
        config.resumption = Resumption::default();
        Self(Arc::new(config))
    }
}

/// A prepared upstream.
pub struct Upstream {
    /// One at least.
    addresses: Vec<Address>,
    url: Url,
    uri: Uri,
    audience: String,
    forward_search: bool,
    follow_redirects: bool,
    first_byte_timeout: Duration,
}

impl Upstream {
    pub fn new(options: &ProxyOptions, tls: &UpstreamTls) -> Self {
        let mut url = options.upstream.clone();
        url.set_fragment(None);
        let mut audience = url.clone();
        audience.set_query(None);
        let uri = as_uri(&url);
        let tls = options.client_certificate.as_ref().map_or_else(|| tls.clone(), |shown| tls.showing(shown));
        let address =
            |name: String, dialled: Option<Authority>| Address::new(name, &uri, dialled, options.connect_timeout, &tls);
        let addresses = if options.addresses.is_empty() {
            vec![address(own_address(&url), None)]
        } else {
            options.addresses.iter().map(|name| address(name.to_string(), Some(name.clone()))).collect()
        };
        Self {
            addresses,
            uri,
            url,
            audience: audience.into(),
            forward_search: options.forward_search,
            follow_redirects: options.follow_redirects,
            first_byte_timeout: options.first_byte_timeout,
        }
    }

    /// The upstream's URL without its query: the audience of identity assertions.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Where a request goes: the configured URL, with the client's query if that is forwarded. Nothing else of
    /// the client's target has a say (PROX-10), and no parameter that the configured URL holds: of two values many
    /// upstreams would take the client's.
    pub fn uri(&self, query: Option<&str>) -> Uri {
        let Some(query) = query.filter(|query| self.forward_search && !query.is_empty()) else {
            return self.uri.clone();
        };
        let own = self.url.query().filter(|own| !own.is_empty());
        let joined: Vec<&str> = match own {
            Some(own) => [own].into_iter().chain(query.split('&').filter(|pair| !names_one_of(own, pair))).collect(),
            None => vec![query],
        };
        let mut url = self.url.clone();
        url.set_query(Some(&joined.join("&")));
        as_uri(&url)
    }

    /// Where an address stands among the configured ones.
    pub fn position(&self, name: &[u8]) -> Option<usize> {
        self.addresses.iter().position(|address| address.name().as_bytes() == name)
    }

    /// The name of an address.
    pub fn name_of(&self, index: usize) -> &str {
        self.addresses.get(index).map_or("", Address::name)
    }

    /// The way of a call: a session's goes to where the session lives and nowhere else, any other one to where the
    /// `caller` belongs, or on from there while it cannot be reached.
    pub fn way(&self, session: Option<usize>, caller: impl FnOnce() -> String) -> Way {
        match session {
            Some(index) => Way::Only(index),
            None if self.addresses.len() == 1 => Way::Only(0),
            None => Way::FirstReached(addresses::order(&self.addresses, &caller())),
        }
    }

    /// Sends a request and waits for the head of the answer, which comes with the index of the address that gave it.
    ///
    /// # Errors
    /// [`ProxyError`] for an upstream that cannot be reached or is late.
    pub async fn send(&self, way: Way, mut parts: Parts, body: RequestBody) -> Result<Answered, ProxyError> {
        parts.headers.remove(header::HOST);
        parts.extensions.clear();
        let answer = async {
            if self.follow_redirects {
                // On the heap: the future of any other call has no room for it.
                return Box::pin(self.send_following(way, parts, body)).await;
            }
            self.send_once(way, Request::from_parts(parts, body)).await
        };
        tokio::time::timeout(self.first_byte_timeout, answer).await.unwrap_or(Err(ProxyError::UpstreamTimeout))
    }

    async fn send_once(&self, way: Way, mut request: Request<RequestBody>) -> Result<Answered, ProxyError> {
        let order = match way {
            Way::Only(index) => {
                let answer = self.send_to(index, request).await;
                return answer.map(|answer| (answer, index)).map_err(|error| unreachable(&error));
            }
            Way::FirstReached(order) => order,
        };
        let mut failure = ProxyError::UpstreamUnreachable("it has no address".to_owned());
        for index in order {
            match self.send_to(index, request).await {
                Ok(answer) => return Ok((answer, index)),
                Err(mut error) => {
                    failure = unreachable(&error);
                    // Only what surely did not arrive is sent elsewhere.
                    match error.unsent.take() {
                        Some(unsent) => request = *unsent,
                        None => break,
                    }
                }
            }
        }
        Err(failure)
    }

    async fn send_to(&self, index: usize, request: Request<RequestBody>) -> Result<Response<Answer>, SendError> {
        let address = &self.addresses[index];
        let answer = address.send(request).await;
        if self.addresses.len() > 1 {
            address.note(!answer.as_ref().is_err_and(|error| error.unsent.is_some()));
        }
        answer
    }

    /// PROX-9: 307 and 308 on the same origin, method and body kept. The body must be held for that, which is
    /// why the option is off by default.
    async fn send_following(&self, mut way: Way, parts: Parts, body: RequestBody) -> Result<Answered, ProxyError> {
        let bytes =
            body.collect().await.map_err(|error| ProxyError::UpstreamUnreachable(error.to_string()))?.to_bytes();
        let mut target = Url::parse(&parts.uri.to_string()).map_err(|_| ProxyError::UpstreamRedirect)?;
        for _ in 0..=MAX_REDIRECTS {
            let mut next = parts.clone();
            next.uri = as_uri(&target);
            let held = RequestBody::Held(Full::new(bytes.clone()));
            let (response, index) = self.send_once(way, Request::from_parts(next, held)).await?;
            way = Way::Only(index);
            if !matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                return Ok((response, index));
            }
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let Some(location) = location.and_then(|location| target.join(location).ok()) else {
                return Err(ProxyError::UpstreamRedirect);
            };
            if location.origin() != self.url.origin() {
                return Err(ProxyError::UpstreamRedirect);
            }
            target = location;
        }
        Err(ProxyError::UpstreamRedirect)
    }
}

/// Which addresses a request may go to.
pub enum Way {
    Only(usize),
    /// In this order, on from one that cannot be connected to.
    FirstReached(Vec<usize>),
}

/// An answer, and which address gave it.
pub type Answered = (Response<Answer>, usize);

/// Host and port of a URL.
fn own_address(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}

/// Whether a pair of a query names a parameter of another query, in upper or lower case.
fn names_one_of(own: &str, pair: &str) -> bool {
    let names = |query: &str| -> Vec<String> {
        url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name.to_ascii_lowercase()).collect()
    };
    let own = names(own);
    names(pair).iter().any(|name| own.contains(name))
}

/// A URL as a request target. Every `http` URL is one; the root stands in for what could not be.
fn as_uri(url: &Url) -> Uri {
    Uri::try_from(url.as_str()).unwrap_or_else(|_| Uri::from_static("/"))
}

fn unreachable(error: &SendError) -> ProxyError {
    // The chain of causes says what happened; none of them holds a header or a body.
    let mut text = error.to_string();
    let mut cause = error.error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    ProxyError::UpstreamUnreachable(text)
}

//! One route's upstream: its address, its connection pool, its deadlines.
//!
//! Each route has a pool of its own, so a dead upstream delays no other (LIM-7).

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use url::Url;

use super::body::RequestBody;
use super::error::ProxyError;
use super::pool::{Answer, Pool, SendError};
use crate::config::model::ProxyOptions;

/// How many redirects on the same origin are followed, with `followRedirects`.
const MAX_REDIRECTS: usize = 5;

/// The trust roots for upstreams: the platform's, and the operator's own.
#[derive(Clone)]
pub struct UpstreamTls(pub Arc<rustls::ClientConfig>);

/// A prepared upstream.
pub struct Upstream {
    pool: Arc<Pool>,
    url: Url,
    uri: Uri,
    audience: String,
    forward_search: bool,
    follow_redirects: bool,
    first_byte_timeout: Duration,
}

impl Upstream {
    pub fn new(options: &ProxyOptions, tls: &UpstreamTls) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config((*tls.0).clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(connector);
        let mut url = options.upstream.clone();
        url.set_fragment(None);
        let mut audience = url.clone();
        audience.set_query(None);
        let uri = as_uri(&url);
        Self {
            pool: Pool::new(&uri, connector, options.connect_timeout),
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

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// [`ProxyError`] for an upstream that cannot be reached or is late.
    pub async fn send(&self, mut parts: Parts, body: RequestBody) -> Result<Response<Answer>, ProxyError> {
        parts.headers.remove(header::HOST);
        parts.extensions.clear();
        let answer = async {
            if self.follow_redirects {
                return self.send_following(parts, body).await;
            }
            self.pool.send(Request::from_parts(parts, body)).await.map_err(|error| unreachable(&error))
        };
        tokio::time::timeout(self.first_byte_timeout, answer).await.unwrap_or(Err(ProxyError::UpstreamTimeout))
    }

    /// PROX-9: 307 and 308 on the same origin, method and body kept. The body must be held for that, which is
    /// why the option is off by default.
    async fn send_following(&self, parts: Parts, body: RequestBody) -> Result<Response<Answer>, ProxyError> {
        let bytes =
            body.collect().await.map_err(|error| ProxyError::UpstreamUnreachable(error.to_string()))?.to_bytes();
        let mut target = Url::parse(&parts.uri.to_string()).map_err(|_| ProxyError::UpstreamRedirect)?;
        for _ in 0..=MAX_REDIRECTS {
            let mut next = parts.clone();
            next.uri = as_uri(&target);
            let held = RequestBody::Held(Full::new(bytes.clone()));
            let response =
                self.pool.send(Request::from_parts(next, held)).await.map_err(|error| unreachable(&error))?;
            if !matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                return Ok(response);
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

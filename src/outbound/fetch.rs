//! One guarded GET (CIMD-2, CIMD-3): https, checked addresses, no redirects, 200 only, JSON only, bounded in
//! size and time, no cookies, no credentials.

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use url::{Host, Url};

use super::resolver::{Guard, ResolveFailure};
use super::special_use::SpecialUse;
use super::{Outbound, freshness};

const LONGEST_ETAG: usize = 256;
const LONGEST_SHOWN_TYPE: usize = 80;

/// What is fetched, which decides what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A client-id metadata document.
    Cimd,
    /// The `jwks_uri` of a client.
    ClientKeys,
    /// The metadata of an authorization server.
    Metadata,
}

impl Purpose {
    fn accept(self) -> &'static str {
        match self {
            Self::Cimd | Self::Metadata => "application/json",
            Self::ClientKeys => "application/jwk-set+json, application/json",
        }
    }
}

/// The bounds of one fetch.
#[derive(Debug, Clone)]
pub struct FetchRules {
    /// Of the decoded body, in bytes.
    pub max_bytes: usize,
    /// For everything from the name look-up to the last byte.
    pub deadline: Duration,
    /// The entity tag of the copy at hand.
    pub if_none_match: Option<String>,
    pub purpose: Purpose,
}

impl FetchRules {
    /// The bounds of CIMD-2: 5 KiB, 5 s.
    #[must_use]
    pub fn new(purpose: Purpose) -> Self {
        Self { max_bytes: 5 * 1024, deadline: Duration::from_secs(5), if_none_match: None, purpose }
    }

    #[must_use]
    pub fn unless_matches(mut self, etag: Option<String>) -> Self {
        self.if_none_match = etag;
        self
    }
}

/// What a fetch brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetch {
    Fetched(Fetched),
    /// 304: the copy at hand is still the answer.
    NotModified {
        max_age: Option<Duration>,
    },
}

/// A 200 answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub body: Bytes,
    pub etag: Option<String>,
    /// The freshness the answer claims; `None` when it claims nothing.
    pub max_age: Option<Duration>,
}

/// Why a fetch failed, in words for people (CIMD-10): the cause, no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("only https URLs without user name or password are fetched")]
    Url,
    #[error("its host leads to a {0} address, which is not fetched")]
    Blocked(SpecialUse),
    #[error("its host name does not resolve")]
    Dns,
    #[error("its host does not take the connection")]
    Connect,
    #[error("the TLS handshake with its host failed: {0}")]
    Tls(String),
    #[error("there was no complete answer within {0} s")]
    Timeout(u64),
    #[error("the connection broke before the answer was complete")]
    Broken,
    #[error("it answers with a redirect (HTTP {0}), and redirects are not followed")]
    Redirect(u16),
    #[error("it answers HTTP {0} instead of 200")]
    Status(u16),
    #[error("its content type is {0} instead of application/json")]
    ContentType(String),
    #[error("its answer is compressed although that was not asked for")]
    ContentCoding,
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
}

impl FetchError {
    /// Whether trying again later may help without anyone changing anything: the host is down, overloaded, or
    /// turns data-centre addresses away (403, 401).
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Dns | Self::Connect | Self::Tls(_) | Self::Timeout(_) | Self::Broken => true,
            Self::Status(status) => matches!(status, 401 | 403 | 408 | 425 | 429 | 500..),
            _ => false,
        }
    }

    /// Whether the URL itself, or the host's own word, says that nothing is to be had: no earlier copy helps.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Url | Self::Blocked(_) | Self::Status(404 | 410))
    }
}

impl Outbound {
    /// Fetches a URL that a stranger named.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch(&self, url: &Url, rules: &FetchRules) -> Result<Fetch, FetchError> {
        check_url(url, &self.guard)?;
        tokio::time::timeout(rules.deadline, self.get(url, rules))
            .await
            .unwrap_or_else(|_| Err(FetchError::Timeout(rules.deadline.as_secs())))
    }

    async fn get(&self, url: &Url, rules: &FetchRules) -> Result<Fetch, FetchError> {
        let mut request =
            self.guarded.get(url.clone()).header(ACCEPT, rules.purpose.accept()).header(ACCEPT_ENCODING, "identity");
        if let Some(etag) = &rules.if_none_match {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(|error| cause(&error))?;
        let max_age = freshness::claimed(response.headers());
        if response.status() == StatusCode::NOT_MODIFIED && rules.if_none_match.is_some() {
            return Ok(Fetch::NotModified { max_age });
        }
        check_head(response.status(), response.headers())?;
        let etag = etag(response.headers());
        let body = read_body(response, rules.max_bytes).await?;
        Ok(Fetch::Fetched(Fetched { body, etag, max_age }))
    }
}

/// Scheme, credentials, and literal addresses: the connector never asks the resolver about those.
pub(super) fn check_url(url: &Url, guard: &Guard) -> Result<(), FetchError> {
    let host = url.host().ok_or(FetchError::Url)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(FetchError::Url);
    }
    match url.scheme() {
        "https" => {}
        "http" if guard.allows_plain(&host) => {}
        _ => return Err(FetchError::Url),
    }
    let address = match host {
        Host::Ipv4(address) => address.into(),
        Host::Ipv6(address) => address.into(),
        Host::Domain(_) => return Ok(()),
    };
    guard.check(&host.to_string(), address).map_err(FetchError::Blocked)
}

pub(super) fn check_head(status: StatusCode, headers: &HeaderMap) -> Result<(), FetchError> {
    if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
        return Err(FetchError::Redirect(status.as_u16()));
    }
    if status != StatusCode::OK {
        return Err(FetchError::Status(status.as_u16()));
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(FetchError::ContentCoding);
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if is_json(content_type) { Ok(()) } else { Err(FetchError::ContentType(shown_type(content_type))) }
}

/// `application/json` or any `application/…+json`, whatever its parameters.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The type as a message may show it: short and of harmless characters only.
fn shown_type(content_type: &str) -> String {
    let shown: String = content_type
        .chars()
        .take_while(|c| *c != ';')
        .filter(|c| c.is_ascii_alphanumeric() || "/+-._".contains(*c))
        .take(LONGEST_SHOWN_TYPE)
        .collect();
    if shown.is_empty() { "missing".to_owned() } else { shown }
}

fn etag(headers: &HeaderMap) -> Option<String> {
    let etag = headers.get(ETAG)?.to_str().ok()?;
    (etag.len() <= LONGEST_ETAG).then(|| etag.to_owned())
}

pub(super) async fn read_body(mut response: reqwest::Response, max_bytes: usize) -> Result<Bytes, FetchError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| FetchError::Broken)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(FetchError::TooLarge(max_bytes));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// What went wrong underneath a failed request.
pub(super) fn cause(error: &reqwest::Error) -> FetchError {
    let mut layer: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(this) = layer {
        if let Some(failure) = this.downcast_ref::<ResolveFailure>() {
            return match failure {
                ResolveFailure::Blocked(class) => FetchError::Blocked(*class),
                ResolveFailure::NotFound => FetchError::Dns,
            };
        }
        if let Some(tls) = this.downcast_ref::<rustls::Error>() {
            return FetchError::Tls(tls.to_string());
        }
        layer = beneath(this);
    }
    if error.is_connect() { FetchError::Connect } else { FetchError::Broken }
}

/// The innermost message of an error.
pub(super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    beneath(error).map_or_else(|| error.to_string(), root_cause)
}

/// The error that `error` wraps. An `io::Error` hides the one it carries from `source`.
fn beneath<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(carried) => Some(carried),
        None => error.source(),
    }
}

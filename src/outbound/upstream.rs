//! Requests to the authorization servers of upstreams (gateway.md §8).
//!
//! Who names a URL decides how it is asked. An origin that the configuration names is asked as the configuration has it,
//! like the MCP endpoint there; every other, above all those that metadata name, over https only and at checked
//! addresses. Redirects are not followed, answers are bounded in size and time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use url::{Origin, Url};

use super::Outbound;
use super::fetch::{FetchError, cause, check_head, check_url, read_body};

const DEADLINE: Duration = Duration::from_secs(10);
/// Of a document, and of the answer to a form.
const LARGEST: usize = 256 * 1024;

/// Speaks to everything that belongs to one upstream.
#[derive(Debug, Clone)]
pub struct UpstreamFetcher {
    outbound: Outbound,
    /// The origins that the configuration names.
    named: Arc<[Origin]>,
    deadline: Duration,
}

/// What is posted.
#[derive(Clone)]
pub struct Post {
    pub content_type: &'static str,
    pub accept: &'static str,
    pub body: String,
    /// The value of `Authorization`.
    pub authorization: Option<String>,
}

impl Post {
    /// A form (RFC 6749 §4.1.3).
    #[must_use]
    pub fn form(body: String, authorization: Option<String>) -> Self {
        Self { content_type: "application/x-www-form-urlencoded", accept: "application/json", body, authorization }
    }

    #[must_use]
    pub fn json(body: String) -> Self {
        Self { content_type: "application/json", accept: "application/json", body, authorization: None }
    }
}

/// The answer to a [`Post`], whatever its status. It may hold tokens, so it has no `Debug`.
pub struct Answered {
    pub status: StatusCode,
    pub body: Bytes,
}

/// Why a [`Post`] has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Unanswered {
    pub cause: FetchError,
    /// The host may have done what was asked, and its answer did not arrive.
    pub may_have_arrived: bool,
}

impl Unanswered {
    fn sent(cause: FetchError) -> Self {
        Self { cause, may_have_arrived: true }
    }

    fn unsent(cause: FetchError) -> Self {
        Self { cause, may_have_arrived: false }
    }
}

impl UpstreamFetcher {
    /// `named` are the URLs that the configuration of the upstream holds.
    #[must_use]
    pub fn new<'u>(outbound: Outbound, named: impl IntoIterator<Item = &'u Url>) -> Self {
        Self { outbound, named: named.into_iter().map(Url::origin).collect(), deadline: DEADLINE }
    }

    /// Gives each request as long as this, from the name look-up to the last byte, in the place of ten seconds.
    #[must_use]
    pub fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Whether `url` would be asked, as far as that can be told without looking its host up.
    ///
    /// # Errors
    /// [`FetchError::Url`], [`FetchError::Blocked`].
    pub fn check(&self, url: &Url) -> Result<(), FetchError> {
        self.client(url).map(|_| ())
    }

    /// Fetches a JSON document.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn get(&self, url: &Url) -> Result<Bytes, FetchError> {
        let request = self.client(url)?.get(url.clone());
        let request = request.header(ACCEPT, "application/json").header(ACCEPT_ENCODING, "identity");
        self.in_time(async {
            let response = request.send().await.map_err(|error| cause(&error))?;
            check_head(response.status(), response.headers())?;
            read_body(response, LARGEST).await
        })
        .await
        .unwrap_or_else(|| Err(self.timeout()))
    }

    /// Posts, and reads the answer.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn post(&self, url: &Url, post: Post) -> Result<Answered, Unanswered> {
        let answer = self.in_time(async {
            let response = self.send(url, post).await?;
            let status = response.status();
            let body = read_body(response, LARGEST).await.map_err(Unanswered::sent)?;
            Ok(Answered { status, body })
        });
        answer.await.unwrap_or_else(|| Err(Unanswered::sent(self.timeout())))
    }

    /// The `WWW-Authenticate` values of the 401 that a request without a token gets; none for any other answer.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn challenges(&self, url: &Url, post: Post) -> Result<Vec<String>, FetchError> {
        let response =
            self.in_time(self.send(url, post)).await.unwrap_or_else(|| Err(Unanswered::sent(self.timeout())));
        let response = response.map_err(|unanswered| unanswered.cause)?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(Vec::new());
        }
        let values = response.headers().get_all(WWW_AUTHENTICATE).iter();
        Ok(values.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect())
    }

    async fn send(&self, url: &Url, post: Post) -> Result<reqwest::Response, Unanswered> {
        let client = self.client(url).map_err(Unanswered::unsent)?;
        let mut request = client
            .post(url.clone())
            .header(CONTENT_TYPE, post.content_type)
            .header(ACCEPT, post.accept)
            .header(ACCEPT_ENCODING, "identity");
        if let Some(authorization) = post.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(post.body).send().await.map_err(|error| Unanswered {
            cause: cause(&error),
            may_have_arrived: !error.is_connect() && !error.is_builder(),
        })
    }

    fn client(&self, url: &Url) -> Result<&reqwest::Client, FetchError> {
        // Only http and https URLs have an origin that equals another.
        if self.named.contains(&url.origin()) && url.username().is_empty() && url.password().is_none() {
            return Ok(&self.outbound.trusted);
        }
        check_url(url, &self.outbound.upstream_guard)?;
        Ok(&self.outbound.upstream)
    }

    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.deadline, work).await.ok()
    }

    fn timeout(&self) -> FetchError {
        FetchError::Timeout(self.deadline.as_secs())
    }
}

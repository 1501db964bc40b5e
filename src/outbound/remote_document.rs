//! One JSON document at a fixed URL, under the same guard as what strangers name: fetched when it is asked for, kept for
//! as long as its headers say within bounds, and kept on while its host is down.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::client_documents::{FAILURE_BACKOFF, STALE_WHILE_ERROR};
use super::fetch::{Fetch, FetchRules, Purpose};
use super::{Outbound, freshness};
use crate::domain::UnixTime;

/// However long its headers say, it is asked for anew after this.
const LONGEST: Duration = Duration::from_hours(1);
/// Somebody waits for it.
const DEADLINE: Duration = Duration::from_secs(3);
const LARGEST: usize = 64 * 1024;

/// The document of one URL.
pub struct RemoteDocument {
    outbound: Outbound,
    url: Url,
    /// Its lock is what makes concurrent requests share one fetch.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    copy: Option<Copy>,
    /// Not asked for again before.
    failed_until: Option<UnixTime>,
}

struct Copy {
    document: Arc<Value>,
    etag: Option<String>,
    fresh_until: UnixTime,
}

impl RemoteDocument {
    #[must_use]
    pub fn new(outbound: Outbound, url: Url) -> Self {
        Self { outbound, url, known: Mutex::default() }
    }

    /// The document, as far as it can be had. `accept` looks at each new one and may refuse it, in words for the log.
    pub async fn get(&self, now: UnixTime, accept: impl Fn(&Value) -> Result<(), String>) -> Option<Arc<Value>> {
        let mut known = self.known.lock().await;
        let fresh = known.copy.as_ref().is_some_and(|copy| now < copy.fresh_until);
        if !fresh && known.failed_until.is_none_or(|until| until <= now) {
            match self.refresh(known.copy.as_ref(), now, accept).await {
                Ok(copy) => *known = Known { copy: Some(copy), failed_until: None },
                Err(cause) => {
                    tracing::warn!(event = "remote_document_unavailable", url = %self.url, cause);
                    known.failed_until = Some(now.plus(FAILURE_BACKOFF));
                }
            }
        }
        let usable = |copy: &&Copy| now <= copy.fresh_until.plus(STALE_WHILE_ERROR);
        known.copy.as_ref().filter(usable).map(|copy| Arc::clone(&copy.document))
    }

    async fn refresh(
        &self,
        before: Option<&Copy>,
        now: UnixTime,
        accept: impl Fn(&Value) -> Result<(), String>,
    ) -> Result<Copy, String> {
        let mut rules = FetchRules::new(Purpose::Metadata).unless_matches(before.and_then(|copy| copy.etag.clone()));
        (rules.deadline, rules.max_bytes) = (DEADLINE, LARGEST);
        let fresh_until = |claimed| now.plus(freshness::granted(claimed).min(LONGEST));
        match (self.outbound.fetch(&self.url, &rules).await.map_err(|error| error.to_string())?, before) {
            (Fetch::NotModified { max_age }, Some(before)) => Ok(Copy {
                document: Arc::clone(&before.document),
                etag: before.etag.clone(),
                fresh_until: fresh_until(max_age),
            }),
            (Fetch::NotModified { .. }, None) => Err("it answers HTTP 304 unasked".to_owned()),
            (Fetch::Fetched(fetched), _) => {
                let document: Value = serde_json::from_slice(&fetched.body).map_err(|_| "it is not JSON".to_owned())?;
                accept(&document)?;
                Ok(Copy { document: document.into(), etag: fetched.etag, fresh_until: fresh_until(fetched.max_age) })
            }
        }
    }
}

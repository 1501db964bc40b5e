//! Client-id metadata documents, from URL to [`Client`] (draft-ietf-oauth-client-id-metadata-document-01).
//!
//! Owns which hosts may be asked (CIMD-9), when they are asked (CIMD-6, CIMD-13) and what stands in when they
//! do not answer (CIMD-7, CIMD-8). What a document must say is `oauth::client_id_metadata`'s to know.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use moka::future::Cache;
use tokio::sync::Mutex;
use url::Url;

use super::fetch::{Fetch, FetchError, FetchRules, Purpose};
use super::fetch_budget::{FetchBudget, Overspent};
use super::resolver::canonical;
use super::{Outbound, client_keys::RememberedKeys, freshness, known_clients};
use crate::config::model::GatewayOptions;
use crate::domain::{Client, Throttled, UnixTime};
use crate::oauth::client_id_metadata::{ClientIdUrl, parse_document};

/// After a failed fetch the same URL is left alone this long (CIMD-6 allows 60 s).
pub(super) const FAILURE_BACKOFF: Duration = Duration::from_secs(15);
/// How long after its freshness a good copy stands in for a host that does not answer (CIMD-7 asks for a day).
pub(super) const STALE_WHILE_ERROR: Duration = Duration::from_hours(7 * 24);
const REMEMBERED_DOCUMENTS: u64 = 10_000;
const REMEMBERED_IDLE: Duration = Duration::from_hours(24);

/// A document as it was last fetched, for the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDocument {
    pub url: String,
    pub body: String,
    pub etag: Option<String>,
    pub fetched_at: UnixTime,
    pub fresh_until: UnixTime,
}

/// The store did not answer. The text is for the log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DocumentStoreError(pub String);

/// Keeps last good copies across restarts and for other replicas.
#[async_trait]
pub trait DocumentStore: Send + Sync + 'static {
    /// The copy of `url`, when there is one.
    async fn load(&self, url: &str) -> Result<Option<StoredDocument>, DocumentStoreError>;

    /// Replaces the copy of the same URL.
    async fn save(&self, document: &StoredDocument) -> Result<(), DocumentStoreError>;
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDocumentStore;

#[async_trait]
impl DocumentStore for NoDocumentStore {
    async fn load(&self, _url: &str) -> Result<Option<StoredDocument>, DocumentStoreError> {
        Ok(None)
    }

    async fn save(&self, _document: &StoredDocument) -> Result<(), DocumentStoreError> {
        Ok(())
    }
}

/// Whose documents are taken (`gateway.cimdAllowedHosts`, `.cimdDeniedHosts`, `.cimdDocuments`).
#[derive(Debug, Clone, Default)]
pub struct DocumentPolicy {
    /// `None` for any.
    pub allowed_hosts: Option<Vec<String>>,
    pub denied_hosts: Vec<String>,
    /// Pinned documents by URL: never fetched.
    pub pinned: BTreeMap<String, serde_json::Value>,
    /// How many documents never seen before one address may have fetched in a minute; `None` for any number.
    pub fetches_per_caller: Option<u32>,
}

impl DocumentPolicy {
    #[must_use]
    pub fn of(options: &GatewayOptions) -> Self {
        Self {
            allowed_hosts: options.cimd_allowed_hosts.clone(),
            denied_hosts: options.cimd_denied_hosts.clone(),
            pinned: options.cimd_documents.clone(),
            fetches_per_caller: options.limits.map(|limits| limits.document_fetches),
        }
    }

    fn admits(&self, host: &str) -> bool {
        let host = canonical(host);
        let names = |list: &[String]| list.iter().any(|entry| canonical(entry) == host);
        !names(&self.denied_hosts) && self.allowed_hosts.as_deref().is_none_or(names)
    }
}

/// Why a document gives no client. The text names the URL and the cause, for the error page and the log
/// (CIMD-10).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientDocumentError {
    /// Its host does not answer at the moment; at the token endpoint that is a 503 (CODE-2).
    #[error("{0}")]
    Temporary(String),
    /// It may not be fetched, or says what is not acceptable.
    #[error("{0}")]
    Refused(String),
    /// The asker named too many documents that were never seen before (CIMD-13).
    #[error(transparent)]
    Throttled(Throttled),
}

impl ClientDocumentError {
    pub(super) fn refused(url: &str, cause: &dyn Display) -> Self {
        Self::Refused(format!("the client's document {url} cannot be used: {cause}"))
    }

    pub(super) fn temporary(url: &str, cause: &dyn Display) -> Self {
        Self::Temporary(format!("the client's document {url} cannot be fetched at the moment: {cause}"))
    }

    pub(super) fn fetching(url: &str, error: &FetchError) -> Self {
        if error.is_temporary() { Self::temporary(url, error) } else { Self::refused(url, error) }
    }
}

/// What is known of one URL. Its lock is what makes concurrent requests share one fetch (CIMD-13).
#[derive(Default)]
struct Remembered {
    copy: Option<GoodCopy>,
    store_was_asked: bool,
    failure: Option<Failure>,
}

struct GoodCopy {
    client: Client,
    body: String,
    etag: Option<String>,
    fresh_until: UnixTime,
}

impl GoodCopy {
    fn is_fresh(&self, now: UnixTime) -> bool {
        // A moment too far ahead was written under another clock.
        now < self.fresh_until && self.fresh_until <= now.plus(freshness::LONGEST)
    }

    fn stands_in(&self, now: UnixTime) -> bool {
        now <= self.fresh_until.plus(STALE_WHILE_ERROR)
    }
}

#[derive(Clone)]
struct Failure {
    until: UnixTime,
    error: ClientDocumentError,
    /// The last good copy may stand in (CIMD-7).
    copy_helps: bool,
    /// The built-in copy may stand in (CIMD-8).
    built_in_helps: bool,
}

/// The source of clients whose id is the URL of their metadata document.
pub struct ClientDocuments {
    pub(super) outbound: Outbound,
    policy: DocumentPolicy,
    store: Arc<dyn DocumentStore>,
    pub(super) budget: FetchBudget,
    documents: Cache<String, Arc<Mutex<Remembered>>>,
    pub(super) keys: Cache<String, Arc<Mutex<RememberedKeys>>>,
}

impl ClientDocuments {
    #[must_use]
    pub fn new(outbound: Outbound, policy: DocumentPolicy, store: Arc<dyn DocumentStore>) -> Self {
        Self {
            outbound,
            budget: FetchBudget::new(policy.fetches_per_caller),
            policy,
            store,
            documents: Cache::builder().max_capacity(REMEMBERED_DOCUMENTS).time_to_idle(REMEMBERED_IDLE).build(),
            keys: Cache::builder().max_capacity(REMEMBERED_DOCUMENTS).time_to_idle(REMEMBERED_IDLE).build(),
        }
    }

    /// The client that the document at `url` describes: pinned, fresh at hand, fetched, or the last good copy.
    ///
    /// # Errors
    /// [`ClientDocumentError`].
    pub async fn resolve(&self, url: &ClientIdUrl, now: UnixTime) -> Result<Client, ClientDocumentError> {
        self.resolve_for(None, url, now).await
    }

    /// The same for a URL that came from outside: the budget of `asker` pays for a fetch of what was never seen before.
    ///
    /// # Errors
    /// [`ClientDocumentError`].
    pub async fn resolve_for(
        &self,
        asker: Option<IpAddr>,
        url: &ClientIdUrl,
        now: UnixTime,
    ) -> Result<Client, ClientDocumentError> {
        let target =
            Url::parse(url.as_str()).map_err(|_| ClientDocumentError::refused(url.as_str(), &"it is not a URL"))?;
        self.check_host(&target)?;
        if let Some(document) = self.policy.pinned.get(url.as_str()) {
            return parse(url, document.to_string().as_bytes(), now);
        }
        let slot: Arc<Mutex<Remembered>> = self.documents.get_with_by_ref(url.as_str(), async { Arc::default() }).await;
        let mut slot = slot.lock().await;
        if slot.copy.is_none() && !slot.store_was_asked {
            self.recall(url, &mut slot, now).await;
        }
        if let Some(copy) = &slot.copy
            && copy.is_fresh(now)
        {
            return Ok(copy.client.clone());
        }
        if slot.failure.as_ref().is_none_or(|failure| failure.until <= now) {
            let known = slot.copy.is_some();
            match self.budget.take(&target, known, asker, now) {
                Ok(()) => slot.failure = self.refresh(url, &target, &mut slot, now).await.err(),
                // Nobody else shares the asker's fault.
                Err(Overspent::Asker(throttled)) => return Err(ClientDocumentError::Throttled(throttled)),
                Err(Overspent::Host) => slot.failure = Some(host_overspent(url, now)),
            }
        }
        slot.answer(url, now)
    }

    /// The client that the copy at hand describes, however old, without asking its host.
    pub async fn at_hand(&self, url: &ClientIdUrl, now: UnixTime) -> Option<Client> {
        if let Some(document) = self.policy.pinned.get(url.as_str()) {
            return parse(url, document.to_string().as_bytes(), now).ok();
        }
        let stored = self.store.load(url.as_str()).await.ok().flatten();
        let copy = stored.and_then(|stored| parse(url, stored.body.as_bytes(), now).ok());
        copy.or_else(|| parse(url, known_clients::document(url.as_str())?.as_bytes(), now).ok())
    }

    /// CIMD-9.
    pub(super) fn check_host(&self, url: &Url) -> Result<(), ClientDocumentError> {
        let host = url.host_str().unwrap_or_default();
        if self.policy.admits(host) {
            return Ok(());
        }
        Err(ClientDocumentError::Refused(format!("clients of the host {host} are not let in by this gateway")))
    }

    /// Takes the copy of an earlier process or of another replica.
    async fn recall(&self, url: &ClientIdUrl, slot: &mut Remembered, now: UnixTime) {
        match self.store.load(url.as_str()).await {
            Ok(stored) => {
                slot.store_was_asked = true;
                slot.copy = stored.and_then(|stored| {
                    let client = parse_document(url, stored.body.as_bytes(), now).ok()?;
                    let StoredDocument { body, etag, fresh_until, .. } = stored;
                    Some(GoodCopy { client, body, etag, fresh_until })
                });
            }
            Err(error) => tracing::warn!(event = "client_document_load_failed", url = url.as_str(), %error),
        }
    }

    /// Asks the host, and puts what it says into `slot` and the store.
    async fn refresh(
        &self,
        url: &ClientIdUrl,
        target: &Url,
        slot: &mut Remembered,
        now: UnixTime,
    ) -> Result<(), Failure> {
        let etag = slot.copy.as_ref().and_then(|copy| copy.etag.clone());
        let rules = FetchRules::new(Purpose::Cimd).unless_matches(etag);
        let fetch = self.outbound.fetch(target, &rules).await.map_err(|error| not_fetched(url, &error, now))?;
        let copy = match fetch {
            Fetch::NotModified { max_age } => {
                let known = slot.copy.as_mut().ok_or_else(|| not_fetched(url, &FetchError::Status(304), now))?;
                known.fresh_until = now.plus(freshness::granted(max_age));
                known
            }
            Fetch::Fetched(fetched) => {
                let client = parse(url, &fetched.body, now).map_err(|error| not_accepted(error, now))?;
                slot.copy.insert(GoodCopy {
                    client,
                    body: String::from_utf8_lossy(&fetched.body).into_owned(),
                    etag: fetched.etag,
                    fresh_until: now.plus(freshness::granted(fetched.max_age)),
                })
            }
        };
        self.keep(url, copy, now).await;
        Ok(())
    }

    /// Trouble with the store costs the copy, not the login.
    async fn keep(&self, url: &ClientIdUrl, copy: &GoodCopy, now: UnixTime) {
        let document = StoredDocument {
            url: url.as_str().to_owned(),
            body: copy.body.clone(),
            etag: copy.etag.clone(),
            fetched_at: now,
            fresh_until: copy.fresh_until,
        };
        if let Err(error) = self.store.save(&document).await {
            tracing::warn!(event = "client_document_save_failed", url = url.as_str(), %error);
        }
    }
}

impl Remembered {
    /// The client as things stand after a fetch, or while one is not due.
    fn answer(&self, url: &ClientIdUrl, now: UnixTime) -> Result<Client, ClientDocumentError> {
        let copy = self.copy.as_ref();
        let Some(failure) = &self.failure else {
            let missing = || ClientDocumentError::temporary(url.as_str(), &"there is no copy");
            return copy.map(|copy| copy.client.clone()).ok_or_else(missing);
        };
        if let Some(copy) = copy.filter(|copy| failure.copy_helps && copy.stands_in(now)) {
            return Ok(copy.client.clone());
        }
        if failure.built_in_helps
            && let Some(document) = known_clients::document(url.as_str())
        {
            return parse(url, document.as_bytes(), now);
        }
        Err(failure.error.clone())
    }
}

fn parse(url: &ClientIdUrl, body: &[u8], now: UnixTime) -> Result<Client, ClientDocumentError> {
    parse_document(url, body, now).map_err(|error| ClientDocumentError::refused(url.as_str(), &error))
}

fn host_overspent(url: &ClientIdUrl, now: UnixTime) -> Failure {
    let error = ClientDocumentError::temporary(url.as_str(), &Overspent::Host);
    Failure { until: now, error, copy_helps: true, built_in_helps: true }
}

fn not_fetched(url: &ClientIdUrl, cause: &FetchError, now: UnixTime) -> Failure {
    let error = ClientDocumentError::fetching(url.as_str(), cause);
    tracing::warn!(event = "client_document_unavailable", url = url.as_str(), %cause);
    Failure { until: now.plus(FAILURE_BACKOFF), error, copy_helps: !cause.is_final(), built_in_helps: true }
}

fn not_accepted(error: ClientDocumentError, now: UnixTime) -> Failure {
    tracing::warn!(event = "client_document_refused", %error);
    Failure { until: now.plus(FAILURE_BACKOFF), error, copy_helps: false, built_in_helps: false }
}

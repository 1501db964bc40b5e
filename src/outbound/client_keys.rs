//! The public keys of `private_key_jwt` clients that name them by URL (CIMD-5), fetched under the same rules as
//! their documents.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet};
use tokio::sync::Mutex;
use url::Url;

use super::client_documents::{ClientDocumentError, ClientDocuments, FAILURE_BACKOFF};
use super::fetch::{Fetch, FetchRules, Purpose};
use super::fetch_budget::Overspent;
use super::freshness;
use crate::domain::UnixTime;

/// A key that is not in the set is looked for at the URL again, but not more often than this.
const REFETCH_COOLDOWN: Duration = Duration::from_mins(1);

/// The key set of one URL.
#[derive(Default)]
pub(super) struct RememberedKeys {
    copy: Option<KeysCopy>,
    failure: Option<(UnixTime, ClientDocumentError)>,
}

struct KeysCopy {
    keys: JwkSet,
    fetched_at: UnixTime,
    fresh_until: UnixTime,
}

impl ClientDocuments {
    /// The keys at `uri`. `refetch` when the key looked for was not among those given before: they are fetched
    /// anew, at most once a minute. The budget of `asker` pays for keys that were never seen before.
    ///
    /// # Errors
    /// [`ClientDocumentError`].
    pub async fn client_keys(
        &self,
        asker: Option<IpAddr>,
        uri: &str,
        refetch: bool,
        now: UnixTime,
    ) -> Result<JwkSet, ClientDocumentError> {
        let url = Url::parse(uri).map_err(|_| ClientDocumentError::refused(uri, &"it is not a URL"))?;
        self.check_host(&url)?;
        let slot: Arc<Mutex<RememberedKeys>> = self.keys.get_with_by_ref(uri, async { Arc::default() }).await;
        let mut slot = slot.lock().await;
        if let Some(copy) = &slot.copy {
            let age = now.since(copy.fetched_at);
            let wanted = refetch && age >= REFETCH_COOLDOWN.as_secs().cast_signed();
            if now < copy.fresh_until && !wanted {
                return Ok(copy.keys.clone());
            }
        }
        if let Some((until, error)) = &slot.failure
            && now < *until
        {
            return slot.copy.as_ref().map_or_else(|| Err(error.clone()), |copy| Ok(copy.keys.clone()));
        }
        let paid = self.budget.take(&url, slot.copy.is_some(), asker, now);
        if let Err(Overspent::Asker(throttled)) = paid {
            return Err(ClientDocumentError::Throttled(throttled));
        }
        let fetched = match paid {
            Ok(()) => self.fetch_keys(uri, &url, now).await,
            Err(overspent) => Err(ClientDocumentError::temporary(uri, &overspent)),
        };
        match fetched {
            Ok(copy) => {
                slot.failure = None;
                Ok(slot.copy.insert(copy).keys.clone())
            }
            Err(error) => {
                tracing::warn!(event = "client_keys_unavailable", %error);
                slot.failure = Some((now.plus(FAILURE_BACKOFF), error.clone()));
                slot.copy.as_ref().map_or(Err(error), |copy| Ok(copy.keys.clone()))
            }
        }
    }

    async fn fetch_keys(&self, uri: &str, url: &Url, now: UnixTime) -> Result<KeysCopy, ClientDocumentError> {
        let fetched = match self.outbound.fetch(url, &FetchRules::new(Purpose::ClientKeys)).await {
            Ok(Fetch::Fetched(fetched)) => fetched,
            Ok(Fetch::NotModified { .. }) => {
                return Err(ClientDocumentError::refused(uri, &"it answers HTTP 304 unasked"));
            }
            Err(error) => return Err(ClientDocumentError::fetching(uri, &error)),
        };
        let mut keys: JwkSet = serde_json::from_slice(&fetched.body)
            .map_err(|_| ClientDocumentError::refused(uri, &"it is not a JWK set"))?;
        // A shared secret has no place in a public document.
        keys.keys.retain(|key| !matches!(key.algorithm, AlgorithmParameters::OctetKey(_)));
        Ok(KeysCopy { keys, fetched_at: now, fresh_until: now.plus(freshness::granted(fetched.max_age)) })
    }
}

//! The provider's public keys, and the verification of what they signed (RFC 7517, RFC 7519, RFC 8725).
//!
//! Owns the cache of one key set: one fetch at a time, a forced one when a key id is unknown and then a pause,
//! the set at hand when the provider is down (IDP-5, WOS-6). `jku`, `x5u` and `jwk` of a token's header are
//! never looked at (SEC-9).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use url::Url;

use super::bounded::{failure, read_body};
use crate::domain::UnixTime;

/// A set of this age is fetched anew, so that withdrawn keys go.
const FRESH: Duration = Duration::from_hours(1);
/// Between two fetches for the sake of an unknown key id, and between attempts while the provider is down.
const COOLDOWN: Duration = Duration::from_secs(30);

/// Why a token was not accepted. Never carries any of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    #[error("the token is not a signed JWT")]
    Malformed,
    #[error("the token is signed with an algorithm that is not accepted here")]
    Algorithm,
    #[error("the token does not name its key, and there are several")]
    NoKeyId,
    #[error("the token names a key that the key set does not hold")]
    UnknownKey,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token's claims are incomplete or of the wrong type")]
    Claims,
    #[error("the key set cannot be had: {0}")]
    KeysUnavailable(String),
}

/// A key set behind a URL.
#[derive(Debug)]
pub struct RemoteJwks {
    client: reqwest::Client,
    url: Url,
    /// For one fetch.
    deadline: Duration,
    known: Mutex<Known>,
    /// Fetches that have ended: tells a caller that waited whether another has just tried.
    attempts: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    set: Option<Arc<JwkSet>>,
    /// Fetched again from this moment on.
    stale_at: Option<UnixTime>,
    forced_at: Option<UnixTime>,
}

impl RemoteJwks {
    #[must_use]
    pub fn new(client: reqwest::Client, url: Url, deadline: Duration) -> Self {
        Self { client, url, deadline, known: Mutex::default(), attempts: AtomicU64::new(0) }
    }

    /// The claims of `token`, when a key of this set signed it with one of `algorithms` (asymmetric ones).
    /// Times, issuer and audience are the caller's to check.
    ///
    /// # Errors
    /// [`TokenFault`].
    pub async fn verify<C>(&self, token: &str, algorithms: &[Algorithm], now: UnixTime) -> Result<C, TokenFault>
    where
        C: DeserializeOwned,
    {
        let header = decode_header(token).map_err(|_| TokenFault::Malformed)?;
        if !algorithms.contains(&header.alg) || header.crit.is_some() {
            return Err(TokenFault::Algorithm);
        }
        let key = self.key(header.kid.as_deref(), now).await?;
        verify_with(&key, token, header.alg)
    }

    /// The URL of the set.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The key with this id, fetching the set when that may bring it. Without an id, the only key of the set
    /// (OpenID Connect Core §10.1).
    async fn key(&self, kid: Option<&str>, now: UnixTime) -> Result<Jwk, TokenFault> {
        let attempts = self.attempts.load(Ordering::Acquire);
        let mut known = self.known.lock().await;
        let mut just_fetched = false;
        match &known.set {
            None if attempts != self.attempts.load(Ordering::Acquire) => {
                return Err(TokenFault::KeysUnavailable("the fetch that was under way failed".to_owned()));
            }
            None => {
                self.refresh(&mut known, now).await?;
                just_fetched = true;
            }
            Some(_) if known.stale_at.is_none_or(|stale_at| stale_at <= now) => {
                // In an outage the set at hand goes on being used.
                just_fetched = self.refresh(&mut known, now).await.is_ok();
            }
            Some(_) => {}
        }
        if let Some(key) = known.find(kid) {
            return Ok(key);
        }
        let unknown = kid.map_or(TokenFault::NoKeyId, |_| TokenFault::UnknownKey);
        let rested = known.forced_at.is_none_or(|at| now.since(at) >= COOLDOWN.as_secs().cast_signed());
        if just_fetched || !rested {
            return Err(unknown);
        }
        known.forced_at = Some(now);
        self.refresh(&mut known, now).await?;
        known.find(kid).ok_or(unknown)
    }

    async fn refresh(&self, known: &mut Known, now: UnixTime) -> Result<(), TokenFault> {
        let fetched = self.fetch().await;
        self.attempts.fetch_add(1, Ordering::Release);
        match fetched {
            Ok(set) => {
                known.set = Some(Arc::new(set));
                known.stale_at = Some(now.plus(FRESH));
                Ok(())
            }
            Err(cause) => {
                tracing::warn!(event = "provider_keys_unavailable", url = %self.url, cause);
                known.stale_at = Some(now.plus(COOLDOWN));
                Err(TokenFault::KeysUnavailable(cause))
            }
        }
    }

    async fn fetch(&self) -> Result<JwkSet, String> {
        let request = self.client.get(self.url.clone()).timeout(self.deadline);
        let response = request.send().await.map_err(|error| failure(&error).to_owned())?;
        if !response.status().is_success() {
            return Err(format!("HTTP {}", response.status().as_u16()));
        }
        let body = read_body(response).await?;
        serde_json::from_slice(&body).map_err(|_| "the answer is not a JWK set".to_owned())
    }
}

impl Known {
    fn find(&self, kid: Option<&str>) -> Option<Jwk> {
        let set = self.set.as_ref()?;
        match (kid, set.keys.as_slice()) {
            (Some(kid), _) => set.find(kid).cloned(),
            (None, [only]) => Some(only.clone()),
            (None, _) => None,
        }
    }
}

/// RFC 8725 §3.1: the algorithm is the key's, not the token's to choose.
fn verify_with<C: DeserializeOwned>(key: &Jwk, token: &str, algorithm: Algorithm) -> Result<C, TokenFault> {
    if key.common.key_algorithm.is_some_and(|own| own != KeyAlgorithm::from(algorithm)) {
        return Err(TokenFault::Algorithm);
    }
    if key.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return Err(TokenFault::Signature);
    }
    let decoding_key = DecodingKey::from_jwk(key).map_err(|_| TokenFault::Signature)?;
    let mut validation = Validation::new(algorithm);
    // Times are checked by the caller, against the clock it was given.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    match decode::<C>(token, &decoding_key, &validation) {
        Ok(token) => Ok(token.claims),
        Err(error) => Err(match error.kind() {
            jsonwebtoken::errors::ErrorKind::Json(_) => TokenFault::Claims,
            _ => TokenFault::Signature,
        }),
    }
}

//! The signing key set as the gateway uses it: sealed in the store, shared by all replicas, followed while it changes
//! (SEC-3, SEC-4, DISC-19).

use std::sync::Arc;

use arc_swap::ArcSwap;
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::ring::{Held, Ring};
use super::rotation::{self, KeysError, algorithm_name};
use super::signing_key::{self, SigningKey};
use crate::config::model::SigningAlg;
use crate::crypto::Sealer;
use crate::domain::{Random, UnixTime};
use crate::store::{KeyKind, Store, StoredKey};

/// A token could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("signing failed: {0}")]
    Library(#[from] jsonwebtoken::errors::Error),
    #[error("there is no signing key")]
    NoKey,
}

/// The keys: one signs, all verify.
pub struct Keys {
    set: ArcSwap<Set>,
    /// Absent for keys in memory.
    source: Option<(Store, Sealer)>,
    /// When the store was last asked for an unknown key.
    asked: Mutex<Option<UnixTime>>,
}

struct Set {
    ring: Ring<SigningKey>,
    jwks: Arc<Value>,
    algorithm: SigningAlg,
}

impl Set {
    fn new(ring: Ring<SigningKey>, algorithm: SigningAlg) -> Self {
        let jwks = Arc::new(json!({ "keys": ring.iter().map(|held| &held.key.jwk).collect::<Vec<_>>() }));
        Self { ring, jwks, algorithm }
    }
}

impl Keys {
    /// Loads the keys of a store; makes those of the wanted algorithm when there are none.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn load(
        store: &Store,
        sealer: &Sealer,
        algorithm: SigningAlg,
        random: &dyn Random,
        now: UnixTime,
    ) -> Result<Self, KeysError> {
        let keys = Self {
            set: ArcSwap::from_pointee(Set::new(Ring::default(), algorithm)),
            source: Some((store.clone(), sealer.clone())),
            asked: Mutex::new(None),
        };
        keys.sign_with(algorithm, random, now).await?;
        Ok(keys)
    }

    /// Keys that live in memory only, for tests.
    ///
    /// # Errors
    /// [`KeysError::Generate`].
    pub fn ephemeral(algorithm: SigningAlg) -> Result<Self, KeysError> {
        let named = signing_key::named(algorithm_name(algorithm)).ok_or(KeysError::Unusable)?;
        let key = SigningKey::from_pkcs8(named, &signing_key::generate(named)?)?;
        let stored = StoredKey {
            id: key.kid.clone(),
            algorithm: algorithm_name(algorithm).to_owned(),
            generation: 1,
            sealed: Vec::new(),
            created_at: 0,
            in_force_at: Some(0),
            retired_at: None,
        };
        let ring = Ring::new(vec![Held { stored, key: Arc::new(key) }]);
        Ok(Self { set: ArcSwap::from_pointee(Set::new(ring, algorithm)), source: None, asked: Mutex::new(None) })
    }

    /// Signs with an algorithm from now on, and reads the keys again.
    ///
    /// # Errors
    /// [`KeysError`]; then everything stays as it was.
    pub async fn sign_with(&self, algorithm: SigningAlg, random: &dyn Random, now: UnixTime) -> Result<(), KeysError> {
        if let Some((store, sealer)) = &self.source {
            rotation::ensure(store, sealer, (KeyKind::Signing, algorithm_name(algorithm)), random, now).await?;
        }
        self.read(algorithm).await
    }

    /// Reads the keys again after a change in the store.
    ///
    /// # Errors
    /// [`KeysError`]; then the keys stay as they were.
    pub async fn reload(&self) -> Result<(), KeysError> {
        self.read(self.set.load().algorithm).await
    }

    async fn read(&self, algorithm: SigningAlg) -> Result<(), KeysError> {
        let Some((store, sealer)) = &self.source else { return Ok(()) };
        let read = |stored: &StoredKey, plain: &[u8]| {
            SigningKey::from_pkcs8(signing_key::named(&stored.algorithm).ok_or(KeysError::Unusable)?, plain)
        };
        let known = self.set.load_full();
        let ring = Ring::load(store, sealer, KeyKind::Signing, &known.ring, read).await?;
        self.set.store(Arc::new(Set::new(ring, algorithm)));
        Ok(())
    }

    /// Whether a key is known after all, when a token names one that is not: another replica may have made it a moment
    /// ago. The store is asked at most once a second, whatever strangers send.
    pub async fn look_up(&self, kid: &str, now: UnixTime) -> bool {
        let mut asked = self.asked.lock().await;
        if !self.knows(kid) && *asked != Some(now) {
            if let Err(error) = self.reload().await {
                tracing::warn!(event = "keys_unknown", %error);
            }
            *asked = Some(now);
        }
        self.knows(kid)
    }

    #[must_use]
    pub fn knows(&self, kid: &str) -> bool {
        self.set.load().ring.get(kid).is_some()
    }

    /// The public keys (RFC 7517), for `/.well-known/jwks.json`.
    #[must_use]
    pub fn jwks(&self) -> Arc<Value> {
        Arc::clone(&self.set.load().jwks)
    }

    /// JWA name of the algorithm that new tokens are signed with.
    #[must_use]
    pub fn algorithm_name(&self) -> &'static str {
        algorithm_name(self.set.load().algorithm)
    }

    /// Signs with the key that is in force at `now`.
    pub(super) fn sign<T: Serialize>(&self, typ: &str, claims: &T, now: UnixTime) -> Result<String, SignError> {
        let set = self.set.load();
        let held = set.ring.in_force(algorithm_name(set.algorithm), now).ok_or(SignError::NoKey)?;
        let mut header = Header::new(held.key.algorithm);
        header.typ = Some(typ.to_owned());
        header.kid = Some(held.key.kid.clone());
        Ok(jsonwebtoken::encode(&header, claims, &held.key.encoding)?)
    }

    pub(super) fn verification_key(&self, kid: &str) -> Option<(Algorithm, DecodingKey)> {
        let set = self.set.load();
        set.ring.get(kid).map(|held| (held.key.algorithm, held.key.decoding.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeyMaterial;
    use crate::domain::SystemRandom;

    // DISC-19
    #[test]
    fn the_published_keys_are_public_and_carry_kid_alg_and_use() {
        for (alg, name) in [(SigningAlg::Es256, "ES256"), (SigningAlg::EdDsa, "EdDSA")] {
            let keys = Keys::ephemeral(alg).unwrap();
            let key = &keys.jwks()["keys"][0];
            assert_eq!(key["alg"], name);
            assert_eq!(key["use"], "sig");
            assert_eq!(key["kid"].as_str().unwrap().len(), 43);
            assert!(key.get("d").is_none());
            assert_eq!(keys.algorithm_name(), name);
        }
    }

    // SEC-4
    #[tokio::test]
    async fn keys_persist_and_a_wrong_secret_key_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}", folder.path().join("k.db").display())).await.unwrap();
        let sealer = Sealer::new(&[KeyMaterial::new([1; 32])]).unwrap();
        let now = UnixTime(1_000);
        let first = Keys::load(&store, &sealer, SigningAlg::Es256, &SystemRandom, now).await.unwrap();
        let again = Keys::load(&store, &sealer, SigningAlg::Es256, &SystemRandom, now).await.unwrap();
        assert_eq!(first.jwks(), again.jwks());
        let both = Keys::load(&store, &sealer, SigningAlg::EdDsa, &SystemRandom, now).await.unwrap();
        assert_eq!(both.algorithm_name(), "EdDSA");
        assert_eq!(both.jwks()["keys"].as_array().unwrap().len(), 4, "current and next of each algorithm");
        let stranger = Sealer::new(&[KeyMaterial::new([2; 32])]).unwrap();
        assert!(matches!(
            Keys::load(&store, &stranger, SigningAlg::Es256, &SystemRandom, now).await,
            Err(KeysError::Sealed(_))
        ));
    }
}

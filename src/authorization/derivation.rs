//! Values that are derived instead of stored: authorization codes, anti-forgery values, provider PKCE
//! verifiers and refresh-token successors.
//!
//! A derived value can be made again for a second submission or a lost answer, while the store holds only its
//! hash (SEC-1, REFR-4). The keys are random, sealed in the store and shared by all replicas.

use std::sync::Arc;

use crate::crypto::{KeyMaterial, Sealer, Secret, base64url, constant_time_eq, derive};
use crate::domain::{BrowserId, GrantId, Random, SubjectId, TransactionId, UnixTime};
use crate::store::{KeyKind, Store, StoreError, StoredKey};

/// Why the derivation keys could not be had at start.
#[derive(Debug, thiserror::Error)]
pub enum DerivationError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store's keys do not open with the given --secret-key: {0}")]
    Sealed(#[from] crate::crypto::OpenError),
    #[error("the store holds no usable derivation key")]
    Missing,
}

/// The derivation keys, newest first.
#[derive(Debug, Clone)]
pub struct DerivationKeys {
    keys: Arc<Vec<(String, KeyMaterial)>>,
}

impl DerivationKeys {
    /// Loads the keys, making the first one in a new store.
    ///
    /// # Errors
    /// [`DerivationError`].
    pub async fn load(
        store: &Store,
        sealer: &Sealer,
        random: &dyn Random,
        now: UnixTime,
    ) -> Result<Self, DerivationError> {
        if store.keys(KeyKind::Derivation).await?.is_empty() {
            let material = KeyMaterial::generate(random);
            let id = material.id();
            let sealed = sealer.seal(&format!("key:{id}"), material.as_bytes(), random);
            let key = StoredKey {
                id,
                algorithm: "HKDF-SHA256".to_owned(),
                generation: 1,
                sealed,
                created_at: now.0,
                retired_at: None,
            };
            store.add_key(KeyKind::Derivation, &key).await?;
        }
        let mut keys = Vec::new();
        for stored in store.keys(KeyKind::Derivation).await? {
            let plain = sealer.open(&format!("key:{}", stored.id), &stored.sealed)?;
            let bytes: [u8; 32] = plain.as_slice().try_into().map_err(|_| DerivationError::Missing)?;
            keys.push((stored.id, KeyMaterial::new(bytes)));
        }
        if keys.is_empty() {
            return Err(DerivationError::Missing);
        }
        Ok(Self { keys: Arc::new(keys) })
    }

    /// Id of the key that new values are derived with.
    #[must_use]
    pub fn current_id(&self) -> &str {
        &self.keys[0].0
    }

    fn current(&self, purpose: &[&[u8]]) -> [u8; 32] {
        derive(b"doorward", self.keys[0].1.as_bytes(), purpose)
    }

    /// The code of an approved transaction: the same however often the approval is submitted (CONS-12).
    #[must_use]
    pub fn code(&self, transaction: &TransactionId) -> Secret {
        Secret::from_bytes("ac_", &self.current(&[b"authorization code\0", transaction.as_str().as_bytes()]))
    }

    /// The anti-forgery value of a form: bound to what it is for (a transaction, or the name of a page), to the
    /// browser's record, and to the person whose name the page shows (CONS-9).
    #[must_use]
    pub fn csrf(&self, purpose: &str, browser: &BrowserId, person: &SubjectId) -> String {
        let bound = [purpose, browser.as_str(), person.as_str()].map(str::as_bytes);
        base64url(&self.current(&[b"csrf\0", bound[0], b"\0", bound[1], b"\0", bound[2]]))
    }

    #[must_use]
    pub fn csrf_matches(&self, purpose: &str, browser: &BrowserId, person: &SubjectId, presented: &str) -> bool {
        constant_time_eq(self.csrf(purpose, browser, person).as_bytes(), presented.as_bytes())
    }

    /// The code verifier towards the provider that belongs to a `state` (IDP-2).
    #[must_use]
    pub fn provider_verifier(&self, state: &str) -> String {
        base64url(&self.current(&[b"provider verifier\0", state.as_bytes()]))
    }

    /// The `nonce` that belongs to a `state`.
    #[must_use]
    pub fn provider_nonce(&self, state: &str) -> String {
        base64url(&self.current(&[b"provider nonce\0", state.as_bytes()]))
    }

    /// The successor of a refresh token: derived from the presented token, the grant and the key it was
    /// issued under, so every answer to one presented token carries the same one (REFR-4). `None` when that
    /// key is gone.
    #[must_use]
    pub fn successor(&self, presented: &str, grant: &GrantId, generation: i64, key: &str) -> Option<Secret> {
        let (_, material) = self.keys.iter().find(|(id, _)| id == key)?;
        let bytes = derive(
            material.as_bytes(),
            presented.as_bytes(),
            &[b"refresh successor\0", grant.as_str().as_bytes(), b"\0", &generation.to_be_bytes()],
        );
        Some(Secret::from_bytes("rt_", &bytes))
    }
}

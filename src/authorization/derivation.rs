//! Values that are derived instead of stored: authorization codes, anti-forgery values, provider PKCE
//! verifiers and refresh-token successors.
//!
//! A derived value can be made again for a second submission or a lost answer, while the store holds only its
//! hash (SEC-1, REFR-4). The keys are random, sealed in the store and shared by all replicas.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::crypto::{KeyMaterial, Sealer, Secret, base64url, constant_time_eq, derive};
use crate::domain::{BrowserId, GrantId, Random, SubjectId, Transaction, UnixTime};
use crate::keys::rotation::{self, DERIVATION};
use crate::keys::{KeysError, Ring};
use crate::store::{KeyKind, Store, StoredKey};

/// The derivation keys. What belongs to a transaction is derived with the key that was in force when it was made, so
/// a rotation in between changes nothing of it.
pub struct DerivationKeys {
    ring: ArcSwap<Ring<KeyMaterial>>,
    store: Store,
    sealer: Sealer,
}

impl DerivationKeys {
    /// Loads the keys, making the first ones in a new store.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn load(store: &Store, sealer: &Sealer, random: &dyn Random, now: UnixTime) -> Result<Self, KeysError> {
        rotation::ensure(store, sealer, (KeyKind::Derivation, DERIVATION), random, now).await?;
        let keys = Self { ring: ArcSwap::default(), store: store.clone(), sealer: sealer.clone() };
        keys.reload().await?;
        Ok(keys)
    }

    /// Reads the keys again after a change in the store.
    ///
    /// # Errors
    /// [`KeysError`]; then the keys stay as they were.
    pub async fn reload(&self) -> Result<(), KeysError> {
        let read = |_: &StoredKey, plain: &[u8]| {
            let bytes: [u8; 32] = plain.try_into().map_err(|_| KeysError::Unusable)?;
            Ok(KeyMaterial::new(bytes))
        };
        let known = self.ring.load_full();
        let ring = Ring::load(&self.store, &self.sealer, KeyKind::Derivation, &known, read).await?;
        if ring.in_force(DERIVATION, UnixTime(0)).is_none() {
            return Err(KeysError::NoKeys);
        }
        self.ring.store(Arc::new(ring));
        Ok(())
    }

    /// Id of the key that values made at `now` are derived with.
    #[must_use]
    pub fn current_id(&self, now: UnixTime) -> String {
        self.ring.load().in_force(DERIVATION, now).map(|held| held.stored.id.clone()).unwrap_or_default()
    }

    fn at(&self, at: UnixTime, purpose: &[&[u8]]) -> [u8; 32] {
        let ring = self.ring.load();
        #[expect(clippy::expect_used, reason = "`reload` takes no ring without such a key")]
        let held = ring.in_force(DERIVATION, at).expect("a derivation key is in force");
        derive(b"doorward", held.key.as_bytes(), purpose)
    }

    /// The code of an approved transaction: the same however often the approval is submitted (CONS-12).
    #[must_use]
    pub fn code(&self, transaction: &Transaction) -> Secret {
        let purpose: [&[u8]; 2] = [b"authorization code\0", transaction.id.as_str().as_bytes()];
        Secret::from_bytes("ac_", &self.at(transaction.created_at, &purpose))
    }

    /// The anti-forgery value of a form: bound to what it is for (a transaction, or the name of a page), to the
    /// browser's record, and to the person whose name the page shows (CONS-9).
    #[must_use]
    pub fn csrf(&self, purpose: &str, browser: &BrowserId, person: &SubjectId, now: UnixTime) -> String {
        base64url(&self.at(now, &csrf_purpose(purpose, browser, person)))
    }

    /// Whether a page of ours carried this value, under the present key or an earlier one.
    #[must_use]
    pub fn csrf_matches(&self, purpose: &str, browser: &BrowserId, person: &SubjectId, presented: &str) -> bool {
        let purpose = csrf_purpose(purpose, browser, person);
        self.ring.load().iter().any(|held| {
            let expected = base64url(&derive(b"doorward", held.key.as_bytes(), &purpose));
            constant_time_eq(expected.as_bytes(), presented.as_bytes())
        })
    }

    /// The code verifier towards the provider that belongs to a `state` of a login that began at `begun_at` (IDP-2).
    #[must_use]
    pub fn provider_verifier(&self, state: &str, begun_at: UnixTime) -> String {
        base64url(&self.at(begun_at, &[b"provider verifier\0", state.as_bytes()]))
    }

    /// The `nonce` that belongs to a `state` of a login that began at `begun_at`.
    #[must_use]
    pub fn provider_nonce(&self, state: &str, begun_at: UnixTime) -> String {
        base64url(&self.at(begun_at, &[b"provider nonce\0", state.as_bytes()]))
    }

    /// The successor of a refresh token: derived from the presented token, the grant and the key it was
    /// issued under, so every answer to one presented token carries the same one (REFR-4).
    ///
    /// # Errors
    /// [`KeysError`] when the key is not at hand: that says nothing about the token.
    pub async fn successor(
        &self,
        presented: &str,
        grant: &GrantId,
        generation: i64,
        key: &str,
    ) -> Result<Secret, KeysError> {
        if self.ring.load().get(key).is_none() {
            self.reload().await?;
        }
        let ring = self.ring.load();
        let held = ring.get(key).ok_or(KeysError::Unusable)?;
        let bytes = derive(
            held.key.as_bytes(),
            presented.as_bytes(),
            &[b"refresh successor\0", grant.as_str().as_bytes(), b"\0", &generation.to_be_bytes()],
        );
        Ok(Secret::from_bytes("rt_", &bytes))
    }
}

fn csrf_purpose<'a>(purpose: &'a str, browser: &'a BrowserId, person: &'a SubjectId) -> [&'a [u8]; 6] {
    let bound = [purpose, browser.as_str(), person.as_str()].map(str::as_bytes);
    [b"csrf\0", bound[0], b"\0", bound[1], b"\0", bound[2]]
}

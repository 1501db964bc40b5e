//! The keys of one kind as this process holds them: opened once, each with the time from which it is used.
//!
//! Which key is used follows from the time alone, so that every gateway changes over at the same moment. A
//! rotation is announced before that moment comes ([`super::rotation`]).

use std::sync::Arc;

use super::rotation::KeysError;
use crate::crypto::Sealer;
use crate::domain::UnixTime;
use crate::store::{KeyKind, Store, StoredKey};

/// Keys, newest generation first.
pub struct Ring<K>(Vec<Held<K>>);

/// A key and where it stands.
pub struct Held<K> {
    pub stored: StoredKey,
    pub key: Arc<K>,
}

impl<K> Default for Ring<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K> Ring<K> {
    #[must_use]
    pub fn new(keys: Vec<Held<K>>) -> Self {
        Self(keys)
    }

    /// Reads the keys of a kind. Those in `known` are not opened again, so that a gateway goes on with them even
    /// when they were sealed anew with a secret key it has not been given yet.
    ///
    /// # Errors
    /// [`KeysError`], also when a single key does not open.
    pub async fn load(
        store: &Store,
        sealer: &Sealer,
        kind: KeyKind,
        known: &Self,
        read: impl Fn(&StoredKey, &[u8]) -> Result<K, KeysError>,
    ) -> Result<Self, KeysError> {
        let mut keys = Vec::new();
        for stored in store.keys(kind).await? {
            let key = if let Some(held) = known.get(&stored.id) {
                Arc::clone(&held.key)
            } else {
                let plain = sealer.open(&super::rotation::place(&stored.id), &stored.sealed)?;
                Arc::new(read(&stored, &plain)?)
            };
            keys.push(Held { stored, key });
        }
        Ok(Self(keys))
    }

    /// All, newest generation first.
    pub fn iter(&self) -> impl Iterator<Item = &Held<K>> {
        self.0.iter()
    }

    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Held<K>> {
        self.0.iter().find(|held| held.stored.id == id)
    }

    /// The key that things made at `at` are made with. Before the first key's time it is that first one: clocks
    /// differ.
    #[must_use]
    pub fn in_force(&self, algorithm: &str, at: UnixTime) -> Option<&Held<K>> {
        let mut used = self.0.iter().filter(|held| held.stored.algorithm == algorithm);
        let in_force = used.clone().find(|held| held.stored.in_force_at.is_some_and(|from| from <= at.0));
        in_force.or_else(|| used.rfind(|held| held.stored.in_force_at.is_some()))
    }
}

//! Keys in the store: made, announced, put in force, retired, sealed anew (SEC-3, SEC-4, DISC-19).
//!
//! A key is `next` before it is `current`, and `retired` after. The next key is published with the others, so that
//! whoever verifies knows it before it signs. A rotation names a moment a little ahead, at which all gateways change
//! over; until then they learn of it.

use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::signing_key::{self, SigningKey};
use crate::config::model::SigningAlg;
use crate::crypto::{KeyMaterial, Sealer};
use crate::domain::{Random, UnixTime};
use crate::store::{KeyKind, KeyState, Store, StoreError, StoredKey, Succession};

/// How far ahead a rotation lies. Running gateways read the keys twice a second.
pub const NOTICE: Duration = Duration::from_secs(10);
/// How long a key is published before it signs: what `/.well-known/jwks.json` allows a verifier to keep its copy.
pub const PUBLISHED: Duration = Duration::from_secs(300);
/// What derivation keys are for; there is one algorithm.
pub const DERIVATION: &str = "HKDF-SHA256";

/// Why keys cannot be had or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store's keys do not open with the given --secret-key: {0}")]
    Sealed(#[from] crate::crypto::OpenError),
    #[error("a stored key cannot be used")]
    Unusable,
    #[error("a signing key could not be made")]
    Generate,
    #[error("the store has no keys yet: start the gateway once")]
    NoKeys,
    #[error("a rotation is under way already: the next {0} key takes over at {1}")]
    UnderWay(String, jiff::Timestamp),
    #[error("another rotation came first; `doorward keys list` shows it")]
    Raced,
}

/// Where a key's sealed form belongs.
pub(super) fn place(id: &str) -> String {
    format!("key:{id}")
}

/// The name that an algorithm's keys are stored under.
#[must_use]
pub fn algorithm_name(algorithm: SigningAlg) -> &'static str {
    match algorithm {
        SigningAlg::Es256 => "ES256",
        SigningAlg::EdDsa => "EdDSA",
    }
}

/// Sees to it that a kind has a current key and a next one. Gateways that start at once agree on the first of each
/// generation; they read the keys afterwards.
///
/// # Errors
/// [`KeysError`].
pub async fn ensure(
    store: &Store,
    sealer: &Sealer,
    (kind, algorithm): (KeyKind, &str),
    random: &dyn Random,
    now: UnixTime,
) -> Result<(), KeysError> {
    for wanted in [KeyState::Current, KeyState::Next] {
        let stored = store.keys(kind).await?;
        let mut ours = stored.iter().filter(|key| key.algorithm == algorithm);
        let generation = ours.clone().map(|key| key.generation).max().unwrap_or(0) + 1;
        let missing = match wanted {
            KeyState::Next => !ours.any(|key| key.in_force_at.is_none()),
            _ => !ours.any(|key| key.in_force_at.is_some() && key.retired_at.is_none()),
        };
        if missing {
            let in_force_at = (wanted == KeyState::Current).then_some(now.0);
            let key = StoredKey { in_force_at, ..make(sealer, algorithm, generation, random, now)? };
            store.add_key(kind, &key).await?;
        }
    }
    Ok(())
}

/// A new key, sealed, that nobody uses yet.
fn make(
    sealer: &Sealer,
    algorithm: &str,
    generation: i64,
    random: &dyn Random,
    now: UnixTime,
) -> Result<StoredKey, KeysError> {
    let (id, plain) = if let Some(algorithm) = signing_key::named(algorithm) {
        signing_pair(algorithm)?
    } else {
        let material = KeyMaterial::generate(random);
        (material.id(), material.as_bytes().to_vec())
    };
    let sealed = sealer.seal(&place(&id), &plain, random);
    let algorithm = algorithm.to_owned();
    Ok(StoredKey { id, algorithm, generation, sealed, created_at: now.0, in_force_at: None, retired_at: None })
}

fn signing_pair(algorithm: Algorithm) -> Result<(String, Vec<u8>), KeysError> {
    let pkcs8 = signing_key::generate(algorithm)?;
    Ok((SigningKey::from_pkcs8(algorithm, &pkcs8)?.kid, pkcs8))
}

/// A key as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedKey {
    pub id: String,
    pub kind: KeyKind,
    pub algorithm: String,
    pub state: KeyState,
    pub created_at: jiff::Timestamp,
    /// Absent for a next key that no rotation has named yet.
    pub in_force_at: Option<jiff::Timestamp>,
    pub retired_at: Option<jiff::Timestamp>,
    /// Names the secret key that it is sealed with; absent for an envelope that cannot be read.
    pub sealed_with: Option<String>,
}

/// Every key, by kind and algorithm, newest first.
///
/// # Errors
/// [`KeysError`].
pub async fn list(store: &Store, now: UnixTime) -> Result<Vec<ListedKey>, KeysError> {
    let mut listed = Vec::new();
    for kind in [KeyKind::Signing, KeyKind::Derivation] {
        let mut keys = store.keys(kind).await?;
        // The store gives the newest first, and a sort changes nothing among equals.
        keys.sort_by(|one, other| one.algorithm.cmp(&other.algorithm));
        listed.extend(keys.into_iter().map(|key| ListedKey {
            kind,
            state: key.state(now),
            created_at: time(key.created_at),
            in_force_at: key.in_force_at.map(time),
            retired_at: key.retired_at.map(time),
            sealed_with: Sealer::key_of(&key.sealed),
            id: key.id,
            algorithm: key.algorithm,
        }));
    }
    Ok(listed)
}

fn time(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// A key that took another's place.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotated {
    pub kind: KeyKind,
    pub algorithm: String,
    /// The key that takes over.
    pub id: String,
    pub in_force_at: jiff::Timestamp,
}

/// Puts each next key in force, retires the one before it and makes a new next key. Takes effect [`NOTICE`] from now,
/// or when the next key has been [`PUBLISHED`], whichever is later.
///
/// # Errors
/// [`KeysError`].
pub async fn rotate(
    store: &Store,
    sealer: &Sealer,
    random: &dyn Random,
    now: UnixTime,
) -> Result<Vec<Rotated>, KeysError> {
    let mut successions = Vec::new();
    for kind in [KeyKind::Signing, KeyKind::Derivation] {
        let stored = store.keys(kind).await?;
        for current in stored.iter().filter(|key| key.in_force_at.is_some() && key.retired_at.is_none()) {
            if let (KeyState::Next, Some(at)) = (current.state(now), current.in_force_at) {
                return Err(KeysError::UnderWay(current.algorithm.clone(), time(at)));
            }
            // A mistyped secret key must not seal what no gateway could open.
            sealer.open(&place(&current.id), &current.sealed)?;
            let next = stored.iter().find(|key| key.algorithm == current.algorithm && key.in_force_at.is_none());
            let next = next.ok_or(KeysError::NoKeys)?;
            let published = UnixTime(next.created_at).plus(PUBLISHED);
            let at = if kind == KeyKind::Signing { published.max(now.plus(NOTICE)) } else { now.plus(NOTICE) };
            let after = make(sealer, &current.algorithm, next.generation + 1, random, now)?;
            successions.push((kind, current.id.clone(), next.clone(), at, after));
        }
    }
    if successions.is_empty() {
        return Err(KeysError::NoKeys);
    }
    let mut rotated = Vec::new();
    for (kind, current, next, at, after) in successions {
        let succession = Succession { current: &current, next: &next.id, at, after: &after };
        if !store.succeed_key(kind, &succession).await? {
            return Err(KeysError::Raced);
        }
        rotated.push(Rotated { kind, algorithm: next.algorithm, id: next.id, in_force_at: time(at.0) });
    }
    Ok(rotated)
}

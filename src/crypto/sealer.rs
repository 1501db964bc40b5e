//! Sealing at rest and on the wire: AES-256-GCM with associated data and a key id in the envelope.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::secret::sha256;
use crate::domain::Random;

/// 32 bytes of key.
#[derive(Clone)]
pub struct KeyMaterial(Zeroizing<[u8; 32]>);

impl KeyMaterial {
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    #[must_use]
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = [0u8; 32];
        random.fill(&mut bytes);
        Self::new(bytes)
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Eight characters that name this key without telling anything of it.
    #[must_use]
    pub fn id(&self) -> String {
        super::base64url(&sha256(&[b"doorward key id".as_slice(), self.0.as_slice()].concat())[..6])
    }
}

impl std::fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyMaterial({})", self.id())
    }
}

/// Why an envelope did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the envelope is malformed")]
    Malformed,
    #[error("no key at hand opens the envelope")]
    UnknownKey,
    #[error("the envelope was altered, or belongs to another place")]
    Forged,
}

/// Seals with its first key, opens with any (`--secret-key` is repeatable, so keys can rotate online). Copies share
/// their keys, and what [`Sealer::replace`] makes of them.
#[derive(Clone)]
pub struct Sealer {
    keys: Arc<ArcSwap<NamedKeys>>,
}

/// Each with its id; never empty.
type NamedKeys = Vec<(Vec<u8>, LessSafeKey)>;
const KEY_ID_LEN: usize = 6;
const NONCE_LEN: usize = 12;

impl Sealer {
    /// `None` without any key.
    #[must_use]
    pub fn new(keys: &[KeyMaterial]) -> Option<Self> {
        Some(Self { keys: Arc::new(ArcSwap::from_pointee(named(keys)?)) })
    }

    /// Goes on with other keys. False, and nothing changes, without any.
    #[must_use]
    pub fn replace(&self, keys: &[KeyMaterial]) -> bool {
        let Some(keys) = named(keys) else { return false };
        self.keys.store(Arc::new(keys));
        true
    }

    /// [`KeyMaterial::id`] of the key that sealed an envelope.
    #[must_use]
    pub fn key_of(envelope: &[u8]) -> Option<String> {
        envelope.get(..KEY_ID_LEN).map(super::base64url)
    }

    /// Whether an envelope is sealed with the first key.
    #[must_use]
    pub fn is_newest(&self, envelope: &[u8]) -> bool {
        envelope.get(..KEY_ID_LEN) == Some(self.keys.load()[0].0.as_slice())
    }

    /// `key id ‖ nonce ‖ ciphertext`. `place` is authenticated with it, so a sealed value opens only where it
    /// was put.
    #[must_use]
    pub fn seal(&self, place: &str, plain: &[u8], random: &dyn Random) -> Vec<u8> {
        let keys = self.keys.load();
        let (id, key) = &keys[0];
        let mut nonce = [0u8; NONCE_LEN];
        random.fill(&mut nonce);
        let mut body = plain.to_vec();
        #[expect(clippy::expect_used, reason = "AES-GCM fails only above 64 GiB")]
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place.as_bytes()), &mut body)
            .expect("AES-256-GCM seals");
        let mut envelope = Vec::with_capacity(KEY_ID_LEN + NONCE_LEN + body.len());
        envelope.extend_from_slice(id);
        envelope.extend_from_slice(&nonce);
        envelope.extend_from_slice(&body);
        envelope
    }

    /// # Errors
    /// [`OpenError`], each for one way an envelope can be wrong.
    pub fn open(&self, place: &str, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        if envelope.len() < KEY_ID_LEN + NONCE_LEN + AES_256_GCM.tag_len() {
            return Err(OpenError::Malformed);
        }
        let (id, rest) = envelope.split_at(KEY_ID_LEN);
        let (nonce, body) = rest.split_at(NONCE_LEN);
        let keys = self.keys.load();
        let key = keys.iter().find(|(known, _)| known == id).map(|(_, key)| key).ok_or(OpenError::UnknownKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Malformed)?;
        let mut body = body.to_vec();
        let plain = key.open_in_place(nonce, Aad::from(place.as_bytes()), &mut body).map_err(|_| OpenError::Forged)?;
        Ok(Zeroizing::new(plain.to_vec()))
    }
}

fn named(keys: &[KeyMaterial]) -> Option<NamedKeys> {
    let keys: NamedKeys = keys
        .iter()
        .filter_map(|key| {
            let unbound = UnboundKey::new(&AES_256_GCM, key.as_bytes()).ok()?;
            Some((super::base64url_decode(&key.id())?, LessSafeKey::new(unbound)))
        })
        .collect();
    if keys.is_empty() { None } else { Some(keys) }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer({} keys)", self.keys.load().len())
    }
}

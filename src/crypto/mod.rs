//! Cryptographic building blocks: secrets, their hashes, sealing and derivation.
//!
//! Owns no keys and does no I/O. Hashing is SHA-256 of values with 256 bits of entropy, so no salt is needed
//! (SEC-1); sealing is AES-256-GCM with the row's identity as associated data (SEC-2).

mod assertion_key;
mod sealer;
mod secret;

pub use assertion_key::AssertionKey;
pub use sealer::{KeyMaterial, OpenError, Sealer};
pub use secret::{Secret, SecretHash, base64url, base64url_decode, constant_time_eq, sha256};

use aws_lc_rs::{hkdf, hmac};
use jsonwebtoken::Algorithm;

/// What a token of somebody else's may be signed with: asymmetric algorithms alone (CODE-4). With a shared secret, anybody
/// who can verify could have signed.
pub const ASYMMETRIC: [Algorithm; 9] = [
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// HMAC-SHA-256 of `message` under `key`.
#[must_use]
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut out = [0u8; 32];
    out.copy_from_slice(tag.as_ref());
    out
}

/// HKDF-SHA-256 (RFC 5869): 32 bytes derived from `input`, salted, for one named purpose.
#[must_use]
pub fn derive(salt: &[u8], input: &[u8], purpose: &[&[u8]]) -> [u8; 32] {
    let mut out = [0u8; 32];
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(input);
    #[expect(clippy::expect_used, reason = "32 bytes are always within what HKDF-SHA-256 can give")]
    prk.expand(purpose, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut out)).expect("HKDF gives 32 bytes");
    out
}

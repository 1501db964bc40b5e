//! Signing keys, and the tokens signed with them.
//!
//! Owns the key set and its publication (RFC 7517), access tokens (RFC 9068) made and verified, the list of
//! revoked grants, and the identity assertion for upstreams. Must not know HTTP or OAuth endpoints.

mod access_token;
mod assertion;
mod key_set;
mod reseal;
mod revocations;
mod ring;
pub mod rotation;
mod signing_key;
mod verifier;

pub use access_token::{AccessTokenClaims, AccessTokenIssuer};
pub use assertion::{AssertedCall, AssertionIssuer, AssertionVerifier, IdentityClaims};
pub use key_set::{Keys, SignError};
pub use reseal::{Resealed, reseal};
pub use revocations::{REMEMBERED, Revocations};
pub use ring::Ring;
pub use rotation::KeysError;
pub use verifier::{AccessTokenVerifier, TokenRefusal, VerifiedToken};

//! Access tokens (RFC 9068): short-lived, for one resource, verifiable by our published keys.

use std::sync::Arc;

use jsonwebtoken::{Validation, decode, decode_header};
use serde::{Deserialize, Serialize};

use super::key_set::{Keys, SignError};
use crate::domain::UnixTime;

/// `typ` of an access token.
pub(super) const TYP: &str = "at+jwt";

/// The claims (CODE-11). Times in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// Issuer of the authorize endpoint that was used.
    pub iss: String,
    pub sub: String,
    /// The one resource.
    pub aud: String,
    pub client_id: String,
    pub exp: i64,
    pub iat: i64,
    pub jti: String,
    pub scope: String,
    /// The grant.
    pub sid: String,
    /// When the person signed in (RFC 9068 §2.2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
}

/// Signs access tokens.
pub struct AccessTokenIssuer {
    keys: Arc<Keys>,
}

impl AccessTokenIssuer {
    #[must_use]
    pub fn new(keys: Arc<Keys>) -> Self {
        Self { keys }
    }

    /// # Errors
    /// [`SignError`].
    pub fn issue(&self, claims: &AccessTokenClaims) -> Result<String, SignError> {
        self.keys.sign(TYP, claims, UnixTime(claims.iat))
    }

    /// The claims of a token that we signed, expired or not; for revocation and introspection. The key may be one
    /// that another replica made a moment ago (SEC-3).
    pub async fn claims_of_own_token(&self, token: &str, now: UnixTime) -> Option<AccessTokenClaims> {
        if let Some(kid) = key_id(token)
            && !self.keys.knows(&kid)
        {
            self.keys.look_up(&kid, now).await;
        }
        verify_signature(&self.keys, token)
    }
}

/// The key that what looks like one of our access tokens names.
pub(super) fn key_id(token: &str) -> Option<String> {
    let header = decode_header(token).ok()?;
    header.kid.filter(|_| header.typ.as_deref() == Some(TYP))
}

/// The claims of an access token that one of our keys signed. Nothing but the signature, the algorithm and
/// the type is checked; `jku`, `x5u` and `jwk` in the header are not looked at (SEC-9).
pub(super) fn verify_signature(keys: &Keys, token: &str) -> Option<AccessTokenClaims> {
    let header = decode_header(token).ok()?;
    if header.typ.as_deref() != Some(TYP) {
        return None;
    }
    let (algorithm, key) = keys.verification_key(header.kid.as_deref()?)?;
    if header.alg != algorithm {
        return None;
    }
    let mut validation = Validation::new(algorithm);
    // Times and audience are checked by the caller, against its own clock and route.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    decode(token, &key, &validation).ok().map(|data| data.claims)
}

//! One signing key pair: made, read, and published as a JWK (RFC 7517, thumbprint by RFC 7638).

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde_json::{Value, json};

use super::rotation::KeysError;
use crate::crypto::{base64url, sha256};

/// One key pair.
pub(super) struct SigningKey {
    pub(super) kid: String,
    pub(super) algorithm: Algorithm,
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
    pub(super) jwk: Value,
}

impl SigningKey {
    pub(super) fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, KeysError> {
        let (encoding, decoding, mut jwk) = if algorithm == Algorithm::EdDSA {
            let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| KeysError::Unusable)?;
            let x = base64url(pair.public_key().as_ref());
            let decoding = DecodingKey::from_ed_components(&x).map_err(|_| KeysError::Unusable)?;
            (EncodingKey::from_ed_der(pkcs8), decoding, json!({ "crv": "Ed25519", "kty": "OKP", "x": x }))
        } else {
            let pair =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| KeysError::Unusable)?;
            // Uncompressed point: 04 ‖ x ‖ y.
            let point = pair.public_key().as_ref();
            let (x, y) = match point.get(1..).map(|rest| rest.split_at_checked(32)) {
                Some(Some((x, y))) if y.len() == 32 => (base64url(x), base64url(y)),
                _ => return Err(KeysError::Unusable),
            };
            let decoding = DecodingKey::from_ec_components(&x, &y).map_err(|_| KeysError::Unusable)?;
            (EncodingKey::from_ec_der(pkcs8), decoding, json!({ "crv": "P-256", "kty": "EC", "x": x, "y": y }))
        };
        // RFC 7638: the members that define the key, in lexical order, without white space. The map above is
        // in that order already.
        let kid = base64url(&sha256(jwk.to_string().as_bytes()));
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), kid.clone().into());
            members.insert("alg".to_owned(), name_of(algorithm).into());
            members.insert("use".to_owned(), "sig".into());
        }
        Ok(Self { kid, algorithm, encoding, decoding, jwk })
    }
}

/// JWA name, as keys are stored under and published with.
pub(super) fn name_of(algorithm: Algorithm) -> &'static str {
    if algorithm == Algorithm::EdDSA { "EdDSA" } else { "ES256" }
}

/// The algorithm of a stored key; `None` for one that this version does not know.
pub(super) fn named(name: &str) -> Option<Algorithm> {
    match name {
        "ES256" => Some(Algorithm::ES256),
        "EdDSA" => Some(Algorithm::EdDSA),
        _ => None,
    }
}

/// A new key pair, as PKCS#8.
pub(super) fn generate(algorithm: Algorithm) -> Result<Vec<u8>, KeysError> {
    if algorithm == Algorithm::EdDSA {
        // Version 1 of PKCS#8: the form without the public key, which the JWT library can read.
        let pair = Ed25519KeyPair::generate().map_err(|_| KeysError::Generate)?;
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeysError::Generate)?;
        Ok(der.as_ref().to_vec())
    } else {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| KeysError::Generate)?;
        Ok(pair.to_pkcs8v1().map_err(|_| KeysError::Generate)?.as_ref().to_vec())
    }
}

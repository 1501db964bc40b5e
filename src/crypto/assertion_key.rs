//! A private key that an operator gives as text, to sign JWTs with (RFC 7515, RFC 7518, RFC 7523).

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::base64url;

/// The key; it is never shown.
#[derive(Clone)]
pub struct AssertionKey(Arc<Pair>);

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl std::fmt::Debug for AssertionKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AssertionKey({})", self.algorithm())
    }
}

impl AssertionKey {
    /// Reads PEM: RSA of 2048 bits or more, P-256, P-384 or Ed25519. `None` for anything else.
    #[must_use]
    pub fn from_pem(pem: &str) -> Option<Self> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
        let der = key.secret_der();
        let rsa = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).map(Pair::Rsa);
        let pair = rsa
            .or_else(|_| EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Pair::P256))
            .or_else(|_| EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_FIXED_SIGNING, der).map(Pair::P384))
            .or_else(|_| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Pair::Ed25519));
        pair.ok().map(|pair| Self(Arc::new(pair)))
    }

    /// `alg`, which follows from the key.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match *self.0 {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::P384(_) => "ES384",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// A JWT in compact form. `None` when the key fails to sign.
    #[must_use]
    pub fn sign_jwt(&self, key_id: Option<&str>, claims: &Value) -> Option<String> {
        let mut header = json!({ "typ": "JWT", "alg": self.algorithm() });
        if let Some(key_id) = key_id {
            header["kid"] = json!(key_id);
        }
        let signed = [header.to_string(), claims.to_string()].map(|part| base64url(part.as_bytes())).join(".");
        let signature = self.sign(signed.as_bytes())?;
        Some(format!("{signed}.{}", base64url(&signature)))
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &*self.0 {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            Pair::P256(pair) | Pair::P384(pair) => pair.sign(&random, message).ok().map(|made| made.as_ref().to_vec()),
            Pair::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
    use rstest::rstest;

    use super::*;

    // IDP-9
    #[rstest]
    #[case(&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256)]
    #[case(&rcgen::PKCS_ECDSA_P384_SHA384, Algorithm::ES384)]
    #[case(&rcgen::PKCS_ED25519, Algorithm::EdDSA)]
    fn the_key_decides_the_algorithm(#[case] kind: &'static rcgen::SignatureAlgorithm, #[case] algorithm: Algorithm) {
        let pair = rcgen::KeyPair::generate_for(kind).unwrap();
        let key = AssertionKey::from_pem(&pair.serialize_pem()).unwrap();
        let jwt = key.sign_jwt(Some("k1"), &json!({ "sub": "a" })).unwrap();
        let public = match algorithm {
            Algorithm::EdDSA => DecodingKey::from_ed_der(pair.public_key_raw()),
            _ => DecodingKey::from_ec_der(pair.public_key_raw()),
        };
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        let token = decode::<Value>(&jwt, &public, &validation).unwrap();
        assert_eq!((token.header.kid.as_deref(), &token.claims["sub"]), (Some("k1"), &json!("a")));
        assert!(!format!("{key:?}").contains(&pair.serialize_pem()[40..80]));
    }
}

//! A private key that an operator gives as text, to sign JWTs with (RFC 7515, RFC 7518, RFC 7523).

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::base64url;

/// The key; it is never shown.
#[derive(Clone)]
pub struct AssertionKey {
    pair: Arc<Pair>,
    algorithm: &'static str,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl std::fmt::Debug for AssertionKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AssertionKey({})", self.algorithm)
    }
}

impl AssertionKey {
    /// Reads PEM: RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519. `None` for anything else.
    #[must_use]
    pub fn from_pem(pem: &str) -> Option<Self> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
        let der = key.secret_der();
        let rsa = || RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).ok();
        let curve = |curve| EcdsaKeyPair::from_private_key_der(curve, der).ok().map(Pair::Ecdsa);
        let (pair, algorithm) = rsa()
            .map(|pair| (Pair::Rsa(pair), "RS256"))
            .or_else(|| curve(&ECDSA_P256_SHA256_FIXED_SIGNING).map(|pair| (pair, "ES256")))
            .or_else(|| curve(&ECDSA_P384_SHA384_FIXED_SIGNING).map(|pair| (pair, "ES384")))
            .or_else(|| curve(&ECDSA_P521_SHA512_FIXED_SIGNING).map(|pair| (pair, "ES512")))
            .or_else(|| {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
                Some((Pair::Ed25519(pair), "EdDSA"))
            })?;
        Some(Self { pair: Arc::new(pair), algorithm })
    }

    /// The same key, signing with `algorithm`: RSA has `RS256`, `RS384` and `RS512`, every other key has its own alone.
    #[must_use]
    pub fn with_algorithm(mut self, algorithm: &str) -> Option<Self> {
        if let Pair::Rsa(_) = *self.pair {
            self.algorithm = ["RS256", "RS384", "RS512"].into_iter().find(|known| *known == algorithm)?;
        }
        (self.algorithm == algorithm).then_some(self)
    }

    /// `alg`; unless somebody chose, what follows from the key.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    /// A JWT in compact form. `None` when the key fails to sign.
    #[must_use]
    pub fn sign_jwt(&self, key_id: Option<&str>, claims: &Value) -> Option<String> {
        let mut header = json!({ "typ": "JWT", "alg": self.algorithm });
        if let Some(key_id) = key_id {
            header["kid"] = json!(key_id);
        }
        let signed = [header.to_string(), claims.to_string()].map(|part| base64url(part.as_bytes())).join(".");
        let signature = self.sign(signed.as_bytes())?;
        Some(format!("{signed}.{}", base64url(&signature)))
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Rsa(pair) => {
                let padding = match self.algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            Pair::Ecdsa(pair) => pair.sign(&random, message).ok().map(|made| made.as_ref().to_vec()),
            Pair::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, KeyPair as _, UnparsedPublicKey};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
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
        assert!(key.clone().with_algorithm(key.algorithm()).is_some() && key.with_algorithm("RS256").is_none());
    }

    // IDP-9, RFC 7518 §3.4
    #[test]
    fn a_key_of_p_521_signs_with_es512() {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        let key = AssertionKey::from_pem(&pair.serialize_pem()).unwrap();
        assert_eq!(key.algorithm(), "ES512");
        let jwt = key.sign_jwt(None, &json!({ "sub": "a" })).unwrap();
        let (signed, signature) = jwt.rsplit_once('.').unwrap();
        let signature = crate::crypto::base64url_decode(signature).unwrap();
        assert_eq!(signature.len(), 132);
        let public = UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, pair.public_key_raw());
        assert!(public.verify(signed.as_bytes(), &signature).is_ok());
    }

    // IDP-9, RFC 7518 §3.3
    #[rstest]
    #[case("RS256", Algorithm::RS256)]
    #[case("RS384", Algorithm::RS384)]
    #[case("RS512", Algorithm::RS512)]
    fn an_rsa_key_signs_with_the_digest_somebody_chose(#[case] name: &str, #[case] algorithm: Algorithm) {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let body = STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        let key = AssertionKey::from_pem(&pem).unwrap();
        assert_eq!(key.algorithm(), "RS256", "what every provider takes");
        assert!(key.clone().with_algorithm("ES256").is_none() && key.clone().with_algorithm("none").is_none());
        let jwt = key.with_algorithm(name).unwrap().sign_jwt(None, &json!({ "sub": "a" })).unwrap();
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        let public = DecodingKey::from_rsa_der(pair.public_key().as_ref());
        assert_eq!(decode::<Value>(&jwt, &public, &validation).unwrap().claims["sub"], "a");
    }
}

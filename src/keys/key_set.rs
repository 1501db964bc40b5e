//! The signing key set: made once, sealed in the store, shared by all replicas (SEC-4, DISC-19).

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::model::SigningAlg;
use crate::crypto::{Sealer, base64url, sha256};
use crate::domain::{Random, UnixTime};
use crate::store::{KeyKind, Store, StoreError, StoredKey};

/// Why the signing keys could not be had at start.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store's signing keys do not open with the given --secret-key: {0}")]
    Sealed(#[from] crate::crypto::OpenError),
    #[error("a stored signing key cannot be used")]
    Unusable,
    #[error("a signing key could not be made")]
    Generate,
}

/// A token could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("signing failed: {0}")]
pub struct SignError(#[from] jsonwebtoken::errors::Error);

/// One key pair.
struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    encoding: EncodingKey,
    decoding: DecodingKey,
    jwk: Value,
}

/// The keys: one signs, all verify.
pub struct Keys {
    signing: Arc<SigningKey>,
    by_id: HashMap<String, Arc<SigningKey>>,
    jwks: Value,
}

impl Keys {
    /// Loads the keys of a store; makes the first of the wanted algorithm when there is none.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn load(
        store: &Store,
        sealer: &Sealer,
        algorithm: SigningAlg,
        random: &dyn Random,
        now: UnixTime,
    ) -> Result<Self, KeysError> {
        let wanted = match algorithm {
            SigningAlg::Es256 => Algorithm::ES256,
            SigningAlg::EdDsa => Algorithm::EdDSA,
        };
        let name = format!("{wanted:?}");
        let stored = store.keys(KeyKind::Signing).await?;
        if !stored.iter().any(|key| key.algorithm == name && key.retired_at.is_none()) {
            let pkcs8 = generate(wanted)?;
            let kid = SigningKey::from_pkcs8(wanted, &pkcs8)?.kid;
            let generation = stored.first().map_or(1, |newest| newest.generation + 1);
            let sealed = sealer.seal(&format!("key:{kid}"), &pkcs8, random);
            let key =
                StoredKey { id: kid, algorithm: name.clone(), generation, sealed, created_at: now.0, retired_at: None };
            store.add_key(KeyKind::Signing, &key).await?;
        }
        let mut keys = Vec::new();
        for stored in store.keys(KeyKind::Signing).await? {
            let algorithm = match stored.algorithm.as_str() {
                "ES256" => Algorithm::ES256,
                "EdDSA" => Algorithm::EdDSA,
                _ => return Err(KeysError::Unusable),
            };
            let pkcs8 = sealer.open(&format!("key:{}", stored.id), &stored.sealed)?;
            keys.push((stored.retired_at.is_none(), SigningKey::from_pkcs8(algorithm, &pkcs8)?));
        }
        Self::new(keys, wanted)
    }

    /// Keys that live in memory only, for tests.
    ///
    /// # Errors
    /// [`KeysError::Generate`].
    pub fn ephemeral(algorithm: SigningAlg) -> Result<Self, KeysError> {
        let algorithm = match algorithm {
            SigningAlg::Es256 => Algorithm::ES256,
            SigningAlg::EdDsa => Algorithm::EdDSA,
        };
        Self::new(vec![(true, SigningKey::from_pkcs8(algorithm, &generate(algorithm)?)?)], algorithm)
    }

    /// `keys` newest first, each with whether it may sign.
    fn new(keys: Vec<(bool, SigningKey)>, wanted: Algorithm) -> Result<Self, KeysError> {
        let keys: Vec<_> = keys.into_iter().map(|(active, key)| (active, Arc::new(key))).collect();
        let (_, signing) =
            keys.iter().find(|(active, key)| *active && key.algorithm == wanted).ok_or(KeysError::Unusable)?;
        Ok(Self {
            signing: Arc::clone(signing),
            jwks: json!({ "keys": keys.iter().map(|(_, key)| &key.jwk).collect::<Vec<_>>() }),
            by_id: keys.iter().map(|(_, key)| (key.kid.clone(), Arc::clone(key))).collect(),
        })
    }

    /// The public keys (RFC 7517), for `/.well-known/jwks.json`.
    #[must_use]
    pub fn jwks(&self) -> &Value {
        &self.jwks
    }

    /// JWA name of the algorithm that new tokens are signed with.
    #[must_use]
    pub fn algorithm_name(&self) -> &'static str {
        if self.signing.algorithm == Algorithm::EdDSA { "EdDSA" } else { "ES256" }
    }

    pub(super) fn sign<T: Serialize>(&self, typ: &str, claims: &T) -> Result<String, SignError> {
        let mut header = Header::new(self.signing.algorithm);
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.signing.kid.clone());
        Ok(jsonwebtoken::encode(&header, claims, &self.signing.encoding)?)
    }

    pub(super) fn verification_key(&self, kid: &str) -> Option<(Algorithm, &DecodingKey)> {
        self.by_id.get(kid).map(|key| (key.algorithm, &key.decoding))
    }
}

impl SigningKey {
    fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, KeysError> {
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
            let name = if algorithm == Algorithm::EdDSA { "EdDSA" } else { "ES256" };
            members.insert("kid".to_owned(), kid.clone().into());
            members.insert("alg".to_owned(), name.into());
            members.insert("use".to_owned(), "sig".into());
        }
        Ok(Self { kid, algorithm, encoding, decoding, jwk })
    }
}

fn generate(algorithm: Algorithm) -> Result<Vec<u8>, KeysError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeyMaterial;
    use crate::domain::SystemRandom;

    // DISC-19
    #[test]
    fn the_published_keys_are_public_and_carry_kid_alg_and_use() {
        for (alg, name) in [(SigningAlg::Es256, "ES256"), (SigningAlg::EdDsa, "EdDSA")] {
            let keys = Keys::ephemeral(alg).unwrap();
            let key = &keys.jwks()["keys"][0];
            assert_eq!(key["alg"], name);
            assert_eq!(key["use"], "sig");
            assert_eq!(key["kid"].as_str().unwrap().len(), 43);
            assert!(key.get("d").is_none());
            assert_eq!(keys.algorithm_name(), name);
        }
    }

    // SEC-4
    #[tokio::test]
    async fn keys_persist_and_a_wrong_secret_key_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}", folder.path().join("k.db").display())).await.unwrap();
        let sealer = Sealer::new(&[KeyMaterial::new([1; 32])]).unwrap();
        let now = UnixTime(1_000);
        let first = Keys::load(&store, &sealer, SigningAlg::Es256, &SystemRandom, now).await.unwrap();
        let again = Keys::load(&store, &sealer, SigningAlg::Es256, &SystemRandom, now).await.unwrap();
        assert_eq!(first.jwks(), again.jwks());
        let both = Keys::load(&store, &sealer, SigningAlg::EdDsa, &SystemRandom, now).await.unwrap();
        assert_eq!(both.algorithm_name(), "EdDSA");
        assert_eq!(both.jwks()["keys"].as_array().unwrap().len(), 2);
        let stranger = Sealer::new(&[KeyMaterial::new([2; 32])]).unwrap();
        assert!(matches!(
            Keys::load(&store, &stranger, SigningAlg::Es256, &SystemRandom, now).await,
            Err(KeysError::Sealed(_))
        ));
    }
}

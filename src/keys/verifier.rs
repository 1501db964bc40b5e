//! Verifying access tokens on the data path (CHAL-2, CHAL-3, SEC-9): the signature once per token, then a
//! bounded cache; audience, expiry and revocation on every request.

use std::sync::Arc;

use dashmap::DashSet;
use moka::sync::Cache;

use super::access_token::{key_id, verify_signature};
use super::key_set::Keys;
use super::revocations::Revocations;
use crate::crypto::{SecretHash, sha256};
use crate::domain::{ClientId, GrantId, SubjectId, UnixTime};
use crate::oauth::scope::ScopeSet;
use crate::telemetry::metrics::TokenCacheMetrics;

/// Tokens whose signature is known to be good.
const CACHED_TOKENS: u64 = 50_000;
/// More bytes than any token of ours has.
const MAX_TOKEN: usize = 8 * 1024;
/// The longest life that can be configured, in seconds. Longer ones were signed by a thief of the key, for the time after
/// it is gone.
const LONGEST_LIFE: i64 = 24 * 3600;

/// A token that is good now, for the route it was checked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    pub issuer: String,
    pub subject: SubjectId,
    pub client: ClientId,
    pub grant: GrantId,
    pub resource: String,
    pub scope: ScopeSet,
    pub expires_at: UnixTime,
    /// When the person signed in, if the token says so.
    pub authenticated_at: Option<UnixTime>,
}

/// Why a token is not good. For the log; the client is told `invalid_token` whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    #[error("not one of our tokens")]
    Foreign,
    #[error("expired")]
    Expired,
    #[error("issued for another route")]
    WrongAudience,
    #[error("issued under another origin")]
    WrongIssuer,
    #[error("its grant was revoked")]
    Revoked,
}

impl TokenRefusal {
    #[must_use]
    pub fn reason_code(self) -> &'static str {
        match self {
            Self::Foreign => "token_foreign",
            Self::Expired => "token_expired",
            Self::WrongAudience => "token_wrong_audience",
            Self::WrongIssuer => "token_wrong_issuer",
            Self::Revoked => "token_revoked",
        }
    }
}

/// Verifies the access tokens of requests.
pub struct AccessTokenVerifier {
    keys: Arc<Keys>,
    revocations: Arc<Revocations>,
    cache: Cache<SecretHash, Signed>,
    /// Grants with a token that was seen for the first time, until somebody takes note.
    used: DashSet<GrantId>,
    metrics: TokenCacheMetrics,
}

/// A token and the key that signed it.
#[derive(Clone)]
struct Signed {
    token: Arc<VerifiedToken>,
    key: Arc<str>,
}

impl AccessTokenVerifier {
    #[must_use]
    pub fn new(keys: Arc<Keys>, revocations: Arc<Revocations>) -> Self {
        let cache = Cache::new(CACHED_TOKENS);
        Self { keys, revocations, cache, used: DashSet::new(), metrics: TokenCacheMetrics::default() }
    }

    /// Counts what the cache spares.
    #[must_use]
    pub fn counted_by(self, metrics: TokenCacheMetrics) -> Self {
        Self { metrics, ..self }
    }

    /// Checks a token for the route at `origin` + `path`. Both issuers of that origin are accepted: the origin
    /// itself and the route's URL (DISC-13).
    ///
    /// # Errors
    /// [`TokenRefusal`].
    pub fn verify(
        &self,
        token: &str,
        origin: &str,
        path: &str,
        now: UnixTime,
    ) -> Result<Arc<VerifiedToken>, TokenRefusal> {
        let verified = self.known(token)?;
        if verified.expires_at <= now {
            return Err(TokenRefusal::Expired);
        }
        if verified.resource.strip_prefix(origin) != Some(path) {
            return Err(TokenRefusal::WrongAudience);
        }
        if verified.issuer != origin && verified.issuer != verified.resource {
            return Err(TokenRefusal::WrongIssuer);
        }
        if self.revocations.is_revoked(&verified.grant) {
            return Err(TokenRefusal::Revoked);
        }
        Ok(verified)
    }

    /// Whether a token that was refused may be good after all: it names a key that the store turns out to have.
    pub async fn learn_key_of(&self, token: &str, now: UnixTime) -> bool {
        let kid = if token.len() > MAX_TOKEN { None } else { key_id(token) };
        match kid {
            Some(kid) if !self.keys.knows(&kid) => self.keys.look_up(&kid, now).await,
            _ => false,
        }
    }

    /// Grants whose newest token was seen since the last time somebody asked (REFR-12).
    #[must_use]
    pub fn take_used(&self) -> Vec<GrantId> {
        let used: Vec<GrantId> = self.used.iter().map(|grant| grant.clone()).collect();
        for grant in &used {
            self.used.remove(grant);
        }
        used
    }

    #[must_use]
    pub fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    fn known(&self, token: &str) -> Result<Arc<VerifiedToken>, TokenRefusal> {
        if token.len() > MAX_TOKEN {
            return Err(TokenRefusal::Foreign);
        }
        let hash = SecretHash::from_digest(sha256(token.as_bytes()));
        // A key that was taken out takes with it what it signed.
        if let Some(signed) = self.cache.get(&hash).filter(|signed| self.keys.knows(&signed.key)) {
            self.metrics.hits.inc();
            return Ok(signed.token);
        }
        self.metrics.misses.inc();
        let claims = verify_signature(&self.keys, token).ok_or(TokenRefusal::Foreign)?;
        let key = key_id(token).ok_or(TokenRefusal::Foreign)?.into();
        if claims.exp.saturating_sub(claims.iat) > LONGEST_LIFE {
            return Err(TokenRefusal::Foreign);
        }
        let verified = Arc::new(VerifiedToken {
            issuer: claims.iss,
            subject: SubjectId::new(claims.sub),
            client: ClientId::new(claims.client_id),
            grant: GrantId::new(claims.sid),
            resource: claims.aud,
            scope: ScopeSet::parse(&claims.scope),
            expires_at: UnixTime(claims.exp),
            authenticated_at: claims.auth_time.map(UnixTime),
        });
        self.cache.insert(hash, Signed { token: Arc::clone(&verified), key });
        self.used.insert(verified.grant.clone());
        Ok(verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::SigningAlg;
    use crate::crypto::base64url;
    use crate::keys::{AccessTokenClaims, AccessTokenIssuer};

    const ORIGIN: &str = "https://gw.example";

    fn claims() -> AccessTokenClaims {
        AccessTokenClaims {
            iss: ORIGIN.into(),
            sub: "usr_1".into(),
            aud: format!("{ORIGIN}/mcp/a"),
            client_id: "dcr_1".into(),
            exp: 2_000,
            iat: 1_100,
            jti: "1".into(),
            scope: "mcp:tools".into(),
            sid: "grt_1".into(),
            auth_time: None,
        }
    }

    fn setup(alg: SigningAlg) -> (AccessTokenIssuer, AccessTokenVerifier) {
        let keys = Arc::new(Keys::ephemeral(alg).unwrap());
        (AccessTokenIssuer::new(Arc::clone(&keys)), AccessTokenVerifier::new(keys, Arc::new(Revocations::default())))
    }

    // CHAL-2, CHAL-3, DISC-13
    #[test]
    fn a_token_is_good_for_its_route_and_origin_until_it_expires_or_is_revoked() {
        for alg in [SigningAlg::Es256, SigningAlg::EdDsa] {
            let (issuer, verifier) = setup(alg);
            let token = issuer.issue(&claims()).unwrap();
            let check = |origin, path, now| verifier.verify(&token, origin, path, UnixTime(now)).map(|_| ());
            for _ in 0..2 {
                assert_eq!(check(ORIGIN, "/mcp/a", 1_999), Ok(()));
                assert_eq!(check(ORIGIN, "/mcp/a", 2_000), Err(TokenRefusal::Expired));
                assert_eq!(check(ORIGIN, "/mcp/b", 1_500), Err(TokenRefusal::WrongAudience));
                assert_eq!(check("https://other.example", "/mcp/a", 1_500), Err(TokenRefusal::WrongAudience));
            }
            let foreign = issuer.issue(&AccessTokenClaims { iss: "https://other.example".into(), ..claims() }).unwrap();
            assert_eq!(
                verifier.verify(&foreign, ORIGIN, "/mcp/a", UnixTime(1_500)).unwrap_err(),
                TokenRefusal::WrongIssuer
            );
            let bound = issuer.issue(&AccessTokenClaims { iss: format!("{ORIGIN}/mcp/a"), ..claims() }).unwrap();
            assert!(verifier.verify(&bound, ORIGIN, "/mcp/a", UnixTime(1_500)).is_ok());
            verifier.revocations().revoke(GrantId::new("grt_1"), UnixTime(3_000));
            assert_eq!(check(ORIGIN, "/mcp/a", 1_500), Err(TokenRefusal::Revoked));
        }
    }

    // LIM-4, SEC-9
    #[test]
    fn a_token_longer_than_any_of_ours_is_not_looked_at() {
        let (issuer, verifier) = setup(SigningAlg::Es256);
        let of_scope =
            |length: usize| issuer.issue(&AccessTokenClaims { scope: "x".repeat(length), ..claims() }).unwrap();
        let good = |token: &str| verifier.verify(token, ORIGIN, "/mcp/a", UnixTime(1_500)).is_ok();
        let lengths: Vec<(usize, bool)> =
            (5_600..5_900).map(of_scope).map(|token| (token.len(), good(&token))).collect();
        assert!(lengths.iter().any(|(length, _)| *length <= MAX_TOKEN));
        assert!(lengths.iter().any(|(length, _)| *length > MAX_TOKEN));
        assert!(lengths.iter().all(|(length, good)| *good == (*length <= MAX_TOKEN)));
    }

    // CHAL-3
    #[test]
    fn the_log_tells_the_refusals_apart() {
        use TokenRefusal::{Expired, Foreign, Revoked, WrongAudience, WrongIssuer};
        let codes = [Foreign, Expired, WrongAudience, WrongIssuer, Revoked].map(TokenRefusal::reason_code);
        let expected =
            ["token_foreign", "token_expired", "token_wrong_audience", "token_wrong_issuer", "token_revoked"];
        assert_eq!(codes, expected);
    }

    // SEC-3, SEC-9
    #[tokio::test]
    async fn a_key_that_was_taken_out_takes_with_it_what_it_signed_and_no_token_outlives_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            crate::store::Store::open(&format!("sqlite://{}", folder.path().join("k.db").display())).await.unwrap();
        let sealer = crate::crypto::Sealer::new(&[crate::crypto::KeyMaterial::new([1; 32])]).unwrap();
        let random = crate::domain::SystemRandom;
        let keys = Keys::load(&store, &sealer, SigningAlg::Es256, &random, UnixTime(1_000)).await.unwrap();
        let keys = Arc::new(keys);
        let issuer = AccessTokenIssuer::new(Arc::clone(&keys));
        let verifier = AccessTokenVerifier::new(Arc::clone(&keys), Arc::new(Revocations::default()));
        let check = |token: &str| verifier.verify(token, ORIGIN, "/mcp/a", UnixTime(1_500)).map(|_| ());
        let token = issuer.issue(&claims()).unwrap();
        assert_eq!(check(&token), Ok(()));
        let longest = issuer.issue(&AccessTokenClaims { exp: 1_100 + LONGEST_LIFE, ..claims() }).unwrap();
        assert_eq!(check(&longest), Ok(()));
        let for_ever = issuer.issue(&AccessTokenClaims { exp: 1_100 + LONGEST_LIFE + 1, ..claims() }).unwrap();
        assert_eq!(check(&for_ever), Err(TokenRefusal::Foreign));

        crate::keys::rotation::rotate(&store, &sealer, &random, UnixTime(1_000)).await.unwrap();
        store.purge_keys(UnixTime(100_000)).await.unwrap();
        keys.reload().await.unwrap();
        assert_eq!(check(&token), Err(TokenRefusal::Foreign));
    }

    // SEC-9
    #[test]
    fn ten_thousand_mutated_tokens_are_all_refused() {
        let (issuer, verifier) = setup(SigningAlg::Es256);
        let token = issuer.issue(&claims()).unwrap();
        let mut seed = 1u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap_or(0)
        };
        for _ in 0..10_000 {
            let mut bytes = token.clone().into_bytes();
            let at = next() % bytes.len();
            let replacement = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."[next() % 65];
            if bytes[at] == replacement {
                bytes.truncate(at);
            } else {
                bytes[at] = replacement;
            }
            let mutated = String::from_utf8(bytes).unwrap();
            assert!(verifier.verify(&mutated, ORIGIN, "/mcp/a", UnixTime(1_500)).is_err(), "{mutated}");
        }
    }

    // SEC-9, CHAL-2
    #[test]
    fn the_header_cannot_choose_the_key_the_algorithm_or_the_type() {
        let (issuer, verifier) = setup(SigningAlg::Es256);
        let token = issuer.issue(&claims()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
        for header in [
            r#"{"alg":"none","typ":"at+jwt"}"#.to_owned(),
            format!(r#"{{"alg":"none","typ":"at+jwt","kid":"{kid}"}}"#),
            format!(r#"{{"alg":"HS256","typ":"at+jwt","kid":"{kid}"}}"#),
            format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{kid}"}}"#),
            format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{kid}","jku":"https://evil.example"}}"#),
            r#"{"alg":"ES256","typ":"at+jwt"}"#.to_owned(),
        ] {
            for signature in [parts[2], ""] {
                let forged = format!("{}.{}.{signature}", base64url(header.as_bytes()), parts[1]);
                assert!(verifier.verify(&forged, ORIGIN, "/mcp/a", UnixTime(1_500)).is_err(), "{header}");
            }
        }
        let (stranger, _) = setup(SigningAlg::Es256);
        let foreign = stranger.issue(&claims()).unwrap();
        assert_eq!(verifier.verify(&foreign, ORIGIN, "/mcp/a", UnixTime(1_500)).unwrap_err(), TokenRefusal::Foreign);
    }
}

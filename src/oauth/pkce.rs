//! Proof Key for Code Exchange (RFC 7636), `S256` only (OAuth 2.1 §4.1.1; AUTHZ-6, CODE-6).

use crate::crypto::{base64url, constant_time_eq, sha256};

/// Why a challenge is not accepted. `Display` is the `error_description`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PkceError {
    #[error("code_challenge is missing; PKCE is required")]
    Missing,
    #[error("code_challenge_method must be S256")]
    Method,
    #[error("code_challenge must be 43 base64url characters")]
    Malformed,
}

/// A checked `S256` challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeChallenge(String);

impl CodeChallenge {
    /// # Errors
    /// [`PkceError`].
    pub fn parse(challenge: Option<&str>, method: Option<&str>) -> Result<Self, PkceError> {
        let challenge = challenge.ok_or(PkceError::Missing)?;
        if method != Some("S256") {
            return Err(PkceError::Method);
        }
        let legal = challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if challenge.len() == 43 && legal { Ok(Self(challenge.to_owned())) } else { Err(PkceError::Malformed) }
    }

    /// The challenge of a verifier.
    #[must_use]
    pub fn of_verifier(verifier: &str) -> Self {
        Self(base64url(&sha256(verifier.as_bytes())))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `verifier` is well-formed and belongs to this challenge.
    #[must_use]
    pub fn verify(&self, verifier: &str) -> bool {
        let legal = (43..=128).contains(&verifier.len())
            && verifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        legal && constant_time_eq(Self::of_verifier(verifier).0.as_bytes(), self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    // AUTHZ-6
    #[test]
    fn only_a_well_formed_s256_challenge_is_taken() {
        assert!(CodeChallenge::parse(Some(CHALLENGE), Some("S256")).is_ok());
        for (challenge, method, error) in [
            (None, Some("S256"), PkceError::Missing),
            (Some(CHALLENGE), None, PkceError::Method),
            (Some(CHALLENGE), Some("plain"), PkceError::Method),
            (Some(CHALLENGE), Some("s256"), PkceError::Method),
            (Some(&CHALLENGE[1..]), Some("S256"), PkceError::Malformed),
            (Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM"), Some("S256"), PkceError::Malformed),
            (Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM="), Some("S256"), PkceError::Malformed),
        ] {
            assert_eq!(CodeChallenge::parse(challenge, method), Err(error));
        }
    }

    // CODE-6: the example of RFC 7636 appendix B
    #[test]
    fn a_verifier_is_43_to_128_unreserved_characters_and_belongs_to_its_challenge() {
        let challenge = CodeChallenge::parse(Some(CHALLENGE), Some("S256")).unwrap();
        assert!(challenge.verify(VERIFIER));
        assert!(!challenge.verify(&VERIFIER[1..]));
        assert!(!challenge.verify(&VERIFIER.replace('d', "e")));
        let short = "a".repeat(42);
        assert!(!CodeChallenge::of_verifier(&short).verify(&short));
        let long = "a".repeat(128);
        assert!(CodeChallenge::of_verifier(&long).verify(&long));
        let longer = "a".repeat(129);
        assert!(!CodeChallenge::of_verifier(&longer).verify(&longer));
        let spaced = format!("{} {}", "a".repeat(30), "b".repeat(30));
        assert!(!CodeChallenge::of_verifier(&spaced).verify(&spaced));
    }
}

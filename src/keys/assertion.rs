//! The identity assertion for upstreams (gateway.md §10): a JWT that tells an MCP server who calls, verifiable
//! by our published keys and never accepted as an access token.

use std::sync::Arc;

use jsonwebtoken::{Validation, decode, decode_header};
use serde::{Deserialize, Serialize};

use super::key_set::{Keys, SignError};
use crate::domain::{Person, UnixTime};

/// `typ` of an assertion.
const TYP: &str = "doorward-assertion+jwt";
/// Seconds an assertion lives.
const LIFE: i64 = 60;

/// What an upstream learns. Times in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityClaims {
    /// Our origin.
    pub iss: String,
    /// The upstream's URL, without its query.
    pub aud: String,
    pub sub: String,
    pub client_id: String,
    pub jti: String,
    pub iat: i64,
    pub exp: i64,
    /// The provider's own id of the person.
    pub user_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default)]
    pub email_verified: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<String>,
    #[serde(default)]
    pub roles: Vec<String>,
    #[serde(default)]
    pub groups: Vec<String>,
    #[serde(default)]
    pub permissions: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impersonator: Option<String>,
}

/// Signs assertions.
#[derive(Clone)]
pub struct AssertionIssuer {
    keys: Arc<Keys>,
}

impl AssertionIssuer {
    #[must_use]
    pub fn new(keys: Arc<Keys>) -> Self {
        Self { keys }
    }

    /// # Errors
    /// [`SignError`].
    pub fn issue(
        &self,
        person: &Person,
        client_id: &str,
        issuer: &str,
        audience: &str,
        jti: String,
        now: UnixTime,
    ) -> Result<String, SignError> {
        let claims = IdentityClaims {
            iss: issuer.to_owned(),
            aud: audience.to_owned(),
            sub: person.id.as_str().to_owned(),
            client_id: client_id.to_owned(),
            jti,
            iat: now.0,
            exp: now.0 + LIFE,
            user_id: person.subject.clone(),
            email: person.email.clone(),
            email_verified: person.email_verified,
            name: person.name.clone(),
            given_name: person.given_name.clone(),
            family_name: person.family_name.clone(),
            picture: person.picture.clone(),
            organization_id: person.organization_id.clone(),
            roles: person.roles.clone(),
            groups: person.groups.clone(),
            permissions: person.permissions.clone(),
            impersonator: person.impersonator.clone(),
        };
        self.keys.sign(TYP, &claims, now)
    }
}

/// Verifies assertions, as the built-in demo server does.
#[derive(Clone)]
pub struct AssertionVerifier {
    keys: Arc<Keys>,
}

impl AssertionVerifier {
    #[must_use]
    pub fn new(keys: Arc<Keys>) -> Self {
        Self { keys }
    }

    /// The claims, if the assertion is ours, for `audience`, and has not expired.
    #[must_use]
    pub fn verify(&self, assertion: &str, audience: &str, now: UnixTime) -> Option<IdentityClaims> {
        let header = decode_header(assertion).ok()?;
        let (algorithm, key) = self.keys.verification_key(header.kid.as_deref()?)?;
        if header.typ.as_deref() != Some(TYP) || header.alg != algorithm {
            return None;
        }
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims: IdentityClaims = decode(assertion, &key, &validation).ok()?.claims;
        (claims.aud == audience && claims.exp > now.0).then_some(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::SigningAlg;

    // SEC-9
    #[test]
    fn an_assertion_is_good_for_its_audience_and_a_minute_and_no_other_token_is_one() {
        let keys = Arc::new(Keys::ephemeral(SigningAlg::Es256).unwrap());
        let (issuer, verifier) = (AssertionIssuer::new(Arc::clone(&keys)), AssertionVerifier::new(Arc::clone(&keys)));
        let person: Person =
            serde_json::from_str(r#"{"id": "usr_1", "provider": "https://idp.example", "subject": "user_1"}"#).unwrap();
        let (audience, now) = ("https://up.example/mcp", UnixTime(1_000));
        let assertion = issuer.issue(&person, "dcr_1", "https://gw.example", audience, "1".to_owned(), now).unwrap();
        let claims = verifier.verify(&assertion, audience, UnixTime(now.0 + LIFE - 1)).unwrap();
        assert_eq!(claims.sub, "usr_1");
        assert!(verifier.verify(&assertion, audience, UnixTime(now.0 + LIFE)).is_none());
        assert!(verifier.verify(&assertion, "https://other.example/mcp", now).is_none());
        let other = keys.sign("at+jwt", &claims, now).unwrap();
        assert!(verifier.verify(&other, audience, now).is_none());
    }
}

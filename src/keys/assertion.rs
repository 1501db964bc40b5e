//! The identity assertion for upstreams (gateway.md §10): a JWT that tells an MCP server who calls, verifiable
//! by our published keys and never accepted as an access token.

use std::sync::Arc;

use jsonwebtoken::{Validation, decode, decode_header};
use serde::{Deserialize, Serialize};

use super::key_set::{Keys, SignError};
use crate::domain::{ClientId, Person, UnixTime};
use crate::oauth::scope::ScopeSet;

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
    /// Our id of the person, the same in every login and unlike everybody else's.
    pub sub: String,
    /// The MCP client that acts for the person.
    pub client_id: String,
    /// What the client may do, separated by spaces (RFC 9068 §2.2.3).
    #[serde(default)]
    pub scope: String,
    /// The grant behind the call: from one consent on, until it is revoked. In direct mode, `sid` of AuthKit's token.
    #[serde(default)]
    pub sid: String,
    pub jti: String,
    pub iat: i64,
    pub exp: i64,
    /// The issuer identifier of the provider that the person signed in with.
    #[serde(default)]
    pub provider: String,
    /// That provider's own id of the person.
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
    pub username: Option<String>,
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
    #[serde(default)]
    pub entitlements: Vec<String>,
    /// The person's id in the customer's own system, where the provider keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Who acts in the person's place (WOS-12).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
}

/// Somebody who acts in another's place (RFC 8693 §4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The impersonator's e-mail address.
    pub sub: String,
}

/// The call that an assertion is about.
#[derive(Debug, Clone, Copy)]
pub struct AssertedCall<'a> {
    /// Our origin.
    pub issuer: &'a str,
    /// The upstream's URL, without its query.
    pub audience: &'a str,
    pub client: &'a ClientId,
    pub scope: &'a ScopeSet,
    /// The grant behind the call, or what stands in its place with another's tokens.
    pub session: &'a str,
    /// Unlike that of every other assertion.
    pub jti: &'a str,
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
    pub fn issue(&self, person: &Person, call: AssertedCall<'_>, now: UnixTime) -> Result<String, SignError> {
        let claims = IdentityClaims {
            iss: call.issuer.to_owned(),
            aud: call.audience.to_owned(),
            sub: person.id.as_str().to_owned(),
            client_id: call.client.as_str().to_owned(),
            scope: call.scope.to_string(),
            sid: call.session.to_owned(),
            jti: call.jti.to_owned(),
            iat: now.0,
            exp: now.0 + LIFE,
            provider: person.provider.clone(),
            user_id: person.subject.clone(),
            email: person.email.clone(),
            email_verified: person.email_verified,
            name: person.name.clone(),
            given_name: person.given_name.clone(),
            family_name: person.family_name.clone(),
            username: person.username.clone(),
            picture: person.picture.clone(),
            organization_id: person.organization_id.clone(),
            roles: person.roles.clone(),
            groups: person.groups.clone(),
            permissions: person.permissions.clone(),
            entitlements: person.entitlements.clone(),
            external_id: person.external_id.clone(),
            act: person.impersonator.clone().map(|sub| Actor { sub }),
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
        let call = AssertedCall {
            issuer: "https://gw.example",
            audience,
            client: &ClientId::new("dcr_1"),
            scope: &ScopeSet::parse("mcp:tools"),
            session: "grt_1",
            jti: "1",
        };
        let assertion = issuer.issue(&person, call, now).unwrap();
        let claims = verifier.verify(&assertion, audience, UnixTime(now.0 + LIFE - 1)).unwrap();
        assert_eq!(claims.sub, "usr_1");
        assert!(verifier.verify(&assertion, audience, UnixTime(now.0 + LIFE)).is_none());
        assert!(verifier.verify(&assertion, "https://other.example/mcp", now).is_none());
        let other = keys.sign("at+jwt", &claims, now).unwrap();
        assert!(verifier.verify(&other, audience, now).is_none());
    }
}

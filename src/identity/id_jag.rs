//! Identity assertions of trusted providers (EXT-2; draft-ietf-oauth-identity-assertion-authz-grant, RFC 7521 §5.2,
//! RFC 7523 §3, RFC 8725): what makes an ID-JAG genuine, and of whom it speaks.
//!
//! Owns the keys of the trusted issuers. Must not know of clients, routes or grants: whether an assertion fits the
//! request that brings it, and that it counts once, is `authorization`'s.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::decode_header;
use serde_json::{Map, Value};

use super::LoginError;
use super::jwks::{RemoteJwks, TokenFault};
use super::oidc;
use super::oidc::endpoints::Discovery;
use crate::config::model::{OidcEndpoints, SubjectMapping, TrustedIssuer};
use crate::crypto::ASYMMETRIC;
use crate::domain::{Clock, Person, SubjectId, UnixTime};

/// `typ` of an ID-JAG.
const TYP: &str = "oauth-id-jag+jwt";
/// Clock skew granted to issuers, in seconds.
pub const SKEW: i64 = 60;
/// The longest life of an assertion, in seconds. The draft wants minutes.
const LONGEST_LIFE: i64 = 3600;
/// OpenID Connect Core §2 for `sub`.
const LONGEST_NAME: usize = 255;
const LONGEST_JTI: usize = 512;

/// Nothing tells an issuer that is not trusted from a signature that is wrong: whom the gateway trusts is nobody's
/// business.
const UNPROVEN: AssertionFault = AssertionFault::Refused("no trusted identity provider signed it");

/// Why an assertion does not count. `Display` is for the client; it carries nothing of the assertion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssertionFault {
    #[error("{0}")]
    Refused(&'static str),
    /// Says nothing about the assertion.
    #[error("the identity provider's keys cannot be had at the moment")]
    Unavailable,
}

/// What a genuine assertion says.
#[derive(Debug, Clone)]
pub struct IdentityAssertion {
    pub issuer: String,
    /// Whom it is for: one authorization server.
    pub audience: String,
    pub client_id: String,
    /// What the token is to be good for; one at least.
    pub resources: Vec<String>,
    /// What the client may do there, as far as the issuer says.
    pub scope: Option<String>,
    /// With `issuer`, its name among all assertions.
    pub id: String,
    pub expires_at: UnixTime,
    /// When the person signed in at the issuer.
    pub authenticated_at: UnixTime,
    pub person: Person,
    /// The person may sign in with a browser too, so that others describe them as well.
    pub shares_person: bool,
}

/// The issuers whose assertions count.
pub struct TrustedIssuers(Vec<Trusted>);

struct Trusted {
    options: TrustedIssuer,
    keys: Keys,
}

enum Keys {
    Configured(RemoteJwks),
    Discovered(Box<Discovery>),
}

type Claims = Map<String, Value>;

impl TrustedIssuers {
    /// `client` reaches operator-configured endpoints and follows no redirects; `deadline` is for one look at an
    /// issuer's keys. Asks nothing yet.
    #[must_use]
    pub fn new(
        issuers: &[TrustedIssuer],
        client: &reqwest::Client,
        deadline: Duration,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let keys = |options: &TrustedIssuer| match &options.jwks {
            Some(url) => Keys::Configured(RemoteJwks::new(client.clone(), url.clone(), deadline)),
            None => Keys::Discovered(Box::new(Discovery::new(
                options.issuer.clone(),
                OidcEndpoints::default(),
                client.clone(),
                deadline,
                Arc::clone(clock),
            ))),
        };
        Self(issuers.iter().map(|options| Trusted { options: options.clone(), keys: keys(options) }).collect())
    }

    /// Whether anybody's assertions count.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What `assertion` says, when a trusted issuer signed it, it is good at `now`, and nothing in it asks for what is
    /// not understood here.
    ///
    /// # Errors
    /// [`AssertionFault`].
    pub async fn verify(&self, assertion: &str, now: UnixTime) -> Result<IdentityAssertion, AssertionFault> {
        check_type(assertion)?;
        let issuer = unverified_issuer(assertion).ok_or(UNPROVEN)?;
        let trusted = self.0.iter().find(|trusted| trusted.options.issuer == issuer).ok_or(UNPROVEN)?;
        let claims = trusted.proven_claims(assertion, now).await?;
        let (expires_at, issued_at) = check_times(&claims, now)?;
        check_understood(&claims)?;
        read(&trusted.options, &claims, expires_at, issued_at)
    }
}

impl Trusted {
    async fn proven_claims(&self, assertion: &str, now: UnixTime) -> Result<Claims, AssertionFault> {
        let verified = match &self.keys {
            Keys::Configured(jwks) => jwks.verify(assertion, &ASYMMETRIC, now).await,
            Keys::Discovered(discovery) => {
                let endpoints = discovery.endpoints().await.map_err(|error| self.unavailable(&error))?;
                endpoints.jwks.verify(assertion, &ASYMMETRIC, now).await
            }
        };
        verified.map_err(|fault| match fault {
            TokenFault::KeysUnavailable(_) => AssertionFault::Unavailable,
            fault => {
                tracing::info!(event = "mcp_auth_assertion_unproven", issuer = self.options.issuer, %fault);
                UNPROVEN
            }
        })
    }

    fn unavailable(&self, error: &LoginError) -> AssertionFault {
        tracing::warn!(event = "provider_metadata_unavailable", issuer = self.options.issuer, %error);
        AssertionFault::Unavailable
    }
}

/// What the claims of a proven assertion say.
fn read(
    options: &TrustedIssuer,
    claims: &Claims,
    expires_at: UnixTime,
    issued_at: UnixTime,
) -> Result<IdentityAssertion, AssertionFault> {
    let client_id = text(claims, "client_id").ok_or(AssertionFault::Refused("it lacks `client_id`"))?;
    let expected = &options.expected_client_ids;
    if !expected.is_empty() && !expected.iter().any(|id| id == client_id) {
        return refused("its issuer is not trusted to speak for this client");
    }
    let id = text(claims, "jti").filter(|id| (1..=LONGEST_JTI).contains(&id.len()));
    Ok(IdentityAssertion {
        issuer: options.issuer.clone(),
        audience: audience(claims)?.to_owned(),
        client_id: client_id.to_owned(),
        resources: resources(claims)?,
        scope: scope(claims)?,
        id: id.ok_or(AssertionFault::Refused("it lacks `jti`"))?.to_owned(),
        expires_at,
        authenticated_at: seconds(claims, "auth_time").map_or(issued_at, |at| at.min(issued_at)),
        person: person(options, claims)?,
        shares_person: options.subject_mapping == SubjectMapping::Login,
    })
}

/// Whom it speaks of. An issuer with tenants gives out the same `sub` in each of them, so its tenants are told apart,
/// or it is not listened to.
fn person(options: &TrustedIssuer, claims: &Claims) -> Result<Person, AssertionFault> {
    let TrustedIssuer { issuer, subject_mapping, claims: paths, profile, .. } = options;
    let sub = name(claims, "sub").ok_or(AssertionFault::Refused("it lacks a usable `sub`"))?;
    let tenant = match subject_mapping {
        SubjectMapping::IssuerAndTenant => {
            let tenant = name(claims, if claims.contains_key("tenant") { "tenant" } else { "tid" });
            Some(tenant.ok_or(AssertionFault::Refused("it lacks a usable `tenant`"))?)
        }
        _ if claims.contains_key("tenant") => {
            return refused("it has a `tenant`, and its issuer is trusted as one without tenants");
        }
        _ => None,
    };
    let described = oidc::person::of_claims(claims, issuer, paths, profile);
    let described = described.map_err(|_| AssertionFault::Refused("it lacks a usable `sub`"))?;
    // No issuer of a login is a text like this one, and neither issuers nor names hold a NUL.
    let (id, subject) = match (subject_mapping, tenant) {
        (SubjectMapping::Login, _) => (SubjectId::derive(issuer, sub), sub.to_owned()),
        (_, Some(tenant)) => {
            (SubjectId::derive(&format!("id-jag\0{issuer}\0{tenant}"), sub), format!("{issuer}|{tenant}|{sub}"))
        }
        (_, None) => (SubjectId::derive(&format!("id-jag\0{issuer}"), sub), format!("{issuer}|{sub}")),
    };
    let organization_id = described.organization_id.or_else(|| tenant.map(str::to_owned));
    Ok(Person { id, subject, organization_id, ..described })
}

/// RFC 8725 §3.11, RFC 7515 §4.1.9.
fn check_type(assertion: &str) -> Result<(), AssertionFault> {
    let header = decode_header(assertion).map_err(|_| UNPROVEN)?;
    let typ = header.typ.unwrap_or_default().to_ascii_lowercase();
    if typ.strip_prefix("application/").unwrap_or(&typ) == TYP {
        Ok(())
    } else {
        refused("its `typ` is not `oauth-id-jag+jwt`")
    }
}

/// Who it claims to be from, to know whose keys to check it with. Proves nothing yet.
fn unverified_issuer(assertion: &str) -> Option<String> {
    let payload = crate::crypto::base64url_decode(assertion.split('.').nth(1)?)?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    text(&claims, "iss").map(str::to_owned)
}

/// `exp` and `iat`, when the assertion is good now and was never good for long.
fn check_times(claims: &Claims, now: UnixTime) -> Result<(UnixTime, UnixTime), AssertionFault> {
    let (Some(expires_at), Some(issued_at)) = (seconds(claims, "exp"), seconds(claims, "iat")) else {
        return refused("it lacks `exp` or `iat`");
    };
    let latest = UnixTime(now.0.saturating_add(SKEW));
    if expires_at.0.saturating_add(SKEW) <= now.0 {
        return refused("it has expired");
    }
    let not_yet = claims.contains_key("nbf") && seconds(claims, "nbf").is_none_or(|not_before| not_before > latest);
    if issued_at > latest || not_yet {
        return refused("it is not good yet: compare the clocks");
    }
    if expires_at.0.saturating_sub(issued_at.0) > LONGEST_LIFE {
        return refused("it is good for longer than an hour");
    }
    Ok((expires_at, issued_at))
}

/// What would limit the assertion, or make it somebody else's, if it were understood: a key that its bearer has to
/// prove (RFC 9449), rights in detail (RFC 9396), another who acts in the person's place (RFC 8693 §4.1).
fn check_understood(claims: &Claims) -> Result<(), AssertionFault> {
    let holds = |name: &str| claims.get(name).is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty()));
    if holds("cnf") {
        return refused("it is bound to a key (`cnf`), which is not supported");
    }
    if holds("authorization_details") {
        return refused("it has `authorization_details`, which are not supported");
    }
    if holds("act") {
        return refused("somebody else acts in it (`act`), which is not supported");
    }
    Ok(())
}

/// Text, or a list of one.
fn audience(claims: &Claims) -> Result<&str, AssertionFault> {
    let one = match claims.get("aud") {
        Some(Value::String(one)) => Some(one.as_str()),
        Some(Value::Array(list)) if list.len() == 1 => list[0].as_str(),
        _ => None,
    };
    one.ok_or(AssertionFault::Refused("its `aud` is not one authorization server"))
}

fn resources(claims: &Claims) -> Result<Vec<String>, AssertionFault> {
    const FAULT: AssertionFault = AssertionFault::Refused("it lacks a usable `resource`");
    match claims.get("resource") {
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(list)) if !list.is_empty() => {
            list.iter().map(|one| one.as_str().map(str::to_owned).ok_or(FAULT)).collect()
        }
        _ => Err(FAULT),
    }
}

fn scope(claims: &Claims) -> Result<Option<String>, AssertionFault> {
    match claims.get("scope") {
        None => Ok(None),
        Some(Value::String(scope)) => Ok(Some(scope.clone())),
        Some(_) => refused("its `scope` is not a text"),
    }
}

fn text<'c>(claims: &'c Claims, name: &str) -> Option<&'c str> {
    claims.get(name).and_then(Value::as_str)
}

/// A claim that names somebody: what two readers could take for different texts is none.
fn name<'c>(claims: &'c Claims, claim: &str) -> Option<&'c str> {
    text(claims, claim).filter(|name| {
        (1..=LONGEST_NAME).contains(&name.len()) && !name.chars().any(char::is_control) && name.trim() == *name
    })
}

/// RFC 7519 §2 `NumericDate`, which may have a fraction.
fn seconds(claims: &Claims, name: &str) -> Option<UnixTime> {
    let value = claims.get(name)?;
    #[expect(clippy::cast_possible_truncation, reason = "the fraction goes, and what is too large saturates")]
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64)).map(UnixTime)
}

fn refused<T>(cause: &'static str) -> Result<T, AssertionFault> {
    Err(AssertionFault::Refused(cause))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::config::model::{PersonClaims, ProviderProfile};

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn read(claims: &Claims, subject_mapping: SubjectMapping) -> Result<IdentityAssertion, AssertionFault> {
        let options = TrustedIssuer {
            issuer: "https://idp.example".to_owned(),
            jwks: None,
            expected_client_ids: Vec::new(),
            subject_mapping,
            claims: PersonClaims::default(),
            profile: ProviderProfile::STANDARD,
        };
        let (expires_at, issued_at) = check_times(claims, NOW)?;
        check_understood(claims)?;
        super::read(&options, claims, expires_at, issued_at)
    }

    fn mapping() -> impl Strategy<Value = SubjectMapping> {
        prop_oneof![Just(SubjectMapping::Issuer), Just(SubjectMapping::IssuerAndTenant), Just(SubjectMapping::Login)]
    }

    /// A claim as it should be, or anything else.
    fn claim(right: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Option<Value>> {
        prop_oneof![
            6 => right.prop_map(Some),
            1 => Just(None),
            1 => any::<i64>().prop_map(|number| Some(json!(number))),
            1 => any::<f64>().prop_map(|number| Some(json!(number))),
            1 => "\\PC{0,300}".prop_map(|text| Some(json!(text))),
            1 => proptest::collection::vec("[a-z]{0,3}", 0..3).prop_map(|list| Some(json!(list))),
        ]
    }

    fn near_now() -> impl Strategy<Value = Value> {
        (-4000..4000_i64).prop_map(|offset| json!(NOW.0 + offset))
    }

    // EXT-2, SEC-9
    proptest! {
        #[test]
        fn whatever_an_issuer_signs_is_refused_or_complete(
            times in [claim(near_now()), claim(near_now())],
            names in proptest::collection::vec(claim("[a-z|]{1,9}".prop_map(Value::String)), 8),
            mapping in mapping(),
        ) {
            let of = |name: &str, value: &Option<Value>| value.clone().map(|value| (name.to_owned(), value));
            let given = ["sub", "client_id", "aud", "jti", "resource", "scope", "tenant", "org_id"];
            let claims: Claims = ["exp", "iat"]
                .iter()
                .zip(&times)
                .chain(given.iter().zip(&names))
                .filter_map(|(name, value)| of(name, value))
                .collect();
            if let Ok(assertion) = read(&claims, mapping) {
                prop_assert!(assertion.expires_at.0 > NOW.0 - SKEW);
                prop_assert!(assertion.expires_at.0 <= NOW.0 + SKEW + LONGEST_LIFE);
                prop_assert!(assertion.authenticated_at.0 <= NOW.0 + SKEW);
                prop_assert!(!assertion.id.is_empty() && !assertion.resources.is_empty());
                prop_assert_eq!(Some(assertion.client_id.as_str()), text(&claims, "client_id"));
                prop_assert_eq!(mapping == SubjectMapping::IssuerAndTenant, claims.contains_key("tenant"));
                prop_assert!(assertion.person.subject.ends_with(text(&claims, "sub").unwrap()));
            }
        }

        #[test]
        fn two_people_are_never_one(
            parts in proptest::collection::vec("[ab]{1,2}", 3..5),
            (at, elsewhere) in (1..3_usize, 1..3_usize),
        ) {
            // Wherever tenant and subject meet, what stands there side by side is the same.
            let split = |at: usize| (parts[..at].join("|"), parts[at..].join("|"));
            let (one, other) = (split(at), split(elsewhere));
            let person = |(tenant, sub): &(String, String), mapping| {
                let mut claims = json!({
                    "sub": sub, "client_id": "c", "aud": "a", "jti": "j", "resource": "r",
                    "iat": NOW.0, "exp": NOW.0 + 300,
                });
                if mapping == SubjectMapping::IssuerAndTenant {
                    claims["tenant"] = json!(tenant);
                }
                read(claims.as_object().unwrap(), mapping).unwrap().person.id
            };
            let [tenants, issuer, login] =
                [SubjectMapping::IssuerAndTenant, SubjectMapping::Issuer, SubjectMapping::Login];
            prop_assert_eq!(one == other, person(&one, tenants) == person(&other, tenants));
            prop_assert_eq!(one.1 == other.1, person(&one, issuer) == person(&other, issuer));
            prop_assert_eq!(one.1 == other.1, person(&one, login) == person(&other, login));
            for (mine, yours) in [(tenants, issuer), (issuer, login), (login, tenants)] {
                prop_assert_ne!(person(&one, mine), person(&other, yours));
            }
        }
    }
}

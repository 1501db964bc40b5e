//! Who signed in, according to a WorkOS answer: `user`, believed only when the access token beside it verifies
//! (WOS-6 … WOS-10, WOS-12).

use jsonwebtoken::Algorithm;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::jwks::{RemoteJwks, TokenFault};
use super::shown;
use super::{Login, LoginError, SetUpFault};
use crate::config::model::{WorkOsOptions, WorkOsSelector};
use crate::domain::{Person, SubjectId, UnixTime};

/// Clock skew granted to the provider, in seconds (WOS-9).
const SKEW: i64 = 60;
const WORKOS_ISSUER: &str = "https://api.workos.com";

/// A successful answer of `authenticate`, as far as it is used.
#[derive(Deserialize)]
pub(super) struct Answer {
    #[serde(default)]
    user: Option<User>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    pub(super) refresh_token: Option<String>,
    #[serde(default)]
    organization_id: Option<String>,
    #[serde(default)]
    impersonator: Option<Impersonator>,
}

#[derive(Deserialize)]
pub(super) struct User {
    id: String,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    email_verified: Option<bool>,
    #[serde(default)]
    first_name: Option<String>,
    #[serde(default)]
    last_name: Option<String>,
    #[serde(default)]
    profile_picture_url: Option<String>,
    #[serde(default)]
    external_id: Option<String>,
}

#[derive(Deserialize)]
struct Impersonator {
    #[serde(default)]
    email: Option<String>,
}

#[derive(Deserialize)]
struct AccessToken {
    iss: String,
    sub: String,
    exp: f64,
    iat: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    aud: Option<OneOrMany>,
    #[serde(default)]
    client_id: Option<String>,
    #[serde(default)]
    org_id: Option<String>,
    #[serde(default)]
    sid: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    roles: Option<Vec<String>>,
    #[serde(default)]
    permissions: Option<Vec<String>>,
    #[serde(default)]
    entitlements: Option<Vec<String>>,
    #[serde(default)]
    act: Option<Actor>,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(default)]
    sub: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn holds(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Many(many) => many.iter().any(|one| one == wanted),
        }
    }
}

/// What the configuration lets through.
pub(super) struct AcceptedClaims {
    /// `{base}/user_management/{clientId}`, the name of this provider.
    pub(super) issuer: String,
    issuers: Vec<String>,
    client_id: String,
    organization: Option<String>,
    allow_impersonation: bool,
}

impl AcceptedClaims {
    pub(super) fn new(options: &WorkOsOptions, base: &Url) -> Self {
        let base = base.as_str().trim_end_matches('/');
        let issuer = format!("{base}/user_management/{}", options.client_id);
        let mut issuers = vec![issuer.clone()];
        for host in [base, WORKOS_ISSUER] {
            issuers.extend([
                host.to_owned(),
                format!("{host}/"),
                format!("{host}/user_management/{}", options.client_id),
            ]);
        }
        issuers.extend(options.issuers.iter().cloned());
        let organization = options.organization_id.clone().or_else(|| match &options.selector {
            WorkOsSelector::Organization(organization) => Some(organization.clone()),
            WorkOsSelector::Provider(_) | WorkOsSelector::Connection(_) => None,
        });
        Self {
            issuer,
            issuers,
            client_id: options.client_id.clone(),
            organization,
            allow_impersonation: options.allow_impersonation,
        }
    }

    /// WOS-7.
    fn check_issuer(&self, token: &AccessToken) -> Result<(), LoginError> {
        if self.issuers.contains(&token.iss) {
            return Ok(());
        }
        Err(LoginError::Untrusted(format!(
            "the access token's issuer {} is not accepted; if it is yours, add it to the option `issuers`",
            shown::claim(&token.iss)
        )))
    }

    /// WOS-8.
    fn check_parties(&self, token: &AccessToken, user: &User) -> Result<(), LoginError> {
        if token.sub.is_empty() || token.sub != user.id {
            return Err(untrusted("the access token is about another person than the answer"));
        }
        if let Some(client_id) = &token.client_id
            && *client_id != self.client_id
        {
            return Err(LoginError::Untrusted(format!(
                "the access token is for the client {}",
                shown::claim(client_id)
            )));
        }
        if token.aud.as_ref().is_some_and(|audience| !audience.holds(&self.client_id)) {
            return Err(untrusted("the access token is for another audience"));
        }
        Ok(())
    }

    /// WOS-10.
    fn check_organization(&self, token: &AccessToken, answer: &Answer) -> Result<(), LoginError> {
        if token.org_id != answer.organization_id {
            return Err(untrusted("the access token names another organisation than the answer"));
        }
        match &self.organization {
            Some(required) if token.org_id.as_ref() != Some(required) => Err(LoginError::WrongOrganization),
            _ => Ok(()),
        }
    }

    /// WOS-12: who acts in the person's place.
    fn impersonator(&self, token: &AccessToken, answer: &Answer) -> Result<Option<String>, LoginError> {
        let named = answer.impersonator.as_ref().map(|impersonator| impersonator.email.clone());
        let acting = token.act.as_ref().map(|actor| actor.sub.clone());
        match named.or(acting) {
            None => Ok(None),
            Some(_) if !self.allow_impersonation => Err(LoginError::ImpersonationRefused),
            Some(who) => Ok(Some(who.unwrap_or_else(|| "unknown".to_owned()))),
        }
    }
}

/// WOS-9.
#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^52")]
fn check_times(token: &AccessToken, now: UnixTime) -> Result<(), LoginError> {
    let (earliest, latest) = ((now.0 - SKEW) as f64, (now.0 + SKEW) as f64);
    if token.exp <= earliest {
        return Err(untrusted("the access token has expired"));
    }
    if token.iat > latest || token.nbf.is_some_and(|nbf| nbf > latest) {
        return Err(untrusted("the access token is from the future: compare the clocks"));
    }
    Ok(())
}

/// Verifies the access token, holds everything else against it, and gives the person.
pub(super) async fn check_answer(
    answer: &Answer,
    accepted: &AcceptedClaims,
    jwks: &RemoteJwks,
    now: UnixTime,
) -> Result<Login, LoginError> {
    let user = answer.user.as_ref().ok_or_else(|| untrusted("the answer lacks `user`"))?;
    let token = answer.access_token.as_deref().ok_or_else(|| untrusted("the answer lacks `access_token`"))?;
    let token: AccessToken = jwks.verify(token, &[Algorithm::RS256], now).await.map_err(of_fault)?;
    accepted.check_issuer(&token)?;
    accepted.check_parties(&token, user)?;
    check_times(&token, now)?;
    accepted.check_organization(&token, answer)?;
    let impersonator = accepted.impersonator(&token, answer)?;
    Ok(Login {
        person: person(user, &token, &accepted.issuer, impersonator),
        provider_session: token.sid,
        refresh_token: answer.refresh_token.clone().map(SecretString::from),
        authenticated_at: None,
        subject_tokens: None,
    })
}

fn of_fault(fault: TokenFault) -> LoginError {
    match fault {
        TokenFault::UnknownKey => LoginError::SetUp(SetUpFault::EnvironmentMismatch),
        TokenFault::KeysUnavailable(cause) => LoginError::Unavailable(format!("its key set cannot be had: {cause}")),
        other => LoginError::Untrusted(format!("the access token does not verify: {other}")),
    }
}

fn person(user: &User, token: &AccessToken, issuer: &str, impersonator: Option<String>) -> Person {
    let mut roles: Vec<String> = token.role.iter().cloned().collect();
    for role in token.roles.iter().flatten() {
        if !roles.contains(role) {
            roles.push(role.clone());
        }
    }
    let mut person = Person {
        id: SubjectId::derive(issuer, &user.id),
        provider: issuer.to_owned(),
        subject: user.id.clone(),
        email: None,
        email_verified: false,
        name: None,
        given_name: None,
        family_name: None,
        username: None,
        picture: None,
        organization_id: token.org_id.clone(),
        roles,
        groups: Vec::new(),
        permissions: token.permissions.clone().unwrap_or_default(),
        entitlements: token.entitlements.clone().unwrap_or_default(),
        external_id: None,
        impersonator,
    };
    user.describe(&mut person);
    person
}

impl User {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Writes what WorkOS says of the user, apart from any session, into `person`.
    pub(super) fn describe(&self, person: &mut Person) {
        person.given_name = present(self.first_name.as_deref());
        person.family_name = present(self.last_name.as_deref());
        let names = [person.given_name.as_deref(), person.family_name.as_deref()];
        let name = names.into_iter().flatten().collect::<Vec<_>>().join(" ");
        person.name = present(Some(&name));
        person.email = present(self.email.as_deref());
        person.email_verified = self.email_verified.unwrap_or(false);
        person.picture = present(self.profile_picture_url.as_deref());
        person.external_id = present(self.external_id.as_deref());
    }
}

fn present(text: Option<&str>) -> Option<String> {
    text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn untrusted(cause: &str) -> LoginError {
    LoginError::Untrusted(cause.to_owned())
}

//! The development login (gateway.md §6.4): a page on loopback that lets anyone be anyone.
//!
//! Owns the people it offers and the code that carries the choice to the callback. Must not be reachable except
//! from loopback: `web/` sees to that, and only `dev` ever sets this provider up.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{IdentityProvider, Login, LoginError, LoginReturn, LoginStart};
use crate::crypto::{Sealer, SecretHash, base64url, base64url_decode};
use crate::domain::{Person, Random, SubjectId, UnixTime};

const ISSUER: &str = "urn:doorward:dev-login";
const PLACE: &str = "dev-login code";
/// Seconds a choice takes from the page to the callback at most.
const CODE_TTL: i64 = 60;
const LONGEST_FIELD: usize = 600;

/// Signs in whomever the page was told to.
#[derive(Debug, Clone)]
pub struct DevLogin {
    sealer: Sealer,
    /// `/` or `/prefix/`.
    base_path: String,
    people: Vec<(&'static str, Person)>,
}

/// The form's fields for anyone else, as typed; lists are separated by commas or blanks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CustomPerson<'a> {
    pub email: Option<&'a str>,
    pub name: Option<&'a str>,
    pub organization: Option<&'a str>,
    pub roles: Option<&'a str>,
    pub permissions: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
struct Code {
    person: Person,
    state: SecretHash,
    /// Seconds since 1970.
    exp: i64,
}

impl DevLogin {
    #[must_use]
    pub fn new(sealer: Sealer, base_path: impl Into<String>) -> Self {
        Self { sealer, base_path: base_path.into(), people: ready_people() }
    }

    /// The ready people, an admin, a member and a guest, each with the value of the form's `person`.
    #[must_use]
    pub fn people(&self) -> &[(&'static str, Person)] {
        &self.people
    }

    /// Whom `dev --auto-approve` signs in: the admin.
    #[must_use]
    pub fn first_person(&self) -> Person {
        self.people.first().map_or_else(|| person("admin@example.com", None), |(_, person)| person.clone())
    }

    /// The person a form describes; `None` without something like an e-mail address, or with a field that is
    /// too long.
    #[must_use]
    pub fn custom_person(&self, form: &CustomPerson<'_>) -> Option<Person> {
        let fields = [form.email, form.name, form.organization, form.roles, form.permissions];
        let email = form.email?.trim();
        let plausible = email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
        if !plausible || fields.into_iter().flatten().any(|field| field.len() > LONGEST_FIELD) {
            return None;
        }
        Some(Person {
            organization_id: form.organization.and_then(text),
            roles: list(form.roles),
            permissions: list(form.permissions),
            ..person(email, form.name.and_then(text))
        })
    }

    /// The code that takes `person` to the callback of the login with this `state`.
    #[must_use]
    pub fn seal_code(&self, person: &Person, state: &str, now: UnixTime, random: &dyn Random) -> String {
        let code = Code {
            person: person.clone(),
            state: SecretHash::of(state.as_bytes()),
            exp: now.0.saturating_add(CODE_TTL),
        };
        // A record of text, numbers and bytes always has a JSON form.
        let plain = serde_json::to_vec(&code).unwrap_or_default();
        base64url(&self.sealer.seal(PLACE, &plain, random))
    }

    fn open_code(&self, login: &LoginReturn<'_>) -> Option<Person> {
        let envelope = base64url_decode(login.code)?;
        let plain = self.sealer.open(PLACE, &envelope).ok()?;
        let code: Code = serde_json::from_slice(&plain).ok()?;
        let holds = code.state == SecretHash::of(login.state.as_bytes()) && login.now.0 < code.exp;
        holds.then_some(code.person)
    }
}

#[async_trait]
impl IdentityProvider for DevLogin {
    fn issuer(&self) -> &'static str {
        ISSUER
    }

    fn display_name(&self) -> &'static str {
        "the development login"
    }

    async fn authorization_url(&self, login: &LoginStart<'_>) -> Result<Url, LoginError> {
        #[expect(clippy::expect_used, reason = "the origin is one of ours, and the base path was checked at start")]
        let mut url = Url::parse(&format!("{}{}oauth/dev-login", login.origin, self.base_path))
            .expect("an origin and a path make a URL");
        url.query_pairs_mut().append_pair("state", login.state);
        Ok(url)
    }

    async fn exchange(&self, login: &LoginReturn<'_>) -> Result<Login, LoginError> {
        let person = self.open_code(login).ok_or(LoginError::CodeRejected)?;
        Ok(Login { person, provider_session: None, refresh_token: None, authenticated_at: None, subject_tokens: None })
    }

    async fn logout_url(&self, _provider_session: &str, _return_to: &Url) -> Option<Url> {
        None
    }
}

fn ready_people() -> Vec<(&'static str, Person)> {
    let ready = |role, given: &str, family: &str, organization: &str, permissions: &[&str]| {
        let bare = person(&format!("{}@example.com", given.to_ascii_lowercase()), Some(format!("{given} {family}")));
        let person = Person {
            given_name: Some(given.to_owned()),
            family_name: Some(family.to_owned()),
            organization_id: Some(organization.to_owned()),
            roles: vec![String::from(role)],
            permissions: permissions.iter().map(|&permission| permission.to_owned()).collect(),
            ..bare
        };
        (role, person)
    };
    vec![
        ready("admin", "Ada", "Admin", "org_example", &["tools:read", "tools:write", "tools:manage"]),
        ready("member", "Max", "Member", "org_example", &["tools:read", "tools:write"]),
        ready("guest", "Gwen", "Guest", "org_partner", &["tools:read"]),
    ]
}

/// A verified person with an address and nothing else.
fn person(email: &str, name: Option<String>) -> Person {
    let subject = email.to_lowercase();
    Person {
        id: SubjectId::derive(ISSUER, &subject),
        provider: ISSUER.to_owned(),
        subject,
        email: Some(email.to_owned()),
        email_verified: true,
        name,
        given_name: None,
        family_name: None,
        username: None,
        picture: None,
        organization_id: None,
        roles: Vec::new(),
        groups: Vec::new(),
        permissions: Vec::new(),
        entitlements: Vec::new(),
        external_id: None,
        impersonator: None,
    }
}

fn text(field: &str) -> Option<String> {
    Some(field.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn list(field: Option<&str>) -> Vec<String> {
    field.unwrap_or_default().split([',', ' ']).filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeyMaterial;
    use crate::domain::SystemRandom;

    fn provider() -> DevLogin {
        DevLogin::new(Sealer::new(&[KeyMaterial::generate(&SystemRandom)]).unwrap(), "/")
    }

    fn come_back<'a>(code: &'a str, state: &'a str, now: i64) -> LoginReturn<'a> {
        LoginReturn {
            code,
            state,
            redirect_uri: "http://localhost:9000/oauth/callback",
            code_verifier: None,
            nonce: "",
            browser_ip: None,
            user_agent: None,
            max_age: None,
            now: UnixTime(now),
        }
    }

    #[tokio::test]
    async fn the_chosen_person_signs_in() {
        let dev = provider();
        let (key, admin) = dev.people()[0].clone();
        let code = dev.seal_code(&admin, "s1", UnixTime(1000), &SystemRandom);
        let login = dev.exchange(&come_back(&code, "s1", 1059)).await.unwrap();
        assert_eq!(login.person, admin);
        assert_eq!(login.person.roles, [key]);
    }

    #[tokio::test]
    async fn a_code_is_good_for_its_own_login_and_for_a_minute() {
        let dev = provider();
        let (_, guest) = dev.people()[2].clone();
        let code = dev.seal_code(&guest, "s1", UnixTime(1000), &SystemRandom);
        for (code, state, now) in
            [(code.as_str(), "s2", 1000), (&code, "s1", 1060), ("AAAA", "s1", 1000), ("?", "s1", 1000)]
        {
            let refused = dev.exchange(&come_back(code, state, now)).await;
            assert_eq!(refused.unwrap_err(), LoginError::CodeRejected);
        }
        let foreign = provider().exchange(&come_back(&code, "s1", 1000)).await;
        assert_eq!(foreign.unwrap_err(), LoginError::CodeRejected);
    }

    #[test]
    fn anyone_else_can_be_described_in_the_form() {
        let form = CustomPerson {
            email: Some(" Eve@example.org "),
            roles: Some("admin, auditor"),
            permissions: Some("a:b,,c:d"),
            ..CustomPerson::default()
        };
        let eve = provider().custom_person(&form).unwrap();
        assert_eq!(eve.email.as_deref(), Some("Eve@example.org"));
        assert_eq!((eve.roles.len(), eve.permissions.len()), (2, 2));
        assert_eq!(eve.organization_id, None);
        assert!(provider().custom_person(&CustomPerson::default()).is_none());
    }

    #[tokio::test]
    async fn the_browser_is_sent_to_our_own_page() {
        let start = LoginStart {
            redirect_uri: "",
            state: "a b",
            code_challenge: None,
            nonce: "",
            origin: "http://localhost:9000",
            switch_account: false,
            max_age: None,
        };
        let url = provider().authorization_url(&start).await.unwrap();
        assert_eq!(url.as_str(), "http://localhost:9000/oauth/dev-login?state=a+b");
    }
}

//! What the double gave out: codes, families of tokens, and what became of them.

use std::collections::HashMap;

use doorward::domain::random::random_id;
use doorward::domain::{Clock as _, SystemClock, SystemRandom};

use super::Refreshing;

/// What a person agreed to.
#[derive(Debug, Clone)]
pub struct Authorized {
    pub person: String,
    pub client: String,
    pub redirect_uri: String,
    pub challenge: String,
    pub resource: String,
    pub scope: String,
}

/// One grant: everything that came of one code or one assertion.
struct Family {
    authorized: Authorized,
    /// The refresh token that works.
    current: Option<String>,
    /// The one before, and all that came before that.
    previous: Option<String>,
    older: Vec<String>,
    generation: usize,
    revoked: bool,
}

struct Access {
    value: String,
    id: String,
    family: usize,
    scope: String,
    expires_at: i64,
}

/// Whom an access token stands for.
#[derive(Debug, Clone)]
pub struct Holder {
    pub person: String,
    /// `PERSON.FAMILY.GENERATION`
    pub token: String,
    pub scope: String,
}

#[derive(Default)]
pub struct Issued {
    codes: HashMap<String, (Authorized, Option<usize>)>,
    families: Vec<Family>,
    access: Vec<Access>,
    secrets: Vec<String>,
}

/// An access token with what stands beside it in the answer.
pub struct Pair {
    pub access: String,
    pub refresh: Option<String>,
    pub scope: String,
}

impl Issued {
    fn secret(&mut self, prefix: &str) -> String {
        let secret = random_id(prefix, &SystemRandom);
        self.secrets.push(secret.clone());
        secret
    }

    pub fn code(&mut self, authorized: Authorized) -> String {
        let code = self.secret("upstream-code-");
        self.codes.insert(code.clone(), (authorized, None));
        code
    }

    /// What a code stands for, while it was not used. Used again, it ends what came of it (RFC 6749 §4.1.2).
    pub fn peek(&mut self, code: &str) -> Option<Authorized> {
        let (authorized, used) = self.codes.get(code)?;
        let Some(family) = *used else { return Some(authorized.clone()) };
        self.families[family].revoked = true;
        None
    }

    /// Turns a code into a family.
    pub fn redeem(&mut self, code: &str, life: i64, refreshing: Refreshing) -> Pair {
        let number = self.families.len();
        let (authorized, used) = self.codes.get_mut(code).expect("a code that was looked at");
        *used = Some(number);
        let authorized = authorized.clone();
        self.grant(authorized, life, refreshing)
    }

    /// A family without a code.
    pub fn grant(&mut self, authorized: Authorized, life: i64, refreshing: Refreshing) -> Pair {
        let scope = authorized.scope.clone();
        let current = (refreshing != Refreshing::Never).then(|| self.secret("upstream-refresh-"));
        self.families.push(Family {
            authorized,
            current: current.clone(),
            previous: None,
            older: Vec::new(),
            generation: 0,
            revoked: false,
        });
        let access = self.access(self.families.len() - 1, &scope, life);
        Pair { access, refresh: current, scope }
    }

    fn access(&mut self, family: usize, scope: &str, life: i64) -> String {
        let value = self.secret("upstream-access-");
        let own = &mut self.families[family];
        own.generation += 1;
        let id = format!("{}.{}.{}", own.authorized.person, family + 1, own.generation);
        let expires_at = SystemClock.now().0 + life;
        self.access.push(Access { value: value.clone(), id, family, scope: scope.to_owned(), expires_at });
        value
    }

    /// The family of a refresh token that may be used now. One that was replaced ends the family.
    pub fn family(&mut self, refresh_token: &str, superseded_works: bool) -> Option<(usize, Authorized)> {
        let holds = |family: &Family| {
            [&family.current, &family.previous]
                .into_iter()
                .flatten()
                .chain(&family.older)
                .any(|own| own == refresh_token)
        };
        let number = self.families.iter().position(holds)?;
        let family = &mut self.families[number];
        let is_previous = family.previous.as_deref() == Some(refresh_token);
        let usable = family.current.as_deref() == Some(refresh_token) || (superseded_works && is_previous);
        family.revoked |= !usable;
        (!family.revoked).then(|| (number, family.authorized.clone()))
    }

    /// The next tokens of a family.
    pub fn refresh(&mut self, number: usize, used: &str, scope: &str, life: i64, refreshing: Refreshing) -> Pair {
        let refresh = match refreshing {
            Refreshing::Rotates => {
                let next = self.secret("upstream-refresh-");
                let family = &mut self.families[number];
                // The successor of a superseded token that is used again was never seen by anyone.
                let gone = family.current.replace(next.clone());
                let older = family.previous.replace(used.to_owned());
                family.older.extend([gone, older].into_iter().flatten().filter(|token| token != used));
                Some(next)
            }
            Refreshing::Keeps => Some(used.to_owned()),
            Refreshing::KeepsSilently | Refreshing::Never => None,
        };
        Pair { access: self.access(number, scope, life), refresh, scope: scope.to_owned() }
    }

    pub fn holder(&self, access_token: &str) -> Option<Holder> {
        let access = self.access.iter().find(|access| access.value == access_token)?;
        self.is_live(access).then(|| Holder {
            person: self.families[access.family].authorized.person.clone(),
            token: access.id.clone(),
            scope: access.scope.clone(),
        })
    }

    /// The id of an access token, live or not.
    pub fn id_of(&self, access_token: &str) -> Option<String> {
        self.access.iter().find(|access| access.value == access_token).map(|access| access.id.clone())
    }

    fn is_live(&self, access: &Access) -> bool {
        !self.families[access.family].revoked && access.expires_at > SystemClock.now().0
    }

    /// RFC 7009: a refresh token takes its access tokens with it; so does an access token here.
    pub fn revoke_token(&mut self, token: &str) {
        let by_access = self.access.iter().find(|access| access.value == token).map(|access| access.family);
        let by_refresh = || self.families.iter().position(|family| family.current.as_deref() == Some(token));
        if let Some(number) = by_access.or_else(by_refresh) {
            self.families[number].revoked = true;
        }
    }

    pub fn revoke_person(&mut self, person: &str) {
        let own = self.families.iter_mut().filter(|family| family.authorized.person == person);
        own.for_each(|family| family.revoked = true);
    }

    pub fn expire_access_tokens(&mut self) {
        self.access.iter_mut().for_each(|access| access.expires_at = 0);
    }

    pub fn access_tokens(&self, person: &str) -> Vec<String> {
        let own = |access: &&Access| self.families[access.family].authorized.person == person && self.is_live(access);
        self.access.iter().filter(own).map(|access| access.value.clone()).collect()
    }

    pub fn refresh_tokens(&self, person: &str) -> Vec<String> {
        let own = |family: &&Family| family.authorized.person == person && !family.revoked;
        self.families.iter().filter(own).filter_map(|family| family.current.clone()).collect()
    }

    pub fn secrets(&self) -> Vec<String> {
        self.secrets.clone()
    }
}

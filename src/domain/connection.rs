//! A credential for a server behind: of one person, or of all (gateway.md §8).
//!
//! Owns the record of a connection and the decision whether its access token still serves. Whoever renews the tokens
//! claims the record first, so that of any number of gateways one asks.

use std::time::Duration;

use super::person::SubjectId;
use super::text_id;
use super::time::UnixTime;
use crate::crypto::{base64url, sha256};

/// How long before its end an access token is renewed; one of a short life later.
const EARLY: Duration = Duration::from_secs(60);

text_id!(
    /// `con_…`; the same for one upstream and owner, whenever they connect.
    ConnectionId
);

/// Whose connection it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// `user-oauth`
    Person(SubjectId),
    /// `shared-oauth`
    Everyone,
}

impl Owner {
    #[must_use]
    pub fn subject(&self) -> Option<&SubjectId> {
        match self {
            Self::Person(subject) => Some(subject),
            Self::Everyone => None,
        }
    }
}

impl ConnectionId {
    #[must_use]
    pub fn of(upstream: &str, owner: &Owner) -> Self {
        let owner = owner.subject().map_or("", SubjectId::as_str);
        let digest = sha256(format!("{upstream}\0{owner}").as_bytes());
        Self::new(format!("con_{}", base64url(&digest[..16])))
    }
}

/// Why the person, or an operator, has to connect anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentNeeded {
    /// The upstream's authorization server takes the credential no more.
    Refused,
    /// It has expired, and there is no refresh token.
    Expired,
    /// More scopes are needed than were asked for.
    Scope,
}

impl ConsentNeeded {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Scope => "scope",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Refused, Self::Expired, Self::Scope].into_iter().find(|reason| reason.as_str() == text)
    }
}

/// One connection. What it opens the upstream with is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub id: ConnectionId,
    /// The upstream's id.
    pub upstream: String,
    pub owner: Owner,
    /// The MCP endpoint that the credential is for. It goes to no other.
    pub server: String,
    /// Tokens and the client they were issued to.
    pub sealed: Vec<u8>,
    /// What the authorization server was asked for, separated by blanks.
    pub scope: String,
    /// What calls were refused for the lack of, separated by blanks.
    pub missing_scope: String,
    /// When the access token expires, if that is known.
    pub expires_at: Option<UnixTime>,
    /// When it is time to renew it.
    pub renew_at: Option<UnixTime>,
    pub has_refresh_token: bool,
    /// Counts the changes; each is made against the version that was read.
    pub version: i64,
    /// Counts the credentials: another value means other tokens.
    pub generation: i64,
    pub connected_at: UnixTime,
    /// Within a day.
    pub used_at: UnixTime,
    /// When a renewal that has not ended yet was claimed.
    pub claimed_at: Option<UnixTime>,
    /// Not before then is a failing authorization server asked again.
    pub retry_at: UnixTime,
    pub needs_consent: Option<ConsentNeeded>,
}

/// What to do before the access token is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialStep {
    /// Use it.
    Usable,
    /// Renew it, after claiming that.
    Due,
    /// Somebody renews it: wait.
    UnderWay,
    /// It has expired, and the authorization server failed a moment ago.
    PutOff,
    /// It was refused, and nothing renews it.
    Lost,
    NeedsConsent(ConsentNeeded),
}

impl Connection {
    /// Why it does not serve as it is. `scopes` are those that the configuration has, separated by blanks.
    #[must_use]
    pub fn consent_needed(&self, scopes: &str, now: UnixTime) -> Option<ConsentNeeded> {
        let wanted = match self.owner {
            Owner::Person(_) => self.wanted(scopes),
            // One caller who asks for more must not stop all others.
            Owner::Everyone => scopes.to_owned(),
        };
        if self.needs_consent.is_some() {
            self.needs_consent
        } else if !covers(&self.scope, &wanted) {
            Some(ConsentNeeded::Scope)
        } else {
            (!self.has_refresh_token && self.has_expired(now)).then_some(ConsentNeeded::Expired)
        }
    }

    /// The scopes that are known to be needed, those that the configuration has among them, separated by blanks.
    #[must_use]
    pub fn wanted(&self, scopes: &str) -> String {
        union(scopes, &self.missing_scope)
    }

    /// Whether the access token is over.
    #[must_use]
    pub fn has_expired(&self, now: UnixTime) -> bool {
        self.expires_at.is_some_and(|expires_at| now >= expires_at)
    }

    /// What a call does with the access token of `generation`, which the upstream has just refused, or, without one,
    /// with whichever there is. `scopes` are those that the configuration has; `patience`: after it a claim counts as
    /// abandoned.
    #[must_use]
    pub fn next_step(&self, refused: Option<i64>, scopes: &str, patience: Duration, now: UnixTime) -> CredentialStep {
        if let Some(reason) = self.consent_needed(scopes, now) {
            return CredentialStep::NeedsConsent(reason);
        }
        let refused = refused == Some(self.generation);
        let expired = self.has_expired(now);
        let soon = expired || self.renew_at.is_some_and(|renew_at| now >= renew_at);
        if !refused && !soon {
            return CredentialStep::Usable;
        }
        if !self.has_refresh_token {
            return if refused { CredentialStep::Lost } else { CredentialStep::Usable };
        }
        let serves = !refused && !expired;
        if self.claimed_at.is_some_and(|claimed| now <= claimed.plus(patience)) {
            return if serves { CredentialStep::Usable } else { CredentialStep::UnderWay };
        }
        if now < self.retry_at {
            return if serves { CredentialStep::Usable } else { CredentialStep::PutOff };
        }
        CredentialStep::Due
    }

    /// The record with other tokens, which live for `life`.
    #[must_use]
    pub fn renewed(&self, sealed: Vec<u8>, has_refresh_token: bool, life: Option<Duration>, now: UnixTime) -> Self {
        Self {
            sealed,
            has_refresh_token,
            expires_at: life.map(|life| now.plus(life)),
            renew_at: life.map(|life| now.plus(life.saturating_sub(EARLY.min(life / 4)))),
            version: self.version + 1,
            generation: self.generation + 1,
            claimed_at: None,
            retry_at: UnixTime(0),
            needs_consent: None,
            ..self.clone()
        }
    }

    /// The record as whoever claims its renewal holds it.
    #[must_use]
    pub fn claimed(&self, now: UnixTime) -> Self {
        Self { version: self.version + 1, claimed_at: Some(now), ..self.clone() }
    }

    /// The record when nothing renews it any more.
    #[must_use]
    pub fn released(&self, retry_at: UnixTime) -> Self {
        Self { version: self.version + 1, claimed_at: None, retry_at, ..self.clone() }
    }

    /// The record of one that serves no longer.
    #[must_use]
    pub fn without_consent(&self, reason: ConsentNeeded) -> Self {
        Self { version: self.version + 1, claimed_at: None, needs_consent: Some(reason), ..self.clone() }
    }
}

/// Whether every scope of `wanted` is one of `asked`; both are separated by blanks.
#[must_use]
pub fn covers(asked: &str, wanted: &str) -> bool {
    wanted.split(' ').filter(|scope| !scope.is_empty()).all(|scope| asked.split(' ').any(|has| has == scope))
}

/// Both together, each scope once, in order.
#[must_use]
pub fn union(first: &str, second: &str) -> String {
    let mut all: Vec<&str> = Vec::new();
    for scope in first.split(' ').chain(second.split(' ')) {
        if !scope.is_empty() && !all.contains(&scope) {
            all.push(scope);
        }
    }
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn connection() -> Connection {
        let owner = Owner::Person(SubjectId::new("usr_1"));
        Connection {
            id: ConnectionId::of("linear", &owner),
            upstream: "linear".to_owned(),
            owner,
            server: "https://mcp.example/mcp".to_owned(),
            sealed: Vec::new(),
            scope: "read".to_owned(),
            missing_scope: String::new(),
            expires_at: Some(UnixTime(1000)),
            renew_at: Some(UnixTime(940)),
            has_refresh_token: true,
            version: 1,
            generation: 7,
            connected_at: UnixTime(0),
            used_at: UnixTime(0),
            claimed_at: None,
            retry_at: UnixTime(0),
            needs_consent: None,
        }
    }

    fn step(connection: &Connection, refused: Option<i64>, now: i64) -> CredentialStep {
        connection.next_step(refused, "read", PATIENCE, UnixTime(now))
    }

    #[test]
    fn a_token_is_renewed_a_while_before_its_end_and_serves_until_then() {
        assert_eq!(step(&connection(), None, 939), CredentialStep::Usable);
        assert_eq!(step(&connection(), None, 940), CredentialStep::Due);
        let claimed = connection().claimed(UnixTime(940));
        assert_eq!(step(&claimed, None, 960), CredentialStep::Usable, "the old one serves while it is renewed");
        assert_eq!(step(&claimed, None, 971), CredentialStep::Due, "an abandoned claim is taken over");
        let late = connection().claimed(UnixTime(1000));
        assert_eq!(step(&late, None, 1030), CredentialStep::UnderWay);
    }

    #[test]
    fn a_token_without_a_known_end_serves_until_it_is_refused() {
        let endless = Connection { expires_at: None, renew_at: None, ..connection() };
        assert_eq!(step(&endless, None, i64::MAX / 2), CredentialStep::Usable);
        assert_eq!(step(&endless, Some(7), 1), CredentialStep::Due);
        assert_eq!(step(&endless, Some(6), 1), CredentialStep::Usable, "another token than the refused one is there");
    }

    #[test]
    fn without_a_refresh_token_consent_is_needed_once_the_token_is_over() {
        let bare = Connection { has_refresh_token: false, ..connection() };
        assert_eq!(step(&bare, None, 999), CredentialStep::Usable);
        for refused in [None, Some(7)] {
            assert_eq!(step(&bare, refused, 1000), CredentialStep::NeedsConsent(ConsentNeeded::Expired));
        }
        assert_eq!(step(&bare, Some(7), 1), CredentialStep::Lost);
    }

    #[test]
    fn who_lacks_a_scope_stops_themselves_and_nobody_else() {
        let own = Connection { missing_scope: "write".to_owned(), ..connection() };
        let shared = Connection { owner: Owner::Everyone, ..own.clone() };
        assert_eq!(own.consent_needed("read", UnixTime(1)), Some(ConsentNeeded::Scope));
        assert_eq!(shared.consent_needed("read", UnixTime(1)), None);
        assert_eq!(shared.consent_needed("read admin", UnixTime(1)), Some(ConsentNeeded::Scope));
        assert_eq!(shared.wanted("read"), "read write", "whoever connects it again is asked for it");
    }

    #[test]
    fn a_renewed_token_is_another_one_and_is_renewed_before_its_end_in_turn() {
        let life = |seconds| Some(Duration::from_secs(seconds));
        let renewed = connection().claimed(UnixTime(940)).renewed(vec![1], true, life(600), UnixTime(950));
        assert_eq!((renewed.generation, renewed.version), (8, 3));
        assert_eq!((renewed.renew_at, renewed.expires_at), (Some(UnixTime(1490)), Some(UnixTime(1550))));
        assert_eq!(step(&renewed, Some(7), 950), CredentialStep::Usable);
        let short = connection().renewed(vec![1], true, life(20), UnixTime(950));
        assert_eq!(step(&short, None, 964), CredentialStep::Usable, "a short life is not spent on renewing");
        assert_eq!(step(&short, None, 965), CredentialStep::Due);
    }

    #[test]
    fn a_failing_authorization_server_is_left_alone_for_a_while() {
        let failing = connection().claimed(UnixTime(940)).released(UnixTime(1010));
        assert_eq!(step(&failing, None, 999), CredentialStep::Usable);
        assert_eq!(step(&failing, None, 1009), CredentialStep::PutOff);
        assert_eq!(step(&failing, Some(7), 950), CredentialStep::PutOff);
        assert_eq!(step(&failing, None, 1010), CredentialStep::Due);
    }

    #[test]
    fn what_needs_consent_is_not_used() {
        let refused = connection().without_consent(ConsentNeeded::Refused);
        assert_eq!(step(&refused, None, 1), CredentialStep::NeedsConsent(ConsentNeeded::Refused));
    }

    #[test]
    fn every_change_makes_a_version_and_ends_the_claim_and_new_tokens_end_every_trouble() {
        let held = Connection { retry_at: UnixTime(2000), version: 5, ..connection().claimed(UnixTime(950)) };
        let released = held.released(UnixTime(960));
        assert_eq!((released.version, released.claimed_at, released.retry_at), (6, None, UnixTime(960)));
        let refused = held.without_consent(ConsentNeeded::Scope);
        assert_eq!((refused.version, refused.claimed_at, refused.needs_consent), (6, None, Some(ConsentNeeded::Scope)));
        let renewed =
            Connection { claimed_at: Some(UnixTime(950)), ..refused }.renewed(vec![1], false, None, UnixTime(970));
        assert_eq!((renewed.version, renewed.generation, renewed.sealed.as_slice()), (7, 8, &[1][..]));
        assert_eq!((renewed.claimed_at, renewed.retry_at, renewed.needs_consent), (None, UnixTime(0), None));
        assert_eq!((renewed.has_refresh_token, renewed.expires_at, renewed.renew_at), (false, None, None));
    }

    #[test]
    fn a_connection_is_one_upstreams_and_one_owners() {
        let [ada, grace] = ["usr_1", "usr_2"].map(|id| Owner::Person(SubjectId::new(id)));
        assert_eq!(ConnectionId::of("linear", &ada), ConnectionId::of("linear", &ada));
        let others = [("linear", &grace), ("linear", &Owner::Everyone), ("notion", &ada)];
        assert!(
            others
                .iter()
                .all(|(upstream, owner)| ConnectionId::of(upstream, owner) != ConnectionId::of("linear", &ada))
        );
        for reason in [ConsentNeeded::Refused, ConsentNeeded::Expired, ConsentNeeded::Scope] {
            assert_eq!(ConsentNeeded::parse(reason.as_str()), Some(reason));
        }
        assert_eq!(ConsentNeeded::parse("other"), None);
    }

    #[test]
    fn scopes_are_compared_as_sets() {
        assert!(covers("a b", "b a"));
        assert!(covers("a", ""));
        assert!(!covers("a b", "a c"));
        assert_eq!(union("a b", "c b"), "a b c");
    }
}

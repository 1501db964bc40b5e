//! What the identity provider vouches for a person with to others: their ID token (RFC 8693 §2.1, EXT-6).
//!
//! Owns the record and the decision whether the token still serves. There is one for each person, that of their last
//! sign-in. Whoever renews it claims the record first, so that of any number of gateways one asks.

use std::time::Duration;

use super::person::SubjectId;
use super::time::UnixTime;

/// A token that ends sooner may end on its way.
const SPARE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectToken {
    pub subject: SubjectId,
    /// The ID token, and the refresh token if there is one.
    pub sealed: Vec<u8>,
    /// When the ID token expires.
    pub expires_at: UnixTime,
    /// When the provider gave the ID token.
    pub obtained_at: UnixTime,
    /// Whether there is a refresh token that was not refused.
    pub renewable: bool,
    /// Counts the changes; each is made against the version that was read.
    pub version: i64,
    /// Counts the ID tokens.
    pub generation: i64,
    /// When a renewal that has not ended yet was claimed.
    pub claimed_at: Option<UnixTime>,
    /// Not before then is a failing provider asked again.
    pub retry_at: UnixTime,
}

/// What to do before the ID token is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectTokenStep {
    /// Use it.
    Usable,
    /// Renew it, after claiming that.
    Due,
    /// Somebody renews it: wait.
    UnderWay,
    /// The provider failed a moment ago.
    PutOff,
    /// The person has to sign in again.
    Over,
}

impl SubjectToken {
    /// `refused`: the generation that did not count although it had not expired. `patience`: after it a claim counts as
    /// abandoned.
    #[must_use]
    pub fn next_step(&self, refused: Option<i64>, patience: Duration, now: UnixTime) -> SubjectTokenStep {
        if refused != Some(self.generation) && now.plus(SPARE) < self.expires_at {
            SubjectTokenStep::Usable
        } else if !self.renewable {
            SubjectTokenStep::Over
        } else if self.claimed_at.is_some_and(|claimed| now <= claimed.plus(patience)) {
            SubjectTokenStep::UnderWay
        } else if now < self.retry_at {
            SubjectTokenStep::PutOff
        } else {
            SubjectTokenStep::Due
        }
    }

    /// The record as whoever claims its renewal holds it.
    #[must_use]
    pub fn claimed(&self, now: UnixTime) -> Self {
        Self { version: self.version + 1, claimed_at: Some(now), ..self.clone() }
    }

    /// The record with the next refresh token, while it is still claimed.
    #[must_use]
    pub fn with_refresh_token(&self, sealed: Vec<u8>) -> Self {
        Self { sealed, version: self.version + 1, ..self.clone() }
    }

    /// The record with another ID token.
    #[must_use]
    pub fn renewed(&self, sealed: Vec<u8>, expires_at: UnixTime, now: UnixTime) -> Self {
        Self {
            sealed,
            expires_at,
            obtained_at: now,
            version: self.version + 1,
            generation: self.generation + 1,
            claimed_at: None,
            retry_at: UnixTime(0),
            ..self.clone()
        }
    }

    /// The record when nothing renews it any more.
    #[must_use]
    pub fn released(&self, retry_at: UnixTime) -> Self {
        Self { version: self.version + 1, claimed_at: None, retry_at, ..self.clone() }
    }

    /// The record when nothing will renew it ever.
    #[must_use]
    pub fn without_renewal(&self) -> Self {
        Self { version: self.version + 1, claimed_at: None, renewable: false, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SubjectTokenStep::{Due, Over, PutOff, UnderWay, Usable};

    const PATIENCE: Duration = Duration::from_secs(30);

    fn token() -> SubjectToken {
        SubjectToken {
            subject: SubjectId::new("usr_1"),
            sealed: Vec::new(),
            expires_at: UnixTime(1000),
            obtained_at: UnixTime(700),
            renewable: true,
            version: 1,
            generation: 4,
            claimed_at: None,
            retry_at: UnixTime(0),
        }
    }

    fn step(token: &SubjectToken, refused: Option<i64>, now: i64) -> SubjectTokenStep {
        token.next_step(refused, PATIENCE, UnixTime(now))
    }

    // EXT-6
    #[test]
    fn an_id_token_serves_until_it_ends_and_is_then_renewed_by_one() {
        assert_eq!(step(&token(), None, 989), Usable);
        assert_eq!(step(&token(), None, 990), Due);
        let claimed = token().claimed(UnixTime(990));
        assert_eq!(step(&claimed, None, 1020), UnderWay);
        assert_eq!(step(&claimed, None, 1021), Due, "an abandoned claim is taken over");
        let renewed = claimed.with_refresh_token(vec![1]).renewed(vec![2], UnixTime(1300), UnixTime(1000));
        assert_eq!((renewed.version, renewed.generation, renewed.obtained_at), (4, 5, UnixTime(1000)));
        assert_eq!(step(&renewed, Some(4), 1000), Usable);
    }

    #[test]
    fn one_that_does_not_count_is_renewed_although_it_has_not_ended() {
        assert_eq!(step(&token(), Some(4), 800), Due);
        assert_eq!(step(&token(), Some(3), 800), Usable, "another one is there by now");
    }

    #[test]
    fn a_failing_provider_is_left_alone_for_a_while() {
        let failing = token().claimed(UnixTime(990)).released(UnixTime(1020));
        assert_eq!(step(&failing, None, 1019), PutOff);
        assert_eq!(step(&failing, None, 1020), Due);
    }

    #[test]
    fn every_change_makes_a_version_and_ends_the_claim_and_a_new_token_every_trouble() {
        let held = SubjectToken { retry_at: UnixTime(2000), version: 5, ..token().claimed(UnixTime(950)) };
        let next = held.with_refresh_token(vec![1]);
        assert_eq!((next.version, next.claimed_at, next.sealed.as_slice()), (6, Some(UnixTime(950)), &[1][..]));
        let released = held.released(UnixTime(960));
        assert_eq!((released.version, released.claimed_at, released.retry_at), (6, None, UnixTime(960)));
        let last = held.without_renewal();
        assert_eq!((last.version, last.claimed_at, last.renewable), (6, None, false));
        let renewed = held.renewed(vec![2], UnixTime(1300), UnixTime(1000));
        assert_eq!((renewed.version, renewed.claimed_at, renewed.retry_at), (6, None, UnixTime(0)));
        assert_eq!((renewed.sealed.as_slice(), renewed.expires_at), (&[2][..], UnixTime(1300)));
    }

    #[test]
    fn without_renewal_the_person_signs_in_again_once_it_has_ended() {
        let last = token().claimed(UnixTime(900)).without_renewal();
        assert_eq!(step(&last, None, 989), Usable);
        assert_eq!(step(&last, None, 990), Over);
        assert_eq!(step(&last, Some(4), 800), Over);
    }
}

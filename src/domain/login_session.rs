//! A login at the identity provider for as long as grants hang on it (IDP-12 … IDP-15).
//!
//! Owns the one sealed copy of the provider's refresh token, and the decision whether to ask the provider again.
//! Every grant and every browser that came of one login share the record; whoever asks the provider claims it
//! first, so that of any number of gateways one asks.

use std::time::Duration;

use super::person::SubjectId;
use super::text_id;
use super::time::UnixTime;

text_id!(
    /// `ls_…`; never leaves the server.
    LoginSessionId
);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginSession {
    pub id: LoginSessionId,
    pub subject: SubjectId,
    /// The provider's own id of it.
    pub provider_session: Option<String>,
    /// The provider's refresh token, sealed. `None` when it is known to be spent and its successor lost: from then
    /// on only the provider's management interface can tell how things stand.
    pub sealed_token: Option<Vec<u8>>,
    /// Counts the changes; each is made against the version that was read.
    pub version: i64,
    /// When the provider last stood by it.
    pub synced_at: UnixTime,
    /// When a question that has no answer yet was claimed.
    pub claimed_at: Option<UnixTime>,
    /// A question was sent and its answer, with the next token, may have been lost: a refusal proves nothing now.
    pub in_doubt: bool,
    /// When the provider first failed to answer since `synced_at`.
    pub failing_since: Option<UnixTime>,
    /// Not before then is a failing provider asked again.
    pub retry_at: UnixTime,
    pub ended_at: Option<UnixTime>,
}

/// What to do before a grant of the session is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncStep {
    /// The provider ended it.
    Ended,
    /// The last answer still serves.
    Recent,
    /// Somebody is asking: wait for the answer.
    UnderWay,
    /// The provider failed a moment ago.
    PutOff,
    /// Ask, after claiming it.
    Due,
}

impl LoginSession {
    /// `interval`: how long an answer serves. `patience`: after it a claim counts as abandoned.
    #[must_use]
    pub fn next_step(&self, interval: Duration, patience: Duration, now: UnixTime) -> SyncStep {
        if self.ended_at.is_some() {
            SyncStep::Ended
        } else if now < self.synced_at.plus(interval) {
            SyncStep::Recent
        } else if self.claimed_at.is_some_and(|claimed| now <= claimed.plus(patience)) {
            SyncStep::UnderWay
        } else if now < self.retry_at {
            SyncStep::PutOff
        } else {
            SyncStep::Due
        }
    }

    /// The record as whoever claims it holds it: an earlier claim that nobody closed leaves its answer in doubt.
    #[must_use]
    pub fn claimed(&self, now: UnixTime) -> Self {
        Self {
            version: self.version + 1,
            in_doubt: self.in_doubt || self.claimed_at.is_some(),
            claimed_at: Some(now),
            ..self.clone()
        }
    }

    /// Whether its grants go on although the provider does not answer, for `grace` since it first did not (IDP-14).
    #[must_use]
    pub fn is_in_grace(&self, grace: Duration, now: UnixTime) -> bool {
        self.failing_since.is_none_or(|since| now <= since.plus(grace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(300);
    const PATIENCE: Duration = Duration::from_secs(30);

    fn session() -> LoginSession {
        LoginSession {
            id: LoginSessionId::new("ls_1"),
            subject: SubjectId::new("usr_1"),
            provider_session: None,
            sealed_token: None,
            version: 1,
            synced_at: UnixTime(1000),
            claimed_at: None,
            in_doubt: false,
            failing_since: None,
            retry_at: UnixTime(0),
            ended_at: None,
        }
    }

    fn step(session: &LoginSession, now: i64) -> SyncStep {
        session.next_step(INTERVAL, PATIENCE, UnixTime(now))
    }

    // IDP-12
    #[test]
    fn an_answer_serves_for_the_interval_and_then_one_asks_while_others_wait() {
        assert_eq!(step(&session(), 1299), SyncStep::Recent);
        assert_eq!(step(&session(), 1300), SyncStep::Due);
        let claimed = session().claimed(UnixTime(1300));
        assert_eq!(claimed.version, 2);
        assert!(!claimed.in_doubt);
        assert_eq!(step(&claimed, 1330), SyncStep::UnderWay);
        assert_eq!(step(&claimed, 1331), SyncStep::Due, "an abandoned claim is taken over");
    }

    // IDP-13
    #[test]
    fn a_claim_that_nobody_closed_leaves_its_answer_in_doubt() {
        let taken_over = session().claimed(UnixTime(1300)).claimed(UnixTime(1331));
        assert!(taken_over.in_doubt);
        assert!(taken_over.claimed(UnixTime(1400)).in_doubt);
    }

    // IDP-14
    #[test]
    fn a_failing_provider_is_left_alone_for_a_while_and_forgiven_for_the_grace() {
        let failing = LoginSession { failing_since: Some(UnixTime(1300)), retry_at: UnixTime(1330), ..session() };
        assert_eq!(step(&failing, 1329), SyncStep::PutOff);
        assert_eq!(step(&failing, 1330), SyncStep::Due);
        let grace = Duration::from_secs(3600);
        assert!(session().is_in_grace(grace, UnixTime(i64::MAX / 2)), "an idle session has not failed");
        assert!(failing.is_in_grace(grace, UnixTime(4900)));
        assert!(!failing.is_in_grace(grace, UnixTime(4901)));
    }

    #[test]
    fn an_ended_session_is_ended_whatever_else_it_says() {
        let ended = LoginSession { ended_at: Some(UnixTime(1001)), ..session() };
        assert_eq!(step(&ended, 1002), SyncStep::Ended);
    }
}

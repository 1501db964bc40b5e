//! Tickets: what makes a link to connect an upstream work once, for one person (gateway.md §8).
//!
//! A ticket is sealed instead of stored: handing out any number of them costs nothing, and only those that are used
//! are remembered, until they would have expired anyway.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::crypto::{Sealer, SecretHash, base64url, base64url_decode};
use crate::domain::random::random_id;
use crate::domain::{Random, SubjectId, UnixTime};
use crate::store::{Store, StoreError};

/// How long a link in the answer to a call works.
pub const TICKET_LIFE: Duration = Duration::from_secs(15 * 60);
const PLACE: &str = "connect ticket";
/// Bytes; what is longer is none of ours.
const LONGEST: usize = 2048;

/// What a ticket allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The upstream's id.
    #[serde(rename = "u")]
    pub upstream: String,
    /// Who may use it; `None`: whoever the operator gave it to, for a connection that everyone shares.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectId>,
    #[serde(rename = "e")]
    pub expires_at: UnixTime,
    /// Makes each one another.
    #[serde(rename = "n")]
    nonce: String,
}

impl Ticket {
    #[must_use]
    pub fn new(
        upstream: &str,
        subject: Option<&SubjectId>,
        life: Duration,
        random: &dyn Random,
        now: UnixTime,
    ) -> Self {
        Self {
            upstream: upstream.to_owned(),
            subject: subject.cloned(),
            expires_at: now.plus(life),
            nonce: random_id("", random),
        }
    }

    /// When the answer to a call gave it.
    #[must_use]
    pub fn given_at(&self) -> UnixTime {
        self.expires_at.minus(TICKET_LIFE)
    }

    /// As it stands in a link.
    #[must_use]
    pub fn seal(&self, sealer: &Sealer, random: &dyn Random) -> String {
        let plain = serde_json::to_vec(self).unwrap_or_default();
        base64url(&sealer.seal(PLACE, &plain, random))
    }

    /// The ticket of a link; `None` for what is no ticket of ours, or one that has expired.
    #[must_use]
    pub fn open(text: &str, sealer: &Sealer, now: UnixTime) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let plain = sealer.open(PLACE, &base64url_decode(text)?).ok()?;
        let ticket: Self = serde_json::from_slice(&plain).ok()?;
        (now < ticket.expires_at).then_some(ticket)
    }

    /// Spends it. Of any number of callers exactly one gets true.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn spend(&self, store: &Store) -> Result<bool, StoreError> {
        store.use_once(&self.hash(), self.expires_at).await
    }

    /// Whether it has been spent.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_spent(&self, store: &Store) -> Result<bool, StoreError> {
        store.was_used(&self.hash()).await
    }

    fn hash(&self) -> SecretHash {
        SecretHash::of(format!("connect ticket\0{}", self.nonce).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeyMaterial;
    use crate::domain::SystemRandom;

    #[test]
    fn a_ticket_opens_with_our_key_and_until_it_expires() {
        let sealer = Sealer::new(&[KeyMaterial::new([1; 32])]).expect("a key");
        let person = SubjectId::new("usr_1");
        let now = UnixTime(1000);
        let ticket = Ticket::new("linear", Some(&person), TICKET_LIFE, &SystemRandom, now);
        let text = ticket.seal(&sealer, &SystemRandom);
        assert_eq!(Ticket::open(&text, &sealer, now).as_ref(), Some(&ticket));
        assert_eq!(ticket.given_at(), now);
        assert_eq!(Ticket::open(&text, &sealer, UnixTime(1899)).as_ref(), Some(&ticket));
        assert_eq!(Ticket::open(&text, &sealer, UnixTime(1900)), None);
        let other = Sealer::new(&[KeyMaterial::new([2; 32])]).expect("a key");
        assert_eq!(Ticket::open(&text, &other, now), None);
        let elsewhere = base64url(&sealer.seal("elsewhere", b"{}", &SystemRandom));
        for bad in ["", "x", "ü", &text[1..], &"A".repeat(9000), &elsewhere] {
            assert_eq!(Ticket::open(bad, &sealer, now), None);
        }
        let again = Ticket::new("linear", Some(&person), TICKET_LIFE, &SystemRandom, now);
        assert_ne!(again, ticket);
    }
}

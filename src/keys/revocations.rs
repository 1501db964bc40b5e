//! Grants that were revoked while access tokens of theirs may still be alive (REV-3, STRM-8).

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::watch;

use crate::domain::{GrantId, UnixTime};

/// How long a revoked grant stays on the list at least. Longer than access tokens live: a token may have been
/// issued under an earlier configuration, with a longer life than the present one's.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// The store is asked twice a second; a bound of less than a few seconds would refuse calls at every hiccup.
const SHORTEST_BOUND: Duration = Duration::from_secs(5);

/// The list. Bounded by the life of access tokens: [`Revocations::purge`] takes out what can no longer matter.
pub struct Revocations {
    grants: DashMap<GrantId, UnixTime>,
    /// Counts additions, so that open streams wake up and look.
    changes: watch::Sender<u64>,
    /// When the store was last asked, in seconds since 1970; 0 when nobody asks it.
    known_at: AtomicI64,
}

impl Default for Revocations {
    fn default() -> Self {
        Self { grants: DashMap::new(), changes: watch::Sender::new(0), known_at: AtomicI64::new(0) }
    }
}

impl Revocations {
    /// Refuses a grant's tokens from now on; `until` is when the last of them has expired.
    pub fn revoke(&self, grant: GrantId, until: UnixTime) {
        if self.grants.insert(grant, until).is_none() {
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    #[must_use]
    pub fn is_revoked(&self, grant: &GrantId) -> bool {
        self.grants.contains_key(grant)
    }

    /// Completes once the grant is revoked; never otherwise.
    pub async fn revoked(&self, grant: &GrantId) {
        let mut changes = self.changes.subscribe();
        while !self.is_revoked(grant) {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Notes that the list was brought up to date with the store at `now`.
    pub fn known(&self, now: UnixTime) {
        self.known_at.store(now.0, Ordering::Relaxed);
    }

    /// When the list was last brought up to date; `None` when nobody follows the store.
    #[must_use]
    pub fn known_at(&self) -> Option<UnixTime> {
        let known_at = UnixTime(self.known_at.load(Ordering::Relaxed));
        (known_at.0 != 0).then_some(known_at)
    }

    /// Whether the store has been away for longer than `bound`, so that the list can no longer be relied on
    /// (STORE-6).
    #[must_use]
    pub fn is_outdated(&self, bound: Duration, now: UnixTime) -> bool {
        self.known_at().is_some_and(|known_at| now > known_at.plus(bound.max(SHORTEST_BOUND)))
    }

    /// Forgets grants whose tokens have all expired.
    pub fn purge(&self, now: UnixTime) {
        self.grants.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    // REV-3, STRM-8
    #[tokio::test]
    async fn a_waiting_stream_learns_of_its_own_grant_only() {
        let revocations = Arc::new(Revocations::default());
        let waiting = tokio::spawn({
            let revocations = Arc::clone(&revocations);
            async move { revocations.revoked(&GrantId::new("a")).await }
        });
        revocations.revoke(GrantId::new("b"), UnixTime(10));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        revocations.revoke(GrantId::new("a"), UnixTime(10));
        waiting.await.unwrap();
        revocations.purge(UnixTime(10));
        assert!(!revocations.is_revoked(&GrantId::new("a")));
    }

    // STORE-6
    #[test]
    fn the_list_is_relied_on_for_a_bounded_time_only() {
        let revocations = Revocations::default();
        let bound = Duration::from_secs(60);
        assert!(!revocations.is_outdated(bound, UnixTime(1_000)), "nobody follows the store");
        revocations.known(UnixTime(1_000));
        assert!(!revocations.is_outdated(bound, UnixTime(1_060)));
        assert!(revocations.is_outdated(bound, UnixTime(1_061)));
    }
}

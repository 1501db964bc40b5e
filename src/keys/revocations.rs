//! Grants that were revoked while access tokens of theirs may still be alive (REV-3, STRM-8).

use dashmap::DashMap;
use tokio::sync::watch;

use crate::domain::{GrantId, UnixTime};

/// The list. Bounded by the life of access tokens: [`Revocations::purge`] takes out what can no longer matter.
pub struct Revocations {
    grants: DashMap<GrantId, UnixTime>,
    /// Counts additions, so that open streams wake up and look.
    changes: watch::Sender<u64>,
}

impl Default for Revocations {
    fn default() -> Self {
        Self { grants: DashMap::new(), changes: watch::Sender::new(0) }
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
}

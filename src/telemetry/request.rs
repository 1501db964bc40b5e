//! The request that the present task serves, for records that want to name it (REV-6). Nothing is decided by it.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::Random;

tokio::task_local! {
    static PRESENT: RequestScope;
}

/// How a request is named, and who made it.
#[derive(Debug, Clone)]
pub struct RequestScope {
    /// Stands in `x-request-id` and on error pages.
    pub id: Arc<str>,
    pub client_ip: Option<IpAddr>,
}

impl RequestScope {
    /// Runs `serve` as this request.
    pub async fn run<F: Future>(self, serve: F) -> F::Output {
        PRESENT.scope(self, serve).await
    }

    /// The present one; `None` in background work.
    #[must_use]
    pub fn present() -> Option<Self> {
        PRESENT.try_with(Clone::clone).ok()
    }
}

/// Names requests. A name occurs once, also among several processes. It is no secret, so it costs no randomness of its
/// own.
pub struct RequestIds {
    process: [u8; 8],
    start: u64,
    number: AtomicU64,
}

impl RequestIds {
    #[must_use]
    pub fn new(random: &dyn Random) -> Self {
        let (mut process, mut start) = ([0; 8], [0; 8]);
        random.fill(&mut process);
        random.fill(&mut start);
        Self { process, start: u64::from_be_bytes(start), number: AtomicU64::new(0) }
    }

    /// The next one: 22 characters of base64url.
    pub fn next(&self) -> Arc<str> {
        // An odd factor maps every number to another one, and neighbours far apart: people tell them apart at a glance.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let number = self.number.fetch_add(1, Ordering::Relaxed).wrapping_mul(SPREAD);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.start.wrapping_add(number).to_be_bytes());
        bytes[8..].copy_from_slice(&self.process);
        crate::crypto::base64url(&bytes).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::domain::SystemRandom;

    // OPS-12
    #[test]
    fn no_two_requests_have_one_name() {
        let (one, other) = (RequestIds::new(&SystemRandom), RequestIds::new(&SystemRandom));
        let names: HashSet<Arc<str>> = (0..10_000).flat_map(|_| [one.next(), other.next()]).collect();
        assert_eq!(names.len(), 20_000);
        assert!(names.iter().all(|name| name.len() == 22));
    }
}

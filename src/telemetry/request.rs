//! The request that the present task serves, for records that want to name it (REV-6). Nothing is decided by it.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

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

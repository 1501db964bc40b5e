//! `rate-limit-inbound` on the data path (gateway.md §3, LIM-2): counted in memory, once the caller is known and may use
//! the route. Each replica counts for itself, and a reload starts anew.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::caller::CallerToken;
use super::error::ProxyError;
use crate::config::model::{RateLimit, RateLimitBy, Route};
use crate::domain::{Caller, SlidingWindow, UnixTime};

/// The windows of the policies that several routes may name, while routes are prepared.
#[derive(Default)]
pub struct SharedWindows(HashMap<String, Arc<SlidingWindow>>);

/// The limits of one route, in the order in which it names them.
#[derive(Default)]
pub struct RateLimits(Vec<(RateLimit, Arc<SlidingWindow>)>);

impl RateLimits {
    pub fn new(route: &Route, shared: &mut SharedWindows) -> Self {
        let window = |limit: &RateLimit| match limit.by {
            RateLimitBy::All => Arc::new(SlidingWindow::of_one(limit.allowed, limit.window)),
            _ => Arc::clone(
                shared
                    .0
                    .entry(limit.policy.clone())
                    .or_insert_with(|| Arc::new(SlidingWindow::new(limit.allowed, limit.window))),
            ),
        };
        let windows: Vec<_> = route.rate_limits.iter().map(window).collect();
        Self(route.rate_limits.iter().cloned().zip(windows).collect())
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`ProxyError::RateLimited`] by the first limit that is spent; those before it have counted it.
    pub fn take(&self, token: Option<&CallerToken>, peer: Option<IpAddr>, now: UnixTime) -> Result<(), ProxyError> {
        for (limit, window) in &self.0 {
            let taken = match limit.by {
                RateLimitBy::User => window.take(&token.map(CallerToken::subject), now),
                RateLimitBy::Client => window.take(&token.map(CallerToken::client), now),
                RateLimitBy::Address => window.take(&peer.map(Caller::from), now),
                RateLimitBy::All => window.take(&(), now),
            };
            taken.map_err(|throttled| {
                ProxyError::RateLimited(limit.policy.clone(), limit.retry_after.then_some(throttled.retry_after))
            })?;
        }
        Ok(())
    }
}

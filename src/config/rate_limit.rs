//! `rate-limit-inbound`: how many requests of a route a caller may send in a while (gateway.md §3).

use super::diagnostic::Problems;
use super::document::Node;
use super::raw;

/// A limit, as one route that names its policy has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Name of the policy. Routes that name the same one count together, except [`RateLimitBy::All`].
    pub policy: String,
    pub by: RateLimitBy,
    /// Requests in a window.
    pub allowed: u32,
    /// Seconds.
    pub window: u32,
    /// Whether a refusal says when to try again.
    pub retry_after: bool,
}

/// Whose requests count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimitBy {
    User,
    Client,
    /// Of IPv6 the /64 network.
    Address,
    /// Everybody's, route by route.
    All,
}

impl RateLimitBy {
    /// Whether it is about somebody whom a token names.
    #[must_use]
    pub fn needs_token(self) -> bool {
        matches!(self, Self::User | Self::Client)
    }
}

/// `None` after a problem.
pub(super) fn resolve(policy: &str, raw: &raw::RateLimit, node: &Node, problems: &mut Problems) -> Option<RateLimit> {
    let by = match raw.rate_limit_by? {
        raw::RateLimitBy::User => RateLimitBy::User,
        raw::RateLimitBy::Client => RateLimitBy::Client,
        raw::RateLimitBy::Ip => RateLimitBy::Address,
        raw::RateLimitBy::All => RateLimitBy::All,
        raw::RateLimitBy::Function => {
            problems
                .add(
                    "unsupported",
                    node.find(&["rateLimitBy"]).place,
                    "functions of a project cannot run in doorward, so no requests can be grouped by one",
                )
                .help("write `user`, `client`, `ip` or `all`, and leave `identifier` out");
            return None;
        }
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the schema bounds it")]
    let window = (raw.time_window_minutes? * 60.0).round().max(1.0) as u32;
    Some(RateLimit {
        policy: policy.to_owned(),
        by,
        allowed: raw.requests_allowed?,
        window,
        retry_after: raw.header_mode == raw::RateLimitHeader::RetryAfter,
    })
}

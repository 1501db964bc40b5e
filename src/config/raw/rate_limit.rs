//! Options of `rate-limit-inbound` as they are written (gateway.md §3).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of `rate-limit-inbound`: how many requests a caller may send in a while.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["rateLimitBy", "requestsAllowed", "timeWindowMinutes"]))]
pub struct RateLimit {
    /// Whose requests count together: those of a person, of a client, of an address, or all of a route.
    pub rate_limit_by: Option<RateLimitBy>,
    /// Requests in a window.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_allowed: Option<u32>,
    /// Minutes of the window, which slides; `0.5` is half a minute.
    #[schemars(range(min = 0.016, max = 44_640.0))]
    pub time_window_minutes: Option<f64>,
    /// Whether a refusal says when to try again.
    pub header_mode: RateLimitHeader,
    /// Of no effect: counting takes no time worth saving.
    pub mode: RateLimitMode,
    /// Of no effect: counting cannot fail.
    pub throw_on_failure: bool,
    /// Only with `function`, which doorward does not have.
    pub identifier: Option<RateLimitFunction>,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            rate_limit_by: None,
            requests_allowed: None,
            time_window_minutes: None,
            header_mode: RateLimitHeader::RetryAfter,
            mode: RateLimitMode::Strict,
            throw_on_failure: false,
            identifier: None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RateLimitBy {
    User,
    Client,
    Ip,
    All,
    Function,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RateLimitHeader {
    RetryAfter,
    None,
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RateLimitMode {
    Strict,
    Async,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitFunction {
    pub module: Option<String>,
    pub export: Option<String>,
}

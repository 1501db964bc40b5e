//! Refresh-token rotation as a pure decision (REFR-3 … REFR-7, OAuth 2.1 §4.3.1).
//!
//! A token is superseded when it is first presented. Its successor is derived from it, so every answer to
//! one presented token carries the same successor and racers converge on one lineage. The superseded token
//! keeps answering until its successor is presented, for a bounded time; after that it is a replay.

use std::time::Duration;

use super::grant::GrantId;
use super::time::UnixTime;

/// The longest time a superseded token may go on answering, whatever the configuration says (REFR-4).
pub const MAX_REUSE: Duration = Duration::from_secs(120);

/// A refresh token as the store keeps it, beside its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshToken {
    pub grant: GrantId,
    /// 0 for the token that came with the code, then one more at each rotation.
    pub generation: i64,
    /// Idle expiry: end of life if it is never presented.
    pub expires_at: UnixTime,
    /// When it was first presented, and thereby replaced.
    pub superseded_at: Option<UnixTime>,
    /// Which server key its successor is derived with.
    pub derivation_key: String,
}

/// What to do with a presented token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// First presentation: supersede it and store the successor.
    Rotate,
    /// A racer or a retry: answer with the same successor again.
    Repeat,
    /// The successor was used, or the time is over: someone holds a stolen copy. Revoke the grant.
    Replay,
    /// Idle for too long.
    Expired,
}

/// Decides over a token presented at `now`. `successor` is the token derived from it, if it is stored.
#[must_use]
pub fn decide(token: &RefreshToken, successor: Option<&RefreshToken>, reuse: Duration, now: UnixTime) -> Rotation {
    let Some(superseded_at) = token.superseded_at else {
        return if token.expires_at > now { Rotation::Rotate } else { Rotation::Expired };
    };
    let successor_unused = successor.is_some_and(|next| next.superseded_at.is_none());
    let in_time = now <= superseded_at.plus(reuse.min(MAX_REUSE));
    if successor_unused && in_time { Rotation::Repeat } else { Rotation::Replay }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REFR-9: the last second of an idle token has passed when its time is there.
    #[test]
    fn a_token_that_was_never_presented_rotates_until_it_expires() {
        let token = RefreshToken {
            grant: GrantId::new("grt_1"),
            generation: 0,
            expires_at: UnixTime(100),
            superseded_at: None,
            derivation_key: String::new(),
        };
        assert_eq!(decide(&token, None, MAX_REUSE, UnixTime(99)), Rotation::Rotate);
        assert_eq!(decide(&token, None, MAX_REUSE, UnixTime(100)), Rotation::Expired);
    }
}

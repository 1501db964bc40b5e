//! Claims: of many who find the same work due, in any process, one does it. The others look again until it is done, or
//! until the claim is so old that whoever made it must have died.

use std::time::Duration;

/// How often it is looked whether somebody else's work is done.
pub const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Claims are noted in whole seconds, so one may count for a second longer than it should, and clocks run apart.
const ROUNDING: Duration = Duration::from_secs(2);

/// How many looks it takes to outlast a claim that was made just before the first and counts for `patience`.
#[must_use]
pub fn looks(patience: Duration) -> u128 {
    patience.saturating_add(ROUNDING).as_millis() / LOOK_AGAIN.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixTime;

    #[test]
    fn the_last_look_finds_every_abandoned_claim_over() {
        for patience in [Duration::from_secs(40), Duration::from_secs(60), Duration::from_millis(65_300)] {
            let looked_for = LOOK_AGAIN * u32::try_from(looks(patience)).unwrap();
            // At the start of a second, when the claim is noted with the time at which it was made.
            let claimed = UnixTime(1000);
            let last_look = claimed.plus(looked_for);
            assert!(last_look > claimed.plus(patience), "{patience:?}");
            assert!(looked_for <= patience + ROUNDING, "and nobody waits longer: {patience:?}");
        }
    }
}

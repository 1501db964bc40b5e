//! How often something may happen: so many times a minute for each key, in memory of a fixed size (LIM-1, LIM-3,
//! LIM-6).
//!
//! Each key has a bucket that holds a minute's worth and refills steadily (GCRA). The buckets are a sketch, not a
//! map: a key shares each of its [`WAYS`] slots with other keys, and is refused only when all of them are spent.
//! So nothing is ever evicted, and nobody can win back a budget, or wipe out another's, by bringing many keys. The
//! hash is keyed anew in each process, so nobody can choose whose slots to fill.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use super::time::UnixTime;

/// Slots of one key.
const WAYS: usize = 4;
/// Slots in all, each picked by 16 bits of a key's hash: half a mebibyte.
const SLOTS: usize = 1 << 16;
/// In microseconds.
const MINUTE: i64 = 60_000_000;

/// The budget of a key is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests; try again in {retry_after} s")]
pub struct Throttled {
    /// Seconds until one more is allowed.
    pub retry_after: i64,
}

/// One limit, for any number of keys.
pub struct Throttle {
    /// When each slot's bucket is full again, in microseconds since 1970.
    full_at: Mutex<Box<[i64]>>,
    hasher: RandomState,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { full_at: Mutex::new(vec![0; SLOTS].into_boxed_slice()), hasher: RandomState::new() }
    }
}

impl Throttle {
    /// Takes one out of the `per_minute` of `key`. A refusal takes nothing.
    ///
    /// # Errors
    /// [`Throttled`] when nothing is left.
    pub fn take(&self, key: &impl Hash, per_minute: u32, now: UnixTime) -> Result<(), Throttled> {
        let slots = self.slots(key);
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let next = next(slots.map(|slot| full_at[slot]), per_minute, now)?;
        for slot in slots {
            let present = full_at[slot];
            full_at[slot] = if present > latest(now) { next } else { present.max(next) };
        }
        Ok(())
    }

    /// Whether [`Throttle::take`] would succeed; takes nothing.
    ///
    /// # Errors
    /// [`Throttled`] when nothing is left.
    pub fn check(&self, key: &impl Hash, per_minute: u32, now: UnixTime) -> Result<(), Throttled> {
        let full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        next(self.slots(key).map(|slot| full_at[slot]), per_minute, now).map(drop)
    }

    fn slots(&self, key: &impl Hash) -> [usize; WAYS] {
        let hash = self.hasher.hash_one(key);
        std::array::from_fn(|way| usize::try_from((hash >> (16 * way)) & 0xffff).unwrap_or_default())
    }
}

/// When the bucket behind these slots is full again after one more, if there is one more to have.
fn next(full_at: [i64; WAYS], per_minute: u32, now: UnixTime) -> Result<i64, Throttled> {
    let least = full_at.into_iter().min().unwrap_or_default();
    // A moment further ahead than any bucket reaches was written before the clock was set back.
    let full_at = if least > latest(now) { micros(now) } else { least.max(micros(now)) };
    let next = full_at.saturating_add(MINUTE / i64::from(per_minute.max(1)));
    match next.saturating_sub(latest(now)) {
        ..=0 => Ok(next),
        over => Err(Throttled { retry_after: (over - 1) / 1_000_000 + 1 }),
    }
}

fn micros(time: UnixTime) -> i64 {
    time.0.saturating_mul(1_000_000)
}

/// A bucket that is empty at `now` is full at this moment.
fn latest(now: UnixTime) -> i64 {
    micros(now).saturating_add(MINUTE)
}

/// Who sends requests, as far as an address tells: IPv6 callers have a whole /64 to themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caller(IpAddr);

impl From<IpAddr> for Caller {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixTime = UnixTime(1_800_000_000);

    fn at(seconds: i64) -> UnixTime {
        UnixTime(START.0 + seconds)
    }

    fn taken(throttle: &Throttle, key: &impl Hash, tries: usize, now: UnixTime) -> usize {
        (0..tries).filter(|_| throttle.take(key, 60, now).is_ok()).count()
    }

    // LIM-1, LIM-2
    #[test]
    fn a_minutes_worth_is_there_at_once_and_comes_back_steadily() {
        let throttle = Throttle::default();
        assert_eq!(taken(&throttle, &"a", 100, at(0)), 60);
        assert_eq!(throttle.take(&"a", 60, at(0)), Err(Throttled { retry_after: 1 }));
        assert_eq!(taken(&throttle, &"a", 100, at(10)), 10);
        assert_eq!(taken(&throttle, &"a", 100, at(600)), 60, "never more than a minute's worth");
        let slow = Throttle::default();
        slow.take(&"a", 2, at(0)).unwrap();
        slow.take(&"a", 2, at(0)).unwrap();
        assert_eq!(slow.take(&"a", 2, at(0)), Err(Throttled { retry_after: 30 }));
        assert_eq!(slow.take(&"a", 2, at(30)), Ok(()));
    }

    // LIM-3, LIM-6
    #[test]
    fn whoever_spends_a_thousand_budgets_leaves_the_others_theirs_and_wins_back_none() {
        let throttle = Throttle::default();
        assert_eq!(taken(&throttle, &"first", 60, at(0)), 60);
        for caller in 0..1_000 {
            taken(&throttle, &("flood", caller), 100, at(0));
        }
        assert_eq!(taken(&throttle, &"first", 1, at(0)), 0, "its budget is still spent");
        let refused = (0..1_000).filter(|honest| throttle.take(&("honest", honest), 60, at(0)).is_err()).count();
        assert!(refused <= 5, "{refused} of a thousand share all slots with the flood");
        assert_eq!(throttle.full_at.lock().unwrap().len(), SLOTS);
    }

    #[test]
    fn a_clock_that_is_set_back_refuses_nobody() {
        let throttle = Throttle::default();
        assert_eq!(taken(&throttle, &"a", 60, at(0)), 60);
        assert_eq!(taken(&throttle, &"a", 100, at(-3600)), 60);
    }

    // LIM-6
    #[test]
    fn an_ipv6_caller_is_its_network() {
        let caller = |text: &str| Caller::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(caller("2001:db8:1:2::1"), caller("2001:db8:1:2:ffff::9"));
        assert_ne!(caller("2001:db8:1:2::1"), caller("2001:db8:1:3::1"));
        assert_eq!(caller("::ffff:192.0.2.1"), caller("192.0.2.1"));
        assert_ne!(caller("192.0.2.1"), caller("192.0.2.2"));
    }
}

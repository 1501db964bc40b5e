//! How many of something there were for each key in the time just past, in memory of a fixed size (LIM-2, LIM-6).
//!
//! A sliding window is made of two counters: of the present stretch of time and of the one before, of which that part
//! counts which the window still covers. Like the buckets of [`super::throttle`], the counters are a sketch and not a
//! map: nothing is evicted, and nobody wins a budget back by bringing many keys.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

use super::throttle::Throttled;
use super::time::UnixTime;

/// Slots of one key. It is refused only when all are full.
const WAYS: usize = 4;
/// Slots in all: three quarters of a mebibyte.
const SLOTS: usize = 1 << 16;

/// One limit, for any number of keys.
pub struct SlidingWindow {
    allowed: u64,
    /// Seconds.
    length: i64,
    slots: Mutex<Box<[Slot]>>,
    hasher: RandomState,
}

/// What was counted lately.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Number of the present stretch, from 1970 on.
    stretch: u32,
    present: u32,
    before: u32,
}

impl SlidingWindow {
    /// `allowed` in any `length` seconds for each key; 0 counts as 1.
    #[must_use]
    pub fn new(allowed: u32, length: u32) -> Self {
        Self::with_slots(allowed, length, SLOTS)
    }

    /// The same where there is only one key.
    #[must_use]
    pub fn of_one(allowed: u32, length: u32) -> Self {
        Self::with_slots(allowed, length, 1)
    }

    fn with_slots(allowed: u32, length: u32, slots: usize) -> Self {
        Self {
            allowed: u64::from(allowed.max(1)),
            length: i64::from(length.max(1)),
            slots: Mutex::new(vec![Slot::default(); slots].into_boxed_slice()),
            hasher: RandomState::new(),
        }
    }

    /// Counts one for `key`. A refusal counts nothing, so whoever goes on asking is let in as early as whoever waits.
    ///
    /// # Errors
    /// [`Throttled`] when the window is full.
    pub fn take(&self, key: &impl Hash, now: UnixTime) -> Result<(), Throttled> {
        let stretch = u32::try_from(now.0.div_euclid(self.length)).unwrap_or_default();
        let elapsed = now.0.rem_euclid(self.length).unsigned_abs();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let places = self.places(key, slots.len());
        let current = places.map(|place| slots[place].moved_to(stretch));
        let counted = |slot: &Slot| (u64::from(slot.present), u64::from(slot.before));
        let least = current.iter().min_by_key(|slot| self.weight(counted(slot), elapsed)).copied().unwrap_or_default();
        let (present, before) = counted(&least);
        if self.weight((present + 1, before), elapsed) > self.allowed * self.length.unsigned_abs() {
            return Err(Throttled { retry_after: self.wait(present, before, elapsed) });
        }
        for (place, slot) in places.into_iter().zip(current) {
            // Only what is less than the new count grows: the others are other keys' already.
            let present = slot.present.max(least.present.saturating_add(1));
            slots[place] = Slot { present, ..slot };
        }
        Ok(())
    }

    /// What counts of both stretches, times the length of the window.
    fn weight(&self, (present, before): (u64, u64), elapsed: u64) -> u64 {
        let length = self.length.unsigned_abs();
        present * length + before * (length - elapsed)
    }

    /// Seconds until one more is allowed.
    fn wait(&self, present: u64, before: u64, elapsed: u64) -> i64 {
        let length = self.length.unsigned_abs();
        // How far into a stretch one must be for what came `before` to leave room beside `present`.
        let room_at = |present: u64, before: u64| {
            let left = self.allowed.checked_sub(present + 1)?;
            (left * length).checked_div(before).map_or(Some(0), |covered| Some(length.saturating_sub(covered)))
        };
        let until = match room_at(present, before) {
            Some(at) => at.saturating_sub(elapsed),
            None => length - elapsed + room_at(0, present).unwrap_or(length),
        };
        i64::try_from(until.max(1)).unwrap_or(i64::MAX)
    }

    fn places(&self, key: &impl Hash, slots: usize) -> [usize; WAYS] {
        let hash = self.hasher.hash_one(key);
        std::array::from_fn(|way| usize::try_from((hash >> (16 * way)) & 0xffff).unwrap_or_default() % slots)
    }
}

impl Slot {
    /// What it says once it is `stretch`. What was written before the clock was set back no longer counts.
    fn moved_to(self, stretch: u32) -> Self {
        match stretch.checked_sub(self.stretch) {
            Some(0) => self,
            Some(1) => Self { stretch, present: 0, before: self.present },
            _ => Self { stretch, present: 0, before: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of a stretch of a minute.
    const START: i64 = 1_800_000_000;

    fn at(seconds: i64) -> UnixTime {
        UnixTime(START + seconds)
    }

    fn taken(window: &SlidingWindow, key: &impl Hash, tries: usize, now: UnixTime) -> usize {
        (0..tries).filter(|_| window.take(key, now).is_ok()).count()
    }

    // LIM-2
    #[test]
    fn so_many_are_allowed_and_they_come_back_as_the_window_slides() {
        let window = SlidingWindow::new(60, 60);
        assert_eq!(taken(&window, &"a", 100, at(0)), 60);
        assert_eq!(window.take(&"a", at(0)), Err(Throttled { retry_after: 61 }));
        assert_eq!(taken(&window, &"a", 100, at(59)), 0);
        assert_eq!(taken(&window, &"b", 100, at(59)), 60, "others have windows of their own");
        assert_eq!(taken(&window, &"a", 100, at(60)), 0, "a minute ago there were sixty");
        assert_eq!(taken(&window, &"a", 100, at(75)), 15);
        assert_eq!(taken(&window, &"a", 100, at(75)), 0);
        assert_eq!(taken(&window, &"a", 100, at(600)), 60);
    }

    // LIM-2
    #[test]
    fn whoever_waits_as_long_as_told_is_let_in_and_a_second_earlier_nobody_is() {
        for (allowed, length) in [(1, 1), (1, 60), (2, 60), (3, 7), (10, 30), (1000, 3600), (7, 86_400)] {
            for begun in [0, 1, 3, i64::from(length) / 2, i64::from(length) - 1] {
                let window = SlidingWindow::of_one(allowed, length);
                let start = at(begun - START % i64::from(length));
                let half = usize::try_from(allowed / 2).unwrap();
                taken(&window, &(), half, UnixTime(start.0 - i64::from(length) / 2));
                taken(&window, &(), 2000, start);
                let wait = window.take(&(), start).unwrap_err().retry_after;
                let early = UnixTime(start.0 + wait - 1);
                assert!(window.take(&(), early).is_err(), "{allowed} in {length} at {begun}: early");
                let told = UnixTime(start.0 + wait);
                assert!(window.take(&(), told).is_ok(), "{allowed} in {length} at {begun}: {wait}");
            }
        }
    }

    // LIM-6
    #[test]
    fn a_thousand_spent_windows_leave_the_others_theirs_and_no_slot_is_added() {
        let window = SlidingWindow::new(10, 60);
        assert_eq!(taken(&window, &"first", 10, at(0)), 10);
        for caller in 0..1_000 {
            taken(&window, &("flood", caller), 20, at(0));
        }
        assert_eq!(taken(&window, &"first", 1, at(0)), 0, "its window is still full");
        let refused = (0..1_000).filter(|honest| window.take(&("honest", honest), at(0)).is_err()).count();
        assert!(refused <= 5, "{refused} of a thousand share all slots with the flood");
        assert_eq!(window.slots.lock().unwrap().len(), SLOTS);
    }

    #[test]
    fn a_clock_that_is_set_back_refuses_nobody() {
        let window = SlidingWindow::new(10, 60);
        assert_eq!(taken(&window, &"a", 10, at(0)), 10);
        assert_eq!(taken(&window, &"a", 20, at(-3600)), 10);
    }
}

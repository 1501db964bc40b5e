//! How many of something may be open at once: so many in all, and a share of them for each holder (LIM-4, LIM-5).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// All places are taken.
    InAll,
    /// The holder has its share.
    OfHolder,
}

/// The places. Memory goes with what is open, and so is bounded by it.
pub struct Places<K: Hash + Eq> {
    limit: usize,
    taken: Mutex<Taken<K>>,
}

struct Taken<K> {
    in_all: usize,
    by_holder: HashMap<K, usize>,
}

/// One place, free again when dropped.
pub struct Place<K: Hash + Eq> {
    places: Arc<Places<K>>,
    holder: Option<K>,
}

impl<K: Hash + Eq + Clone> Places<K> {
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, taken: Mutex::new(Taken { in_all: 0, by_holder: HashMap::new() }) })
    }

    /// What one address may hold when nothing better tells callers apart: a quarter, one at least.
    #[must_use]
    pub fn quarter(&self) -> usize {
        (self.limit / 4).max(1)
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).in_all
    }

    /// Takes a place, for a holder that may have `share` of them.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub fn take(self: &Arc<Self>, holder: Option<(K, usize)>) -> Result<Place<K>, NoPlace> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.in_all >= self.limit {
            return Err(NoPlace::InAll);
        }
        let holder = match holder {
            None => None,
            Some((holder, share)) => {
                let held = taken.by_holder.get(&holder).copied().unwrap_or(0);
                if held >= share {
                    return Err(NoPlace::OfHolder);
                }
                taken.by_holder.insert(holder.clone(), held + 1);
                Some(holder)
            }
        };
        taken.in_all += 1;
        Ok(Place { places: Arc::clone(self), holder })
    }
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.in_all -= 1;
        let Some(holder) = &self.holder else { return };
        match taken.by_holder.get_mut(holder) {
            Some(held) if *held > 1 => *held -= 1,
            _ => {
                taken.by_holder.remove(holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // LIM-4, LIM-5, LIM-6
    #[test]
    fn places_are_bounded_in_all_and_by_holder_and_come_back() {
        let places = Places::new(5);
        let mut mine: Vec<_> = (0..3).map(|_| places.take(Some(("a", 3))).unwrap()).collect();
        assert_eq!(places.take(Some(("a", 3))).err(), Some(NoPlace::OfHolder));
        let other = places.take(Some(("b", 3))).unwrap();
        let nobody = places.take(None).unwrap();
        assert_eq!(places.take(Some(("c", 3))).err(), Some(NoPlace::InAll));
        mine.pop();
        mine.push(places.take(Some(("a", 3))).unwrap());
        drop((mine, other, nobody));
        let taken = places.taken.lock().unwrap();
        assert_eq!((taken.in_all, taken.by_holder.len()), (0, 0), "nothing is kept of who left");
    }
}

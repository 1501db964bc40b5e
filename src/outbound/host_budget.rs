//! How often strangers can make us call a host (CIMD-13).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::domain::UnixTime;

/// Hosts that can be called in one minute, all together: many names under one domain are no way around.
const MOST_HOSTS: usize = 2_000;

/// Counts fetches per host and minute of the clock.
#[derive(Debug)]
pub(super) struct HostBudget {
    per_minute: u32,
    spent: Mutex<Minute>,
}

#[derive(Debug, Default)]
struct Minute {
    number: i64,
    fetches: HashMap<String, u32>,
}

impl HostBudget {
    pub(super) fn new(per_minute: u32) -> Self {
        Self { per_minute, spent: Mutex::default() }
    }

    /// Takes one fetch of `host` out of the present minute's budget; false when nothing is left.
    pub(super) fn take(&self, host: &str, now: UnixTime) -> bool {
        let mut minute = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now.0.div_euclid(60);
        if minute.number != number {
            *minute = Minute { number, fetches: HashMap::new() };
        }
        if minute.fetches.len() >= MOST_HOSTS && !minute.fetches.contains_key(host) {
            return false;
        }
        let spent = minute.fetches.entry(host.to_owned()).or_default();
        *spent = spent.saturating_add(1);
        *spent <= self.per_minute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_called_no_more_than_its_budget_per_minute_cimd_13() {
        let budget = HostBudget::new(2);
        let taken: Vec<bool> = (0..3).map(|_| budget.take("a.example", UnixTime(120))).collect();
        assert_eq!(taken, [true, true, false]);
        assert!(budget.take("b.example", UnixTime(120)), "another host has its own budget");
        assert!(budget.take("a.example", UnixTime(180)), "the next minute starts anew");
    }

    #[test]
    fn many_names_are_no_way_around_the_budget_cimd_13() {
        let budget = HostBudget::new(30);
        let taken = (0..3_000).filter(|n| budget.take(&format!("{n}.example"), UnixTime(0))).count();
        assert_eq!(taken, MOST_HOSTS);
    }
}

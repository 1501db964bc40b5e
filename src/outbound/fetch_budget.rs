//! How often strangers can make us call a host (CIMD-13).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use url::Url;

use crate::domain::{Caller, Throttle, Throttled, UnixTime};

/// Fetches from one host for documents never seen before, and as many again to renew known ones: whoever makes up
/// names on a client's host keeps nobody from renewing the client's own document.
const PER_HOST: u32 = 30;
/// The share of a host's fetches that one asker may cause.
const PER_HOST_AND_ASKER: u32 = 10;
/// Hosts that can be called in one minute, all together: many names under one domain are no way around.
const MOST_HOSTS: usize = 2_000;

/// Why a fetch must wait. `Display` is the cause on the error page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Overspent {
    #[error("its host was asked too often in the last minute")]
    Host,
    #[error(transparent)]
    Asker(Throttled),
}

/// Counts fetches per asker, and per host and minute of the clock.
pub(super) struct FetchBudget {
    /// Documents never seen before that one asker may have fetched in a minute.
    per_asker: Option<u32>,
    askers: Throttle,
    unseen: Mutex<Minute>,
    known: Mutex<Minute>,
}

#[derive(Debug, Default)]
struct Minute {
    number: i64,
    fetches: HashMap<String, u32>,
}

impl FetchBudget {
    pub(super) fn new(per_asker: Option<u32>) -> Self {
        Self { per_asker, askers: Throttle::default(), unseen: Mutex::default(), known: Mutex::default() }
    }

    /// Takes one fetch of `url`. What is `known` is renewed at nobody's expense but its host's.
    pub(super) fn take(&self, url: &Url, known: bool, asker: Option<IpAddr>, now: UnixTime) -> Result<(), Overspent> {
        let host = url.host_str().unwrap_or_default();
        if known {
            return take_of_host(&self.known, host, now);
        }
        if let (Some(asker), Some(per_minute)) = (asker.map(Caller::from), self.per_asker) {
            let of_host = self.askers.take(&(asker, host), PER_HOST_AND_ASKER.min(per_minute), now);
            of_host.and_then(|()| self.askers.take(&asker, per_minute, now)).map_err(Overspent::Asker)?;
        }
        take_of_host(&self.unseen, host, now)
    }
}

fn take_of_host(spent: &Mutex<Minute>, host: &str, now: UnixTime) -> Result<(), Overspent> {
    let mut minute = spent.lock().unwrap_or_else(PoisonError::into_inner);
    let number = now.0.div_euclid(60);
    if minute.number != number {
        *minute = Minute { number, fetches: HashMap::new() };
    }
    if minute.fetches.len() >= MOST_HOSTS && !minute.fetches.contains_key(host) {
        return Err(Overspent::Host);
    }
    let fetches = minute.fetches.entry(host.to_owned()).or_default();
    *fetches = fetches.saturating_add(1);
    if *fetches <= PER_HOST { Ok(()) } else { Err(Overspent::Host) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str) -> Url {
        Url::parse(&format!("https://{host}/client.json")).unwrap()
    }

    fn asker(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    // CIMD-13
    #[test]
    fn a_host_is_called_no_more_than_its_budget_per_minute() {
        let budget = FetchBudget::new(None);
        let taken =
            (0..40).filter(|_| budget.take(&url("a.example"), false, Some(asker(1)), UnixTime(120)).is_ok()).count();
        assert_eq!(taken, 30);
        assert_eq!(budget.take(&url("b.example"), false, None, UnixTime(120)), Ok(()), "another host has its own");
        assert_eq!(budget.take(&url("a.example"), false, None, UnixTime(180)), Ok(()), "the next minute starts anew");
    }

    // CIMD-13
    #[test]
    fn many_names_are_no_way_around_the_budget() {
        let budget = FetchBudget::new(None);
        let names = (0..3_000).map(|number| url(&format!("{number}.example")));
        assert_eq!(names.filter(|url| budget.take(url, false, None, UnixTime(0)).is_ok()).count(), MOST_HOSTS);
    }

    // CIMD-13, LIM-6
    #[test]
    fn one_asker_uses_up_neither_a_host_nor_the_hosts() {
        let budget = FetchBudget::new(Some(60));
        let claude = url("claude.example");
        let taken = (0..100).filter(|_| budget.take(&claude, false, Some(asker(1)), UnixTime(0)).is_ok()).count();
        assert_eq!(taken, 10);
        let names = (0..3_000).map(|number| url(&format!("{number}.example")));
        let taken = names.filter(|url| budget.take(url, false, Some(asker(1)), UnixTime(0)).is_ok()).count();
        assert_eq!(taken, 50, "sixty with the ten before");
        assert!(matches!(budget.take(&url("z.example"), false, Some(asker(1)), UnixTime(0)), Err(Overspent::Asker(_))));
        assert_eq!(budget.take(&claude, false, Some(asker(2)), UnixTime(0)), Ok(()));
    }

    // CIMD-13, CIMD-7
    #[test]
    fn made_up_names_on_a_host_keep_nobody_from_renewing_a_known_document() {
        let budget = FetchBudget::new(Some(60));
        let host = url("claude.example");
        for last in 0..10 {
            while budget.take(&host, false, Some(asker(last)), UnixTime(0)).is_ok() {}
        }
        assert_eq!(budget.take(&host, false, Some(asker(99)), UnixTime(0)), Err(Overspent::Host));
        assert_eq!(budget.take(&host, true, Some(asker(1)), UnixTime(0)), Ok(()));
    }
}

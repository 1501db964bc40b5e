//! Names to addresses, checked on the way (CIMD-3).
//!
//! The connector dials what this resolver returns and resolves nothing itself, so there is no moment between
//! check and use in which a name could come to mean something else (DNS rebinding).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

use super::special_use::{SpecialUse, special_use};

/// Which special-use addresses may be dialled all the same.
#[derive(Debug)]
pub(super) struct Guard {
    /// `--cimd-allow HOST[=CIDR]`; `None` stands for every network.
    hosts: Vec<(String, Option<IpNet>)>,
    /// `--upstream-allow CIDR`, whatever the host is called.
    networks: Vec<IpNet>,
    allow_loopback: bool,
}

impl Guard {
    pub(super) fn of_documents(hosts: &[(String, Option<IpNet>)], allow_loopback: bool) -> Self {
        let hosts = hosts.iter().map(|(host, net)| (canonical(host), *net)).collect();
        Self { hosts, networks: Vec::new(), allow_loopback }
    }

    pub(super) fn of_upstreams(networks: &[IpNet], allow_loopback: bool) -> Self {
        Self { hosts: Vec::new(), networks: networks.to_vec(), allow_loopback }
    }

    /// Whether http is good enough for `host`: it does not leave the machine, and may be dialled.
    pub(super) fn allows_plain(&self, host: &Host<&str>) -> bool {
        let loopback: &[IpAddr] = match host {
            Host::Domain(name) if canonical(name) == "localhost" => {
                &[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            }
            Host::Ipv4(address) if address.is_loopback() => &[(*address).into()],
            Host::Ipv6(address) if address.is_loopback() => &[(*address).into()],
            _ => return false,
        };
        self.allow_loopback || loopback.iter().any(|address| self.opens_network(*address))
    }

    fn opens_network(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|net| net.contains(&address))
    }

    /// Whether `host`, which stands for `address`, may be dialled.
    pub(super) fn check(&self, host: &str, address: IpAddr) -> Result<(), SpecialUse> {
        let Some(class) = special_use(address) else { return Ok(()) };
        if self.allow_loopback && class == SpecialUse::Loopback {
            return Ok(());
        }
        let host = canonical(host);
        let opened =
            self.hosts.iter().any(|(allowed, net)| *allowed == host && net.is_none_or(|net| net.contains(&address)));
        if opened || self.opens_network(address) { Ok(()) } else { Err(class) }
    }
}

/// Why a name gave no address to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ResolveFailure {
    #[error("the host has no address that may be used: it is {0}")]
    Blocked(SpecialUse),
    #[error("the host name does not resolve")]
    NotFound,
}

/// `--outbound-resolve`, else the system's resolver; with a guard, only addresses that pass it.
pub(super) struct Resolver {
    pub(super) fixed: Arc<HashMap<String, SocketAddr>>,
    pub(super) guard: Option<Arc<Guard>>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = canonical(name.as_str());
        let fixed = self.fixed.get(&host).copied();
        let guard = self.guard.clone();
        Box::pin(async move {
            let addresses = match fixed {
                Some(address) => vec![address],
                None => look_up(&host).await?,
            };
            Ok(Box::new(usable(&host, addresses, guard.as_deref())?.into_iter()) as Addrs)
        })
    }
}

async fn look_up(host: &str) -> Result<Vec<SocketAddr>, ResolveFailure> {
    // Port 0 lets the connector put in the URL's.
    let found = tokio::net::lookup_host((host, 0)).await.map_err(|_| ResolveFailure::NotFound)?;
    Ok(found.collect())
}

/// The addresses that pass; when none does, the class of the first that did not.
fn usable(host: &str, addresses: Vec<SocketAddr>, guard: Option<&Guard>) -> Result<Vec<SocketAddr>, ResolveFailure> {
    let mut blocked = None;
    let mut usable = Vec::with_capacity(addresses.len());
    for address in addresses {
        match guard.map_or(Ok(()), |guard| guard.check(host, address.ip())) {
            Ok(()) => usable.push(address),
            Err(class) => blocked = blocked.or(Some(class)),
        }
    }
    match (usable.is_empty(), blocked) {
        (false, _) => Ok(usable),
        (true, Some(class)) => Err(ResolveFailure::Blocked(class)),
        (true, None) => Err(ResolveFailure::NotFound),
    }
}

/// Lower case, without the root dot and without the brackets of an IPv6 literal.
pub(super) fn canonical(host: &str) -> String {
    host.trim_end_matches('.').trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard::of_documents(
            &[("inner.example".into(), Some("10.1.0.0/16".parse().unwrap())), ("Any.Example.".into(), None)],
            false,
        )
    }

    #[test]
    fn an_allowed_host_opens_its_own_network_only() {
        let guard = guard();
        assert!(guard.check("inner.example", "10.1.2.3".parse().unwrap()).is_ok());
        assert_eq!(guard.check("inner.example", "10.2.2.3".parse().unwrap()), Err(SpecialUse::Private));
        assert_eq!(guard.check("other.example", "10.1.2.3".parse().unwrap()), Err(SpecialUse::Private));
        assert!(guard.check("any.example", "169.254.169.254".parse().unwrap()).is_ok());
        assert_eq!(guard.check("any.example.evil", "127.0.0.1".parse().unwrap()), Err(SpecialUse::Loopback));
    }

    #[test]
    fn loopback_in_development_opens_nothing_else() {
        let guard = Guard::of_documents(&[], true);
        assert!(guard.check("localhost", "127.0.0.1".parse().unwrap()).is_ok());
        assert!(guard.check("localhost", "::1".parse().unwrap()).is_ok());
        assert_eq!(guard.check("localhost", "0.0.0.0".parse().unwrap()), Err(SpecialUse::Unspecified));
        assert_eq!(guard.check("localhost", "192.168.1.1".parse().unwrap()), Err(SpecialUse::Private));
    }

    #[test]
    fn networks_opened_for_upstreams_are_open_under_any_name_and_no_others() {
        let guard = Guard::of_upstreams(&["10.1.0.0/16".parse().unwrap(), "127.0.0.2/32".parse().unwrap()], false);
        assert!(guard.check("inner.example", "10.1.2.3".parse().unwrap()).is_ok());
        assert!(guard.check("other.example", "127.0.0.2".parse().unwrap()).is_ok());
        for (address, class) in [
            ("10.2.0.1", SpecialUse::Private),
            ("127.0.0.1", SpecialUse::Loopback),
            ("169.254.169.254", SpecialUse::LinkLocal),
            ("::ffff:10.1.2.3", SpecialUse::MappedIpv4),
        ] {
            assert_eq!(guard.check("inner.example", address.parse().unwrap()), Err(class), "{address}");
        }
        assert!(guard.allows_plain(&Host::Ipv4("127.0.0.2".parse().unwrap())));
        assert!(!guard.allows_plain(&Host::Ipv4("10.1.2.3".parse().unwrap())));
        assert!(!guard.allows_plain(&Host::Domain("localhost")));
    }

    #[test]
    fn of_a_mixed_answer_only_the_public_addresses_are_dialled() {
        let mixed = vec!["127.0.0.1:0".parse().unwrap(), "93.184.216.34:0".parse().unwrap()];
        let usable = usable("a.example", mixed, Some(&guard())).unwrap();
        assert_eq!(usable, ["93.184.216.34:0".parse().unwrap()]);
    }
}

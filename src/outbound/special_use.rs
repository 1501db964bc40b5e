//! Addresses that a stranger's URL may not lead to: the special-use registries of RFC 6890 and what joined
//! them since (CIMD-3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Why an address is not a public one. `Display` is for people (CIMD-10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecialUse {
    Unspecified,
    ThisNetwork,
    Loopback,
    Private,
    SharedCarrier,
    LinkLocal,
    UniqueLocal,
    SiteLocal,
    ProtocolAssignment,
    Documentation,
    Benchmarking,
    Multicast,
    Broadcast,
    Reserved,
    DiscardOnly,
    RelayAnycast,
    MappedIpv4,
    CompatibleIpv4,
    Nat64,
    SixToFour,
    Teredo,
    SegmentRouting,
}

impl fmt::Display for SpecialUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::ThisNetwork => "this-network (0.0.0.0/8)",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::SharedCarrier => "carrier-grade NAT (100.64.0.0/10)",
            Self::LinkLocal => "link-local",
            Self::UniqueLocal => "unique local (fc00::/7)",
            Self::SiteLocal => "site-local (fec0::/10)",
            Self::ProtocolAssignment => "protocol assignment",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Reserved => "reserved",
            Self::DiscardOnly => "discard-only (100::/64)",
            Self::RelayAnycast => "6to4 relay (192.88.99.0/24)",
            Self::MappedIpv4 => "IPv4-mapped",
            Self::CompatibleIpv4 => "IPv4-compatible",
            Self::Nat64 => "NAT64",
            Self::SixToFour => "6to4 (2002::/16)",
            Self::Teredo => "Teredo (2001::/32)",
            Self::SegmentRouting => "segment routing (5f00::/16)",
        })
    }
}

/// More specific networks stand before those that hold them.
const V4: &[(Ipv4Net, SpecialUse)] = &[
    (v4([255, 255, 255, 255], 32), SpecialUse::Broadcast),
    (v4([0, 0, 0, 0], 32), SpecialUse::Unspecified),
    (v4([0, 0, 0, 0], 8), SpecialUse::ThisNetwork),
    (v4([10, 0, 0, 0], 8), SpecialUse::Private),
    (v4([100, 64, 0, 0], 10), SpecialUse::SharedCarrier),
    (v4([127, 0, 0, 0], 8), SpecialUse::Loopback),
    (v4([169, 254, 0, 0], 16), SpecialUse::LinkLocal),
    (v4([172, 16, 0, 0], 12), SpecialUse::Private),
    (v4([192, 0, 0, 0], 24), SpecialUse::ProtocolAssignment),
    (v4([192, 0, 2, 0], 24), SpecialUse::Documentation),
    (v4([192, 31, 196, 0], 24), SpecialUse::ProtocolAssignment),
    (v4([192, 52, 193, 0], 24), SpecialUse::ProtocolAssignment),
    (v4([192, 88, 99, 0], 24), SpecialUse::RelayAnycast),
    (v4([192, 168, 0, 0], 16), SpecialUse::Private),
    (v4([192, 175, 48, 0], 24), SpecialUse::ProtocolAssignment),
    (v4([198, 18, 0, 0], 15), SpecialUse::Benchmarking),
    (v4([198, 51, 100, 0], 24), SpecialUse::Documentation),
    (v4([203, 0, 113, 0], 24), SpecialUse::Documentation),
    (v4([224, 0, 0, 0], 4), SpecialUse::Multicast),
    (v4([240, 0, 0, 0], 4), SpecialUse::Reserved),
];

const V6: &[(Ipv6Net, SpecialUse)] = &[
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), SpecialUse::Unspecified),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), SpecialUse::Loopback),
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), SpecialUse::MappedIpv4),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), SpecialUse::CompatibleIpv4),
    (v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96), SpecialUse::Nat64),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), SpecialUse::Nat64),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), SpecialUse::DiscardOnly),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), SpecialUse::Teredo),
    (v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48), SpecialUse::Benchmarking),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), SpecialUse::ProtocolAssignment),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), SpecialUse::Documentation),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), SpecialUse::SixToFour),
    (v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48), SpecialUse::ProtocolAssignment),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), SpecialUse::Documentation),
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), SpecialUse::SegmentRouting),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), SpecialUse::UniqueLocal),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), SpecialUse::LinkLocal),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), SpecialUse::SiteLocal),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), SpecialUse::Multicast),
];

/// Where IPv6 addresses of the public internet come from; whatever lies outside is not assigned to it.
const V6_GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(s: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), prefix)
}

/// The special use of `address`; `None` for an address of the public internet.
#[must_use]
pub fn special_use(address: IpAddr) -> Option<SpecialUse> {
    match address {
        IpAddr::V4(address) => V4.iter().find(|(net, _)| net.contains(&address)).map(|(_, class)| *class),
        IpAddr::V6(address) => V6
            .iter()
            .find(|(net, _)| net.contains(&address))
            .map(|(_, class)| *class)
            .or_else(|| (!V6_GLOBAL_UNICAST.contains(&address)).then_some(SpecialUse::Reserved)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_use_range_is_named_at_both_of_its_ends_cimd_3() {
        use SpecialUse::*;
        let table: &[(&str, SpecialUse)] = &[
            ("0.0.0.0", Unspecified),
            ("0.0.0.1", ThisNetwork),
            ("0.255.255.255", ThisNetwork),
            ("10.0.0.0", Private),
            ("10.255.255.255", Private),
            ("100.64.0.0", SharedCarrier),
            ("100.127.255.255", SharedCarrier),
            ("127.0.0.1", Loopback),
            ("127.255.255.255", Loopback),
            ("169.254.169.254", LinkLocal),
            ("172.16.0.0", Private),
            ("172.31.255.255", Private),
            ("192.0.0.1", ProtocolAssignment),
            ("192.0.2.1", Documentation),
            ("192.88.99.1", RelayAnycast),
            ("192.168.0.0", Private),
            ("192.168.255.255", Private),
            ("198.18.0.0", Benchmarking),
            ("198.19.255.255", Benchmarking),
            ("198.51.100.7", Documentation),
            ("203.0.113.7", Documentation),
            ("224.0.0.1", Multicast),
            ("239.255.255.255", Multicast),
            ("240.0.0.1", Reserved),
            ("255.255.255.254", Reserved),
            ("255.255.255.255", Broadcast),
            ("::", Unspecified),
            ("::1", Loopback),
            ("::7f00:1", CompatibleIpv4),
            ("::ffff:127.0.0.1", MappedIpv4),
            ("::ffff:8.8.8.8", MappedIpv4),
            ("64:ff9b::7f00:1", Nat64),
            ("64:ff9b::808:808", Nat64),
            ("64:ff9b:1::1", Nat64),
            ("64:ff9b:1:ffff:ffff:ffff:ffff:ffff", Nat64),
            ("100::1", DiscardOnly),
            ("2001::1", Teredo),
            ("2001:2::1", Benchmarking),
            ("2001:10::1", ProtocolAssignment),
            ("2001:1ff:ffff::", ProtocolAssignment),
            ("2001:db8::1", Documentation),
            ("2002:7f00:1::", SixToFour),
            ("3fff::1", Documentation),
            ("5f00::1", SegmentRouting),
            ("fc00::1", UniqueLocal),
            ("fdff:ffff::1", UniqueLocal),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("fec0::1", SiteLocal),
            ("ff02::1", Multicast),
            ("4000::1", Reserved),
            ("1000::1", Reserved),
        ];
        for (text, class) in table {
            assert_eq!(special_use(text.parse().unwrap()), Some(*class), "{text}");
        }
    }

    #[test]
    fn addresses_next_to_the_ranges_are_public_cimd_3() {
        for text in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00::1",
        ] {
            assert_eq!(special_use(text.parse().unwrap()), None, "{text}");
        }
    }
}

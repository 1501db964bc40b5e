//! `audit-log-inbound`: what the audit trail says of each call of a route (gateway.md §3, §11).

use super::raw;

#[derive(Debug, Clone, PartialEq)]
pub struct AuditLog {
    /// From 0 to 1.
    pub sampling_rate: f64,
    /// Records subject, client and grant.
    pub user: bool,
    /// Records the caller's address.
    pub address: bool,
}

pub(super) fn resolve(raw: &raw::AuditLog) -> AuditLog {
    AuditLog { sampling_rate: raw.sampling_rate, user: raw.include.user, address: raw.include.ip_address }
}

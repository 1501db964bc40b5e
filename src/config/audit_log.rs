//! `audit-log-inbound`: what the audit trail says of each call of a route (gateway.md §3, §11).

use super::diagnostic::Problems;
use super::document::Node;
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

/// `node` holds the options.
pub(super) fn resolve(raw: &raw::AuditLog, node: &Node, problems: &mut Problems) -> AuditLog {
    if raw.metadata.is_some() {
        problems
            .add(
                "unsupported",
                node.find(&["metadata"]).place,
                "functions of a project cannot run in doorward, so none adds to the records",
            )
            .help("take `metadata` out");
    }
    AuditLog {
        sampling_rate: raw.sampling_rate,
        user: raw.include.user && raw.log_user,
        address: raw.include.ip_address && raw.log_ip_address,
    }
}

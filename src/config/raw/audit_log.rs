//! Options of `audit-log-inbound` as they are written (gateway.md §3, §11).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of `audit-log-inbound`: a record in the audit trail for each call.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct AuditLog {
    /// Which part of the calls is recorded: 1 for all.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sampling_rate: f64,
    pub include: AuditInclude,
    /// Of no effect: records have a form of their own.
    pub event_type_base: Option<String>,
    /// Of no effect: records are in the gateway's own store.
    pub bucket_id: Option<String>,
}

impl Default for AuditLog {
    fn default() -> Self {
        Self { sampling_rate: 1.0, include: AuditInclude::default(), event_type_base: None, bucket_id: None }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct AuditInclude {
    /// Who called, by which client and grant.
    pub user: bool,
    /// The caller's address.
    pub ip_address: bool,
    /// Of no effect: queries are never recorded.
    pub query_params: bool,
    /// Of no effect: nobody is located.
    pub geolocation: bool,
}

impl Default for AuditInclude {
    fn default() -> Self {
        Self { user: true, ip_address: true, query_params: true, geolocation: true }
    }
}

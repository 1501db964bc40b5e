//! Options of `audit-log-inbound` as they are written (gateway.md §3, §11).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Options of `audit-log-inbound`: a record in the audit trail for each call.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct AuditLog {
    /// Which part of the calls is recorded: 1 for all.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sampling_rate: f64,
    pub include: AuditInclude,
    /// Of no effect: records have a form of their own.
    pub event_type_base: Option<String>,
    /// Of no effect: records are in the gateway's own store.
    pub bucket_id: Option<String>,
    /// The older word for `include.user`; nobody is recorded when either says so.
    pub log_user: bool,
    /// The older word for `include.ipAddress`; no address is recorded when either says so.
    pub log_ip_address: bool,
    /// Of no effect: nobody is located.
    pub log_geolocation: bool,
    /// Of no effect: queries are never recorded.
    pub log_query_parameters: bool,
    /// Of no effect: routes have no parameters.
    pub log_route_parameters: bool,
    /// Of no effect: the trail is one.
    pub tenant: Option<String>,
    /// Of no effect, as `tenant`.
    pub tenant_key: Option<String>,
    /// A function of a project, which doorward does not run: refused.
    pub metadata: Option<BTreeMap<String, Value>>,
}

impl Default for AuditLog {
    fn default() -> Self {
        Self {
            sampling_rate: 1.0,
            include: AuditInclude::default(),
            event_type_base: None,
            bucket_id: None,
            log_user: true,
            log_ip_address: true,
            log_geolocation: true,
            log_query_parameters: true,
            log_route_parameters: true,
            tenant: None,
            tenant_key: None,
            metadata: None,
        }
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

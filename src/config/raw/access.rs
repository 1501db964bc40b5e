//! Options of `mcp-access-inbound` as they are written (gateway.md §9).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of `mcp-access-inbound`: who may use a route. Every list that is given must match; a list matches when
/// the person has one of its entries.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Access {
    /// Ids of organisations, as the provider gives them, such as `org_01H…`.
    #[schemars(length(min = 1))]
    pub organizations: Option<Vec<String>>,
    #[schemars(length(min = 1))]
    pub roles: Option<Vec<String>>,
    #[schemars(length(min = 1))]
    pub permissions: Option<Vec<String>>,
    #[schemars(length(min = 1))]
    pub groups: Option<Vec<String>>,
    /// Whole addresses, without regard to case.
    #[schemars(length(min = 1))]
    pub emails: Option<Vec<String>>,
    /// What stands behind the `@`, such as `example.com`; subdomains are domains of their own.
    #[schemars(length(min = 1))]
    pub email_domains: Option<Vec<String>>,
    /// Whether the address must be verified. Left out: where `emails` or `emailDomains` is given.
    pub email_verified: Option<bool>,
    /// Ids of clients: of `gateway.clients`, the URL of a metadata document, or `dcr_…`.
    #[schemars(length(min = 1))]
    pub clients: Option<Vec<String>>,
}

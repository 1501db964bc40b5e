//! The option `idJag` as it is written (gateway.md §3, EXT-2).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Clients that bring an identity assertion (ID-JAG) of a trusted provider, and need no browser.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct IdJag {
    pub enabled: bool,
    /// Providers whose assertions count. What one of them says of a person is believed.
    pub trusted_issuers: Vec<TrustedIssuer>,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["issuer"]))]
pub struct TrustedIssuer {
    /// Spelt as in the assertions' `iss`.
    pub issuer: Option<String>,
    /// The issuer's public keys. Left out: discovered from the issuer.
    pub jwks_url: Option<String>,
    /// `client_id` of the assertions that count; any when empty.
    pub expected_client_ids: Vec<String>,
    /// What names a person: `iss` and `sub`; with `iss_tenant_prefix` also `tenant` (or `tid`), for an issuer with several
    /// tenants; with `sub_id_only` the `sub` under which the person signs in with a browser, for the login's own provider.
    pub subject_mapping: SubjectMapping,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectMapping {
    #[default]
    IssPrefix,
    IssTenantPrefix,
    SubIdOnly,
}

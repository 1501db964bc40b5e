//! Options of the policies about request headers as they are written (gateway.md §3).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of `set-headers-inbound`: headers that every request to the upstream carries.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["headers"]))]
pub struct SetHeaders {
    /// In this order.
    #[schemars(length(min = 1))]
    pub headers: Option<Vec<HeaderToSet>>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["name", "value"]))]
pub struct HeaderToSet {
    pub name: Option<String>,
    /// Visible ASCII. A secret is best written as `$env(NAME)`.
    pub value: Option<String>,
    /// Whether it replaces the header where a request has it already.
    pub overwrite: bool,
}

impl Default for HeaderToSet {
    fn default() -> Self {
        Self { name: None, value: None, overwrite: true }
    }
}

/// Options of `remove-headers-inbound`: headers that do not reach the upstream.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["headers"]))]
pub struct RemoveHeaders {
    /// Names, without regard to case.
    #[schemars(length(min = 1))]
    pub headers: Option<Vec<String>>,
}

/// Options of `set-upstream-api-key-inbound`: the credential that the upstream knows the gateway by.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["value"]))]
pub struct SetUpstreamApiKey {
    /// The whole value of the header, such as `Bearer $env(UPSTREAM_API_KEY)`.
    pub value: Option<String>,
    /// The header's name.
    pub header: String,
    /// Whether it replaces the header where a request has it already.
    pub overwrite: bool,
}

impl Default for SetUpstreamApiKey {
    fn default() -> Self {
        Self { value: None, header: "Authorization".to_owned(), overwrite: true }
    }
}

//! `config/*.oas.json` as it is written (gateway.md §2, §10).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `config/*.oas.json`: an `OpenAPI` 3.1 document whose path items are MCP routes. Members that `OpenAPI` defines
/// and the gateway has no use for are accepted and ignored, as are `x-…` members.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(title = "doorward: config/*.oas.json", extend("patternProperties" = {"^x-": true}))]
#[schemars(extend("required" = ["openapi", "paths"]))]
pub struct Routes {
    /// For editors: `./routes.schema.json`.
    #[serde(rename = "$schema")]
    pub schema: Option<String>,
    pub openapi: Option<String>,
    pub info: BTreeMap<String, Value>,
    /// Each key is the path of a route, such as `/mcp/linear`.
    pub paths: Option<BTreeMap<String, PathItem>>,
    pub servers: Vec<Value>,
    pub security: Vec<Value>,
    pub webhooks: BTreeMap<String, Value>,
    pub components: BTreeMap<String, Value>,
    pub tags: Vec<Value>,
    pub external_docs: BTreeMap<String, Value>,
    pub json_schema_dialect: Option<String>,
}

/// One MCP route, under exactly one of the method keys.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("patternProperties" = {"^x-": true}))]
pub struct PathItem {
    pub summary: Option<String>,
    pub description: Option<String>,
    pub post: Option<Operation>,
    pub get: Option<Operation>,
    #[serde(rename = "get,post")]
    pub get_post: Option<Operation>,
    #[serde(rename = "get,post,delete")]
    pub get_post_delete: Option<Operation>,
    pub servers: Vec<Value>,
    pub parameters: Vec<Value>,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("patternProperties" = {"^x-": true}))]
#[schemars(extend("required" = ["operationId"]))]
pub struct Operation {
    /// Unique in the project.
    pub operation_id: Option<String>,
    /// What people read on the consent page.
    pub summary: Option<String>,
    pub description: Option<String>,
    /// The route itself. `x-doorward-route` is the same key.
    #[serde(rename = "x-zuplo-route")]
    pub zuplo_route: Option<RouteSettings>,
    #[serde(rename = "x-doorward-route")]
    pub doorward_route: Option<RouteSettings>,
    pub tags: Vec<Value>,
    pub external_docs: BTreeMap<String, Value>,
    pub parameters: Vec<Value>,
    pub request_body: BTreeMap<String, Value>,
    pub responses: BTreeMap<String, Value>,
    pub callbacks: BTreeMap<String, Value>,
    pub security: Vec<Value>,
    pub servers: Vec<Value>,
    pub deprecated: bool,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["handler"]))]
pub struct RouteSettings {
    /// `none` (left out), `anything-goes`, or the name of one of `corsPolicies` in `policies.json`.
    pub cors_policy: Option<String>,
    pub handler: Option<RouteHandler>,
    pub policies: RoutePolicies,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RoutePolicies {
    /// Names of policies in `policies.json`.
    pub inbound: Vec<String>,
    /// Must be empty in this version.
    pub outbound: Vec<String>,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["export", "options"]))]
pub struct RouteHandler {
    /// `$import(@zuplo/runtime/mcp-gateway)`, `$import(@zuplo/runtime)`, or left out.
    pub module: Option<String>,
    #[schemars(extend("enum" = ["McpProxyHandler"]))]
    pub export: Option<String>,
    pub options: Option<McpProxy>,
}

/// Options of `McpProxyHandler`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["rewritePattern"]))]
pub struct McpProxy {
    /// The MCP endpoint behind this route: an http or https URL. `${env.NAME}` is replaced.
    pub rewrite_pattern: Option<String>,
    /// Where the endpoint runs, as `HOST` or `HOST:PORT`, if not at the host of `rewritePattern`. With several, a session
    /// stays where it began, and other calls go to the same one for the same person and client.
    pub addresses: Option<Vec<String>>,
    /// The certificate that the gateway shows the endpoint: the path of a PEM file, from the config folder on, with the
    /// certificate, its chain and the private key, or such PEM itself, written as `$env(NAME)`.
    pub mtls_certificate: Option<String>,
    /// Passes the query of a request on.
    pub forward_search: bool,
    /// Follows redirects of the upstream, on its own origin only.
    pub follow_redirects: bool,
    /// Serves without a login policy.
    pub public: bool,
    /// Scopes of `gateway.scopes` that every call of this route needs, beside `mcp:tools`.
    pub required_scopes: Vec<String>,
    /// How the upstream learns who calls.
    pub forward_identity: ForwardIdentity,
    #[schemars(range(min = 1, max = 120_000))]
    pub connect_timeout_ms: u64,
    #[schemars(range(min = 1, max = 3_600_000))]
    pub first_byte_timeout_ms: u64,
    /// Adds a comment to an event stream that is quiet for so long; 0 adds none.
    #[schemars(range(max = 3_600_000))]
    pub stream_keep_alive_ms: u64,
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub max_body_bytes: u64,
}

impl Default for McpProxy {
    fn default() -> Self {
        Self {
            rewrite_pattern: None,
            addresses: None,
            mtls_certificate: None,
            forward_search: true,
            follow_redirects: false,
            public: false,
            required_scopes: Vec::new(),
            forward_identity: ForwardIdentity::None,
            connect_timeout_ms: 5000,
            first_byte_timeout_ms: 300_000,
            stream_keep_alive_ms: 25_000,
            max_body_bytes: 4 * 1024 * 1024,
        }
    }
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ForwardIdentity {
    None,
    Headers,
    Assertion,
}

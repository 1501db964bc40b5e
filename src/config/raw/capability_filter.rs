//! `mcp-capability-filter-inbound` as it is written (gateway.md §9).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Options of `mcp-capability-filter-inbound`: which tools, prompts and resources a route shows, and to whom. A list
/// that is left out lets all pass; an empty one lets none.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct CapabilityFilter {
    pub tools: Option<Vec<ToolEntry>>,
    pub prompts: Option<Vec<PromptEntry>>,
    pub resources: Option<Vec<ResourceEntry>>,
    pub resource_templates: Option<Vec<ResourceTemplateEntry>>,
    pub access_control: AccessControl,
}

/// A name (`*` stands for any text, a leading `!` hides), or more about the tools of that name.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ToolEntry {
    Name(String),
    Tool(Box<Tool>),
}

/// The same of prompts.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PromptEntry {
    Name(String),
    Prompt(Box<Prompt>),
}

/// The same of resources, by their URI.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ResourceEntry {
    Uri(String),
    Resource(Box<Resource>),
}

/// The same of resource templates, by their URI template.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ResourceTemplateEntry {
    UriTemplate(String),
    ResourceTemplate(Box<ResourceTemplate>),
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["name"]))]
pub struct Tool {
    pub name: Option<String>,
    /// Shown instead of the server's.
    pub description: Option<String>,
    /// Merged into the server's.
    pub annotations: Option<BTreeMap<String, Value>>,
    /// Merged into the server's.
    #[serde(rename = "_meta")]
    pub meta: Option<BTreeMap<String, Value>>,
    /// For people with one of these roles; with `accessControl.mode` `rolesAndGroups`.
    #[schemars(length(min = 1))]
    pub roles: Option<Vec<String>>,
    #[schemars(length(min = 1))]
    pub groups: Option<Vec<String>>,
    #[schemars(length(min = 1))]
    pub permissions: Option<Vec<String>>,
    /// For everyone who may use the route; with `accessControl.mode` `rolesAndGroups`.
    pub public: bool,
    /// Only through these clients.
    #[schemars(length(min = 1))]
    pub clients: Option<Vec<String>>,
    /// Scopes of `gateway.scopes`, separated by blanks, that a call of it needs.
    pub scope: Option<String>,
    /// How many seconds ago the person may have signed in for a call of it.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub max_age: Option<u64>,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["name"]))]
pub struct Prompt {
    pub name: Option<String>,
    /// Shown instead of the server's.
    pub description: Option<String>,
    /// Merged into the server's.
    #[serde(rename = "_meta")]
    pub meta: Option<BTreeMap<String, Value>>,
    #[schemars(length(min = 1))]
    pub roles: Option<Vec<String>>,
    #[schemars(length(min = 1))]
    pub groups: Option<Vec<String>>,
    #[schemars(length(min = 1))]
    pub permissions: Option<Vec<String>>,
    pub public: bool,
    #[schemars(length(min = 1))]
    pub clients: Option<Vec<String>>,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["uri"]))]
pub struct Resource {
    pub uri: Option<String>,
    /// Shown instead of the server's.
    pub name: Option<String>,
    /// Shown instead of the server's.
    pub description: Option<String>,
    /// Shown instead of the server's.
    pub mime_type: Option<String>,
    /// Merged into the server's.
    pub annotations: Option<BTreeMap<String, Value>>,
    /// Merged into the server's.
    #[serde(rename = "_meta")]
    pub meta: Option<BTreeMap<String, Value>>,
    #[schemars(length(min = 1))]
    pub roles: Option<Vec<String>>,
    #[schemars(length(min = 1))]
    pub groups: Option<Vec<String>>,
    #[schemars(length(min = 1))]
    pub permissions: Option<Vec<String>>,
    pub public: bool,
    #[schemars(length(min = 1))]
    pub clients: Option<Vec<String>>,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["uriTemplate"]))]
pub struct ResourceTemplate {
    pub uri_template: Option<String>,
    /// Shown instead of the server's.
    pub name: Option<String>,
    /// Shown instead of the server's.
    pub description: Option<String>,
    /// Shown instead of the server's.
    pub mime_type: Option<String>,
    /// Merged into the server's.
    pub annotations: Option<BTreeMap<String, Value>>,
    /// Merged into the server's.
    #[serde(rename = "_meta")]
    pub meta: Option<BTreeMap<String, Value>>,
    #[schemars(length(min = 1))]
    pub roles: Option<Vec<String>>,
    #[schemars(length(min = 1))]
    pub groups: Option<Vec<String>>,
    #[schemars(length(min = 1))]
    pub permissions: Option<Vec<String>>,
    pub public: bool,
    #[schemars(length(min = 1))]
    pub clients: Option<Vec<String>>,
}

/// Whether what an entry shows depends on who asks.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct AccessControl {
    pub mode: AccessMode,
    /// Which list of the person `roles` is compared with: `roles` (left out), `groups`, `permissions`, `entitlements`, or
    /// the `roleClaim` of the login policy.
    pub role_claim: Option<String>,
    /// The same for `groups`.
    pub group_claim: Option<String>,
}

/// `allPublic`: everyone who may use the route sees the same. `rolesAndGroups`: an entry is for whoever has one of its
/// roles, groups or permissions; one that names none and is not `public` is for nobody.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AccessMode {
    #[default]
    AllPublic,
    RolesAndGroups,
}

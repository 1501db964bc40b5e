//! `mcp-capability-filter-inbound`: which tools, prompts and resources a route shows, and to whom (gateway.md §9).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value};

use super::diagnostic::Problems;
use super::document::Node;
use super::raw;
use crate::oauth::scope::ScopeSet;

/// The filter of a route. A list that is not given lets all pass.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CapabilityFilter {
    pub tools: Option<Vec<CapabilityEntry>>,
    pub prompts: Option<Vec<CapabilityEntry>>,
    pub resources: Option<Vec<CapabilityEntry>>,
    pub resource_templates: Option<Vec<CapabilityEntry>>,
    /// What `roles` of an entry are compared with.
    pub role_claim: HeldClaim,
    /// What `groups` of an entry are compared with.
    pub group_claim: HeldClaim,
}

/// A list of texts that the gateway keeps of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeldClaim {
    #[default]
    Roles,
    Groups,
    Permissions,
    Entitlements,
}

/// One entry of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct CapabilityEntry {
    /// Name, URI or URI template; `*` stands for any text.
    pub name: String,
    /// Whether it hides what it names.
    pub hides: bool,
    /// What of the item is shown otherwise: objects are merged, all else is replaced.
    pub replaced: Map<String, Value>,
    pub audience: Audience,
    /// Only through these, when given.
    pub clients: Option<Vec<String>>,
    pub demands: Demands,
}

/// Whom an entry is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    Everyone,
    /// Whoever has one of these; nobody, when there are none.
    Holders {
        roles: Vec<String>,
        groups: Vec<String>,
        permissions: Vec<String>,
    },
}

/// What a call of an item needs beside the route's own scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demands {
    pub scope: ScopeSet,
    /// How long ago the person may have signed in.
    pub max_age: Option<Duration>,
}

impl CapabilityFilter {
    fn entries(&self) -> impl Iterator<Item = &CapabilityEntry> {
        [&self.tools, &self.prompts, &self.resources, &self.resource_templates].into_iter().flatten().flatten()
    }

    /// Whether it depends on who calls.
    #[must_use]
    pub fn needs_caller(&self) -> bool {
        self.entries().any(|entry| {
            entry.audience != Audience::Everyone || entry.clients.is_some() || entry.demands != Demands::default()
        })
    }

    /// Whether it depends on what the provider says of the person.
    #[must_use]
    pub fn needs_person(&self) -> bool {
        self.entries().any(|entry| entry.audience != Audience::Everyone)
    }
}

/// An entry as it was given, whatever it names.
#[derive(Default)]
struct Given {
    name: Option<String>,
    /// The text alone, without an object around it.
    is_text: bool,
    replaced: Map<String, Value>,
    roles: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    permissions: Option<Vec<String>>,
    public: bool,
    clients: Option<Vec<String>>,
    scope: Option<String>,
    max_age: Option<u64>,
}

impl Given {
    fn text(name: String) -> Self {
        Self { name: Some(name), is_text: true, ..Self::default() }
    }

    fn has_audience(&self) -> bool {
        self.public || self.roles.is_some() || self.groups.is_some() || self.permissions.is_some()
    }
}

/// `whole`: no option was taken out for its shape.
pub(super) fn resolve(
    raw: raw::CapabilityFilter,
    node: &Node,
    whole: bool,
    problems: &mut Problems,
) -> CapabilityFilter {
    let by_person = raw.access_control.mode == raw::AccessMode::RolesAndGroups;
    if whole
        && raw.tools.is_none()
        && raw.prompts.is_none()
        && raw.resources.is_none()
        && raw.resource_templates.is_none()
    {
        problems
            .add("value", node.place, "a capability filter without a list hides nothing")
            .help("give one of `tools`, `prompts`, `resources`, `resourceTemplates`");
    }
    let mut list = |given: Option<Vec<Given>>, option: &str, key: &'static str| {
        let list = List { node: &node.find(&[option]), key, by_person };
        given.map(|given| list.resolve(given, problems))
    };
    CapabilityFilter {
        tools: list(raw.tools.map(given), "tools", "name"),
        prompts: list(raw.prompts.map(given), "prompts", "name"),
        resources: list(raw.resources.map(given), "resources", "uri"),
        resource_templates: list(raw.resource_templates.map(given), "resourceTemplates", "uriTemplate"),
        role_claim: held(raw.access_control.role_claim.as_deref()).unwrap_or(HeldClaim::Roles),
        group_claim: held(raw.access_control.group_claim.as_deref()).unwrap_or(HeldClaim::Groups),
    }
}

fn held(claim: Option<&str>) -> Option<HeldClaim> {
    match claim? {
        "roles" => Some(HeldClaim::Roles),
        "groups" => Some(HeldClaim::Groups),
        "permissions" => Some(HeldClaim::Permissions),
        "entitlements" => Some(HeldClaim::Entitlements),
        _ => None,
    }
}

/// A list and where it stands.
struct List<'n> {
    node: &'n Node,
    /// The member that names the item.
    key: &'static str,
    by_person: bool,
}

impl List<'_> {
    fn resolve(&self, given: Vec<Given>, problems: &mut Problems) -> Vec<CapabilityEntry> {
        let mut entries: Vec<CapabilityEntry> = Vec::with_capacity(given.len());
        for (index, given) in given.into_iter().enumerate() {
            let node = self.node.find(&[&index.to_string()]);
            let Some(name) = given.name.clone() else { continue };
            let at = if given.is_text { node.clone() } else { node.find(&[self.key]) };
            let (hides, name) = match name.strip_prefix('!') {
                Some(name) => (true, name),
                None => (false, name.as_str()),
            };
            self.check_name(name, hides && !given.is_text, &at, problems);
            if entries.iter().any(|entry| entry.name == name && entry.hides == hides) {
                problems
                    .add("duplicate", at.place, format!("{} stands twice in this list", at.shown()))
                    .help("keep one; an entry may name several roles, groups and permissions");
            }
            self.check_audience(&given, &node, problems);
            entries.push(CapabilityEntry {
                name: name.to_owned(),
                hides,
                audience: self.audience(&given),
                replaced: given.replaced,
                clients: given.clients,
                demands: Demands {
                    scope: given.scope.as_deref().map(ScopeSet::parse).unwrap_or_default(),
                    max_age: given.max_age.map(Duration::from_secs),
                },
            });
        }
        if !entries.is_empty() && entries.iter().all(|entry| entry.hides) {
            problems
                .add("value", self.node.place, "a list of `!` entries alone shows nothing")
                .help("entries show what they name: begin with `\"*\"`, and take away from that");
        }
        entries
    }

    fn check_name(&self, name: &str, hides_more: bool, at: &Node, problems: &mut Problems) {
        let problem = if name.is_empty() || name.trim() != name {
            Some(("an entry is empty, or begins or ends with a blank", "entries are compared as they stand"))
        } else if name.starts_with('!') {
            Some(("an entry begins with two `!`", "one `!` hides what stands behind it"))
        } else if hides_more {
            Some(("what `!` hides has nothing more to it", "write the text alone, such as `\"!delete_*\"`"))
        } else if self.key == "uriTemplate" && !is_template(name) {
            Some(("this is not a URI template", "such as `docs://{page}`"))
        } else {
            None
        };
        if let Some((message, help)) = problem {
            problems.add("value", at.place, message).help(help);
        }
    }

    fn check_audience(&self, given: &Given, node: &Node, problems: &mut Problems) {
        let lists = ["roles", "groups", "permissions", "clients"];
        for entry in lists.iter().filter_map(|list| node.get(list)).flat_map(Node::items) {
            if entry.as_text().is_some_and(|text| text.is_empty() || text.trim() != text) {
                problems
                    .add("value", entry.place, "an entry is empty, or begins or ends with a blank")
                    .help("entries are compared as they stand");
            }
        }
        for (member, text) in ["description", "name", "mimeType", "scope"]
            .iter()
            .filter(|member| **member != self.key)
            .filter_map(|member| Some((member, node.get(member)?)))
        {
            if text.as_text().is_some_and(|text| text.trim().is_empty()) {
                problems.add("value", text.place, format!("`{member}` is empty")).help("leave it out");
            }
        }
        if given.public && (given.roles.is_some() || given.groups.is_some() || given.permissions.is_some()) {
            problems
                .add(
                    "conflict",
                    node.find(&["public"]).place,
                    "an entry that is `public` is not for certain people only",
                )
                .help("keep `public`, or the roles, groups and permissions");
        }
        if !self.by_person && given.has_audience() {
            let members = ["roles", "groups", "permissions", "public"];
            let place = members.iter().find_map(|member| node.get(member)).map_or(node.place, |found| found.place);
            problems
                .add("conflict", place, "with `accessControl.mode` `allPublic` an entry is for everyone")
                .help("set `\"accessControl\": {\"mode\": \"rolesAndGroups\"}`, or leave this out");
        }
    }

    fn audience(&self, given: &Given) -> Audience {
        if !self.by_person || given.public {
            return Audience::Everyone;
        }
        Audience::Holders {
            roles: given.roles.clone().unwrap_or_default(),
            groups: given.groups.clone().unwrap_or_default(),
            permissions: given.permissions.clone().unwrap_or_default(),
        }
    }
}

/// Whether every `{` has its `}`, with something between (RFC 6570 §2).
fn is_template(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let Some((expression, after)) = rest[at..].strip_prefix('{').and_then(|text| text.split_once('}')) else {
            return false;
        };
        if expression.is_empty() || expression.contains('{') {
            return false;
        }
        rest = after;
    }
    true
}

/// What only the login policy knows: `scopes` that it can grant, and its own paths of claims. `None` where clients get
/// their tokens from AuthKit, which do not say when a person signed in.
pub(super) fn check_against_login(
    node: &Node,
    scopes: Option<&BTreeSet<String>>,
    own_claim: impl Fn(&str) -> Option<String>,
    problems: &mut Problems,
) {
    for scope in node.get("tools").map(Node::items).unwrap_or_default().iter().filter_map(|tool| tool.get("scope")) {
        for name in scope.as_text().unwrap_or_default().split(' ').filter(|name| !name.is_empty()) {
            if let Some(scopes) = scopes.filter(|scopes| !scopes.contains(name)) {
                problems.add("reference", scope.place, format!("there is no scope `{name}`")).nearest(
                    name,
                    scopes.iter().map(String::as_str),
                    "add it to `gateway.scopes`",
                );
            }
        }
    }
    if scopes.is_none() {
        for age in node.get("tools").map(Node::items).unwrap_or_default().iter().filter_map(|tool| tool.get("maxAge")) {
            problems
                .add("conflict", age.place, "tokens of AuthKit do not say how long ago a person signed in")
                .help("leave `maxAge` out, or set the login policy's `mode` to `preregistered`");
        }
    }
    for option in ["roleClaim", "groupClaim"] {
        let Some(claim) = node.at(&["accessControl", option]) else { continue };
        let Some(text) = claim.as_text().filter(|text| held(Some(text)).is_none()) else { continue };
        if own_claim(option).as_deref() != Some(text) {
            problems
                .add("reference", claim.place, format!("the gateway keeps nothing of a person under {}", claim.shown()))
                .help(format!("give it as `{option}` of the login policy, and leave it out here"));
        }
    }
}

fn given<E: Into<Given>>(entries: Vec<E>) -> Vec<Given> {
    entries.into_iter().map(Into::into).collect()
}

/// The members that are shown otherwise.
fn replaced<const N: usize>(
    texts: [(&str, Option<String>); N],
    annotations: Option<BTreeMap<String, Value>>,
    meta: Option<BTreeMap<String, Value>>,
) -> Map<String, Value> {
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into())));
    let objects = [("annotations", annotations), ("_meta", meta)]
        .into_iter()
        .filter_map(|(name, object)| Some((name.to_owned(), object?.into_iter().collect())));
    texts.chain(objects).collect()
}

impl From<raw::ToolEntry> for Given {
    fn from(entry: raw::ToolEntry) -> Self {
        match entry {
            raw::ToolEntry::Name(name) => Self::text(name),
            raw::ToolEntry::Tool(tool) => Self {
                name: tool.name,
                is_text: false,
                replaced: replaced([("description", tool.description)], tool.annotations, tool.meta),
                roles: tool.roles,
                groups: tool.groups,
                permissions: tool.permissions,
                public: tool.public,
                clients: tool.clients,
                scope: tool.scope,
                max_age: tool.max_age,
            },
        }
    }
}

impl From<raw::PromptEntry> for Given {
    fn from(entry: raw::PromptEntry) -> Self {
        match entry {
            raw::PromptEntry::Name(name) => Self::text(name),
            raw::PromptEntry::Prompt(prompt) => Self {
                name: prompt.name,
                replaced: replaced([("description", prompt.description)], None, prompt.meta),
                roles: prompt.roles,
                groups: prompt.groups,
                permissions: prompt.permissions,
                public: prompt.public,
                clients: prompt.clients,
                ..Self::default()
            },
        }
    }
}

impl From<raw::ResourceEntry> for Given {
    fn from(entry: raw::ResourceEntry) -> Self {
        match entry {
            raw::ResourceEntry::Uri(uri) => Self::text(uri),
            raw::ResourceEntry::Resource(resource) => {
                let texts =
                    [("name", resource.name), ("description", resource.description), ("mimeType", resource.mime_type)];
                Self {
                    name: resource.uri,
                    replaced: replaced(texts, resource.annotations, resource.meta),
                    roles: resource.roles,
                    groups: resource.groups,
                    permissions: resource.permissions,
                    public: resource.public,
                    clients: resource.clients,
                    ..Self::default()
                }
            }
        }
    }
}

impl From<raw::ResourceTemplateEntry> for Given {
    fn from(entry: raw::ResourceTemplateEntry) -> Self {
        match entry {
            raw::ResourceTemplateEntry::UriTemplate(template) => Self::text(template),
            raw::ResourceTemplateEntry::ResourceTemplate(template) => {
                let texts =
                    [("name", template.name), ("description", template.description), ("mimeType", template.mime_type)];
                Self {
                    name: template.uri_template,
                    replaced: replaced(texts, template.annotations, template.meta),
                    roles: template.roles,
                    groups: template.groups,
                    permissions: template.permissions,
                    public: template.public,
                    clients: template.clients,
                    ..Self::default()
                }
            }
        }
    }
}

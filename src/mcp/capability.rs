//! What a server offers: tools, prompts, resources, resource templates (MCP 2025-11-25 and 2026-07-28, Server Features).

use serde_json::{Map, Value};

/// A kind of item that servers list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    Tool,
    Prompt,
    Resource,
    ResourceTemplate,
}

impl Capability {
    pub const ALL: [Self; 4] = [Self::Tool, Self::Prompt, Self::Resource, Self::ResourceTemplate];

    /// The member of a list's result that holds the items.
    #[must_use]
    pub fn list_member(self) -> &'static str {
        match self {
            Self::Tool => "tools",
            Self::Prompt => "prompts",
            Self::Resource => "resources",
            Self::ResourceTemplate => "resourceTemplates",
        }
    }

    /// The member of an item by which it is called.
    #[must_use]
    pub fn key_member(self) -> &'static str {
        match self {
            Self::Tool | Self::Prompt => "name",
            Self::Resource => "uri",
            Self::ResourceTemplate => "uriTemplate",
        }
    }
}

/// Which items somebody may see, and how.
pub trait Selection: Send {
    /// Whether items of this kind are selected at all; if not, all of them pass as they are.
    fn covers(&self, kind: Capability) -> bool;

    /// What of a listed item is replaced: objects member by member, all else whole. `None`: it is hidden.
    fn shown(&self, kind: Capability, key: &str) -> Option<Map<String, Value>>;
}

//! The pages of `doorward dev`: the development login (OPS-10) and the landing page.

use askama::Template;

use super::text as filters;

/// A person who can be chosen with one click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyPerson {
    /// Posted as `person`; never `custom`.
    pub key: String,
    pub name: String,
    pub email: String,
    pub organization: String,
    pub roles: Vec<String>,
    pub permissions: Vec<String>,
}

/// Stands in for a provider's login. Posts `state`, `csrf` and `person`: the key of a ready person, or
/// `custom` with `email`, `name`, `organization`, and `roles` and `permissions` separated by commas.
#[derive(Debug, Clone, Template)]
#[template(path = "dev_login.html")]
pub struct DevLoginPage {
    /// Path the forms post to.
    pub action: String,
    /// Carried from the query to the form; as opaque here as to a provider.
    pub state: String,
    pub csrf: String,
    pub people: Vec<ReadyPerson>,
}

impl DevLoginPage {
    #[must_use]
    pub fn render(&self) -> String {
        super::html(self)
    }
}

/// One route of the landing page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LandingRoute {
    /// The route's display name.
    pub name: String,
    /// What the client is to call it: the last part of the path.
    pub slug: String,
    /// The MCP URL, absolute.
    pub url: String,
    /// Served without login.
    pub public: bool,
}

impl LandingRoute {
    /// The line that connects Claude Code.
    fn command(&self) -> String {
        format!("claude mcp add --transport http {} {}", self.slug, self.url)
    }
}

/// What the gateway serves and how to connect.
#[derive(Debug, Clone, Template)]
#[template(path = "landing.html")]
pub struct LandingPage {
    pub name: String,
    pub routes: Vec<LandingRoute>,
}

impl LandingPage {
    #[must_use]
    pub fn render(&self) -> String {
        super::html(self)
    }
}

//! A person's own page (REV-4): what acts in their name, and taking it back.

use askama::Template;

use super::consent::{ClientIdentity, ConnectionShown, ConnectionState, ServerShown, SignedIn};
use super::text as filters;

/// One grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantShown {
    /// Posted as `revoke`; never `all`.
    pub id: String,
    /// The client's own word for itself; 100 characters are shown.
    pub client_name: String,
    pub client: ClientIdentity,
    /// As in [`super::ConsentPage::redirect_host`].
    pub redirect_host: String,
    pub server: ServerShown,
    /// What it may do, in words.
    pub scopes: Vec<String>,
    /// Days, such as `3 May 2026`.
    pub created: String,
    pub last_used: String,
}

/// An account at a server behind that the person connected, or may connect for everyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountConnection {
    pub shown: ConnectionShown,
    /// Posted as `disconnect`; `None` when there is nothing to disconnect.
    pub id: Option<String>,
    /// The day it was connected.
    pub since: Option<String>,
}

/// Posts `csrf` and `revoke`: the id of a grant, or `all`; or `disconnect`: the id of a connection. *Connect* posts
/// `csrf` and `account` to the path of the connection.
#[derive(Debug, Clone, Template)]
#[template(path = "account.html")]
pub struct AccountPage {
    /// Path the form posts to.
    pub action: String,
    /// Path of the page that signs out.
    pub sign_out: String,
    pub csrf: String,
    pub person: SignedIn,
    pub grants: Vec<GrantShown>,
    pub connections: Vec<AccountConnection>,
}

impl AccountPage {
    #[must_use]
    pub fn render(&self) -> String {
        super::html(self)
    }
}

/// Stands before the login that leads to [`AccountPage`]. Posts `sign-in`.
#[derive(Debug, Clone, Template)]
#[template(path = "account_start.html")]
pub struct AccountStartPage {
    /// Path the form posts to.
    pub action: String,
    /// The provider's display name.
    pub provider: String,
}

impl AccountStartPage {
    #[must_use]
    pub fn render(&self) -> String {
        super::html(self)
    }
}

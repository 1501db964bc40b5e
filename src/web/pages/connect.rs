//! The pages on the way to a server behind: before its sign-in and after it (gateway.md §8).

use askama::Template;

use super::consent::{ConnectionShown, SignedIn};
use super::text as filters;

/// What the page offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectStep {
    /// Off to the server's sign-in: `connect`.
    Connect,
    /// The link is for somebody, and nobody is signed in: `sign-in`, with the provider of that name.
    SignIn { provider: String },
    /// The server relies on a sign-in that is too long ago: `sign-in`, with the provider of that name.
    SignInAgain { provider: String },
    /// The link is for somebody else than who is signed in: `switch`.
    OtherPerson,
    /// The link has been used. It is for whoever is signed in, who can go on without it: `connect`.
    Used,
}

/// What a link to connect a server opens. Nothing has happened yet: the browser may have fetched it ahead. Posts
/// `ticket` or, once that is used, `account`; `csrf`; and the `step`.
#[derive(Debug, Clone, Template)]
#[template(path = "connect.html")]
pub struct ConnectPage {
    /// Path the form posts to.
    pub action: String,
    pub ticket: String,
    /// Empty when nobody is signed in.
    pub csrf: String,
    pub connection: ConnectionShown,
    pub person: Option<SignedIn>,
    pub step: ConnectStep,
}

impl ConnectPage {
    #[must_use]
    pub fn render(&self) -> String {
        super::html(self)
    }
}

/// The server is connected, and the person came from an application.
#[derive(Debug, Clone, Template)]
#[template(path = "connected.html")]
pub struct ConnectedPage {
    pub connection: ConnectionShown,
    /// It was connected before, by a page that is shown again.
    pub already: bool,
    /// It relies on the person's sign-in, and that is all.
    pub by_sign_in: bool,
}

impl ConnectedPage {
    #[must_use]
    pub fn render(&self) -> String {
        super::html(self)
    }
}

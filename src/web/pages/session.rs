//! Signing out of the browser session (IDP-16).

use askama::Template;

use super::text as filters;

/// Asks before signing out, so that a link alone cannot do it. Posts `csrf`.
#[derive(Debug, Clone, Template)]
#[template(path = "sign_out.html")]
pub struct SignOutConfirmPage {
    /// Path the form posts to.
    pub action: String,
    pub csrf: String,
    /// Who is signed in, by address or name.
    pub person: String,
}

impl SignOutConfirmPage {
    #[must_use]
    pub fn render(&self) -> String {
        super::html(self)
    }
}

/// The end of a sign-out, also for a browser that was not signed in.
#[derive(Debug, Clone, Copy, Template)]
#[template(path = "signed_out.html")]
pub struct SignedOutPage;

impl SignedOutPage {
    #[must_use]
    pub fn render(&self) -> String {
        super::html(self)
    }
}

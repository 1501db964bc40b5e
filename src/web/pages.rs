//! What people see: every page of the gateway as a view model and the HTML made of it.
//!
//! Owns the look (one stylesheet, written into each page), the wording, and the security headers of pages
//! (CONS-10). Each page is a struct of plain text; templates escape and bound every value (CONS-8). Must not
//! decide anything: status codes, who may see what and where a form leads are the endpoints' business.
//! Pages hold no script and load nothing.

mod account;
mod connect;
mod consent;
mod development;
mod error;
mod session;
mod text;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use http::header;

pub use account::{AccountConnection, AccountPage, AccountStartPage, GrantShown};
pub use connect::{ConnectPage, ConnectStep, ConnectedPage};
pub use consent::{
    ClientIdentity, ConnectionShown, ConnectionState, ConsentPage, ConsentWarning, InterstitialPage, ScopeShown,
    ServerShown, SignedIn,
};
pub use development::{DevLoginPage, LandingPage, LandingRoute, ReadyPerson};
pub use error::{ErrorPage, PageLink};
pub use session::{SignOutConfirmPage, SignedOutPage};

/// The one stylesheet. It stands in every page as it is here, byte for byte: its hash is in the policy.
const STYLE: &str = include_str!("../../templates/style.css");

/// The door of the header, as the tab's icon; keeps browsers from asking for `/favicon.ico`.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' \
    stroke='%230c8a6f' stroke-width='2' stroke-linecap='round' stroke-linejoin='round'%3E%3Cpath d='M4 21h16M6.5 \
    21V5a2 2 0 0 1 2-2H14M14 3l4 2v16M14 3v18'/%3E%3C/svg%3E";

/// Shown if a template cannot be written out, which formatting into memory does not do.
const UNRENDERED: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Error</title>\
    <h1>This page could not be shown</h1><p>Go back and try again.</p></html>";

static STYLE_SOURCE: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", STANDARD.encode(crate::crypto::sha256(STYLE.as_bytes()))));

/// The CSP source that allows the stylesheet of the pages and no other: `'sha256-…'`.
#[must_use]
pub fn style_csp_source() -> &'static str {
    &STYLE_SOURCE
}

/// `form-action` of a page that has no form.
pub const NO_FORM: Option<&str> = Some("'none'");

/// `form-action` of a page whose form leads away: the directive is left out.
///
/// Chromium holds every redirect that follows a form's POST against `form-action`, not the first target
/// alone (CONS-11). Approve answers with a redirect to the client, and only the client knows where that goes
/// on to: an https callback hops to `claude://`, a loopback one to an editor's scheme or to a web page.
/// *Continue*, *use another account* and *sign out* lead through the provider and whatever single sign-on it
/// hands over to. No list can name those targets, and `*` does not cover private-use schemes, so any value
/// blocks somebody's login. `default-src` is no fallback for `form-action`: without the directive nothing is
/// blocked. What it would protect from, an injected form, is prevented by escaping alone.
pub const FORM_LEADS_AWAY: Option<&str> = None;

/// The headers of every page (CONS-10). `form_action` is [`NO_FORM`], [`FORM_LEADS_AWAY`] or a fixed list of
/// sources; it is static so that nothing a client says can enter the policy.
///
#[must_use]
pub fn security_headers(form_action: Option<&'static str>) -> [(HeaderName, String); 6] {
    let mut policy = format!(
        "default-src 'none'; style-src {}; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'",
        style_csp_source()
    );
    if let Some(sources) = form_action {
        policy.push_str("; form-action ");
        policy.push_str(sources);
    }
    [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_FRAME_OPTIONS, "DENY".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ]
}

/// The HTML of a page.
fn html<T: askama::Template>(page: &T) -> String {
    page.render().unwrap_or_else(|error| {
        tracing::error!(%error, "a page could not be rendered");
        UNRENDERED.to_owned()
    })
}

#[cfg(test)]
mod tests;

//! The browser session: one server-side record behind one opaque cookie (CONS-14, CONS-15, IDP-16).

use super::login_session::LoginSessionId;
use super::person::SubjectId;
use super::text_id;
use super::time::UnixTime;

text_id!(
    /// Internal id of a browser record; never leaves the server.
    BrowserId
);

/// A browser that started a login, signed in or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Browser {
    pub id: BrowserId,
    /// Who is signed in; `None` before the first login and after sign-out.
    pub login: Option<BrowserLogin>,
    pub expires_at: UnixTime,
}

/// A live login in a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserLogin {
    pub subject: SubjectId,
    pub authenticated_at: UnixTime,
    /// The provider's own session id, kept for sign-out (WOS-16).
    pub provider_session: Option<String>,
    /// Our record of the login, when the provider is asked again from time to time.
    pub login_session: Option<LoginSessionId>,
}

/// A browser record as its cookie found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownBrowser {
    /// The cookie carries the record's present value.
    Current(Browser),
    /// The cookie carries the value from before the last login. It identifies nobody; it can only complete
    /// a login that was under way when the value changed (CONS-15).
    Superseded(Browser),
}

impl KnownBrowser {
    #[must_use]
    pub fn record(&self) -> &Browser {
        match self {
            Self::Current(browser) | Self::Superseded(browser) => browser,
        }
    }

    /// The login this cookie proves at `now`.
    #[must_use]
    pub fn login(&self, now: UnixTime) -> Option<&BrowserLogin> {
        match self {
            Self::Current(browser) if browser.expires_at > now => browser.login.as_ref(),
            _ => None,
        }
    }
}

//! The browser session: one server-side record behind one opaque cookie (CONS-14, CONS-15, IDP-16).

use serde::{Deserialize, Serialize};

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

impl BrowserLogin {
    /// Whether it is at most `max_age` seconds old. With 0, no login that was there before is (OpenID Connect Core
    /// §3.1.2.1).
    #[must_use]
    pub fn is_within(&self, max_age: Option<u64>, now: UnixTime) -> bool {
        let age = u64::try_from(now.since(self.authenticated_at)).unwrap_or(0);
        max_age.is_none_or(|max_age| max_age > 0 && age <= max_age)
    }
}

/// A link to connect a server behind, which a login on the way leads back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectLink {
    /// The upstream's id.
    pub upstream: String,
    /// As in the link.
    pub ticket: String,
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

#[cfg(test)]
mod tests {
    use super::*;

    // CONS-14, CONS-15
    #[test]
    fn a_cookie_proves_a_login_while_it_is_the_present_one_and_until_it_expires() {
        let login = BrowserLogin {
            subject: SubjectId::new("usr_1"),
            authenticated_at: UnixTime(10),
            provider_session: None,
            login_session: None,
        };
        let browser = Browser { id: BrowserId::new("br_1"), login: Some(login.clone()), expires_at: UnixTime(100) };
        let current = KnownBrowser::Current(browser.clone());
        assert_eq!(current.login(UnixTime(99)), Some(&login));
        assert_eq!(current.login(UnixTime(100)), None);
        for (max_age, now, is_within) in
            [(None, 9999, true), (Some(60), 70, true), (Some(60), 71, false), (Some(0), 10, false), (Some(5), 3, true)]
        {
            assert_eq!(login.is_within(max_age, UnixTime(now)), is_within, "{max_age:?} at {now}");
        }
        assert_eq!(KnownBrowser::Superseded(browser).login(UnixTime(50)), None);
    }
}

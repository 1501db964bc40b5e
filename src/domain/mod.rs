//! What the gateway remembers, and the transitions that are legal.
//!
//! Owns the records (client, authorization transaction, browser, grant, code, refresh token, person, upstream connection, subject token) and the
//! rules that decide what may become of them, and what callers may have: how often, and how many at once. Must not do I/O, read the clock or draw randomness: both are
//! arguments ([`Clock`], [`Random`]).

pub mod browser;
pub mod claim;
pub mod client;
pub mod code;
pub mod connection;
pub mod grant;
pub mod login_session;
pub mod person;
pub mod places;
pub mod random;
pub mod refresh;
pub mod subject_token;
pub mod throttle;
pub mod time;
pub mod transaction;
pub mod window;

pub use browser::{Browser, BrowserId};
pub use client::{Client, ClientId, ClientOrigin};
pub use code::AuthorizationCode;
pub use connection::{Connection, ConnectionId, Owner};
pub use grant::{Grant, GrantId};
pub use login_session::{LoginSession, LoginSessionId};
pub use person::{Person, SubjectId};
pub use places::{NoPlace, Place, Places};
pub use random::{Random, SystemRandom};
pub use refresh::RefreshToken;
pub use subject_token::SubjectToken;
pub use throttle::{Caller, Throttle, Throttled};
pub use time::{Clock, SystemClock, UnixTime};
pub use transaction::{AuthorizationRequest, Stage, Transaction, TransactionId};
pub use window::SlidingWindow;

/// Declares a text identifier: a newtype that keeps one kind of id from being passed for another. Cheap to clone.
macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            #[must_use]
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(text.as_ref().into())
            }
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use text_id;

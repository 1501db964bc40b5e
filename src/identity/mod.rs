//! The identity provider: where people sign in.
//!
//! Owns the conversation with the provider (authorization URL, code exchange, verification of what comes
//! back, sign-out URL). Must not know of MCP clients, consent or our own tokens.

mod bounded;
pub mod dev;
pub mod jwks;
pub mod workos;
mod workos_error;
mod workos_token;

pub use dev::DevLogin;
pub use workos::WorkOs;

use async_trait::async_trait;
use url::Url;

use crate::domain::{Person, UnixTime};

/// What the gateway asks of a provider.
#[async_trait]
pub trait IdentityProvider: Send + Sync + 'static {
    /// The issuer that, with the provider's subject, names a person.
    fn issuer(&self) -> &str;

    /// What pages and logs call it, such as `WorkOS`.
    fn display_name(&self) -> &str;

    /// Where the browser goes to sign in.
    fn authorization_url(&self, login: &LoginStart<'_>) -> Url;

    /// Redeems the code of the callback, once, and verifies whom it names. Bounded by `remoteTimeoutMs`.
    async fn exchange(&self, login: &LoginReturn<'_>) -> Result<Login, LoginError>;

    /// Where to send the browser to end the provider's own session, when the provider has such a place.
    fn logout_url(&self, provider_session: &str, return_to: &Url) -> Option<Url>;

    /// What `error=` on the callback means. The description is the provider's free text: it may be matched,
    /// never shown or logged (IDP-6, WOS-5).
    fn callback_error(&self, error: &str, description: Option<&str>, redirect_uri: &str) -> LoginError {
        let _ = (description, redirect_uri);
        match error {
            "access_denied" => LoginError::AccessDenied,
            "login_required" | "interaction_required" | "account_selection_required" | "consent_required" => {
                LoginError::Interactive(InteractiveStep::Other)
            }
            "temporarily_unavailable" | "server_error" => LoginError::Unavailable("it says so".to_owned()),
            "unauthorized_client" => LoginError::SetUp(SetUpFault::UnknownClient),
            _ => LoginError::Untrusted("an error on the callback that has no meaning here".to_owned()),
        }
    }
}

/// One login about to start.
#[derive(Debug, Clone, Copy)]
pub struct LoginStart<'a> {
    /// `{origin}{base path}oauth/callback`
    pub redirect_uri: &'a str,
    pub state: &'a str,
    /// S256 challenge of the verifier that [`LoginReturn`] brings; `None` with `pkce: "none"`.
    pub code_challenge: Option<&'a str>,
    /// For providers with an ID token.
    pub nonce: &'a str,
    /// Public origin the browser is on.
    pub origin: &'a str,
    /// The person asked for another account: the provider should show its login form.
    pub switch_account: bool,
}

/// A browser back from the provider.
#[derive(Clone, Copy)]
pub struct LoginReturn<'a> {
    pub code: &'a str,
    pub state: &'a str,
    pub redirect_uri: &'a str,
    pub code_verifier: Option<&'a str>,
    pub nonce: &'a str,
    /// RFC 9207, when the provider sent it.
    pub issuer: Option<&'a str>,
    pub browser_ip: Option<std::net::IpAddr>,
    pub user_agent: Option<&'a str>,
    pub now: UnixTime,
}

/// A verified login.
#[derive(Debug, Clone)]
pub struct Login {
    pub person: Person,
    /// The provider's session id, for sign-out.
    pub provider_session: Option<String>,
}

/// Why a login did not succeed. `Display` is for the log; what people read is chosen where pages are made.
/// No variant carries a code, token or the provider's free text (WOS-5).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The person, or a rule of the provider, said no.
    #[error("the provider refused access")]
    AccessDenied,
    /// The provider wants the person to do something first (WOS-4).
    #[error("the provider asks for another step: {0:?}")]
    Interactive(InteractiveStep),
    /// The code was not accepted: spent, expired or foreign.
    #[error("the provider did not accept the code")]
    CodeRejected,
    /// Network trouble, a deadline, 429 or 5xx. Trying again later may help.
    #[error("the provider is unavailable: {0}")]
    Unavailable(String),
    /// A fault of the set-up, diagnosed by name.
    #[error("{0}")]
    SetUp(SetUpFault),
    /// What came back does not prove who signed in. Names the check that failed and the value seen, never a
    /// token.
    #[error("the provider's answer was refused: {0}")]
    Untrusted(String),
    /// WOS-12.
    #[error("impersonated sessions are not let in")]
    ImpersonationRefused,
    /// WOS-10.
    #[error("the person signed in to another organisation than the configured one")]
    WrongOrganization,
}

/// What the provider wants the person to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InteractiveStep {
    SelectOrganization,
    Mfa,
    VerifyEmail,
    Sso,
    Other,
}

/// The classic faults of a set-up, each with its own diagnosis (gateway.md §6.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetUpFault {
    #[error("the redirect URI is not listed at the provider: add {redirect_uri} to the redirect URIs in its dashboard")]
    RedirectUriNotListed { redirect_uri: String },
    #[error(
        "the provider refused our client credentials (invalid_client): check the option `clientSecret` and that it belongs to `clientId`"
    )]
    WrongSecret,
    #[error(
        "the token was signed by a key that is not among those of `clientId`: the client id and the API key probably belong to different environments"
    )]
    EnvironmentMismatch,
    #[error("the provider does not know the client id: check the option `clientId`")]
    UnknownClient,
}

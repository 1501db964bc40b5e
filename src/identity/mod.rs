//! The identity provider: where people sign in.
//!
//! Owns the conversation with the provider (authorization URL, code exchange, verification of what comes
//! back, sign-out URL), and how the gateway proves who asks at a token endpoint. Must not know of MCP clients, consent or our
//! own tokens.

pub mod authkit;
mod bounded;
pub mod client_authentication;
pub mod dev;
pub mod id_jag;
pub mod jwks;
pub mod oidc;
mod renewal;
mod shown;
pub mod workos;
mod workos_error;
mod workos_session;
mod workos_token;

pub use authkit::{AuthKit, AuthKitApplication, DirectRefusal, DirectToken};
pub use dev::DevLogin;
pub use oidc::Oidc;
pub use renewal::{IdToken, IdTokens, ProviderSessions, Renewal, RenewalError, SubjectTokens};
pub use workos::WorkOs;

use async_trait::async_trait;
use secrecy::SecretString;
use url::Url;

use crate::domain::{Person, UnixTime};

/// What the gateway asks of a provider.
#[async_trait]
pub trait IdentityProvider: Send + Sync + 'static {
    /// The issuer that, with the provider's subject, names a person.
    fn issuer(&self) -> &str;

    /// What pages and logs call it, such as `WorkOS`.
    fn display_name(&self) -> &str;

    /// Where the browser goes to sign in. Fails when the provider has to be asked for that place first and does not
    /// answer in time.
    async fn authorization_url(&self, login: &LoginStart<'_>) -> Result<Url, LoginError>;

    /// Whether the callback comes from this provider, as far as its `iss` tells (IDP-4, RFC 9207 §2.4). Asked before
    /// anything else on the callback is believed, so that no code is given away.
    async fn check_callback_issuer(&self, issuer: Option<&str>) -> Result<(), LoginError> {
        let _ = issuer;
        Ok(())
    }

    /// Redeems the code of the callback, once, and verifies whom it names. Bounded by `remoteTimeoutMs`.
    async fn exchange(&self, login: &LoginReturn<'_>) -> Result<Login, LoginError>;

    /// Where to send the browser to end the provider's own session, when the provider has such a place.
    async fn logout_url(&self, provider_session: &str, return_to: &Url) -> Option<Url>;

    /// Whether somebody who wants another account has to be signed out at the provider first, because
    /// [`LoginStart::switch_account`] is not enough for it to ask again.
    fn keeps_account(&self) -> bool {
        false
    }

    /// How to ask again about people who signed in, when the provider's refresh token is kept (IDP-12).
    fn sessions(&self) -> Option<&dyn ProviderSessions> {
        None
    }

    /// How to get a person's ID token anew, when the provider gives ID tokens and they are kept.
    fn id_tokens(&self) -> Option<&dyn IdTokens> {
        None
    }

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
    /// How many seconds ago the person may have signed in at the provider; it should ask for the credentials again.
    pub max_age: Option<u64>,
}

/// A browser back from the provider.
#[derive(Clone, Copy)]
pub struct LoginReturn<'a> {
    pub code: &'a str,
    pub state: &'a str,
    pub redirect_uri: &'a str,
    pub code_verifier: Option<&'a str>,
    pub nonce: &'a str,
    pub browser_ip: Option<std::net::IpAddr>,
    pub user_agent: Option<&'a str>,
    /// As in [`LoginStart`].
    pub max_age: Option<u64>,
    pub now: UnixTime,
}

/// A verified login.
#[derive(Debug, Clone)]
pub struct Login {
    pub person: Person,
    /// The provider's session id, for sign-out.
    pub provider_session: Option<String>,
    /// The provider's own refresh token, when it is to be kept (WOS-16).
    pub refresh_token: Option<SecretString>,
    /// When the person proved who they are, if the provider says so: with a session there it may be long ago.
    pub authenticated_at: Option<UnixTime>,
    /// With which the provider can be asked to vouch for the person to others, where it gives such tokens.
    pub subject_tokens: Option<SubjectTokens>,
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

impl LoginError {
    /// One word for it, as metrics count it.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::AccessDenied => "denied",
            Self::Interactive(_) => "another_step",
            Self::CodeRejected => "code_rejected",
            Self::Unavailable(_) => "provider_unavailable",
            Self::SetUp(_) => "set_up_fault",
            Self::Untrusted(_) => "untrusted_answer",
            Self::ImpersonationRefused => "impersonation_refused",
            Self::WrongOrganization => "wrong_organization",
        }
    }
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
    #[error(
        "AuthKit knows no OAuth application {client_id} (application_not_found): the option `clientId` must be that of an \
         application (WorkOS dashboard, Connect, Applications), not the environment's"
    )]
    UnknownApplication { client_id: String },
    #[error("the provider's metadata cannot be used: {0}")]
    Metadata(String),
}

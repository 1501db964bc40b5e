//! AuthKit as the provider of a gateway that is one OAuth application of it (`mode: "preregistered"`).
//!
//! The conversation is that of any `OpenID` provider. What is particular: AuthKit tells of an application or a redirect URI
//! that it does not know on a page of its own, from which nobody comes back; so it is asked before anybody is sent there.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::header;
use url::Url;

use crate::crypto::{base64url, sha256};
use crate::identity::{IdTokens, IdentityProvider, Login, LoginError, LoginReturn, LoginStart, Oidc, SetUpFault};

/// Stands in every parameter that a real login would fill.
const PROBE: &str = "doorward-asks-whether-this-application-is-known";

/// One OAuth application of AuthKit's.
pub struct AuthKitApplication {
    oidc: Oidc,
    client_id: String,
    client: reqwest::Client,
    /// For the question; a login has time for it and for itself.
    deadline: Duration,
    /// Redirect URIs that AuthKit took. One for each public origin.
    known: Mutex<BTreeSet<String>>,
}

impl AuthKitApplication {
    /// `client` reaches operator-configured endpoints and follows no redirects. Asks nothing yet.
    #[must_use]
    pub fn new(oidc: Oidc, client_id: String, client: reqwest::Client, deadline: Duration) -> Self {
        Self { oidc, client_id, client, deadline: deadline / 3, known: Mutex::default() }
    }

    /// Whether AuthKit knows application and redirect URI. An answer that says nothing of them stops nobody.
    async fn check(&self, login: &LoginStart<'_>) -> Result<(), LoginError> {
        let known = |change: fn(&mut BTreeSet<String>, &str) -> bool| {
            change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner), login.redirect_uri)
        };
        if known(|known, uri| known.contains(uri)) {
            return Ok(());
        }
        let challenge = base64url(&sha256(PROBE.as_bytes()));
        let probe = LoginStart { state: PROBE, nonce: PROBE, code_challenge: Some(&challenge), ..*login };
        let url = self.oidc.authorization_url(&probe).await?;
        let Ok(answer) = self.client.get(url.clone()).timeout(self.deadline).send().await else { return Ok(()) };
        let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        let Some(location) = location.and_then(|location| url.join(location).ok()) else { return Ok(()) };
        let error = location.query_pairs().find(|(name, _)| name == "error").map(|(_, error)| error.into_owned());
        if let Some(fault) = error.and_then(|error| self.fault(&error, login.redirect_uri)) {
            return Err(LoginError::SetUp(fault));
        }
        known(|known, uri| known.insert(uri.to_owned()));
        Ok(())
    }

    fn fault(&self, error: &str, redirect_uri: &str) -> Option<SetUpFault> {
        match error {
            "application_not_found" => Some(SetUpFault::UnknownApplication { client_id: self.client_id.clone() }),
            "invalid_redirect_uri" | "redirect_uri_mismatch" => {
                Some(SetUpFault::RedirectUriNotListed { redirect_uri: redirect_uri.to_owned() })
            }
            _ => None,
        }
    }
}

#[async_trait]
impl IdentityProvider for AuthKitApplication {
    fn issuer(&self) -> &str {
        self.oidc.issuer()
    }

    fn display_name(&self) -> &str {
        self.oidc.display_name()
    }

    async fn authorization_url(&self, login: &LoginStart<'_>) -> Result<Url, LoginError> {
        self.check(login).await?;
        self.oidc.authorization_url(login).await
    }

    async fn check_callback_issuer(&self, issuer: Option<&str>) -> Result<(), LoginError> {
        self.oidc.check_callback_issuer(issuer).await
    }

    async fn exchange(&self, login: &LoginReturn<'_>) -> Result<Login, LoginError> {
        self.oidc.exchange(login).await
    }

    async fn logout_url(&self, provider_session: &str, return_to: &Url) -> Option<Url> {
        self.oidc.logout_url(provider_session, return_to).await
    }

    fn id_tokens(&self) -> Option<&dyn IdTokens> {
        self.oidc.id_tokens()
    }

    fn keeps_account(&self) -> bool {
        self.oidc.keeps_account()
    }

    fn callback_error(&self, error: &str, description: Option<&str>, redirect_uri: &str) -> LoginError {
        match self.fault(error, redirect_uri) {
            Some(fault) => LoginError::SetUp(fault),
            None => self.oidc.callback_error(error, description, redirect_uri),
        }
    }
}

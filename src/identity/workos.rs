//! WorkOS user management as the identity provider (gateway.md §6.1, WOS-1 … WOS-12, WOS-14).
//!
//! Owns the authorize URL, the code exchange and the sign-out URL. What the answers mean stands in
//! `workos_token` (the access token, which is the assertion) and `workos_error` (the failures); asking again after the
//! login in `workos_session`.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use url::Url;

use super::bounded::{failure, read_body};
use super::jwks::RemoteJwks;
use super::workos_error;
use super::workos_token::{AcceptedClaims, Answer, check_answer};
use super::{IdentityProvider, Login, LoginError, LoginReturn, LoginStart, ProviderSessions};
use crate::config::model::{BrowserLogin, WorkOsOptions, WorkOsSelector};
use crate::domain::UnixTime;

/// One WorkOS environment.
pub struct WorkOs {
    pub(super) options: WorkOsOptions,
    scope: String,
    /// For the whole exchange, in which the key set may have to be fetched.
    pub(super) deadline: Duration,
    pub(super) client: reqwest::Client,
    pub(super) base: Url,
    accepted: AcceptedClaims,
    jwks: RemoteJwks,
}

/// WOS-2: what `authenticate` takes, as JSON.
#[derive(Serialize)]
struct CodeExchange<'a> {
    client_id: &'a str,
    client_secret: &'a str,
    grant_type: &'static str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code_verifier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
}

impl WorkOs {
    /// `client` reaches operator-configured endpoints and follows no redirects.
    #[must_use]
    pub fn new(options: WorkOsOptions, scope: String, browser_login: &BrowserLogin, client: reqwest::Client) -> Self {
        let mut base = options.api_url.clone();
        base.set_query(None);
        base.set_fragment(None);
        let jwks_url = endpoint(&base, &["sso", "jwks", &options.client_id]);
        let deadline = browser_login.remote_timeout;
        Self {
            accepted: AcceptedClaims::new(&options, &base),
            jwks: RemoteJwks::new(client.clone(), jwks_url, deadline),
            options,
            scope,
            deadline,
            client,
            base,
        }
    }

    async fn authenticate(&self, login: &LoginReturn<'_>) -> Result<Answer, LoginError> {
        let body = CodeExchange {
            client_id: &self.options.client_id,
            client_secret: self.options.client_secret.expose_secret(),
            grant_type: "authorization_code",
            code: login.code,
            code_verifier: login.code_verifier,
            ip_address: login.browser_ip.map(|ip| ip.to_string()),
            user_agent: login.user_agent,
        };
        let response = self
            .client
            .post(self.authenticate_url())
            .timeout(self.deadline)
            .json(&body)
            .send()
            .await
            .map_err(|error| LoginError::Unavailable(failure(&error).to_owned()))?;
        let status = response.status();
        let body = read_body(response).await.map_err(|cause| LoginError::Unavailable(cause.to_owned()))?;
        if !status.is_success() {
            return Err(workos_error::of_answer(status, &body, login.redirect_uri));
        }
        serde_json::from_slice(&body)
            .map_err(|_| LoginError::Untrusted("the answer is not what WorkOS sends".to_owned()))
    }

    pub(super) fn authenticate_url(&self) -> Url {
        endpoint(&self.base, &["user_management", "authenticate"])
    }

    async fn exchange_in_time(&self, login: &LoginReturn<'_>) -> Result<Login, LoginError> {
        let answer = self.authenticate(login).await?;
        self.identify_answer(&answer, login.now).await
    }

    /// Who the answer is about. Its refresh token goes no further unless people are asked about again (WOS-16).
    pub(super) async fn identify_answer(&self, answer: &Answer, now: UnixTime) -> Result<Login, LoginError> {
        let login = check_answer(answer, &self.accepted, &self.jwks, now).await?;
        let refresh_token = login.refresh_token.filter(|_| self.options.session_sync);
        Ok(Login { refresh_token, ..login })
    }
}

#[async_trait]
impl IdentityProvider for WorkOs {
    fn issuer(&self) -> &str {
        &self.accepted.issuer
    }

    fn display_name(&self) -> &'static str {
        "WorkOS"
    }

    async fn authorization_url(&self, login: &LoginStart<'_>) -> Result<Url, LoginError> {
        let mut url = endpoint(&self.base, &["user_management", "authorize"]);
        let mut query = url.query_pairs_mut();
        query
            .append_pair("client_id", &self.options.client_id)
            .append_pair("redirect_uri", login.redirect_uri)
            .append_pair("response_type", "code")
            .append_pair("state", login.state);
        let (selector, value) = match &self.options.selector {
            WorkOsSelector::Provider(provider) => ("provider", provider),
            WorkOsSelector::Connection(connection) => ("connection_id", connection),
            WorkOsSelector::Organization(organization) => ("organization_id", organization),
        };
        query.append_pair(selector, value);
        if let Some(challenge) = login.code_challenge {
            query.append_pair("code_challenge", challenge).append_pair("code_challenge_method", "S256");
        }
        let optional = [
            ("scope", Some(self.scope.as_str()).filter(|scope| !scope.is_empty())),
            ("screen_hint", self.options.screen_hint.as_deref()),
            ("domain_hint", self.options.domain_hint.as_deref()),
            // It knows no `max_age` and tells no `auth_time`: that it asks again is all it can do.
            ("prompt", (login.switch_account || login.max_age.is_some()).then_some("login")),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        drop(query);
        Ok(url)
    }

    async fn exchange(&self, login: &LoginReturn<'_>) -> Result<Login, LoginError> {
        tokio::time::timeout(self.deadline, self.exchange_in_time(login))
            .await
            .unwrap_or_else(|_| Err(LoginError::Unavailable("no answer in time".to_owned())))
    }

    fn sessions(&self) -> Option<&dyn ProviderSessions> {
        self.options.session_sync.then_some(self as &dyn ProviderSessions)
    }

    async fn logout_url(&self, provider_session: &str, return_to: &Url) -> Option<Url> {
        let mut url = endpoint(&self.base, &["user_management", "sessions", "logout"]);
        url.query_pairs_mut().append_pair("session_id", provider_session).append_pair("return_to", return_to.as_str());
        Some(url)
    }

    fn keeps_account(&self) -> bool {
        true
    }

    fn callback_error(&self, error: &str, description: Option<&str>, redirect_uri: &str) -> LoginError {
        workos_error::of_callback(error, description, redirect_uri)
    }
}

/// `segments` below `base`, whatever slashes that ends with.
pub(super) fn endpoint(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

//! Any OpenID Connect provider (gateway.md §6.2; OpenID Connect Core 1.0, RFC 9207, RP-Initiated Logout 1.0).
//!
//! Owns the conversation; one file each for where the endpoints are, how the code is redeemed, what makes an ID token
//! good, what its claims say of a person, and how a newer one is got. Knows no provider by name: what differs between them is in
//! [`OidcOptions`].

mod access_token;
pub(super) mod endpoints;
mod id_token;
pub(super) mod person;
mod renewal;
mod token_request;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use super::bounded::{failure, read_body};
use super::{IdToken, IdTokens, IdentityProvider, Login, LoginError, LoginReturn, LoginStart, SubjectTokens};
use crate::config::model::{AnotherAccount, BrowserLogin, OidcOptions, SignOut};
use crate::domain::{Clock, Random, UnixTime};
use endpoints::{Discovery, Endpoints};

pub(super) use person::of_claims;

/// One provider, at which the gateway is one client.
pub struct Oidc {
    options: OidcOptions,
    scope: String,
    /// For all requests of one step of a login together.
    deadline: Duration,
    client: reqwest::Client,
    discovery: Discovery,
    random: Arc<dyn Random>,
}

impl Oidc {
    /// `client` reaches operator-configured endpoints and follows no redirects. Asks nothing yet.
    #[must_use]
    pub fn new(
        options: OidcOptions,
        scope: String,
        browser_login: &BrowserLogin,
        client: reqwest::Client,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let deadline = browser_login.remote_timeout;
        let discovery =
            Discovery::new(options.issuer.clone(), options.endpoints.clone(), client.clone(), deadline, clock);
        Self { options, scope, deadline, client, discovery, random }
    }

    /// Whatever the provider does, there is an answer in time (IDP-10).
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, LoginError>>) -> Result<T, LoginError> {
        let late = || Err(LoginError::Unavailable("no answer in time".to_owned()));
        tokio::time::timeout(self.deadline, work).await.unwrap_or_else(|_| late())
    }

    async fn redeem_and_verify(&self, login: &LoginReturn<'_>) -> Result<Login, LoginError> {
        let endpoints = self.discovery.endpoints().await?;
        let answer = token_request::redeem(self, &endpoints, login).await?;
        let expected = self.expected(Some(login.nonce), login.max_age, login.now);
        let mut claims = id_token::verify(&answer.id_token, &expected, &endpoints.jwks).await?;
        let expires_at = id_token::expires_at(&claims);
        let authenticated_at = id_token::authenticated_at(&claims);
        if self.options.profile.claims_in_access_token
            && let Some(token) = &answer.access_token
        {
            access_token::complete(&mut claims, token, &self.options, &endpoints.jwks, login.now).await;
        }
        if person::is_incomplete(&claims, &self.options.claims) {
            self.complete(&mut claims, answer.access_token.as_deref(), &endpoints).await?;
        }
        let provider_session = person::session(&claims);
        let person = of_claims(&claims, &self.options.issuer, &self.options.claims, &self.options.profile)?;
        let id_token = IdToken { text: answer.id_token.into(), expires_at };
        let subject_tokens =
            Some(SubjectTokens { id_token, refresh_token: answer.refresh_token.map(SecretString::from) });
        Ok(Login { person, provider_session, refresh_token: None, authenticated_at, subject_tokens })
    }

    fn expected<'a>(&'a self, nonce: Option<&'a str>, max_age: Option<u64>, now: UnixTime) -> id_token::Expected<'a> {
        id_token::Expected {
            issuer: &self.options.issuer,
            client_id: &self.options.client_id,
            audience: self.options.audience.as_deref(),
            nonce,
            token_use: self.options.profile.token_use,
            max_age,
            now,
        }
    }

    /// Adds what the userinfo endpoint says to the ID token's claims, which win. An endpoint that refuses costs its
    /// claims only: who signed in is proven without it.
    async fn complete(
        &self,
        claims: &mut Map<String, Value>,
        access_token: Option<&str>,
        endpoints: &Endpoints,
    ) -> Result<(), LoginError> {
        let Some((url, access_token)) = endpoints.userinfo.clone().zip(access_token) else { return Ok(()) };
        let unavailable = |cause: &str| LoginError::Unavailable(format!("userinfo: {cause}"));
        let request = self.client.get(url).bearer_auth(access_token).header("accept", "application/json");
        let response = request.send().await.map_err(|error| unavailable(failure(&error)))?;
        let status = response.status();
        if status.is_server_error() || status.as_u16() == 429 {
            return Err(unavailable(&format!("HTTP {}", status.as_u16())));
        }
        let body = read_body(response).await.map_err(unavailable)?;
        let Some(Value::Object(more)) = status.is_success().then(|| serde_json::from_slice(&body).ok()).flatten()
        else {
            tracing::warn!(event = "provider_userinfo_refused", status = status.as_u16());
            return Ok(());
        };
        // OpenID Connect Core §5.3.2
        if more.get("sub") != claims.get("sub") {
            return Err(LoginError::Untrusted("userinfo speaks of another person than the ID token".to_owned()));
        }
        for (name, value) in more {
            claims.entry(name).or_insert(value);
        }
        Ok(())
    }
}

#[async_trait]
impl IdentityProvider for Oidc {
    fn issuer(&self) -> &str {
        &self.options.issuer
    }

    fn display_name(&self) -> &str {
        &self.options.display_name
    }

    async fn authorization_url(&self, login: &LoginStart<'_>) -> Result<Url, LoginError> {
        let endpoints = self.in_time(self.discovery.endpoints()).await?;
        let mut url = endpoints.authorization.clone();
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.options.client_id)
            .append_pair("redirect_uri", login.redirect_uri)
            .append_pair("scope", &self.scope)
            .append_pair("state", login.state)
            .append_pair("nonce", login.nonce);
        if let Some(challenge) = login.code_challenge {
            query.append_pair("code_challenge", challenge).append_pair("code_challenge_method", "S256");
        }
        if let Some(audience) = &self.options.requested_audience {
            query.append_pair("audience", audience);
        }
        if let Some(max_age) = login.max_age {
            query.append_pair("max_age", &max_age.to_string());
        }
        if let AnotherAccount::Prompt(prompt) = self.options.profile.another_account
            && (login.switch_account || (login.max_age.is_some() && prompt == "login"))
        {
            query.append_pair("prompt", prompt);
        }
        drop(query);
        Ok(url)
    }

    async fn check_callback_issuer(&self, issuer: Option<&str>) -> Result<(), LoginError> {
        let refused = |cause: &str| Err(LoginError::Untrusted(cause.to_owned()));
        match issuer {
            Some(issuer) if issuer == self.options.issuer => Ok(()),
            Some(_) => refused("`iss` of the callback is another issuer than the configured one"),
            None if self.in_time(self.discovery.endpoints()).await?.sends_issuer => {
                refused("the callback lacks `iss`, which the provider's metadata promise")
            }
            None => Ok(()),
        }
    }

    async fn exchange(&self, login: &LoginReturn<'_>) -> Result<Login, LoginError> {
        self.in_time(self.redeem_and_verify(login)).await
    }

    /// Without the ID token, which is not kept, the provider may ask the person to confirm.
    async fn logout_url(&self, provider_session: &str, return_to: &Url) -> Option<Url> {
        let endpoints = self.in_time(self.discovery.endpoints()).await.ok()?;
        let mut url = endpoints.end_session.clone()?;
        let sign_out = self.options.profile.sign_out;
        if sign_out == SignOut::NoWayBack {
            return Some(url);
        }
        let mut query = url.query_pairs_mut();
        query.append_pair("client_id", &self.options.client_id);
        if sign_out == SignOut::Standard {
            query.append_pair("logout_hint", provider_session);
        }
        let way_back = if sign_out == SignOut::LogoutUri { "logout_uri" } else { "post_logout_redirect_uri" };
        query.append_pair(way_back, return_to.as_str());
        drop(query);
        Some(url)
    }

    fn id_tokens(&self) -> Option<&dyn IdTokens> {
        Some(self)
    }

    fn keeps_account(&self) -> bool {
        self.options.profile.another_account == AnotherAccount::SignOut
    }
}

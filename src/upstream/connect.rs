//! Connecting an upstream: a browser's way to its authorization server and back (MCP authorization, OAuth 2.1 §4.1,
//! RFC 7636, 8707, 9207).
//!
//! An attempt belongs to the browser that began it and to the person it is for, and is taken once. Any number may be
//! under way at once; the last one that comes back stays.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use url::Url;

use super::authorization_request::{AuthorizationRequest, authorization_url, check_callback_issuer};
use super::clients::KeptClient;
use super::discovery::{Discovered, DiscoveryError};
use super::registration::RegistrationError;
use super::token_request::{TokenAnswer, TokenGrant, TokenRequestError};
use super::{Held, Upstreams, scopes};
use crate::config::model::{Upstream, UpstreamOAuth};
use crate::crypto::Secret;
use crate::domain::connection::{Connection, ConnectionId, union};
use crate::domain::random::random_id;
use crate::domain::{BrowserId, Owner, SubjectId, TransactionId, UnixTime};
use crate::oauth::pkce::CodeChallenge;
use crate::oauth::token_answer::shown_code;
use crate::store::{ConnectAttempt, StoreError};

/// How long a person may take at the upstream's pages.
const ATTEMPT_LIFE: Duration = Duration::from_secs(15 * 60);

/// Where the browser goes once the upstream is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReturnTo {
    /// The consent page of a transaction.
    Consent(TransactionId),
    /// The person's own page.
    Account,
    /// A page that says that it is done: the person came from an application.
    Application,
}

/// A beginning.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// The public origin the browser is at.
    pub origin: &'a str,
    pub browser: &'a BrowserId,
    /// Whose connection it becomes. The caller has checked that whoever acts may connect it.
    pub owner: Owner,
    /// Who acts, if somebody is signed in.
    pub by: Option<&'a SubjectId>,
    pub return_to: ReturnTo,
}

/// What came back with the browser.
#[derive(Clone, Copy)]
pub struct Returned<'a> {
    /// The upstream's id in the address.
    pub upstream: &'a str,
    pub browser: &'a BrowserId,
    /// Who is signed in in this browser now.
    pub subject: Option<&'a SubjectId>,
    pub state: &'a str,
    pub code: Option<&'a str>,
    pub error: Option<&'a str>,
    pub iss: Option<&'a str>,
}

/// A connection that was made.
#[derive(Debug, Clone)]
pub struct Connected {
    pub upstream: Arc<Upstream>,
    pub return_to: ReturnTo,
}

/// Why an upstream was not connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no such attempt in this browser, or no longer.
    #[error("the attempt is not open in this browser")]
    Gone,
    #[error("somebody else is signed in by now")]
    AnotherPerson,
    /// RFC 6749 §4.1.2.1, a code that can be shown.
    #[error("the authorization server refused: {0}")]
    Refused(String),
    #[error("the answer does not come from the server that was asked: {0}")]
    Untrusted(String),
    #[error("the authorization server does not take the gateway as a client: {0}")]
    WrongClient(String),
    #[error("{0}")]
    Unavailable(String),
    /// Only the operator can help.
    #[error("{0}")]
    SetUp(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ConnectError {
    /// In the words of the metrics.
    fn outcome(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::AnotherPerson => "another_person",
            Self::Refused(_) => "refused",
            Self::Untrusted(_) => "untrusted_answer",
            Self::WrongClient(_) => "client_refused",
            Self::Unavailable(_) | Self::Store(_) => "unavailable",
            Self::SetUp(_) => "set_up_fault",
        }
    }
}

/// A failure, and where the person was going.
#[derive(Debug)]
pub struct ConnectFailure {
    pub error: ConnectError,
    pub return_to: Option<ReturnTo>,
}

/// What an attempt remembers, sealed as JSON.
#[derive(Serialize, Deserialize)]
struct Remembered {
    upstream: String,
    server: String,
    subject: Option<SubjectId>,
    by: Option<SubjectId>,
    verifier: String,
    client: KeptClient,
    at: Discovered,
    scope: String,
    redirect_uri: String,
    return_to: ReturnTo,
}

impl Upstreams {
    /// Gives the address at the upstream's authorization server that the browser goes to.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn start(&self, upstream: &Arc<Upstream>, start: Start<'_>) -> Result<Url, ConnectError> {
        let Some(options) = upstream.mode.oauth() else {
            return Err(ConnectError::SetUp("it wants no connecting".to_owned()));
        };
        let discovered = self.discovered(upstream).await?;
        let id = ConnectionId::of(&upstream.id, &start.owner);
        let scope = self.scope(&id, options, &discovered).await?;
        let client = self.client(upstream, options, &discovered).await?;
        let redirect_uri = self.as_client(&upstream.id).redirect_uri(start.origin);
        let state = Secret::generate("", &*self.random);
        let verifier = Secret::generate("", &*self.random);
        let scopes: Vec<String> = scope.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
        let request = AuthorizationRequest {
            client_id: client.id(),
            redirect_uri: &redirect_uri,
            state: state.expose(),
            code_challenge: &CodeChallenge::of_verifier(verifier.expose()),
            scopes: &scopes,
            scope_delimiter: &options.scope_delimiter,
            prompt: options.prompt.value(&scopes),
        };
        let url = authorization_url(&discovered, &request);
        let remembered = Remembered {
            upstream: upstream.id.clone(),
            server: upstream.server.to_string(),
            subject: start.owner.subject().cloned(),
            by: start.by.cloned(),
            verifier: verifier.expose().to_owned(),
            client,
            at: Discovered::clone(&discovered),
            scope,
            redirect_uri,
            return_to: start.return_to,
        };
        self.remember(start.browser, &state, &remembered).await?;
        Ok(url)
    }

    /// What to ask for: the scopes by the order of gateway.md §8, and what calls were lacking.
    async fn scope(
        &self,
        id: &ConnectionId,
        options: &UpstreamOAuth,
        discovered: &Discovered,
    ) -> Result<String, StoreError> {
        let chosen = discovered.scopes.join(" ");
        let before = self.store.connection(id).await?;
        Ok(before.map_or(chosen.clone(), |before| union(&chosen, &before.wanted(&scopes(options)))))
    }

    async fn remember(&self, browser: &BrowserId, state: &Secret, remembered: &Remembered) -> Result<(), StoreError> {
        let now = self.clock.now();
        let id = random_id("ca_", &*self.random);
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(remembered).unwrap_or_default());
        let attempt = ConnectAttempt {
            sealed: self.sealer.seal(&attempt_place(&id), &plain, &*self.random),
            id,
            browser: browser.clone(),
            created_at: now,
            expires_at: now.plus(ATTEMPT_LIFE),
        };
        self.store.begin_attempt(&attempt, &state.hash()).await
    }

    /// Completes an attempt: the code becomes a connection.
    ///
    /// # Errors
    /// [`ConnectFailure`].
    pub async fn finish(self: &Arc<Self>, returned: Returned<'_>) -> Result<Connected, ConnectFailure> {
        let finished = self.take_and_redeem(returned).await;
        let outcome = finished.as_ref().map_or_else(|failure| failure.error.outcome(), |_| "connected");
        self.metrics.connections.count([outcome]);
        finished
    }

    async fn take_and_redeem(self: &Arc<Self>, returned: Returned<'_>) -> Result<Connected, ConnectFailure> {
        let lost = |error| ConnectFailure { error, return_to: None };
        let state = Secret::presented(returned.state).hash();
        let attempt = self.store.take_attempt(&state, returned.browser, self.clock.now()).await;
        let attempt = attempt.map_err(|error| lost(error.into()))?.ok_or_else(|| lost(ConnectError::Gone))?;
        let opened = self.sealer.open(&attempt_place(&attempt.id), &attempt.sealed).ok();
        let remembered: Option<Remembered> = opened.and_then(|plain| serde_json::from_slice(&plain).ok());
        let remembered = remembered.ok_or_else(|| lost(ConnectError::Gone))?;
        let return_to = remembered.return_to.clone();
        match self.check_and_redeem(&returned, remembered).await {
            Ok(upstream) => Ok(Connected { upstream, return_to }),
            Err(error) => Err(ConnectFailure { error, return_to: Some(return_to) }),
        }
    }

    async fn check_and_redeem(
        self: &Arc<Self>,
        returned: &Returned<'_>,
        remembered: Remembered,
    ) -> Result<Arc<Upstream>, ConnectError> {
        let upstream = self.get(&remembered.upstream).filter(|upstream| upstream.id == returned.upstream);
        let upstream = upstream.filter(|upstream| upstream.server.as_str() == remembered.server);
        let upstream = Arc::clone(upstream.ok_or(ConnectError::Gone)?);
        if remembered.by.is_some() && remembered.by.as_ref() != returned.subject {
            return Err(ConnectError::AnotherPerson);
        }
        check_callback_issuer(&remembered.at, returned.iss)
            .map_err(|foreign| ConnectError::Untrusted(foreign.to_string()))?;
        if let Some(error) = returned.error {
            let error = shown_code(error);
            let by = remembered.by.as_ref();
            self.audit("mcp_auth_upstream_connection_refused", &upstream.id, by, Some(&error)).await;
            return Err(ConnectError::Refused(error));
        }
        let code = returned.code.ok_or_else(|| ConnectError::Untrusted("it holds no code".to_owned()))?.to_owned();
        let (this, at) = (Arc::clone(self), Arc::clone(&upstream));
        // A browser that hangs up must not make the tokens be lost.
        let redeeming = tokio::spawn(async move { this.redeem(&at, &code, remembered).await });
        redeeming.await.unwrap_or_else(|_| Err(ConnectError::Unavailable("it broke off".to_owned())))?;
        Ok(upstream)
    }

    async fn redeem(&self, upstream: &Upstream, code: &str, remembered: Remembered) -> Result<(), ConnectError> {
        let grant = TokenGrant::Code {
            code,
            code_verifier: &remembered.verifier,
            redirect_uri: &remembered.redirect_uri,
            resource: &remembered.at.resource,
        };
        let client = remembered.client.client(upstream).ok_or(ConnectError::Gone)?;
        let answer = self.ask_for_token(upstream, &remembered.at.token_endpoint, &client, &grant).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Err(self.not_redeemed(upstream, &remembered, error).await?),
        };
        let connection = self.fresh(upstream, &remembered, &answer);
        self.store.connect(&connection).await?;
        let by = remembered.by.as_ref();
        self.audit("mcp_auth_upstream_connection_established", &upstream.id, by, None).await;
        Ok(())
    }

    /// What a refused code means. A client that the server has forgotten is registered anew the next time.
    async fn not_redeemed(
        &self,
        upstream: &Upstream,
        remembered: &Remembered,
        error: TokenRequestError,
    ) -> Result<ConnectError, StoreError> {
        tracing::warn!(event = "mcp_auth_upstream_connection_failed", upstreamServerId = upstream.id, cause = %error);
        Ok(match error {
            TokenRequestError::InvalidClient => {
                self.forget_registration(upstream, &remembered.at.issuer).await?;
                ConnectError::WrongClient("it answers invalid_client".to_owned())
            }
            TokenRequestError::InvalidGrant => ConnectError::Refused("invalid_grant".to_owned()),
            TokenRequestError::Refused(code) => ConnectError::Refused(code),
            TokenRequestError::Unavailable { cause, .. } => ConnectError::Unavailable(cause),
            TokenRequestError::Unusable(cause) => ConnectError::SetUp(cause),
        })
    }

    fn fresh(&self, upstream: &Upstream, remembered: &Remembered, answer: &TokenAnswer) -> Connection {
        let owner = remembered.subject.clone().map_or(Owner::Everyone, Owner::Person);
        let id = ConnectionId::of(&upstream.id, &owner);
        let held = Held {
            access_token: answer.access_token.expose_secret().to_owned(),
            refresh_token: answer.refresh_token.as_ref().map(|token| token.expose_secret().to_owned()),
            client: remembered.client.clone(),
            issuer: remembered.at.issuer.clone(),
            token_endpoint: remembered.at.token_endpoint.clone(),
            revocation_endpoint: remembered.at.revocation_endpoint.clone(),
            resource: remembered.at.resource.clone(),
        };
        let now = self.clock.now();
        let sealed = self.seal(&id, &held);
        Connection {
            id,
            upstream: upstream.id.clone(),
            owner,
            server: remembered.server.clone(),
            sealed: Vec::new(),
            scope: remembered.scope.clone(),
            missing_scope: String::new(),
            expires_at: None,
            renew_at: None,
            has_refresh_token: false,
            version: 0,
            generation: 0,
            connected_at: now,
            used_at: now,
            claimed_at: None,
            retry_at: UnixTime(0),
            needs_consent: None,
        }
        .renewed(sealed, held.refresh_token.is_some(), answer.expires_in, now)
    }
}

impl From<DiscoveryError> for ConnectError {
    fn from(error: DiscoveryError) -> Self {
        match error {
            DiscoveryError::Unavailable(_) => Self::Unavailable(error.to_string()),
            DiscoveryError::Unusable(_) => Self::SetUp(error.to_string()),
        }
    }
}

impl From<RegistrationError> for ConnectError {
    fn from(error: RegistrationError) -> Self {
        match error {
            RegistrationError::Unavailable { .. } => Self::Unavailable(error.to_string()),
            RegistrationError::Refused { .. } => Self::WrongClient(error.to_string()),
            RegistrationError::NoWay { .. } | RegistrationError::Unusable { .. } => Self::SetUp(error.to_string()),
        }
    }
}

fn attempt_place(id: &str) -> String {
    format!("upstream attempt:{id}")
}

//! The browser login: leaving for the identity provider and coming back (IDP-1, IDP-2, IDP-6, CONS-15).
//!
//! Leaving binds the transaction to the browser and arms a single-use `state`. Coming back, cookie, state and
//! transaction must meet once; only then is the provider asked anything.

use super::AuthorizationServer;
use super::authorize::{ClientAnswer, answer};
use crate::crypto::{Secret, SecretHash};
use crate::domain::browser::{BrowserLogin, ConnectLink, KnownBrowser};
use crate::domain::{AuthorizationRequest, BrowserId, Stage, Transaction, TransactionId, UnixTime};
use crate::identity::{Login, LoginError, LoginReturn, LoginStart};
use crate::oauth::authorization::{AuthorizationErrorCode, error_params};
use crate::oauth::pkce::CodeChallenge;
use crate::store::{AuditRecord, StoreError};
use url::Url;

/// What follows the click on *continue*. It may hold a `state`, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum LoginStarted {
    /// Off to the provider.
    Provider(String),
    /// Somebody is signed in by now, in another tab: straight to consent.
    Consent(TransactionId),
}

/// Why a login could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Expired, decided, or of another browser. One answer for all three: it tells a stranger nothing.
    #[error("this sign-in is no longer open in this browser")]
    Gone,
    /// The provider had to be asked where people sign in, and did not say; the transaction can be tried again.
    #[error("{error}")]
    Provider { error: LoginError, transaction: TransactionId, to_client: Box<ClientAnswer> },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A browser at the callback endpoint.
#[derive(Clone, Copy)]
pub struct Callback<'a> {
    pub state: Option<&'a str>,
    pub code: Option<&'a str>,
    /// The provider's `error`; its description is never shown (WOS-5).
    pub error: Option<&'a str>,
    pub error_description: Option<&'a str>,
    pub issuer: Option<&'a str>,
    pub browser: Option<&'a KnownBrowser>,
    pub browser_ip: Option<std::net::IpAddr>,
    pub user_agent: Option<&'a str>,
    pub origin: &'a str,
}

/// What the provider is asked for beside a login.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    pub switch_account: bool,
    /// Seconds.
    pub max_age: Option<u64>,
}

/// Where a login leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Onward {
    /// To the consent page of a transaction.
    Consent(TransactionId),
    /// To the person's own page (REV-4).
    Account,
    /// To a link to connect a server behind.
    Connect(ConnectLink),
}

/// What a login that came back had been started for.
enum Purpose {
    Authorization(Box<Transaction>),
    /// No client's.
    Own {
        begun_at: UnixTime,
        onward: Onward,
    },
}

impl Purpose {
    fn onward(&self) -> Onward {
        match self {
            Self::Authorization(transaction) => Onward::Consent(transaction.id.clone()),
            Self::Own { onward, .. } => onward.clone(),
        }
    }

    fn max_age(&self) -> Option<u64> {
        match self {
            Self::Authorization(transaction) => transaction.request.max_age,
            Self::Own { .. } => None,
        }
    }

    fn begun_at(&self) -> UnixTime {
        match self {
            Self::Authorization(transaction) => transaction.created_at,
            Self::Own { begun_at, .. } => *begun_at,
        }
    }
}

/// A person is signed in: the browser gets `cookie` and goes on.
#[derive(Debug)]
pub struct SignedIn {
    pub onward: Onward,
    pub cookie: Secret,
}

/// Why a callback did not sign anybody in.
#[derive(Debug, thiserror::Error)]
pub enum CallbackError {
    /// A code but no state: a login that nobody here started, such as impersonation from a dashboard (WOS-11).
    #[error("a sign-in that was not started here")]
    NotStartedHere,
    #[error("the state is unknown, expired or spent")]
    UnknownState,
    /// The state was armed in another browser (CONS-16).
    #[error("the sign-in was started in another browser")]
    OtherBrowser,
    /// The login failed and can be tried again; a client that waits for it can be told.
    #[error("{error}")]
    Login { error: LoginError, onward: Onward, to_client: Option<Box<ClientAnswer>> },
    /// The person, or the provider, said no: the client is told.
    #[error("access was denied at the provider")]
    Denied(Box<ClientAnswer>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AuthorizationServer {
    /// Binds a transaction to the browser with `cookie` and gives the provider's address.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_login(
        &self,
        id: &TransactionId,
        cookie: &Secret,
        known: Option<&KnownBrowser>,
        switch_account: bool,
    ) -> Result<LoginStarted, StartError> {
        let now = self.now();
        let transaction = self.store.transaction(id, now).await?.ok_or(StartError::Gone)?;
        let browser = match known {
            Some(known) => self.kept_browser(known).await?,
            None => self.adopt_browser(cookie).await?,
        };
        let signed_in = known.and_then(|known| known.login(now));
        let waits_for_consent = matches!(transaction.stage, Stage::AwaitingConsent { .. });
        if waits_for_consent && transaction.browser.as_ref() == Some(&browser) {
            // The form came again after the login had finished in this browser, or with a cookie from before it.
            if signed_in.is_some() {
                return Ok(LoginStarted::Consent(transaction.id));
            }
            self.store.await_login_again(id, &browser).await?;
        }
        let state = self.secret("");
        if !self.store.start_login(id, &browser, &state.hash(), now).await? {
            return Err(StartError::Gone);
        }
        let max_age = transaction.request.max_age;
        if let Some(login) = signed_in
            && !switch_account
            && self.suffices(login, &transaction.request).await?
            && self.store.await_consent(id, &browser, &login.subject).await?
        {
            return Ok(LoginStarted::Consent(id.clone()));
        }
        let asked = Asked { switch_account, max_age };
        match self.provider_url(&transaction.request.origin, &state, transaction.created_at, asked).await {
            Ok(url) => Ok(LoginStarted::Provider(url.into())),
            Err(error) => {
                let to_client = Box::new(self.failed_answer(&error, &transaction));
                Err(StartError::Provider { error, transaction: transaction.id, to_client })
            }
        }
    }

    pub(super) async fn adopt_browser(&self, cookie: &Secret) -> Result<BrowserId, StoreError> {
        let fresh = BrowserId::new(self.new_id("br_"));
        self.store.adopt_browser(&fresh, &cookie.hash(), self.now().plus(self.browser_life()), self.now()).await
    }

    pub(super) async fn kept_browser(&self, known: &KnownBrowser) -> Result<BrowserId, StoreError> {
        let record = known.record();
        let until = self.now().plus(self.browser_life());
        if record.login.is_none() && record.expires_at < until {
            self.store.keep_browser(&record.id, until).await?;
        }
        Ok(record.id.clone())
    }

    /// A browser without a login lives as long as the transactions it may carry.
    fn browser_life(&self) -> std::time::Duration {
        self.policy.browser_login.state_ttl.saturating_mul(2)
    }

    /// Whether a login is one for this request, so that nobody has to sign in again.
    pub(super) async fn suffices(
        &self,
        login: &BrowserLogin,
        request: &AuthorizationRequest,
    ) -> Result<bool, StoreError> {
        if !login.is_within(request.max_age, self.now()) {
            return Ok(false);
        }
        match self.route(&request.route).and_then(|route| route.credential.as_ref()) {
            Some(upstream) => Ok(!self.upstreams.wants_sign_in(upstream, &login.subject, None).await?),
            None => Ok(true),
        }
    }

    /// `begun_at` is when the transaction, or the login without one, was begun.
    pub(super) async fn provider_url(
        &self,
        origin: &str,
        state: &Secret,
        begun_at: UnixTime,
        asked: Asked,
    ) -> Result<Url, LoginError> {
        let redirect_uri = self.callback_uri(origin);
        let challenge = self
            .policy
            .browser_login
            .pkce
            .then(|| CodeChallenge::of_verifier(&self.derivation.provider_verifier(state.expose(), begun_at)));
        self.identity
            .authorization_url(&LoginStart {
                redirect_uri: &redirect_uri,
                state: state.expose(),
                code_challenge: challenge.as_ref().map(CodeChallenge::as_str),
                nonce: &self.derivation.provider_nonce(state.expose(), begun_at),
                origin,
                switch_account: asked.switch_account,
                max_age: asked.max_age,
            })
            .await
    }

    /// Takes a browser back from the provider.
    ///
    /// # Errors
    /// [`CallbackError`].
    pub async fn callback(&self, callback: &Callback<'_>) -> Result<SignedIn, CallbackError> {
        let state = match (callback.state, callback.code) {
            (Some(state), _) => state,
            (None, Some(_)) => return Err(CallbackError::NotStartedHere),
            (None, None) => return Err(CallbackError::UnknownState),
        };
        let (purpose, browser) = self.meet(state, callback).await?;
        let login = match self.finish_login(state, callback, &purpose).await {
            Ok(login) => login,
            Err(error) => return Err(self.login_failed(error, &purpose).await?),
        };
        self.signed_in(&purpose, &browser, &login).await
    }

    /// Cookie and state meet, once, with the transaction if there is one (IDP-1). A wrong browser spends nothing.
    async fn meet(&self, state: &str, callback: &Callback<'_>) -> Result<(Purpose, BrowserId), CallbackError> {
        let now = self.now();
        let hash = SecretHash::of(state.as_bytes());
        let Some(transaction) = self.store.transaction_of_state(&hash, now).await? else {
            let browser = callback.browser.map(|known| &known.record().id).ok_or(CallbackError::UnknownState)?;
            let since = now.minus(self.policy.browser_login.state_ttl);
            let armed = self.store.consume_browser_state(browser, &hash, since).await?;
            let (begun_at, link) = armed.ok_or(CallbackError::UnknownState)?;
            let onward = link.map_or(Onward::Account, Onward::Connect);
            return Ok((Purpose::Own { begun_at, onward }, browser.clone()));
        };
        let browser = match (callback.browser, &transaction.browser) {
            (Some(known), Some(owner)) if known.record().id == *owner => owner.clone(),
            _ => return Err(CallbackError::OtherBrowser),
        };
        if transaction.request.origin != callback.origin || !self.store.consume_state(&hash, now).await? {
            return Err(CallbackError::UnknownState);
        }
        Ok((Purpose::Authorization(Box::new(transaction)), browser))
    }

    async fn finish_login(&self, state: &str, callback: &Callback<'_>, purpose: &Purpose) -> Result<Login, LoginError> {
        let begun_at = purpose.begun_at();
        self.identity.check_callback_issuer(callback.issuer).await?;
        let redirect_uri = self.callback_uri(callback.origin);
        if let Some(error) = callback.error {
            return Err(self.identity.callback_error(error, callback.error_description, &redirect_uri));
        }
        let verifier = self.policy.browser_login.pkce.then(|| self.derivation.provider_verifier(state, begun_at));
        let nonce = self.derivation.provider_nonce(state, begun_at);
        let back = LoginReturn {
            code: callback.code.ok_or(LoginError::CodeRejected)?,
            state,
            redirect_uri: &redirect_uri,
            code_verifier: verifier.as_deref(),
            nonce: &nonce,
            browser_ip: callback.browser_ip,
            user_agent: callback.user_agent,
            max_age: purpose.max_age(),
            now: self.now(),
        };
        // IDP-10: whatever the provider does, the person gets an answer.
        tokio::time::timeout(self.policy.browser_login.remote_timeout, self.identity.exchange(&back))
            .await
            .unwrap_or_else(|_| Err(LoginError::Unavailable("no answer in time".to_owned())))
    }

    async fn signed_in(
        &self,
        purpose: &Purpose,
        browser: &BrowserId,
        login: &Login,
    ) -> Result<SignedIn, CallbackError> {
        let now = self.now();
        self.store.save_person(&login.person, now).await?;
        self.upstreams.signed_in(login).await?;
        let cookie = self.secret("");
        let session = BrowserLogin {
            subject: login.person.id.clone(),
            authenticated_at: login.authenticated_at.map_or(now, |at| at.min(now)),
            provider_session: login.provider_session.clone(),
            login_session: self.sessions.begin(login).await?,
        };
        let expires_at = now.plus(self.policy.browser_login.session_ttl);
        self.store.sign_in(browser, &cookie.hash(), &session, expires_at).await?;
        let request = match purpose {
            Purpose::Authorization(transaction) => {
                if !self.store.await_consent(&transaction.id, browser, &login.person.id).await? {
                    return Err(CallbackError::UnknownState);
                }
                self.metrics.steps.count(["signed_in"]);
                Some(&transaction.request)
            }
            Purpose::Own { .. } => None,
        };
        self.metrics.logins.count(["succeeded"]);
        let record = AuditRecord {
            subject: Some(&login.person.id),
            client: request.map(|request| &request.client_id),
            route: request.map(|request| request.route.as_str()),
            reason: login.person.impersonator.as_deref().map(|_| "impersonated"),
            ..AuditRecord::new("mcp_auth_login_succeeded", now)
        };
        self.audit(record).await;
        Ok(SignedIn { onward: purpose.onward(), cookie })
    }

    /// Logs why a login did not succeed (IDP-6).
    pub(super) fn log_failure(&self, error: &LoginError) {
        self.metrics.logins.count([error.outcome()]);
        tracing::warn!(event = "mcp_auth_login_failed", provider = self.identity.display_name(), %error);
    }

    /// Logs the same, and gives what the client may hear of it.
    fn failed_answer(&self, error: &LoginError, transaction: &Transaction) -> ClientAnswer {
        self.log_failure(error);
        let (code, description) = match error {
            LoginError::AccessDenied | LoginError::ImpersonationRefused | LoginError::WrongOrganization => {
                (AuthorizationErrorCode::AccessDenied, "the sign-in was refused")
            }
            LoginError::Interactive(_) => (AuthorizationErrorCode::AccessDenied, "the provider asks for another step"),
            LoginError::Unavailable(_) => {
                (AuthorizationErrorCode::TemporarilyUnavailable, "the identity provider is unavailable")
            }
            LoginError::CodeRejected | LoginError::SetUp(_) | LoginError::Untrusted(_) => {
                (AuthorizationErrorCode::ServerError, "the sign-in could not be completed")
            }
        };
        client_answer(transaction, code, description)
    }

    async fn login_failed(&self, error: LoginError, purpose: &Purpose) -> Result<CallbackError, CallbackError> {
        let Purpose::Authorization(transaction) = purpose else {
            self.log_failure(&error);
            return Ok(CallbackError::Login { error, onward: purpose.onward(), to_client: None });
        };
        let to_client = Box::new(self.failed_answer(&error, transaction));
        if error == LoginError::AccessDenied {
            self.store.deny(&transaction.id).await?;
            let record = AuditRecord {
                client: Some(&transaction.request.client_id),
                route: Some(&transaction.request.route),
                reason: Some("provider"),
                ..AuditRecord::refused("mcp_auth_consent_denied", self.now())
            };
            self.metrics.steps.count(["denied_by_provider"]);
            self.audit(record).await;
            return Ok(CallbackError::Denied(to_client));
        }
        Ok(CallbackError::Login { error, onward: purpose.onward(), to_client: Some(to_client) })
    }
}

/// An error for the client of a transaction, with `state` and `iss`.
pub(super) fn client_answer(
    transaction: &Transaction,
    code: AuthorizationErrorCode,
    description: &str,
) -> ClientAnswer {
    let request = &transaction.request;
    let params = error_params(code, Some(description), request.state.as_deref(), &request.issuer);
    ClientAnswer {
        location: answer(&request.redirect_uri, &params),
        as_link: false,
        redirect_host: request.redirect_uri.display_host(),
        code,
        description: description.to_owned(),
    }
}

//! The authorization endpoint (OAuth 2.1 §4.1.1, RFC 7636, 8707, 9207): from the client's query to a stored
//! transaction.
//!
//! Errors come in two kinds, told apart by type: before client and redirect URI are proven they stay here as
//! a page ([`LocalError`]); after that they go to the client ([`ClientAnswer`]).

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::AuthorizationServer;
use super::access::NotIssued;
use super::clients::ClientError;
use super::login::client_answer;
use crate::config::model::{RedirectAllowance, Route};
use crate::domain::browser::KnownBrowser;
use crate::domain::client::GrantType;
use crate::domain::{AuthorizationRequest, Client, ClientOrigin, Stage, Throttled, Transaction, TransactionId};
use crate::oauth::authorization::{AuthorizationErrorCode, error_params};
use crate::oauth::params::Params;
use crate::oauth::pkce::CodeChallenge;
use crate::oauth::redirect_uri::{RedirectKind, RedirectUri};
use crate::oauth::resource;
use crate::oauth::scope::ScopeSet;
use crate::store::{AuditRecord, StoreError};

/// The longest `state` that is carried for a client, in bytes (AUTHZ-13 asks for 2 KiB).
const MAX_STATE: usize = 4096;
/// Transactions one browser may have pending (LIM-4).
const MAX_PENDING: i64 = 64;

/// An authorization request as it came in.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    /// The raw query, or form body.
    pub query: &'a str,
    /// Public origin it came in on.
    pub origin: &'a str,
    /// Route of the route-bound endpoint.
    pub bound_route: Option<&'a str>,
    pub browser: Option<&'a KnownBrowser>,
    pub peer: Option<IpAddr>,
}

/// An accepted request, waiting for the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorized {
    /// Nobody is signed in on this browser: ask before leaving for the provider (CONS-5).
    ConfirmStart(TransactionId),
    /// Someone is: on to the consent page.
    Consent(TransactionId),
}

/// An error on its way to the client's redirect URI. `Debug` does not show where that is (SEC-6).
#[derive(Clone, PartialEq, Eq)]
pub struct ClientAnswer {
    /// Complete, with `iss` and `state`.
    pub location: String,
    /// Show it as a link on a page instead of redirecting: nobody has shown yet that they want to go there
    /// (AUTHZ-16).
    pub as_link: bool,
    pub redirect_host: String,
    pub code: AuthorizationErrorCode,
    pub description: String,
}

impl fmt::Debug for ClientAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAnswer")
            .field("redirect_host", &self.redirect_host)
            .field("code", &self.code)
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}

/// What went wrong while it was still unproven whose redirect URI this is. Shown as a page.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("the request names no client (`client_id` is missing or repeated)")]
    NoClient,
    #[error("this server does not know the application that sent you here")]
    UnknownClient,
    #[error("{0}")]
    ClientRefused(String),
    #[error("{0}")]
    ClientUnreachable(String),
    #[error("the request has no usable `redirect_uri`")]
    NoRedirectUri,
    #[error("the address the application wants you sent back to is not one it registered")]
    RedirectUriMismatch,
    #[error("the operator of this server does not allow the address the application wants you sent back to")]
    RedirectUriNotAllowed,
    #[error(transparent)]
    Throttled(#[from] Throttled),
}

/// Why an authorization request was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizeError {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error("{}", .0.description)]
    Client(Box<ClientAnswer>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A refusal that the client will be told.
struct Refusal(AuthorizationErrorCode, String);

impl Refusal {
    fn new(code: AuthorizationErrorCode, description: impl Into<String>) -> Self {
        Self(code, description.into())
    }
}

impl AuthorizationServer {
    /// Checks an authorization request, rule by rule, and stores its transaction.
    ///
    /// # Errors
    /// [`AuthorizeError`].
    pub async fn authorize(&self, incoming: &Incoming<'_>) -> Result<Authorized, AuthorizeError> {
        self.budgets.authorization(incoming.peer, self.now()).map_err(LocalError::from)?;
        let params = Params::parse(incoming.query);
        let client = self.check_client(&params, incoming.peer).await?;
        let redirect_uri = check_redirect_uri(&params, &client)?;
        self.check_redirect_allowed(&redirect_uri)?;

        let request = self
            .check_request(&params, incoming, &client, &redirect_uri)
            .map_err(|refusal| self.refuse(refusal, &params, incoming, &client, &redirect_uri))?;
        self.open_transaction(request, incoming.browser).await
    }

    async fn check_client(&self, params: &Params, asker: Option<IpAddr>) -> Result<Client, AuthorizeError> {
        let id = params.get("client_id").ok().flatten().ok_or(LocalError::NoClient)?;
        self.clients.resolve_for(asker, id, self.now()).await.map_err(|error| match error {
            ClientError::Unknown => LocalError::UnknownClient.into(),
            ClientError::Refused(cause) => LocalError::ClientRefused(cause).into(),
            ClientError::Unreachable(cause) => LocalError::ClientUnreachable(cause).into(),
            ClientError::Throttled(throttled) => LocalError::Throttled(throttled).into(),
            ClientError::Store(error) => AuthorizeError::Store(error),
        })
    }

    /// AUTHZ-5: the operator's allow-list, at register, authorize and token alike.
    pub(super) fn redirect_allowed(&self, redirect_uri: &RedirectUri) -> bool {
        let Some(allowed) = &self.options().redirect_uri_allow_list else { return true };
        allowed.iter().any(|entry| match entry {
            RedirectAllowance::Uri(uri) => uri.matches(redirect_uri),
            RedirectAllowance::Origin(origin) => {
                url::Url::parse(redirect_uri.as_str()).is_ok_and(|url| url.origin() == *origin)
            }
        })
    }

    fn check_redirect_allowed(&self, redirect_uri: &RedirectUri) -> Result<(), LocalError> {
        if self.redirect_allowed(redirect_uri) { Ok(()) } else { Err(LocalError::RedirectUriNotAllowed) }
    }

    /// Everything that is checked once client and redirect URI are proven, in the order of the RFCs.
    fn check_request(
        &self,
        params: &Params,
        incoming: &Incoming<'_>,
        client: &Client,
        redirect_uri: &RedirectUri,
    ) -> Result<AuthorizationRequest, Refusal> {
        check_no_request_object(params)?;
        check_response_type(params)?;
        check_grant_type(client)?;
        let challenge = check_pkce(params)?;
        let route = self.check_resource(params, incoming, client)?;
        let scope = self.check_scope(params, client, route)?;
        let state = check_state(params)?;
        let max_age = check_max_age(params)?;
        self.check_prompt(params, incoming, max_age)?;
        Ok(AuthorizationRequest {
            max_age,
            client_id: client.id.clone(),
            redirect_uri: redirect_uri.clone(),
            state,
            code_challenge: challenge.as_str().to_owned(),
            resource: format!("{}{}", incoming.origin, route.path),
            route: route.path.clone(),
            scope,
            origin: incoming.origin.to_owned(),
            issuer: issuer_of(incoming),
        })
    }

    /// RFC 8707: one resource of this origin (AUTHZ-8 … AUTHZ-11).
    fn check_resource<'s>(
        &'s self,
        params: &Params,
        incoming: &Incoming<'_>,
        client: &Client,
    ) -> Result<&'s Route, Refusal> {
        let routes: Vec<&str> = self
            .protected_routes()
            .map(|route| route.path.as_str())
            .filter(|path| client.routes.as_ref().is_none_or(|limit| limit.iter().any(|one| one == path)))
            .collect();
        let requested = params.all("resource");
        let bound = incoming.bound_route;
        let path =
            resource::resolve(&requested, incoming.origin, &routes, bound, self.options().default_route.as_deref())
                .map_err(|error| Refusal::new(AuthorizationErrorCode::InvalidTarget, error.to_string()))?
                .to_owned();
        self.route(&path).ok_or_else(|| Refusal::new(AuthorizationErrorCode::InvalidTarget, "unknown resource"))
    }

    fn check_scope(&self, params: &Params, client: &Client, route: &Route) -> Result<ScopeSet, Refusal> {
        let requested = get(params, "scope")?;
        self.scopes.resolve(requested, client.scopes.as_ref(), &self.needed_scopes(route)).map_err(|_| {
            Refusal::new(
                AuthorizationErrorCode::InvalidScope,
                format!("none of the requested scopes can be granted; known are {}", self.scopes.grantable()),
            )
        })
    }

    /// OpenID Connect `prompt=none`: no page may be shown, and consent always needs one (AUTHZ-16).
    fn check_prompt(&self, params: &Params, incoming: &Incoming<'_>, max_age: Option<u64>) -> Result<(), Refusal> {
        let prompt = get(params, "prompt")?.unwrap_or_default();
        if !prompt.split(' ').any(|value| value == "none") {
            return Ok(());
        }
        let now = self.now();
        let login = incoming.browser.and_then(|browser| browser.login(now));
        match login.filter(|login| login.is_within(max_age, now)) {
            None => Err(Refusal::new(AuthorizationErrorCode::LoginRequired, "nobody is signed in")),
            Some(_) => Err(Refusal::new(AuthorizationErrorCode::ConsentRequired, "the person must be asked")),
        }
    }

    fn refuse(
        &self,
        Refusal(code, description): Refusal,
        params: &Params,
        incoming: &Incoming<'_>,
        client: &Client,
        redirect_uri: &RedirectUri,
    ) -> AuthorizeError {
        self.metrics.authorizations_refused.count([code.as_str()]);
        let state = params.get("state").ok().flatten().filter(|state| state.len() <= MAX_STATE);
        let signed_in = incoming.browser.is_some_and(|browser| browser.login(self.now()).is_some());
        // Anybody may register, and anybody may publish a document.
        let vouched_for = client.origin == ClientOrigin::Static;
        AuthorizeError::Client(Box::new(ClientAnswer {
            location: answer(redirect_uri, &error_params(code, Some(&description), state, &issuer_of(incoming))),
            as_link: !signed_in && !vouched_for && redirect_uri.kind() != RedirectKind::Loopback,
            redirect_host: redirect_uri.display_host(),
            code,
            description,
        }))
    }

    /// Stores the transaction, bound to the browser at once when somebody is signed in on it.
    async fn open_transaction(
        &self,
        request: AuthorizationRequest,
        browser: Option<&KnownBrowser>,
    ) -> Result<Authorized, AuthorizeError> {
        let now = self.now();
        let login = match browser.and_then(|known| known.login(now)) {
            Some(login) if self.suffices(login, &request).await? => Some(login),
            _ => None,
        };
        if let Some(known) = browser {
            // The oldest make room: another site can open any number in a person's browser, and must not lock them out.
            self.store.drop_oldest_pending(&known.record().id, MAX_PENDING - 1).await?;
        }
        let stage = match login {
            Some(login) => Stage::AwaitingConsent { subject: login.subject.clone() },
            None => Stage::AwaitingLogin,
        };
        let id = TransactionId::new(self.new_id("tx_"));
        let next = match &stage {
            Stage::AwaitingConsent { .. } => Authorized::Consent(id.clone()),
            _ => Authorized::ConfirmStart(id.clone()),
        };
        let life: Duration = self.policy.browser_login.state_ttl;
        let transaction = Transaction {
            id,
            request,
            browser: login.and(browser).map(|known| known.record().id.clone()),
            stage,
            created_at: now,
            expires_at: now.plus(life),
        };
        self.store.create_transaction(&transaction).await?;
        self.metrics.steps.count(["started"]);
        tracing::info!(
            event = "mcp_auth_authorization_started",
            clientId = %transaction.request.client_id,
            redirectHost = transaction.request.redirect_uri.display_host(),
            route = transaction.request.route,
        );
        Ok(next)
    }

    /// Development only (OPS-11): passes login and consent for `person` without a page.
    ///
    /// # Errors
    /// [`AuthorizeError`].
    pub async fn authorize_without_asking(
        &self,
        incoming: &Incoming<'_>,
        person: &crate::domain::Person,
    ) -> Result<String, AuthorizeError> {
        let now = self.now();
        self.store.save_person(person, now).await?;
        let browser = crate::domain::BrowserId::new(self.new_id("br_"));
        let login = crate::domain::browser::BrowserLogin {
            subject: person.id.clone(),
            authenticated_at: now,
            provider_session: None,
            login_session: None,
        };
        let known = KnownBrowser::Current(crate::domain::Browser {
            id: browser,
            login: Some(login.clone()),
            expires_at: now.plus(Duration::from_secs(60)),
        });
        let incoming = Incoming { browser: Some(&known), ..*incoming };
        let (Authorized::ConfirmStart(id) | Authorized::Consent(id)) = self.authorize(&incoming).await?;
        let transaction = self.store.transaction(&id, now).await?.ok_or(StoreError::Unreadable("transaction"))?;
        self.audit(AuditRecord { reason: Some("auto_approve"), ..AuditRecord::new("mcp_auth_consent_approved", now) })
            .await;
        self.issue_code(&transaction, &login, transaction.request.scope.clone()).await.map_err(|error| match error {
            NotIssued::Refused(refusal) => {
                let description = format!("this person may not use the server: {refusal}");
                let answer = client_answer(&transaction, AuthorizationErrorCode::AccessDenied, &description);
                AuthorizeError::Client(Box::new(answer))
            }
            NotIssued::Store(error) => error.into(),
        })
    }
}

/// The issuer of the endpoint that was used: the origin, or the route's URL (RFC 9207, AUTHZ-12).
fn issuer_of(incoming: &Incoming<'_>) -> String {
    format!("{}{}", incoming.origin, incoming.bound_route.unwrap_or_default())
}

/// The redirect URI with `params` added to its query.
pub(super) fn answer(redirect_uri: &RedirectUri, params: &[(String, String)]) -> String {
    let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    redirect_uri.with_params(&params)
}

/// AUTHZ-1 … AUTHZ-4: parses, and matches a registered one.
fn check_redirect_uri(params: &Params, client: &Client) -> Result<RedirectUri, LocalError> {
    let text = params.get("redirect_uri").ok().flatten().ok_or(LocalError::NoRedirectUri)?;
    let presented = RedirectUri::parse(text).map_err(|_| LocalError::NoRedirectUri)?;
    if client.matching_redirect_uri(&presented).is_none() {
        return Err(LocalError::RedirectUriMismatch);
    }
    Ok(presented)
}

fn get<'p>(params: &'p Params, name: &str) -> Result<Option<&'p str>, Refusal> {
    params.get(name).map_err(|_| Refusal::new(AuthorizationErrorCode::InvalidRequest, format!("`{name}` is repeated")))
}

/// AUTHZ-18.
fn check_no_request_object(params: &Params) -> Result<(), Refusal> {
    if get(params, "request")?.is_some() {
        return Err(Refusal::new(AuthorizationErrorCode::RequestNotSupported, "request objects are not supported"));
    }
    if get(params, "request_uri")?.is_some() {
        return Err(Refusal::new(AuthorizationErrorCode::RequestUriNotSupported, "request_uri is not supported"));
    }
    Ok(())
}

/// AUTHZ-7.
fn check_response_type(params: &Params) -> Result<(), Refusal> {
    match get(params, "response_type")? {
        Some("code") => match get(params, "response_mode")? {
            None | Some("query") => Ok(()),
            Some(_) => {
                Err(Refusal::new(AuthorizationErrorCode::InvalidRequest, "only response_mode=query is supported"))
            }
        },
        Some(_) => {
            Err(Refusal::new(AuthorizationErrorCode::UnsupportedResponseType, "only response_type=code is supported"))
        }
        None => Err(Refusal::new(AuthorizationErrorCode::InvalidRequest, "`response_type` is missing")),
    }
}

fn check_grant_type(client: &Client) -> Result<(), Refusal> {
    if client.may_use(GrantType::AuthorizationCode) {
        Ok(())
    } else {
        Err(Refusal::new(
            AuthorizationErrorCode::UnauthorizedClient,
            "the client did not register the authorization_code grant",
        ))
    }
}

/// AUTHZ-6: S256 for every client.
fn check_pkce(params: &Params) -> Result<CodeChallenge, Refusal> {
    CodeChallenge::parse(get(params, "code_challenge")?, get(params, "code_challenge_method")?)
        .map_err(|error| Refusal::new(AuthorizationErrorCode::InvalidRequest, error.to_string()))
}

/// OpenID Connect Core §3.1.2.1, RFC 9470 §4.
fn check_max_age(params: &Params) -> Result<Option<u64>, Refusal> {
    let max_age = get(params, "max_age")?.map(str::parse);
    max_age
        .transpose()
        .map_err(|_| Refusal::new(AuthorizationErrorCode::InvalidRequest, "`max_age` is not a whole number of seconds"))
}

fn check_state(params: &Params) -> Result<Option<String>, Refusal> {
    match get(params, "state")? {
        Some(state) if state.len() > MAX_STATE => {
            Err(Refusal::new(AuthorizationErrorCode::InvalidRequest, "`state` is longer than 4096 bytes"))
        }
        other => Ok(other.map(str::to_owned)),
    }
}

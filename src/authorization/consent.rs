//! The person's decision (CONS-1 … CONS-17): what the consent page shows, and what a submitted form does.
//!
//! No code comes to exist but through [`AuthorizationServer::decide`] (or a remembered approval, which is the
//! record of one). The code is derived from the transaction, so two submissions give one code.

use super::AuthorizationServer;
use super::access::NotIssued;
use super::authorize::{ClientAnswer, answer};
use super::clients::ClientError;
use super::connections::Standing;
use super::login::client_answer;
use super::login_sessions::SessionError;
use crate::access::AccessRefusal;
use crate::domain::browser::{BrowserLogin, KnownBrowser};
use crate::domain::code::CODE_TTL;
use crate::domain::{BrowserId, Client, Grant, GrantId, Person, Stage, SubjectId, Transaction, TransactionId};
use crate::oauth::authorization::{AuthorizationErrorCode, success_params};
use crate::oauth::redirect_uri::RedirectKind;
use crate::oauth::scope::ScopeSet;
use crate::store::{AuditRecord, StoreError};

/// What a visit to a transaction's page shows.
#[derive(Debug)]
pub enum ConsentView {
    /// Nobody is signed in yet: the page before the provider (CONS-5).
    Start { transaction: Transaction, client: Client },
    /// The decision. It waits while `standing` does.
    Ask { transaction: Transaction, client: Client, person: Person, csrf: String, standing: Option<Standing> },
    /// The access rules do not let the person in: the same page, without a way to approve (WOS-13).
    Refused { transaction: Transaction, client: Client, person: Person, csrf: String, refusal: AccessRefusal },
    /// Decided before.
    Done { approved: bool },
}

/// A person's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Of what was asked for, all `but` these scopes (CONS-17). Nothing can be added.
    Approve {
        but: ScopeSet,
    },
    Cancel,
}

/// Where the browser goes after a decision: the client's redirect URI, complete. It may hold a code, so it has no
/// `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Decided {
    pub location: String,
}

/// Why a page cannot be shown or a decision not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    #[error("this sign-in is no longer open in this browser")]
    Gone,
    /// The form does not come from a page this browser was shown (CONS-9).
    #[error("the form was not submitted from our own page")]
    Forged,
    /// The person signed out, or somebody else signed in, since the page was shown.
    #[error("the sign-in behind this page has ended")]
    SignedOut(TransactionId),
    #[error("the identity provider cannot be asked")]
    ProviderUnavailable,
    /// The access rules changed since the page was shown.
    #[error("the person may not use the server")]
    NotAllowed(TransactionId),
    /// The server behind wants an account that the person has not connected yet, or has to connect again.
    #[error("the server behind is not connected")]
    NotConnected(TransactionId),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AuthorizationServer {
    /// The page of a transaction for this browser. Any number of visits changes nothing (CONS-12), but that a
    /// transaction whose login has ended waits for a login again.
    ///
    /// # Errors
    /// [`ConsentError`].
    pub async fn view(&self, id: &TransactionId, browser: Option<&KnownBrowser>) -> Result<ConsentView, ConsentError> {
        let now = self.now();
        let transaction = self.store.transaction(id, now).await?.ok_or(ConsentError::Gone)?;
        check_owner(&transaction, browser)?;
        let subject = match &transaction.stage {
            Stage::Approved { .. } => return Ok(ConsentView::Done { approved: true }),
            Stage::Denied => return Ok(ConsentView::Done { approved: false }),
            Stage::AwaitingLogin => None,
            Stage::AwaitingConsent { subject } => Some(subject.clone()),
        };
        let client = self.clients.resolve(transaction.request.client_id.as_str(), now).await?;
        let Some(subject) = subject else { return Ok(ConsentView::Start { transaction, client }) };
        let Some((owner, login)) = self.signed_in_owner(browser, &subject) else {
            if let Some(KnownBrowser::Current(present)) = browser {
                self.store.await_login_again(id, &present.id).await?;
            }
            return Ok(ConsentView::Start { transaction, client });
        };
        let person = self.store.person_of_login(&subject, login.login_session.as_ref()).await?;
        let person = person.ok_or(StoreError::Unreadable("person"))?;
        let csrf = self.derivation.csrf(id.as_str(), owner, &subject, now);
        if let Err(refusal) = self.check_access(&transaction.request.route, &person, &client.id) {
            self.audit_refusal(&transaction, &subject, refusal).await;
            return Ok(ConsentView::Refused { transaction, client, person, csrf, refusal });
        }
        let standing = self.standing_of_route(&transaction.request.route, &person).await?;
        Ok(ConsentView::Ask { transaction, client, person, csrf, standing })
    }

    /// The browser and its login, if `subject` is signed in on it right now.
    fn signed_in_owner<'b>(
        &self,
        browser: Option<&'b KnownBrowser>,
        subject: &SubjectId,
    ) -> Option<(&'b BrowserId, &'b BrowserLogin)> {
        let known = browser?;
        let login = known.login(self.now()).filter(|login| login.subject == *subject)?;
        Some((&known.record().id, login))
    }

    /// The scopes of a request that its person may clear.
    #[must_use]
    pub fn optional_scopes(&self, transaction: &Transaction) -> ScopeSet {
        let request = &transaction.request;
        let needed = self.route(&request.route).map(|route| self.needed_scopes(route));
        needed.map(|needed| self.scopes.optional(&request.scope, &needed)).unwrap_or_default()
    }

    /// Takes the decision of a submitted form. A second submission gives the first one's answer (CONS-12).
    ///
    /// # Errors
    /// [`ConsentError`].
    pub async fn decide(
        &self,
        id: &TransactionId,
        browser: Option<&KnownBrowser>,
        csrf: &str,
        decision: Decision,
    ) -> Result<Decided, ConsentError> {
        let now = self.now();
        let login = self.form_of_signed_in(id, browser, csrf)?;
        let transaction = self.store.transaction(id, now).await?.ok_or(ConsentError::Gone)?;
        check_owner(&transaction, browser)?;
        if let Some(done) = self.earlier_decision(&transaction) {
            return Ok(done);
        }
        let Stage::AwaitingConsent { subject } = &transaction.stage else {
            return Err(ConsentError::SignedOut(id.clone()));
        };
        if login.subject != *subject {
            return Err(ConsentError::SignedOut(id.clone()));
        }
        match decision {
            Decision::Approve { but } => {
                let asked = &transaction.request.scope;
                let scope = self.scopes.without(asked, &but.intersection(asked));
                if scope.is_empty() {
                    return self.cancel(&transaction).await;
                }
                if self.waits_for_connection(&transaction, login).await? {
                    return Err(ConsentError::NotConnected(id.clone()));
                }
                self.confirm_sign_in(login, id).await?;
                match self.issue_code(&transaction, login, scope).await {
                    Ok(location) => Ok(Decided { location }),
                    Err(NotIssued::Refused(_)) => Err(ConsentError::NotAllowed(id.clone())),
                    Err(NotIssued::Store(error)) => Err(error.into()),
                }
            }
            Decision::Cancel => self.cancel(&transaction).await,
        }
    }

    /// Who is signed in, if the form comes from a page that was shown to them in this browser (CONS-9).
    pub(super) fn form_of_signed_in<'b>(
        &self,
        id: &TransactionId,
        browser: Option<&'b KnownBrowser>,
        csrf: &str,
    ) -> Result<&'b BrowserLogin, ConsentError> {
        let known = browser.ok_or(ConsentError::Forged)?;
        let login = known.login(self.now()).ok_or_else(|| ConsentError::SignedOut(id.clone()))?;
        let shown = self.derivation.csrf_matches(id.as_str(), &known.record().id, &login.subject, csrf);
        if shown { Ok(login) } else { Err(ConsentError::Forged) }
    }

    /// Cancels from the page before the login, which belongs to no browser yet.
    ///
    /// # Errors
    /// [`ConsentError`].
    pub async fn cancel_before_login(
        &self,
        id: &TransactionId,
        browser: Option<&KnownBrowser>,
    ) -> Result<Decided, ConsentError> {
        let transaction = self.store.transaction(id, self.now()).await?.ok_or(ConsentError::Gone)?;
        check_owner(&transaction, browser)?;
        match transaction.stage {
            Stage::AwaitingLogin => self.cancel(&transaction).await,
            Stage::AwaitingConsent { .. } => Err(ConsentError::Forged),
            Stage::Approved { .. } | Stage::Denied => self.earlier_decision(&transaction).ok_or(ConsentError::Gone),
        }
    }

    /// A login that the provider ended since grants nothing more (IDP-13).
    async fn confirm_sign_in(&self, login: &BrowserLogin, id: &TransactionId) -> Result<(), ConsentError> {
        let Some(session) = &login.login_session else { return Ok(()) };
        self.sessions.check(session).await.map_err(|error| match error {
            SessionError::Ended => ConsentError::SignedOut(id.clone()),
            SessionError::ProviderUnavailable => ConsentError::ProviderUnavailable,
            SessionError::Store(error) => ConsentError::Store(error),
        })
    }

    async fn cancel(&self, transaction: &Transaction) -> Result<Decided, ConsentError> {
        if self.store.deny(&transaction.id).await? {
            let subject = match &transaction.stage {
                Stage::AwaitingConsent { subject } => Some(subject),
                _ => None,
            };
            let record = AuditRecord {
                subject,
                client: Some(&transaction.request.client_id),
                route: Some(&transaction.request.route),
                reason: Some("person"),
                ..AuditRecord::refused("mcp_auth_consent_denied", self.now())
            };
            self.metrics.steps.count(["denied_by_person"]);
            self.audit(record).await;
            return Ok(Decided { location: denial(transaction).location });
        }
        Ok(self.decision_meanwhile(transaction).await?)
    }

    /// The answer of a transaction that another submission decided while this one was under way (CONS-12).
    async fn decision_meanwhile(&self, transaction: &Transaction) -> Result<Decided, StoreError> {
        let decided = self.store.transaction(&transaction.id, self.now()).await?;
        let answer = decided.as_ref().and_then(|decided| self.earlier_decision(decided));
        Ok(answer.unwrap_or_else(|| Decided { location: denial(transaction).location }))
    }

    /// The answer of a transaction that was decided before.
    fn earlier_decision(&self, transaction: &Transaction) -> Option<Decided> {
        match &transaction.stage {
            Stage::Approved { .. } => Some(Decided { location: self.approval(transaction) }),
            Stage::Denied => Some(Decided { location: denial(transaction).location }),
            Stage::AwaitingLogin | Stage::AwaitingConsent { .. } => None,
        }
    }

    /// Where an approved transaction's browser goes, with its one code.
    fn approval(&self, transaction: &Transaction) -> String {
        let request = &transaction.request;
        let code = self.derivation.code(transaction);
        answer(&request.redirect_uri, &success_params(code.expose(), request.state.as_deref(), &request.issuer))
    }

    /// Records the approval of `scope` with its grant and code, and gives the address for the browser.
    pub(super) async fn issue_code(
        &self,
        transaction: &Transaction,
        login: &BrowserLogin,
        scope: ScopeSet,
    ) -> Result<String, NotIssued> {
        self.check_approval(transaction, login).await?;
        let now = self.now();
        let request = &transaction.request;
        let code_expires_at = now.plus(CODE_TTL);
        let grant = Grant {
            id: GrantId::new(self.new_id("grt_")),
            subject: login.subject.clone(),
            client_id: request.client_id.clone(),
            resource: request.resource.clone(),
            route: request.route.clone(),
            scope,
            origin: request.origin.clone(),
            issuer: request.issuer.clone(),
            redirect_host: request.redirect_uri.display_host(),
            authenticated_at: login.authenticated_at,
            login_session: login.login_session.clone(),
            created_at: now,
            // Until its code is redeemed a grant lives no longer than the code.
            expires_at: code_expires_at,
            revoked_at: None,
        };
        let code = self.derivation.code(transaction);
        if !self.store.approve(transaction, &grant, &code.hash(), code_expires_at).await? {
            return Ok(self.decision_meanwhile(transaction).await?.location);
        }
        self.metrics.steps.count(["approved"]);
        self.store.touch_client(&grant.client_id, now).await?;
        let cleared = request.scope.difference(&grant.scope);
        let reason = (!cleared.is_empty()).then(|| format!("without `{cleared}`"));
        let record = AuditRecord::new("mcp_auth_consent_approved", now).grant(&grant);
        self.audit(AuditRecord { reason: reason.as_deref(), ..record }).await;
        self.audit_elevation(&grant).await?;
        self.remember(&grant, &cleared, transaction).await?;
        Ok(self.approval(transaction))
    }

    /// Records when a client gets more at a route than this person's live grants let it do there before (REV-6,
    /// SCOPE-8). Those stay as they are (SCOPE-6).
    async fn audit_elevation(&self, grant: &Grant) -> Result<(), StoreError> {
        let held = self.store.scopes_held(grant).await?;
        let before = held.iter().fold(ScopeSet::default(), |all, scope| all.union(scope));
        if before.is_empty() || grant.scope.iter().all(|scope| self.scopes.satisfies(&before, scope)) {
            return Ok(());
        }
        let sets = format!("from `{before}` to `{}`", grant.scope);
        let record = AuditRecord::new("mcp_auth_scope_elevated", grant.created_at).grant(grant);
        self.audit(AuditRecord { reason: Some(&sets), ..record }).await;
        Ok(())
    }

    /// CONS-3: keeps an approval in mind, for clients for which it may ever be used. A client that asks for less than
    /// before takes nothing back; a person who clears a scope does (CONS-17).
    async fn remember(&self, grant: &Grant, cleared: &ScopeSet, transaction: &Transaction) -> Result<(), StoreError> {
        let Ok(client) = self.clients.resolve(grant.client_id.as_str(), grant.created_at).await else { return Ok(()) };
        if !self.may_remember(&client) {
            return Ok(());
        }
        let until = grant.created_at.plus(self.options().grant_ttl);
        let digest = client.identity_digest();
        let before = self.store.remembered_consent(&grant.subject, transaction, &digest, grant.created_at).await?;
        let scope = self.scopes.without(&before.unwrap_or_default(), cleared).union(&grant.scope);
        let redirect_uri = transaction.request.redirect_uri.as_str();
        self.store.remember_consent(grant, &scope, redirect_uri, &digest, until).await
    }

    /// Only a confidential client that lives on https redirects can be told from a program that took its
    /// place (CONS-2, RFC 8252 §8.6).
    fn may_remember(&self, client: &Client) -> bool {
        self.options().remember_consent
            && !client.is_public()
            && client.redirect_uris.iter().all(|uri| uri.kind() == RedirectKind::Https)
    }

    /// Approves in the person's name what they approved before, or gives `None` to ask them (CONS-3). The
    /// caller vouches that the visit is not cross-site.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn approve_as_remembered(
        &self,
        transaction: &Transaction,
        client: &Client,
        browser: Option<&KnownBrowser>,
    ) -> Result<Option<Decided>, StoreError> {
        let Stage::AwaitingConsent { subject } = &transaction.stage else { return Ok(None) };
        let Some(login) = browser.and_then(|known| known.login(self.now())) else { return Ok(None) };
        if !self.may_remember(client) || login.subject != *subject {
            return Ok(None);
        }
        let digest = client.identity_digest();
        match self.store.remembered_consent(subject, transaction, &digest, self.now()).await? {
            Some(scope) if transaction.request.scope.is_subset(&scope) => {
                if self.waits_for_connection(transaction, login).await? {
                    return Ok(None);
                }
                match self.confirm_sign_in(login, &transaction.id).await {
                    Ok(()) => {}
                    Err(ConsentError::Store(error)) => return Err(error),
                    // The page says what is the matter once the person has decided.
                    Err(_) => return Ok(None),
                }
                match self.issue_code(transaction, login, transaction.request.scope.clone()).await {
                    Ok(location) => Ok(Some(Decided { location })),
                    Err(NotIssued::Refused(_)) => Ok(None),
                    Err(NotIssued::Store(error)) => Err(error),
                }
            }
            _ => Ok(None),
        }
    }

    /// Ends the login behind a consent page, so that another account can be used. Gives the provider's
    /// session, whose end must follow: otherwise the same person comes straight back.
    ///
    /// # Errors
    /// [`ConsentError`].
    pub async fn switch_account(
        &self,
        id: &TransactionId,
        browser: Option<&KnownBrowser>,
        csrf: &str,
    ) -> Result<Option<String>, ConsentError> {
        let login = self.form_of_signed_in(id, browser, csrf)?;
        if let Some(known) = browser {
            self.store.sign_out(&known.record().id).await?;
            self.store.resume_with(&known.record().id, id).await?;
        }
        Ok(login.provider_session.clone())
    }
}

/// A transaction that a browser has claimed is for that browser alone (CONS-16).
pub(super) fn check_owner(transaction: &Transaction, browser: Option<&KnownBrowser>) -> Result<(), ConsentError> {
    match (&transaction.browser, browser) {
        (None, _) => Ok(()),
        (Some(owner), Some(known)) if known.record().id == *owner => Ok(()),
        (Some(_), _) => Err(ConsentError::Gone),
    }
}

fn denial(transaction: &Transaction) -> ClientAnswer {
    client_answer(transaction, AuthorizationErrorCode::AccessDenied, "the person did not approve")
}

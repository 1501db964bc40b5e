//! Who may connect which server behind (gateway.md §8): from the consent page that waits for it, from a link that a call
//! was answered with, from the person's own page.
//!
//! Decides whose connection it becomes, and that nobody makes one for somebody else. `upstream/` makes it.

use std::net::IpAddr;
use std::sync::Arc;

use url::Url;

use super::AuthorizationServer;
use super::account::PURPOSE as ACCOUNT;
use super::consent::{ConsentError, check_owner};
use crate::access::{AccessRefusal, is_operator};
use crate::config::model::{Upstream, UpstreamMode};
use crate::domain::browser::{BrowserLogin, ConnectLink, KnownBrowser};
use crate::domain::{
    BrowserId, ConnectionId, Owner, Person, Stage, SubjectId, Throttled, Transaction, TransactionId, UnixTime,
};
use crate::store::StoreError;
use crate::upstream::{ConnectError, ConnectionStatus, ReturnTo, Start, Ticket};

/// What the anti-forgery value of a link's page is bound to, in a transaction's place.
const PURPOSE: &str = "connect";

/// How a server behind stands for a person.
#[derive(Debug, Clone)]
pub struct Standing {
    pub upstream: Arc<Upstream>,
    pub status: ConnectionStatus,
    /// Whether it is this person who connects it.
    pub may_connect: bool,
}

impl Standing {
    /// Whether the person has something to do before the server can be used.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.may_connect && !self.is_connected()
    }

    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.status, ConnectionStatus::Connected { .. })
    }
}

/// An account at a server behind, on the page of the person who connected it or may connect it for everyone.
#[derive(Debug, Clone)]
pub struct OwnConnection {
    /// `None` when there is none yet.
    pub id: Option<ConnectionId>,
    pub upstream_id: String,
    pub owner: Owner,
    /// `None` when the configuration has it no more.
    pub standing: Option<Standing>,
    pub since: Option<UnixTime>,
}

/// What a link for a person shows to whoever opens it. Any number of visits changes nothing.
#[derive(Debug)]
pub enum LinkView {
    /// Nobody is signed in, or too long ago for a server that relies on it.
    SignIn,
    /// There is nothing left to do.
    SignedIn,
    /// It is for another person.
    OtherPerson { person: Person, csrf: String },
    /// It is for this person, who is no operator any more, and everyone shares the server.
    NotOperator,
    /// It is for this person.
    Connect { person: Person, csrf: String },
    /// It has been used. `csrf` is that of the person's own page: they can go on without it.
    Used { person: Person, csrf: String, standing: Standing },
}

/// A submitted form that asks to connect.
#[derive(Clone, Copy)]
pub struct Begin<'a> {
    pub upstream: &'a Arc<Upstream>,
    pub browser: Option<&'a KnownBrowser>,
    pub csrf: &'a str,
    pub origin: &'a str,
    pub peer: Option<IpAddr>,
}

/// Why the browser does not leave for the upstream.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    #[error("nobody is signed in in this browser")]
    SignedOut,
    #[error("the form was not submitted from our own page")]
    Forged,
    /// The link is for another person.
    #[error("another person is signed in")]
    AnotherPerson,
    /// It is shared, and only an operator connects it.
    #[error("an operator must connect the server")]
    NotOperator,
    /// The transaction is for another server, or there is none of that name.
    #[error("there is nothing to connect")]
    NothingToConnect,
    #[error("the link has been used")]
    Used,
    #[error("{0}")]
    NotAllowed(AccessRefusal),
    #[error(transparent)]
    Throttled(#[from] Throttled),
    #[error(transparent)]
    Consent(ConsentError),
    #[error("{error}")]
    Connect { error: ConnectError, return_to: ReturnTo },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AuthorizationServer {
    /// How the server behind the route at `path` stands for `person`; `None` when there is nothing to connect.
    pub(super) async fn standing_of_route(&self, path: &str, person: &Person) -> Result<Option<Standing>, StoreError> {
        match self.route(path).and_then(|route| route.credential.as_ref()) {
            Some(upstream) => self.standing(upstream, person).await,
            None => Ok(None),
        }
    }

    /// How a server behind stands for `person`; `None` when it wants no connecting.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn standing(&self, upstream: &Arc<Upstream>, person: &Person) -> Result<Option<Standing>, StoreError> {
        let Some(may_connect) = self.may_connect(upstream, person) else { return Ok(None) };
        let status = self.upstreams.status(upstream, &person.id).await?;
        Ok(Some(Standing { upstream: Arc::clone(upstream), status, may_connect }))
    }

    /// `None` when nobody connects it.
    fn may_connect(&self, upstream: &Upstream, person: &Person) -> Option<bool> {
        match upstream.mode {
            UpstreamMode::PerPerson(_) => Some(true),
            UpstreamMode::Shared(_) => Some(is_operator(&self.options().operators, person)),
            UpstreamMode::IdJag(_) => None,
        }
    }

    /// Whether an approval has to wait for a connection that its person can make.
    pub(super) async fn waits_for_connection(
        &self,
        transaction: &Transaction,
        login: &BrowserLogin,
    ) -> Result<bool, StoreError> {
        let path = &transaction.request.route;
        if self.route(path).is_none_or(|route| route.credential.is_none()) {
            return Ok(false);
        }
        let person = self.person_signed_in(login).await?;
        Ok(self.standing_of_route(path, &person).await?.is_some_and(|standing| standing.waits()))
    }

    /// Whether a server behind is connected for a person.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_connected(&self, upstream: &Upstream, subject: &SubjectId) -> Result<bool, StoreError> {
        Ok(matches!(self.upstreams.status(upstream, subject).await?, ConnectionStatus::Connected { .. }))
    }

    pub(super) async fn person_signed_in(&self, login: &BrowserLogin) -> Result<Person, StoreError> {
        let person = self.store.person_of_login(&login.subject, login.login_session.as_ref()).await?;
        person.ok_or(StoreError::Unreadable("person"))
    }

    /// Whoever is signed in in this browser.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn person_of(&self, browser: Option<&KnownBrowser>) -> Result<Option<Person>, StoreError> {
        match self.own_session(browser) {
            Some((_, login)) => self.person_signed_in(login).await.map(Some),
            None => Ok(None),
        }
    }

    /// The connections of a person, and for an operator those that everyone shares.
    pub(super) async fn own_connections(&self, person: &Person) -> Result<Vec<OwnConnection>, StoreError> {
        let mut own = Vec::new();
        for connection in self.store.connections(Some(&person.id), "").await? {
            let upstream = self.upstreams.get(&connection.upstream);
            let upstream = upstream.filter(|upstream| matches!(upstream.mode, UpstreamMode::PerPerson(_)));
            own.push(OwnConnection {
                standing: match upstream {
                    Some(upstream) => self.standing(upstream, person).await?,
                    None => None,
                },
                id: Some(connection.id),
                upstream_id: connection.upstream,
                owner: connection.owner,
                since: Some(connection.connected_at),
            });
        }
        for upstream in self.config.upstreams().filter(|one| matches!(one.mode, UpstreamMode::Shared(_))) {
            let standing = self.standing(upstream, person).await?.filter(|standing| standing.may_connect);
            let Some(standing) = standing else { continue };
            let known = self.store.connection(&ConnectionId::of(&upstream.id, &Owner::Everyone)).await?;
            own.push(OwnConnection {
                id: known.as_ref().map(|known| known.id.clone()),
                upstream_id: upstream.id.clone(),
                owner: Owner::Everyone,
                standing: Some(standing),
                since: known.map(|known| known.connected_at),
            });
        }
        Ok(own)
    }

    /// What a link for `subject` shows in this browser.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn view_link(
        &self,
        upstream: &Arc<Upstream>,
        ticket: &Ticket,
        subject: &SubjectId,
        browser: Option<&KnownBrowser>,
    ) -> Result<LinkView, StoreError> {
        let Some((owner, login)) = self.own_session(browser) else { return Ok(LinkView::SignIn) };
        let person = self.person_signed_in(login).await?;
        let csrf = |purpose| self.derivation.csrf(purpose, owner, &login.subject, self.now());
        if login.subject != *subject {
            return Ok(LinkView::OtherPerson { person, csrf: csrf(PURPOSE) });
        }
        if matches!(upstream.mode, UpstreamMode::IdJag(_)) {
            let too_old = self.upstreams.wants_sign_in(upstream, subject, Some(ticket.given_at())).await?;
            return Ok(if too_old { LinkView::SignIn } else { LinkView::SignedIn });
        }
        match self.standing(upstream, &person).await? {
            Some(standing) if !standing.may_connect => Ok(LinkView::NotOperator),
            Some(standing) if self.upstreams.is_spent(ticket).await? => {
                Ok(LinkView::Used { person, csrf: csrf(ACCOUNT), standing })
            }
            _ => Ok(LinkView::Connect { person, csrf: csrf(PURPOSE) }),
        }
    }

    /// Leaves for the upstream by a link for `subject`. It is spent once everything is ready, so that one that led nowhere
    /// can be tried again; of any number of presses one leaves by it.
    ///
    /// # Errors
    /// [`BeginError`].
    pub async fn connect_by_link(
        &self,
        begin: Begin<'_>,
        ticket: &Ticket,
        subject: &SubjectId,
    ) -> Result<Url, BeginError> {
        let (owner, login) = self.own_session(begin.browser).ok_or(BeginError::SignedOut)?;
        if login.subject != *subject {
            return Err(BeginError::AnotherPerson);
        }
        if !self.derivation.csrf_matches(PURPOSE, owner, subject, begin.csrf) {
            return Err(BeginError::Forged);
        }
        if self.upstreams.is_spent(ticket).await? {
            return Err(BeginError::Used);
        }
        let url = self.leave(begin, owner, login, ReturnTo::Application).await?;
        if self.upstreams.spend_ticket(ticket).await? { Ok(url) } else { Err(BeginError::Used) }
    }

    /// Leaves for the upstream of a transaction's route.
    ///
    /// # Errors
    /// [`BeginError`].
    pub async fn connect_from_consent(&self, begin: Begin<'_>, id: &TransactionId) -> Result<Url, BeginError> {
        let login = self.form_of_signed_in(id, begin.browser, begin.csrf).map_err(BeginError::Consent)?;
        let transaction =
            self.store.transaction(id, self.now()).await?.ok_or(BeginError::Consent(ConsentError::Gone))?;
        check_owner(&transaction, begin.browser).map_err(BeginError::Consent)?;
        match &transaction.stage {
            Stage::AwaitingConsent { subject } if *subject == login.subject => {}
            Stage::Approved { .. } | Stage::Denied => return Err(BeginError::Consent(ConsentError::Gone)),
            _ => return Err(BeginError::Consent(ConsentError::SignedOut(id.clone()))),
        }
        let request = &transaction.request;
        let wanted = self.route(&request.route).and_then(|route| route.credential.as_ref());
        if wanted.is_none_or(|wanted| wanted.id != begin.upstream.id) {
            return Err(BeginError::NothingToConnect);
        }
        let person = self.person_signed_in(login).await?;
        self.check_access(&request.route, &person, &request.client_id).map_err(BeginError::NotAllowed)?;
        let (owner, _) = self.own_session(begin.browser).ok_or(BeginError::SignedOut)?;
        self.leave(begin, owner, login, ReturnTo::Consent(id.clone())).await
    }

    /// Leaves for the upstream from the person's own page.
    ///
    /// # Errors
    /// [`BeginError`].
    pub async fn connect_from_account(&self, begin: Begin<'_>) -> Result<Url, BeginError> {
        let (owner, login) = self.own_session(begin.browser).ok_or(BeginError::SignedOut)?;
        if !self.derivation.csrf_matches(ACCOUNT, owner, &login.subject, begin.csrf) {
            return Err(BeginError::Forged);
        }
        self.leave(begin, owner, login, ReturnTo::Account).await
    }

    async fn leave(
        &self,
        begin: Begin<'_>,
        browser: &BrowserId,
        login: &BrowserLogin,
        return_to: ReturnTo,
    ) -> Result<Url, BeginError> {
        self.budgets.authorization(begin.peer, self.now())?;
        let person = self.person_signed_in(login).await?;
        let owner = match self.may_connect(begin.upstream, &person) {
            None => return Err(BeginError::NothingToConnect),
            Some(false) => return Err(BeginError::NotOperator),
            Some(true) if matches!(begin.upstream.mode, UpstreamMode::Shared(_)) => Owner::Everyone,
            Some(true) => Owner::Person(login.subject.clone()),
        };
        let start =
            Start { origin: begin.origin, browser, owner, by: Some(&login.subject), return_to: return_to.clone() };
        let started = self.upstreams.start(begin.upstream, start).await;
        started.map_err(|error| BeginError::Connect { error, return_to })
    }

    /// Ends the login of whoever opened a link that is for somebody else. Gives the provider's session, whose end must
    /// follow: otherwise the same person comes straight back.
    ///
    /// # Errors
    /// [`BeginError`].
    pub async fn switch_account_for_link(
        &self,
        browser: Option<&KnownBrowser>,
        csrf: &str,
        link: &ConnectLink,
    ) -> Result<Option<String>, BeginError> {
        let (owner, login) = self.own_session(browser).ok_or(BeginError::SignedOut)?;
        if !self.derivation.csrf_matches(PURPOSE, owner, &login.subject, csrf) {
            return Err(BeginError::Forged);
        }
        self.store.sign_out(owner).await?;
        self.store.resume_with_link(owner, link).await?;
        Ok(login.provider_session.clone())
    }
}

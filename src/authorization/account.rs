//! A person's own page (REV-4): which clients act in their name, and taking that back; and the login that leads
//! there, which no client asked for.
//!
//! Beside the grants stand the accounts at servers behind that the gateway uses for the person (gateway.md §8). The same
//! login leads to a link that connects one.
//!
//! That login has no transaction. Its `state` hangs on the browser's record, which the cookie names anyway, so that
//! cookie and state meet once as in every other login (IDP-1).

use super::AuthorizationServer;
use super::connections::OwnConnection;
use super::login::Asked;
use crate::crypto::Secret;
use crate::domain::browser::{BrowserLogin, ConnectLink, KnownBrowser};
use crate::domain::{BrowserId, Client, Grant, GrantId, Person, UnixTime};
use crate::identity::LoginError;
use crate::store::{RevocationReason, StoreError};
use url::Url;

/// What the anti-forgery value of the page's forms is bound to, in a transaction's place.
pub(super) const PURPOSE: &str = "account";
/// Grants on one page. Whoever has more sees the newest; revoking all means all.
const SHOWN: u32 = 200;

/// One grant of the signed-in person.
#[derive(Debug, Clone)]
pub struct OwnGrant {
    pub grant: Grant,
    /// Within an hour; `None` for one that was never redeemed.
    pub last_used_at: Option<UnixTime>,
    /// As known without asking anyone; `None` when its registration is gone.
    pub client: Option<Client>,
}

/// What the page shows.
#[derive(Debug, Clone)]
pub struct Account {
    pub person: Person,
    pub grants: Vec<OwnGrant>,
    pub connections: Vec<OwnConnection>,
    pub csrf: String,
}

/// Which grants to take back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoke<'a> {
    All,
    One(&'a str),
}

/// Why nothing was revoked, or no login begun.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("nobody is signed in in this browser")]
    SignedOut,
    #[error("the form was not submitted from our own page")]
    Forged,
    #[error(transparent)]
    Provider(LoginError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AuthorizationServer {
    /// The page of whoever is signed in in this browser, if anybody is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn account(&self, browser: Option<&KnownBrowser>) -> Result<Option<Account>, StoreError> {
        let Some((owner, login)) = self.own_session(browser) else { return Ok(None) };
        let person = self.person_signed_in(login).await?;
        let mut grants = Vec::new();
        for (grant, last_used_at) in self.store.grants_of(&login.subject, self.now(), SHOWN).await? {
            let client = self.clients.at_hand(&grant.client_id, self.now()).await?;
            grants.push(OwnGrant { grant, last_used_at, client });
        }
        let connections = self.own_connections(&person).await?;
        let csrf = self.derivation.csrf(PURPOSE, owner, &login.subject, self.now());
        Ok(Some(Account { person, grants, connections, csrf }))
    }

    pub(super) fn own_session<'b>(
        &self,
        browser: Option<&'b KnownBrowser>,
    ) -> Option<(&'b BrowserId, &'b BrowserLogin)> {
        let known = browser?;
        known.login(self.now()).map(|login| (&known.record().id, login))
    }

    /// Revokes grants of the signed-in person. An id that is unknown, ended or another person's changes nothing and
    /// is answered like any other, so that it tells nothing.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn revoke_own(
        &self,
        browser: Option<&KnownBrowser>,
        csrf: &str,
        which: Revoke<'_>,
    ) -> Result<(), AccountError> {
        let login = self.form_of_own_page(browser, csrf)?;
        let grants = match which {
            Revoke::All => {
                let all = self.store.grants_of(&login.subject, self.now(), u32::MAX).await?;
                all.into_iter().map(|(grant, _)| grant).collect()
            }
            Revoke::One(id) => Vec::from_iter(self.store.grant(&GrantId::new(id)).await?),
        };
        for grant in grants.iter().filter(|grant| grant.subject == login.subject && grant.is_live(self.now())) {
            self.end_grant(grant, RevocationReason::Person).await?;
        }
        Ok(())
    }

    /// Disconnects an account at a server behind. What is not on this person's page is answered like what is.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn disconnect_own(
        &self,
        browser: Option<&KnownBrowser>,
        csrf: &str,
        id: &str,
    ) -> Result<(), AccountError> {
        let login = self.form_of_own_page(browser, csrf)?;
        let connections = self.own_connections(&self.person_signed_in(login).await?).await?;
        if let Some(own) = connections.iter().find(|own| own.id.as_ref().is_some_and(|known| known.as_str() == id)) {
            self.upstreams.disconnect(&own.upstream_id, &own.owner, Some(&login.subject)).await?;
        }
        Ok(())
    }

    /// Who is signed in, if the form comes from the page that was shown to them in this browser (CONS-9).
    fn form_of_own_page<'b>(
        &self,
        browser: Option<&'b KnownBrowser>,
        csrf: &str,
    ) -> Result<&'b BrowserLogin, AccountError> {
        let (owner, login) = self.own_session(browser).ok_or(AccountError::SignedOut)?;
        let shown = self.derivation.csrf_matches(PURPOSE, owner, &login.subject, csrf);
        if shown { Ok(login) } else { Err(AccountError::Forged) }
    }

    /// Gives the provider's address for a login that leads to `link`, or to the person's own page, bound to the browser
    /// with `cookie`.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn start_account_login(
        &self,
        cookie: &Secret,
        known: Option<&KnownBrowser>,
        origin: &str,
        link: Option<&ConnectLink>,
        switch_account: bool,
    ) -> Result<Url, AccountError> {
        let browser = match known {
            Some(known) => self.kept_browser(known).await?,
            None => self.adopt_browser(cookie).await?,
        };
        let state = self.secret("");
        let now = self.now();
        self.store.arm_browser_state(&browser, &state.hash(), link, now).await?;
        let asked = Asked { switch_account, ..Asked::default() };
        self.provider_url(origin, &state, now, asked).await.map_err(|error| {
            self.log_failure(&error);
            AccountError::Provider(error)
        })
    }
}

//! How often callers may ask (LIM-1 … LIM-3, LIM-6).
//!
//! Hosted clients share a few addresses, so what is counted by address is generous, and a request that brings a code
//! or refresh token of ours is counted against its grant alone: whatever others do at the same address, or in the
//! same client's name, it is never refused for that.

use std::net::IpAddr;

use super::AuthorizationServer;
use super::client_authentication::claimed_client;
use super::token::{TokenFailure, TokenRequest};
use crate::config::model::Limits;
use crate::crypto::SecretHash;
use crate::domain::{Caller, ClientId, GrantId, SubjectId, Throttle, Throttled, UnixTime};
use crate::oauth::token::{JWT_BEARER, TokenErrorCode};
use crate::store::StoreError;

/// Unproven token requests of one address in any number of clients' names, as a multiple of those in one's.
const NAMES: u32 = 5;

/// The budgets under one configuration; a reload starts them anew. Without limits nothing is ever refused.
#[derive(Default)]
pub struct Budgets(Option<Spending>);

struct Spending {
    limits: Limits,
    registrations: Throttle,
    authorizations: Throttle,
    unproven: Throttle,
    grants: Throttle,
}

impl Budgets {
    #[must_use]
    pub fn new(limits: Option<Limits>) -> Self {
        Self(limits.map(|limits| Spending {
            limits,
            registrations: Throttle::default(),
            authorizations: Throttle::default(),
            unproven: Throttle::default(),
            grants: Throttle::default(),
        }))
    }

    pub(super) fn registration(&self, address: Option<IpAddr>, now: UnixTime) -> Result<(), Throttled> {
        let Some((spending, caller)) = self.for_caller(address) else { return Ok(()) };
        spending.registrations.take(&caller, spending.limits.registrations, now)
    }

    pub(super) fn authorization(&self, address: Option<IpAddr>, now: UnixTime) -> Result<(), Throttled> {
        let Some((spending, caller)) = self.for_caller(address) else { return Ok(()) };
        spending.authorizations.take(&caller, spending.limits.authorizations, now)
    }

    /// A request that proves nothing: in the name of `client`, with no token or secret that is known here (LIM-3).
    ///
    /// # Errors
    /// [`Throttled`] when the address made too many of them.
    pub fn unproven(&self, client: &str, address: Option<IpAddr>, now: UnixTime) -> Result<(), Throttled> {
        let Some((spending, caller)) = self.for_caller(address) else { return Ok(()) };
        let limit = spending.limits.failed_token_requests;
        spending.unproven.take(&(client, caller), limit, now)?;
        spending.unproven.take(&caller, limit.saturating_mul(NAMES), now)
    }

    /// Whether [`Budgets::unproven`] would pass.
    pub(super) fn check_unproven(&self, client: &str, address: Option<IpAddr>, now: UnixTime) -> Result<(), Throttled> {
        let Some((spending, caller)) = self.for_caller(address) else { return Ok(()) };
        spending.unproven.check(&(client, caller), spending.limits.failed_token_requests, now)
    }

    /// A token for an assertion about a person: as often as one grant may be refreshed.
    ///
    /// # Errors
    /// [`Throttled`].
    pub(super) fn asserted(&self, person: &SubjectId, client: &ClientId, now: UnixTime) -> Result<(), Throttled> {
        let Some(spending) = &self.0 else { return Ok(()) };
        spending.grants.take(&(person.as_str(), client.as_str()), spending.limits.grant_token_requests, now)
    }

    fn for_caller(&self, address: Option<IpAddr>) -> Option<(&Spending, Caller)> {
        Some((self.0.as_ref()?, address?.into()))
    }
}

impl AuthorizationServer {
    /// Counts a request to the token or revocation endpoint before anything of it is checked: against the grant whose
    /// code or token it brings, else against the client it `claims` to be from and its address.
    ///
    /// Gives the address that pays for documents fetched on the way; there is none for who holds a token of ours.
    pub(super) async fn count_token_request(
        &self,
        request: &TokenRequest<'_>,
        claims: &str,
    ) -> Result<Option<IpAddr>, TokenFailure> {
        let Some(spending) = &self.budgets.0 else { return Ok(None) };
        if let Some(grant) = self.presented_grant(request).await? {
            spending.grants.take(&grant.as_str(), spending.limits.grant_token_requests, self.now())?;
            return Ok(None);
        }
        if brings_assertion(request) {
            // Hosted clients bring one for each of their people every few minutes: only those that fail are counted.
            self.budgets.check_unproven(claims, request.peer, self.now())?;
        } else {
            self.budgets.unproven(claims, request.peer, self.now())?;
        }
        Ok(request.peer)
    }

    /// Counts an assertion, or the authentication beside it, that was refused (LIM-3).
    pub(super) fn count_refused_assertion(
        &self,
        request: &TokenRequest<'_>,
        failure: &TokenFailure,
    ) -> Result<(), Throttled> {
        let own_trouble = matches!(
            failure.code(),
            TokenErrorCode::TemporarilyUnavailable | TokenErrorCode::TooManyRequests | TokenErrorCode::ServerError
        );
        if own_trouble || !brings_assertion(request) {
            return Ok(());
        }
        self.budgets.unproven(&claimed_client(request), request.peer, self.now())
    }

    /// The grant of the code or token in a form, whoever sends it.
    async fn presented_grant(&self, request: &TokenRequest<'_>) -> Result<Option<GrantId>, StoreError> {
        let sent = |name| request.form.get(name).ok().flatten();
        if let Some(code) = sent("code") {
            return Ok(self.store.code(&SecretHash::of(code.as_bytes())).await?.map(|code| code.grant));
        }
        let Some(token) = sent("refresh_token").or_else(|| sent("token")) else { return Ok(None) };
        if let Some(refresh) = self.store.refresh_token(&SecretHash::of(token.as_bytes())).await? {
            return Ok(Some(refresh.grant));
        }
        let claims = self.issuer.claims_of_own_token(token, self.now()).await;
        Ok(claims.map(|claims| GrantId::new(claims.sid)))
    }
}

fn brings_assertion(request: &TokenRequest<'_>) -> bool {
    request.form.get("grant_type").ok().flatten() == Some(JWT_BEARER)
}

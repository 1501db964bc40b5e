//! Access rules on every call (gateway.md §9, WOS-13): they follow the person as the store knows them, not as they
//! were at consent.

use std::sync::Arc;

use super::Proxy;
use super::caller::CallerToken;
use super::error::ProxyError;
use super::route::ProxyRoute;
use crate::access;
use crate::domain::Person;
use crate::keys::VerifiedToken;
use crate::store::StoreError;

impl Proxy {
    /// Whether the person behind `token` may use the route now.
    pub(super) async fn check_access(&self, to: &ProxyRoute, token: Option<&CallerToken>) -> Result<(), ProxyError> {
        let route = &to.route;
        let token = match token.filter(|_| !route.access.is_empty()) {
            None => return Ok(()),
            Some(CallerToken::Own(token)) => token,
            Some(CallerToken::Direct(token)) => return Box::pin(self.check_direct_access(to, token)).await,
        };
        let person = self.person_of_grant(token).await?;
        if access::check(&route.access, &person, &token.client).is_ok() {
            return Ok(());
        }
        // Whoever was let in a moment ago need not wait.
        let person = known(self.people.look_up(token, self.clock.now()).await)?;
        access::check(&route.access, &person, &token.client).map_err(ProxyError::AccessDenied)
    }

    pub(super) async fn person(&self, token: &CallerToken) -> Result<Arc<Person>, ProxyError> {
        match token {
            CallerToken::Own(token) => self.person_of_grant(token).await,
            CallerToken::Direct(token) => Ok(Box::pin(self.direct_person(token)).await),
        }
    }

    async fn person_of_grant(&self, token: &VerifiedToken) -> Result<Arc<Person>, ProxyError> {
        known(self.people.find(token, self.clock.now()).await)
    }

    /// The person, as the store knows them this moment.
    pub(super) async fn person_now(&self, token: &CallerToken) -> Result<Arc<Person>, ProxyError> {
        match token {
            CallerToken::Own(token) => known(self.people.look_up(token, self.clock.now()).await),
            CallerToken::Direct(token) => Ok(Box::pin(self.direct_person(token)).await),
        }
    }
}

fn known(found: Result<Option<Arc<Person>>, StoreError>) -> Result<Arc<Person>, ProxyError> {
    let found = found.map_err(|error| {
        tracing::error!(event = "store_unavailable", %error);
        ProxyError::PersonUnknown
    })?;
    found.ok_or(ProxyError::PersonUnknown)
}

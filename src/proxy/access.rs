//! Access rules on every call (gateway.md §9, WOS-13): they follow the person as the store knows them, not as they
//! were at consent.

use std::sync::Arc;

use super::Proxy;
use super::error::ProxyError;
use crate::access;
use crate::config::model::Route;
use crate::domain::Person;
use crate::keys::VerifiedToken;
use crate::store::StoreError;

impl Proxy {
    /// Whether the person behind `token` may use the route now.
    pub(super) async fn check_access(&self, route: &Route, token: Option<&VerifiedToken>) -> Result<(), ProxyError> {
        let Some(token) = token.filter(|_| !route.access.is_empty()) else { return Ok(()) };
        let person = self.person(token).await?;
        if access::check(&route.access, &person, &token.client).is_ok() {
            return Ok(());
        }
        // Whoever was let in a moment ago need not wait.
        let person = self.person_now(token).await?;
        access::check(&route.access, &person, &token.client).map_err(ProxyError::AccessDenied)
    }

    pub(super) async fn person(&self, token: &VerifiedToken) -> Result<Arc<Person>, ProxyError> {
        known(self.people.find(token, self.clock.now()).await)
    }

    /// The person, as the store knows them this moment.
    pub(super) async fn person_now(&self, token: &VerifiedToken) -> Result<Arc<Person>, ProxyError> {
        known(self.people.look_up(token, self.clock.now()).await)
    }
}

fn known(found: Result<Option<Arc<Person>>, StoreError>) -> Result<Arc<Person>, ProxyError> {
    let found = found.map_err(|error| {
        tracing::error!(event = "store_unavailable", %error);
        ProxyError::PersonUnknown
    })?;
    found.ok_or(ProxyError::PersonUnknown)
}

//! Access rules at consent (gateway.md §9, WOS-13): whoever may not use a route gets no code for it.
//!
//! A grant is kept when its person no longer may: refreshing goes on, `proxy/` refuses the calls, and they pass
//! again once the rules let the person in. A changed role must cost nobody their sign-in (REFR-10).

use super::AuthorizationServer;
use crate::access::{self, AccessRefusal};
use crate::domain::browser::BrowserLogin;
use crate::domain::{ClientId, Person, SubjectId, Transaction};
use crate::store::{AuditRecord, StoreError};

/// Why an approval made no code.
#[derive(Debug, thiserror::Error)]
pub enum NotIssued {
    #[error("{0}")]
    Refused(AccessRefusal),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AuthorizationServer {
    /// Whether `person` may use the route at `path` through `client`.
    pub(super) fn check_access(&self, path: &str, person: &Person, client: &ClientId) -> Result<(), AccessRefusal> {
        let rules = self.route(path).map(|route| route.access.as_slice()).unwrap_or_default();
        access::check(rules, person, client)
    }

    /// The last look before a code exists.
    pub(super) async fn check_approval(
        &self,
        transaction: &Transaction,
        login: &BrowserLogin,
    ) -> Result<(), NotIssued> {
        let request = &transaction.request;
        if self.route(&request.route).is_none_or(|route| route.access.is_empty()) {
            return Ok(());
        }
        let person = self.store.person_of_login(&login.subject, login.login_session.as_ref()).await?;
        let person = person.ok_or(StoreError::Unreadable("person"))?;
        if let Err(refusal) = self.check_access(&request.route, &person, &request.client_id) {
            self.audit_refusal(transaction, &login.subject, refusal).await;
            return Err(NotIssued::Refused(refusal));
        }
        Ok(())
    }

    pub(super) async fn audit_refusal(&self, transaction: &Transaction, subject: &SubjectId, refusal: AccessRefusal) {
        let record = AuditRecord {
            subject: Some(subject),
            client: Some(&transaction.request.client_id),
            route: Some(&transaction.request.route),
            reason: Some(refusal.reason_code()),
            ..AuditRecord::refused("mcp_auth_consent_denied", self.now())
        };
        self.metrics.steps.count(["denied_by_rules"]);
        self.audit(record).await;
    }
}

//! The audit trail: who was let in, refused or thrown out, and why (REV-6). Never a token or a secret.

use super::{Store, StoreError, write};
use crate::domain::{ClientId, GrantId, SubjectId, UnixTime};

/// One record. Absent fields do not apply to the event.
#[derive(Debug, Clone, Copy)]
pub struct AuditRecord<'a> {
    pub at: UnixTime,
    /// Such as `grant_revoked` or `refresh_replayed`.
    pub event: &'static str,
    pub subject: Option<&'a SubjectId>,
    pub client: Option<&'a ClientId>,
    pub grant: Option<&'a GrantId>,
    pub route: Option<&'a str>,
    pub reason: Option<&'a str>,
    /// Network address of the caller.
    pub peer: Option<&'a str>,
}

impl<'a> AuditRecord<'a> {
    #[must_use]
    pub fn new(event: &'static str, at: UnixTime) -> Self {
        Self { at, event, subject: None, client: None, grant: None, route: None, reason: None, peer: None }
    }

    #[must_use]
    pub fn grant(self, grant: &'a crate::domain::Grant) -> Self {
        Self {
            subject: Some(&grant.subject),
            client: Some(&grant.client_id),
            grant: Some(&grant.id),
            route: Some(&grant.route),
            ..self
        }
    }
}

impl Store {
    /// # Errors
    /// [`StoreError`].
    pub async fn record(&self, record: &AuditRecord<'_>) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO audit (id, at, event, subject_id, client_id, grant_id, route, reason, peer) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let id = uuid::Uuid::now_v7().to_string();
        write!(self, |pool| sqlx::query(SQL)
            .bind(&id)
            .bind(record.at.0)
            .bind(record.event)
            .bind(record.subject.map(SubjectId::as_str))
            .bind(record.client.map(ClientId::as_str))
            .bind(record.grant.map(GrantId::as_str))
            .bind(record.route)
            .bind(record.reason)
            .bind(record.peer)
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// The events recorded for a grant, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_events_of(&self, grant: &GrantId) -> Result<Vec<String>, StoreError> {
        const SQL: &str = "SELECT event FROM audit WHERE grant_id = $1 ORDER BY id";
        Ok(super::read!(self, |pool| sqlx::query_scalar(SQL).bind(grant.as_str()).fetch_all(pool).await)?)
    }
}

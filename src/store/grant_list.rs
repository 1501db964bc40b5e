//! Grants as operators look for them, and when their tokens were last used (REV-5, REFR-12).

use std::time::Duration;

use super::{Store, StoreError, in_transaction, read};
use crate::domain::code::CODE_TTL;
use crate::domain::{ClientId, Grant, GrantId, Person, SubjectId, UnixTime};
use crate::oauth::scope::ScopeSet;

const PAGE: i64 = 500;

/// Which grants; what is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct GrantFilter {
    pub subject: Option<SubjectId>,
    pub client: Option<ClientId>,
    /// A route's path.
    pub route: Option<String>,
    /// Made earlier than that.
    pub before: Option<UnixTime>,
    /// Neither revoked nor expired at that time.
    pub live_at: Option<UnixTime>,
}

/// A grant in a list. Times in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct ListedGrant {
    pub id: String,
    pub subject_id: String,
    pub client_id: String,
    pub route: String,
    pub scope: String,
    pub redirect_host: String,
    pub created_at: i64,
    pub expires_at: i64,
    pub revoked_at: Option<i64>,
    pub revoked_because: Option<String>,
    /// When the newest token was issued; absent while the code was not redeemed.
    pub issued_at: Option<i64>,
    /// When a token was last seen for the first time.
    pub used_at: Option<i64>,
}

impl ListedGrant {
    /// A token was issued and has not come back since (REFR-12).
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.issued_at.is_some_and(|issued| self.used_at.is_none_or(|used| used < issued))
    }
}

impl Store {
    /// Grants whose id is greater than `after`, in order, a page of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_grants(&self, filter: &GrantFilter, after: &str) -> Result<Vec<ListedGrant>, StoreError> {
        const SQL: &str = "SELECT id, subject_id, client_id, route, scope, redirect_host, created_at, expires_at, \
             revoked_at, revoked_because, used_at, CASE WHEN expires_at - created_at > $8 THEN COALESCE((SELECT issued_at \
             FROM refresh_tokens WHERE grant_id = grants.id ORDER BY generation DESC LIMIT 1), created_at) END AS issued_at \
             FROM grants WHERE id > $1 AND ($2 IS NULL OR subject_id = $2) AND ($3 IS NULL OR client_hash = $3) \
             AND ($4 IS NULL OR route = $4) AND ($5 IS NULL OR created_at < $5) \
             AND ($6 IS NULL OR (revoked_at IS NULL AND expires_at > $6)) ORDER BY id LIMIT $7";
        let client = filter.client.as_ref().map(|client| super::text_hash(client.as_str()));
        Ok(read!(self, |pool| sqlx::query_as(SQL)
            .bind(after)
            .bind(filter.subject.as_ref().map(SubjectId::as_str))
            .bind(&client)
            .bind(&filter.route)
            .bind(filter.before.map(|at| at.0))
            .bind(filter.live_at.map(|at| at.0))
            .bind(PAGE)
            .bind(code_life())
            .fetch_all(pool)
            .await)?)
    }

    /// People with this e-mail address, in whatever case.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn people_with_email(&self, email: &str) -> Result<Vec<Person>, StoreError> {
        const SQL: &str = "SELECT document FROM people WHERE LOWER(document) LIKE $1";
        // The pattern lets too many through; who remains is looked at below.
        let pattern = format!("%{}%", email.to_lowercase());
        let documents: Vec<String> = read!(self, |pool| sqlx::query_scalar(SQL).bind(&pattern).fetch_all(pool).await)?;
        let people = documents.iter().filter_map(|document| serde_json::from_str::<Person>(document).ok());
        Ok(people.filter(|person| person.email.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(email))).collect())
    }

    /// What the same person granted the same client for the same resource in other grants that live.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn scopes_held(&self, grant: &Grant) -> Result<Vec<ScopeSet>, StoreError> {
        const SQL: &str = "SELECT scope FROM grants WHERE subject_id = $1 AND client_hash = $2 AND resource = $3 \
                           AND id <> $4 AND revoked_at IS NULL AND expires_at > $5";
        let scopes: Vec<String> = read!(self, |pool| sqlx::query_scalar(SQL)
            .bind(grant.subject.as_str())
            .bind(super::text_hash(grant.client_id.as_str()))
            .bind(&grant.resource)
            .bind(grant.id.as_str())
            .bind(grant.created_at.0)
            .fetch_all(pool)
            .await)?;
        Ok(scopes.iter().map(|scope| ScopeSet::parse(scope)).collect())
    }

    /// The issuers of the grants that live, each once, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn issuers_of_grants(&self, now: UnixTime) -> Result<Vec<String>, StoreError> {
        const SQL: &str =
            "SELECT DISTINCT issuer FROM grants WHERE revoked_at IS NULL AND expires_at > $1 ORDER BY issuer";
        Ok(read!(self, |pool| sqlx::query_scalar(SQL).bind(now.0).fetch_all(pool).await)?)
    }

    /// Notes that tokens of these grants were used.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn grants_used(&self, grants: &[GrantId], now: UnixTime) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE grants SET used_at = $2 WHERE id = $1 AND (used_at IS NULL OR used_at < $2)";
        in_transaction!(self, |tx| {
            for grant in grants {
                sqlx::query(SQL).bind(grant.as_str()).bind(now.0).execute(&mut *tx).await?;
            }
        });
        Ok(())
    }

    /// Live grants made from `since` on and before `until` that got a token which nobody ever used (REFR-12).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn never_used_grants(&self, since: UnixTime, until: UnixTime) -> Result<Vec<GrantId>, StoreError> {
        const SQL: &str = "SELECT id FROM grants WHERE created_at >= $1 AND created_at < $2 AND used_at IS NULL \
                           AND revoked_at IS NULL AND expires_at - created_at > $3";
        let ids: Vec<String> = read!(self, |pool| sqlx::query_scalar(SQL)
            .bind(since.0)
            .bind(until.0)
            .bind(code_life())
            .fetch_all(pool)
            .await)?;
        Ok(ids.into_iter().map(GrantId::new).collect())
    }
}

/// A grant that lives no longer than this never had its code redeemed.
fn code_life() -> i64 {
    let life: Duration = CODE_TTL;
    i64::try_from(life.as_secs()).unwrap_or(i64::MAX)
}

//! Logins at the identity provider (IDP-12, IDP-13). Every change is made against the version that was read.

use super::{RevocationReason, Store, StoreError, in_transaction, read, write};
use crate::domain::login_session::{LoginSession, LoginSessionId};
use crate::domain::{Grant, GrantId, Person, SubjectId, UnixTime};

/// A login that has just succeeded. `sealed_token` opens at the place that [`LoginSessionId`] names.
#[derive(Debug)]
pub struct NewLoginSession<'a> {
    pub id: &'a LoginSessionId,
    /// As the provider describes them in this login.
    pub person: &'a Person,
    pub provider_session: Option<&'a str>,
}

#[derive(sqlx::FromRow)]
struct LoginSessionRow {
    id: String,
    subject_id: String,
    provider_session: Option<String>,
    sealed_token: Option<Vec<u8>>,
    version: i64,
    synced_at: i64,
    claimed_at: Option<i64>,
    in_doubt: i64,
    failing_since: Option<i64>,
    retry_at: i64,
    ended_at: Option<i64>,
}

impl From<LoginSessionRow> for LoginSession {
    fn from(row: LoginSessionRow) -> Self {
        Self {
            id: LoginSessionId::new(row.id),
            subject: SubjectId::new(row.subject_id),
            provider_session: row.provider_session,
            sealed_token: row.sealed_token,
            version: row.version,
            synced_at: UnixTime(row.synced_at),
            claimed_at: row.claimed_at.map(UnixTime),
            in_doubt: row.in_doubt != 0,
            failing_since: row.failing_since.map(UnixTime),
            retry_at: UnixTime(row.retry_at),
            ended_at: row.ended_at.map(UnixTime),
        }
    }
}

/// The provider names its session within a person; a session without a name stands for itself.
fn session_hash(new: &NewLoginSession<'_>) -> Vec<u8> {
    super::text_hash(&match new.provider_session {
        Some(session) => format!("{}\0{session}", new.person.id),
        None => new.id.to_string(),
    })
}

impl Store {
    /// Records a login, or brings the record of the same login session up to date: the provider has just stood by
    /// it. Gives the record's id, which is the new one only for a new record.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_login_session(
        &self,
        new: &NewLoginSession<'_>,
        now: UnixTime,
    ) -> Result<LoginSession, StoreError> {
        const SQL: &str = "INSERT INTO login_sessions \
             (id, session_hash, subject_id, provider_session, version, signed_in_at, synced_at, person) \
             VALUES ($1, $2, $3, $4, 1, $5, $5, $6) ON CONFLICT (session_hash) DO UPDATE SET \
             version = login_sessions.version + 1, signed_in_at = excluded.signed_in_at, person = excluded.person, \
             synced_at = excluded.synced_at, claimed_at = NULL, failing_since = NULL, retry_at = 0, ended_at = NULL \
             RETURNING id, subject_id, provider_session, sealed_token, version, synced_at, claimed_at, in_doubt, \
             failing_since, retry_at, ended_at";
        let document = super::logins::document_of(new.person)?;
        let row: LoginSessionRow = write!(self, |pool| sqlx::query_as(SQL)
            .bind(new.id.as_str())
            .bind(session_hash(new))
            .bind(new.person.id.as_str())
            .bind(new.provider_session)
            .bind(now.0)
            .bind(&document)
            .fetch_one(pool)
            .await)?;
        Ok(row.into())
    }

    /// # Errors
    /// [`StoreError`].
    pub async fn login_session(&self, id: &LoginSessionId) -> Result<Option<LoginSession>, StoreError> {
        const SQL: &str = "SELECT id, subject_id, provider_session, sealed_token, version, synced_at, claimed_at, \
             in_doubt, failing_since, retry_at, ended_at FROM login_sessions WHERE id = $1";
        let row: Option<LoginSessionRow> =
            read!(self, |pool| sqlx::query_as(SQL).bind(id.as_str()).fetch_optional(pool).await)?;
        Ok(row.map(LoginSession::from))
    }

    /// Writes `next` over the record that was read at `read_version`. Of any number of callers with that version
    /// exactly one gets true.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn change_login_session(&self, read_version: i64, next: &LoginSession) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE login_sessions SET provider_session = $3, sealed_token = $4, version = $5, \
             synced_at = $6, claimed_at = $7, in_doubt = $8, failing_since = $9, retry_at = $10 \
             WHERE id = $1 AND version = $2 AND ended_at IS NULL";
        // Sign-out ends the session under the name that the provider knows it by now.
        const BROWSERS: &str = "UPDATE browsers SET provider_session = $2 WHERE login_session = $1 \
             AND provider_session <> $2";
        let changed = in_transaction!(self, |tx| {
            let changed = sqlx::query(SQL)
                .bind(next.id.as_str())
                .bind(read_version)
                .bind(&next.provider_session)
                .bind(&next.sealed_token)
                .bind(next.version)
                .bind(next.synced_at.0)
                .bind(next.claimed_at.map(|at| at.0))
                .bind(i64::from(next.in_doubt))
                .bind(next.failing_since.map(|at| at.0))
                .bind(next.retry_at.0)
                .execute(&mut *tx)
                .await?
                .rows_affected()
                == 1;
            if let (true, Some(session)) = (changed, &next.provider_session) {
                sqlx::query(BROWSERS).bind(next.id.as_str()).bind(session).execute(&mut *tx).await?;
            }
            changed
        });
        Ok(changed)
    }

    /// Replaces what the provider says of the person in this login.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn describe_login_session(&self, id: &LoginSessionId, person: &Person) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE login_sessions SET person = $2 WHERE id = $1";
        let document = super::logins::document_of(person)?;
        write!(self, |pool| sqlx::query(SQL).bind(id.as_str()).bind(&document).execute(pool).await.map(drop))?;
        Ok(())
    }

    /// The person as the provider described them in this login, or, without one, whatever it said of them last.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn person_of_login(
        &self,
        subject: &SubjectId,
        login: Option<&LoginSessionId>,
    ) -> Result<Option<Person>, StoreError> {
        const SQL: &str = "SELECT COALESCE((SELECT person FROM login_sessions \
             WHERE login_sessions.id = $2 AND login_sessions.subject_id = $1), document) FROM people WHERE id = $1";
        let document: Option<String> = read!(self, |pool| sqlx::query_scalar(SQL)
            .bind(subject.as_str())
            .bind(login.map(LoginSessionId::as_str))
            .fetch_optional(pool)
            .await)?;
        document.as_deref().map(super::logins::person_from).transpose()
    }

    /// The same for the login that a grant hangs on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn person_of_grant(&self, subject: &SubjectId, grant: &GrantId) -> Result<Option<Person>, StoreError> {
        const SQL: &str = "SELECT COALESCE((SELECT person FROM login_sessions JOIN grants \
             ON grants.login_session = login_sessions.id \
             WHERE grants.id = $2 AND login_sessions.subject_id = $1), document) FROM people WHERE id = $1";
        let document: Option<String> = read!(self, |pool| sqlx::query_scalar(SQL)
            .bind(subject.as_str())
            .bind(grant.as_str())
            .fetch_optional(pool)
            .await)?;
        document.as_deref().map(super::logins::person_from).transpose()
    }

    /// The next token of the provider was lost on its way into the record: a refusal of the present one proves
    /// nothing from now on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn doubt_login_session(&self, id: &LoginSessionId) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE login_sessions SET in_doubt = 1, version = version + 1 WHERE id = $1";
        write!(self, |pool| sqlx::query(SQL).bind(id.as_str()).execute(pool).await.map(drop))?;
        Ok(())
    }

    /// Ends a login session that was read at `read_version`: its grants are revoked, and the browsers that came of
    /// it are signed out. Gives the grants to the one caller that ended it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_login_session(
        &self,
        id: &LoginSessionId,
        read_version: i64,
        now: UnixTime,
    ) -> Result<Option<Vec<Grant>>, StoreError> {
        const END: &str = "UPDATE login_sessions SET ended_at = $3, claimed_at = NULL, sealed_token = NULL, \
             version = version + 1 WHERE id = $1 AND version = $2 AND ended_at IS NULL";
        const GRANTS: &str = "UPDATE grants SET revoked_at = $2, revoked_because = $3 \
             WHERE login_session = $1 AND revoked_at IS NULL RETURNING id";
        const PENDING: &str = "UPDATE transactions SET stage = 'awaiting_login', subject_id = NULL \
             WHERE stage = 'awaiting_consent' AND browser_id IN (SELECT id FROM browsers WHERE login_session = $1)";
        const BROWSERS: &str = "UPDATE browsers SET subject_id = NULL, authenticated_at = NULL, \
             provider_session = NULL, login_session = NULL WHERE login_session = $1";
        let ended: Option<Vec<String>> = in_transaction!(self, |tx| {
            let won = sqlx::query(END)
                .bind(id.as_str())
                .bind(read_version)
                .bind(now.0)
                .execute(&mut *tx)
                .await?
                .rows_affected()
                == 1;
            if won {
                for sql in [PENDING, BROWSERS] {
                    sqlx::query(sql).bind(id.as_str()).execute(&mut *tx).await?;
                }
                let reason = RevocationReason::ProviderSessionEnded.as_str();
                Some(sqlx::query_scalar(GRANTS).bind(id.as_str()).bind(now.0).bind(reason).fetch_all(&mut *tx).await?)
            } else {
                None
            }
        });
        let Some(ids) = ended else { return Ok(None) };
        let mut grants = Vec::with_capacity(ids.len());
        for id in ids {
            grants.extend(self.grant(&GrantId::new(id)).await?);
        }
        Ok(Some(grants))
    }
}

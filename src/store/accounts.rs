//! What a person's own page needs: their grants, and the login that leads there.

use super::grants::GrantRow;
use super::{Store, StoreError, in_transaction, read, write};
use crate::crypto::SecretHash;
use crate::domain::browser::ConnectLink;
use crate::domain::{BrowserId, Grant, SubjectId, TransactionId, UnixTime};

#[derive(sqlx::FromRow)]
struct OwnGrantRow {
    #[sqlx(flatten)]
    grant: GrantRow,
    last_used_at: Option<i64>,
}

impl Store {
    /// The live grants of a person with the time each was last used (within an hour), newest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn grants_of(
        &self,
        subject: &SubjectId,
        now: UnixTime,
        limit: u32,
    ) -> Result<Vec<(Grant, Option<UnixTime>)>, StoreError> {
        const SQL: &str = "SELECT * FROM grants WHERE subject_id = $1 AND revoked_at IS NULL AND expires_at > $2 \
                           ORDER BY created_at DESC, id LIMIT $3";
        let rows: Vec<OwnGrantRow> = read!(self, |pool| sqlx::query_as(SQL)
            .bind(subject.as_str())
            .bind(now.0)
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?;
        Ok(rows.into_iter().map(|row| (row.grant.into(), row.last_used_at.map(UnixTime))).collect())
    }

    /// Arms the `state` of a login that belongs to no transaction, in place of an earlier one of this browser. It leads to
    /// a link, or to the person's own page.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn arm_browser_state(
        &self,
        browser: &BrowserId,
        state: &SecretHash,
        link: Option<&ConnectLink>,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE browsers SET state_hash = $2, state_armed_at = $3, connects = $4 WHERE id = $1";
        write!(self, |pool| sqlx::query(SQL)
            .bind(browser.as_str())
            .bind(state.as_bytes().as_slice())
            .bind(now.0)
            .bind(link.map(link_text))
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Spends that `state`, in the browser it was armed for, if that was after `since`; gives when, and where it
    /// leads. Of any number of callers exactly one gets it (IDP-1).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn consume_browser_state(
        &self,
        browser: &BrowserId,
        state: &SecretHash,
        since: UnixTime,
    ) -> Result<Option<(UnixTime, Option<ConnectLink>)>, StoreError> {
        const SPEND: &str = "UPDATE browsers SET state_hash = NULL \
             WHERE id = $1 AND state_hash = $2 AND state_armed_at > $3 RETURNING state_armed_at, connects";
        const ARRIVED: &str = "UPDATE browsers SET connects = NULL WHERE id = $1";
        let armed: Option<(i64, Option<String>)> = in_transaction!(self, |tx| {
            let armed = sqlx::query_as(SPEND)
                .bind(browser.as_str())
                .bind(state.as_bytes().as_slice())
                .bind(since.0)
                .fetch_optional(&mut *tx)
                .await?;
            if armed.is_some() {
                sqlx::query(ARRIVED).bind(browser.as_str()).execute(&mut *tx).await?;
            }
            armed
        });
        Ok(armed.map(|(at, link)| (UnixTime(at), link.as_deref().and_then(link_of))))
    }

    /// Notes which link a browser comes back to from a sign-out at the provider.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn resume_with_link(&self, browser: &BrowserId, link: &ConnectLink) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE browsers SET resumes = NULL, connects = $2 WHERE id = $1";
        let link = link_text(link);
        write!(self, |pool| sqlx::query(SQL).bind(browser.as_str()).bind(&link).execute(pool).await.map(drop))?;
        Ok(())
    }

    /// That link, unless a transaction has been noted since.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn link_to_resume(&self, browser: &BrowserId) -> Result<Option<ConnectLink>, StoreError> {
        const SQL: &str = "SELECT connects FROM browsers WHERE id = $1 AND resumes IS NULL AND connects IS NOT NULL";
        let link: Option<String> =
            read!(self, |pool| sqlx::query_scalar(SQL).bind(browser.as_str()).fetch_optional(pool).await)?;
        Ok(link.as_deref().and_then(link_of))
    }

    /// Notes which transaction a browser comes back to from a sign-out at the provider.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn resume_with(&self, browser: &BrowserId, transaction: &TransactionId) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE browsers SET resumes = $2 WHERE id = $1";
        write!(self, |pool| sqlx::query(SQL)
            .bind(browser.as_str())
            .bind(transaction.as_str())
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// The transaction that a browser comes back to: the noted one, else its newest that still waits for the person.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn transaction_to_resume(
        &self,
        browser: &BrowserId,
        now: UnixTime,
    ) -> Result<Option<TransactionId>, StoreError> {
        const SQL: &str = "SELECT id FROM transactions WHERE browser_id = $1 AND expires_at > $2 \
             AND stage IN ('awaiting_login', 'awaiting_consent') \
             ORDER BY CASE WHEN id = (SELECT resumes FROM browsers WHERE id = $1) THEN 0 ELSE 1 END, \
             created_at DESC, id DESC LIMIT 1";
        let id: Option<String> =
            read!(self, |pool| sqlx::query_scalar(SQL).bind(browser.as_str()).bind(now.0).fetch_optional(pool).await)?;
        Ok(id.map(TransactionId::new))
    }
}

fn link_text(link: &ConnectLink) -> String {
    serde_json::to_string(link).unwrap_or_default()
}

fn link_of(text: &str) -> Option<ConnectLink> {
    serde_json::from_str(text).ok()
}

//! People, browsers, authorization transactions and remembered consent.

use super::grants::insert_grant;
use super::{Store, StoreError, in_transaction, read, text_hash, write};
use crate::crypto::SecretHash;
use crate::domain::browser::{BrowserLogin, KnownBrowser};
use crate::domain::{
    Browser, BrowserId, Grant, GrantId, LoginSessionId, Person, Stage, SubjectId, Transaction, TransactionId, UnixTime,
};
use crate::oauth::scope::ScopeSet;

#[derive(sqlx::FromRow)]
struct BrowserRow {
    id: String,
    token_hash: Vec<u8>,
    subject_id: Option<String>,
    authenticated_at: Option<i64>,
    provider_session: Option<String>,
    login_session: Option<String>,
    expires_at: i64,
}

#[derive(sqlx::FromRow)]
struct TransactionRow {
    id: String,
    request: String,
    browser_id: Option<String>,
    stage: String,
    subject_id: Option<String>,
    grant_id: Option<String>,
    created_at: i64,
    expires_at: i64,
}

const TRANSACTION_COLUMNS: &str = "id, request, browser_id, stage, subject_id, grant_id, created_at, expires_at";

impl TransactionRow {
    fn into_transaction(self) -> Result<Transaction, StoreError> {
        let subject = self.subject_id.map(SubjectId::new);
        let stage = match (self.stage.as_str(), subject, self.grant_id) {
            ("awaiting_login", _, _) => Stage::AwaitingLogin,
            ("awaiting_consent", Some(subject), _) => Stage::AwaitingConsent { subject },
            ("approved", Some(subject), Some(grant)) => Stage::Approved { subject, grant: GrantId::new(grant) },
            ("denied", _, _) => Stage::Denied,
            _ => return Err(StoreError::Unreadable("transaction")),
        };
        Ok(Transaction {
            id: TransactionId::new(self.id),
            request: serde_json::from_str(&self.request).map_err(|_| StoreError::Unreadable("transaction"))?,
            browser: self.browser_id.map(BrowserId::new),
            stage,
            created_at: UnixTime(self.created_at),
            expires_at: UnixTime(self.expires_at),
        })
    }
}

pub(super) fn document_of(person: &Person) -> Result<String, StoreError> {
    serde_json::to_string(person).map_err(|_| StoreError::Unreadable("person"))
}

pub(super) fn person_from(document: &str) -> Result<Person, StoreError> {
    serde_json::from_str(document).map_err(|_| StoreError::Unreadable("person"))
}

impl Store {
    /// Inserts or refreshes what the provider says of a person.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn save_person(&self, person: &Person, now: UnixTime) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO people (id, document, updated_at) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO UPDATE SET document = excluded.document, updated_at = excluded.updated_at";
        let document = document_of(person)?;
        write!(self, |pool| sqlx::query(SQL)
            .bind(person.id.as_str())
            .bind(&document)
            .bind(now.0)
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// # Errors
    /// [`StoreError`].
    pub async fn person(&self, id: &SubjectId) -> Result<Option<Person>, StoreError> {
        const SQL: &str = "SELECT document FROM people WHERE id = $1";
        let document: Option<String> =
            read!(self, |pool| sqlx::query_scalar(SQL).bind(id.as_str()).fetch_optional(pool).await)?;
        document.as_deref().map(person_from).transpose()
    }

    /// Records a browser that nobody is signed in on yet. Two tabs may bring the same new cookie at once: the
    /// first makes the record, both get it. A record of that cookie that has expired is as good as gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn adopt_browser(
        &self,
        fresh: &BrowserId,
        token: &SecretHash,
        expires_at: UnixTime,
        now: UnixTime,
    ) -> Result<BrowserId, StoreError> {
        const EXPIRED: &str = "DELETE FROM browsers WHERE token_hash = $1 AND expires_at <= $2";
        const INSERT: &str =
            "INSERT INTO browsers (id, token_hash, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        const SELECT: &str = "SELECT id FROM browsers WHERE token_hash = $1";
        let id: String = in_transaction!(self, |tx| {
            sqlx::query(EXPIRED).bind(token.as_bytes().as_slice()).bind(now.0).execute(&mut *tx).await?;
            sqlx::query(INSERT)
                .bind(fresh.as_str())
                .bind(token.as_bytes().as_slice())
                .bind(expires_at.0)
                .execute(&mut *tx)
                .await?;
            sqlx::query_scalar(SELECT).bind(token.as_bytes().as_slice()).fetch_one(&mut *tx).await?
        });
        Ok(BrowserId::new(id))
    }

    /// Lets the record of a browser that nobody is signed in on live until `expires_at` at least. A login is never
    /// made longer by it (IDP-16).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep_browser(&self, id: &BrowserId, expires_at: UnixTime) -> Result<(), StoreError> {
        const SQL: &str =
            "UPDATE browsers SET expires_at = $2 WHERE id = $1 AND subject_id IS NULL AND expires_at < $2";
        write!(self, |pool| sqlx::query(SQL).bind(id.as_str()).bind(expires_at.0).execute(pool).await.map(drop))?;
        Ok(())
    }

    /// The record behind a cookie, and whether the cookie is its present value.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn browser(&self, token: &SecretHash, now: UnixTime) -> Result<Option<KnownBrowser>, StoreError> {
        const SQL: &str = "SELECT id, token_hash, subject_id, authenticated_at, provider_session, login_session, expires_at \
             FROM browsers WHERE (token_hash = $1 OR prior_token_hash = $1) AND expires_at > $2";
        let row: Option<BrowserRow> = read!(self, |pool| sqlx::query_as(SQL)
            .bind(token.as_bytes().as_slice())
            .bind(now.0)
            .fetch_optional(pool)
            .await)?;
        Ok(row.map(|row| {
            let current = SecretHash::from_slice(&row.token_hash).as_ref() == Some(token);
            let login = row.subject_id.zip(row.authenticated_at).map(|(subject, at)| BrowserLogin {
                subject: SubjectId::new(subject),
                authenticated_at: UnixTime(at),
                provider_session: row.provider_session,
                login_session: row.login_session.map(LoginSessionId::new),
            });
            let browser = Browser { id: BrowserId::new(row.id), login, expires_at: UnixTime(row.expires_at) };
            if current { KnownBrowser::Current(browser) } else { KnownBrowser::Superseded(browser) }
        }))
    }

    /// Signs a person in on a browser and gives its record a new cookie value (CONS-15).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sign_in(
        &self,
        browser: &BrowserId,
        token: &SecretHash,
        login: &BrowserLogin,
        expires_at: UnixTime,
    ) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE browsers SET prior_token_hash = token_hash, token_hash = $2, subject_id = $3, \
             authenticated_at = $4, provider_session = $5, login_session = $6, expires_at = $7 WHERE id = $1";
        write!(self, |pool| sqlx::query(SQL)
            .bind(browser.as_str())
            .bind(token.as_bytes().as_slice())
            .bind(login.subject.as_str())
            .bind(login.authenticated_at.0)
            .bind(&login.provider_session)
            .bind(login.login_session.as_ref().map(LoginSessionId::as_str))
            .bind(expires_at.0)
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Ends the login of a browser. Its transactions that wait for consent wait for a login again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sign_out(&self, browser: &BrowserId) -> Result<(), StoreError> {
        const BROWSER: &str = "UPDATE browsers SET subject_id = NULL, authenticated_at = NULL, \
                               provider_session = NULL, login_session = NULL WHERE id = $1";
        const PENDING: &str = "UPDATE transactions SET stage = 'awaiting_login', subject_id = NULL \
                               WHERE browser_id = $1 AND stage = 'awaiting_consent'";
        in_transaction!(self, |tx| {
            sqlx::query(BROWSER).bind(browser.as_str()).execute(&mut *tx).await?;
            sqlx::query(PENDING).bind(browser.as_str()).execute(&mut *tx).await?;
        });
        Ok(())
    }

    /// # Errors
    /// [`StoreError`].
    pub async fn create_transaction(&self, transaction: &Transaction) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO transactions (id, request, browser_id, stage, subject_id, created_at, expires_at, \
                           client_hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let request = serde_json::to_string(&transaction.request).map_err(|_| StoreError::Unreadable("transaction"))?;
        let (stage, subject) = match &transaction.stage {
            Stage::AwaitingConsent { subject } => ("awaiting_consent", Some(subject.as_str())),
            _ => ("awaiting_login", None),
        };
        write!(self, |pool| sqlx::query(SQL)
            .bind(transaction.id.as_str())
            .bind(&request)
            .bind(transaction.browser.as_ref().map(BrowserId::as_str))
            .bind(stage)
            .bind(subject)
            .bind(transaction.created_at.0)
            .bind(transaction.expires_at.0)
            .bind(text_hash(transaction.request.client_id.as_str()))
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Leaves a browser its `most` newest transactions that wait for the person (LIM-4).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn drop_oldest_pending(&self, browser: &BrowserId, most: i64) -> Result<(), StoreError> {
        const SQL: &str = "DELETE FROM transactions WHERE id IN (SELECT id FROM transactions WHERE browser_id = $1 \
             AND stage IN ('awaiting_login', 'awaiting_consent') ORDER BY created_at DESC, id DESC LIMIT $3 OFFSET $2)";
        write!(self, |pool| sqlx::query(SQL)
            .bind(browser.as_str())
            .bind(most)
            .bind(i64::MAX)
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// # Errors
    /// [`StoreError`].
    pub async fn transaction(&self, id: &TransactionId, now: UnixTime) -> Result<Option<Transaction>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {TRANSACTION_COLUMNS} FROM transactions WHERE id = $1 AND expires_at > $2"
        ));
        let row: Option<TransactionRow> =
            read!(self, |pool| sqlx::query_as(sql).bind(id.as_str()).bind(now.0).fetch_optional(pool).await)?;
        row.map(TransactionRow::into_transaction).transpose()
    }

    /// Sends a transaction to the provider: binds it to the browser if it has none yet, and arms a new `state`.
    /// False when it belongs to another browser or no longer waits for a login.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn start_login(
        &self,
        id: &TransactionId,
        browser: &BrowserId,
        state: &SecretHash,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE transactions SET browser_id = $2, state_hash = $3 WHERE id = $1 \
             AND stage = 'awaiting_login' AND (browser_id IS NULL OR browser_id = $2) AND expires_at > $4";
        let rows = write!(self, |pool| sqlx::query(SQL)
            .bind(id.as_str())
            .bind(browser.as_str())
            .bind(state.as_bytes().as_slice())
            .bind(now.0)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows == 1)
    }

    /// The transaction a live `state` belongs to, without consuming it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn transaction_of_state(
        &self,
        state: &SecretHash,
        now: UnixTime,
    ) -> Result<Option<Transaction>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {TRANSACTION_COLUMNS} FROM transactions WHERE state_hash = $1 AND expires_at > $2"
        ));
        let row: Option<TransactionRow> = read!(self, |pool| sqlx::query_as(sql)
            .bind(state.as_bytes().as_slice())
            .bind(now.0)
            .fetch_optional(pool)
            .await)?;
        row.map(TransactionRow::into_transaction).transpose()
    }

    /// Spends a `state`. Of any number of callers exactly one gets true (IDP-1).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn consume_state(&self, state: &SecretHash, now: UnixTime) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE transactions SET state_hash = NULL WHERE state_hash = $1 \
                           AND stage = 'awaiting_login' AND expires_at > $2";
        let rows = write!(self, |pool| sqlx::query(SQL)
            .bind(state.as_bytes().as_slice())
            .bind(now.0)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows == 1)
    }

    /// Moves a transaction of this browser on to consent by `subject`. False when it is not waiting for a login.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn await_consent(
        &self,
        id: &TransactionId,
        browser: &BrowserId,
        subject: &SubjectId,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE transactions SET stage = 'awaiting_consent', subject_id = $3 WHERE id = $1 \
                           AND stage = 'awaiting_login' AND browser_id = $2";
        let rows = write!(self, |pool| sqlx::query(SQL)
            .bind(id.as_str())
            .bind(browser.as_str())
            .bind(subject.as_str())
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows == 1)
    }

    /// Sends a transaction back to the login, for another account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn await_login_again(&self, id: &TransactionId, browser: &BrowserId) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE transactions SET stage = 'awaiting_login', subject_id = NULL WHERE id = $1 \
                           AND stage = 'awaiting_consent' AND browser_id = $2";
        write!(self, |pool| sqlx::query(SQL).bind(id.as_str()).bind(browser.as_str()).execute(pool).await.map(drop))?;
        Ok(())
    }

    /// Records an approval: the transaction, its grant and its code, together or not at all. False when the
    /// decision had been taken before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn approve(
        &self,
        transaction: &Transaction,
        grant: &Grant,
        code: &SecretHash,
        code_expires_at: UnixTime,
    ) -> Result<bool, StoreError> {
        const DECIDE: &str = "UPDATE transactions SET stage = 'approved', grant_id = $3 WHERE id = $1 \
                              AND stage = 'awaiting_consent' AND subject_id = $2";
        const CODE: &str = "INSERT INTO codes (code_hash, grant_id, client_id, redirect_uri, code_challenge, expires_at) \
                            VALUES ($1, $2, $3, $4, $5, $6)";
        let request = &transaction.request;
        let decided = in_transaction!(self, |tx| {
            let decided = sqlx::query(DECIDE)
                .bind(transaction.id.as_str())
                .bind(grant.subject.as_str())
                .bind(grant.id.as_str())
                .execute(&mut *tx)
                .await?
                .rows_affected();
            if decided == 1 {
                insert_grant!(grant).execute(&mut *tx).await?;
                sqlx::query(CODE)
                    .bind(code.as_bytes().as_slice())
                    .bind(grant.id.as_str())
                    .bind(grant.client_id.as_str())
                    .bind(request.redirect_uri.as_str())
                    .bind(&request.code_challenge)
                    .bind(code_expires_at.0)
                    .execute(&mut *tx)
                    .await?;
            }
            decided
        });
        Ok(decided == 1)
    }

    /// Records a refusal. False when the decision had been taken before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn deny(&self, id: &TransactionId) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE transactions SET stage = 'denied', state_hash = NULL WHERE id = $1 \
                           AND stage IN ('awaiting_consent', 'awaiting_login')";
        let rows = write!(self, |pool| sqlx::query(SQL)
            .bind(id.as_str())
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows == 1)
    }

    /// Remembers that a person approved `scope` for the client of `grant` as it is now (CONS-3, CONS-4).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remember_consent(
        &self,
        grant: &Grant,
        scope: &ScopeSet,
        redirect_uri: &str,
        client_digest: &SecretHash,
        expires_at: UnixTime,
    ) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO consents (subject_id, client_hash, redirect_hash, resource_hash, client_digest, scope, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (subject_id, client_hash, redirect_hash, resource_hash) \
             DO UPDATE SET client_digest = excluded.client_digest, scope = excluded.scope, expires_at = excluded.expires_at";
        write!(self, |pool| sqlx::query(SQL)
            .bind(grant.subject.as_str())
            .bind(text_hash(grant.client_id.as_str()))
            .bind(text_hash(redirect_uri))
            .bind(text_hash(&grant.resource))
            .bind(client_digest.as_bytes().as_slice())
            .bind(scope.to_string())
            .bind(expires_at.0)
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// The scope a person approved before for exactly this client, redirect URI and resource.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remembered_consent(
        &self,
        subject: &SubjectId,
        transaction: &Transaction,
        client_digest: &SecretHash,
        now: UnixTime,
    ) -> Result<Option<ScopeSet>, StoreError> {
        const SQL: &str = "SELECT scope FROM consents WHERE subject_id = $1 AND client_hash = $2 AND redirect_hash = $3 \
                           AND resource_hash = $4 AND client_digest = $5 AND expires_at > $6";
        let request = &transaction.request;
        let scope: Option<String> = read!(self, |pool| sqlx::query_scalar(SQL)
            .bind(subject.as_str())
            .bind(text_hash(request.client_id.as_str()))
            .bind(text_hash(request.redirect_uri.as_str()))
            .bind(text_hash(&request.resource))
            .bind(client_digest.as_bytes().as_slice())
            .bind(now.0)
            .fetch_optional(pool)
            .await)?;
        Ok(scope.map(|text| ScopeSet::parse(&text)))
    }
}

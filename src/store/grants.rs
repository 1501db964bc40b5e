//! Grants, their codes and their refresh tokens.

use std::time::Duration;

use super::{Store, StoreError, in_transaction, read, write};
use crate::crypto::SecretHash;
use crate::domain::code::CODE_TTL;
use crate::domain::{AuthorizationCode, ClientId, Grant, GrantId, LoginSessionId, RefreshToken, SubjectId, UnixTime};
use crate::oauth::redirect_uri::RedirectUri;
use crate::oauth::scope::ScopeSet;

const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

/// Why a grant ended, as the audit trail names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationReason {
    /// The client asked (RFC 7009).
    Client,
    /// The person took it back on their own page (REV-4).
    Person,
    /// A used code came again (CODE-8).
    CodeReplayed,
    /// A superseded refresh token came again (REFR-5).
    RefreshReplayed,
    /// The identity provider ended the login it hangs on (IDP-13).
    ProviderSessionEnded,
    /// An operator's command (REV-5).
    Operator,
    /// Its static client left the configuration (STAT-4).
    ClientRemoved,
}

impl RevocationReason {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Person => "person",
            Self::CodeReplayed => "code_replayed",
            Self::ProviderSessionEnded => "provider_session_ended",
            Self::RefreshReplayed => "refresh_replayed",
            Self::Operator => "operator",
            Self::ClientRemoved => "client_removed",
        }
    }
}

/// A refresh token about to be stored.
#[derive(Debug, Clone)]
pub struct NewRefreshToken {
    pub hash: SecretHash,
    pub token: RefreshToken,
    pub issued_at: UnixTime,
}

#[derive(sqlx::FromRow)]
pub(super) struct GrantRow {
    id: String,
    subject_id: String,
    client_id: String,
    resource: String,
    route: String,
    scope: String,
    origin: String,
    issuer: String,
    redirect_host: String,
    authenticated_at: i64,
    login_session: Option<String>,
    created_at: i64,
    expires_at: i64,
    revoked_at: Option<i64>,
}

impl From<GrantRow> for Grant {
    fn from(row: GrantRow) -> Self {
        Self {
            id: GrantId::new(row.id),
            subject: SubjectId::new(row.subject_id),
            client_id: ClientId::new(row.client_id),
            resource: row.resource,
            route: row.route,
            scope: ScopeSet::parse(&row.scope),
            origin: row.origin,
            issuer: row.issuer,
            redirect_host: row.redirect_host,
            authenticated_at: UnixTime(row.authenticated_at),
            login_session: row.login_session.map(LoginSessionId::new),
            created_at: UnixTime(row.created_at),
            expires_at: UnixTime(row.expires_at),
            revoked_at: row.revoked_at.map(UnixTime),
        }
    }
}

#[derive(sqlx::FromRow)]
struct CodeRow {
    grant_id: String,
    client_id: String,
    redirect_uri: String,
    code_challenge: String,
    expires_at: i64,
    consumed_at: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct RefreshRow {
    grant_id: String,
    generation: i64,
    expires_at: i64,
    superseded_at: Option<i64>,
    derivation_key: String,
}

impl From<RefreshRow> for RefreshToken {
    fn from(row: RefreshRow) -> Self {
        Self {
            grant: GrantId::new(row.grant_id),
            generation: row.generation,
            expires_at: UnixTime(row.expires_at),
            superseded_at: row.superseded_at.map(UnixTime),
            derivation_key: row.derivation_key,
        }
    }
}

/// The statement that records a [`Grant`].
macro_rules! insert_grant {
    ($grant:expr) => {
        sqlx::query(
            "INSERT INTO grants (id, subject_id, client_id, client_hash, resource, route, scope, origin, issuer, \
             redirect_host, authenticated_at, login_session, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind($grant.id.as_str())
        .bind($grant.subject.as_str())
        .bind($grant.client_id.as_str())
        .bind($crate::store::text_hash($grant.client_id.as_str()))
        .bind(&$grant.resource)
        .bind(&$grant.route)
        .bind($grant.scope.to_string())
        .bind(&$grant.origin)
        .bind(&$grant.issuer)
        .bind(&$grant.redirect_host)
        .bind($grant.authenticated_at.0)
        .bind($grant.login_session.as_ref().map($crate::domain::LoginSessionId::as_str))
        .bind($grant.created_at.0)
        .bind($grant.expires_at.0)
    };
}
pub(super) use insert_grant;

const INSERT_REFRESH: &str = "INSERT INTO refresh_tokens \
    (token_hash, grant_id, generation, derivation_key, issued_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";

impl Store {
    /// # Errors
    /// [`StoreError`].
    pub async fn grant(&self, id: &GrantId) -> Result<Option<Grant>, StoreError> {
        const SQL: &str = "SELECT id, subject_id, client_id, resource, route, scope, origin, issuer, redirect_host, \
                           authenticated_at, login_session, created_at, expires_at, revoked_at FROM grants WHERE id = $1";
        let row: Option<GrantRow> =
            read!(self, |pool| sqlx::query_as(SQL).bind(id.as_str()).fetch_optional(pool).await)?;
        Ok(row.map(Grant::from))
    }

    /// # Errors
    /// [`StoreError`].
    pub async fn code(&self, hash: &SecretHash) -> Result<Option<AuthorizationCode>, StoreError> {
        const SQL: &str = "SELECT grant_id, client_id, redirect_uri, code_challenge, expires_at, consumed_at \
                           FROM codes WHERE code_hash = $1";
        let row: Option<CodeRow> =
            read!(self, |pool| sqlx::query_as(SQL).bind(hash.as_bytes().as_slice()).fetch_optional(pool).await)?;
        row.map(|row| {
            Ok(AuthorizationCode {
                grant: GrantId::new(row.grant_id),
                client_id: ClientId::new(row.client_id),
                redirect_uri: RedirectUri::parse(&row.redirect_uri).map_err(|_| StoreError::Unreadable("code"))?,
                code_challenge: row.code_challenge,
                expires_at: UnixTime(row.expires_at),
                consumed_at: row.consumed_at.map(UnixTime),
            })
        })
        .transpose()
    }

    /// Spends a code, gives its grant its full life and stores the first refresh token, if there is one. Of any
    /// number of callers exactly one gets true (CODE-9).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn redeem_code(
        &self,
        code: &SecretHash,
        grant: &GrantId,
        grant_expires_at: UnixTime,
        refresh: Option<&NewRefreshToken>,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        const CONSUME: &str =
            "UPDATE codes SET consumed_at = $2 WHERE code_hash = $1 AND consumed_at IS NULL AND expires_at > $2";
        const EXTEND: &str =
            "UPDATE grants SET expires_at = $2, last_used_at = $3 WHERE id = $1 AND revoked_at IS NULL";
        let won = in_transaction!(self, |tx| {
            let mut won = sqlx::query(CONSUME)
                .bind(code.as_bytes().as_slice())
                .bind(now.0)
                .execute(&mut *tx)
                .await?
                .rows_affected()
                == 1;
            if won {
                won = sqlx::query(EXTEND)
                    .bind(grant.as_str())
                    .bind(grant_expires_at.0)
                    .bind(now.0)
                    .execute(&mut *tx)
                    .await?
                    .rows_affected()
                    == 1;
            }
            if let (true, Some(new)) = (won, refresh) {
                sqlx::query(INSERT_REFRESH)
                    .bind(new.hash.as_bytes().as_slice())
                    .bind(new.token.grant.as_str())
                    .bind(new.token.generation)
                    .bind(&new.token.derivation_key)
                    .bind(new.issued_at.0)
                    .bind(new.token.expires_at.0)
                    .execute(&mut *tx)
                    .await?;
            }
            won
        });
        Ok(won)
    }

    /// # Errors
    /// [`StoreError`].
    pub async fn refresh_token(&self, hash: &SecretHash) -> Result<Option<RefreshToken>, StoreError> {
        const SQL: &str = "SELECT grant_id, generation, expires_at, superseded_at, derivation_key \
                           FROM refresh_tokens WHERE token_hash = $1";
        let row: Option<RefreshRow> =
            read!(self, |pool| sqlx::query_as(SQL).bind(hash.as_bytes().as_slice()).fetch_optional(pool).await)?;
        Ok(row.map(RefreshToken::from))
    }

    /// Supersedes a token and stores its successor, if it is still the grant's newest and the grant lives. Of
    /// any number of callers exactly one gets true; the others find it superseded. Its client counts as used, once
    /// a day, so that a registration is not idle from its last consent on (DCR-9); its grant once an hour (REV-4).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rotate_refresh_token(
        &self,
        presented: &SecretHash,
        successor: &NewRefreshToken,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        const SUPERSEDE: &str = "UPDATE refresh_tokens SET superseded_at = $2 WHERE token_hash = $1 \
             AND superseded_at IS NULL AND expires_at > $2 AND EXISTS (SELECT 1 FROM grants \
             WHERE grants.id = refresh_tokens.grant_id AND grants.revoked_at IS NULL AND grants.expires_at > $2)";
        const USED: &str = "UPDATE clients SET last_used_at = $2 WHERE last_used_at < $3 \
             AND id_hash = (SELECT client_hash FROM grants WHERE id = $1)";
        const GRANT_USED: &str =
            "UPDATE grants SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $3)";
        let won = in_transaction!(self, |tx| {
            let won = sqlx::query(SUPERSEDE)
                .bind(presented.as_bytes().as_slice())
                .bind(now.0)
                .execute(&mut *tx)
                .await?
                .rows_affected()
                == 1;
            if won {
                sqlx::query(INSERT_REFRESH)
                    .bind(successor.hash.as_bytes().as_slice())
                    .bind(successor.token.grant.as_str())
                    .bind(successor.token.generation)
                    .bind(&successor.token.derivation_key)
                    .bind(successor.issued_at.0)
                    .bind(successor.token.expires_at.0)
                    .execute(&mut *tx)
                    .await?;
                sqlx::query(USED)
                    .bind(successor.token.grant.as_str())
                    .bind(now.0)
                    .bind(now.minus(DAY).0)
                    .execute(&mut *tx)
                    .await?;
                sqlx::query(GRANT_USED)
                    .bind(successor.token.grant.as_str())
                    .bind(now.0)
                    .bind(now.minus(HOUR).0)
                    .execute(&mut *tx)
                    .await?;
            }
            won
        });
        Ok(won)
    }

    /// Ends a grant. True for the caller that ended it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke_grant(
        &self,
        id: &GrantId,
        reason: RevocationReason,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        const SQL: &str =
            "UPDATE grants SET revoked_at = $2, revoked_because = $3 WHERE id = $1 AND revoked_at IS NULL";
        // Whoever ends a grant wants to be asked again.
        const FORGET: &str = "DELETE FROM consents WHERE EXISTS (SELECT 1 FROM grants WHERE grants.id = $1 \
             AND grants.subject_id = consents.subject_id AND grants.client_hash = consents.client_hash)";
        let rows = in_transaction!(self, |tx| {
            sqlx::query(FORGET).bind(id.as_str()).execute(&mut *tx).await?;
            sqlx::query(SQL)
                .bind(id.as_str())
                .bind(now.0)
                .bind(reason.as_str())
                .execute(&mut *tx)
                .await?
                .rows_affected()
        });
        Ok(rows == 1)
    }

    /// Grants that were revoked at or after `since`, or reached the end of their life since then, for the list
    /// that every replica keeps (REV-3, STRM-8). A grant whose code was never redeemed has no token to refuse.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ended_grants(&self, since: UnixTime, now: UnixTime) -> Result<Vec<GrantId>, StoreError> {
        const SQL: &str = "SELECT id FROM grants WHERE revoked_at >= $1 UNION \
                           SELECT id FROM grants WHERE expires_at >= $1 AND expires_at <= $2 AND expires_at - created_at > $3";
        let code_life = i64::try_from(CODE_TTL.as_secs()).unwrap_or(i64::MAX);
        let ids: Vec<String> = read!(self, |pool| sqlx::query_scalar(SQL)
            .bind(since.0)
            .bind(now.0)
            .bind(code_life)
            .fetch_all(pool)
            .await)?;
        Ok(ids.into_iter().map(GrantId::new).collect())
    }

    /// Clients that hold live grants and are not `dcr_…` registrations, for comparing with the configuration
    /// (STAT-4).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn clients_with_grants(&self, now: UnixTime) -> Result<Vec<ClientId>, StoreError> {
        const SQL: &str = "SELECT DISTINCT client_id FROM grants WHERE revoked_at IS NULL AND expires_at > $1 \
                           AND client_id NOT LIKE 'dcr\\_%' ESCAPE '\\' AND client_id NOT LIKE 'https:%'";
        let ids: Vec<String> = read!(self, |pool| sqlx::query_scalar(SQL).bind(now.0).fetch_all(pool).await)?;
        Ok(ids.into_iter().map(ClientId::new).collect())
    }

    /// Ends every grant of a client; gives how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke_client_grants(
        &self,
        client: &ClientId,
        reason: RevocationReason,
        now: UnixTime,
    ) -> Result<u64, StoreError> {
        const SQL: &str =
            "UPDATE grants SET revoked_at = $2, revoked_because = $3 WHERE client_hash = $1 AND revoked_at IS NULL";
        const FORGET: &str = "DELETE FROM consents WHERE client_hash = $1";
        let hash = super::text_hash(client.as_str());
        Ok(in_transaction!(self, |tx| {
            sqlx::query(FORGET).bind(&hash).execute(&mut *tx).await?;
            sqlx::query(SQL).bind(&hash).bind(now.0).bind(reason.as_str()).execute(&mut *tx).await?.rows_affected()
        }))
    }

    /// Remembers what counts once, such as a client assertion's `jti`, until it expires. False when it was used before
    /// (CODE-4).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn use_once(&self, hash: &SecretHash, expires_at: UnixTime) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO assertion_ids (id_hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        let rows = write!(self, |pool| sqlx::query(SQL)
            .bind(hash.as_bytes().as_slice())
            .bind(expires_at.0)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows == 1)
    }

    /// Whether that has been used, as long as it is remembered.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn was_used(&self, hash: &SecretHash) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM assertion_ids WHERE id_hash = $1";
        let rows: i64 =
            read!(self, |pool| sqlx::query_scalar(SQL).bind(hash.as_bytes().as_slice()).fetch_one(pool).await)?;
        Ok(rows > 0)
    }
}

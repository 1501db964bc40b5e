//! Grants that an identity assertion made (EXT-2).

use super::grants::insert_grant;
use super::logins::document_of;
use super::{Store, StoreError, in_transaction, text_hash};
use crate::crypto::SecretHash;
use crate::domain::{Grant, LoginSessionId, Person, UnixTime};

/// What one assertion makes.
pub struct AssertedGrant<'a> {
    /// With a login of its own.
    pub grant: &'a Grant,
    pub person: &'a Person,
    /// Others describe the person too: what is known of them stays.
    pub shares_person: bool,
    /// The assertion's name among everything that counts once.
    pub assertion_id: &'a SecretHash,
    /// When it is refused on every replica, whatever their clocks, as it has expired.
    pub forget_at: UnixTime,
}

impl Store {
    /// Spends an assertion, and records its person, login and grant, together or not at all. Its client counts as used
    /// (DCR-9). Of any number of callers exactly one gets true.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn redeem_assertion(&self, asserted: &AssertedGrant<'_>) -> Result<bool, StoreError> {
        const SPEND: &str = "INSERT INTO assertion_ids (id_hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        const PERSON: &str = "INSERT INTO people (id, document, updated_at) VALUES ($1, $2, $3) ON CONFLICT (id) \
             DO UPDATE SET document = CASE WHEN $4 = 1 THEN people.document ELSE excluded.document END, \
             updated_at = excluded.updated_at";
        const LOGIN: &str = "INSERT INTO login_sessions \
             (id, session_hash, subject_id, version, signed_in_at, synced_at, person) VALUES ($1, $2, $3, 1, $4, $4, $5)";
        const USED: &str = "UPDATE clients SET last_used_at = $2, used = 1 WHERE id_hash = $1";
        let AssertedGrant { grant, person, shares_person, assertion_id, forget_at } = *asserted;
        let document = document_of(person)?;
        let login = grant.login_session.as_ref().map_or(grant.id.as_str(), LoginSessionId::as_str);
        Ok(in_transaction!(self, |tx| {
            let won = sqlx::query(SPEND)
                .bind(assertion_id.as_bytes().as_slice())
                .bind(forget_at.0)
                .execute(&mut *tx)
                .await?
                .rows_affected()
                == 1;
            if won {
                sqlx::query(PERSON)
                    .bind(person.id.as_str())
                    .bind(&document)
                    .bind(grant.created_at.0)
                    .bind(i64::from(shares_person))
                    .execute(&mut *tx)
                    .await?;
                sqlx::query(LOGIN)
                    .bind(login)
                    .bind(text_hash(login))
                    .bind(person.id.as_str())
                    .bind(grant.created_at.0)
                    .bind(&document)
                    .execute(&mut *tx)
                    .await?;
                insert_grant!(grant).execute(&mut *tx).await?;
                sqlx::query(USED)
                    .bind(text_hash(grant.client_id.as_str()))
                    .bind(grant.created_at.0)
                    .execute(&mut *tx)
                    .await?;
            }
            won
        }))
    }
}

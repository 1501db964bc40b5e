//! Every sealed value of the store, for sealing all of it anew (SEC-2, SEC-3).

use super::{Store, StoreError, read, write};

/// A column of sealed values. Whoever adds one adds it to [`SEALED`] too.
#[derive(Debug, Clone, Copy)]
pub struct SealedColumn {
    /// Its table, as operators are told of it.
    pub table: &'static str,
    /// What stands before the row's id in the place that its values open at.
    pub place: &'static str,
    /// Id and value of rows above `$1`, in order, at most `$2`.
    select: &'static str,
    /// Puts `$3` in place of `$2` in row `$1`.
    update: &'static str,
}

/// All there are.
pub const SEALED: &[SealedColumn] = &[
    SealedColumn {
        table: "keys",
        place: "key:",
        select: "SELECT id, sealed FROM keys WHERE id > $1 ORDER BY id LIMIT $2",
        update: "UPDATE keys SET sealed = $3 WHERE id = $1 AND sealed = $2",
    },
    SealedColumn {
        table: "login_sessions",
        place: "login session:",
        select: "SELECT id, sealed_token FROM login_sessions WHERE id > $1 AND sealed_token IS NOT NULL \
                 ORDER BY id LIMIT $2",
        update: "UPDATE login_sessions SET sealed_token = $3 WHERE id = $1 AND sealed_token = $2",
    },
    SealedColumn {
        table: "subject_tokens",
        place: "subject token:",
        select: "SELECT id, sealed FROM subject_tokens WHERE id > $1 ORDER BY id LIMIT $2",
        update: "UPDATE subject_tokens SET sealed = $3 WHERE id = $1 AND sealed = $2",
    },
    SealedColumn {
        table: "upstream_attempts",
        place: "upstream attempt:",
        select: "SELECT id, sealed FROM upstream_attempts WHERE id > $1 ORDER BY id LIMIT $2",
        update: "UPDATE upstream_attempts SET sealed = $3 WHERE id = $1 AND sealed = $2",
    },
    SealedColumn {
        table: "upstream_connections",
        place: "upstream connection:",
        select: "SELECT id, sealed FROM upstream_connections WHERE id > $1 ORDER BY id LIMIT $2",
        update: "UPDATE upstream_connections SET sealed = $3 WHERE id = $1 AND sealed = $2",
    },
    SealedColumn {
        table: "upstream_registrations",
        place: "upstream registration:",
        select: "SELECT id, sealed FROM upstream_registrations WHERE id > $1 ORDER BY id LIMIT $2",
        update: "UPDATE upstream_registrations SET sealed = $3 WHERE id = $1 AND sealed = $2",
    },
];

impl Store {
    /// Rows of a column whose id is greater than `after`, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sealed_values(
        &self,
        column: &SealedColumn,
        after: &str,
        batch: u32,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Ok(read!(self, |pool| sqlx::query_as(column.select).bind(after).bind(i64::from(batch)).fetch_all(pool).await)?)
    }

    /// Puts the same value under another seal. False when the row has changed meanwhile.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reseal_value(
        &self,
        column: &SealedColumn,
        id: &str,
        old: &[u8],
        new: &[u8],
    ) -> Result<bool, StoreError> {
        Ok(write!(self, |pool| sqlx::query(column.update)
            .bind(id)
            .bind(old)
            .bind(new)
            .execute(pool)
            .await
            .map(|done| done.rows_affected() == 1))?)
    }
}

//! Reading the audit trail, verifying that nobody changed it, and taking out what is too old (SEC-10).

use super::audit::{AuditEntry, CHAINS};
use super::{Store, StoreError, in_transaction, read};
use crate::domain::UnixTime;

const PAGE: i64 = 500;
/// A purge may move a chain's anchor while it is read.
const ATTEMPTS: usize = 3;

/// What is wrong with a chain, at its first wrong record.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "camelCase")]
pub enum AuditFault {
    #[error("record {seq} is missing")]
    Missing { seq: i64 },
    #[error("record {seq} was changed, or stands in another's place")]
    Changed { seq: i64 },
    #[error("records were added after {last} past the gateway")]
    Added { last: i64 },
    #[error("there are records, but their chain's entry was removed")]
    Unanchored,
}

/// What verifying found of one chain.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifiedChain {
    pub chain: &'static str,
    pub records: u64,
    /// Number of the last record, and its hash in base64url: keep it elsewhere, and a trail that was written anew from
    /// the start is told as well.
    pub last: i64,
    pub head: String,
    pub fault: Option<AuditFault>,
}

#[derive(sqlx::FromRow)]
struct ChainRow {
    anchor_seq: i64,
    anchor: Vec<u8>,
    last_seq: i64,
    head: Vec<u8>,
}

const COLUMNS: &str = "chain, seq, id, at, event, outcome, request_id, subject_id, client_id, grant_id, route, reason, \
                       peer, operator, call, hash";

impl Store {
    /// Records of a chain above `after`, in order, at most a page of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_page(&self, chain: &str, after: i64) -> Result<Vec<AuditEntry>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM audit WHERE chain = $1 AND seq > $2 ORDER BY seq LIMIT $3");
        let sql = sqlx::AssertSqlSafe(sql);
        Ok(read!(self, |pool| sqlx::query_as(sql).bind(chain).bind(after).bind(PAGE).fetch_all(pool).await)?)
    }

    /// The last records of all chains, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_tail(&self, count: u32) -> Result<Vec<AuditEntry>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM audit WHERE chain IS NOT NULL ORDER BY at DESC, id DESC LIMIT $1");
        let sql = sqlx::AssertSqlSafe(sql);
        let mut entries: Vec<AuditEntry> =
            read!(self, |pool| sqlx::query_as(sql).bind(i64::from(count)).fetch_all(pool).await)?;
        entries.reverse();
        Ok(entries)
    }

    /// Follows every chain from its anchor to its head.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn verify_audit(&self) -> Result<Vec<VerifiedChain>, StoreError> {
        let mut chains = Vec::new();
        for chain in CHAINS {
            let mut verified = self.verify_chain(chain).await?;
            for _ in 1..ATTEMPTS {
                if verified.fault.is_none() {
                    break;
                }
                verified = self.verify_chain(chain).await?;
            }
            chains.push(verified);
        }
        Ok(chains)
    }

    async fn verify_chain(&self, chain: &'static str) -> Result<VerifiedChain, StoreError> {
        let Some(row) = self.chain_row(chain).await? else {
            let fault = (!self.audit_page(chain, 0).await?.is_empty()).then_some(AuditFault::Unanchored);
            return Ok(VerifiedChain { chain, records: 0, last: 0, head: String::new(), fault });
        };
        let (mut seq, mut hash, mut fault) = (row.anchor_seq, row.anchor, None);
        'pages: loop {
            let page = self.audit_page(chain, seq).await?;
            if page.is_empty() {
                break;
            }
            for entry in page {
                if entry.seq > row.last_seq {
                    break 'pages;
                }
                if entry.seq != seq + 1 {
                    fault = Some(AuditFault::Missing { seq: seq + 1 });
                    break 'pages;
                }
                if entry.hash != entry.hash_after(&hash) {
                    fault = Some(AuditFault::Changed { seq: entry.seq });
                    break 'pages;
                }
                (seq, hash) = (entry.seq, entry.hash);
            }
        }
        if fault.is_none() && seq < row.last_seq {
            fault = Some(AuditFault::Missing { seq: seq + 1 });
        } else if fault.is_none() && hash != row.head {
            fault = Some(AuditFault::Changed { seq });
        } else if fault.is_none() && self.ends_past_its_head(chain).await? {
            fault = Some(AuditFault::Added { last: row.last_seq });
        }
        Ok(VerifiedChain {
            chain,
            records: u64::try_from(seq - row.anchor_seq).unwrap_or_default(),
            last: row.last_seq,
            head: crate::crypto::base64url(&row.head),
            fault,
        })
    }

    async fn chain_row(&self, chain: &str) -> Result<Option<ChainRow>, StoreError> {
        const SQL: &str = "SELECT anchor_seq, anchor, last_seq, head FROM audit_chains WHERE chain = $1";
        Ok(read!(self, |pool| sqlx::query_as(SQL).bind(chain).fetch_optional(pool).await)?)
    }

    /// Head and last record in one look, as a gateway may be writing.
    async fn ends_past_its_head(&self, chain: &str) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM audit JOIN audit_chains ON audit.chain = audit_chains.chain \
                           WHERE audit.chain = $1 AND audit.seq > audit_chains.last_seq";
        let count: i64 = read!(self, |pool| sqlx::query_scalar(SQL).bind(chain).fetch_one(pool).await)?;
        Ok(count > 0)
    }

    /// Takes the oldest records of a chain out, up to the first that is not older than `before`, and moves the chain's
    /// anchor to the last of them: what is left can be verified from there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge_audit(&self, chain: &str, before: UnixTime, batch: u32) -> Result<u64, StoreError> {
        // The lock that writers queue at as well.
        const LOCK: &str = "UPDATE audit_chains SET anchor_seq = anchor_seq WHERE chain = $1 RETURNING anchor_seq";
        const OLDEST: &str = "SELECT seq, at, hash FROM audit WHERE chain = $1 ORDER BY seq LIMIT $2";
        const MOVE: &str = "UPDATE audit_chains SET anchor_seq = $2, anchor = $3 WHERE chain = $1";
        const DELETE: &str = "DELETE FROM audit WHERE chain = $1 AND seq <= $2";
        Ok(in_transaction!(self, |tx| {
            let anchor: Option<i64> = sqlx::query_scalar(LOCK).bind(chain).fetch_optional(&mut *tx).await?;
            let oldest: Vec<(i64, i64, Vec<u8>)> =
                sqlx::query_as(OLDEST).bind(chain).bind(i64::from(batch)).fetch_all(&mut *tx).await?;
            // A gap is left for `verify` to find: an anchor moved over it would hide it.
            let expected = anchor.unwrap_or_default() + 1..;
            let old = oldest.into_iter().zip(expected).take_while(|((seq, at, _), next)| seq == next && *at < before.0);
            match old.last() {
                Some(((seq, _, hash), _)) => {
                    sqlx::query(MOVE).bind(chain).bind(seq).bind(&hash).execute(&mut *tx).await?;
                    sqlx::query(DELETE).bind(chain).bind(seq).execute(&mut *tx).await?.rows_affected()
                }
                None => 0,
            }
        }))
    }
}

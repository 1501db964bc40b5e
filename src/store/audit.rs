//! The audit trail: who was let in, refused or thrown out, and why (REV-6). Never a token or a secret.
//!
//! Records are chained by hash (SEC-10) by one task, which takes whatever is waiting in one transaction: what
//! happens meanwhile is not held up. [`super::audit_trail`] reads and verifies them.

use tokio::sync::{mpsc, oneshot};

use super::{Backend, Store, StoreError, in_transaction};
use crate::crypto::sha256;
use crate::domain::{ClientId, GrantId, SubjectId, UnixTime};

/// Records that may wait. Above that, whoever writes one waits too.
const WAITING: usize = 4096;
/// Records in one transaction.
const BATCH: usize = 500;
/// What the first record of a chain follows.
pub(super) const GENESIS: [u8; 32] = [0; 32];

/// Whether what a record is about came to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Refused,
}

impl Outcome {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Refused => "refused",
        }
    }
}

/// One record. Absent fields do not apply to the event.
#[derive(Debug, Clone, Copy)]
pub struct AuditRecord<'a> {
    pub at: UnixTime,
    /// Such as `mcp_auth_grant_revoked`.
    pub event: &'static str,
    pub outcome: Outcome,
    /// The request it happened in, as the client was told it.
    pub request_id: Option<&'a str>,
    pub subject: Option<&'a SubjectId>,
    pub client: Option<&'a ClientId>,
    pub grant: Option<&'a GrantId>,
    pub route: Option<&'a str>,
    pub reason: Option<&'a str>,
    /// Network address of the caller.
    pub peer: Option<&'a str>,
    /// Who used a command on the gateway's own machine.
    pub operator: Option<&'a str>,
    /// What a call was, as JSON.
    pub call: Option<&'a str>,
}

impl<'a> AuditRecord<'a> {
    #[must_use]
    pub fn new(event: &'static str, at: UnixTime) -> Self {
        Self {
            at,
            event,
            outcome: Outcome::Success,
            request_id: None,
            subject: None,
            client: None,
            grant: None,
            route: None,
            reason: None,
            peer: None,
            operator: None,
            call: None,
        }
    }

    #[must_use]
    pub fn refused(event: &'static str, at: UnixTime) -> Self {
        Self { outcome: Outcome::Refused, ..Self::new(event, at) }
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

/// A record as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its chain: one of [`CHAINS`].
    pub chain: String,
    pub seq: i64,
    pub id: String,
    /// Seconds since 1970.
    pub at: i64,
    pub event: String,
    pub outcome: Option<String>,
    pub request_id: Option<String>,
    pub subject_id: Option<String>,
    pub client_id: Option<String>,
    pub grant_id: Option<String>,
    pub route: Option<String>,
    pub reason: Option<String>,
    pub peer: Option<String>,
    pub operator: Option<String>,
    #[serde(serialize_with = "as_json", skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    #[serde(serialize_with = "as_base64url")]
    pub hash: Vec<u8>,
}

#[expect(clippy::ref_option, reason = "serde gives it like this")]
fn as_json<S: serde::Serializer>(call: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    let call: serde_json::Value = call.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    serde::Serialize::serialize(&call, serializer)
}

fn as_base64url<S: serde::Serializer>(hash: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::crypto::base64url(hash))
}

/// The chain of records about a person, and of what operators did. Kept for a year.
pub const IDENTIFIED: &str = "identified";
/// The chain of all others. Anyone can cause those, so they are kept for a week (DCR-11).
pub const ANONYMOUS: &str = "anonymous";
/// The chain of calls, of routes that record them. Kept for 90 days.
pub const CALLS: &str = "calls";
/// All chains.
pub const CHAINS: [&str; 3] = [IDENTIFIED, ANONYMOUS, CALLS];

impl AuditEntry {
    fn of(record: &AuditRecord<'_>) -> Self {
        let own = |text: &str| text.to_owned();
        let known = record.subject.is_some() || record.operator.is_some();
        Self {
            chain: own(match record.call {
                Some(_) => CALLS,
                None if known => IDENTIFIED,
                None => ANONYMOUS,
            }),
            seq: 0,
            id: uuid::Uuid::now_v7().to_string(),
            at: record.at.0,
            event: own(record.event),
            outcome: Some(own(record.outcome.as_str())),
            request_id: record.request_id.map(own),
            subject_id: record.subject.map(|id| own(id.as_str())),
            client_id: record.client.map(|id| own(id.as_str())),
            grant_id: record.grant.map(|id| own(id.as_str())),
            route: record.route.map(own),
            reason: record.reason.map(own),
            peer: record.peer.map(own),
            operator: record.operator.map(own),
            call: record.call.map(own),
            hash: Vec::new(),
        }
    }

    /// Over the hash of the record before it and everything this one says, each part behind its length.
    #[must_use]
    pub fn hash_after(&self, previous: &[u8]) -> Vec<u8> {
        let (seq, at) = (self.seq.to_be_bytes(), self.at.to_be_bytes());
        let texts = [
            Some(&self.chain),
            Some(&self.id),
            Some(&self.event),
            self.outcome.as_ref(),
            self.request_id.as_ref(),
            self.subject_id.as_ref(),
            self.client_id.as_ref(),
            self.grant_id.as_ref(),
            self.route.as_ref(),
            self.reason.as_ref(),
            self.peer.as_ref(),
            self.operator.as_ref(),
        ];
        let mut bytes = [previous, &seq, &at].concat();
        // Records that are about no call have the hashes they had before there were others.
        for text in texts.into_iter().chain(self.call.as_ref().map(Some)) {
            match text {
                None => bytes.push(0),
                Some(text) => {
                    bytes.push(1);
                    bytes.extend_from_slice(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
                    bytes.extend_from_slice(text.as_bytes());
                }
            }
        }
        sha256(&bytes).to_vec()
    }
}

/// A record on its way, and who waits for it. Without a record: everything before it is to be written.
pub(super) struct Waiting {
    entry: Option<AuditEntry>,
    written: Option<oneshot::Sender<bool>>,
}

/// Starts the task that writes the records of a store. It ends with the last copy of the store.
pub(super) fn start_writer(backend: Backend) -> mpsc::Sender<Waiting> {
    let (queue, mut waiting) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut batch = Vec::new();
        while waiting.recv_many(&mut batch, BATCH).await > 0 {
            let done =
                append(&backend, batch.iter_mut().filter_map(|waiting: &mut Waiting| waiting.entry.take())).await;
            if let Err(error) = &done {
                tracing::error!(event = "audit_write_failed", records = batch.len(), %error);
            }
            for written in batch.drain(..).filter_map(|waiting| waiting.written) {
                // Nobody waits any more when the request was given up.
                let _ = written.send(done.is_ok());
            }
        }
    });
    queue
}

/// Adds records to the ends of their chains. A chain's row is the lock that writers of all processes queue at.
async fn append(backend: &Backend, entries: impl Iterator<Item = AuditEntry>) -> Result<(), StoreError> {
    const OPEN: &str = "INSERT INTO audit_chains (chain, anchor_seq, anchor, last_seq, head) VALUES ($1, 0, $2, 0, $2) \
                        ON CONFLICT DO NOTHING";
    const ADVANCE: &str = "UPDATE audit_chains SET last_seq = last_seq + $2 WHERE chain = $1 RETURNING last_seq, head";
    const INSERT: &str = "INSERT INTO audit (id, at, event, subject_id, client_id, grant_id, route, reason, peer, \
         chain, seq, request_id, outcome, operator, hash, call) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
    const CLOSE: &str = "UPDATE audit_chains SET head = $2 WHERE chain = $1";
    let mut chains = CHAINS.map(|chain| (chain, Vec::new()));
    for entry in entries {
        if let Some((_, waiting)) = chains.iter_mut().find(|(chain, _)| *chain == entry.chain) {
            waiting.push(entry);
        }
    }
    if chains.iter().all(|(_, entries)| entries.is_empty()) {
        return Ok(());
    }
    let here = Here { backend };
    in_transaction!(here, |tx| {
        for (chain, mut entries) in chains {
            let count = i64::try_from(entries.len()).unwrap_or_default();
            if count == 0 {
                continue;
            }
            sqlx::query(OPEN).bind(chain).bind(GENESIS.as_slice()).execute(&mut *tx).await?;
            let (last, mut head): (i64, Vec<u8>) =
                sqlx::query_as(ADVANCE).bind(chain).bind(count).fetch_one(&mut *tx).await?;
            for (entry, seq) in entries.iter_mut().zip(last - count + 1..) {
                entry.seq = seq;
                entry.hash = entry.hash_after(&head);
                head.clone_from(&entry.hash);
                sqlx::query(INSERT)
                    .bind(&entry.id)
                    .bind(entry.at)
                    .bind(&entry.event)
                    .bind(&entry.subject_id)
                    .bind(&entry.client_id)
                    .bind(&entry.grant_id)
                    .bind(&entry.route)
                    .bind(&entry.reason)
                    .bind(&entry.peer)
                    .bind(chain)
                    .bind(entry.seq)
                    .bind(&entry.request_id)
                    .bind(&entry.outcome)
                    .bind(&entry.operator)
                    .bind(&entry.hash)
                    .bind(&entry.call)
                    .execute(&mut *tx)
                    .await?;
            }
            sqlx::query(CLOSE).bind(chain).bind(&head).execute(&mut *tx).await?;
        }
    });
    Ok(())
}

/// What the macro for transactions looks into.
struct Here<'a> {
    backend: &'a Backend,
}

impl Store {
    /// Writes a record, and comes back when it will survive a crash.
    ///
    /// # Errors
    /// [`StoreError::Unrecorded`]; the log says why.
    pub async fn record(&self, record: &AuditRecord<'_>) -> Result<(), StoreError> {
        self.enqueue(Some(AuditEntry::of(record))).await
    }

    /// Writes a record soon: for what happens often and has its own durable trace, such as a refresh. A crash within
    /// the moment loses it.
    ///
    /// # Errors
    /// [`StoreError::Unrecorded`].
    pub async fn record_soon(&self, record: &AuditRecord<'_>) -> Result<(), StoreError> {
        let waiting = Waiting { entry: Some(AuditEntry::of(record)), written: None };
        self.audit.send(waiting).await.map_err(|_| StoreError::Unrecorded)
    }

    /// Writes a record soon, if there is room, and never waits: for calls, which may be many and leave half of the queue
    /// to everything else. False when it is lost.
    #[must_use]
    pub fn record_if_room(&self, record: &AuditRecord<'_>) -> bool {
        let waiting = Waiting { entry: Some(AuditEntry::of(record)), written: None };
        self.audit.capacity() > WAITING / 2 && self.audit.try_send(waiting).is_ok()
    }

    /// Waits until all records that were given so far are written.
    pub async fn settle_audit(&self) {
        if self.enqueue(None).await.is_err() {
            tracing::warn!(event = "audit_unsettled");
        }
    }

    async fn enqueue(&self, entry: Option<AuditEntry>) -> Result<(), StoreError> {
        let (written, done) = oneshot::channel();
        let sent = self.audit.send(Waiting { entry, written: Some(written) }).await.is_ok();
        if sent && done.await == Ok(true) { Ok(()) } else { Err(StoreError::Unrecorded) }
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

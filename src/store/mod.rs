//! What the gateway remembers, in SQLite or PostgreSQL.
//!
//! Owns every line of SQL. One text serves both databases; only the migrations differ. A method does one job
//! of one use case; what must happen once is decided by a conditional `UPDATE` whose row count names the
//! winner, and what depends on it shares its short transaction (STORE-5). No method waits on a network other
//! than the database's.

mod accounts;
mod asserted;
mod audit;
mod audit_trail;
mod clients;
mod connections;
mod documents;
mod grant_list;
mod grants;
mod keys;
mod login_sessions;
mod logins;
mod open;
mod purge;
mod sealed;
mod subject_tokens;

use sqlx::{PgPool, SqlitePool};

pub use asserted::AssertedGrant;
pub use audit::{ANONYMOUS, AuditEntry, AuditRecord, CALLS, CHAINS, IDENTIFIED, Outcome};
pub use audit_trail::{AuditFault, VerifiedChain};
pub use clients::{ListedClient, StoredClient};
pub use connections::{ConnectAttempt, UpstreamRegistration};
pub use documents::DocumentRow;
pub use grant_list::{GrantFilter, ListedGrant};
pub use grants::{NewRefreshToken, RevocationReason};
pub use keys::{KeyKind, KeyState, KeysVersion, StoredKey, Succession};
pub use login_sessions::NewLoginSession;
pub use open::OpenError;
pub use purge::Purged;
pub use sealed::{SEALED, SealedColumn};

/// Why a record could not be read or written. Endpoints answer 503 with `Retry-After` to either, never an
/// OAuth error that would make a client throw its tokens away (CODE-2, REFR-10).
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store is unavailable: {0}")]
    Unavailable(#[from] sqlx::Error),
    /// A row that this version cannot read.
    #[error("a stored {0} cannot be read")]
    Unreadable(&'static str),
    #[error("an audit record could not be written")]
    Unrecorded,
}

/// The store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    backend: Backend,
    audit: tokio::sync::mpsc::Sender<audit::Waiting>,
}

#[derive(Debug, Clone)]
enum Backend {
    /// One writer (`BEGIN IMMEDIATE`, so writers queue instead of failing) and several readers over one WAL
    /// file, held by a lock for as long as the store lives (STORE-11).
    Sqlite {
        writer: SqlitePool,
        reader: SqlitePool,
        _lock: Option<std::sync::Arc<std::fs::File>>,
    },
    Postgres(PgPool),
}

/// Runs `$body` with `$pool` bound to a pool for reading.
macro_rules! read {
    ($store:expr, |$pool:ident| $body:expr) => {
        match &$store.backend {
            $crate::store::Backend::Sqlite { reader: $pool, .. } => $body,
            $crate::store::Backend::Postgres($pool) => $body,
        }
    };
}

/// Runs `$body` with `$pool` bound to a pool for a single writing statement.
macro_rules! write {
    ($store:expr, |$pool:ident| $body:expr) => {
        match &$store.backend {
            $crate::store::Backend::Sqlite { writer: $pool, .. } => $body,
            $crate::store::Backend::Postgres($pool) => $body,
        }
    };
}

/// Runs `$body` inside one database transaction and commits it. An early return rolls back.
macro_rules! in_transaction {
    ($store:expr, |$tx:ident| $body:expr) => {
        match &$store.backend {
            $crate::store::Backend::Sqlite { writer, .. } => {
                let mut $tx = writer.begin_with("BEGIN IMMEDIATE").await?;
                let out = $body;
                $tx.commit().await?;
                out
            }
            $crate::store::Backend::Postgres(pool) => {
                let mut $tx = pool.begin().await?;
                let out = $body;
                $tx.commit().await?;
                out
            }
        }
    };
}
pub(crate) use {in_transaction, read, write};

impl Store {
    fn over(backend: Backend) -> Self {
        // Without the lock: it is let go of with the last copy of the store, whatever the writer still does.
        let audit = audit::start_writer(match &backend {
            Backend::Sqlite { writer, reader, .. } => {
                Backend::Sqlite { writer: writer.clone(), reader: reader.clone(), _lock: None }
            }
            Backend::Postgres(pool) => Backend::Postgres(pool.clone()),
        });
        Self { backend, audit }
    }

    /// Answers when the database does.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        read!(self, |pool| sqlx::query("SELECT 1").execute(pool).await.map(drop))?;
        Ok(())
    }

    /// Whether several gateways may share it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.backend, Backend::Postgres(_))
    }

    /// Writes what is still to be written and lets go of the database.
    pub async fn close(&self) {
        self.settle_audit().await;
        match &self.backend {
            Backend::Sqlite { writer, reader, .. } => {
                reader.close().await;
                writer.close().await;
            }
            Backend::Postgres(pool) => pool.close().await,
        }
    }
}

/// SHA-256 of a text of any length, for indexed columns (STORE-8).
fn text_hash(text: &str) -> Vec<u8> {
    crate::crypto::sha256(text.as_bytes()).to_vec()
}

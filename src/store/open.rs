//! Opening the database: URL, pools, migrations, the one-gateway lock of a SQLite file.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{Backend, Store};

/// How long a statement may wait for a connection or a writer before the answer is 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// Why the store did not open. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("--database-url must start with sqlite:// or postgres://")]
    Scheme,
    #[error("--database-url cannot be read: {0}")]
    Url(sqlx::Error),
    #[error("another doorward already runs on {path}; several gateways need --database-url postgres://…")]
    InUse { path: PathBuf },
    #[error("--database-url: cannot open {path}, or its folder is not there: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("cannot open the database of --database-url: {0}")]
    Connect(#[source] sqlx::Error),
    #[error("the database was written by a newer doorward (migration {0}); run that version or a newer one")]
    Newer(i64),
    #[error("there is no database at {path}: give the gateway's --database-url")]
    Absent { path: PathBuf },
    #[error("the database was written by an older doorward, or by none: start this version's gateway on it once")]
    Older,
    #[error("the database cannot be migrated: {0}")]
    Migrate(#[source] MigrateError),
}

impl Store {
    /// Opens (and creates, for SQLite) the database and brings its schema up to date.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        if let Some(rest) = url.strip_prefix("sqlite:") {
            Self::open_sqlite(sqlite_path(rest)).await
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Self::open_postgres(url).await
        } else {
            Err(OpenError::Scheme)
        }
    }

    /// Opens a database that a gateway may be running on, for an operator's command: without the lock that keeps a
    /// second gateway out, and without changing the schema (STORE-11).
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_beside(url: &str) -> Result<Self, OpenError> {
        let store = if let Some(rest) = url.strip_prefix("sqlite:") {
            let path = sqlite_path(rest);
            if !Path::new(path).is_file() {
                return Err(OpenError::Absent { path: path.into() });
            }
            connect_sqlite(path, None).await?
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            connect_postgres(url).await?
        } else {
            return Err(OpenError::Scheme);
        };
        store.check_schema().await?;
        Ok(store)
    }

    async fn check_schema(&self) -> Result<(), OpenError> {
        let applied = self.applied_migrations().await.unwrap_or_default();
        let ours = match &self.backend {
            Backend::Sqlite { .. } => SQLITE.iter(),
            Backend::Postgres(_) => POSTGRES.iter(),
        };
        let ours: Vec<i64> = ours.map(|migration| migration.version).collect();
        match (applied.iter().find(|version| !ours.contains(version)), ours.iter().all(|v| applied.contains(v))) {
            (Some(newer), _) => Err(OpenError::Newer(*newer)),
            (None, false) => Err(OpenError::Older),
            (None, true) => Ok(()),
        }
    }

    async fn applied_migrations(&self) -> Result<Vec<i64>, sqlx::Error> {
        const SQL: &str = "SELECT version FROM _sqlx_migrations WHERE success";
        super::read!(self, |pool| sqlx::query_scalar(SQL).fetch_all(pool).await)
    }

    async fn open_sqlite(path: &str) -> Result<Self, OpenError> {
        let lock = lock(Path::new(path))?;
        // Made before SQLite opens it: the WAL and its index take the permissions that the database has.
        private_file(Path::new(path)).map_err(|source| OpenError::File { path: path.into(), source })?;
        let store = connect_sqlite(path, Some(lock)).await?;
        store.migrate().await?;
        Ok(store)
    }

    async fn open_postgres(url: &str) -> Result<Self, OpenError> {
        let store = connect_postgres(url).await?;
        store.migrate().await?;
        Ok(store)
    }

    async fn migrate(&self) -> Result<(), OpenError> {
        let done = match &self.backend {
            Backend::Sqlite { writer, .. } => SQLITE.run(writer).await,
            Backend::Postgres(pool) => POSTGRES.run(pool).await,
        };
        done.map_err(migration_error)
    }
}

/// The path in the URL of a SQLite file, after `sqlite:`.
fn sqlite_path(rest: &str) -> &str {
    let path = rest.trim_start_matches("//");
    path.split('?').next().unwrap_or(path)
}

async fn connect_sqlite(path: &str, lock: Option<Arc<File>>) -> Result<Store, OpenError> {
    let options = SqliteConnectOptions::from_str("sqlite:")
        .map_err(OpenError::Url)?
        .filename(path)
        .create_if_missing(lock.is_some())
        .journal_mode(SqliteJournalMode::Wal)
        // FULL: an answer that was given survives a power cut too. A refresh token that was rotated and
        // then forgotten would strand its client.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(ACQUIRE_TIMEOUT);
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options.clone())
        .await
        .map_err(OpenError::Connect)?;
    // Connects when it is first used: read only, it needs the schema's file to be there.
    let reader = SqlitePoolOptions::new()
        .max_connections(4)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options.read_only(true).create_if_missing(false));
    Ok(Store::over(Backend::Sqlite { writer, reader, _lock: lock }))
}

async fn connect_postgres(url: &str) -> Result<Store, OpenError> {
    let options = PgConnectOptions::from_str(url).map_err(OpenError::Url)?.application_name("doorward");
    let pool =
        PgPoolOptions::new().max_connections(16).acquire_timeout(ACQUIRE_TIMEOUT).connect_with(options.clone()).await;
    match pool {
        Ok(pool) => Ok(Store::over(Backend::Postgres(pool))),
        // A pool keeps to itself why it had to wait.
        Err(sqlx::Error::PoolTimedOut) => {
            let why = tokio::time::timeout(ACQUIRE_TIMEOUT, options.connect()).await;
            let why = why.ok().and_then(Result::err).unwrap_or(sqlx::Error::PoolTimedOut);
            Err(OpenError::Connect(why))
        }
        Err(error) => Err(OpenError::Connect(error)),
    }
}

/// Holds `<database>.lock` until the store is dropped; the system lets go of it when the process dies.
fn lock(database: &Path) -> Result<Arc<File>, OpenError> {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let file = private_file(&path).map_err(|source| OpenError::File { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(Arc::new(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: database.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::File { path, source }),
    }
}

/// Opens a file, or makes it for this user alone.
fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn migration_error(error: MigrateError) -> OpenError {
    match error {
        MigrateError::VersionMissing(version) => OpenError::Newer(version),
        other => OpenError::Migrate(other),
    }
}

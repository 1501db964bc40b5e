//! Opening the database: URL, pools, migrations, the one-gateway lock of a SQLite file.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{Backend, Store};

/// How long a statement may wait for a connection or a writer before the answer is 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the store did not open. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("--database-url must start with sqlite:// or postgres://")]
    Scheme,
    #[error("--database-url cannot be read: {0}")]
    Url(sqlx::Error),
    #[error("another doorward already runs on {path}; several gateways need --database-url postgres://…")]
    InUse { path: PathBuf },
    #[error("cannot open {path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("cannot open the database: {0}")]
    Connect(#[source] sqlx::Error),
    #[error("the database was written by a newer doorward (migration {0}); run that version or a newer one")]
    Newer(i64),
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
            Self::open_sqlite(rest.trim_start_matches("//")).await
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Self::open_postgres(url).await
        } else {
            Err(OpenError::Scheme)
        }
    }

    async fn open_sqlite(path: &str) -> Result<Self, OpenError> {
        let path = path.split('?').next().unwrap_or(path);
        let lock = lock(Path::new(path))?;
        // Made before SQLite opens it: the WAL and its index take the permissions that the database has.
        private_file(Path::new(path)).map_err(|source| OpenError::File { path: path.into(), source })?;
        let options = SqliteConnectOptions::from_str("sqlite:")
            .map_err(OpenError::Url)?
            .filename(path)
            .create_if_missing(true)
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
        sqlx::migrate!("migrations/sqlite").run(&writer).await.map_err(migration_error)?;
        let reader = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await
            .map_err(OpenError::Connect)?;
        Ok(Self { backend: Backend::Sqlite { writer, reader, _lock: Some(lock) } })
    }

    async fn open_postgres(url: &str) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url).map_err(OpenError::Url)?.application_name("doorward");
        let pool = PgPoolOptions::new()
            .max_connections(16)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await
            .map_err(OpenError::Connect)?;
        sqlx::migrate!("migrations/postgres").run(&pool).await.map_err(migration_error)?;
        Ok(Self { backend: Backend::Postgres(pool) })
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

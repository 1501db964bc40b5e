//! The schema over versions of the gateway (STORE-7).

use doorward::store::{OpenError, Store};
use futures_util::future::join_all;
use rstest::rstest;
use sqlx::Connection as _;

use crate::postgres::Postgres;
use crate::world::{Kind, NOW, World, client};

/// Runs a statement behind the back of the gateway.
async fn execute(url: &str, statement: &'static str) {
    if url.starts_with("sqlite") {
        let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

// STORE-7
#[rstest]
#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_with_what_to_do(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    world.store.close().await;
    drop(world.store);
    execute(
        &world.url,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 9999, 'of tomorrow', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    )
    .await;
    for refused in [Store::open(&world.url).await.err(), Store::open_beside(&world.url).await.err()] {
        let refused = refused.expect("it is not opened");
        assert!(matches!(refused, OpenError::Newer(9999)), "{refused}");
        assert!(refused.to_string().contains("run that version or a newer one"), "{refused}");
    }
    execute(&world.url, "DELETE FROM _sqlx_migrations WHERE version = 9999").await;
    Store::open(&world.url).await.expect("nothing was changed meanwhile");
}

// STORE-7
#[rstest]
#[tokio::test]
async fn a_migration_that_was_applied_is_never_applied_in_another_form(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
) {
    let world = World::open(kind).await;
    world.store.close().await;
    drop(world.store);
    execute(
        &world.url,
        "UPDATE _sqlx_migrations SET checksum = other.checksum FROM \
        (SELECT checksum FROM _sqlx_migrations WHERE version = 2) AS other WHERE version = 1",
    )
    .await;
    let refused = Store::open(&world.url).await.expect_err("it is not opened");
    assert!(matches!(refused, OpenError::Migrate(_)), "{refused}");
}

// STORE-7
#[tokio::test]
async fn gateways_that_start_at_once_migrate_one_database_once() {
    let url = Postgres::shared().unwrap().new_database();
    let stores = join_all((0..6).map(|_| Store::open(&url))).await;
    for (number, store) in stores.into_iter().enumerate() {
        let store = store.unwrap_or_else(|error| panic!("gateway {number}: {error}"));
        let stored = doorward::store::StoredClient { client: client(number, NOW), management_hash: None };
        store.register_client(&stored, 10).await.unwrap();
    }
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    let counts = "SELECT COUNT(*), COUNT(DISTINCT version) FROM _sqlx_migrations WHERE success";
    let (rows, versions): (i64, i64) = sqlx::query_as(counts).fetch_one(&mut connection).await.unwrap();
    assert!(rows > 1 && rows == versions, "{rows} rows for {versions} migrations");
}

// STORE-7
#[tokio::test]
async fn an_operators_command_changes_no_schema() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("empty.db").display());
    std::fs::write(folder.path().join("empty.db"), "").unwrap();
    let refused = Store::open_beside(&url).await.expect_err("it is not opened");
    assert!(matches!(refused, OpenError::Older), "{refused}");
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let tables: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master").fetch_one(&mut connection).await.unwrap();
    assert_eq!(tables, 0);
}

//! The audit trail: chained, verified, and purged from its old end (REV-6, SEC-10).

use std::time::Duration;

use doorward::domain::{GrantId, UnixTime};
use doorward::store::{ANONYMOUS, AuditFault, AuditRecord, CALLS, IDENTIFIED, Store, VerifiedChain};
use rstest::rstest;
use sqlx::Connection as _;

use crate::world::{Kind, NOW, World, person};

async fn record(store: &Store, at: i64, reason: &str) {
    let subject = person(1).id;
    let record = AuditRecord::new("mcp_auth_grant_revoked", UnixTime(NOW.0 + at));
    store.record(&AuditRecord { subject: Some(&subject), reason: Some(reason), ..record }).await.unwrap();
}

async fn trail(kind: Kind) -> World {
    let world = World::open(kind).await;
    for at in 0..6 {
        record(&world.store, at, "client").await;
    }
    world
}

/// What somebody with access to the database does to it.
async fn tamper(world: &World, sql: &'static str) {
    let rows = if world.url.starts_with("sqlite") {
        let mut database = sqlx::SqliteConnection::connect(&world.url).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut database).await.unwrap().rows_affected()
    } else {
        let mut database = sqlx::PgConnection::connect(&world.url).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut database).await.unwrap().rows_affected()
    };
    assert!(rows > 0);
}

async fn identified(store: &Store) -> VerifiedChain {
    store.verify_audit().await.unwrap().into_iter().find(|chain| chain.chain == IDENTIFIED).unwrap()
}

// SEC-10
#[rstest]
#[case::changed("UPDATE audit SET reason = 'operator' WHERE seq = 3", AuditFault::Changed { seq: 3 })]
#[case::its_outcome("UPDATE audit SET outcome = 'refused' WHERE seq = 6", AuditFault::Changed { seq: 6 })]
#[case::emptied("UPDATE audit SET subject_id = NULL WHERE seq = 2", AuditFault::Changed { seq: 2 })]
#[case::removed("DELETE FROM audit WHERE seq = 4", AuditFault::Missing { seq: 4 })]
#[case::the_first("DELETE FROM audit WHERE seq = 1", AuditFault::Missing { seq: 1 })]
#[case::the_last("DELETE FROM audit WHERE seq = 6", AuditFault::Missing { seq: 6 })]
#[case::reordered(
    "UPDATE audit SET seq = 100 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 100",
    AuditFault::Changed { seq: 2 }
)]
#[case::added(
    "INSERT INTO audit (id, at, event, chain, seq, hash) SELECT 'x', at, event, chain, 7, hash FROM audit WHERE seq = 6",
    AuditFault::Added { last: 6 }
)]
#[case::without_its_end("DELETE FROM audit_chains", AuditFault::Unanchored)]
#[tokio::test]
async fn a_trail_that_was_touched_is_told(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
    #[case] sql: &'static str,
    #[case] fault: AuditFault,
) {
    let world = trail(kind).await;
    assert_eq!(identified(&world.store).await.fault, None);
    tamper(&world, sql).await;
    assert_eq!(identified(&world.store).await.fault, Some(fault));
}

// SEC-10, REV-6
#[rstest]
#[tokio::test]
async fn writers_of_several_processes_share_one_chain(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let other = Store::open_beside(&world.url).await.unwrap();
    let subject = person(1).id;
    let write = async |store: &Store| {
        for at in 0..30 {
            let record = AuditRecord::new("mcp_auth_downstream_token_issued", UnixTime(NOW.0 + at));
            store.record_soon(&AuditRecord { subject: Some(&subject), ..record }).await.unwrap();
            if at % 10 == 0 {
                record_anonymous(store, at).await;
            }
        }
        store.settle_audit().await;
    };
    tokio::join!(write(&world.store), write(&other));
    let chains = world.store.verify_audit().await.unwrap();
    assert!(chains.iter().all(|chain| chain.fault.is_none()), "{chains:?}");
    let counts: Vec<_> = chains.iter().map(|chain| (chain.chain, chain.records)).collect();
    assert_eq!(counts, [(IDENTIFIED, 60), (ANONYMOUS, 6), (CALLS, 0)]);
}

async fn record_anonymous(store: &Store, at: i64) {
    store.record(&AuditRecord::new("mcp_auth_client_registered", UnixTime(NOW.0 + at))).await.unwrap();
}

// SEC-10, STORE-9
#[rstest]
#[tokio::test]
async fn a_purge_leaves_a_trail_that_can_be_verified_from_where_it_begins(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
) {
    let world = trail(kind).await;
    record_anonymous(&world.store, 0).await;
    record_anonymous(&world.store, 86_400 * 8).await;
    let year = 86_400 * 365;
    record(&world.store, year, "client").await;
    world.store.purge(UnixTime(NOW.0 + year + 4), Duration::from_secs(1), 100).await.unwrap();
    let chains = world.store.verify_audit().await.unwrap();
    assert!(chains.iter().all(|chain| chain.fault.is_none()), "{chains:?}");
    assert_eq!(chains.iter().map(|chain| (chain.records, chain.last)).collect::<Vec<_>>(), [(3, 7), (0, 2), (0, 0)]);
    record(&world.store, year + 1, "client").await;
    assert_eq!(identified(&world.store).await.records, 4);
    // The anchor moves over no gap that somebody made.
    tamper(&world, "DELETE FROM audit WHERE seq = 5").await;
    world.store.purge(UnixTime(NOW.0 + 2 * year), Duration::from_secs(1), 100).await.unwrap();
    assert_eq!(identified(&world.store).await.fault, Some(AuditFault::Missing { seq: 5 }));
}

fn call(at: i64) -> AuditRecord<'static> {
    AuditRecord {
        call: Some(r#"{"method":"tools/call","name":"echo"}"#),
        ..AuditRecord::new("mcp_capability_completed", UnixTime(NOW.0 + at))
    }
}

// SEC-10, STORE-9
#[rstest]
#[tokio::test]
async fn calls_are_chained_by_themselves_and_kept_for_ninety_days(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = trail(kind).await;
    let day = 86_400;
    for at in [0, 1, 2 * day, 3 * day] {
        assert!(world.store.record_if_room(&call(at)));
    }
    world.store.settle_audit().await;
    let calls = async |store: &Store| {
        let chains = store.verify_audit().await.unwrap();
        let calls = chains.into_iter().find(|chain| chain.chain == CALLS).unwrap();
        (calls.records, calls.fault)
    };
    assert_eq!(calls(&world.store).await, (4, None));
    world.store.purge(UnixTime(NOW.0 + 91 * day), Duration::from_secs(1), 100).await.unwrap();
    assert_eq!(calls(&world.store).await, (2, None));
    assert_eq!(identified(&world.store).await.records, 6, "others stay longer");
    let exported = world.store.audit_page(CALLS, 0).await.unwrap();
    assert_eq!(exported[0].call.as_deref(), call(0).call);
    tamper(&world, "UPDATE audit SET call = '{}' WHERE chain = 'calls' AND seq = 4").await;
    assert_eq!(calls(&world.store).await.1, Some(AuditFault::Changed { seq: 4 }));
}

// REV-6: on one thread, on which the writer cannot run meanwhile.
#[tokio::test(flavor = "current_thread")]
async fn calls_wait_for_nothing_and_leave_half_of_the_queue_to_others() {
    let world = World::open(Kind::Sqlite).await;
    let written = (0..3_000).filter(|at| world.store.record_if_room(&call(*at))).count();
    assert_eq!(written, 2_048);
    let others = (0..1_000).map(|at| AuditRecord::new("mcp_auth_client_registered", UnixTime(NOW.0 + at)));
    for record in others {
        world.store.record_soon(&record).await.unwrap();
    }
    world.store.settle_audit().await;
    assert!(world.store.record_if_room(&call(0)), "there is room again");
    world.store.settle_audit().await;
    let chains = world.store.verify_audit().await.unwrap();
    assert_eq!(chains.iter().map(|chain| chain.records).collect::<Vec<_>>(), [0, 1_000, 2_049]);
}

// REV-6: what was recorded is there when `record` comes back, and after a restart.
#[tokio::test]
async fn a_record_is_written_before_anybody_goes_on() {
    let world = World::open(Kind::Sqlite).await;
    let grant = GrantId::new("grt_1");
    let record = AuditRecord { grant: Some(&grant), ..AuditRecord::new("mcp_auth_grant_revoked", NOW) };
    world.store.record(&record).await.unwrap();
    assert_eq!(Store::open_beside(&world.url).await.unwrap().audit_events_of(&grant).await.unwrap().len(), 1);
    world.store.record_soon(&record).await.unwrap();
    world.store.close().await;
    drop(world.store);
    assert_eq!(Store::open(&world.url).await.unwrap().audit_events_of(&grant).await.unwrap().len(), 2);
}

//! What is left in the store after floods (LIM-6, DCR-11). Rows are counted, not bytes.

use doorward::crypto::SecretHash;
use doorward::domain::{BrowserId, ClientId, Grant, GrantId, Stage, Transaction, TransactionId, UnixTime};
use doorward::store::StoredClient;
use futures_util::future::join_all;
use rstest::rstest;

use crate::world::{Kind, NOW, World, client, grant, hash, person, transaction};

async fn register(world: &World, number: usize, now: UnixTime, cap: u64) {
    let stored = StoredClient { client: client(number, now), management_hash: None };
    world.store.register_client(&stored, cap).await.unwrap();
}

async fn is_there(world: &World, number: usize) -> bool {
    world.store.registered_client(&client(number, NOW).id).await.unwrap().is_some()
}

async fn how_many(world: &World, numbers: std::ops::Range<usize>) -> usize {
    let mut there = 0;
    for number in numbers {
        there += usize::from(is_there(world, number).await);
    }
    there
}

/// A transaction of a client of its own, waiting for the person's decision.
fn waiting(number: usize) -> Transaction {
    let browser = BrowserId::new(format!("br:{number}"));
    let stage = Stage::AwaitingConsent { subject: person(1).id };
    let mut waiting = transaction(&format!("tx:{number}"), stage, Some(&browser));
    waiting.request.client_id = ClientId::new(format!("dcr_{number}"));
    waiting
}

fn grant_of(number: usize) -> (Grant, SecretHash) {
    let mut grant = grant(&format!("grt_{number}"), UnixTime(NOW.0 + 60));
    grant.client_id = ClientId::new(format!("dcr_{number}"));
    (grant, hash(&format!("code:{number}")))
}

// DCR-11, LIM-6
#[rstest]
#[case::for_every_day(3_000, 300)]
#[ignore = "takes minutes; for when eviction changes"]
#[case::as_many_as_the_contract_names(100_000, 1_000)]
#[tokio::test]
async fn a_flood_of_registrations_stays_within_the_cap_and_none_is_refused(#[case] flood: usize, #[case] cap: usize) {
    let world = World::open(Kind::Sqlite).await;
    register(&world, 0, NOW, cap as u64).await;
    world.store.create_transaction(&waiting(0)).await.unwrap();
    let (granted, code) = grant_of(0);
    assert!(world.store.approve(&waiting(0), &granted, &code, UnixTime(NOW.0 + 60)).await.unwrap());
    world.store.redeem_code(&code, &granted.id, UnixTime(NOW.0 + 1_000_000), None, NOW).await.unwrap();
    for number in 1..=flood {
        let now = UnixTime(NOW.0 + i64::try_from(number / 100).unwrap());
        register(&world, number, now, cap as u64).await;
        if number % 500 == 0 {
            assert!(is_there(&world, number).await, "number {number} was let in");
        }
    }
    assert!(is_there(&world, 0).await, "the client with a live grant stays");
    assert_eq!(how_many(&world, 1..flood - cap).await, 0, "the oldest go first");
    assert!(how_many(&world, flood - cap..flood + 1).await < cap);
}

// DCR-11
#[rstest]
#[tokio::test]
async fn a_client_in_the_middle_of_an_authorization_is_not_evicted(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    register(&world, 1, NOW, 20).await;
    register(&world, 2, NOW, 20).await;
    let unbound = Transaction { browser: None, stage: Stage::AwaitingLogin, ..waiting(1) };
    world.store.create_transaction(&unbound).await.unwrap();
    world.store.create_transaction(&waiting(2)).await.unwrap();
    for number in 10..100 {
        register(&world, number, NOW, 20).await;
    }
    assert!(is_there(&world, 1).await && is_there(&world, 2).await);
    assert!(how_many(&world, 10..100).await <= 18);

    world.store.deny(&TransactionId::new("tx:2")).await.unwrap();
    let later = UnixTime(NOW.0 + 901);
    for number in 100..150 {
        register(&world, number, later, 20).await;
    }
    assert!(!is_there(&world, 1).await, "its authorization has expired");
    assert!(!is_there(&world, 2).await, "its authorization is over");
}

// DCR-11, STORE-5: on PostgreSQL an eviction does not see an approval that is being committed beside it.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_eviction_beside_an_approval_leaves_a_grant_without_its_client(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
) {
    let world = World::open(kind).await;
    for number in 0..40 {
        register(&world, number, NOW, 1_000).await;
        world.store.create_transaction(&waiting(number)).await.unwrap();
    }
    let approvals = (0..40).map(async |number| {
        let (grant, code) = grant_of(number);
        assert!(world.store.approve(&waiting(number), &grant, &code, UnixTime(NOW.0 + 60)).await.unwrap());
    });
    let evictions = (100..200).map(async |number| register(&world, number, NOW, 10).await);
    futures_util::join!(join_all(approvals), join_all(evictions));
    for number in 0..40 {
        assert!(world.store.grant(&GrantId::new(format!("grt_{number}"))).await.unwrap().is_some());
        assert!(is_there(&world, number).await, "client {number} has a grant and is gone");
    }
}

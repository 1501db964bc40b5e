//! Clients, logins, approvals, codes, grants.

use std::time::Duration;

use doorward::domain::browser::{BrowserLogin, KnownBrowser};
use doorward::domain::{BrowserId, GrantId, Stage, TransactionId, UnixTime};
use doorward::store::{KeyKind, RevocationReason, Store, StoredClient, StoredKey};
use futures_util::future::join_all;
use rstest::rstest;

use crate::world::{Kind, NOW, World, approved, client, grant, hash, person, refresh, transaction};

const LATER: UnixTime = UnixTime(NOW.0 + 5_000);

// STORE-1
#[rstest]
#[tokio::test]
async fn what_was_stored_is_there_after_a_restart(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let stored = StoredClient { client: client(1, NOW), management_hash: Some(hash("m")) };
    world.store.register_client(&stored, 10).await.unwrap();
    world.store.save_person(&person(1), NOW).await.unwrap();
    approved(&world.store, "g").await;
    let key = StoredKey {
        id: "kid".to_owned(),
        algorithm: "ES256".to_owned(),
        generation: 1,
        sealed: vec![0, 255, 1],
        created_at: NOW.0,
        in_force_at: None,
        retired_at: None,
    };
    world.store.add_key(KeyKind::Signing, &key).await.unwrap();
    world.store.close().await;
    drop(world.store);

    let again = Store::open(&world.url).await.unwrap();
    let found = again.registered_client(&stored.client.id).await.unwrap().unwrap();
    assert_eq!(found.client, stored.client);
    assert_eq!(found.management_hash, stored.management_hash);
    assert_eq!(again.person(&person(1).id).await.unwrap(), Some(person(1)));
    assert_eq!(again.grant(&GrantId::new("g")).await.unwrap(), Some(grant("g", UnixTime(NOW.0 + 60))));
    assert_eq!(again.keys(KeyKind::Signing).await.unwrap()[0].sealed, [0, 255, 1]);
    assert!(again.keys(KeyKind::Derivation).await.unwrap().is_empty());
}

// STORE-11
#[tokio::test]
async fn a_second_gateway_on_one_sqlite_file_is_refused_and_says_what_to_do() {
    let world = World::open(Kind::Sqlite).await;
    let error = Store::open(&world.url).await.unwrap_err().to_string();
    assert!(error.contains("another doorward already runs") && error.contains("postgres://"), "{error}");
    assert!(!world.store.is_shared());
}

// SEC-4: two gateways that start at once agree on one key.
#[rstest]
#[tokio::test]
async fn the_first_key_of_a_generation_wins(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let key = |id: &str| StoredKey {
        id: id.to_owned(),
        algorithm: "ES256".to_owned(),
        generation: 1,
        sealed: vec![1],
        created_at: NOW.0,
        in_force_at: None,
        retired_at: None,
    };
    let (one, two) = (key("one"), key("two"));
    let (first, second) =
        tokio::join!(world.store.add_key(KeyKind::Signing, &one), world.store.add_key(KeyKind::Signing, &two));
    first.and(second).unwrap();
    assert_eq!(world.store.keys(KeyKind::Signing).await.unwrap().len(), 1);
}

// CONS-15, IDP-16
#[rstest]
#[tokio::test]
async fn a_login_gives_the_browser_a_new_value_and_the_old_one_proves_nobody(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
) {
    let world = World::open(kind).await;
    let store = &world.store;
    let (first, second) = (BrowserId::new("b1"), BrowserId::new("b2"));
    assert_eq!(store.adopt_browser(&first, &hash("old"), LATER, NOW).await.unwrap(), first);
    assert_eq!(store.adopt_browser(&second, &hash("old"), LATER, NOW).await.unwrap(), first);
    let login = BrowserLogin {
        subject: person(1).id,
        authenticated_at: NOW,
        provider_session: Some("s".to_owned()),
        login_session: None,
    };
    store.sign_in(&first, &hash("new"), &login, LATER).await.unwrap();

    let current = store.browser(&hash("new"), NOW).await.unwrap().unwrap();
    assert_eq!(current.login(NOW), Some(&login));
    let old = store.browser(&hash("old"), NOW).await.unwrap().unwrap();
    assert!(matches!(old, KnownBrowser::Superseded(_)) && old.login(NOW).is_none());
    assert!(store.browser(&hash("new"), LATER).await.unwrap().is_none());
    assert!(store.browser(&hash("other"), NOW).await.unwrap().is_none());

    let waiting = transaction("t", Stage::AwaitingConsent { subject: person(1).id }, Some(&first));
    store.create_transaction(&waiting).await.unwrap();
    store.sign_out(&first).await.unwrap();
    assert!(store.browser(&hash("new"), NOW).await.unwrap().unwrap().login(NOW).is_none());
    let after = store.transaction(&waiting.id, NOW).await.unwrap().unwrap();
    assert_eq!(after.stage, Stage::AwaitingLogin);
}

// IDP-1, AUTHZ-17, CONS-16
#[rstest]
#[tokio::test]
async fn a_transaction_belongs_to_the_first_browser_that_starts_it(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let store = &world.store;
    let fresh = transaction("t", Stage::AwaitingLogin, None);
    store.create_transaction(&fresh).await.unwrap();
    let (mine, theirs) = (BrowserId::new("mine"), BrowserId::new("theirs"));
    assert!(store.start_login(&fresh.id, &mine, &hash("s1"), NOW).await.unwrap());
    assert!(!store.start_login(&fresh.id, &theirs, &hash("s2"), NOW).await.unwrap());
    // Going again arms a new state; the one before it is dead.
    assert!(store.start_login(&fresh.id, &mine, &hash("s3"), NOW).await.unwrap());
    assert!(store.transaction_of_state(&hash("s1"), NOW).await.unwrap().is_none());
    let found = store.transaction_of_state(&hash("s3"), NOW).await.unwrap().unwrap();
    assert_eq!((found.id, found.request), (fresh.id.clone(), fresh.request));
    assert_eq!(store.transaction_to_resume(&mine, NOW).await.unwrap(), Some(fresh.id.clone()));
    store.drop_oldest_pending(&mine, 1).await.unwrap();
    assert_eq!(store.transaction_to_resume(&mine, NOW).await.unwrap(), Some(fresh.id.clone()));
    assert!(!store.await_consent(&fresh.id, &theirs, &person(1).id).await.unwrap());
    assert!(store.transaction(&fresh.id, UnixTime(NOW.0 + 900)).await.unwrap().is_none());
}

// STORE-5, IDP-1
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_who_spend_one_state_one_wins(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let fresh = transaction("t", Stage::AwaitingLogin, None);
    world.store.create_transaction(&fresh).await.unwrap();
    assert!(world.store.start_login(&fresh.id, &BrowserId::new("b"), &hash("s"), NOW).await.unwrap());
    let tries = (0..50).map(|_| {
        let store = world.store.clone();
        tokio::spawn(async move { store.consume_state(&hash("s"), NOW).await.unwrap() })
    });
    let won = join_all(tries).await.into_iter().filter(|outcome| *outcome.as_ref().unwrap()).count();
    assert_eq!(won, 1);
}

// CONS-12, STORE-5
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_approvals_one_makes_a_grant_and_a_code(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let waiting = transaction("t", Stage::AwaitingConsent { subject: person(1).id }, Some(&BrowserId::new("b")));
    world.store.create_transaction(&waiting).await.unwrap();
    let tries = (0..50).map(|number| {
        let (store, waiting) = (world.store.clone(), waiting.clone());
        tokio::spawn(async move {
            let grant = grant(&format!("g{number}"), UnixTime(NOW.0 + 60));
            store.approve(&waiting, &grant, &hash("code"), UnixTime(NOW.0 + 60)).await.unwrap().then_some(grant.id)
        })
    });
    let winners: Vec<GrantId> = join_all(tries).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(winners.len(), 1);
    let decided = world.store.transaction(&waiting.id, NOW).await.unwrap().unwrap();
    assert_eq!(decided.stage, Stage::Approved { subject: person(1).id, grant: winners[0].clone() });
    assert_eq!(world.store.code(&hash("code")).await.unwrap().unwrap().grant, winners[0]);
    assert!(!world.store.deny(&waiting.id).await.unwrap());
}

// CODE-9, STORE-5
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_redemptions_of_a_code_one_wins(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let grant = approved(&world.store, "g").await;
    let tries = (0..50).map(|number| {
        let (store, id) = (world.store.clone(), grant.id.clone());
        tokio::spawn(async move {
            let first = refresh(&format!("rt{number}"), "g", 0);
            store.redeem_code(&hash("code:g"), &id, LATER, Some(&first), NOW).await.unwrap()
        })
    });
    let won = join_all(tries).await.into_iter().filter(|outcome| *outcome.as_ref().unwrap()).count();
    assert_eq!(won, 1);
    assert_eq!(world.store.grant(&grant.id).await.unwrap().unwrap().expires_at, LATER);
    assert_eq!(world.store.code(&hash("code:g")).await.unwrap().unwrap().consumed_at, Some(NOW));
}

// CODE-5
#[rstest]
#[tokio::test]
async fn an_expired_code_and_one_of_a_revoked_grant_are_not_redeemed(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
) {
    let world = World::open(kind).await;
    let late = approved(&world.store, "late").await;
    let expired = world.store.redeem_code(&hash("code:late"), &late.id, LATER, None, UnixTime(NOW.0 + 60)).await;
    assert!(!expired.unwrap());
    let gone = approved(&world.store, "gone").await;
    assert!(world.store.revoke_grant(&gone.id, RevocationReason::Client, NOW).await.unwrap());
    assert!(!world.store.revoke_grant(&gone.id, RevocationReason::Client, NOW).await.unwrap());
    assert!(!world.store.redeem_code(&hash("code:gone"), &gone.id, LATER, None, NOW).await.unwrap());
    assert_eq!(world.store.ended_grants(NOW, NOW).await.unwrap(), [gone.id]);
}

// CODE-4
#[rstest]
#[tokio::test]
async fn an_assertion_id_is_used_once(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    assert!(world.store.use_once(&hash("jti"), LATER).await.unwrap());
    assert!(!world.store.use_once(&hash("jti"), LATER).await.unwrap());
}

// DCR-9, DCR-11
#[rstest]
#[tokio::test]
async fn registrations_beyond_the_cap_push_out_idle_ones_and_never_one_with_a_grant(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
) {
    let world = World::open(kind).await;
    let register = async |number: usize| {
        let issued = UnixTime(NOW.0 + i64::try_from(number).unwrap());
        let stored = StoredClient { client: client(number, issued), management_hash: None };
        world.store.register_client(&stored, 20).await.unwrap();
    };
    register(1).await;
    let grant = approved(&world.store, "g").await;
    world.store.redeem_code(&hash("code:g"), &grant.id, UnixTime(NOW.0 + 1_000_000), None, NOW).await.unwrap();
    for number in 2..200 {
        register(number).await;
    }
    let mut left = Vec::new();
    for number in 1..200 {
        if world.store.registered_client(&client(number, NOW).id).await.unwrap().is_some() {
            left.push(number);
        }
    }
    assert!(left.len() <= 20, "{} are left", left.len());
    assert!(left.contains(&1), "the client with a live grant stays");
    assert!(left.contains(&199), "the new one is never refused");
}

// STORE-9, DCR-9
#[rstest]
#[tokio::test]
async fn a_purge_takes_what_has_expired_and_leaves_what_lives(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let store = &world.store;
    let stored = StoredClient { client: client(1, NOW), management_hash: None };
    store.register_client(&stored, 10).await.unwrap();
    store.register_client(&StoredClient { client: client(2, NOW), management_hash: None }, 10).await.unwrap();
    store.save_person(&person(1), NOW).await.unwrap();
    let grant = approved(store, "g").await;
    let far = UnixTime(NOW.0 + 400 * 86_400);
    store.redeem_code(&hash("code:g"), &grant.id, far, Some(&refresh("rt", "g", 0)), NOW).await.unwrap();
    store.adopt_browser(&BrowserId::new("b"), &hash("b"), LATER, NOW).await.unwrap();
    store.use_once(&hash("jti"), LATER).await.unwrap();

    let idle = Duration::from_secs(90 * 86_400);
    let soon = UnixTime(NOW.0 + 1_000);
    store.purge(soon, idle, 100).await.unwrap();
    assert!(store.transaction(&TransactionId::new("tx:g"), NOW).await.unwrap().is_none(), "expired after 900 s");
    assert!(store.browser(&hash("b"), NOW).await.unwrap().is_some());
    assert!(store.refresh_token(&hash("rt")).await.unwrap().is_some());

    let months = UnixTime(NOW.0 + 100 * 86_400);
    while store.purge(months, idle, 1).await.unwrap().more {}
    assert!(store.browser(&hash("b"), NOW).await.unwrap().is_none());
    assert!(store.code(&hash("code:g")).await.unwrap().is_none());
    assert!(store.refresh_token(&hash("rt")).await.unwrap().is_none());
    assert!(store.use_once(&hash("jti"), LATER).await.unwrap(), "its row is gone");
    assert!(store.grant(&grant.id).await.unwrap().is_some(), "a live grant stays");
    assert!(store.registered_client(&client(1, NOW).id).await.unwrap().is_some(), "and its client");
    assert!(store.person(&person(1).id).await.unwrap().is_some(), "and its person");
    assert!(store.registered_client(&client(2, NOW).id).await.unwrap().is_none(), "idle for 90 days");
}

// DCR-10
#[rstest]
#[tokio::test]
async fn a_lost_registration_is_revived_unless_it_was_deleted_or_changed(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
) {
    let world = World::open(kind).await;
    let store = &world.store;
    let stored = |number| StoredClient { client: client(number, NOW), management_hash: Some(hash("m")) };
    assert!(store.revive_client(&stored(1), 10, LATER).await.unwrap());
    assert!(store.revive_client(&stored(1), 10, LATER).await.unwrap(), "also by two at once");
    assert_eq!(store.registered_client(&client(1, NOW).id).await.unwrap().unwrap().client.issued_at, NOW);
    store.update_client(&client(1, NOW), LATER).await.unwrap();
    assert!(store.registered_client(&client(1, NOW).id).await.unwrap().is_some(), "changed and there");
    while store.purge(UnixTime(NOW.0 + 100 * 86_400), Duration::from_secs(60), 100).await.unwrap().more {}
    assert!(store.registered_client(&client(1, NOW).id).await.unwrap().is_none());
    assert!(!store.revive_client(&stored(1), 10, LATER).await.unwrap());

    store.register_client(&stored(2), 10).await.unwrap();
    for _ in 0..2 {
        store.delete_client(&client(2, NOW).id, LATER).await.unwrap();
        assert!(!store.revive_client(&stored(2), 10, LATER).await.unwrap());
    }
    assert!(store.registered_client(&client(2, NOW).id).await.unwrap().is_none());
}

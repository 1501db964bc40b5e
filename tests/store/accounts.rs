//! A person's own grants, and the login that belongs to no transaction (REV-4, IDP-1).

use doorward::domain::browser::ConnectLink;
use doorward::domain::{BrowserId, GrantId, Stage, TransactionId, UnixTime};
use doorward::store::RevocationReason;
use rstest::rstest;

use crate::refreshing::{FAR, redeemed};
use crate::world::{Kind, NOW, World, approved, hash, person, refresh, transaction};

const HOUR: i64 = 3600;

fn at(seconds: i64) -> UnixTime {
    UnixTime(NOW.0 + seconds)
}

// REV-4
#[rstest]
#[tokio::test]
async fn a_person_has_their_own_live_grants_with_the_hour_of_their_last_use(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
) {
    let world = World::open(kind).await;
    let store = &world.store;
    for name in ["a", "b", "c"] {
        redeemed(store, name).await;
    }
    approved(store, "d").await;
    store.revoke_grant(&GrantId::new("b"), RevocationReason::Person, NOW).await.unwrap();
    let used = async |limit: u32| {
        let grants = store.grants_of(&person(1).id, at(1), limit).await.unwrap();
        grants.into_iter().map(|(grant, used)| (grant.id.to_string(), used)).collect::<Vec<_>>()
    };
    let (a, c) = (("a".to_owned(), Some(NOW)), ("c".to_owned(), Some(NOW)));
    assert_eq!(used(10).await, [a.clone(), c.clone(), ("d".to_owned(), None)]);
    assert_eq!(used(1).await, [a]);
    assert!(store.grants_of(&person(2).id, NOW, 10).await.unwrap().is_empty());
    assert!(store.grants_of(&person(1).id, FAR, 10).await.unwrap().is_empty());
    // Within the hour nothing is written; after it, once.
    for (generation, now, seen) in [(1, HOUR, 0), (2, HOUR + 1, HOUR + 1), (3, HOUR + 2, HOUR + 1)] {
        let (presented, next) = (format!("a:{}", generation - 1), refresh(&format!("a:{generation}"), "a", generation));
        assert!(store.rotate_refresh_token(&hash(&presented), &next, at(now)).await.unwrap());
        assert_eq!(used(10).await[0], ("a".to_owned(), Some(at(seen))));
        assert_eq!(used(10).await[1], c);
    }
}

// IDP-1, REV-4
#[rstest]
#[tokio::test]
async fn the_state_of_a_browser_is_spent_once_in_it_and_in_time(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let store = &world.store;
    let (mine, theirs) = (BrowserId::new("mine"), BrowserId::new("theirs"));
    for browser in [&mine, &theirs] {
        store.adopt_browser(browser, &hash(browser.as_str()), FAR, NOW).await.unwrap();
    }
    let link = ConnectLink { upstream: "linear".to_owned(), ticket: "t".to_owned() };
    let spend = async |browser: &BrowserId, state: &str, since: i64| {
        store.consume_browser_state(browser, &hash(state), at(since)).await.unwrap()
    };
    store.arm_browser_state(&mine, &hash("first"), None, at(1)).await.unwrap();
    store.arm_browser_state(&mine, &hash("second"), Some(&link), at(2)).await.unwrap();
    assert_eq!(spend(&mine, "first", 0).await, None, "the second took its place");
    assert_eq!(spend(&theirs, "second", 0).await, None);
    assert_eq!(spend(&mine, "second", 2).await, None, "too late");
    let (one, other) = tokio::join!(spend(&mine, "second", 1), spend(&mine, "second", 1));
    assert_eq!(one.clone().or(other.clone()), Some((at(2), Some(link.clone()))));
    assert!(one.is_none() || other.is_none(), "one of two wins");
    assert_eq!(spend(&mine, "second", 0).await, None);
    assert_eq!(store.link_to_resume(&mine).await.unwrap(), None, "it has led there");
    store.arm_browser_state(&mine, &hash("third"), None, at(3)).await.unwrap();
    assert_eq!(spend(&mine, "third", 0).await, Some((at(3), None)));
}

// AUTHZ-17, WOS-16
#[rstest]
#[tokio::test]
async fn a_browser_comes_back_to_the_noted_transaction_else_to_its_newest(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
) {
    let world = World::open(kind).await;
    let store = &world.store;
    let mine = BrowserId::new("mine");
    store.adopt_browser(&mine, &hash("mine"), FAR, NOW).await.unwrap();
    for (name, age) in [("old", 20), ("middle", 10), ("new", 0)] {
        let mut open = transaction(name, Stage::AwaitingLogin, Some(&mine));
        open.created_at = at(-age);
        store.create_transaction(&open).await.unwrap();
    }
    let resumed = async || store.transaction_to_resume(&mine, NOW).await.unwrap();
    assert_eq!(resumed().await, Some(TransactionId::new("new")));
    store.resume_with(&mine, &TransactionId::new("old")).await.unwrap();
    assert_eq!(resumed().await, Some(TransactionId::new("old")));
    store.deny(&TransactionId::new("old")).await.unwrap();
    assert_eq!(resumed().await, Some(TransactionId::new("new")), "what is decided needs no coming back");
    assert_eq!(store.transaction_to_resume(&BrowserId::new("theirs"), NOW).await.unwrap(), None);
    // A link takes the place of a transaction, and the other way round.
    let link = ConnectLink { upstream: "linear".to_owned(), ticket: "t".to_owned() };
    let noted = async || store.link_to_resume(&mine).await.unwrap();
    assert_eq!(noted().await, None);
    store.resume_with_link(&mine, &link).await.unwrap();
    assert_eq!(noted().await, Some(link));
    store.resume_with(&mine, &TransactionId::new("new")).await.unwrap();
    assert_eq!(noted().await, None);
}

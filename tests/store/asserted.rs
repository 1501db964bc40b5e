//! Grants that an identity assertion made.

use doorward::domain::{Grant, GrantId, LoginSessionId, Person, UnixTime};
use doorward::store::{AssertedGrant, Store, StoredClient};
use futures_util::future::join_all;
use rstest::rstest;

use crate::world::{Kind, NOW, World, client, grant, hash, person};

fn asserted(name: &str) -> Grant {
    let login_session = Some(LoginSessionId::new(format!("ls:{name}")));
    Grant { login_session, ..grant(name, UnixTime(NOW.0 + 4500)) }
}

async fn redeem(store: &Store, grant: &Grant, person: &Person, id: &str, shares_person: bool) -> bool {
    let forget_at = UnixTime(NOW.0 + 420);
    let assertion_id = &hash(id);
    store.redeem_assertion(&AssertedGrant { grant, person, shares_person, assertion_id, forget_at }).await.unwrap()
}

// EXT-2, STORE-5, DCR-9
#[rstest]
#[tokio::test]
async fn of_twenty_who_bring_one_assertion_one_gets_a_grant(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let store = World::open(kind).await;
    let stored = StoredClient { client: client(1, UnixTime(0)), management_hash: None };
    store.store.register_client(&stored, 10).await.unwrap();
    let grants: Vec<Grant> = (0..20).map(|number| asserted(&format!("g{number}"))).collect();
    let person = person(1);
    let won = join_all(grants.iter().map(|grant| redeem(&store.store, grant, &person, "jti", false))).await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    for (grant, won) in grants.iter().zip(won) {
        let found = store.store.grant(&grant.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(grant).filter(|_| won));
        let login = grant.login_session.as_ref().unwrap();
        assert_eq!(store.store.login_session(login).await.unwrap().is_some(), won);
    }
    // The client is no idle registration.
    let idle = std::time::Duration::from_secs(100);
    store.store.purge(UnixTime(NOW.0 + 50), idle, 100).await.unwrap();
    assert!(store.store.registered_client(&stored.client.id).await.unwrap().is_some());
}

// EXT-2
#[rstest]
#[tokio::test]
async fn what_an_assertion_says_of_a_person_is_for_its_grant_and_of_one_who_signs_in_no_news(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
) {
    let World { store, .. } = &World::open(kind).await;
    let described = |email: &str| Person { email: Some(email.to_owned()), ..person(1) };
    let of_grant = async |name: &str| {
        let found = store.person_of_grant(&person(1).id, &GrantId::new(name)).await.unwrap();
        found.and_then(|person| person.email).unwrap()
    };
    let last = async || store.person(&person(1).id).await.unwrap().and_then(|person| person.email).unwrap();

    assert!(redeem(store, &asserted("a"), &described("a@example.com"), "1", false).await);
    assert!(redeem(store, &asserted("b"), &described("b@example.com"), "2", false).await);
    assert_eq!((of_grant("a").await, of_grant("b").await), ("a@example.com".to_owned(), "b@example.com".to_owned()));
    assert_eq!(last().await, "b@example.com");

    store.save_person(&described("login@example.com"), NOW).await.unwrap();
    assert!(redeem(store, &asserted("c"), &described("c@example.com"), "3", true).await);
    assert_eq!((of_grant("c").await, last().await), ("c@example.com".to_owned(), "login@example.com".to_owned()));
    assert_eq!(of_grant("a").await, "a@example.com");
}

//! Connections to servers behind, attempts to connect, and registrations.

use std::time::Duration;

use doorward::domain::connection::{Connection, ConnectionId, ConsentNeeded, Owner};
use doorward::domain::{BrowserId, SubjectId, UnixTime};
use doorward::store::{ConnectAttempt, UpstreamRegistration};
use futures_util::future::join_all;
use rstest::rstest;

use crate::world::{Kind, NOW, World, hash};

fn connection(upstream: &str, owner: Owner) -> Connection {
    Connection {
        id: ConnectionId::of(upstream, &owner),
        upstream: upstream.to_owned(),
        owner,
        server: "https://mcp.example/mcp".to_owned(),
        sealed: vec![1, 2, 3],
        scope: "read".to_owned(),
        missing_scope: String::new(),
        expires_at: Some(UnixTime(NOW.0 + 600)),
        renew_at: Some(UnixTime(NOW.0 + 540)),
        has_refresh_token: true,
        version: NOW.0,
        generation: NOW.0,
        connected_at: NOW,
        used_at: NOW,
        claimed_at: None,
        retry_at: UnixTime(0),
        needs_consent: None,
    }
}

fn of_person(number: u32) -> Owner {
    Owner::Person(SubjectId::new(format!("usr_{number}")))
}

#[rstest]
#[tokio::test]
async fn each_person_has_a_connection_of_their_own_and_everyone_has_one_together(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
) {
    let world = World::open(kind).await;
    let store = &world.store;
    let all = [
        connection("linear", of_person(1)),
        connection("linear", of_person(2)),
        connection("linear", Owner::Everyone),
        connection("github", of_person(1)),
    ];
    for one in &all {
        assert_eq!(store.connection(&one.id).await.unwrap(), None);
        store.connect(one).await.unwrap();
        assert_eq!(store.connection(&one.id).await.unwrap().as_ref(), Some(one));
    }
    let listed = store.connections(None, "").await.unwrap();
    assert_eq!(listed.len(), 4);
    assert_eq!(store.connections(None, listed[1].id.as_str()).await.unwrap(), listed[2..]);
    let own = store.connections(Some(&SubjectId::new("usr_1")), "").await.unwrap();
    assert_eq!(own.len(), 2);
    assert!(own.iter().all(|one| one.owner == of_person(1)));
    assert_eq!(store.disconnect(&all[0].id).await.unwrap().as_ref(), Some(&all[0]));
    assert_eq!(store.disconnect(&all[0].id).await.unwrap(), None);
    assert_eq!(store.connections(None, "").await.unwrap().len(), 3);
}

#[rstest]
#[tokio::test]
async fn connections_that_stand_are_told_from_those_that_do_not(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let store = &world.store;
    let [stands, lost] = [1, 2].map(|number| connection("linear", of_person(number)));
    for one in [&stands, &lost] {
        store.connect(one).await.unwrap();
    }
    assert!(store.change_connection(lost.version, &lost.without_consent(ConsentNeeded::Refused)).await.unwrap());
    // More than are asked for at once.
    let nobody = (3..1200).map(|number| ConnectionId::of("linear", &of_person(number)));
    let ids: Vec<ConnectionId> = nobody.chain([lost.id, stands.id.clone()]).collect();
    let expected = [(stands.id, NOW)].into_iter().collect();
    assert_eq!(store.standing_connections(&ids).await.unwrap(), expected);
    assert!(store.standing_connections(&[]).await.unwrap().is_empty());
}

#[rstest]
#[tokio::test]
async fn of_any_number_that_change_a_connection_one_wins(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let store = &world.store;
    let read = connection("linear", of_person(1));
    store.connect(&read).await.unwrap();
    let claimed = read.claimed(NOW);
    let won = join_all((0..20).map(|_| store.change_connection(read.version, &claimed))).await;
    assert_eq!(won.into_iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
    let renewed = claimed.renewed(vec![9], false, None, NOW);
    assert!(store.change_connection(claimed.version, &renewed).await.unwrap());
    assert_eq!(store.connection(&read.id).await.unwrap(), Some(renewed.clone()));
    let lost = renewed.without_consent(ConsentNeeded::Scope);
    assert!(store.change_connection(renewed.version, &lost).await.unwrap());
    assert_eq!(store.connection(&read.id).await.unwrap(), Some(lost.clone()));
    assert!(!store.change_connection(renewed.version, &renewed).await.unwrap());

    // Connecting anew takes back everything that was said of the old credential, and is another generation.
    store.connect(&read).await.unwrap();
    let anew = Connection { version: lost.version + 1, generation: lost.generation + 1, ..read };
    assert_eq!(store.connection(&anew.id).await.unwrap(), Some(anew));
}

#[rstest]
#[tokio::test]
async fn an_attempt_is_taken_once_in_its_own_browser_and_while_it_lasts(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
) {
    let world = World::open(kind).await;
    let store = &world.store;
    let (own, other) = (BrowserId::new("br_1"), BrowserId::new("br_2"));
    let attempt = |number: i64| ConnectAttempt {
        id: format!("ca_{number}"),
        browser: own.clone(),
        sealed: vec![1],
        created_at: UnixTime(NOW.0 + number),
        expires_at: UnixTime(NOW.0 + 900),
    };
    store.begin_attempt(&attempt(1), &hash("one")).await.unwrap();
    assert_eq!(store.take_attempt(&hash("one"), &other, NOW).await.unwrap(), None);
    assert_eq!(store.take_attempt(&hash("one"), &own, UnixTime(NOW.0 + 900)).await.unwrap(), None);
    let taken = join_all((0..20).map(|_| async { store.take_attempt(&hash("one"), &own, NOW).await.unwrap() })).await;
    assert_eq!(taken.into_iter().flatten().collect::<Vec<_>>(), [attempt(1)]);

    // The oldest of a browser give way, and what has expired is taken out.
    for number in 0..25 {
        store.begin_attempt(&attempt(number), &hash(&format!("state {number}"))).await.unwrap();
    }
    assert_eq!(store.take_attempt(&hash("state 4"), &own, NOW).await.unwrap(), None);
    assert_eq!(store.take_attempt(&hash("state 5"), &own, NOW).await.unwrap(), Some(attempt(5)));
    let purged = store.purge(UnixTime(NOW.0 + 901), Duration::from_secs(9_000), 500).await.unwrap();
    assert_eq!(purged.rows, 19);
}

#[rstest]
#[tokio::test]
async fn what_nobody_uses_for_long_is_forgotten(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    const DAY: i64 = 24 * 3600;
    let world = World::open(kind).await;
    let store = &world.store;
    let (idle, used) = (connection("linear", of_person(1)), connection("linear", of_person(2)));
    for one in [&idle, &used] {
        store.connect(one).await.unwrap();
    }
    let registration =
        UpstreamRegistration { id: "reg_1".to_owned(), upstream: "linear".to_owned(), sealed: vec![1], used_at: NOW };
    store.save_upstream_registration(&registration).await.unwrap();
    store.connection_used(&used.id, UnixTime(NOW.0 + 300 * DAY)).await.unwrap();
    store.purge(UnixTime(NOW.0 + 399 * DAY), Duration::from_secs(9_000), 500).await.unwrap();
    assert_eq!(store.connections(None, "").await.unwrap().len(), 2);
    store.purge(UnixTime(NOW.0 + 401 * DAY), Duration::from_secs(9_000), 500).await.unwrap();
    let left = store.connections(None, "").await.unwrap();
    assert_eq!(left.iter().map(|one| &one.id).collect::<Vec<_>>(), [&used.id]);
    assert_eq!(store.upstream_registration("reg_1").await.unwrap(), None);
}

#[rstest]
#[tokio::test]
async fn a_registration_takes_the_place_of_an_earlier_one(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let store = &world.store;
    let mut registration =
        UpstreamRegistration { id: "reg_1".to_owned(), upstream: "linear".to_owned(), sealed: vec![1], used_at: NOW };
    store.save_upstream_registration(&registration).await.unwrap();
    registration.sealed = vec![2];
    store.save_upstream_registration(&registration).await.unwrap();
    assert_eq!(store.upstream_registration("reg_1").await.unwrap(), Some(registration));
    store.drop_upstream_registration("reg_1").await.unwrap();
    assert_eq!(store.upstream_registration("reg_1").await.unwrap(), None);
}

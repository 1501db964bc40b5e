//! What the identity provider vouches for people with.

use std::time::Duration;

use doorward::domain::{SubjectId, SubjectToken, UnixTime};
use doorward::store::RevocationReason;
use futures_util::future::join_all;
use rstest::rstest;

use crate::world::{Kind, NOW, World, approved_as, grant};

const DAY: i64 = 24 * 3600;

fn token(subject: &SubjectId) -> SubjectToken {
    SubjectToken {
        subject: subject.clone(),
        sealed: vec![1, 2, 3],
        expires_at: UnixTime(NOW.0 + 300),
        obtained_at: NOW,
        renewable: true,
        version: 1,
        generation: NOW.0,
        claimed_at: None,
        retry_at: UnixTime(0),
    }
}

async fn keep(world: &World, token: &SubjectToken) {
    let validity = (token.expires_at, token.renewable);
    world.store.keep_subject_token(&token.subject, &token.sealed, validity, token.obtained_at).await.unwrap();
}

// EXT-6
#[rstest]
#[tokio::test]
async fn of_any_number_that_change_a_subject_token_one_wins(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    let store = &world.store;
    let read = token(&SubjectId::new("usr_1"));
    assert_eq!(store.subject_token(&read.subject).await.unwrap(), None);
    keep(&world, &read).await;
    assert_eq!(store.subject_token(&read.subject).await.unwrap().as_ref(), Some(&read));
    assert_eq!(store.subject_token(&SubjectId::new("usr_2")).await.unwrap(), None);
    let claimed = read.claimed(NOW);
    let won = join_all((0..20).map(|_| store.change_subject_token(read.version, &claimed))).await;
    assert_eq!(won.into_iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
    assert_eq!(store.subject_token(&read.subject).await.unwrap().as_ref(), Some(&claimed));
    let renewed = claimed.renewed(vec![9], UnixTime(NOW.0 + 600), UnixTime(NOW.0 + 300));
    let last = renewed.released(UnixTime(NOW.0 + 330)).without_renewal();
    let last = SubjectToken { version: renewed.version + 1, ..last };
    for (before, next) in [(&claimed, &renewed), (&renewed, &last)] {
        assert!(store.change_subject_token(before.version, next).await.unwrap());
        assert_eq!(store.subject_token(&read.subject).await.unwrap().as_ref(), Some(next));
    }
    assert!(!store.change_subject_token(renewed.version, &renewed).await.unwrap());

    // A sign-in takes the place of whatever there was, and is another generation.
    keep(&world, &read).await;
    let anew = SubjectToken { version: last.version + 1, generation: last.generation + 1, ..read };
    assert_eq!(store.subject_token(&anew.subject).await.unwrap(), Some(anew));
}

// EXT-6, STORE-9
#[rstest]
#[tokio::test]
async fn a_subject_token_goes_a_day_after_the_last_grant_or_when_nothing_makes_it_good_again(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
) {
    let world = World::open(kind).await;
    let store = &world.store;
    let grant = grant("one", UnixTime(NOW.0 + 60 * DAY));
    approved_as(store, &grant).await;
    let (used, unused) = (token(&grant.subject), token(&SubjectId::new("usr_2")));
    let ended = SubjectToken { renewable: false, ..token(&SubjectId::new("usr_3")) };
    for one in [&used, &unused, &ended] {
        keep(&world, one).await;
    }
    let left = async |days: i64| {
        store.purge(UnixTime(NOW.0 + days * DAY), Duration::from_secs(9_000), 500).await.unwrap();
        let mut left = Vec::new();
        for one in [&used, &unused, &ended] {
            left.push(store.subject_token(&one.subject).await.unwrap().is_some());
        }
        left
    };
    assert_eq!(left(1).await, [true, true, true]);
    assert_eq!(left(2).await, [true, false, false]);
    store.revoke_grant(&grant.id, RevocationReason::Person, UnixTime(NOW.0 + 3 * DAY)).await.unwrap();
    assert_eq!(left(3).await, [false, false, false]);
}

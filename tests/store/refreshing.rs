//! Rotation of refresh tokens against the real databases, and against a model.

use std::time::Duration;

use doorward::domain::refresh::{Rotation, decide};
use doorward::domain::{GrantId, RefreshToken, UnixTime};
use doorward::store::{RevocationReason, Store};
use futures_util::future::join_all;
use proptest::prelude::*;
use rstest::rstest;

use crate::world::{Kind, NOW, World, approved, hash, refresh};

const REUSE: Duration = Duration::from_secs(120);
pub const FAR: UnixTime = UnixTime(NOW.0 + 1_000_000);

pub async fn redeemed(store: &Store, name: &str) {
    let grant = approved(store, name).await;
    assert!(
        store
            .redeem_code(
                &hash(&format!("code:{name}")),
                &grant.id,
                FAR,
                Some(&refresh(&format!("{name}:0"), name, 0)),
                NOW
            )
            .await
            .unwrap()
    );
}

/// What the token endpoint does with a token of generation `generation`, without HTTP.
async fn present(store: &Store, grant: &str, generation: i64, now: UnixTime) -> Option<i64> {
    let presented = hash(&format!("{grant}:{generation}"));
    let successor = refresh(&format!("{grant}:{}", generation + 1), grant, generation + 1);
    for _ in 0..3 {
        let token = store.refresh_token(&presented).await.unwrap()?;
        if !store.grant(&token.grant).await.unwrap()?.is_live(now) {
            return None;
        }
        let next = store.refresh_token(&successor.hash).await.unwrap();
        match decide(&token, next.as_ref(), REUSE, now) {
            Rotation::Repeat => return Some(generation + 1),
            Rotation::Expired => return None,
            Rotation::Replay => {
                store.revoke_grant(&token.grant, RevocationReason::RefreshReplayed, now).await.unwrap();
                return None;
            }
            Rotation::Rotate if store.rotate_refresh_token(&presented, &successor, now).await.unwrap() => {
                return Some(generation + 1);
            }
            Rotation::Rotate => {}
        }
    }
    None
}

// REFR-6, STORE-5
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racers_with_one_token_all_succeed_and_share_one_successor(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    redeemed(&world.store, "g").await;
    for generation in 0..3 {
        let now = UnixTime(NOW.0 + generation * 1_200);
        let racers = (0..20).map(|_| {
            let store = world.store.clone();
            tokio::spawn(async move { present(&store, "g", generation, now).await })
        });
        for outcome in join_all(racers).await {
            assert_eq!(outcome.unwrap(), Some(generation + 1));
        }
        // One more, late but within the window.
        assert_eq!(present(&world.store, "g", generation, UnixTime(now.0 + 120)).await, Some(generation + 1));
    }
    assert!(world.store.grant(&GrantId::new("g")).await.unwrap().unwrap().revoked_at.is_none());
}

// REFR-5, STORE-4
#[rstest]
#[tokio::test]
async fn a_token_whose_grant_ended_is_not_rotated(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let world = World::open(kind).await;
    redeemed(&world.store, "g").await;
    let next = refresh("g:1", "g", 1);
    world.store.revoke_grant(&GrantId::new("g"), RevocationReason::Client, NOW).await.unwrap();
    assert!(!world.store.rotate_refresh_token(&hash("g:0"), &next, NOW).await.unwrap());
    redeemed(&world.store, "h").await;
    let next = refresh("h:1", "h", 1);
    assert!(!world.store.rotate_refresh_token(&hash("h:0"), &next, FAR).await.unwrap(), "past the grant's end");
    assert!(!world.store.rotate_refresh_token(&hash("none"), &next, NOW).await.unwrap());
}

/// One move of the world.
#[derive(Debug, Clone)]
enum Move {
    /// The client (or a racer, or a thief with a copy) presents the token of a generation.
    Present(u8),
    /// Time passes, in seconds.
    Wait(u16),
    Revoke,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => (0u8..5).prop_map(Move::Present),
        3 => (0u16..200).prop_map(Move::Wait),
        1 => Just(Move::Revoke),
    ];
    prop::collection::vec(one, 1..25)
}

/// What REFR-3 … REFR-5 and REFR-9 say, in as few words as possible.
#[derive(Default)]
struct Model {
    /// When each generation was first presented.
    first_presented: Vec<Option<i64>>,
    revoked: bool,
}

impl Model {
    fn present(&mut self, generation: usize, now: i64) -> Option<i64> {
        let known = generation < self.first_presented.len();
        if self.revoked || !known {
            return None;
        }
        match self.first_presented[generation] {
            None => {
                self.first_presented[generation] = Some(now);
                self.first_presented.push(None);
                Some(i64::try_from(generation).unwrap() + 1)
            }
            Some(first) => {
                let successor_unused = self.first_presented[generation + 1].is_none();
                if successor_unused && now <= first + 120 {
                    Some(i64::try_from(generation).unwrap() + 1)
                } else {
                    self.revoked = true;
                    None
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    // REFR-13
    #[test]
    fn any_interleaving_of_refreshes_waits_and_revocations_follows_the_model(moves in moves()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::open(Kind::Sqlite).await;
            redeemed(&world.store, "g").await;
            let mut model = Model { first_presented: vec![None], revoked: false };
            let mut now = NOW;
            for step in &moves {
                match step {
                    Move::Present(generation) => {
                        let expected = model.present(usize::from(*generation), now.0);
                        assert_eq!(present(&world.store, "g", i64::from(*generation), now).await, expected, "{moves:?} at {step:?}");
                    }
                    Move::Wait(seconds) => now = now.plus(Duration::from_secs(u64::from(*seconds))),
                    Move::Revoke => {
                        model.revoked = true;
                        world.store.revoke_grant(&GrantId::new("g"), RevocationReason::Client, now).await.unwrap();
                    }
                }
                let alive = world.store.grant(&GrantId::new("g")).await.unwrap().unwrap().is_live(now);
                assert_eq!(alive, !model.revoked, "{moves:?} after {step:?}");
            }
        });
    }

    // REFR-4: whatever is configured, the window ends after 120 seconds.
    #[test]
    fn the_window_never_exceeds_two_minutes(reuse in 0u64..100_000, waited in 0i64..100_000) {
        let token = |superseded_at| RefreshToken {
            grant: GrantId::new("g"), generation: 0, expires_at: FAR, superseded_at, derivation_key: String::new(),
        };
        let decided = decide(&token(Some(NOW)), Some(&token(None)), Duration::from_secs(reuse), UnixTime(NOW.0 + waited));
        let within = waited <= i64::try_from(reuse.min(120)).unwrap();
        assert_eq!(decided, if within { Rotation::Repeat } else { Rotation::Replay });
    }
}

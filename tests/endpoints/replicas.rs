//! Several gateways on one PostgreSQL: refreshing against a model, whatever happens to clients and replicas.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

use crate::postgres::Postgres;
use crate::support::browser::client as http;
use crate::support::flow::{TestClient, oauth_error};
use crate::support::gateway::{Options, TestGateway};

/// How far the clock of the second replica is ahead, in seconds.
const SKEW: i64 = 10;
/// `refreshTokenTtlSeconds`.
const IDLE: i64 = 2_592_000;

/// Replicas of one gateway, all under the origin of the first.
struct Replicas {
    all: Vec<TestGateway>,
    database_url: String,
    http: Client,
}

impl Replicas {
    async fn start() -> Self {
        let database_url = Postgres::shared().unwrap().new_database();
        let options = Options { database_url: Some(database_url.clone()), ..Options::default() };
        let mut replicas = Self { all: vec![TestGateway::start_with(options).await], database_url, http: http() };
        let second = replicas.another().await;
        second.clock.advance(SKEW);
        replicas.all.push(second);
        replicas
    }

    async fn another(&self) -> TestGateway {
        TestGateway::start_with(Options {
            database_url: Some(self.database_url.clone()),
            public_urls: vec![self.all[0].origin.clone()],
            ..Options::default()
        })
        .await
    }

    /// A process dies and another one takes its place.
    async fn replace_second(&mut self) {
        let fresh = self.another().await;
        let behind = self.now(1) - doorward::domain::Clock::now(&*fresh.clock).0;
        fresh.clock.advance(behind);
        self.all[1] = fresh;
    }

    fn advance(&self, seconds: i64) {
        self.all.iter().for_each(|gateway| gateway.clock.advance(seconds));
    }

    fn now(&self, replica: usize) -> i64 {
        doorward::domain::Clock::now(&*self.all[replica].clock).0
    }

    fn post(&self, replica: usize, path: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let origin = &self.all[0].origin;
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.http
            .post(format!("http://{}{path}", self.all[replica].address))
            .header("host", origin.strip_prefix("http://").unwrap())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
    }

    fn refreshing(&self, replica: usize, client: &str, token: &str) -> reqwest::RequestBuilder {
        let fields = [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token)];
        self.post(replica, "/oauth/token", &fields)
    }

    async fn refresh(&self, replica: usize, client: &str, token: &str) -> Response {
        self.refreshing(replica, client, token).send().await.unwrap()
    }
}

async fn successor(response: Response) -> String {
    assert_eq!(response.status(), StatusCode::OK);
    let answer: Value = response.json().await.unwrap();
    assert!(answer["access_token"].is_string());
    answer["refresh_token"].as_str().unwrap().to_owned()
}

// REFR-4, REFR-6, STORE-10
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_racers_over_two_replicas_share_one_lineage_and_all_go_on_twenty_minutes_later() {
    let replicas = Replicas::start().await;
    let client = TestClient::register(&replicas.all[0]).await;
    let mut token = client.connect("one").await["refresh_token"].as_str().unwrap().to_owned();
    for at_once in [true, true, false, true, false] {
        let racer = |number: usize| replicas.refresh(number % 2, &client.id, &token);
        let mut held = Vec::new();
        if at_once {
            for response in futures_util::future::join_all((0..20).map(racer)).await {
                held.push(successor(response).await);
            }
        } else {
            for number in 0..20 {
                held.push(successor(racer(number).await).await);
                // 95 seconds in all: what is ahead of the first may not take the window away.
                replicas.advance(5);
            }
        }
        held.dedup();
        let [successor] = held.as_slice() else { panic!("{} successors", held.len()) };
        successor.clone_into(&mut token);
        replicas.advance(20 * 60);
    }
}

/// What happens next. Tokens are named by their generation; each is presented at one of the replicas.
#[derive(Debug, Clone)]
enum Move {
    /// The client, a racer, a retry after a lost answer, or a thief with a copy.
    Present {
        generation: usize,
        replica: usize,
    },
    /// Several at once, over both replicas.
    Race {
        generation: usize,
        racers: usize,
    },
    /// The connection breaks while the gateway works, and the client tries again elsewhere.
    Cut {
        generation: usize,
        replica: usize,
        micros: u64,
    },
    /// The store goes away under the second replica, which is asked, dies and is replaced.
    Outage {
        generation: usize,
    },
    /// Time passes: never so much that the seconds this test takes could matter to the window of 120.
    Wait(i64),
    Revoke {
        generation: usize,
        replica: usize,
    },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    // Mostly the newest generations, whatever is the newest by then.
    let generation = || prop_oneof![6 => Just(0usize), 3 => Just(1usize), 1 => 2usize..5];
    let one = prop_oneof![
        8 => (generation(), 0usize..2).prop_map(|(generation, replica)| Move::Present { generation, replica }),
        3 => (generation(), 2usize..6).prop_map(|(generation, racers)| Move::Race { generation, racers }),
        4 => (generation(), 0usize..2, 0u64..6_000)
            .prop_map(|(generation, replica, micros)| Move::Cut { generation, replica, micros }),
        1 => generation().prop_map(|generation| Move::Outage { generation }),
        5 => prop_oneof![4 => Just(70i64), 2 => Just(1_200i64), 1 => Just(IDLE + 60)].prop_map(Move::Wait),
        1 => (generation(), 0usize..2).prop_map(|(generation, replica)| Move::Revoke { generation, replica }),
    ];
    prop::collection::vec(one, 1..18)
}

/// What REFR-3 … REFR-5 and REFR-9 say, in as few words as possible.
struct Model {
    /// When each generation was issued, and when it was first presented.
    generations: Vec<(i64, Option<i64>)>,
    revoked: bool,
}

impl Model {
    fn present(&mut self, generation: usize, now: i64) -> bool {
        let (issued, presented) = self.generations[generation];
        let Some(presented) = presented else {
            let lives = !self.revoked && now < issued + IDLE;
            if lives {
                self.generations[generation].1 = Some(now);
                self.generations.push((now, None));
            }
            return lives;
        };
        let successor_unused = self.generations[generation + 1].1.is_none();
        self.revoked |= !(successor_unused && now <= presented + 120);
        !self.revoked
    }
}

/// One grant on its way through a list of moves.
struct Session<'r> {
    replicas: &'r mut Replicas,
    client: String,
    tokens: Vec<String>,
    model: Model,
}

impl Session<'_> {
    /// The generation that is so many behind the newest.
    fn behind_newest(&self, behind: usize) -> usize {
        (self.tokens.len() - 1).saturating_sub(behind)
    }

    async fn step(&mut self, step: &Move) {
        match *step {
            Move::Present { generation, replica } => {
                let generation = self.behind_newest(generation);
                let response = self.replicas.refresh(replica, &self.client, &self.tokens[generation]).await;
                let now = self.replicas.now(replica);
                self.answered(generation, now, vec![response]).await;
            }
            Move::Race { generation, racers } => {
                let generation = self.behind_newest(generation);
                let token = &self.tokens[generation];
                let racer = |number: usize| self.replicas.refresh(number % 2, &self.client, token);
                let responses = futures_util::future::join_all((0..racers).map(racer)).await;
                self.answered(generation, self.replicas.now(0), responses).await;
            }
            Move::Cut { generation, replica, micros } => {
                let generation = self.behind_newest(generation);
                let token = &self.tokens[generation];
                let lost = self.replicas.refreshing(replica, &self.client, token).send();
                let _ = tokio::time::timeout(Duration::from_micros(micros), lost).await;
                let response = self.replicas.refresh(1 - replica, &self.client, token).await;
                self.answered(generation, self.replicas.now(1 - replica), vec![response]).await;
            }
            Move::Outage { generation } => {
                let token = &self.tokens[self.behind_newest(generation)];
                self.replicas.all[1].assembly.store.close().await;
                let response = self.replicas.refresh(1, &self.client, token).await;
                assert!(response.headers().contains_key("retry-after"));
                oauth_error(response, 503, "temporarily_unavailable").await;
                self.replicas.replace_second().await;
            }
            Move::Wait(seconds) => self.replicas.advance(seconds),
            Move::Revoke { generation, replica } => {
                let token = &self.tokens[self.behind_newest(generation)];
                let fields = [("client_id", self.client.as_str()), ("token", token)];
                let response = self.replicas.post(replica, "/oauth/revoke", &fields).send().await.unwrap();
                assert_eq!(response.status(), StatusCode::OK);
                self.model.revoked = true;
            }
        }
    }

    /// All answers to one token, presented at about `now`, are what the model says, with one successor.
    async fn answered(&mut self, generation: usize, now: i64, responses: Vec<Response>) {
        let lives = self.model.present(generation, now);
        for response in responses {
            if !lives {
                oauth_error(response, 400, "invalid_grant").await;
                continue;
            }
            let successor = successor(response).await;
            match self.tokens.get(generation + 1) {
                Some(known) => assert_eq!(*known, successor),
                None => self.tokens.push(successor),
            }
        }
    }
}

// REFR-3, REFR-4, REFR-5, REFR-7, REFR-9, REFR-10, REFR-11, REFR-13
#[test]
fn whatever_happens_to_clients_and_replicas_refreshing_follows_the_model() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let replicas = std::cell::RefCell::new(runtime.block_on(Replicas::start()));
    let config = Config { cases: 16, max_shrink_iters: 64, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&moves(), |moves| {
            let replicas = &mut *replicas.borrow_mut();
            runtime.block_on(async {
                let client = TestClient::register(&replicas.all[0]).await;
                let token = client.connect("one").await["refresh_token"].as_str().unwrap().to_owned();
                let client = client.id.clone();
                let model = Model { generations: vec![(replicas.now(0), None)], revoked: false };
                let mut session = Session { replicas, client, tokens: vec![token], model };
                for step in &moves {
                    session.step(step).await;
                }
            });
            Ok(())
        })
        .unwrap();
}

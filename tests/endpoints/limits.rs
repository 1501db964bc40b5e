//! How often callers may ask (LIM), and what they are told when it was too often.

use reqwest::header::HeaderMap;
use reqwest::{Client, Response, StatusCode};
use rstest::rstest;
use serde_json::json;

use crate::support::browser::client as http;
use crate::support::flow::{REDIRECT, TestClient, VERIFIER, oauth_error, post_form};
use crate::support::gateway::{Options, TestGateway};

/// A gateway with `limits`, behind a proxy that says who calls.
async fn limited(limits: &str) -> TestGateway {
    limited_with(limits, "").await
}

async fn limited_with(limits: &str, gateway: &str) -> TestGateway {
    let gateway = TestGateway::start_with(Options {
        gateway: format!(r#""limits": {limits} {gateway}"#),
        settings: Box::new(|settings| {
            settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
            settings.outbound_resolve = vec![("client.example".to_owned(), 443, "127.0.0.1:9".parse().unwrap())];
        }),
        ..Options::default()
    })
    .await;
    gateway.clock.stop();
    gateway
}

/// A client at an address of its own.
fn at(address: &str) -> Client {
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", address.parse().unwrap());
    let builder = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().default_headers(headers);
    // The crypto provider must be there before the first client is.
    drop(http());
    builder.build().unwrap()
}

async fn register(gateway: &TestGateway, http: &Client) -> Response {
    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    http.post(gateway.url("/oauth/register")).json(&body).send().await.unwrap()
}

/// Checks the answer to a call too many, and gives the seconds to wait.
async fn too_many(response: Response) -> u64 {
    let wait = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    oauth_error(response, 429, "too_many_requests").await;
    wait
}

const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";

// LIM-1, LIM-2, LIM-6
#[tokio::test]
async fn registrations_are_counted_by_address_and_one_caller_shuts_out_no_other() {
    let gateway = limited(r#"{ "registrationsPerMinute": 3 }"#).await;
    for _ in 0..3 {
        assert_eq!(register(&gateway, &at(A)).await.status(), StatusCode::CREATED);
    }
    assert_eq!(too_many(register(&gateway, &at(A)).await).await, 20);
    assert_eq!(register(&gateway, &at(B)).await.status(), StatusCode::CREATED);
    for address in ["2001:db8:1:1::1", "2001:db8:1:1::2", "2001:db8:1:1:9::3"] {
        assert_eq!(register(&gateway, &at(address)).await.status(), StatusCode::CREATED);
    }
    too_many(register(&gateway, &at("2001:db8:1:1:ffff::4")).await).await;
    assert_eq!(register(&gateway, &at("2001:db8:1:2::1")).await.status(), StatusCode::CREATED);
    gateway.clock.advance(60);
    assert_eq!(register(&gateway, &at(A)).await.status(), StatusCode::CREATED);
}

// LIM-2
#[tokio::test]
async fn limits_can_be_off() {
    let gateway = limited("false").await;
    let http = at(A);
    for _ in 0..200 {
        let fields = [("client_id", "dcr_1"), ("grant_type", "refresh_token"), ("refresh_token", "rt_of_nobody")];
        oauth_error(post_form(&http, &gateway.url("/oauth/token"), &fields).await, 401, "invalid_client").await;
    }
}

// LIM-1, LIM-2, LIM-4: what an address may start bounds the transactions that no browser has claimed yet.
#[tokio::test]
async fn authorizations_are_counted_by_address_and_refused_with_a_page() {
    let gateway = limited(r#"{ "authorizationsPerMinute": 3 }"#).await;
    let client = TestClient::register(&gateway).await;
    let url = client.authorize_url("one", &[]);
    for _ in 0..3 {
        assert_eq!(at(A).get(&url).send().await.unwrap().status(), StatusCode::OK);
    }
    let refused = at(A).get(&url).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "20");
    assert_eq!(refused.headers()["cache-control"], "no-store");
    assert!(refused.text().await.unwrap().contains("Wait a minute"));
    assert_eq!(at(B).get(&url).send().await.unwrap().status(), StatusCode::OK);
}

// LIM-6, CIMD-13
#[tokio::test]
async fn one_address_has_only_so_many_unknown_documents_fetched() {
    let gateway = limited(r#"{ "documentFetchesPerMinute": 3 }"#).await;
    let client = TestClient::register(&gateway).await;
    let start = async |address: &str, number: usize| {
        let id = format!("https://client.example/{number}.json");
        at(address).get(client.authorize_url("one", &[("client_id", &id)])).send().await.unwrap().status()
    };
    for number in 0..3 {
        assert_eq!(start(A, number).await, StatusCode::SERVICE_UNAVAILABLE, "its host does not answer");
    }
    assert_eq!(start(A, 3).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(start(B, 3).await, StatusCode::SERVICE_UNAVAILABLE, "another address has its own budget");
    let fields =
        [("client_id", "https://client.example/4.json"), ("grant_type", "refresh_token"), ("refresh_token", "rt")];
    too_many(post_form(&at(A), &gateway.url("/oauth/token"), &fields).await).await;
}

// LIM-1, LIM-3
#[rstest]
#[case::code("/oauth/token", &[("grant_type", "authorization_code"), ("code", "guess"), ("code_verifier", VERIFIER)])]
#[case::refresh_token("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", "rt_guess")])]
#[case::revocation("/oauth/revoke", &[("token", "rt_guess")])]
#[tokio::test]
async fn guesses_are_throttled_by_client_and_address_and_the_real_client_is_not(
    #[case] path: &str,
    #[case] guess: &[(&str, &str)],
) {
    let gateway = limited(r#"{ "failedTokenRequestsPerMinute": 5 }"#).await;
    let client = TestClient::register(&gateway).await;
    let other = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    let code = client.code("two").await;
    let guess_as = async |id: &str, http: &Client| {
        let fields = [guess, &[("client_id", id)]].concat();
        post_form(http, &gateway.url(path), &fields).await
    };
    for _ in 0..5 {
        assert_ne!(guess_as(&client.id, &client.http).await.status(), StatusCode::TOO_MANY_REQUESTS);
    }
    too_many(guess_as(&client.id, &client.http).await).await;
    assert_ne!(guess_as(&client.id, &at(A)).await.status(), StatusCode::TOO_MANY_REQUESTS, "another address");
    assert_ne!(guess_as(&other.id, &client.http).await.status(), StatusCode::TOO_MANY_REQUESTS, "another client");

    // At the very address, in the very name.
    let refreshed = client.refresh(tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(refreshed.status(), StatusCode::OK);
    assert_eq!(client.redeem(&code).await.status(), StatusCode::OK);
}

// LIM-3, LIM-6
#[tokio::test]
async fn guesses_in_many_clients_names_are_throttled_by_address() {
    let gateway = limited(r#"{ "failedTokenRequestsPerMinute": 4 }"#).await;
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    let mut refused = 0;
    for number in 0..25 {
        let id = format!("dcr_{number}");
        let fields = [("client_id", id.as_str()), ("grant_type", "refresh_token"), ("refresh_token", "rt_guess")];
        let answer = post_form(&client.http, &gateway.url("/oauth/token"), &fields).await;
        refused += usize::from(answer.status() == StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(refused, 5);
    assert_eq!(client.refresh(tokens["refresh_token"].as_str().unwrap()).await.status(), StatusCode::OK);
}

// LIM-1, LIM-3: hosted clients share addresses and, by metadata document, even their id.
#[tokio::test]
async fn wrong_secrets_lock_nobody_out_who_holds_a_token() {
    let gateway = limited(r#"{ "failedTokenRequestsPerMinute": 3, "grantTokenRequestsPerMinute": 6 }"#).await;
    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "client_secret_post" });
    let client = TestClient::register_with(&gateway, &body).await;
    let tokens = client.connect("one").await;
    let wrong = TestClient {
        secret: Some("cs_wrong".to_owned()),
        http: at(A),
        id: client.id.clone(),
        redirect_uri: REDIRECT.to_owned(),
        gateway: &gateway,
    };
    for _ in 0..3 {
        oauth_error(wrong.refresh("rt_guess").await, 401, "invalid_client").await;
    }
    too_many(wrong.refresh("rt_guess").await).await;
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    let same_address = TestClient {
        secret: client.secret.clone(),
        http: at(A),
        id: client.id.clone(),
        redirect_uri: REDIRECT.to_owned(),
        gateway: &gateway,
    };
    assert_eq!(same_address.refresh(refresh_token).await.status(), StatusCode::OK);

    // Whoever stole the token guesses the secret at the grant's expense.
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(wrong.refresh(refresh_token).await.status().as_u16());
    }
    assert_eq!(answers, [401, 401, 401, 401, 429, 429], "the code and the refresh before were the grant's too");
}

// LIM-1
#[tokio::test]
async fn a_grant_has_a_budget_of_its_own_wherever_it_is_used_from() {
    let gateway = limited(r#"{ "grantTokenRequestsPerMinute": 4 }"#).await;
    let client = TestClient::register(&gateway).await;
    let mut one = client.connect("one").await["refresh_token"].as_str().unwrap().to_owned();
    let two = client.connect("two").await["refresh_token"].as_str().unwrap().to_owned();
    for address in [A, B, A] {
        let from = TestClient {
            http: at(address),
            id: client.id.clone(),
            redirect_uri: REDIRECT.to_owned(),
            secret: None,
            gateway: &gateway,
        };
        let next: serde_json::Value = from.refresh(&one).await.json().await.unwrap();
        one = next["refresh_token"].as_str().unwrap().to_owned();
    }
    too_many(client.refresh(&one).await).await;
    assert_eq!(client.refresh(&two).await.status(), StatusCode::OK, "another grant of the same client and person");
    gateway.clock.advance(60);
    assert_eq!(client.refresh(&one).await.status(), StatusCode::OK, "nothing was lost");
}

// LIM-3, SEC-7
#[tokio::test]
async fn management_and_introspection_secrets_are_not_guessed_at_will() {
    let server = r#", "resourceServers": [{ "id": "rs", "secret": "s3cret-of-the-resource-server" }]"#;
    let gateway = limited_with(r#"{ "failedTokenRequestsPerMinute": 3 }"#, server).await;
    let registered: serde_json::Value = register(&gateway, &http()).await.json().await.unwrap();
    let url = registered["registration_client_uri"].as_str().unwrap();
    let read = async |http: &Client, token: &str| http.get(url).bearer_auth(token).send().await.unwrap();
    for _ in 0..3 {
        oauth_error(read(&at(A), "rat_guess").await, 401, "invalid_token").await;
    }
    too_many(read(&at(A), "rat_guess").await).await;
    let token = registered["registration_access_token"].as_str().unwrap();
    assert_eq!(read(&at(A), token).await.status(), StatusCode::OK);

    let introspect = async |address: &str, secret: &str| {
        let request = at(address).post(gateway.url("/oauth/introspect")).basic_auth("rs", Some(secret));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body("token=x").send().await.unwrap()
    };
    for _ in 0..10 {
        assert_eq!(introspect(A, "s3cret-of-the-resource-server").await.status(), StatusCode::OK);
    }
    for _ in 0..3 {
        oauth_error(introspect(A, "guess").await, 401, "invalid_client").await;
    }
    too_many(introspect(A, "s3cret-of-the-resource-server").await).await;
    assert_eq!(introspect(B, "s3cret-of-the-resource-server").await.status(), StatusCode::OK);
}

// LIM-1, REFR-6
#[tokio::test]
async fn under_the_default_limits_twenty_racers_with_one_token_all_succeed() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    let token = tokens["refresh_token"].as_str().unwrap();
    let answers = futures_util::future::join_all((0..20).map(|_| client.refresh(token))).await;
    assert!(answers.iter().all(|answer| answer.status() == StatusCode::OK));
}

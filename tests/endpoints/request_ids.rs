//! Every answer carries a request id, and whatever tells of trouble shows it (OPS-12).

use std::collections::BTreeSet;

use reqwest::{Method, Response, StatusCode};

use crate::support::browser::{Browser, client};
use crate::support::flow::TestClient;
use crate::support::gateway::{Options, TestGateway};

fn id_of(response: &Response) -> String {
    let ids: Vec<_> = response.headers().get_all("x-request-id").iter().collect();
    assert_eq!(ids.len(), 1, "{} {}: {ids:?}", response.url(), response.status());
    let id = ids[0].to_str().unwrap().to_owned();
    assert!(id.len() >= 16 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{id}");
    id
}

// OPS-12
#[tokio::test]
async fn every_answer_carries_an_id_of_its_own_whatever_the_client_sent() {
    let gateway = TestGateway::start().await;
    let token = TestClient::register(&gateway).await.connect("one").await;
    let access_token = token["access_token"].as_str().unwrap();
    let http = client();
    let long = format!("/?{}", "a".repeat(20_000));
    let mut ids = BTreeSet::new();
    for (method, path, status) in [
        (Method::GET, "/", 200),
        (Method::GET, "/healthz", 200),
        (Method::GET, "/livez", 200),
        (Method::GET, "/readyz", 200),
        (Method::GET, "/.well-known/oauth-authorization-server", 200),
        (Method::GET, "/mcp/one/.well-known/oauth-protected-resource", 200),
        (Method::OPTIONS, "/oauth/token", 200),
        (Method::GET, "/account", 200),
        (Method::GET, "/oauth/authorize", 400),
        (Method::POST, "/oauth/token", 400),
        (Method::GET, "/mcp/one", 401),
        (Method::GET, "/nothing", 404),
        (Method::DELETE, "/oauth/token", 405),
        (Method::PUT, "/mcp/one", 405),
        (Method::GET, long.as_str(), 414),
    ] {
        let request = http.request(method.clone(), gateway.url(path)).header("x-request-id", "chosen-by-the-client");
        let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        assert!(ids.insert(id_of(&answer)), "{method} {path}");
    }
    let elsewhere = http.get(gateway.url("/")).header("host", "elsewhere.example").send().await.unwrap();
    assert_eq!(elsewhere.status(), StatusCode::MISDIRECTED_REQUEST);
    assert!(ids.insert(id_of(&elsewhere)));
    let unreachable = http.post(gateway.resource("one")).bearer_auth(access_token).body("{}").send().await.unwrap();
    assert_eq!(unreachable.status(), StatusCode::BAD_GATEWAY);
    assert!(ids.insert(id_of(&unreachable)));
    assert!(!ids.contains("chosen-by-the-client"));
}

// OPS-12, CODE-15
#[tokio::test]
async fn what_tells_of_trouble_shows_the_id_of_its_answer() {
    let gateway = TestGateway::start().await;
    let token = TestClient::register(&gateway).await.connect("one").await;
    let access_token = token["access_token"].as_str().unwrap();
    let http = client();
    let body = |request: reqwest::RequestBuilder| async {
        let answer = request.send().await.unwrap();
        let (status, id) = (answer.status(), id_of(&answer));
        (status, id, answer.text().await.unwrap())
    };
    let form = |path: &str, form: &'static str| {
        http.post(gateway.url(path)).header("content-type", "application/x-www-form-urlencoded").body(form)
    };
    for (request, status) in [
        (form("/oauth/token", "grant_type=authorization_code&client_id=x&code=y"), 401),
        (form("/oauth/introspect", "token=x"), 404),
        (http.post(gateway.url("/oauth/register")).body("{}"), 400),
        (http.get(gateway.url("/nothing")), 404),
        (http.delete(gateway.url("/oauth/token")), 405),
        (http.post(gateway.resource("one")).body("{}"), 401),
        (http.post(gateway.resource("one")).bearer_auth("bad").body("{}"), 401),
        (http.put(gateway.resource("one")), 405),
        (http.post(gateway.resource("one")).bearer_auth(access_token).body("{}"), 502),
        (http.get(gateway.url("/")).header("host", "elsewhere.example"), 421),
        (http.get(gateway.url("/oauth/authorize")), 400),
        (http.get(gateway.url("/oauth/callback?state=unknown&code=x")), 400),
        (http.get(gateway.url("/oauth/consent?transaction=tx_unknown")), 404),
    ] {
        let (seen, id, text) = body(request).await;
        assert_eq!(seen.as_u16(), status, "{text}");
        assert!(text.contains(&id), "{id}: {text}");
        for inside in ["panicked", "backtrace", ".rs:", "sqlx", "src/"] {
            assert!(!text.contains(inside), "{inside}: {text}");
        }
    }
}

// OPS-12
#[tokio::test]
async fn without_its_store_the_gateway_answers_with_a_reference_and_no_word_of_its_inside() {
    let gateway = TestGateway::start_with(Options::default()).await;
    let client = TestClient::register(&gateway).await;
    gateway.assembly.store.close().await;
    let page = Browser::new().get(&client.authorize_url("one", &[])).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{}", page.text);
    assert!(page.text.contains(page.headers["x-request-id"].to_str().unwrap()));
    let refused = client.refresh("rt_any").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let (id, text) = (id_of(&refused), refused.text().await.unwrap());
    assert!(text.contains(&id), "{text}");
    for inside in ["sqlx", "pool", "SQLite", "store"] {
        assert!(!text.contains(inside) && !page.text.contains(inside), "{inside}");
    }
}

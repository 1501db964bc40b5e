//! `GET /metrics` on its own listener (OPS-4).

use std::collections::{BTreeMap, BTreeSet};

use doorward::runtime::metrics_listener;
use reqwest::{Method, StatusCode};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::browser::{Browser, client};
use crate::support::flow::{TestClient, VERIFIER, oauth_error};
use crate::support::gateway::{Options, TestGateway, load};

/// The metrics listener of a gateway. Stops when dropped.
pub struct Metrics {
    url: String,
    _stop: DropGuard,
}

/// What a scrape gave: each sample, such as `doorward_logins_total{outcome="succeeded"}`, and its value.
pub struct Scrape {
    pub text: String,
    samples: BTreeMap<String, String>,
}

impl Metrics {
    pub async fn of(gateway: &TestGateway) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/metrics", socket.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        tokio::spawn(metrics_listener(&gateway.shared, shutdown.clone()).serve(socket));
        Self { url, _stop: shutdown.drop_guard() }
    }

    pub async fn scrape(&self) -> Scrape {
        let answer = client().get(&self.url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let text = answer.text().await.unwrap();
        Scrape { samples: parse(&text), text }
    }
}

impl Scrape {
    /// A whole number; 0 for what has not occurred.
    pub fn value(&self, sample: &str) -> u64 {
        let value = self.samples.get(sample).map_or("0", String::as_str);
        value.strip_suffix(".0").unwrap_or(value).parse().unwrap()
    }

    /// Every sample, for what must not grow.
    pub fn names(&self) -> BTreeSet<&str> {
        self.samples.keys().map(String::as_str).collect()
    }
}

/// Reads OpenMetrics text and holds it to its rules: descriptors before samples, no family twice, suffixes by type,
/// nothing after the end.
fn parse(text: &str) -> BTreeMap<String, String> {
    let body = text.strip_suffix("# EOF\n").expect("the end is marked");
    let (mut samples, mut families) = (BTreeMap::new(), BTreeMap::new());
    let mut family = "";
    for line in body.lines() {
        if let Some(descriptor) = line.strip_prefix("# ") {
            let mut words = descriptor.splitn(3, ' ');
            let (keyword, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            match keyword {
                "HELP" => {
                    assert!(families.insert(name, "").is_none(), "{name} comes twice");
                    family = name;
                }
                "TYPE" => assert_eq!(families.insert(name, rest), Some(""), "{name}"),
                "UNIT" => assert!(name.ends_with(rest), "{line}"),
                _ => panic!("{line}"),
            }
            assert_eq!(name, family, "{line}");
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let name = sample.split('{').next().unwrap();
        let suffixes: &[&str] = match families[family] {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "info" => &["_info"],
            "gauge" => &[""],
            other => panic!("{other}"),
        };
        assert!(suffixes.iter().any(|suffix| name == format!("{family}{suffix}")), "{line} under {family}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(samples.insert(sample.to_owned(), value.to_owned()).is_none(), "{sample} comes twice");
    }
    samples
}

// OPS-4
#[tokio::test]
async fn metrics_are_open_metrics_text_with_an_end() {
    let gateway = TestGateway::start().await;
    let metrics = Metrics::of(&gateway).await;
    let answer = client().get(&metrics.url).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let scrape = metrics.scrape().await;
    assert_eq!(scrape.value(&format!("doorward_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1);
    assert_eq!(scrape.value("doorward_store_up"), 1);
    assert!(scrape.names().contains("doorward_store_answer_seconds"));
}

// OPS-4
#[tokio::test]
async fn the_metrics_listener_has_metrics_alone_and_the_public_one_has_none() {
    let gateway = TestGateway::start().await;
    let metrics = Metrics::of(&gateway).await;
    let public = client().get(gateway.url("/metrics")).send().await.unwrap();
    assert_eq!(public.status(), StatusCode::NOT_FOUND);
    assert!(!public.text().await.unwrap().contains("doorward_"));
    for path in ["", "healthz", "mcp/one", "oauth/token", "metrics/", ".well-known/jwks.json"] {
        let url = metrics.url.replace("metrics", path);
        assert_eq!(client().get(&url).send().await.unwrap().status(), StatusCode::NOT_FOUND, "{url}");
    }
    for method in [Method::POST, Method::OPTIONS, Method::DELETE] {
        let answer = client().request(method, &metrics.url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}

// OPS-4, OPS-3
#[tokio::test]
async fn metrics_need_no_token_answer_on_any_host_and_are_for_no_page() {
    let gateway = TestGateway::start().await;
    let metrics = Metrics::of(&gateway).await;
    let request = client().get(&metrics.url).header("host", "prometheus.internal:9001");
    let answer = request.header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}

// OPS-4
#[tokio::test]
async fn every_endpoint_is_counted_under_its_own_name_and_health_is_not() {
    for base in ["/", "/gateway/"] {
        let settings = Box::new(move |settings: &mut doorward::runtime::Settings| settings.base_path = base.to_owned());
        let gateway = TestGateway::start_with(Options { settings, ..Options::default() }).await;
        let metrics = Metrics::of(&gateway).await;
        let below = |path: &str| format!("{}{path}", base.trim_end_matches('/'));
        let http = client();
        for (path, endpoint) in [
            ("/".to_owned(), "/"),
            ("/.well-known/oauth-protected-resource".to_owned(), "/.well-known/oauth-protected-resource"),
            (
                "/.well-known/oauth-protected-resource/mcp/one".to_owned(),
                "/.well-known/oauth-protected-resource/{*route}",
            ),
            ("/.well-known/oauth-authorization-server".to_owned(), "/.well-known/oauth-authorization-server"),
            (
                "/.well-known/oauth-authorization-server/mcp/one".to_owned(),
                "/.well-known/oauth-authorization-server/{*route}",
            ),
            ("/.well-known/openid-configuration".to_owned(), "/.well-known/openid-configuration"),
            ("/.well-known/openid-configuration/mcp/one".to_owned(), "/.well-known/openid-configuration/{*route}"),
            ("/.well-known/jwks.json".to_owned(), "/.well-known/jwks.json"),
            (below("/oauth/authorize"), "/oauth/authorize"),
            (below("/oauth/authorize/mcp/one"), "/oauth/authorize/{*route}"),
            (below("/oauth/callback"), "/oauth/callback"),
            (below("/oauth/consent"), "/oauth/consent"),
            (below("/oauth/setup"), "/oauth/setup"),
            (below("/oauth/logout"), "/oauth/logout"),
            (below("/oauth/dev-login"), "/oauth/dev-login"),
            (below("/oauth/token"), "/oauth/token"),
            (below("/oauth/revoke"), "/oauth/revoke"),
            (below("/oauth/introspect"), "/oauth/introspect"),
            (below("/oauth/register"), "/oauth/register"),
            (below("/oauth/register/x"), "/oauth/register/{id}"),
            (below("/account"), "/account"),
            ("/authorize".to_owned(), "/authorize"),
            ("/token".to_owned(), "/token"),
            ("/register".to_owned(), "/register"),
        ] {
            let counted = async |status: u16| {
                let sample =
                    format!("doorward_http_requests_total{{endpoint=\"{endpoint}\",status=\"{}xx\"}}", status / 100);
                metrics.scrape().await.value(&sample)
            };
            let status = http.get(gateway.url(&path)).send().await.unwrap().status().as_u16();
            assert_eq!(counted(status).await, 1, "{path}: {status}");
            // A method that it does not take is an answer too.
            let status = http.patch(gateway.url(&path)).send().await.unwrap().status();
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            assert!(counted(405).await >= 1, "{path}");
        }
        let before = metrics.scrape().await.names().len();
        for path in ["/healthz", "/livez", "/readyz"] {
            http.get(gateway.url(path)).send().await.unwrap();
        }
        assert_eq!(metrics.scrape().await.names().len(), before);
    }
}

// OPS-4, LIM-6
#[tokio::test]
async fn a_thousand_unknown_paths_hosts_and_methods_add_no_series() {
    let gateway = TestGateway::start().await;
    let metrics = Metrics::of(&gateway).await;
    let http = client();
    let knock = async |number: usize| {
        http.get(gateway.url(&format!("/mcp/unknown-{number}"))).send().await.unwrap();
        http.get(gateway.url("/mcp/one")).header("host", format!("h{number}.example")).send().await.unwrap();
        let method = Method::from_bytes(format!("M{number}").as_bytes()).unwrap();
        http.request(method, gateway.url("/mcp/one")).send().await.unwrap();
        http.get(gateway.url("/mcp/one")).bearer_auth(format!("token-{number}")).send().await.unwrap();
        http.post(gateway.url("/oauth/token"))
            .body(format!("grant_type=g{number}&client_id=c{number}"))
            .send()
            .await
            .unwrap();
    };
    knock(0).await;
    let before = metrics.scrape().await;
    for number in 1..1_000 {
        knock(number).await;
    }
    let after = metrics.scrape().await;
    assert_eq!(after.names(), before.names());
    assert_eq!(after.value(r#"doorward_http_requests_total{endpoint="unknown path",status="4xx"}"#), 1_000);
    assert_eq!(after.value(r#"doorward_http_requests_total{endpoint="unknown host",status="4xx"}"#), 1_000);
    assert!(!after.text.contains("unknown-") && !after.text.contains("example"), "{}", after.text);
}

// OPS-4, OPS-6
#[tokio::test]
async fn connections_and_the_age_of_what_is_known_of_revocations_are_told() {
    let gateway = TestGateway::start().await;
    gateway.clock.stop();
    let metrics = Metrics::of(&gateway).await;
    assert!(!metrics.scrape().await.text.contains("revocations_age"), "nobody follows the store");
    gateway.assembly.revocations.known(doorward::domain::Clock::now(&*gateway.clock));
    gateway.clock.advance(40);
    let scrape = metrics.scrape().await;
    assert_eq!(scrape.value("doorward_revocations_age_seconds"), 40);
    assert_eq!(scrape.value("doorward_connections_accepted_total"), 0, "its own connections do not count");
    let http = client();
    http.get(gateway.url("/")).send().await.unwrap();
    assert_eq!(metrics.scrape().await.value("doorward_connections_accepted_total"), 1);
}

// OPS-4
#[tokio::test]
async fn the_way_from_the_first_request_to_tokens_is_counted_step_by_step() {
    let gateway = TestGateway::start().await;
    let metrics = Metrics::of(&gateway).await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = client.consent_page(&browser, &client.authorize_url("one", &[]), "admin").await;
    client.decide(&browser, &page, "cancel").await;
    client.consent_page(&browser, &client.authorize_url("one", &[]), "admin").await;
    let tokens = client.connect("one").await;
    browser.get(&client.authorize_url("one", &[("scope", "unheard-of")])).await;
    oauth_error(client.redeem("never-issued").await, 400, "invalid_grant").await;
    let scrape = metrics.scrape().await;
    for (sample, value) in [
        (r#"doorward_connect_steps_total{step="started"}"#, 3),
        // The second time the person was signed in already.
        (r#"doorward_connect_steps_total{step="signed_in"}"#, 2),
        (r#"doorward_connect_steps_total{step="approved"}"#, 1),
        (r#"doorward_connect_steps_total{step="denied_by_person"}"#, 1),
        (r#"doorward_connect_steps_total{step="connected"}"#, 1),
        (r#"doorward_logins_total{outcome="succeeded"}"#, 2),
        (r#"doorward_authorizations_refused_total{error="invalid_scope"}"#, 1),
        (r#"doorward_tokens_issued_total{grant_type="authorization_code"}"#, 1),
        (r#"doorward_tokens_refused_total{error="invalid_grant"}"#, 1),
    ] {
        assert_eq!(scrape.value(sample), value, "{sample}\n{}", scrape.text);
    }
    assert!(!scrape.text.contains(&client.id), "no client id stands in a label");
    assert!(!scrape.text.contains(tokens["access_token"].as_str().unwrap()));
}

// OPS-4, REFR-5
#[tokio::test]
async fn refreshes_their_replays_and_the_grants_they_cost_are_counted() {
    let gateway = TestGateway::start().await;
    let metrics = Metrics::of(&gateway).await;
    let client = TestClient::register(&gateway).await;
    let first = client.connect("one").await["refresh_token"].as_str().unwrap().to_owned();
    let second: serde_json::Value = client.refresh(&first).await.json().await.unwrap();
    client.refresh(&first).await;
    client.refresh(second["refresh_token"].as_str().unwrap()).await;
    let before = metrics.scrape().await;
    assert_eq!(before.value(r#"doorward_refreshes_total{outcome="rotated"}"#), 2);
    assert_eq!(before.value(r#"doorward_refreshes_total{outcome="repeated"}"#), 1);
    assert_eq!(before.value(r#"doorward_tokens_issued_total{grant_type="refresh_token"}"#), 3);
    assert_eq!(before.value(r#"doorward_refreshes_total{outcome="replayed"}"#), 0);
    oauth_error(client.refresh(&first).await, 400, "invalid_grant").await;
    let after = metrics.scrape().await;
    assert_eq!(after.value(r#"doorward_refreshes_total{outcome="replayed"}"#), 1);
    assert_eq!(after.value(r#"doorward_grants_ended_total{reason="refresh_replayed"}"#), 1);
}

// OPS-4, LIM-1
#[tokio::test]
async fn requests_beyond_a_limit_are_counted_by_endpoint() {
    let limits = r#""limits": { "registrationsPerMinute": 1 }"#.to_owned();
    let gateway = TestGateway::start_with(Options { gateway: limits, ..Options::default() }).await;
    let metrics = Metrics::of(&gateway).await;
    TestClient::register(&gateway).await;
    let body = serde_json::json!({ "redirect_uris": ["http://127.0.0.1:7777/callback"] });
    let refused = client().post(gateway.url("/oauth/register")).json(&body).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let scrape = metrics.scrape().await;
    assert_eq!(scrape.value(r#"doorward_rate_limited_total{endpoint="/oauth/register"}"#), 1);
}

// OPS-4, OPS-6
#[tokio::test]
async fn a_reload_keeps_the_counts_of_routes_that_stay_and_forgets_those_that_went() {
    let gateway = TestGateway::start().await;
    let metrics = Metrics::of(&gateway).await;
    let http = client();
    let call = async |slug: &str| http.post(gateway.resource(slug)).send().await.unwrap();
    let of = |slug: &str| format!("doorward_mcp_refusals_total{{route=\"{slug}\",reason=\"no_usable_credentials\"}}");
    call("one").await;
    call("two").await;
    let (before, folder) = (metrics.scrape().await, tempfile::tempdir().unwrap());
    assert_eq!((before.value(&of("one")), before.value(&of("two"))), (1, 1));
    let routes = vec![("one", "http://127.0.0.1:9/mcp".to_owned())];
    let reduced = load(&Options { routes, ..Options::default() }, folder.path());
    gateway.assembly.install(gateway.assembly.gateway(reduced));
    call("one").await;
    call("two").await;
    let after = metrics.scrape().await;
    assert_eq!(after.value(&of("one")), 2);
    assert!(!after.text.contains("route=\"two\""), "{}", after.text);
}

// SEC-6, OPS-4
#[tokio::test]
async fn nothing_that_a_request_brings_stands_in_the_metrics() {
    const CANARY: &str = "canary-3f9a";
    let gateway = TestGateway::start().await;
    let metrics = Metrics::of(&gateway).await;
    let body = serde_json::json!({
        "client_name": CANARY, "redirect_uris": [format!("http://127.0.0.1:7777/{CANARY}")],
        "client_uri": format!("https://{CANARY}.example"), "token_endpoint_auth_method": "none",
    });
    let canary_client = TestClient::register_with(&gateway, &body).await;
    let browser = Browser::new();
    let url = canary_client.authorize_url("one", &[("state", CANARY)]);
    let page = canary_client.consent_page(&browser, &url, "admin").await;
    let code = canary_client.decide(&browser, &page, "approve").await.param("code").unwrap();
    let tokens: serde_json::Value = canary_client.redeem(&code).await.json().await.unwrap();
    let (access, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    canary_client.call("one", access).await;
    canary_client.refresh(refresh).await;
    for field in ["code", "refresh_token", "code_verifier", "client_secret", "client_assertion", "grant_type", CANARY] {
        canary_client.token(&[("grant_type", "authorization_code"), (field, CANARY)]).await;
    }
    let http = client();
    for path in ["/mcp/one", "/oauth/token", "/oauth/callback", "/oauth/consent", "/canary-3f9a"] {
        let url = gateway.url(&format!("{path}?code={CANARY}&state={CANARY}&{CANARY}={CANARY}"));
        for request in
            [http.get(&url), http.post(&url), http.request(Method::from_bytes(b"CANARY-3F9A").unwrap(), &url)]
        {
            let request = request.bearer_auth(CANARY).header("cookie", format!("doorward={CANARY}"));
            request.header("mcp-session-id", CANARY).header("x-request-id", CANARY).body(CANARY).send().await.unwrap();
        }
        http.get(&url).header("host", format!("{CANARY}.example")).send().await.unwrap();
    }
    let text = metrics.scrape().await.text.to_lowercase();
    let claims = doorward::crypto::base64url_decode(access.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    let (person, grant) = (claims["sub"].as_str().unwrap(), claims["sid"].as_str().unwrap());
    for secret in [CANARY, access, refresh, &code, &canary_client.id, person, grant, VERIFIER] {
        assert!(!text.contains(&secret.to_lowercase()), "{secret}\n{text}");
    }
}

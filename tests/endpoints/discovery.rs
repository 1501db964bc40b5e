//! What clients find before they have anything (DISC), who may read it (CORS), and under which name.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::browser::client as http;
use crate::support::flow::TestClient;
use crate::support::gateway::{Options, TestGateway};

async fn document(gateway: &TestGateway, path: &str) -> Value {
    let response = http().get(gateway.url(path)).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/json"));
    assert!(response.headers()["cache-control"].to_str().unwrap().contains("max-age="));
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    response.json().await.unwrap()
}

// DISC-1, DISC-2, DISC-3, DISC-4, DISC-5, SCOPE-1
#[tokio::test]
async fn each_route_has_its_own_protected_resource_metadata() {
    let gateway = TestGateway::start().await;
    for slug in ["one", "two"] {
        let prm = document(&gateway, &format!("/.well-known/oauth-protected-resource/mcp/{slug}")).await;
        assert_eq!(prm["resource"], gateway.resource(slug));
        assert_eq!(prm["authorization_servers"], json!([gateway.origin]));
        assert_eq!(prm["bearer_methods_supported"], json!(["header"]));
        assert_eq!(prm["scopes_supported"], json!(["mcp:tools"]));
        assert_eq!(prm["resource_name"], format!("Server {slug}"));
        let suffix =
            http().get(gateway.url(&format!("/mcp/{slug}/.well-known/oauth-protected-resource"))).send().await.unwrap();
        assert_eq!(suffix.json::<Value>().await.unwrap(), prm);
    }
    for unknown in [
        "/.well-known/oauth-protected-resource/mcp/nine",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-authorization-server/mcp/nine",
        "/.well-known/openid-configuration/mcp/nine",
        "/mcp/nine/.well-known/openid-configuration",
        "/mcp/nine",
    ] {
        let response = http().get(gateway.url(unknown)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{unknown}");
        assert!(response.json::<Value>().await.unwrap()["error"].is_string());
    }
    let single = Options { routes: vec![("only", "http://127.0.0.1:9/mcp".to_owned())], ..Options::default() };
    let single = TestGateway::start_with(single).await;
    let root = document(&single, "/.well-known/oauth-protected-resource").await;
    assert_eq!(root["resource"], single.resource("only"));
}

// DISC-6, DISC-7, DISC-8, DISC-9, DISC-10, DISC-14, DISC-15, DISC-16, DISC-17, SCOPE-2
#[tokio::test]
async fn authorization_server_metadata_stands_in_all_forms_with_the_issuer_of_its_url() {
    let gateway = TestGateway::start().await;
    let path = gateway.resource("one");
    for (url, issuer, openid) in [
        ("/.well-known/oauth-authorization-server", gateway.origin.as_str(), false),
        ("/.well-known/openid-configuration", gateway.origin.as_str(), true),
        ("/.well-known/oauth-authorization-server/mcp/one", &path, false),
        ("/.well-known/openid-configuration/mcp/one", &path, true),
    ] {
        let metadata = document(&gateway, url).await;
        assert_eq!(metadata["issuer"], issuer, "{url}");
        let bound = if issuer == path { "/mcp/one" } else { "" };
        assert_eq!(metadata["authorization_endpoint"], gateway.url(&format!("/oauth/authorize{bound}")));
        assert_eq!(metadata["token_endpoint"], gateway.url("/oauth/token"));
        assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
        assert_eq!(metadata["response_types_supported"], json!(["code"]));
        assert_eq!(metadata["grant_types_supported"], json!(["authorization_code", "refresh_token"]));
        assert_eq!(metadata["scopes_supported"], json!(["mcp:tools", "offline_access"]));
        assert_eq!(
            metadata["token_endpoint_auth_methods_supported"],
            json!(["none", "client_secret_basic", "client_secret_post", "private_key_jwt"])
        );
        assert!(metadata["token_endpoint_auth_signing_alg_values_supported"].is_array());
        assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
        assert_eq!(metadata["client_id_metadata_document_supported"], true);
        assert_eq!(metadata["registration_endpoint"], gateway.url("/oauth/register"));
        assert_eq!(metadata["revocation_endpoint"], gateway.url("/oauth/revoke"));
        assert_eq!(metadata.get("subject_types_supported").is_some(), openid, "{url}");
        assert!(metadata.get("introspection_endpoint").is_none(), "nobody is there to use it");
    }
    let below = http().get(gateway.url("/mcp/one/.well-known/openid-configuration")).send().await.unwrap();
    assert_eq!(below.json::<Value>().await.unwrap()["issuer"], path.as_str());
}

// DISC-18, DISC-19
#[tokio::test]
async fn everything_the_metadata_advertises_is_there() {
    let gateway = TestGateway::start_with(Options {
        gateway: r#""resourceServers": [{ "id": "files", "secret": "the secret of files" }]"#.to_owned(),
        ..Options::default()
    })
    .await;
    let metadata = document(&gateway, "/.well-known/oauth-authorization-server").await;
    assert!(metadata["introspection_endpoint"].is_string());
    let http = http();
    for (name, value) in metadata.as_object().unwrap() {
        let Some(url) = value.as_str().filter(|_| name.ends_with("_endpoint") || name == "jwks_uri") else { continue };
        let found = match name.as_str() {
            "authorization_endpoint" | "jwks_uri" => http.get(url).send().await.unwrap(),
            _ => http
                .post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .body("x=1")
                .send()
                .await
                .unwrap(),
        };
        assert!(!matches!(found.status().as_u16(), 404 | 405 | 500..), "{name}: {}", found.status());
    }
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    assert!(client.refresh(tokens["refresh_token"].as_str().unwrap()).await.status().is_success());
}

// DISC-20
#[tokio::test]
async fn clients_that_skip_discovery_find_the_endpoints_at_the_root_unless_that_is_off() {
    let gateway = TestGateway::start().await;
    let off = Options { gateway: r#""legacyAliases": false"#.to_owned(), ..Options::default() };
    let off = TestGateway::start_with(off).await;
    let http = http();
    for (path, method) in [("/authorize", Method::GET), ("/token", Method::POST), ("/register", Method::POST)] {
        let status = async |gateway: &TestGateway| {
            http.request(method.clone(), gateway.url(path)).send().await.unwrap().status()
        };
        assert_eq!(status(&gateway).await, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(status(&off).await, StatusCode::NOT_FOUND, "{path}");
    }
}

// DISC-11, DISC-12, OPS-3
#[tokio::test]
async fn the_host_decides_under_which_origin_it_answers_and_a_proxy_only_if_it_is_trusted() {
    let options = || Options { public_urls: vec!["https://gw.example.com".to_owned()], ..Options::default() };
    let plain = TestGateway::start_with(options()).await;
    let trusting = TestGateway::start_with(Options {
        settings: Box::new(|settings| settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]),
        ..options()
    })
    .await;
    let http = http();
    let issuer = async |gateway: &TestGateway, headers: &[(&str, &str)]| {
        let mut request = http.get(gateway.url("/.well-known/oauth-authorization-server"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let body: Value = response.json().await.unwrap();
        (status, body["issuer"].as_str().map(str::to_owned))
    };
    let ours = Some("https://gw.example.com".to_owned());
    assert_eq!(issuer(&plain, &[("host", "gw.example.com")]).await, (200, ours.clone()));
    assert_eq!(issuer(&plain, &[("host", "GW.EXAMPLE.COM:443")]).await, (200, ours.clone()));
    assert_eq!(issuer(&plain, &[("host", "evil.example")]).await, (421, None));
    for (name, value) in [("x-forwarded-host", "gw.example.com"), ("forwarded", "for=1.2.3.4;host=gw.example.com")] {
        assert_eq!(issuer(&trusting, &[(name, value)]).await, (200, ours.clone()), "{name}");
        assert_eq!(issuer(&plain, &[(name, value)]).await, (200, Some(plain.origin.clone())), "{name} is ignored");
    }
    assert_eq!(issuer(&trusting, &[("x-forwarded-host", "evil.example")]).await, (421, None));
    // A proxy that writes the one header lets the client's own through in the other.
    let own = trusting.origin.trim_start_matches("http://").to_owned();
    for (forwarded, host) in [("host=gw.example.com", own.as_str()), (&format!("host=\"{own}\""), "gw.example.com")] {
        let both = [("forwarded", forwarded), ("x-forwarded-host", host)];
        assert_eq!(issuer(&trusting, &both).await, (421, None), "{both:?}");
    }
    let agreed = [("forwarded", "host=gw.example.com"), ("x-forwarded-host", "GW.example.com")];
    assert_eq!(issuer(&trusting, &agreed).await, (200, ours.clone()));
    let document = http.get(plain.url("/.well-known/oauth-authorization-server")).send().await.unwrap();
    let vary = document.headers().get_all("vary").iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    for name in ["Host", "Forwarded", "X-Forwarded-Host"] {
        assert!(vary.iter().flat_map(|value| value.split(", ")).any(|known| known == name), "{name}: {vary:?}");
    }
    for path in ["/livez", "/healthz", "/readyz"] {
        let response = http.get(plain.url(path)).header("host", "10.0.0.1:9000").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
}

// CORS-1
#[tokio::test]
async fn browsers_on_any_origin_may_use_what_takes_no_cookie() {
    let gateway = TestGateway::start().await;
    for (path, method) in [
        ("/.well-known/oauth-protected-resource/mcp/one", "GET"),
        ("/.well-known/oauth-authorization-server", "GET"),
        ("/.well-known/jwks.json", "GET"),
        ("/oauth/token", "POST"),
        ("/oauth/register", "POST"),
        ("/oauth/revoke", "POST"),
    ] {
        let response = http()
            .request(Method::OPTIONS, gateway.url(path))
            .header("origin", "https://app.example")
            .header("access-control-request-method", method)
            .header("access-control-request-headers", "content-type, mcp-protocol-version, authorization")
            .send()
            .await
            .unwrap();
        assert!(response.status().is_success(), "{path}");
        assert_eq!(response.headers()["access-control-allow-origin"], "*", "{path}");
        assert!(response.headers()["access-control-allow-methods"].to_str().unwrap().contains(method));
        assert!(response.headers()["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
        assert!(!response.headers().contains_key("access-control-allow-credentials"));
    }
}

// OPS-10: the development login is for callers at this machine, with nothing in between.
#[tokio::test]
async fn a_tunnel_does_not_hand_out_the_admin() {
    let gateway = TestGateway::start_with(Options {
        public_urls: vec!["https://tunnel.example".to_owned()],
        auto_approve: true,
        ..Options::default()
    })
    .await;
    let http = http();
    let url = gateway.url("/oauth/dev-login?state=x");
    assert_eq!(http.get(&url).send().await.unwrap().status(), StatusCode::OK);
    for (name, value) in [
        ("forwarded", "for=1.2.3.4"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("via", "1.1 tunnel"),
        ("cf-connecting-ip", "1.2.3.4"),
        ("host", "tunnel.example"),
    ] {
        let response = http.get(&url).header(name, value).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{name}");
        // OPS-11: nor does --auto-approve let anybody in from there.
        let client = TestClient::register(&gateway).await;
        let resource =
            if name == "host" { "https://tunnel.example/mcp/one".to_owned() } else { gateway.resource("one") };
        let authorize = client.authorize_url("one", &[("resource", &resource)]);
        let response = http.get(authorize).header(name, value).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{name}: a page asks");
    }
    let client = TestClient::register(&gateway).await;
    let direct = http.get(client.authorize_url("one", &[])).send().await.unwrap();
    assert!(direct.headers()["location"].to_str().unwrap().contains("code="));
}

//! Pages of other origins (CORS), and names that are bent to this machine (DNS rebinding).

use reqwest::header::{HeaderMap, ORIGIN};
use reqwest::{Method, Response, StatusCode};

use crate::support::browser::client as http;
use crate::support::gateway::{Options, TestGateway};

async fn from(gateway: &TestGateway, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = http().request(method, gateway.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
    let text = headers[name].to_str().unwrap().to_ascii_lowercase();
    text.split(", ").map(str::to_owned).collect()
}

// CORS-3, CORS-4, CORS-5, CORS-7
#[tokio::test]
async fn a_routes_policy_lets_pages_of_its_origins_call_and_read() {
    let policies = r#"{ "name": "pages", "allowedOrigins": ["https://app.example", "https://*.apps.example"],
                        "allowedHeaders": ["X-Team"], "exposeHeaders": ["X-Cost"], "maxAge": 600 }"#;
    let options = Options { cors: (policies.to_owned(), "pages"), ..Options::default() };
    let gateway = TestGateway::start_with(options).await;
    for (origin, allowed) in [
        ("https://app.example", true),
        ("https://eu.apps.example", true),
        ("https://apps.example", false),
        ("http://app.example", false),
        ("https://app.example.evil.example", false),
        ("null", false),
    ] {
        let asked = ("access-control-request-headers", "authorization,x-team,x-other");
        let preflight = from(
            &gateway,
            Method::OPTIONS,
            "/mcp/one",
            &[("origin", origin), ("access-control-request-method", "POST"), asked],
        )
        .await;
        let call = from(&gateway, Method::POST, "/mcp/one", &[("origin", origin)]).await;
        if !allowed {
            assert_eq!((preflight.status(), call.status()), (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN), "{origin}");
            continue;
        }
        assert_eq!((preflight.status(), call.status()), (StatusCode::NO_CONTENT, StatusCode::UNAUTHORIZED), "{origin}");
        let headers = list(preflight.headers(), "access-control-allow-headers");
        assert!(headers.contains(&"authorization".to_owned()) && headers.contains(&"x-team".to_owned()), "{headers:?}");
        assert!(!headers.contains(&"x-other".to_owned()), "{headers:?}");
        assert_eq!(preflight.headers()["access-control-max-age"], "600");
        let exposed = list(call.headers(), "access-control-expose-headers");
        assert!(exposed.contains(&"www-authenticate".to_owned()) && exposed.contains(&"x-cost".to_owned()));
        assert!(!call.headers().contains_key("access-control-allow-credentials"));
    }
}

// CORS-5: the built-in policy for any page.
#[tokio::test]
async fn anything_goes_lets_every_page_call() {
    let options = Options { cors: (String::new(), "anything-goes"), ..Options::default() };
    let gateway = TestGateway::start_with(options).await;
    for origin in ["https://anything.example", "null"] {
        let asked = ("access-control-request-headers", "x-whatever");
        let preflight = from(&gateway, Method::OPTIONS, "/mcp/one", &[("origin", origin), asked]).await;
        assert!(list(preflight.headers(), "access-control-allow-headers").contains(&"x-whatever".to_owned()));
        assert_eq!(
            from(&gateway, Method::POST, "/mcp/one", &[("origin", origin)]).await.status(),
            StatusCode::UNAUTHORIZED
        );
    }
}

// CORS-6, DISC-11: a page whose name was turned to this machine sends that name, and gets nothing.
#[tokio::test]
async fn a_name_bent_to_this_machine_is_misdirected_everywhere() {
    let gateway = TestGateway::start().await;
    let port = gateway.address.port();
    for host in [
        format!("evil.example:{port}"),
        "evil.example".to_owned(),
        format!("localhost.evil.example:{port}"),
        format!("localhost:{}", port ^ 1),
    ] {
        for (method, path) in [
            (Method::POST, "/mcp/one"),
            (Method::OPTIONS, "/mcp/one"),
            (Method::GET, "/oauth/authorize"),
            (Method::GET, "/oauth/dev-login"),
            (Method::POST, "/oauth/consent"),
            (Method::POST, "/oauth/token"),
            (Method::POST, "/oauth/register"),
            (Method::GET, "/.well-known/oauth-protected-resource/mcp/one"),
            (Method::GET, "/"),
        ] {
            let origin = format!("http://{host}");
            for headers in
                [vec![("host", host.as_str())], vec![("host", host.as_str()), (ORIGIN.as_str(), origin.as_str())]]
            {
                let answer = from(&gateway, method.clone(), path, &headers).await;
                assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{method} {path} as {host}");
                assert!(!answer.headers().contains_key("access-control-allow-origin"), "{method} {path} as {host}");
            }
        }
    }
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}")] {
        assert_eq!(
            from(&gateway, Method::POST, "/mcp/one", &[("host", &host)]).await.status(),
            StatusCode::UNAUTHORIZED
        );
    }
}

//! Direct mode (`mcp-authkit-inbound`, gateway.md §7): AuthKit issues the tokens, the gateway verifies them.

mod discovery;
mod keys;
mod people;
mod preregistered;
mod tokens;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method};
use axum::response::IntoResponse as _;
use axum::routing::any;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use crate::fake_authkit::{Behaviour, FakeAuthKit, patch};
use crate::support::browser::client;
use crate::support::gateway::{Options, TestGateway};

/// An MCP server that answers with a session of its own, or an event stream without an end where that is asked for, and
/// remembers what headers came.
struct Upstream {
    url: String,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    async fn start() -> Self {
        let seen: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
        let remembered = Arc::clone(&seen);
        let answer = move |method: Method, headers: HeaderMap| {
            let silence = || Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
            let streams =
                method == Method::GET || headers.get("accept").is_some_and(|types| types == "text/event-stream");
            remembered.lock().unwrap().push(headers);
            std::future::ready(if streams {
                ([("content-type", "text/event-stream")], silence()).into_response()
            } else {
                ([("mcp-session-id", "s-1")], axum::Json(json!({ "ok": true }))).into_response()
            })
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let router = Router::new().route("/mcp", any(answer));
        #[expect(clippy::disallowed_methods, reason = "a double need not drain")]
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, seen, task }
    }

    fn last(&self) -> HeaderMap {
        self.seen.lock().unwrap().last().cloned().expect("a request")
    }
}

struct World {
    authkit: FakeAuthKit,
    upstream: Upstream,
    gateway: TestGateway,
    http: Client,
}

impl World {
    async fn new() -> Self {
        Self::with(json!({}), "", None).await
    }

    /// `more`: options of the policy. `handler`: options of the routes. `access`: options of an access policy.
    async fn with(more: Value, handler: &str, access: Option<Value>) -> Self {
        let authkit = FakeAuthKit::start().await;
        let upstream = Upstream::start().await;
        let mut options = json!({ "authkitDomain": authkit.base(), "apiUrl": authkit.base() });
        patch(&mut options, Some(&more));
        let mut policies = vec![json!({
            "name": "login", "policyType": "mcp-authkit-inbound",
            "handler": { "export": "McpAuthKitInboundPolicy", "options": options },
        })];
        policies.extend(access.as_ref().map(|options| {
            json!({ "name": "access", "policyType": "mcp-access-inbound", "handler": { "options": options } })
        }));
        let gateway = TestGateway::start_with(Options {
            policies: Some(json!({ "policies": policies }).to_string()),
            access: access.map(|_| ""),
            handler: handler.to_owned(),
            routes: vec![("one", upstream.url.clone()), ("two", upstream.url.clone())],
            ..Options::default()
        })
        .await;
        let (one, two) = (gateway.resource("one"), gateway.resource("two"));
        authkit.list_resource(&one);
        authkit.list_resource(&two);
        Self { authkit, upstream, gateway, http: client() }
    }

    fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        self.authkit.behave(change);
    }

    /// A good token for `/mcp/one`, with changed claims.
    #[expect(clippy::needless_pass_by_value, reason = "claims are written where they are used")]
    fn token(&self, changes: Value) -> String {
        let mut claims = self.authkit.claims(&self.gateway.resource("one"));
        patch(&mut claims, Some(&changes));
        self.authkit.sign(&claims)
    }

    async fn call(&self, token: &str) -> Response {
        self.call_at("one", token).await
    }

    async fn call_at(&self, slug: &str, token: &str) -> Response {
        let request = self.http.post(self.gateway.resource(slug)).bearer_auth(token);
        request.json(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" })).send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.http.get(self.gateway.url(path)).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }
}

/// Checks a refusal: status, `error` of the body, the challenge with the right metadata. Gives the description.
async fn refused(world: &World, response: Response, status: u16, error: &str) -> (String, String) {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
    let metadata =
        format!("resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp/one\"", world.gateway.origin);
    assert!(challenge.contains(&metadata), "{challenge}");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"], error, "{body}");
    (body["error_description"].as_str().unwrap().to_owned(), challenge)
}

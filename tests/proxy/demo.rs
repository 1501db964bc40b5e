//! The built-in demo server, straight and through the proxy, driven by the official Rust client.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use doorward::config::SigningAlg;
use doorward::demo::DemoServer;
use doorward::domain::{ClientId, UnixTime};
use doorward::keys::{AssertedCall, AssertionIssuer, AssertionVerifier, Keys};
use doorward::oauth::scope::ScopeSet;
use rmcp::model::{CallToolRequestParams, ProgressNotificationParam, ProtocolVersion};
use rmcp::service::NotificationContext;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt as _, RoleClient};
use serde_json::{Value, json};

use crate::world::{START, TestClock, World};

#[derive(Clone, Default)]
struct Handler(Arc<AtomicUsize>);

impl ClientHandler for Handler {
    async fn on_progress(&self, _: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

async fn world() -> (DemoServer, World) {
    let keys = Arc::new(Keys::ephemeral(SigningAlg::Es256).unwrap());
    let clock = Arc::new(TestClock(AtomicI64::new(START)));
    let demo = DemoServer::start(AssertionVerifier::new(Arc::clone(&keys)), clock).await.unwrap();
    let handler = json!({ "forwardIdentity": "assertion" });
    let world = World::with_keys(demo.url().as_str(), &handler, &json!({}), keys).await;
    world.introduce().await;
    (demo, world)
}

// PROX-14, STRM-5, STRM-7
#[tokio::test]
async fn the_demo_knows_its_caller_and_streams_in_both_eras() {
    let (_demo, world) = world().await;
    for lifecycle in [
        ClientLifecycleMode::Initialize,
        ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] },
    ] {
        let config = StreamableHttpClientTransportConfig::with_uri(world.url("one")).auth_header(world.token("one"));
        let transport = StreamableHttpClientTransport::with_client(world.client.clone(), config);
        let handler = Handler::default();
        let client = handler.clone().serve_with_lifecycle(transport, lifecycle.clone()).await.unwrap();
        let tools = client.list_all_tools().await.unwrap();
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
        for name in ["whoami", "get-user-info", "get-user-permissions", "echo", "count"] {
            assert!(names.contains(&name), "{names:?}");
        }
        assert!(tools.iter().all(|tool| tool.description.is_some()));
        let call = async |name: &'static str, arguments: Value| {
            let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
            let result = client.call_tool(CallToolRequestParams::new(name).with_arguments(arguments)).await.unwrap();
            serde_json::to_value(result).unwrap()
        };
        let who = call("whoami", json!({})).await;
        assert_eq!(who["structuredContent"]["subject"], "usr_1", "{lifecycle:?}");
        assert_eq!(who["structuredContent"]["client"], "dcr_1");
        assert_eq!(call("get-user-info", json!({})).await["structuredContent"]["email"], "ada@example.com");
        assert_eq!(call("get-user-permissions", json!({})).await["structuredContent"]["roles"], json!(["admin"]));
        assert_eq!(call("echo", json!({ "message": "hello" })).await["content"][0]["text"], "hello");
        assert_eq!(call("count", json!({ "to": 3 })).await["content"][0]["text"], "Counted to 3.");
        assert!(handler.0.load(Ordering::SeqCst) >= 2, "progress comes while the tool runs");
        client.cancel().await.unwrap();
    }
}

// PROX-14
#[tokio::test]
async fn the_demo_refuses_whoever_does_not_come_through_its_gateway() {
    let (demo, world) = world().await;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let mut forged =
        HashMap::from([("none", None), ("token", Some(world.token("one"))), ("garbage", Some("x".to_owned()))]);
    let strangers = Arc::new(Keys::ephemeral(SigningAlg::Es256).unwrap());
    let person = world.introduce().await;
    let issue = |keys: &Arc<Keys>, audience: &str, now: i64| {
        let call = AssertedCall {
            issuer: &world.origin,
            audience,
            client: &ClientId::new("dcr_1"),
            scope: &ScopeSet::default(),
            session: "grt_1",
            jti: "1",
        };
        Some(AssertionIssuer::new(Arc::clone(keys)).issue(&person, call, UnixTime(now)).unwrap())
    };
    forged.insert("stranger", issue(&strangers, demo.url().as_str(), START));
    forged.insert("audience", issue(&world.keys, "http://other.example/mcp", START));
    forged.insert("expired", issue(&world.keys, demo.url().as_str(), START - 61));
    for (name, assertion) in forged {
        let mut request = world.client.post(demo.url().clone()).body(body.clone());
        if let Some(assertion) = assertion {
            request = request.header("x-doorward-assertion", assertion);
        }
        assert_eq!(request.send().await.unwrap().status(), 403, "{name}");
    }
    let good = issue(&world.keys, demo.url().as_str(), START).unwrap();
    let response =
        world.client.post(demo.url().clone()).header("x-doorward-assertion", good).body(body).send().await.unwrap();
    assert_ne!(response.status(), 403);
}

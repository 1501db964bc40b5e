//! The official Rust client, in process: 401, discovery, registration, login, calls, refresh.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rmcp::model::{CallToolRequestParams, CallToolResult, ProgressNotificationParam};
use rmcp::service::{NotificationContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::{
    AuthClient, AuthError, AuthorizationManager, AuthorizationRequest, CredentialStore, OAuthState, StoredCredentials,
};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, RoleClient, ServiceExt};
use serde_json::{Value, json};

use crate::process::{node, run};

/// Every credential set the client saved, in order.
#[derive(Clone, Default)]
struct Saved(Arc<Mutex<Vec<StoredCredentials>>>);

#[async_trait]
impl CredentialStore for Saved {
    async fn load(&self) -> Result<Option<StoredCredentials>, AuthError> {
        Ok(self.0.lock().expect("no panic").last().cloned())
    }

    async fn save(&self, credentials: StoredCredentials) -> Result<(), AuthError> {
        self.0.lock().expect("no panic").push(credentials);
        Ok(())
    }

    async fn clear(&self) -> Result<(), AuthError> {
        self.0.lock().expect("no panic").clear();
        Ok(())
    }
}

impl Saved {
    /// A member of the newest token answer.
    fn newest(&self, member: &str) -> String {
        let saved = self.0.lock().expect("no panic");
        let answer = saved.last().and_then(|it| it.token_response.as_ref());
        let answer = serde_json::to_value(answer).expect("a JSON value");
        answer[member].as_str().expect("a token").to_owned()
    }
}

/// Counts progress notifications.
#[derive(Clone, Default)]
struct Handler {
    progress: Arc<AtomicUsize>,
}

impl ClientHandler for Handler {
    async fn on_progress(&self, _: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.fetch_add(1, Ordering::SeqCst);
    }
}

type Client = RunningService<RoleClient, Handler>;

/// The whole journey against `mcp_url`, with a pause of `wait` after which the access token has expired.
pub async fn journey(mcp_url: &str, wait: Duration) {
    // The TLS backend of the client wants a process-wide provider; another test may have installed it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let saved = Saved::default();
    let manager = log_in(mcp_url, saved.clone()).await;

    let http = reqwest::Client::builder().build().expect("an HTTP client");
    let transport = StreamableHttpClientTransport::with_client(
        AuthClient::new(http, manager),
        StreamableHttpClientTransportConfig::with_uri(mcp_url),
    );
    let handler = Handler::default();
    let client = handler.clone().serve(transport).await.expect("a connection");

    let names = call_tools(&client, "first").await;
    call_with_progress(&client, &names).await;
    // The client hands each notification to a task of its own, which may still be due.
    let seen = async {
        while handler.progress.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), seen).await.expect("progress while the tool runs");

    let (access, refresh) = (saved.newest("access_token"), saved.newest("refresh_token"));
    tokio::time::sleep(wait).await;
    call_tools(&client, "after expiry").await;
    assert_ne!(access, saved.newest("access_token"), "a new access token");
    assert_ne!(refresh, saved.newest("refresh_token"), "a rotated refresh token (REFR-3)");
    client.cancel().await.expect("a clean end");
}

async fn log_in(mcp_url: &str, saved: Saved) -> AuthorizationManager {
    let mut manager = AuthorizationManager::new(mcp_url).await.expect("a manager");
    manager.set_credential_store(saved);
    let mut state = OAuthState::Unauthorized(manager);
    let request = AuthorizationRequest::new("http://127.0.0.1:43120/callback").with_client_name("Interop Rust");
    state.start_authorization(request).await.expect("discovery and registration");
    let authorize = state.get_authorization_url().await.expect("a URL");
    let callback =
        tokio::task::spawn_blocking(move || run("robot.mjs", node("robot.mjs").arg(authorize), Duration::from_mins(5)))
            .await
            .expect("the robot");
    let callback = callback.lines().last().expect("the callback");
    state.handle_callback_url(callback).await.expect("the code exchange");
    state.into_authorization_manager().expect("authorized")
}

async fn call(client: &Client, name: &str, arguments: Value) -> CallToolResult {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    client
        .call_tool(CallToolRequestParams::new(name.to_owned()).with_arguments(arguments))
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

async fn call_tools(client: &Client, turn: &str) -> Vec<String> {
    let tools = client.list_all_tools().await.expect("tools/list");
    let names: Vec<String> = tools.iter().map(|tool| tool.name.to_string()).collect();
    assert!(names.iter().any(|name| name == "echo"), "{names:?}");
    let message = format!("hello {turn}");
    let echo = call(client, "echo", json!({ "message": message })).await;
    let text = echo.content.first().and_then(|part| part.as_text());
    assert!(text.is_some_and(|text| text.text.contains(&message)), "{echo:?}");
    if names.iter().any(|name| name == "whoami") {
        let whoami = call(client, "whoami", json!({})).await;
        assert_ne!(whoami.is_error, Some(true), "{whoami:?}");
    }
    names
}

async fn call_with_progress(client: &Client, names: &[String]) {
    if names.iter().any(|name| name == "count") {
        call(client, "count", json!({ "to": 3 })).await;
    } else {
        let arguments = json!({ "duration": 1, "steps": 3 });
        call(client, "trigger-long-running-operation", arguments).await;
    }
}

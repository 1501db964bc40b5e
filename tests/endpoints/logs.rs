//! What the log tells of sign-ins and decisions (OPS-3, IDP-6), and what it never tells (SEC-1).

use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};

use serde_json::Value;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::fmt::MakeWriter;

use crate::fake_workos::{API_KEY, CLIENT_ID, FakeWorkOs};
use crate::support::browser::Browser;
use crate::support::flow::TestClient;
use crate::support::gateway::{Options, TestGateway};

/// Everything that is logged on this thread.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    pub fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        // Beside one subscriber alone, whoever meets an event first decides for every thread whether it counts, and most
        // threads here have no subscriber.
        static BESIDE: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));
        LazyLock::force(&BESIDE);
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt().json().with_writer(log.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The fields of the one line about `event`.
    pub fn fields_of(&self, event: &str) -> Value {
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].take());
        let mut found: Vec<Value> = lines.filter(|fields| fields["event"] == event).collect();
        assert_eq!(found.len(), 1, "{event} in\n{text}");
        found.remove(0)
    }
}

// REV-6, SEC-1
#[tokio::test]
async fn every_decision_stands_in_the_log_with_who_where_and_why_and_no_secret() {
    let gateway = TestGateway::start().await;
    let (log, _listening) = Log::listen();
    let client = TestClient::register(&gateway).await;
    let code = client.code("one").await;
    let tokens: Value = client.redeem(&code).await.json().await.unwrap();

    let registered = log.fields_of("mcp_auth_client_registered");
    assert_eq!((registered["clientId"].as_str(), &registered["outcome"]), (Some(&*client.id), &"success".into()));
    let issued = log.fields_of("mcp_auth_downstream_token_issued");
    assert_eq!((&issued["route"], &issued["clientId"]), (&"/mcp/one".into(), &client.id.as_str().into()));
    assert!(issued["subjectId"].is_string() && issued["grantId"].is_string(), "{issued}");
    let text = log.text();
    for secret in [&code, tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap()] {
        assert!(!text.contains(secret));
    }
}

// IDP-6
#[tokio::test]
async fn a_login_that_failed_stands_in_the_log_with_the_provider_and_the_reason() {
    let workos = FakeWorkOs::start().await;
    let policies = format!(
        r#"{{"policies": [{{"name": "login", "policyType": "mcp-workos-oauth-inbound", "handler": {{"options": {{
            "clientId": "{CLIENT_ID}", "clientSecret": "{API_KEY}", "apiUrl": "{}" }} }} }}]}}"#,
        workos.base()
    );
    let gateway = TestGateway::start_with(Options { policies: Some(policies), ..Options::default() }).await;
    let (log, _listening) = Log::listen();
    workos.behave(|behaviour| behaviour.fail = Some((503, String::new())));
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let back = client.consent_page(&browser, &client.authorize_url("one", &[]), "nobody").await;
    browser.get(back.redirect()).await;
    let failed = log.fields_of("mcp_auth_login_failed");
    assert_eq!(failed["provider"], "WorkOS");
    assert!(failed["error"].as_str().unwrap().contains("503"), "{failed}");
}

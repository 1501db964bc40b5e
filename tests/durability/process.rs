//! `doorward dev` as a process, and the journey of a client against it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use doorward::crypto::{base64url, sha256};
use reqwest::Client;
use serde_json::{Value, json};

use crate::browser::{self, Browser, Page};

pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const REDIRECT: &str = "http://127.0.0.1:7777/callback";

/// `doorward dev` in a folder, which can be killed and started again.
pub struct Process {
    child: Child,
    pub origin: String,
    folder: std::path::PathBuf,
    environment: BTreeMap<String, String>,
    port: u16,
}

impl Process {
    pub async fn start(folder: &Path) -> Self {
        Self::start_in(folder, BTreeMap::new()).await
    }

    /// In an environment of these variables and no others.
    pub async fn start_in(folder: &Path, environment: BTreeMap<String, String>) -> Self {
        let port = crate::ports::free_port();
        let mut process = Self {
            child: spawn(folder, &environment, port),
            origin: format!("http://localhost:{port}"),
            folder: folder.into(),
            environment,
            port,
        };
        process.wait().await;
        process
    }

    /// SIGKILL, then a new process on the same store and port.
    pub async fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.folder, &self.environment, self.port);
        self.wait().await;
    }

    pub async fn wait(&mut self) {
        let http = http();
        for _ in 0..2_400 {
            if http.get(format!("{}/readyz", self.origin)).send().await.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the gateway has stopped");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the gateway does not become ready");
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, environment: &BTreeMap<String, String>, port: u16) -> Child {
    Command::new(env!("CARGO_BIN_EXE_doorward"))
        .env_clear()
        .envs(environment)
        .current_dir(folder)
        .args(["dev", "--log-level", "warn", "--metrics-listen", "off", "--listen", &format!("127.0.0.1:{port}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

pub fn http() -> Client {
    browser::client()
}

pub async fn form(url: &str, fields: &[(&str, &str)]) -> Value {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = http().post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
    let response = request.send().await.unwrap();
    let status = response.status();
    let body = response.text().await.unwrap();
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap_or(Value::Null)
}

pub async fn initialize(process: &Process, token: &str) -> reqwest::Response {
    let params =
        json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    http()
        .post(process.url("/mcp/demo"))
        .bearer_auth(token)
        .header("accept", "application/json, text/event-stream")
        .json(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }))
        .send()
        .await
        .unwrap()
}

pub fn authorize_url(process: &Process, client_id: &str) -> String {
    let challenge = base64url(&sha256(VERIFIER.as_bytes()));
    let params = [
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", REDIRECT),
        ("state", "s"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    process.url(&format!("/oauth/authorize?{query}"))
}

pub async fn approve(process: &Process, browser: &Browser, page: &Page) -> Page {
    let (transaction, csrf) = (page.field("transaction"), page.field("csrf"));
    let fields = [("transaction", transaction.as_str()), ("csrf", &csrf), ("decision", "approve")];
    browser.post(&process.url("/oauth/consent"), &fields).await
}

pub async fn refresh(process: &Process, client_id: &str, tokens: &Value) -> Value {
    let token = tokens["refresh_token"].as_str().unwrap();
    let fields = [("grant_type", "refresh_token"), ("client_id", client_id), ("refresh_token", token)];
    form(&process.url("/oauth/token"), &fields).await
}

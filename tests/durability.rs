//! `kill -9` between any two steps of the journey loses nothing (STORE-2, REFR-11): the real binary, a real
//! SIGKILL, the same store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]
#![allow(clippy::disallowed_methods, reason = "a test drives processes and waits for them")]

#[path = "support/browser.rs"]
mod browser;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use doorward::crypto::{base64url, sha256};
use reqwest::Client;
use serde_json::{Value, json};

use browser::{Browser, Page, param_of};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const REDIRECT: &str = "http://127.0.0.1:7777/callback";

/// `doorward dev` in a folder, which can be killed and started again.
struct Process {
    child: Child,
    origin: String,
    folder: std::path::PathBuf,
    port: u16,
}

impl Process {
    async fn start(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut process = Self {
            child: spawn(folder, port),
            origin: format!("http://localhost:{port}"),
            folder: folder.into(),
            port,
        };
        process.wait().await;
        process
    }

    /// SIGKILL, then a new process on the same store and port.
    async fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.folder, self.port);
        self.wait().await;
    }

    async fn wait(&mut self) {
        let http = http();
        for _ in 0..200 {
            if http.get(format!("{}/readyz", self.origin)).send().await.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the gateway has stopped");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the gateway does not become ready");
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// With an empty environment, as on a machine that has never seen it.
fn spawn(folder: &Path, port: u16) -> Child {
    Command::new(env!("CARGO_BIN_EXE_doorward"))
        .env_clear()
        .current_dir(folder)
        .args(["dev", "--log-level", "warn", "--listen", &format!("127.0.0.1:{port}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn http() -> Client {
    browser::client()
}

async fn form(url: &str, fields: &[(&str, &str)]) -> Value {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = http().post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
    let response = request.send().await.unwrap();
    let status = response.status();
    let body = response.text().await.unwrap();
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap_or(Value::Null)
}

async fn initialize(process: &Process, token: &str) -> reqwest::Response {
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

// STORE-2, STORE-1, SEC-4, OPS-10: an empty folder, an empty environment, and a crash after each step.
#[tokio::test]
async fn a_crash_between_any_two_steps_of_the_journey_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path()).await;
    let browser = Browser::new();

    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    let registered = http().post(process.url("/oauth/register")).json(&body).send().await.unwrap();
    let registered: Value = registered.json().await.unwrap();
    let id = registered["client_id"].as_str().unwrap().to_owned();
    process.crash().await;

    let start = browser.get(&authorize_url(&process, &id)).await;
    process.crash().await;
    let transaction = start.field("transaction");
    let fields = [("transaction", transaction.as_str()), ("decision", "continue")];
    let to_provider = browser.post(&process.url("/oauth/consent"), &fields).await;
    process.crash().await;

    let state = param_of(to_provider.redirect(), "state").unwrap();
    let fields = [("state", state.as_str()), ("person", "member")];
    let from_provider = browser.post(&process.url("/oauth/dev-login"), &fields).await;
    process.crash().await;
    let back = browser.get(from_provider.redirect()).await;
    process.crash().await;

    let consent = browser.get(back.redirect()).await;
    process.crash().await;
    let approved = approve(&process, &browser, &consent).await;
    process.crash().await;
    // The person presses Approve again, because the first answer may never have arrived (CONS-12).
    assert_eq!(approve(&process, &browser, &consent).await.location, approved.location);
    process.crash().await;

    let code = approved.param("code").unwrap();
    let fields =
        [("grant_type", "authorization_code"), ("client_id", &id), ("code", &code), ("code_verifier", VERIFIER)];
    let tokens = form(&process.url("/oauth/token"), &fields).await;
    process.crash().await;
    assert_eq!(initialize(&process, tokens["access_token"].as_str().unwrap()).await.status(), 200);

    // REFR-7, REFR-11: the answer to a refresh is lost in the crash; the same token answers again, alike.
    let first = refresh(&process, &id, &tokens).await;
    process.crash().await;
    let again = refresh(&process, &id, &tokens).await;
    assert_eq!(first["refresh_token"], again["refresh_token"]);
    process.crash().await;
    let next = refresh(&process, &id, &again).await;
    assert_eq!(initialize(&process, next["access_token"].as_str().unwrap()).await.status(), 200);

    let fields = [("client_id", id.as_str()), ("token", next["refresh_token"].as_str().unwrap())];
    form(&process.url("/oauth/revoke"), &fields).await;
    process.crash().await;
    // Revocation survives as well: the new process has read it from the store.
    let mut status = 0;
    for _ in 0..30 {
        status = initialize(&process, next["access_token"].as_str().unwrap()).await.status().as_u16();
        if status == 401 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(status, 401);
}

fn authorize_url(process: &Process, client_id: &str) -> String {
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

async fn approve(process: &Process, browser: &Browser, page: &Page) -> Page {
    let (transaction, csrf) = (page.field("transaction"), page.field("csrf"));
    let fields = [("transaction", transaction.as_str()), ("csrf", &csrf), ("decision", "approve")];
    browser.post(&process.url("/oauth/consent"), &fields).await
}

async fn refresh(process: &Process, client_id: &str, tokens: &Value) -> Value {
    let token = tokens["refresh_token"].as_str().unwrap();
    let fields = [("grant_type", "refresh_token"), ("client_id", client_id), ("refresh_token", token)];
    form(&process.url("/oauth/token"), &fields).await
}

// STORE-11
#[tokio::test]
async fn a_second_dev_in_the_same_folder_says_why_it_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let _running = Process::start(folder.path()).await;
    let second = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .env_clear()
        .current_dir(folder.path())
        .args(["dev", "--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && text.contains("another doorward already runs"), "{text}");
}

// The folder and its files are for this user alone, and out of version control (gateway.md §1).
#[cfg(unix)]
#[tokio::test]
async fn the_project_folder_keeps_its_secrets_to_itself() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let _running = Process::start(folder.path()).await;
    let home = folder.path().join(".doorward");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home), 0o700);
    for entry in std::fs::read_dir(&home).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    assert_eq!(std::fs::read_to_string(home.join(".gitignore")).unwrap(), "*\n");
}

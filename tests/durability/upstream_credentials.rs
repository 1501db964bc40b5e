//! Credentials of servers behind survive what happens to processes (gateway.md §8): `kill -9` on the way to a connection
//! and while its tokens are renewed, and two processes that renew at once. The real binary, at servers that forgive
//! nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fake_upstream::{Endpoint, FakeUpstream, Fault};
use crate::fake_workos::{self, FakeWorkOs};
use crate::person::{Person, waits};
use crate::ports::free_port;
use crate::postgres::Postgres;
use crate::process::http;

const SECRET_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEXT_SECRET_KEY: &str = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
/// The answer to a call for which the person must visit a page first.
const NOT_CONNECTED: i64 = -32042;

/// `doorward serve` with a route `/mcp/SLUG` for each server behind, and somebody who signs in at a double of WorkOS.
struct Gateway {
    child: Child,
    folder: PathBuf,
    /// Where it listens; the origin may be another's.
    port: u16,
    origin: String,
    database: String,
    /// The first seals, all open.
    secret_keys: String,
}

impl Gateway {
    async fn start(folder: &Path, login: &FakeWorkOs, upstreams: &[(&str, &FakeUpstream)]) -> Self {
        write_config(folder, &login.base(), upstreams);
        let port = free_port();
        let origin = format!("http://localhost:{port}");
        Self::run(folder, port, origin, "sqlite://gateway.db".to_owned()).await
    }

    async fn run(folder: &Path, port: u16, origin: String, database: String) -> Self {
        let secret_keys = SECRET_KEY.to_owned();
        let child = spawn(folder, port, &origin, &database, &secret_keys);
        let mut gateway = Self { child, folder: folder.to_owned(), port, origin, database, secret_keys };
        gateway.wait().await;
        gateway
    }

    /// Another process of the same gateway: same database, same origin, another port.
    async fn replica(&self) -> Self {
        Self::run(&self.folder, free_port(), self.origin.clone(), self.database.clone()).await
    }

    /// SIGKILL, then a new process on the same store and port.
    async fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.folder, self.port, &self.origin, &self.database, &self.secret_keys);
        self.wait().await;
    }

    async fn wait(&mut self) {
        let ready = format!("http://localhost:{}/readyz", self.port);
        for _ in 0..2_400 {
            if http().get(&ready).send().await.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the gateway has stopped:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the gateway does not become ready:\n{}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join(format!("{}.log", self.port))).unwrap_or_default()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Calls a tool as whoever holds the token: the whole answer.
    async fn call(&self, slug: &str, access_token: &str) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "whoami" } });
        let request = http()
            .post(format!("http://localhost:{}/mcp/{slug}", self.port))
            .header("host", self.origin.trim_start_matches("http://"))
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25")
            .bearer_auth(access_token)
            .json(&body);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}\n{}", self.log()))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, port: u16, origin: &str, database: &str, secret_keys: &str) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join(format!("{port}.log"))).unwrap();
    Command::new(env!("CARGO_BIN_EXE_doorward"))
        .env_clear()
        .env("LOGIN_SECRET", fake_workos::API_KEY)
        .current_dir(folder)
        .args(["serve", "--metrics-listen", "off", "--secret-key", secret_keys])
        .args(["--listen", &format!("127.0.0.1:{port}"), "--public-url", origin, "--database-url", database])
        .args(["--upstream-allow", "127.0.0.0/8"])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn write_config(folder: &Path, login: &str, upstreams: &[(&str, &FakeUpstream)]) {
    let mut policies = vec![json!({
        "name": "login", "policyType": "mcp-workos-oauth-inbound", "handler": { "options": {
            "clientId": fake_workos::CLIENT_ID, "clientSecret": "$env(LOGIN_SECRET)", "apiUrl": login,
        } },
    })];
    let mut paths = BTreeMap::new();
    for (slug, upstream) in upstreams {
        let credential = format!("mcp-token-exchange-{slug}");
        policies.push(json!({
            "name": credential, "policyType": "mcp-token-exchange-inbound",
            "handler": { "options": { "authMode": "user-oauth" } },
        }));
        let route = json!({ "operationId": slug, "x-zuplo-route": {
            "corsPolicy": "none",
            "handler": { "export": "McpProxyHandler", "options": { "rewritePattern": upstream.mcp_url() } },
            "policies": { "inbound": ["login", credential] },
        } });
        paths.insert(format!("/mcp/{slug}"), json!({ "get,post": route }));
    }
    let config = folder.join("config");
    std::fs::create_dir_all(&config).unwrap();
    let policies = json!({ "policies": policies, "corsPolicies": [] });
    std::fs::write(config.join("policies.json"), policies.to_string()).unwrap();
    let routes = json!({ "openapi": "3.1.0", "info": { "title": "t", "version": "1" }, "paths": paths });
    std::fs::write(config.join("routes.oas.json"), routes.to_string()).unwrap();
}

fn account(answer: &Value) -> &Value {
    &answer["result"]["content"][0]["text"]
}

// EXT-6, STORE-2: a crash at each step of connecting leaves a way on, and a code that was redeemed in vain is not the end.
#[tokio::test]
async fn a_crash_between_any_two_steps_of_connecting_leaves_a_way_on() {
    let (folder, login, upstream) =
        (tempfile::tempdir().unwrap(), FakeWorkOs::start().await, FakeUpstream::start().await);
    let mut gateway = Gateway::start(folder.path(), &login, &[("one", &upstream)]).await;
    let person = Person::new(&gateway.origin).await;
    let consent = person.consent_page("one").await;
    assert!(waits(&consent), "{}", consent.text);
    gateway.crash().await;

    let away = person.press_connect("one", &consent).await;
    gateway.crash().await;
    let signed_in = person.browser.get(away.redirect()).await;

    // The code is redeemed, and the gateway dies before it sees the tokens.
    upstream.fail_next(Endpoint::Token, Fault::HeldAfter);
    let (browser, callback) = (person.browser.copy(), signed_in.redirect().to_owned());
    let lost = tokio::spawn(async move { browser.try_get(&callback).await.is_none() });
    upstream.wait_for_held(1).await;
    gateway.crash().await;
    upstream.release();
    assert!(lost.await.unwrap(), "the browser gets no answer");

    // The browser tries the same address again, finds that it is over, and goes back to the page before.
    let again = person.browser.get(signed_in.redirect()).await;
    assert!(!again.text.contains("upstream-") && again.status != 500, "{}", again.text);
    let consent = person.browser.get(&consent.url).await;
    assert!(waits(&consent), "nothing was connected by halves: {}", consent.text);
    let away = person.press_connect("one", &consent).await;
    let back = person.follow(away).await;
    gateway.crash().await;
    let token = person.approve(&back).await;
    gateway.crash().await;
    assert_eq!(account(&gateway.call("one", &token).await), "ada");
    assert_eq!(upstream.registrations().len(), 1, "the registration of before the crash is kept");
}

// EXT-6, REFR-11: whatever the authorization server had done when the gateway died, there is a way on: a renewal that it
// never saw is made, one whose answer is lost is made again where the server allows it, and the person is asked where it
// does not. No other process may step in before the first has surely ended.
#[tokio::test]
async fn a_crash_while_tokens_are_renewed_costs_at_most_a_new_connection() {
    let (folder, login) = (tempfile::tempdir().unwrap(), FakeWorkOs::start().await);
    let (unseen, lenient, strict) =
        (FakeUpstream::start().await, FakeUpstream::start().await, FakeUpstream::start().await);
    lenient.behave(|behaviour| behaviour.superseded_works = true);
    let upstreams = [("unseen", &unseen), ("lenient", &lenient), ("strict", &strict)];
    let mut gateway = Gateway::start(folder.path(), &login, &upstreams).await;
    let person = Person::new(&gateway.origin).await;
    let mut tokens = Vec::new();
    for (slug, upstream) in upstreams {
        let token = person.connect(slug, slug).await;
        assert_eq!(account(&gateway.call(slug, &token).await), "ada");
        upstream.expire_access_tokens();
        upstream.fail_next(Endpoint::Token, if slug == "unseen" { Fault::HeldBefore } else { Fault::HeldAfter });
        tokens.push(token);
    }
    for ((slug, upstream), token) in upstreams.iter().zip(&tokens) {
        let request = http()
            .post(gateway.url(&format!("/mcp/{slug}")))
            .header("accept", "application/json, text/event-stream")
            .bearer_auth(token)
            .json(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }));
        tokio::spawn(request.send());
        upstream.wait_for_held(1).await;
    }
    gateway.crash().await;
    for (_, upstream) in upstreams {
        upstream.release();
    }

    let answers = [gateway.call("unseen", &tokens[0]), gateway.call("lenient", &tokens[1])];
    let (answers, refused) = tokio::join!(futures_util::future::join_all(answers), gateway.call("strict", &tokens[2]));
    for answer in answers {
        assert_eq!(account(&answer), "ada", "{answer}");
    }
    assert_eq!(refused["error"]["code"], NOT_CONNECTED, "{refused}");
    assert!(strict.carried_out().len() < 3, "nothing is done with a token that is gone");
}

// EXT-6, STORE-3: two processes and many calls with a token that has expired; the server revokes everything when it sees
// one refresh token twice.
#[tokio::test]
async fn of_two_processes_that_find_a_token_expired_one_renews_it() {
    let postgres = Postgres::shared().expect("a PostgreSQL server");
    let (folder, login, upstream) =
        (tempfile::tempdir().unwrap(), FakeWorkOs::start().await, FakeUpstream::start().await);
    write_config(folder.path(), &login.base(), &[("one", &upstream)]);
    let port = free_port();
    let origin = format!("http://localhost:{port}");
    let first = Gateway::run(folder.path(), port, origin, postgres.new_database()).await;
    let second = first.replica().await;
    let token = Person::new(&first.origin).await.connect("one", "one").await;
    let gateways = Arc::new([first, second]);
    for round in 1..=3 {
        upstream.expire_access_tokens();
        let calls = (0..24).map(|number| gateways[number % 2].call("one", &token));
        for answer in futures_util::future::join_all(calls).await {
            assert_eq!(account(&answer), "ada", "{answer}");
        }
        assert_eq!(upstream.granted("refresh_token"), round, "one renewal for all of them");
    }
    let logs = gateways.iter().map(Gateway::log).collect::<String>();
    for secret in upstream.secrets() {
        assert!(!logs.contains(&secret), "a secret of the upstream in the log");
    }
}

// EXT-6, SEC-2: what servers behind gave is sealed anew under the next secret key, and the one before can go.
#[tokio::test]
async fn connections_outlive_the_secret_key_that_they_were_made_under() {
    let folder = tempfile::tempdir().unwrap();
    let (login, upstream) = (FakeWorkOs::start().await, FakeUpstream::start().await);
    let mut gateway = Gateway::start(folder.path(), &login, &[("one", &upstream)]).await;
    let token = Person::new(&gateway.origin).await.connect("one", "one").await;
    let both = format!("{NEXT_SECRET_KEY},{SECRET_KEY}");
    gateway.secret_keys.clone_from(&both);
    gateway.crash().await;
    assert_eq!(account(&gateway.call("one", &token).await), "ada");
    let resealed = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .env_clear()
        .current_dir(folder.path())
        .args(["keys", "reseal", "--database-url", &gateway.database, "--secret-key", &both])
        .output()
        .unwrap();
    assert!(resealed.status.success(), "{}", String::from_utf8_lossy(&resealed.stderr));
    gateway.secret_keys = NEXT_SECRET_KEY.to_owned();
    gateway.crash().await;
    // The next token is asked for as the client that was registered under the old key.
    upstream.expire_access_tokens();
    assert_eq!(account(&gateway.call("one", &token).await), "ada");
    assert_eq!((upstream.granted("refresh_token"), upstream.registrations().len()), (1, 1));
}

//! Signals: SIGTERM lets go of what is under way in bounded time (OPS-5), SIGHUP reads the configuration again
//! (OPS-6). The real binary in front of an upstream that answers when the test says so.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::ports::free_port;
use crate::process::http;

const SECRET_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_mins(2);

/// `doorward serve` with public routes to one upstream.
struct Served {
    child: Child,
    folder: tempfile::TempDir,
    upstream: TcpListener,
    port: u16,
}

impl Served {
    async fn start(drain: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        write_config(folder.path(), &["one"], &format!("http://{}/mcp", upstream.local_addr().unwrap()));
        let port = free_port();
        let child = Command::new(env!("CARGO_BIN_EXE_doorward"))
            .env_clear()
            .current_dir(folder.path())
            .args(["serve", "--metrics-listen", "off", "--secret-key", SECRET_KEY])
            .args(["--listen", &format!("127.0.0.1:{port}"), "--public-url", &format!("http://localhost:{port}")])
            .args(["--drain-timeout", &drain.to_string()])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut served = Self { child, folder, upstream, port };
        served.until(async |served| served.get("/readyz").await == Some(200)).await;
        served
    }

    async fn get(&self, path: &str) -> Option<u16> {
        let answer = http().get(format!("http://localhost:{}{path}", self.port)).send().await;
        answer.ok().map(|answer| answer.status().as_u16())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    async fn until(&mut self, reached: impl AsyncFn(&Self) -> bool) {
        for _ in 0..2_400 {
            if reached(self).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not reached:\n{}", self.log());
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the process to end by itself.
    async fn ended(&mut self) -> ExitStatus {
        for _ in 0..2_400 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it does not end:\n{}", self.log());
    }

    /// Sends a call and gives both ends of it: the client's connection and the upstream's, whose request is read.
    async fn call(&self) -> (TcpStream, TcpStream) {
        let mut client = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let head = format!("POST /mcp/one HTTP/1.1\r\nhost: localhost:{}\r\ncontent-length: 2\r\n\r\n{{}}", self.port);
        client.write_all(head.as_bytes()).await.unwrap();
        let (upstream, _) = tokio::time::timeout(PATIENCE, self.upstream.accept()).await.unwrap().unwrap();
        let mut upstream = BufReader::new(upstream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            upstream.read_line(&mut line).await.unwrap();
        }
        upstream.read_exact(&mut [0; 2]).await.unwrap();
        (client, upstream.into_inner())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_config(folder: &Path, slugs: &[&str], upstream: &str) {
    let config = folder.join("config");
    std::fs::create_dir_all(&config).unwrap();
    let route = |slug: &str| {
        let handler = json!({ "export": "McpProxyHandler", "options": { "rewritePattern": upstream, "public": true } });
        let route = json!({ "corsPolicy": "none", "handler": handler, "policies": { "inbound": [] } });
        (format!("/mcp/{slug}"), json!({ "post": { "operationId": slug, "x-zuplo-route": route } }))
    };
    let paths: serde_json::Map<_, _> = slugs.iter().map(|slug| route(slug)).collect();
    let routes = json!({ "openapi": "3.1.0", "info": { "title": "t", "version": "1" }, "paths": paths });
    std::fs::write(config.join("policies.json"), r#"{ "policies": [] }"#).unwrap();
    std::fs::write(config.join("routes.oas.json"), routes.to_string()).unwrap();
}

/// All that comes until the other side closes.
async fn rest(connection: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A stream that is cut may end in a reset.
    let _ = tokio::time::timeout(PATIENCE, connection.read_to_end(&mut bytes)).await.expect("it ends");
    String::from_utf8_lossy(&bytes).into_owned()
}

// OPS-5
#[tokio::test]
async fn at_sigterm_nobody_is_let_in_any_more_and_a_call_under_way_is_answered() {
    let mut served = Served::start(600).await;
    let (mut client, mut upstream) = served.call().await;
    served.signal("TERM");
    served.until(async |served| served.get("/readyz").await.is_none()).await;
    assert!(served.child.try_wait().unwrap().is_none(), "it waits for the call");
    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("done"), "{answer}");
    assert_eq!(served.ended().await.code(), Some(0), "{}", served.log());
}

// OPS-5
#[tokio::test]
async fn a_stream_that_goes_on_for_ever_does_not_hold_up_the_end() {
    let mut served = Served::start(1).await;
    let (mut client, mut upstream) = served.call().await;
    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n").await.unwrap();
    let mut head = BufReader::new(&mut client);
    let mut line = String::new();
    while !line.contains("data: 1") {
        line.clear();
        assert!(head.read_line(&mut line).await.unwrap() > 0);
    }
    served.signal("TERM");
    assert_eq!(served.ended().await.code(), Some(0), "{}", served.log());
    rest(&mut client).await;
}

// OPS-6
#[tokio::test]
async fn at_sighup_the_new_configuration_counts_a_bad_one_does_not_and_streams_go_on() {
    let mut served = Served::start(1).await;
    let address = format!("http://{}/mcp", served.upstream.local_addr().unwrap());
    let (mut client, mut upstream) = served.call().await;
    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n").await.unwrap();

    assert_eq!((put(&served, "one").await, put(&served, "two").await), (405, 404));
    write_config(served.folder.path(), &["one", "two"], &address);
    served.signal("HUP");
    served.until(async |served| served.log().contains("config_reloaded")).await;
    assert_eq!(put(&served, "two").await, 405, "{}", served.log());

    std::fs::write(served.folder.path().join("config/routes.oas.json"), r#"{ "openapi": 3 "#).unwrap();
    served.signal("HUP");
    served.until(async |served| served.log().contains("config_refused")).await;
    assert!(served.log().contains("routes.oas.json:1:"), "the log names the place: {}", served.log());
    assert_eq!(put(&served, "two").await, 405, "the one before stays in force");

    upstream.write_all(b"data: after both\n\n").await.unwrap();
    let mut lines = BufReader::new(&mut client);
    let mut line = String::new();
    while !line.contains("after both") {
        line.clear();
        assert!(lines.read_line(&mut line).await.unwrap() > 0, "the stream has ended");
    }
}

/// A route refuses the method, what is no route is not found.
async fn put(served: &Served, slug: &str) -> u16 {
    let url = format!("http://localhost:{}/mcp/{slug}", served.port);
    http().put(url).send().await.unwrap().status().as_u16()
}

// OPS-12
#[tokio::test]
async fn the_id_that_a_client_was_told_finds_its_line_in_the_log() {
    let mut served = Served::start(1).await;
    let refused = http().put(format!("http://localhost:{}/mcp/one", served.port)).send().await.unwrap();
    let id = refused.headers()["x-request-id"].to_str().unwrap().to_owned();
    let line = |log: &str| {
        log.split_inclusive('\n').find(|line| line.contains(&id) && line.ends_with('\n')).map(str::to_owned)
    };
    served.until(async |served| line(&served.log()).is_some()).await;
    let line: serde_json::Value = serde_json::from_str(&line(&served.log()).unwrap()).unwrap();
    assert_eq!(line["requestId"], id.as_str());
    assert_eq!((&line["event"], &line["reasonCode"]), (&json!("mcp_request_rejected"), &json!("method_not_allowed")));
}

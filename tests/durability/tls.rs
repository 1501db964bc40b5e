//! TLS of the gateway itself: both versions of HTTP by ALPN, and a certificate that is renewed under open connections
//! (OPS-6). The real binary.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::{Certificate, Client, Version};

use crate::ports::free_port;

const SECRET_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// `doorward serve` with a certificate, killed when dropped.
struct Served {
    child: Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a new certificate for `localhost`; gives it as a root to trust.
fn certify(folder: &Path) -> Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    Certificate::from_der(made.cert.der()).unwrap()
}

fn client(root: &Certificate) -> reqwest::ClientBuilder {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::builder().no_proxy().tls_certs_only([root.clone()])
}

/// Starts it; it is not ready yet.
fn start(folder: tempfile::TempDir, more: &[&str]) -> Served {
    let config = folder.path().join("config");
    std::fs::create_dir(&config).unwrap();
    std::fs::write(config.join("policies.json"), r#"{ "policies": [], "corsPolicies": [] }"#).unwrap();
    let routes = r#"{ "openapi": "3.1.0", "info": { "title": "t", "version": "1" }, "paths": { "/mcp/one": { "post": {
        "operationId": "one", "x-doorward-route": { "corsPolicy": "none", "policies": { "inbound": [] }, "handler": {
        "export": "McpProxyHandler", "options": { "rewritePattern": "http://127.0.0.1:9/mcp", "public": true } } } } } } }"#;
    std::fs::write(config.join("routes.oas.json"), routes).unwrap();
    let port = free_port();
    let url = format!("https://localhost:{port}");
    let child = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .env_clear()
        .current_dir(folder.path())
        .args(["serve", "--metrics-listen", "off", "--secret-key", SECRET_KEY, "--public-url", &url])
        .args(["--listen", &format!("127.0.0.1:{port}"), "--tls-cert", "cert.pem", "--tls-key", "key.pem"])
        .args(more)
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    Served { child, url, folder }
}

fn is_healthy(served: &Served, more: &[&str]) -> bool {
    let address = served.url.replace("https://localhost", "127.0.0.1");
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
    let output = command.env_clear().args(["healthcheck", "--listen", &address]).args(more).output().unwrap();
    output.status.success()
}

async fn until(served: &Served, reached: impl AsyncFn() -> bool) {
    for _ in 0..2_400 {
        if reached().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not reached:\n{}", std::fs::read_to_string(served.folder.path().join("log")).unwrap());
}

// OPS-6, PROX-4
#[tokio::test]
async fn alpn_chooses_the_version_and_a_renewed_certificate_cuts_nobody_off() {
    let folder = tempfile::tempdir().unwrap();
    let old = certify(folder.path());
    let served = start(folder, &[]);
    until(&served, async || is_healthy(&served, &[])).await;
    let (either, only_http1) =
        (client(&old).build().unwrap(), client(&old).http1_only().pool_max_idle_per_host(1).build().unwrap());
    let version = async |client: &Client| {
        let answer = client.get(format!("{}/healthz", served.url)).send().await.ok()?;
        Some((answer.status().as_u16(), answer.version()))
    };
    assert_eq!(version(&either).await, Some((200, Version::HTTP_2)));
    assert_eq!(version(&only_http1).await, Some((200, Version::HTTP_11)));

    let new = certify(served.folder.path());
    let sent = Command::new("sh").args(["-c", &format!("kill -HUP {}", served.child.id())]).status().unwrap();
    assert!(sent.success());
    until(&served, async || version(&client(&new).build().unwrap()).await.is_some()).await;
    assert_eq!(version(&client(&old).build().unwrap()).await, None, "who connects now sees the new one");
    assert_eq!(version(&either).await, Some((200, Version::HTTP_2)), "who is connected goes on");
    assert_eq!(version(&only_http1).await, Some((200, Version::HTTP_11)));
}

// OPS-3
#[tokio::test]
async fn the_health_check_speaks_as_the_listener_does() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let served = start(folder, &["--proxy-protocol"]);
    until(&served, async || is_healthy(&served, &["--proxy-protocol"])).await;
    assert!(!is_healthy(&served, &[]), "a connection that does not say whose it is is closed");
}

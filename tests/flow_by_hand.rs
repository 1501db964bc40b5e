//! `docs/manual-oauth-testing.md`, run as it stands against `doorward dev`.

#![allow(clippy::expect_used, reason = "a test stops where it cannot go on")]

#[path = "support/ports.rs"]
mod ports;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// A gateway that ends with its test.
struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Gateway {
    fn start(folder: &Path, port: u16) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_doorward"))
            .current_dir(folder)
            .env_remove("WORKOS_CLIENT_ID")
            .env_remove("WORKOS_CLIENT_SECRET")
            .env_remove("WORKOS_API_KEY")
            .arg("dev")
            .args(["--metrics-listen", "off"])
            .arg(folder)
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let gateway = Self(child);
        let ready = (0..1_200).any(|_| {
            pause();
            is_ready(port)
        });
        assert!(ready, "the gateway was not ready within two minutes");
        gateway
    }
}

#[expect(clippy::disallowed_methods, reason = "no runtime here")]
fn pause() {
    thread::sleep(Duration::from_millis(100));
}

fn is_ready(port: u16) -> bool {
    let mut head = [0; 12];
    TcpStream::connect(("127.0.0.1", port))
        .and_then(|mut stream| {
            write!(stream, "GET /readyz HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n")?;
            stream.read_exact(&mut head)
        })
        .is_ok_and(|()| head.ends_with(b"200"))
}

/// The `bash` blocks of a document, as one script.
fn script(document: &str) -> String {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in document.lines() {
        match line {
            "```bash" => inside = true,
            "```" => inside = false,
            line if inside => lines.push(line),
            _ => {}
        }
    }
    lines.join("\n")
}

// OPS-10, REFR-7
#[test]
fn the_flow_of_the_document_holds_from_the_first_challenge_to_revocation() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/manual-oauth-testing.md");
    let script = script(&fs::read_to_string(document).expect("the document is readable"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = ports::free_port();
    let _gateway = Gateway::start(folder.path(), port);

    let output = Command::new("bash")
        .args(["-c", &script])
        .env("GATEWAY", format!("http://localhost:{port}"))
        .output()
        .expect("bash starts");

    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.trim_end().ends_with("the whole flow holds"),
        "the script ended early after:\n{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

//! Servers that want OAuth and that nobody here wrote, straight.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

use crate::ports::free_port;
use crate::process::{Running, node, python, run};

const LIMIT: Duration = Duration::from_mins(4);
/// Seconds that an access token of the upstream lives.
const TTL: u64 = 4;
const PAST_TTL: u64 = 6;

/// What stands behind.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// The official TypeScript SDK, with its own authorization server.
    Sdk,
    /// The official Python SDK behind the certified `oidc-provider`.
    Provider,
}

/// A running server with its authorization server.
struct Protected {
    url: String,
    _running: Vec<Running>,
    _folder: TempDir,
}

impl Protected {
    fn start(kind: Kind) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let url = format!("http://localhost:{port}/mcp");
        let ttl = TTL.to_string();
        let (authorization, line) = match kind {
            Kind::Sdk => told("upstream_sdk", folder.path(), &[&port.to_string(), &ttl]),
            Kind::Provider => told("upstream_provider", folder.path(), &[&url, &ttl]),
        };
        let mut running = vec![authorization];
        if matches!(kind, Kind::Provider) {
            let mut command = python("upstream_guarded.py");
            command.args([&port.to_string(), &line.to_string()]);
            running.push(Running::start("upstream_guarded", folder.path(), &mut command));
        }
        if let Some(server) = running.last_mut() {
            server.wait_until(|| TcpStream::connect(("localhost", port)).is_ok());
        }
        Self { url, _running: running, _folder: folder }
    }
}

/// A script that says in one line where it is.
fn told(script: &str, folder: &Path, arguments: &[&str]) -> (Running, Value) {
    let mut command = node(&format!("{script}.mjs"));
    command.args(arguments);
    let (running, line) = Running::start_and_read_line(script, folder, &mut command);
    (running, serde_json::from_str(&line).expect("one line of JSON"))
}

/// That these servers demand OAuth, rotate refresh tokens and keep accounts apart, an official client shows without the
/// gateway.
#[rstest]
#[ignore = "needs the clients that ./test installs"]
fn a_server_that_wants_oauth_is_used_straight(#[values(Kind::Sdk, Kind::Provider)] kind: Kind) {
    let server = Protected::start(kind);
    let mut command = node("upstream_direct.mjs");
    command.arg(&server.url).arg(PAST_TTL.to_string());
    let said = run("upstream_direct.mjs", &mut command, LIMIT);
    assert!(said.contains("PASS"), "{said}");
}

//! Servers that want OAuth and that nobody here wrote, straight and through the gateway: per person, and shared.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ports::free_port;
use crate::process::{Running, node, python, run};
use crate::world::{Login, Setup, World, results};

const LIMIT: Duration = Duration::from_mins(10);
/// Seconds that an access token of the upstream lives.
const TTL: u64 = 4;
const PAST_TTL: u64 = 6;
/// The same where one token has to outlast several calls.
const ASSERTED_TTL: u64 = 20;
const PAST_ASSERTED_TTL: u64 = 22;
/// Seconds that one of the gateway lives here: it is not what is tested.
const LONG: u64 = 600;

/// What stands behind.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// The official TypeScript SDK, with its own authorization server.
    Sdk,
    /// The official Python SDK, with its own authorization server.
    PythonSdk,
    /// The official Python SDK behind the certified `oidc-provider`.
    Provider,
}

/// A running server with its authorization server.
struct Protected {
    url: String,
    /// Where a test sees what happened, and takes tokens back.
    control: String,
    _running: Vec<Running>,
    _folder: TempDir,
}

impl Protected {
    fn start(kind: Kind) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let url = format!("http://localhost:{port}/mcp");
        let ttl = TTL.to_string();
        let mut running = Vec::new();
        let mut line = json!({ "control": format!("http://localhost:{port}") });
        if matches!(kind, Kind::PythonSdk) {
            let mut command = python("upstream_sdk.py");
            running.push(Running::start("upstream_sdk", folder.path(), command.args([&port.to_string(), &ttl])));
        } else {
            let (authorization, told) = match kind {
                Kind::Provider => told("upstream_provider", folder.path(), &[&url, &ttl]),
                _ => told("upstream_sdk", folder.path(), &[&port.to_string(), &ttl]),
            };
            running.push(authorization);
            line = told;
        }
        if matches!(kind, Kind::Provider) {
            let mut command = python("upstream_guarded.py");
            command.args([&port.to_string(), &line.to_string()]);
            running.push(Running::start("upstream_guarded", folder.path(), &mut command));
        }
        if let Some(server) = running.last_mut() {
            server.wait_until(|| TcpStream::connect(("localhost", port)).is_ok());
        }
        let control = line["control"].as_str().expect("a control port").to_owned();
        Self { url, control, _running: running, _folder: folder }
    }

    /// A gateway in front of it, with these options of the policy.
    fn behind(&self, login: Login, options: &Value) -> World {
        in_front(&self.url, login, options)
    }
}

/// A gateway in front of the server at `url`, with these options of the policy.
fn in_front(url: &str, login: Login, options: &Value) -> World {
    let setup = Setup {
        gateway_options: json!({ "accessTokenTtlSeconds": LONG, "operators": { "emails": ["ada@example.com"] } }),
        upstreams: Some(Vec::new()),
        running: vec![("notes", url.to_owned())],
        credential: Some(options.clone()),
        arguments: ["--upstream-allow", "127.0.0.0/8", "--upstream-allow", "::1/128"].map(str::to_owned).to_vec(),
        ..Setup::default()
    };
    World::serve(login, setup)
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
fn a_server_that_wants_oauth_is_used_straight(#[values(Kind::Sdk, Kind::PythonSdk, Kind::Provider)] kind: Kind) {
    let server = Protected::start(kind);
    let mut command = node("upstream_direct.mjs");
    command.arg(&server.url).arg(PAST_TTL.to_string());
    let said = run("upstream_direct.mjs", &mut command, LIMIT);
    assert!(said.contains("PASS"), "{said}");
}

// EXT-6: each of two people connects an account of their own in Chromium, uses it past its tokens' life, loses it at the
// upstream, and connects again by the link in the refusal; neither ever sees anything of the other.
#[rstest]
#[ignore = "needs the clients that ./test installs"]
fn two_people_use_a_server_that_wants_oauth_each_with_their_own_account(
    #[values(Kind::Sdk, Kind::PythonSdk, Kind::Provider)] kind: Kind,
    #[values("v1", "v2")] sdk: &str,
) {
    let server = Protected::start(kind);
    let world = server.behind(Login::Emulator, &json!({ "authMode": "user-oauth", "displayName": "Notes" }));
    let pictures = results(&format!("upstreams-{kind:?}-{sdk}"));
    let mut command = node("upstream_people.mjs");
    command.args(["own", &world.mcp_url("notes"), sdk, &server.control, &PAST_TTL.to_string()]).arg(pictures);
    let said = run("upstream_people.mjs", &mut command, LIMIT);
    // Each era has its own way to send somebody to a page; the newer one is spoken where both ends know it.
    let told = if !matches!(kind, Kind::Sdk) && sdk == "v2" { "by a question" } else { "by an error" };
    assert!(said.contains(&format!("PASS own {sdk} told {told}")), "{said}");
}

// EXT-6
#[rstest]
#[ignore = "needs the clients that ./test installs"]
fn the_python_client_uses_a_server_that_wants_oauth_for_two_people(
    #[values(Kind::Sdk, Kind::PythonSdk, Kind::Provider)] kind: Kind,
) {
    let server = Protected::start(kind);
    let world = server.behind(Login::Emulator, &json!({ "authMode": "user-oauth", "displayName": "Notes" }));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = python("upstream_people.py");
    command.args([&world.mcp_url("notes"), &server.control, &PAST_TTL.to_string()]).arg(folder.path());
    let said = run("upstream_people.py", &mut command, LIMIT);
    assert!(said.contains("PASS"), "{said}");
}

// EXT-6: an operator connects once, everyone uses it, and only the operator can connect it again.
#[rstest]
#[ignore = "needs the clients that ./test installs"]
fn everyone_uses_what_an_operator_connected(#[values(Kind::Sdk, Kind::PythonSdk, Kind::Provider)] kind: Kind) {
    let server = Protected::start(kind);
    let world = server.behind(Login::Emulator, &json!({ "authMode": "shared-oauth", "displayName": "Notes" }));
    let pictures = results(&format!("upstreams-shared-{kind:?}"));
    let mut command = node("upstream_people.mjs");
    command.args(["shared", &world.mcp_url("notes"), "v2", &server.control, &PAST_TTL.to_string()]).arg(pictures);
    let said = run("upstream_people.mjs", &mut command, LIMIT);
    assert!(said.contains("PASS"), "{said}");
}

// EXT-6, EXT-2: nobody connects anything. The person signs in at a certified provider; a provider that asserts takes that
// ID token, and the authorization server of the official Python SDK takes the assertion.
#[rstest]
#[ignore = "needs the clients that ./test installs"]
fn a_server_that_takes_identity_assertions_knows_the_person(#[values("v1", "v2")] sdk: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_asserting, idp) = told("asserting_idp", folder.path(), &["gateway", "any"]);
    let port = free_port();
    let issuer = format!("http://localhost:{port}");
    let mut command = python("upstream_asserted.py");
    command.args([&port.to_string(), &idp.to_string(), &ASSERTED_TTL.to_string()]);
    let mut server = Running::start("upstream_asserted", folder.path(), &mut command);
    server.wait_until(|| TcpStream::connect(("localhost", port)).is_ok());
    let known_as =
        |method: &str, id: &Value, secret: &Value| json!({ "method": method, "clientId": id, "clientSecret": secret });
    let options = json!({ "authMode": "id-jag", "displayName": "Notes", "idJag": {
        "scopes": ["notes"],
        "idp": {
            "tokenUrl": format!("{}/token", idp["url"].as_str().expect("a URL")),
            "clientAuth": known_as("client_secret_post", &idp["clientId"], &idp["clientSecret"]),
        },
        "resourceAs": {
            "tokenUrl": format!("{issuer}/token"), "audience": issuer,
            "clientAuth": known_as("client_secret_post", &json!("gateway"), &json!("known to both")),
        },
    } });
    let world = in_front(&format!("{issuer}/mcp"), Login::OpenId("client_secret_basic"), &options);
    let pictures = results(&format!("upstreams-asserted-{sdk}"));
    let mut command = node("upstream_people.mjs");
    // The script asks for what was seen below this.
    let control = format!("{issuer}/seen?");
    command.args(["asserted", &world.mcp_url("notes"), sdk, &control, &PAST_ASSERTED_TTL.to_string()]).arg(pictures);
    let said = run("upstream_people.mjs", &mut command, LIMIT);
    assert!(said.contains("PASS"), "{said}");
}

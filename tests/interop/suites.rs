//! Suites and a browser that others wrote, and clients whose id is the URL of a document.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use crate::process::{Running, node, node_path, python, python_program, run, scratch};
use crate::world::{Dev, Login, PAST_EXPIRY, Setup, World, results};

const LIMIT: Duration = Duration::from_mins(4);

/// For suites that take a token once and keep it.
fn with_token_life(seconds: u64) -> Setup {
    Setup { gateway_options: json!({ "accessTokenTtlSeconds": seconds }), ..Setup::default() }
}

/// DISC-6, DISC-7, DISC-10, AUTHZ-12, CODE-12: the authorization suite passes at both issuers.
#[test]
#[ignore = "needs the clients that ./test installs"]
fn the_conformance_suite_accepts_the_authorization_server() {
    let world = World::serve(Login::Emulator, Setup::default());
    let mut command = node("conformance.mjs");
    command.arg("authorization").arg(world.mcp_url("python"));
    run("conformance.mjs authorization", &mut command, LIMIT);
}

/// STRM-9: every server scenario ends as it does straight at the upstream, in both eras.
#[test]
#[ignore = "needs the clients that ./test installs"]
fn the_conformance_suite_sees_no_difference_between_gateway_and_upstream() {
    let world = World::serve(Login::Emulator, with_token_life(600));
    let mut command = node("conformance.mjs");
    command.args(["server", &world.mcp_url("python")]).args(["--direct", &world.python_upstream]);
    run("conformance.mjs server", &mut command, LIMIT);
}

/// AUTHZ-8, CODE-11, CODE-12, REFR-3: a scanner signs in twice, for two routes, probes the endpoints and grades the gateway.
#[test]
#[ignore = "needs the clients that ./test installs"]
fn the_authorization_scanner_gives_its_best_grade() {
    let world = World::serve(Login::Emulator, with_token_life(600));
    let home = tempfile::tempdir().expect("a home for its tokens");
    let robot = format!("{} {} %s", node_path().display(), scratch().join("robot.mjs").display());
    let scanner = |arguments: &[&str]| {
        let mut command = python_program("mcp-authlab");
        command.args(arguments).arg(world.mcp_url("python")).arg("--no-color");
        command.env("BROWSER", &robot).env("HOME", home.path()).env("XDG_CONFIG_HOME", home.path());
        run("mcp-authlab", &mut command, LIMIT)
    };
    let other = world.mcp_url("everything");
    let logged_in = scanner(&["login", "--thorough", "--foreign-resource", &other]);
    let scanned = scanner(&["scan", "--fail-under", "A"]);
    for line in logged_in.lines().chain(scanned.lines()) {
        assert!(!line.trim_start().starts_with('✗'), "{line}\n{scanned}");
    }
}

/// STRM-9: a second opinion on 2026-07-28 finds the same through the gateway as straight at the upstream.
#[test]
#[ignore = "needs the clients that ./test installs"]
fn the_stateless_checker_sees_no_difference_between_gateway_and_upstream() {
    let world = World::serve(Login::Emulator, with_token_life(600));
    let token = run("obtain_token.mjs", node("obtain_token.mjs").arg(world.mcp_url("python")), LIMIT);
    let token: Value = serde_json::from_str(&token).expect("one line of JSON");
    let check = |url: &str| {
        let mut command = python_program("mcpcheck");
        command.arg(url).args(["--legacy-probes", "--probe", "all", "--no-color"]);
        command.env("MCPCHECK_TOKEN", token["accessToken"].as_str().expect("a token"));
        let said = run("mcpcheck", &mut command, LIMIT);
        // The heading names the URL and the last line the time it took.
        let lines = said.lines().filter(|line| !line.contains("http://localhost"));
        lines.map(|line| line.split(" in ").next().unwrap_or(line).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(check(&world.python_upstream), check(&world.mcp_url("python")));
}

/// CONS-10, CONS-11, CONS-12, OPS-10, REV-4: Chromium gets through login and consent, for loopback, private-use and https redirects.
#[test]
#[ignore = "needs the clients that ./test installs"]
fn a_person_with_chromium_logs_in_and_consents() {
    let dev = Dev::start();
    let mut command = node("chromium.mjs");
    command.arg(format!("{}/mcp/demo", dev.origin)).arg(results("chromium"));
    run("chromium.mjs", &mut command, LIMIT);
}

/// CORS-1, CORS-3, CORS-4, CORS-5, CORS-7: a page on an allowed origin of its own gets to a tool's answer, one on another gets nowhere.
#[rstest]
#[case::allowed("https://app.example", true)]
#[case::not_allowed("https://other.example", false)]
#[ignore = "needs the clients that ./test installs"]
fn a_page_of_an_allowed_origin_does_everything_in_chromium(#[case] origin: &str, #[case] allowed: bool) {
    let dev = Dev::for_pages_of("https://app.example");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = node("page.mjs");
    command.arg(format!("{}/mcp/everything", dev.origin)).arg(folder.path()).arg(origin);
    let output = command.output().expect("node runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.success(), allowed, "{said}{}", String::from_utf8_lossy(&output.stderr));
    let expected = if allowed { "session id read" } else { "failed: Failed to fetch" };
    assert!(said.contains(expected), "{said}");
}

/// DISC-20, AUTHZ-2, AUTHZ-10, CIMD-8, DCR-1, DCR-3, STAT-1: another suite's flow, and what it expects to be refused, for every way of being known.
#[rstest]
#[ignore = "needs the clients that ./test installs"]
fn the_mcpjam_suite_passes(
    #[values("dcr", "cimd", "preregistered")] registration: &str,
    #[values("2025-03-26", "2025-06-18", "2025-11-25")] revision: &str,
) {
    const DOCUMENT: &str = "https://client.example/oauth/mcpjam.json";
    const REDIRECT: &str = "http://127.0.0.1:3977/callback";
    const SECRET: &str = "a-secret-agreed-before-0123456789abcdef";
    let document = json!({
        "client_id": DOCUMENT,
        "client_name": "MCPJam",
        "redirect_uris": [REDIRECT],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    let options = json!({
        "accessTokenTtlSeconds": 600,
        // Clients of 2025-03-26 name no resource.
        "defaultRoute": "/mcp/python",
        "cimdDocuments": { DOCUMENT: &document },
        "clients": [{
            "clientId": "preregistered",
            "name": "MCPJam",
            "redirectUris": [REDIRECT],
            "clientSecret": SECRET,
        }],
    });
    let dev = Dev::auto_approving(&options);
    let mut command = node("mcpjam.mjs");
    command.arg(format!("{}/mcp/python", dev.origin)).args([registration, revision]);
    command.env("CLIENT_DOCUMENT", document.to_string()).env("CLIENT_SECRET", SECRET);
    run("mcpjam.mjs", &mut command, LIMIT);
}

/// IDP-16, WOS-16: signing out ends the session in WorkOS's emulator too, and the person comes back.
#[test]
#[ignore = "needs the clients that ./test installs"]
fn a_person_with_chromium_signs_out_here_and_at_workos() {
    let world = World::serve(Login::Emulator, Setup::default());
    run("chromium_sign_out.mjs", node("chromium_sign_out.mjs").arg(&world.origin), LIMIT);
}

/// CIMD-1 onwards: a document on a host that resolves to loopback, allowed by name, behind a private CA.
#[rstest]
#[case::python("python")]
#[case::typescript_v1("v1")]
#[case::typescript_v2("v2")]
#[case::claude_code("claude")]
#[ignore = "needs the clients that ./test installs"]
fn a_client_whose_id_is_a_document_registers_nothing(#[case] client: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_documents, line) =
        Running::start_and_read_line("cimd_server", folder.path(), node("cimd_server.mjs").arg(folder.path()));
    let told: Value = serde_json::from_str(&line).expect("one line of JSON");
    let port = told["port"].as_u64().expect("a port");
    let mut arguments = vec!["--outbound-ca-file".to_owned(), told["ca"].as_str().expect("a file").to_owned()];
    for host in ["claude.ai", "client.example"] {
        arguments.extend([
            "--outbound-resolve".to_owned(),
            format!("{host}:443=127.0.0.1:{port}"),
            "--cimd-allow".to_owned(),
            host.to_owned(),
        ]);
    }
    let world = World::serve(Login::Emulator, Setup { arguments, ..Setup::default() });
    let document = if client == "claude" {
        "https://claude.ai/oauth/claude-code-client-metadata"
    } else {
        "https://client.example/oauth/client.json"
    };
    let mut command = if client == "python" || client == "claude" {
        python("python_sdk.py")
    } else {
        let mut command = node("ts_sdk.mjs");
        command.args(["--sdk", client]);
        command
    };
    command.arg(world.mcp_url("python")).args(["--cimd", document]).args(["--wait", &PAST_EXPIRY.to_string()]);
    let said = run("a client with a document", &mut command, LIMIT);
    assert!(said.contains("PASS"), "{said}");
}

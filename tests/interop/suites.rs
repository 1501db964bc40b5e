//! Suites and a browser that others wrote, and clients whose id is the URL of a document.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use crate::process::{Running, node, node_path, python, python_program, run, run_to_end, scratch};
use crate::world::{Dev, Login, PAST_EXPIRY, Setup, World, results};

const LIMIT: Duration = Duration::from_mins(10);

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

/// STRM-9: every scenario ends as it does straight at the upstream, in both eras, and so say two suites of others.
#[rstest]
#[case::python_sdk("python")]
#[case::python_sdk_stateless("python-stateless")]
#[case::typescript_sdk("everything")]
#[case::rust_sdk("rmcp")]
#[case::rust_sdk_stateless("rmcp-stateless")]
#[ignore = "needs the clients that ./test installs"]
fn server_suites_see_no_difference_between_gateway_and_upstream(#[case] slug: &'static str) {
    let world = World::serve(Login::Emulator, Setup { upstreams: Some(vec![slug]), ..with_token_life(600) });
    let (direct, through) = (world.upstream_url(slug), world.mcp_url(slug));
    let mut command = node("conformance.mjs");
    command.args(["server", &through, "--direct", direct, "--record", slug]);
    run("conformance.mjs server", &mut command, LIMIT);

    let token = run("obtain_token.mjs", node("obtain_token.mjs").arg(&through), LIMIT);
    let token: Value = serde_json::from_str(&token).expect("one line of JSON");
    let token = token["accessToken"].as_str().expect("a token");
    for suite in ["mcpcheck", "mcpjam"] {
        let straight = said_by(suite, direct, token);
        let of_the_upstream = |lines: &[String]| {
            let is_own = |line: &&String| THE_GATEWAYS_OWN.iter().any(|own| line.contains(own));
            lines.iter().filter(|line| !is_own(line)).cloned().collect::<Vec<_>>()
        };
        let passed_on = said_by(suite, &through, token);
        assert_eq!(of_the_upstream(&straight), of_the_upstream(&passed_on), "{suite} at {slug}");
        let passed = straight.iter().filter(|line| line.starts_with("pass")).count();
        let record = &recorded()[suite][slug];
        assert_eq!(Some(passed), record.as_u64().and_then(|it| it.try_into().ok()), "{suite} at {slug}: {straight:#?}");
    }
}

/// The lines of a suite, without what differs between two runs. Whatever it finds of the upstream is the same twice.
fn said_by(suite: &str, url: &str, token: &str) -> Vec<String> {
    let (mut command, credential) = if suite == "mcpcheck" {
        let mut command = python_program("mcpcheck");
        command.args(["--legacy-probes", "--probe", "all", "--strict", "--json"]);
        (command, "MCPCHECK_TOKEN")
    } else {
        (node("mcpjam_server.mjs"), "MCP_TOKEN")
    };
    let (status, said, complaints) = run_to_end(suite, command.arg(url).env(credential, token), LIMIT);
    let mut lines: Vec<_> = if suite == "mcpcheck" {
        let report: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}{complaints}"));
        report["checks"].as_array().expect("checks").iter().map(line_of_check).collect()
    } else {
        said.lines().map(str::to_owned).collect()
    };
    assert!(!lines.is_empty(), "{complaints}");
    lines.push(format!("{status}"));
    lines
}

/// What the gateway does itself, whatever its upstream does: it tells made-up session ids from its own (STRM-6),
/// answers preflights (CORS-3), and turns strange Hosts away (CORS-6).
const THE_GATEWAYS_OWN: [&str; 3] =
    ["session.bogus_id_rejected_dual_era", "origin.cors_preflight_permissive", "localhost-host-rebinding-rejected"];

/// A check of mcpcheck with the codes of what it found; its details name times and ports.
fn line_of_check(check: &Value) -> String {
    let text = |member: &str| check[member].as_str().expect("a text").to_owned();
    let found = ["failures", "warnings", "info"].map(|kind| {
        let list = check[kind].as_array().expect("a list");
        let codes = list.iter().filter_map(|it| it["code"].as_str());
        codes.filter(|code| !THE_GATEWAYS_OWN.contains(code)).collect::<Vec<_>>().join(" ")
    });
    format!("{} {}: {} {found:?}", text("status"), text("name"), text("summary"))
}

/// What each server passes when it is asked straight.
fn recorded() -> Value {
    serde_json::from_str(include_str!("conformance.json")).expect("the counts on record")
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

//! Official clients that bring an identity assertion instead of a person with a browser.

use std::process::Command;
use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use crate::process::{Running, node, python, run};
use crate::world::{Login, Setup, World};

const LIMIT: Duration = Duration::from_mins(10);
/// Seconds an access token lives here: longer than the calls take that are to be made with one.
const ACCESS_TOKEN_TTL: u64 = 12;
const PAST_EXPIRY: u64 = 15;
const CLIENT: (&str, &str) = ("wiki", "the wiki's secret here: 0123456789");

/// EXT-2 from the outside: discovery, token exchange at the provider, the assertion, a tool call, and all of it again when
/// the token has expired.
#[rstest]
#[case::typescript("cross_app.mjs", node)]
#[case::python("identity_assertion.py", python)]
#[ignore = "needs the clients that ./test installs"]
fn an_official_client_brings_an_identity_assertion(#[case] script: &str, #[case] interpreter: fn(&str) -> Command) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = node("asserting_idp.mjs");
    let (_provider, line) = Running::start_and_read_line("asserting_idp", folder.path(), command.arg(CLIENT.0));
    let told: Value = serde_json::from_str(&line).expect("one line of JSON");
    let setup = Setup {
        gateway_options: json!({ "accessTokenTtlSeconds": ACCESS_TOKEN_TTL, "clients": [{
            "clientId": CLIENT.0, "clientSecret": CLIENT.1,
            "grantTypes": ["urn:ietf:params:oauth:grant-type:jwt-bearer"],
        }] }),
        login_options: json!({ "idJag": { "enabled": true, "trustedIssuers": [{ "issuer": told["url"] }] } }),
        upstreams: Some(vec!["python"]),
        ..Setup::default()
    };
    let world = World::serve(Login::Double, setup);
    let mut command = interpreter(script);
    command.args([&world.mcp_url("python"), CLIENT.0, CLIENT.1, &line, &PAST_EXPIRY.to_string()]);
    let said = run(script, &mut command, LIMIT);
    assert!(said.contains("PASS"), "{said}");
}

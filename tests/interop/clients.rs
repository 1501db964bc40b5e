//! Official clients × login providers: the whole journey, and a call after the access token expired.
//!
//! REFR-1, REFR-3, AUTHZ-12, DISC-1, DISC-10, DCR-2, STRM-5, IDP-12 from the outside.

use std::time::Duration;

use rstest::rstest;

use crate::process::{node, python, run};
use crate::rmcp_client;
use crate::world::{Login, PAST_EXPIRY, Setup, World};

const LIMIT: Duration = Duration::from_mins(10);

#[rstest]
#[case::dual_era("python", "auto")]
#[case::handshake_only("everything", "auto")]
#[case::legacy("python", "legacy")]
#[ignore = "needs the clients that ./test installs"]
fn the_python_client_logs_in_calls_and_refreshes(
    #[values(Login::Emulator, Login::Double)] login: Login,
    #[case] slug: &str,
    #[case] era: &str,
) {
    let mut world = World::serve(login, Setup::default());
    let mut command = python("python_sdk.py");
    command.arg(world.mcp_url(slug)).args(["--era", era, "--wait", &PAST_EXPIRY.to_string()]);
    let said = run("python_sdk.py", &mut command, LIMIT);
    assert!(said.contains("PASS"), "{said}");
    world.assert_provider_was_asked_again();
}

#[rstest]
#[ignore = "needs the clients that ./test installs"]
fn the_typescript_clients_log_in_call_and_refresh(
    #[values(Login::Emulator, Login::Double)] login: Login,
    #[values("v1", "v2")] sdk: &str,
    #[values("python", "everything")] slug: &str,
) {
    let mut world = World::serve(login, Setup::default());
    let mut command = node("ts_sdk.mjs");
    command.arg(world.mcp_url(slug)).args(["--sdk", sdk, "--wait", &PAST_EXPIRY.to_string()]);
    let said = run("ts_sdk.mjs", &mut command, LIMIT);
    assert!(said.contains("PASS"), "{said}");
    world.assert_provider_was_asked_again();
}

/// IDP-3, IDP-8, IDP-9 with a provider that is not ours: discovery, S256 and nonce, each way to authenticate, `iss` on
/// the callback, an ID token by RS256 and the address from userinfo.
#[rstest]
#[ignore = "needs the clients that ./test installs"]
fn people_sign_in_at_a_certified_oidc_provider(
    #[values("client_secret_basic", "client_secret_post", "private_key_jwt")] method: &'static str,
) {
    let world = World::serve(Login::OpenId(method), Setup::default());
    let mut command = node("ts_sdk.mjs");
    command.arg(world.mcp_url("python")).args(["--sdk", "v2", "--wait", &PAST_EXPIRY.to_string()]);
    let said = run("ts_sdk.mjs", &mut command, LIMIT);
    assert!(said.contains("PASS"), "{said}");
}

/// IDP-8 with policies that derive their endpoints: none of the provider's metadata can be had.
#[rstest]
#[ignore = "needs the clients that ./test installs"]
fn people_sign_in_at_a_certified_oidc_provider_that_stands_where_others_do(
    #[values("clerk", "keycloak", "logto")] provider: &'static str,
) {
    let world = World::serve(Login::Like(provider), Setup::default());
    let mut command = node("ts_sdk.mjs");
    command.arg(world.mcp_url("python")).args(["--sdk", "v2", "--wait", &PAST_EXPIRY.to_string()]);
    let said = run("ts_sdk.mjs", &mut command, LIMIT);
    assert!(said.contains("PASS"), "{said}");
}

// DISC-1, DISC-3, CHAL-1: in direct mode the client finds AuthKit by the metadata, and registers and signs in there.
#[rstest]
#[ignore = "needs the clients that ./test installs"]
fn the_typescript_clients_sign_in_at_authkit_itself(#[values("v1", "v2")] sdk: &str) {
    let world = World::serve(Login::AuthKit, Setup::default());
    let mut command = node("ts_sdk.mjs");
    command.arg(world.mcp_url("everything")).args(["--sdk", sdk]);
    let said = run("ts_sdk.mjs", &mut command, LIMIT);
    assert!(said.contains("PASS"), "{said}");
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the clients that ./test installs"]
async fn the_rust_client_logs_in_calls_and_refreshes(
    #[values(Login::Emulator, Login::Double)] login: Login,
    #[values("python", "everything")] slug: &str,
) {
    let mut world = tokio::task::spawn_blocking(move || World::serve(login, Setup::default())).await.expect("a world");
    let mcp_url = world.mcp_url(slug);
    let journey = rmcp_client::journey(&mcp_url, Duration::from_secs(PAST_EXPIRY));
    tokio::time::timeout(LIMIT, journey).await.expect("the journey ends in time");
    world.assert_provider_was_asked_again();
}

// STORE-3, STRM-6: two processes share a database and no memory, and no two requests in a row meet the same one.
#[rstest]
#[ignore = "needs the clients that ./test installs"]
fn two_replicas_without_sticky_sessions_finish_every_flow(#[values("v1", "v2")] sdk: &str) {
    let mut world = World::serve(Login::Double, Setup { replicas: 2, ..Setup::default() });
    let mut command = node("ts_sdk.mjs");
    command.arg(world.mcp_url("everything")).args(["--sdk", sdk, "--wait", &PAST_EXPIRY.to_string()]);
    let said = run("ts_sdk.mjs", &mut command, LIMIT);
    assert!(said.contains("PASS"), "{said}");
    world.assert_every_replica_served();
}

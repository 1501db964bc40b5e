//! The MCP servers of `examples/` that verify who calls, behind the gateway and without it.

use std::net::TcpStream;
use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use crate::ports::free_port;
use crate::process::{Running, node, run};
use crate::world::{Login, Setup, World, upstream};

const LIMIT: Duration = Duration::from_mins(10);

/// PROX-14, PROX-2: each of two people who call at once is told who they are, whatever their client says, and what
/// WorkOS says of them; without the gateway's assertion nobody gets in, not even with the gateway's token.
#[rstest]
#[ignore = "needs the clients that ./test installs"]
fn a_server_knows_each_of_its_callers(
    #[values("identity-typescript", "identity-python", "identity-rust")] slug: &'static str,
) {
    let people = [("ada@example.com", "Ada", "Byron"), ("bob@example.com", "Bob", "Kahn")];
    let world = World::serve(Login::Emulator, Setup { upstreams: Some(vec![slug]), ..Setup::default() });
    let told = said_to(&world, slug, &people.map(|(email, ..)| email));
    for (email, first_name, last_name) in people {
        let (info, user) = (&told[email]["get-user-info"], &told[email]["get-workos-user"]);
        assert_eq!(info["email"], email, "{told}");
        assert_eq!(info["name"], format!("{first_name} {last_name}"), "{told}");
        assert_eq!((&info["email_verified"], &user["email"]), (&json!(true), &json!(email)), "{told}");
        assert!(info["user_id"].as_str().is_some_and(|id| id.starts_with("user_")), "{told}");
        assert!(info["sub"].as_str().is_some_and(|id| id.starts_with("usr_")), "{told}");
        assert_eq!((&user["id"], &user["last_name"]), (&info["user_id"], &json!(last_name)), "{told}");
    }
}

/// PROX-14: what a person may do arrives as the provider says it.
#[rstest]
#[ignore = "needs the clients that ./test installs"]
fn a_server_knows_what_its_caller_may_do(
    #[values("identity-typescript", "identity-python", "identity-rust")] slug: &'static str,
) {
    let world = World::serve(Login::Double, Setup { upstreams: Some(vec![slug]), ..Setup::default() });
    let told = said_to(&world, slug, &["alice@example.com"]);
    let permissions = &told["alice@example.com"]["get-user-permissions"];
    assert_eq!(permissions["roles"], json!(["member", "auditor"]), "{told}");
    assert_eq!(permissions["permissions"], json!(["tools:read"]), "{told}");
    assert!(permissions["organization_id"].as_str().is_some_and(|id| id.starts_with("org_")), "{told}");
}

fn said_to(world: &World, slug: &str, people: &[&str]) -> Value {
    let mut command = node("identity_client.mjs");
    command.arg(world.mcp_url(slug)).arg(world.upstream_url(slug)).args(people);
    serde_json::from_str(&run("identity_client.mjs", &mut command, LIMIT)).expect("one line of JSON")
}

/// PROX-14, SEC-9: forged, foreign, old and borrowed assertions are refused, good ones of any published key are not.
#[rstest]
#[ignore = "needs the clients that ./test installs"]
fn a_server_refuses_every_forged_assertion(
    #[values("identity-typescript", "identity-python", "identity-rust")] slug: &str,
) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (port, keys_port) = (free_port(), free_port());
    let mut command = upstream(slug, port);
    command.env("DOORWARD_ISSUER", format!("http://localhost:{keys_port}"));
    let mut server = Running::start(slug, folder.path(), &mut command);
    server.wait_until(|| TcpStream::connect(("localhost", port)).is_ok());
    let mut forger = node("identity_forger.mjs");
    forger.arg(keys_port.to_string()).arg(format!("http://localhost:{port}/mcp"));
    let said = run("identity_forger.mjs", &mut forger, LIMIT);
    let (good, bad) = (said.matches("ok: good").count(), said.matches("ok: bad").count());
    assert!(good == 4 && bad == 27, "{said}");
}

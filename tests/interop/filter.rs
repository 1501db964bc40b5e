//! A capability filter before a server of others, as clients of others see it.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use crate::process::{node, run};
use crate::world::{Login, Setup, World};

const LIMIT: Duration = Duration::from_mins(10);

/// STRM-12: a member sees and uses what is for members, described as the gateway says, and nothing else is there.
#[rstest]
#[ignore = "needs the clients that ./test installs"]
fn a_client_sees_and_uses_what_its_person_may(#[values("v1", "v2")] sdk: &str) {
    let filter = json!({
        "accessControl": { "mode": "rolesAndGroups" },
        "tools": [
            { "name": "echo", "roles": ["admin", "member"], "description": "Says it again", "annotations": { "readOnlyHint": true } },
            { "name": "get-env", "roles": ["admin"] },
            { "name": "get-s*", "permissions": ["tools:read"] },
            "!get-structured-*",
        ],
        "prompts": [],
        "resources": [{ "uri": "demo://resource/static/*", "public": true }],
        "resourceTemplates": [{ "uriTemplate": "demo://resource/dynamic/text/{resourceId}", "roles": ["auditor"] }],
    });
    let upstreams = Some(vec!["everything"]);
    let world = World::serve(Login::Double, Setup { upstreams, filter: Some(filter), ..Setup::default() });
    let mut command = node("filtered_client.mjs");
    command.arg(world.mcp_url("everything")).arg(sdk).arg("alice@example.com");
    let told: Value = serde_json::from_str(&run("filtered_client.mjs", &mut command, LIMIT)).expect("one line of JSON");
    assert_eq!(told["tools"], json!(["echo", "get-sum"]), "{told}");
    assert_eq!((&told["description"], &told["readOnly"]), (&json!("Says it again"), &json!(true)), "{told}");
    assert_eq!(told["prompts"], json!([]), "{told}");
    assert!(told["resources"].as_array().is_some_and(|list| !list.is_empty()), "{told}");
    assert_eq!(told["templates"], json!(["demo://resource/dynamic/text/{resourceId}"]), "{told}");
    let used = json!({
        "echo": "ok", "get-sum": "ok", "get-env": -32601, "get-structured-content": -32601, "no-such-tool": -32601,
        "static": "ok", "text": "ok", "blob": -32601, "prompt": -32601,
    });
    assert_eq!(told["used"], used, "{told}");
}

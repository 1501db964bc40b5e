//! `set-headers-inbound`, `remove-headers-inbound`, `set-upstream-api-key-inbound` (gateway.md §3).

use doorward::config::{HeaderChange, Mode};
use http::{HeaderName, HeaderValue};
use insta::assert_snapshot;

use crate::folder_with_policies as folder;

const VARIABLES: &[(&str, &str)] =
    &[("SECRET", "sk_test_1"), ("KEY", "k-123"), ("EMPTY", ""), ("LINES", "k-456\nk-789"), ("HOST_NAME", "host")];

fn changes(policies: &[(&str, &str)]) -> Vec<HeaderChange> {
    folder(policies).load(VARIABLES, Mode::Serve).unwrap().config.routes.remove(0).header_changes
}

fn set(name: &'static str, value: &'static str, overwrite: bool) -> HeaderChange {
    let mut value = HeaderValue::from_static(value);
    value.set_sensitive(true);
    HeaderChange::Set { name: HeaderName::from_static(name), value, overwrite }
}

// PROX-1
#[test]
fn changes_stand_in_the_order_in_which_the_route_names_its_policies() {
    let made = changes(&[
        ("set-upstream-api-key-inbound", r#"{"value": "Bearer $env(KEY)"}"#),
        (
            "set-headers-inbound",
            r#"{"headers": [{"name": "X-Api-Key", "value": "$env(KEY)"}, {"name": "x-team", "value": "docs", "overwrite": false}]}"#,
        ),
        ("remove-headers-inbound", r#"{"headers": ["X-Debug", "content-type"]}"#),
        ("set-upstream-api-key-inbound", r#"{"header": "x-key", "value": "$env(KEY)", "overwrite": false}"#),
    ]);
    assert_eq!(
        made,
        [
            set("authorization", "Bearer k-123", true),
            set("x-api-key", "k-123", true),
            set("x-team", "docs", false),
            HeaderChange::Remove(HeaderName::from_static("x-debug")),
            HeaderChange::Remove(HeaderName::from_static("content-type")),
            set("x-key", "k-123", false),
        ]
    );
    assert!(!format!("{made:?}").contains("k-123"), "a value is never shown");
}

// PROX-1, SEC-8
#[test]
fn a_credential_that_is_written_out_is_noted_and_other_headers_are_not() {
    let notes = |kind, options| folder(&[(kind, options)]).report(VARIABLES, Mode::Check);
    for (kind, options) in [
        ("set-upstream-api-key-inbound", r#"{"value": "Bearer k-123"}"#),
        ("set-headers-inbound", r#"{"headers": [{"name": "X-API-Key", "value": "k-123"}]}"#),
    ] {
        let said = notes(kind, options);
        assert!(said.contains("`value` is written out") && !said.contains("k-123"), "{said}");
    }
    for (kind, options) in [
        ("set-upstream-api-key-inbound", r#"{"value": "Bearer $env(KEY)"}"#),
        ("set-headers-inbound", r#"{"headers": [{"name": "x-team", "value": "docs"}]}"#),
    ] {
        let said = notes(kind, options);
        assert!(!said.contains("is written out"), "{said}");
    }
}

fn report(kind: &str, options: &str) -> String {
    folder(&[(kind, options)]).report(VARIABLES, Mode::Serve)
}

// PROX-2, PROX-3, PROX-14
#[test]
fn headers_that_no_policy_may_name_are_refused_in_every_spelling() {
    assert_snapshot!(report("set-headers-inbound", r#"{"headers": [
{"name": "Host", "value": "up.example.com"},
{"name": "$env(HOST_NAME)", "value": "x"},
{"name": "Transfer-Encoding", "value": "chunked"},
{"name": "Content-Length", "value": "0"},
{"name": "Mcp-Session-Id", "value": "s"},
{"name": "mcp_name", "value": "echo"},
{"name": "X-Forwarded-User", "value": "root"},
{"name": "x.doorward.assertion", "value": "forged"}
]}"#), @r#"
    error: `Host` is made from the URL of the server
     --> config/policies.json:6:10
      |
    6 | {"name": "Host", "value": "**************"},
      |          ^^^^^^
      = help: set the host in `rewritePattern`, and `addresses` if it runs elsewhere

    error: the value of the environment variable HOST_NAME is made from the URL of the server
     --> config/policies.json:7:10
      |
    7 | {"name": "$env(HOST_NAME)", "value": "*"},
      |          ^^^^^^^^^^^^^^^^^
      = help: set the host in `rewritePattern`, and `addresses` if it runs elsewhere

    error: `Transfer-Encoding` is about one connection, and the gateway makes its own
     --> config/policies.json:8:10
      |
    8 | {"name": "Transfer-Encoding", "value": "*******"},
      |          ^^^^^^^^^^^^^^^^^^^
      = help: leave it out; the client's never reaches the server

    error: `Content-Length` says how long the body is, which passes as it comes
     --> config/policies.json:9:10
      |
    9 | {"name": "Content-Length", "value": "*"},
      |          ^^^^^^^^^^^^^^^^
      = help: leave it out

    error: `Mcp-Session-Id` belongs to the conversation of client and server, and passes as it is
      --> config/policies.json:10:10
       |
    10 | {"name": "Mcp-Session-Id", "value": "*"},
       |          ^^^^^^^^^^^^^^^^
       = help: leave it out

    error: `mcp_name` belongs to the conversation of client and server, and passes as it is
      --> config/policies.json:11:10
       |
    11 | {"name": "mcp_name", "value": "****"},
       |          ^^^^^^^^^^
       = help: leave it out

    error: `X-Forwarded-User` tells the server who calls; what clients send under this name never reaches it
      --> config/policies.json:12:10
       |
    12 | {"name": "X-Forwarded-User", "value": "****"},
       |          ^^^^^^^^^^^^^^^^^^
       = help: set `forwardIdentity` in the handler's options of the route

    error: `x.doorward.assertion` tells the server who calls; what clients send under this name never reaches it
      --> config/policies.json:13:10
       |
    13 | {"name": "x.doorward.assertion", "value": "******"}
       |          ^^^^^^^^^^^^^^^^^^^^^^
       = help: set `forwardIdentity` in the handler's options of the route

    8 problems in the configuration
    "#);
    assert_snapshot!(report("remove-headers-inbound", r#"{"headers": ["last-event-id", "x-ok", "te"]}"#), @r#"
    error: `last-event-id` belongs to the conversation of client and server, and passes as it is
     --> config/policies.json:5:92
      |
    5 | {"name": "p0", "policyType": "remove-headers-inbound", "handler": {"options": {"headers": ["last-event-id", "x-ok", "te"]}}}
      |                                                                                            ^^^^^^^^^^^^^^^
      = help: leave it out

    error: `te` is about one connection, and the gateway makes its own
     --> config/policies.json:5:117
      |
    5 | {"name": "p0", "policyType": "remove-headers-inbound", "handler": {"options": {"headers": ["last-event-id", "x-ok", "te"]}}}
      |                                                                                                                     ^^^^
      = help: leave it out; the client's never reaches the server

    2 problems in the configuration
    "#);
}

// PROX-1, SEC-6
#[test]
fn a_value_that_is_none_is_refused_and_none_is_shown() {
    assert_snapshot!(report("set-headers-inbound", r#"{"headers": [
{"name": "X Key", "value": "v"},
{"name": "x-key", "value": "Bearer $env(LINES)"},
{"name": "x-key", "value": "k\u00e9y"},
{"name": "x-key", "value": ""},
{"name": "x-key", "value": "Bearer $env(EMPTY)"},
{"name": "x-key", "value": "$env(MISSING)"},
{"name": "x-key", "valeu": "v"}
]}"#), @r#"
    error: `X Key` is not the name of a header
     --> config/policies.json:6:10
      |
    6 | {"name": "X Key", "value": "*"},
      |          ^^^^^^^
      = help: such as `X-Api-Key`

    error: the value of a header is visible ASCII, in one line: look at LINES
     --> config/policies.json:7:28
      |
    7 | {"name": "x-key", "value": "******************"},
      |                            ^^^^^^^^^^^^^^^^^^^^
      = help: to take a header out, use `remove-headers-inbound`

    error: the value of a header is visible ASCII, in one line
     --> config/policies.json:8:28
      |
    8 | {"name": "x-key", "value": "********"},
      |                            ^^^^^^^^^^
      = help: to take a header out, use `remove-headers-inbound`

    error: the value of the header is empty
     --> config/policies.json:9:28
      |
    9 | {"name": "x-key", "value": ""},
      |                            ^^
      = help: to take a header out, use `remove-headers-inbound`

    error: the value of the header begins or ends with a blank: look at EMPTY
      --> config/policies.json:10:28
       |
    10 | {"name": "x-key", "value": "******************"},
       |                            ^^^^^^^^^^^^^^^^^^^^
       = help: to take a header out, use `remove-headers-inbound`

    error: `value` needs the environment variable MISSING, which is not set
      --> config/policies.json:11:28
       |
    11 | {"name": "x-key", "value": "$env(MISSING)"},
       |                            ^^^^^^^^^^^^^^^
       = help: set MISSING in the environment of the gateway

    error: `value` is missing in an entry of `headers`
      --> config/policies.json:12:1
       |
    12 | {"name": "x-key", "valeu": "*"}
       | ^
       = help: add `"value": …`; `doorward schema` describes it

    error: unknown key `valeu` in an entry of `headers`
      --> config/policies.json:12:19
       |
    12 | {"name": "x-key", "valeu": "*"}
       |                   ^^^^^^^
       = help: did you mean `value`?

    8 problems in the configuration
    "#);
    assert_snapshot!(report("set-upstream-api-key-inbound", r#"{"header": "MCP-Protocol-Version", "apiKey": "k-123"}"#), @r#"
    error: `value` is missing in `options`
     --> config/policies.json:5:85
      |
    5 | {"name": "p0", "policyType": "set-upstream-api-key-inbound", "handler": {"options": {"header": "MCP-Protocol-Version", "apiKey": "*****"}}}
      |                                                                                     ^
      = help: add `"value": …`; `doorward schema` describes it

    error: `MCP-Protocol-Version` belongs to the conversation of client and server, and passes as it is
     --> config/policies.json:5:96
      |
    5 | {"name": "p0", "policyType": "set-upstream-api-key-inbound", "handler": {"options": {"header": "MCP-Protocol-Version", "apiKey": "*****"}}}
      |                                                                                                ^^^^^^^^^^^^^^^^^^^^^^
      = help: leave it out

    error: unknown key `apiKey` in `options`
     --> config/policies.json:5:120
      |
    5 | {"name": "p0", "policyType": "set-upstream-api-key-inbound", "handler": {"options": {"header": "MCP-Protocol-Version", "apiKey": "*****"}}}
      |                                                                                                                        ^^^^^^^^
      = help: known here: value, header, overwrite

    3 problems in the configuration
    "#);
}

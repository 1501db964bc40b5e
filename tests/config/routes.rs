//! `routes.oas.json` and the rules between routes and policies (gateway.md §2, §10).

use doorward::config::Mode;
use insta::assert_snapshot;

use crate::{Folder, SECRET, item, policies_with, routes_with, with_items};

#[test]
fn an_operation_id_is_demanded() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": { "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"]}}}}"##), @r#"
    error: `operationId` is missing in `get,post`
     --> config/routes.oas.json:2:24
      |
    2 | "/mcp/a": {"get,post": { "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"…
      |                        ^
      = help: add `"operationId": …`; `doorward schema` describes it

    1 problem in the configuration
    "#);
}

#[test]
fn an_operation_id_is_unique() {
    assert_snapshot!(with_items(&format!("{},\n{}", item("/mcp/a", "same"), item("/mcp/b", "same"))), @r#"
    error: the operationId `same` is taken
     --> config/routes.oas.json:3:40
      |
    3 | "/mcp/b": {"get,post": {"operationId": "same", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/…
      |                                        ^^^^^^
      = help: it was first given in line 2; each route has its own

    1 problem in the configuration
    "#);
}

#[test]
fn a_path_is_unique_across_files() {
    assert_snapshot!(Folder::new(&[("policies.json", &policies_with("")), ("a.oas.json", &routes_with(&item("/mcp/a", "one"))), ("b.oas.json", &routes_with(&item("/mcp/a", "two")))]).report(SECRET, Mode::Serve), @r#"
    error: the path `/mcp/a` is taken
     --> config/b.oas.json:2:1
      |
    2 | "/mcp/a": {"get,post": {"operationId": "two", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/m…
      | ^^^^^^^^
      = help: it was first given in config/a.oas.json:2; paths are unique in a project

    1 problem in the configuration
    "#);
}

#[test]
fn a_path_is_literal_and_nobody_elses() {
    assert_snapshot!(with_items(&["/", "mcp/a", "/mcp/{slug}", "/mcp/:slug", "/mcp/*", "/mcp/a%62", "/mcp/a b", "/mcp/a/", "/mcp//a", "/mcp/../a"].iter().enumerate().map(|(index, path)| item(path, &index.to_string())).collect::<Vec<_>>().join(",\n")), @r#"
    error: `/` cannot be a route
     --> config/routes.oas.json:2:1
      |
    2 | "/": {"get,post": {"operationId": "0", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, …
      | ^^^
      = help: give the route a path of its own, such as `/mcp/linear`

    error: a path begins with `/`
     --> config/routes.oas.json:3:1
      |
    3 | "mcp/a": {"get,post": {"operationId": "1", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"…
      | ^^^^^^^
      = help: such as `/mcp/linear`

    error: a route's path has no parameters or wildcards
     --> config/routes.oas.json:4:1
      |
    4 | "/mcp/{slug}": {"get,post": {"operationId": "2", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.co…
      | ^^^^^^^^^^^^^
      = help: write one literal path per MCP server

    error: a route's path has no parameters or wildcards
     --> config/routes.oas.json:5:1
      |
    5 | "/mcp/:slug": {"get,post": {"operationId": "3", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com…
      | ^^^^^^^^^^^^
      = help: write one literal path per MCP server

    error: a route's path has no parameters or wildcards
     --> config/routes.oas.json:6:1
      |
    6 | "/mcp/*": {"get,post": {"operationId": "4", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp…
      | ^^^^^^^^
      = help: write one literal path per MCP server

    error: a route's path has no encoded bytes
     --> config/routes.oas.json:7:1
      |
    7 | "/mcp/a%62": {"get,post": {"operationId": "5", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/…
      | ^^^^^^^^^^^
      = help: use letters, digits, `-`, `_`, `.` and `~`

    error: a route's path holds a character that it cannot
     --> config/routes.oas.json:8:1
      |
    8 | "/mcp/a b": {"get,post": {"operationId": "6", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/m…
      | ^^^^^^^^^^
      = help: use letters, digits, `-`, `_`, `.` and `~`

    error: a route's path has no empty, `.` or `..` segments and no slash at its end
     --> config/routes.oas.json:9:1
      |
    9 | "/mcp/a/": {"get,post": {"operationId": "7", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mc…
      | ^^^^^^^^^
      = help: such as `/mcp/linear`

    error: a route's path has no empty, `.` or `..` segments and no slash at its end
      --> config/routes.oas.json:10:1
       |
    10 | "/mcp//a": {"get,post": {"operationId": "8", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mc…
       | ^^^^^^^^^
       = help: such as `/mcp/linear`

    error: a route's path has no empty, `.` or `..` segments and no slash at its end
      --> config/routes.oas.json:11:1
       |
    11 | "/mcp/../a": {"get,post": {"operationId": "9", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/…
       | ^^^^^^^^^^^
       = help: such as `/mcp/linear`

    10 problems in the configuration
    "#);
}

#[test]
fn a_path_does_not_collide_with_the_gateways_own() {
    assert_snapshot!(with_items(&["/oauth/token", "/token", "/.well-known/x", "/mcp/a/.well-known/x", "/healthz", "/account", "/auth/connections/x", "/oauth"].iter().enumerate().map(|(index, path)| item(path, &index.to_string())).collect::<Vec<_>>().join(",\n")), @r#"
    error: the gateway itself answers at this path
     --> config/routes.oas.json:2:1
      |
    2 | "/oauth/token": {"get,post": {"operationId": "0", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.c…
      | ^^^^^^^^^^^^^^
      = help: choose another path, such as `/mcp/linear`

    error: the gateway itself answers at this path
     --> config/routes.oas.json:3:1
      |
    3 | "/token": {"get,post": {"operationId": "1", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp…
      | ^^^^^^^^
      = help: choose another path, such as `/mcp/linear`

    error: the gateway itself answers at this path
     --> config/routes.oas.json:4:1
      |
    4 | "/.well-known/x": {"get,post": {"operationId": "2", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example…
      | ^^^^^^^^^^^^^^^^
      = help: choose another path, such as `/mcp/linear`

    error: the gateway itself answers at this path
     --> config/routes.oas.json:5:1
      |
    5 | "/mcp/a/.well-known/x": {"get,post": {"operationId": "3", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.e…
      | ^^^^^^^^^^^^^^^^^^^^^^
      = help: choose another path, such as `/mcp/linear`

    error: the gateway itself answers at this path
     --> config/routes.oas.json:6:1
      |
    6 | "/healthz": {"get,post": {"operationId": "4", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/m…
      | ^^^^^^^^^^
      = help: choose another path, such as `/mcp/linear`

    error: the gateway itself answers at this path
     --> config/routes.oas.json:7:1
      |
    7 | "/account": {"get,post": {"operationId": "5", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/m…
      | ^^^^^^^^^^
      = help: choose another path, such as `/mcp/linear`

    error: the gateway itself answers at this path
     --> config/routes.oas.json:8:1
      |
    8 | "/auth/connections/x": {"get,post": {"operationId": "6", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.ex…
      | ^^^^^^^^^^^^^^^^^^^^^
      = help: choose another path, such as `/mcp/linear`

    error: the gateway itself answers at this path
     --> config/routes.oas.json:9:1
      |
    9 | "/oauth": {"get,post": {"operationId": "7", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp…
      | ^^^^^^^^
      = help: choose another path, such as `/mcp/linear`

    8 problems in the configuration
    "#);
}

// OPS-1
#[test]
fn whatever_else_openapi_has_is_let_stand() {
    let items = r#""/mcp/a": {"summary": "A", "servers": [{"url": "https://a.example"}], "parameters": [], "get,post": {
"operationId": "a", "tags": ["mcp"], "security": [{"oauth": []}], "servers": [], "callbacks": {}, "parameters": [],
"responses": {"200": {"description": "ok"}}, "deprecated": false, "x-internal": true,
"x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}},
"policies": {"inbound": ["workos"]}}}}"#;
    let document = routes_with(items).replacen(
        "\"paths\"",
        r#""security": [{"oauth": []}], "webhooks": {}, "components": {}, "tags": [], "servers": [], "paths""#,
        1,
    );
    let said = Folder::new(&[("policies.json", &policies_with("")), ("routes.oas.json", &document)])
        .report(SECRET, Mode::Serve);
    assert!(said.starts_with("valid"), "{said}");
    let bare = with_items(r#""/mcp/a": {"servers": [], "parameters": []}"#);
    assert!(bare.contains("`/mcp/a` has no operation"), "{bare}");
}

#[test]
fn a_method_that_is_none_is_unknown() {
    assert_snapshot!(with_items(r##""/mcp/a": {"post,get": {"operationId": "a"}}"##), @r#"
    error: unknown key `post,get` in `/mcp/a`
     --> config/routes.oas.json:2:12
      |
    2 | "/mcp/a": {"post,get": {"operationId": "a"}}
      |            ^^^^^^^^^^
      = help: did you mean `post`?

    1 problem in the configuration
    "#);
}

#[test]
fn a_path_has_one_operation() {
    assert_snapshot!(with_items(r##""/mcp/a": {"post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"]}}},
"get": {"operationId": "b", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"]}}}}"##), @r#"
    error: `/mcp/a` has two operations, and a path is one MCP route
     --> config/routes.oas.json:3:1
      |
    3 | "get": {"operationId": "b", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies":…
      | ^^^^^
      = help: keep one, under `get,post`; it serves POST, GET and DELETE

    1 problem in the configuration
    "#);
}

#[test]
fn a_path_without_an_operation_is_refused() {
    assert_snapshot!(with_items(r##""/mcp/a": {}"##), @r#"
    error: `/mcp/a` has no operation
     --> config/routes.oas.json:2:1
      |
    2 | "/mcp/a": {}
      | ^^^^^^^^
      = help: put it under `get,post`

    1 problem in the configuration
    "#);
}

#[test]
fn a_route_key_is_demanded() {
    assert_snapshot!(with_items(r##""/mcp/a": {"post": {"operationId": "a"}}"##), @r#"
    error: `x-zuplo-route` is missing in the operation of `/mcp/a`
     --> config/routes.oas.json:2:20
      |
    2 | "/mcp/a": {"post": {"operationId": "a"}}
      |                    ^
      = help: it names the handler and the policies of the route

    1 problem in the configuration
    "#);
}

#[test]
fn a_misspelt_route_key_is_not_taken_for_an_extension() {
    assert_snapshot!(with_items(r##""/mcp/a": {"post": {"operationId": "a", "x-zuplo-rout": {}, "x-other": 1}}"##), @r#"
    error: `x-zuplo-route` is missing in the operation of `/mcp/a`
     --> config/routes.oas.json:2:20
      |
    2 | "/mcp/a": {"post": {"operationId": "a", "x-zuplo-rout": {}, "x-other": 1}}
      |                    ^
      = help: it names the handler and the policies of the route

    error: unknown key `x-zuplo-rout` in `post`
     --> config/routes.oas.json:2:41
      |
    2 | "/mcp/a": {"post": {"operationId": "a", "x-zuplo-rout": {}, "x-other": 1}}
      |                                         ^^^^^^^^^^^^^^
      = help: did you mean `x-zuplo-route`?

    2 problems in the configuration
    "#);
}

#[test]
fn both_route_keys_are_one_too_many() {
    assert_snapshot!(with_items(r##""/mcp/a": {"post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"]}}, "x-doorward-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"]}}}}"##), @r#"
    error: `x-doorward-route` and `x-zuplo-route` are the same key
     --> config/routes.oas.json:2:220
      |
    2 | …und": ["workos"]}}, "x-doorward-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"in…
      |                                          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: keep one

    1 problem in the configuration
    "#);
}

#[test]
fn a_foreign_handler_is_an_error_that_names_the_route() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "urlRewriteHandler", "options": {"x": 1}}, "policies": {"inbound": ["workos"]}}}}"##), @r#"
    error: the handler of route `a` is `urlRewriteHandler`, and only `McpProxyHandler` is served
     --> config/routes.oas.json:2:85
      |
    2 | …"x-zuplo-route": {"handler": {"export": "urlRewriteHandler", "options": {"x": 1}}, "policies": {"inbound": ["workos"]}}}}
      |                                          ^^^^^^^^^^^^^^^^^^^
      = help: remove the route, or make it an MCP route

    1 problem in the configuration
    "#);
}

#[test]
fn a_handler_has_an_export() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"]}}}}"##), @r#"
    error: `export` is missing in `handler`
     --> config/routes.oas.json:2:74
      |
    2 | …nId": "a", "x-zuplo-route": {"handler": {"options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"]}}}}
      |                                          ^
      = help: add `"export": …`; `doorward schema` describes it

    1 problem in the configuration
    "#);
}

#[test]
fn a_module_of_the_project_is_refused() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"module": "$import(./modules/x)", "export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"]}}}}"##), @r#"
    error: TypeScript modules of a project cannot run in doorward
     --> config/routes.oas.json:2:85
      |
    2 | …"x-zuplo-route": {"handler": {"module": "$import(./modules/x)", "export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "poli…
      |                                          ^^^^^^^^^^^^^^^^^^^^^^
      = help: use a built-in policy type or `McpProxyHandler` here, and put own logic into the MCP server or a proxy in front of it

    1 problem in the configuration
    "#);
}

#[test]
fn a_policy_name_gets_the_nearest_right_spelling() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["worksos"]}}}}"##), @r#"
    error: there is no policy named `worksos`
     --> config/routes.oas.json:2:191
      |
    2 | …le.com/mcp"}}, "policies": {"inbound": ["worksos"]}}}}
      |                                          ^^^^^^^^^
      = help: did you mean `workos`?

    1 problem in the configuration
    "#);
}

#[test]
fn a_policy_stands_once_on_a_route() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos", "workos"]}}}}"##), @r#"
    error: `workos` stands twice on this route
     --> config/routes.oas.json:2:201
      |
    2 | …"}}, "policies": {"inbound": ["workos", "workos"]}}}}
      |                                          ^^^^^^^^
      = help: keep one

    1 problem in the configuration
    "#);
}

#[test]
fn a_route_without_a_login_is_refused() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}}}}"##), @r#"
    error: the route `/mcp/a` has no login policy
     --> config/routes.oas.json:2:1
      |
    2 | "/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp…
      | ^^^^^^^^
      = help: name one under `policies.inbound`; for a server that everyone may use, set `"public": true` in the handler's options

    1 problem in the configuration
    "#);
}

#[test]
fn a_public_route_needs_no_login() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp", "public": true}}}}}"##), @"valid");
}

#[test]
fn a_public_route_has_no_login() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp", "public": true}}, "policies": {"inbound": ["workos"]}}}}"##), @r#"
    error: the route `/mcp/a` is public and has a login policy
     --> config/routes.oas.json:2:174
      |
    2 | …"https://up.example.com/mcp", "public": true}}, "policies": {"inbound": ["workos"]}}}}
      |                                          ^^^^
      = help: remove one of the two

    1 problem in the configuration
    "#);
}

#[test]
fn outbound_policies_are_not_supported_yet() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"], "outbound": ["x"]}}}}"##), @r#"
    error: outbound policies are not supported yet in this version
     --> config/routes.oas.json:2:214
      |
    2 | …s": {"inbound": ["workos"], "outbound": ["x"]}}}}
      |                                          ^^^^^
      = help: leave the list empty

    1 problem in the configuration
    "#);
}

#[test]
fn options_of_later_versions_say_so() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp",
"registry": "x"}}, "policies": {"inbound": ["workos"]}}}}"##), @r#"
    error: `registry` is not supported yet in this version
     --> config/routes.oas.json:3:1
      |
    3 | "registry": "x"}}, "policies": {"inbound": ["workos"]}}}}
      | ^^^^^^^^^^
      = help: leave it out

    1 problem in the configuration
    "#);
}

/// A route whose `addresses` are these, in lines of their own.
fn with_addresses(addresses: &str) -> String {
    with_items(&format!(
        r##""/mcp/a": {{"get,post": {{"operationId": "a", "x-zuplo-route": {{"handler": {{"export": "McpProxyHandler", "options": {{"rewritePattern": "https://up.example.com/mcp", "addresses":
{addresses}
}}}}, "policies": {{"inbound": ["workos"]}}}}}}}}"##
    ))
}

// STRM-10
#[test]
fn addresses_are_hosts_with_a_port_at_most_and_none_is_there_twice() {
    assert_snapshot!(with_addresses(r#"["a:1", "A:1", "b", "b:443", "http://c"]"#), @r#"
    error: `A:1` is listed twice
     --> config/routes.oas.json:3:9
      |
    3 | ["a:1", "A:1", "b", "b:443", "http://c"]
      |         ^^^^^
      = help: remove one of the two

    error: `b:443` is listed twice
     --> config/routes.oas.json:3:21
      |
    3 | ["a:1", "A:1", "b", "b:443", "http://c"]
      |                     ^^^^^^^
      = help: remove one of the two

    error: `http://c` is not an address
     --> config/routes.oas.json:3:30
      |
    3 | ["a:1", "A:1", "b", "b:443", "http://c"]
      |                              ^^^^^^^^^^
      = help: give a host, or a host and a port, such as `mcp-1.internal:8080`; scheme and path are those of `rewritePattern`

    3 problems in the configuration
    "#);
    for wrong in ["c/d", "e@f", "", " ", "g:0", "h:", "i:65536", "::1", "a?b", "a#b", "a\\\\b"] {
        let told = with_addresses(&format!("[\"{wrong}\"]"));
        assert!(told.contains("is not an address"), "{wrong}: {told}");
    }
    assert_snapshot!(with_addresses("[]"), @r"
    error: the list of addresses is empty
     --> config/routes.oas.json:3:1
      |
    3 | []
      | ^^
      = help: leave it out, and the host of `rewritePattern` is dialled

    1 problem in the configuration
    ");
}

#[test]
fn an_upstream_is_a_plain_http_url() {
    assert_snapshot!(with_items(&["ftp://x/", "nowhere", "https://user:pass@x/", "https://x/#f", "https://x/${params.id}"].iter().enumerate().map(|(index, url)| item(&format!("/mcp/{index}"), &index.to_string()).replace("https://up.example.com/mcp", url)).collect::<Vec<_>>().join(",\n")), @r#"
    error: `rewritePattern` must be an http or https URL
     --> config/routes.oas.json:2:134
      |
    2 | …Handler", "options": {"rewritePattern": "ftp://x/"}}, "policies": {"inbound": ["workos"]}}}},
      |                                          ^^^^^^^^^^
      = help: give the URL of the MCP endpoint, such as `https://mcp.example.com/mcp`

    error: `rewritePattern` is not a URL
     --> config/routes.oas.json:3:134
      |
    3 | …Handler", "options": {"rewritePattern": "nowhere"}}, "policies": {"inbound": ["workos"]}}}},
      |                                          ^^^^^^^^^
      = help: give the URL of the MCP endpoint, such as `https://mcp.example.com/mcp`

    error: `rewritePattern` must not hold a user or password
     --> config/routes.oas.json:4:134
      |
    4 | …Handler", "options": {"rewritePattern": "********************"}}, "policies": {"inbound": ["workos"]}}}},
      |                                          ^^^^^^^^^^^^^^^^^^^^^^
      = help: give the URL of the MCP endpoint, such as `https://mcp.example.com/mcp`

    error: `rewritePattern` must not hold a fragment
     --> config/routes.oas.json:5:134
      |
    5 | …Handler", "options": {"rewritePattern": "https://x/#f"}}, "policies": {"inbound": ["workos"]}}}},
      |                                          ^^^^^^^^^^^^^^
      = help: give the URL of the MCP endpoint, such as `https://mcp.example.com/mcp`

    error: `rewritePattern` knows `${env.NAME}` and no other placeholder
     --> config/routes.oas.json:6:134
      |
    6 | …Handler", "options": {"rewritePattern": "https://x/${params.id}"}}, "policies": {"inbound": ["workos"]}}}}
      |                                          ^^^^^^^^^^^^^^^^^^^^^^^^
      = help: give the URL of the MCP endpoint, such as `https://mcp.example.com/mcp`

    5 problems in the configuration
    "#);
}

#[test]
fn proxy_options_have_bounds_and_values() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp",
"forwardIdentity": "header", "connectTimeoutMs": 0, "maxBodyBytes": "4 MiB"}}, "policies": {"inbound": ["workos"]}}}}"##), @r#"
    error: `forwardIdentity` must be `none` or `headers` or `assertion`, not `header`
     --> config/routes.oas.json:3:20
      |
    3 | "forwardIdentity": "header", "connectTimeoutMs": 0, "maxBodyBytes": "4 MiB"}}, "policies": {"inbound": ["workos"]}}}}
      |                    ^^^^^^^^
      = help: did you mean `headers`?

    error: `connectTimeoutMs` must be a whole number from 1 to 120000
     --> config/routes.oas.json:3:50
      |
    3 | "forwardIdentity": "header", "connectTimeoutMs": 0, "maxBodyBytes": "4 MiB"}}, "policies": {"inbound": ["workos"]}}}}
      |                                                  ^
      = help: the default is `5000`

    error: `maxBodyBytes` must be a whole number from 1 to 1073741824, not a string
     --> config/routes.oas.json:3:69
      |
    3 | "forwardIdentity": "header", "connectTimeoutMs": 0, "maxBodyBytes": "4 MiB"}}, "policies": {"inbound": ["workos"]}}}}
      |                                                                     ^^^^^^^
      = help: the default is `4194304`

    3 problems in the configuration
    "#);
}

#[test]
fn the_document_is_openapi_3() {
    assert_snapshot!(Folder::new(&[("policies.json", &policies_with("")), ("routes.oas.json", r#"{"openapi": "2.0", "paths": {}}"#)]).report(SECRET, Mode::Serve), @r#"
    error: the document must be OpenAPI 3.1
     --> config/routes.oas.json:1:13
      |
    1 | {"openapi": "2.0", "paths": {}}
      |             ^^^^^
      = help: write `3.1.0`

    1 problem in the configuration
    "#);
}

#[test]
fn a_project_without_routes_is_noted() {
    assert_snapshot!(with_items(r##""##), @r#"
    valid
    there is no route yet: `doorward add SLUG URL` adds one
    "#);
}

/// A project whose route has these handler options, with a scope `files:write`.
fn with_scopes(handler: &str, inbound: &str) -> Folder {
    let policies = policies_with(r#""gateway": {"scopes": {"files:write": []}}"#);
    let routes = routes_with(&format!(
        r#""/mcp/a": {{"get,post": {{"operationId": "a", "x-zuplo-route": {{"handler": {{"export": "McpProxyHandler", "options": {{"rewritePattern": "https://up.example.com/mcp",
{handler}
}}}}, "policies": {{"inbound": [{inbound}]}}}}}}}}"#
    ));
    Folder::new(&[("policies.json", &policies), ("routes.oas.json", &routes)])
}

// SCOPE-6
#[test]
fn a_required_scope_is_one_that_the_gateway_grants() {
    let good = with_scopes(r#""requiredScopes": ["files:write", "mcp:tools"]"#, r#""workos""#);
    let route = good.load(SECRET, Mode::Serve).unwrap().config.routes.remove(0);
    assert_eq!(route.required_scopes.to_string(), "files:write mcp:tools");
    let unknown = with_scopes(r#""requiredScopes": ["files:wright", "offline_access"]"#, r#""workos""#);
    assert_snapshot!(unknown.report(SECRET, Mode::Serve), @r#"
    error: there is no scope `files:wright`
     --> config/routes.oas.json:3:20
      |
    3 | "requiredScopes": ["files:wright", "offline_access"]
      |                    ^^^^^^^^^^^^^^
      = help: did you mean `files:write`?

    error: there is no scope `offline_access`
     --> config/routes.oas.json:3:36
      |
    3 | "requiredScopes": ["files:wright", "offline_access"]
      |                                    ^^^^^^^^^^^^^^^^
      = help: add it to `gateway.scopes`

    2 problems in the configuration
    "#);
    let public = with_scopes(r#""requiredScopes": ["files:write"], "public": true"#, "");
    assert_snapshot!(public.report(SECRET, Mode::Serve), @r#"
    error: the route `/mcp/a` is public, so nobody brings scopes
     --> config/routes.oas.json:3:19
      |
    3 | "requiredScopes": ["files:write"], "public": true
      |                   ^^^^^^^^^^^^^^^
      = help: remove one of `public` and `requiredScopes`

    1 problem in the configuration
    "#);
}

// PROX-14
#[test]
fn a_public_route_has_nobody_to_tell_its_server_about() {
    let report = with_scopes(r#""forwardIdentity": "headers", "public": true"#, "").report(SECRET, Mode::Serve);
    assert_snapshot!(report, @r#"
    error: the route `/mcp/a` is public, so there is nobody to tell its server about
     --> config/routes.oas.json:3:20
      |
    3 | "forwardIdentity": "headers", "public": true
      |                    ^^^^^^^^^
      = help: remove one of `public` and `forwardIdentity`

    1 problem in the configuration
    "#);
}

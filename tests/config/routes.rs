//! `routes.oas.json` and the rules between routes and policies (gateway.md §2, §10).

use insta::assert_snapshot;
use doorward::config::Mode;

use crate::{Folder, item, policies_with, routes_with, with_items, SECRET};

#[test]
fn an_operation_id_is_demanded() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": { "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"]}}}}"##), @"");
}

#[test]
fn an_operation_id_is_unique() {
    assert_snapshot!(with_items(&format!("{},\n{}", item("/mcp/a", "same"), item("/mcp/b", "same"))), @"");
}

#[test]
fn a_path_is_unique_across_files() {
    assert_snapshot!(Folder::new(&[("policies.json", &policies_with("")), ("a.oas.json", &routes_with(&item("/mcp/a", "one"))), ("b.oas.json", &routes_with(&item("/mcp/a", "two")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn a_path_is_literal_and_nobody_elses() {
    assert_snapshot!(with_items(&["/", "mcp/a", "/mcp/{slug}", "/mcp/:slug", "/mcp/*", "/mcp/a%62", "/mcp/a b", "/mcp/a/", "/mcp//a", "/mcp/../a"].iter().enumerate().map(|(index, path)| item(path, &index.to_string())).collect::<Vec<_>>().join(",\n")), @"");
}

#[test]
fn a_path_does_not_collide_with_the_gateways_own() {
    assert_snapshot!(with_items(&["/oauth/token", "/token", "/.well-known/x", "/mcp/a/.well-known/x", "/healthz", "/account", "/auth/connections/x", "/oauth"].iter().enumerate().map(|(index, path)| item(path, &index.to_string())).collect::<Vec<_>>().join(",\n")), @"");
}

#[test]
fn a_method_that_is_none_is_unknown() {
    assert_snapshot!(with_items(r##""/mcp/a": {"post,get": {"operationId": "a"}}"##), @"");
}

#[test]
fn a_path_has_one_operation() {
    assert_snapshot!(with_items(r##""/mcp/a": {"post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"]}}},
"get": {"operationId": "b", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"]}}}}"##), @"");
}

#[test]
fn a_path_without_an_operation_is_refused() {
    assert_snapshot!(with_items(r##""/mcp/a": {}"##), @"");
}

#[test]
fn a_route_key_is_demanded() {
    assert_snapshot!(with_items(r##""/mcp/a": {"post": {"operationId": "a"}}"##), @"");
}

#[test]
fn a_misspelt_route_key_is_not_taken_for_an_extension() {
    assert_snapshot!(with_items(r##""/mcp/a": {"post": {"operationId": "a", "x-zuplo-rout": {}, "x-other": 1}}"##), @"");
}

#[test]
fn both_route_keys_are_one_too_many() {
    assert_snapshot!(with_items(r##""/mcp/a": {"post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"]}}, "x-doorward-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"]}}}}"##), @"");
}

#[test]
fn a_foreign_handler_is_an_error_that_names_the_route() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "urlRewriteHandler", "options": {"x": 1}}, "policies": {"inbound": ["workos"]}}}}"##), @"");
}

#[test]
fn a_handler_has_an_export() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"]}}}}"##), @"");
}

#[test]
fn a_module_of_the_project_is_refused() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"module": "$import(./modules/x)", "export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"]}}}}"##), @"");
}

#[test]
fn a_policy_name_gets_the_nearest_right_spelling() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["worksos"]}}}}"##), @"");
}

#[test]
fn a_policy_stands_once_on_a_route() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos", "workos"]}}}}"##), @"");
}

#[test]
fn a_route_without_a_login_is_refused() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}}}}"##), @"");
}

#[test]
fn a_public_route_needs_no_login() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp", "public": true}}}}}"##), @"");
}

#[test]
fn a_public_route_has_no_login() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp", "public": true}}, "policies": {"inbound": ["workos"]}}}}"##), @"");
}

#[test]
fn other_cors_policies_are_not_supported_yet() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"corsPolicy": "anything-goes", "handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"]}}}}"##), @"");
}

#[test]
fn outbound_policies_are_not_supported_yet() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp"}}, "policies": {"inbound": ["workos"], "outbound": ["x"]}}}}"##), @"");
}

#[test]
fn options_of_later_versions_say_so() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp",
"addresses": [], "mtlsCertificate": "x"}}, "policies": {"inbound": ["workos"]}}}}"##), @"");
}

#[test]
fn an_upstream_is_a_plain_http_url() {
    assert_snapshot!(with_items(&["ftp://x/", "nowhere", "https://user:pass@x/", "https://x/#f", "https://x/${params.id}"].iter().enumerate().map(|(index, url)| item(&format!("/mcp/{index}"), &index.to_string()).replace("https://up.example.com/mcp", url)).collect::<Vec<_>>().join(",\n")), @"");
}

#[test]
fn proxy_options_have_bounds_and_values() {
    assert_snapshot!(with_items(r##""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp",
"forwardIdentity": "header", "connectTimeoutMs": 0, "maxBodyBytes": "4 MiB"}}, "policies": {"inbound": ["workos"]}}}}"##), @"");
}

#[test]
fn the_document_is_openapi_3() {
    assert_snapshot!(Folder::new(&[("policies.json", &policies_with("")), ("routes.oas.json", r#"{"openapi": "2.0", "paths": {}}"#)]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn a_project_without_routes_is_noted() {
    assert_snapshot!(with_items(r##""##), @"");
}

//! `policies.json` (gateway.md §2, §3).

use doorward::config::Mode;
use insta::assert_snapshot;

use crate::{Folder, SECRET, item, routes_with, with_options};

#[test]
fn an_unknown_policy_type_gets_the_nearest_right_spelling() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbond", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: there is no policy type `mcp-workos-oauth-inbond`
     --> config/policies.json:1:48
      |
    1 | {"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbond", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}
      |                                                ^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: did you mean `mcp-workos-oauth-inbound`?

    1 problem in the configuration
    "#);
}

#[test]
fn an_export_must_belong_to_the_policy_type() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"export": "McpOAuthInboundPolicy", "options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: `export` does not belong to `mcp-workos-oauth-inbound`
     --> config/policies.json:1:98
      |
    1 | …s-oauth-inbound", "handler": {"export": "McpOAuthInboundPolicy", "options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}
      |                                          ^^^^^^^^^^^^^^^^^^^^^^^
      = help: write `McpWorkosOAuthInboundPolicy`, or leave `export` out

    1 problem in the configuration
    "#);
}

#[test]
fn project_typescript_is_refused_with_what_to_use_instead() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"module": "$import(./modules/mine)", "options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: TypeScript modules of a project cannot run in doorward
     --> config/policies.json:1:98
      |
    1 | …s-oauth-inbound", "handler": {"module": "$import(./modules/mine)", "options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}
      |                                          ^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: use a built-in policy type or `McpProxyHandler` here, and put own logic into the MCP server or a proxy in front of it

    1 problem in the configuration
    "#);
}

#[test]
fn an_unknown_module_is_refused() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"module": "@zuplo/runtime", "options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: unknown module `@zuplo/runtime`
     --> config/policies.json:1:98
      |
    1 | …s-oauth-inbound", "handler": {"module": "@zuplo/runtime", "options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}
      |                                          ^^^^^^^^^^^^^^^^
      = help: write `$import(@zuplo/runtime/mcp-gateway)`, or leave `module` out

    1 problem in the configuration
    "#);
}

#[test]
fn policy_names_are_unique() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}},
{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: there are two policies named `workos`
     --> config/policies.json:2:10
      |
    2 | {"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}
      |          ^^^^^^^^
      = help: the first stands in line 1; names are unique

    1 problem in the configuration
    "#);
}

#[test]
fn a_project_has_one_login() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}},
{"name": "other", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: `other` is a second MCP OAuth policy
     --> config/policies.json:2:33
      |
    2 | {"name": "other", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}
      |                                 ^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: a project has one login for all its routes; keep `workos` or this one

    1 problem in the configuration
    "#);
}

#[test]
fn an_empty_scope_is_refused() {
    assert_snapshot!(with_options(r#""scope": " ""#), @r#"
    error: `scope` is empty
     --> config/policies.json:3:12
      |
    3 |   "scope": " "
      |            ^^^
      = help: the default is `openid profile email`

    1 problem in the configuration
    "#);
}

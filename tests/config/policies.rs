//! `policies.json` (gateway.md §2, §3).

use insta::assert_snapshot;
use doorward::config::Mode;

use crate::{Folder, item, routes_with, with_options, SECRET};

#[test]
fn a_policy_type_of_a_later_version_says_so() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-okta-oauth-inbound", "handler": {"options": {"oktaDomain": "x"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn an_unknown_policy_type_gets_the_nearest_right_spelling() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbond", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn an_export_must_belong_to_the_policy_type() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"export": "McpOAuthInboundPolicy", "options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn project_typescript_is_refused_with_what_to_use_instead() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"module": "$import(./modules/mine)", "options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn an_unknown_module_is_refused() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"module": "@zuplo/runtime", "options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn policy_names_are_unique() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}},
{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn a_project_has_one_login() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}},
{"name": "other", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn cors_policies_are_not_supported_yet() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}], "corsPolicies": [{"name": "mine"}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn identity_assertions_are_not_supported_yet() {
    assert_snapshot!(with_options(r#""idJag": {"enabled": true}"#), @"");
}

#[test]
fn an_empty_scope_is_refused() {
    assert_snapshot!(with_options(r#""scope": " ""#), @"");
}

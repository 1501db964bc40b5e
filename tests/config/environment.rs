//! `$env(NAME)` and `${env.NAME}` (gateway.md §2).

use insta::assert_snapshot;
use doorward::config::Mode;

use crate::{Folder, item, policies_with, routes_with, with_items, with_options, SECRET};

#[test]
fn a_missing_variable_names_file_line_and_variable() {
    assert_snapshot!(Folder::new(&[("policies.json", &policies_with("")), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(&[], Mode::Serve), @"");
}

#[test]
fn a_missing_variable_of_an_optional_option_leaves_it_unset() {
    assert_snapshot!(with_options(r#""organizationId": "$env(NOT_SET)", "gateway": {"maxClients": "$env(NOT_SET)"}"#), @"");
}

#[test]
fn a_missing_variable_inside_longer_text_is_an_error() {
    assert_snapshot!(with_options(r#""apiUrl": "https://$env(HOST).example.com""#), @"");
}

#[test]
fn a_missing_variable_in_a_list_is_an_error() {
    assert_snapshot!(with_options(r#""issuers": ["$env(ISSUER)"]"#), @"");
}

#[test]
fn env_outside_of_options_is_an_error() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "$env(NAME)", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn env_in_a_key_is_an_error() {
    assert_snapshot!(with_options(r#""gateway": {"scopes": {"$env(SCOPE)": []}}"#), @"");
}

#[test]
fn a_variable_without_an_end_is_an_error() {
    assert_snapshot!(with_options(r#""apiUrl": "https://$env(HOST.example.com""#), @"");
}

#[test]
fn a_variable_that_is_no_number_is_an_error_that_hides_it() {
    assert_snapshot!(Folder::new(&[("policies.json", &policies_with(r#""sessionSyncSeconds": "$env(SECONDS)""#)), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(&[("SECRET", "sk_test_1"), ("SECONDS", "private")], Mode::Serve), @"");
}

#[test]
fn a_bad_value_from_a_variable_is_not_shown() {
    assert_snapshot!(Folder::new(&[("policies.json", &policies_with(r#""organizationId": "$env(ORG)", "screenHint": "$env(HINT)""#)), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(&[("SECRET", "sk_test_1"), ("ORG", "private"), ("HINT", "private")], Mode::Serve), @"");
}

#[test]
fn the_other_form_belongs_to_rewrite_pattern() {
    assert_snapshot!(with_options(r#""apiUrl": "${env.HOST}""#), @"");
}

#[test]
fn a_missing_variable_in_rewrite_pattern_is_an_error() {
    assert_snapshot!(with_items(r##""/mcp/a": {"post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://${env.UPSTREAM}/mcp"}}, "policies": {"inbound": ["workos"]}}}}"##), @"");
}

#[test]
fn unset_credentials_are_errors_outside_of_dev() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "$env(ID)", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(&[], Mode::Serve), @"");
}

#[test]
fn in_dev_the_development_login_stands_in_for_unset_credentials() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "$env(ID)", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(&[], Mode::Dev), @"");
}

#[test]
fn in_dev_a_half_set_pair_is_an_error() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "$env(ID)", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(&[("ID", "client_1")], Mode::Dev), @"");
}

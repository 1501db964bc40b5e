//! What holds for every file: syntax, names, types (OPS-1).

use insta::assert_snapshot;
use doorward::config::Mode;

use crate::{Folder, item, routes_with, with_options, SECRET};

#[test]
fn a_syntax_error_is_shown_with_line_and_caret() {
    assert_snapshot!(Folder::new(&[("policies.json", "{\n  \"policies\": [\n    oops\n  ]\n}"), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn an_empty_file_says_so() {
    assert_snapshot!(Folder::new(&[("policies.json", ""), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn an_unknown_key_gets_the_nearest_right_spelling() {
    assert_snapshot!(with_options(r#""orgnizationId": "org_1""#), @"");
}

#[test]
fn an_unknown_key_without_a_near_one_lists_what_is_known() {
    assert_snapshot!(with_options(r#""browserLoginOverrides": {"zzz": 1}"#), @"");
}

#[test]
fn a_wrong_type_names_both_types() {
    assert_snapshot!(with_options(r#""sessionSync": "yes", "issuers": "https://a.example.com", "gateway": [], "sessionSyncSeconds": 1.5"#), @"");
}

#[test]
fn a_null_is_not_a_value() {
    assert_snapshot!(with_options(r#""organizationId": null"#), @"");
}

#[test]
fn a_duplicate_member_is_refused() {
    assert_snapshot!(with_options(r#""scope": "openid",
  "scope": "email""#), @"");
}

#[test]
fn a_missing_member_is_named() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos"}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn all_problems_are_reported_at_once() {
    assert_snapshot!(with_options(r#""clientIdd": "x", "apiUrl": "ftp://x", "gateway": {"maxClients": 0, "pkce": true}"#), @"");
}

#[test]
fn a_document_that_is_not_an_object_is_refused() {
    assert_snapshot!(Folder::new(&[("policies.json", "[]"), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn a_very_long_line_is_cut_around_the_caret() {
    assert_snapshot!(with_options(r#""issuers": ["https://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.com"], "zzzzz": 1, "scope": "openid profile email something something""#), @"");
}

#[test]
fn a_secret_on_the_offending_line_is_blotted_out() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "w", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "nope", "clientSecret": "very-private"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a").replace("workos", "w")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn a_secret_in_a_file_that_does_not_parse_is_blotted_out() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"clientSecret": "very-private" "x": 1}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn a_missing_folder_says_how_to_start() {
    assert_snapshot!(match doorward::config::load(std::path::Path::new("no/such/folder"), &crate::env(&[]), Mode::Serve) { Ok(_) => String::new(), Err(problems) => problems.to_text() }, @"");
}

#[test]
fn missing_files_are_named() {
    assert_snapshot!(Folder::new(&[]).report(&[], Mode::Serve), @"");
}

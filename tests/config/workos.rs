//! `mcp-workos-oauth-inbound` (gateway.md §6.1, WOS-1, WOS-10, WOS-14, WOS-15).

use insta::assert_snapshot;
use doorward::config::Mode;

use crate::{Folder, item, routes_with, with_options, SECRET};

#[test]
fn wos_15_swapped_credentials_are_refused_and_not_shown() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {
"clientId": "sk_test_private",
"clientSecret": "client_1"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn wos_15_a_url_is_not_a_client_id() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {
"clientId": "https://api.workos.com/user_management/client_1",
"clientSecret": "sk_test_1"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn wos_15_a_host_name_is_not_a_client_id() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {
"clientId": "api.workos.com",
"clientSecret": "sk_test_1"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn wos_15_a_client_id_has_its_form() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {
"clientId": "client-01",
"clientSecret": "sk_test_1"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn wos_15_a_secret_has_its_form() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {
"clientId": "client_1",
"clientSecret": "hunter2"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn wos_15_a_url_is_not_a_secret() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {
"clientId": "client_1",
"clientSecret": "https://api.workos.com"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @"");
}

#[test]
fn the_api_url_is_https_or_http_on_loopback() {
    assert_snapshot!(with_options(r#""apiUrl": "http://workos.example.com""#), @"");
}

#[test]
fn the_api_url_has_no_path() {
    assert_snapshot!(with_options(r#""apiUrl": "https://auth.example.com/api""#), @"");
}

#[test]
fn an_issuer_is_a_url() {
    assert_snapshot!(with_options(r#""issuers": ["https://a.example.com", "b"]"#), @"");
}

#[test]
fn an_organization_id_has_its_form() {
    assert_snapshot!(with_options(r#""organizationId": "acme""#), @"");
}

#[test]
fn a_connection_id_has_its_form() {
    assert_snapshot!(with_options(r#""connectionId": "org_1""#), @"");
}

#[test]
fn wos_1_there_is_one_selector() {
    assert_snapshot!(with_options(r#""connectionId": "conn_1", "provider": "authkit""#), @"");
}

#[test]
fn a_provider_is_a_name() {
    assert_snapshot!(with_options(r#""provider": "https://google.com""#), @"");
}

#[test]
fn a_screen_hint_gets_the_nearest_right_spelling() {
    assert_snapshot!(with_options(r#""screenHint": "signin""#), @"");
}

#[test]
fn a_screen_hint_is_for_authkit() {
    assert_snapshot!(with_options(r#""screenHint": "sign-up", "provider": "GoogleOAuth""#), @"");
}

#[test]
fn a_domain_hint_is_a_domain() {
    assert_snapshot!(with_options(r#""domainHint": "https://example.com""#), @"");
}

#[test]
fn pkce_is_none_or_s256() {
    assert_snapshot!(with_options(r#""browserLoginOverrides": {"pkce": "s256"}"#), @"");
}

#[test]
fn login_times_have_bounds() {
    assert_snapshot!(with_options(r#""sessionSyncSeconds": 0, "browserLoginOverrides": {"remoteTimeoutMs": 0, "stateTtlSeconds": 90000, "sessionTtlSeconds": -1}"#), @"");
}

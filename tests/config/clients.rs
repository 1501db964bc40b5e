//! Static clients (STAT-1, STAT-2, STAT-5).

use insta::assert_snapshot;

use crate::{with_options, SECRET};

#[test]
fn stat_5_an_id_is_not_a_url() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "https://a.example.com/c", "redirectUris": ["https://a.example.com/cb"]}]
  }"#), @"");
}

#[test]
fn stat_5_an_id_is_not_that_of_a_registered_client() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "dcr_1", "redirectUris": ["https://a.example.com/cb"]}]
  }"#), @"");
}

#[test]
fn stat_5_an_id_is_not_that_of_a_person() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "usr_1", "redirectUris": ["https://a.example.com/cb"]}]
  }"#), @"");
}

#[test]
fn an_id_has_no_blanks() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a b", "redirectUris": ["https://a.example.com/cb"]}]
  }"#), @"");
}

#[test]
fn ids_are_unique() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"]},
    {"clientId": "a", "redirectUris": ["https://a.example.com/cb"]}]
  }"#), @"");
}

#[test]
fn stat_5_an_unusable_redirect_is_refused() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["http://a.example.com/cb", "javascript:alert(1)", "https://a.example.com/#x"]}]
  }"#), @"");
}

#[test]
fn a_client_needs_a_redirect() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": []}]
  }"#), @"");
}

#[test]
fn a_redirect_outside_of_the_allow_list_is_refused() {
    assert_snapshot!(with_options(r#""gateway": {
    "redirectUriAllowList": ["https://b.example.com"],
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"]}]
  }"#), @"");
}

#[test]
fn a_private_scheme_is_for_public_clients() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["cursor://x/cb"], "clientSecret": "$env(SECRET)"}]
  }"#), @"");
}

#[test]
fn stat_2_a_hash_has_its_form() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "clientSecretHash": "md5:abc"}]
  }"#), @"");
}

#[test]
fn stat_2_there_are_two_secrets_at_most() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "clientSecret": ["$env(SECRET)", "$env(SECRET)", "$env(SECRET)"]}]
  }"#), @"");
}

#[test]
fn a_secret_and_its_hash_exclude_each_other() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "clientSecret": "$env(SECRET)",
      "clientSecretHash": "sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"}]
  }"#), @"");
}

#[test]
fn a_method_needs_its_credentials() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "authMethod": "client_secret_post"},
    {"clientId": "b", "redirectUris": ["https://a.example.com/cb"], "authMethod": "private_key_jwt"},
    {"clientId": "c", "redirectUris": ["https://a.example.com/cb"], "authMethod": "none", "clientSecret": "$env(SECRET)"}]
  }"#), @"");
}

#[test]
fn keys_are_public() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "jwks": {"keys": [{"kty": "EC", "d": "private"}]}}]
  }"#), @"");
}

#[test]
fn a_key_url_is_https() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "jwks": "http://a.example.com/jwks"}]
  }"#), @"");
}

#[test]
fn grant_types_hold_the_code_grant() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "grantTypes": ["refresh_token"]},
    {"clientId": "b", "redirectUris": ["https://a.example.com/cb"], "grantTypes": ["client_credentials"]}]
  }"#), @"");
}

#[test]
fn scopes_and_routes_exist() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "scopes": ["mcp:tols"], "routes": ["/mcp/linaer"]}]
  }"#), @"");
}

#[test]
fn empty_lists_are_refused() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "scopes": [], "routes": []}]
  }"#), @"");
}

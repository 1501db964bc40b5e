//! `options.gateway` (gateway.md §3).

use insta::assert_snapshot;

use crate::{with_options, SECRET};

#[test]
fn numbers_have_bounds() {
    assert_snapshot!(with_options(r#""gateway": {
    "accessTokenTtlSeconds": 0, "refreshTokenReuseSeconds": 121,
    "maxClients": 0, "grantTtlSeconds": 1e3
  }"#), @"");
}

#[test]
fn a_long_access_token_is_noted() {
    assert_snapshot!(with_options(r#""gateway": {
    "accessTokenTtlSeconds": 3600
  }"#), @"");
}

#[test]
fn a_signing_algorithm_gets_the_nearest_right_spelling() {
    assert_snapshot!(with_options(r#""gateway": {
    "signingAlg": "EDDSA"
  }"#), @"");
}

#[test]
fn provider_scopes_cannot_be_configured() {
    assert_snapshot!(with_options(r#""gateway": {
    "scopes": {"openid": []}
  }"#), @"");
}

#[test]
fn a_scope_has_no_blanks_or_wildcards() {
    assert_snapshot!(with_options(r#""gateway": {
    "scopes": {"a b": [], "mcp:*": []}
  }"#), @"");
}

#[test]
fn an_implied_scope_exists() {
    assert_snapshot!(with_options(r#""gateway": {
    "scopes": {"mcp:admin": ["mcp:tool", "mcp:admin"]}
  }"#), @"");
}

#[test]
fn the_default_route_exists() {
    assert_snapshot!(with_options(r#""gateway": {
    "defaultRoute": "linar"
  }"#), @"");
}

#[test]
fn the_allow_list_has_no_globs() {
    assert_snapshot!(with_options(r#""gateway": {
    "redirectUriAllowList": ["https://*.example.com", "http://example.com/cb", "https://ok.example.com"]
  }"#), @"");
}

#[test]
fn hosts_are_bare_names() {
    assert_snapshot!(with_options(r#""gateway": {
    "cimdAllowedHosts": ["https://claude.ai"], "cimdDeniedHosts": ["*.example.com"]
  }"#), @"");
}

#[test]
fn a_pinned_document_meets_the_demands_of_a_fetched_one() {
    assert_snapshot!(with_options(r#""gateway": {
    "cimdDocuments": {"http://a.example.com/": {"client_id": "b", "redirect_uris": [], "client_secret": "x"}}
  }"#), @"");
}

#[test]
fn a_resource_server_is_complete_and_unique() {
    assert_snapshot!(with_options(r#""gateway": {
    "resourceServers": [{"id": "api", "secret": "$env(SECRET)", "routes": ["nope"]},
    {"id": "api", "secret": "$env(SECRET)"}, {"id": "b:c"}]
  }"#), @"");
}

#[test]
fn operators_are_named_by_address() {
    assert_snapshot!(with_options(r#""gateway": {
    "operators": {"emails": ["ada"]}
  }"#), @"");
}

//! `mcp-workos-oauth-inbound` (gateway.md §6.1, WOS-1, WOS-10, WOS-14, WOS-15).

use doorward::config::Mode;
use insta::assert_snapshot;

use crate::{Folder, SECRET, item, routes_with, with_options};

#[test]
fn wos_15_swapped_credentials_are_refused_and_not_shown() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {
"clientId": "sk_test_private",
"clientSecret": "client_1"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: `clientId` holds an API key: `clientId` and `clientSecret` are probably swapped
     --> config/policies.json:2:13
      |
    2 | "clientId": "***************",
      |             ^^^^^^^^^^^^^^^^^
      = help: it looks like `client_01KC6057N3C66XJAXZ65YHAC72`; the WorkOS dashboard shows it under API Keys

    error: `clientSecret` holds a client id: `clientId` and `clientSecret` are probably swapped
     --> config/policies.json:3:17
      |
    3 | "clientSecret": "********"}}}]}
      |                 ^^^^^^^^^^
      = help: it looks like `sk_live_…` or `sk_test_…`; the WorkOS dashboard shows it under API Keys

    2 problems in the configuration
    "#);
}

#[test]
fn wos_15_a_url_is_not_a_client_id() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {
"clientId": "https://api.workos.com/user_management/client_1",
"clientSecret": "sk_test_1"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: `clientId` must be the client id itself, not a URL or host name
     --> config/policies.json:2:13
      |
    2 | "clientId": "https://api.workos.com/user_management/client_1",
      |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: it looks like `client_01KC6057N3C66XJAXZ65YHAC72`; the WorkOS dashboard shows it under API Keys

    1 problem in the configuration
    "#);
}

#[test]
fn wos_15_a_host_name_is_not_a_client_id() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {
"clientId": "api.workos.com",
"clientSecret": "sk_test_1"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: `clientId` must be the client id itself, not a URL or host name
     --> config/policies.json:2:13
      |
    2 | "clientId": "api.workos.com",
      |             ^^^^^^^^^^^^^^^^
      = help: it looks like `client_01KC6057N3C66XJAXZ65YHAC72`; the WorkOS dashboard shows it under API Keys

    1 problem in the configuration
    "#);
}

#[test]
fn wos_15_a_client_id_has_its_form() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {
"clientId": "client-01",
"clientSecret": "sk_test_1"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: `clientId` must be `client_` followed by letters, digits or underscores
     --> config/policies.json:2:13
      |
    2 | "clientId": "client-01",
      |             ^^^^^^^^^^^
      = help: it looks like `client_01KC6057N3C66XJAXZ65YHAC72`; the WorkOS dashboard shows it under API Keys

    1 problem in the configuration
    "#);
}

#[test]
fn wos_15_a_secret_has_its_form() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {
"clientId": "client_1",
"clientSecret": "hunter2"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: `clientSecret` must be an API key: `sk_` followed by letters, digits or underscores
     --> config/policies.json:3:17
      |
    3 | "clientSecret": "*******"}}}]}
      |                 ^^^^^^^^^
      = help: it looks like `sk_live_…` or `sk_test_…`; the WorkOS dashboard shows it under API Keys

    1 problem in the configuration
    "#);
}

#[test]
fn wos_15_a_url_is_not_a_secret() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {
"clientId": "client_1",
"clientSecret": "https://api.workos.com"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: `clientSecret` must be the API key itself, not a URL or host name
     --> config/policies.json:3:17
      |
    3 | "clientSecret": "**********************"}}}]}
      |                 ^^^^^^^^^^^^^^^^^^^^^^^^
      = help: it looks like `sk_live_…` or `sk_test_…`; the WorkOS dashboard shows it under API Keys

    1 problem in the configuration
    "#);
}

#[test]
fn the_api_url_is_https_or_http_on_loopback() {
    assert_snapshot!(with_options(r#""apiUrl": "http://workos.example.com""#), @r#"
    error: `apiUrl` must be https, or http on loopback
     --> config/policies.json:3:13
      |
    3 |   "apiUrl": "http://workos.example.com"
      |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: such as `https://auth.example.com` or `http://localhost:4100`

    1 problem in the configuration
    "#);
}

#[test]
fn the_api_url_has_no_path() {
    assert_snapshot!(with_options(r#""apiUrl": "https://auth.example.com/api""#), @r#"
    error: `apiUrl` must be an origin, without path, query or fragment
     --> config/policies.json:3:13
      |
    3 |   "apiUrl": "https://auth.example.com/api"
      |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: such as `https://auth.example.com` or `http://localhost:4100`

    1 problem in the configuration
    "#);
}

#[test]
fn an_issuer_is_a_url() {
    assert_snapshot!(with_options(r#""issuers": ["https://a.example.com", "b"]"#), @r#"
    error: an issuer must be an https URL, or http on loopback
     --> config/policies.json:3:40
      |
    3 |   "issuers": ["https://a.example.com", "b"]
      |                                        ^^^
      = help: such as `https://auth.example.com`, spelt as in the tokens

    1 problem in the configuration
    "#);
}

#[test]
fn an_organization_id_has_its_form() {
    assert_snapshot!(with_options(r#""organizationId": "acme""#), @r#"
    error: `acme` is not an id of the form `org_…`
     --> config/policies.json:3:21
      |
    3 |   "organizationId": "acme"
      |                     ^^^^^^
      = help: copy the id from the WorkOS dashboard

    1 problem in the configuration
    "#);
}

#[test]
fn a_connection_id_has_its_form() {
    assert_snapshot!(with_options(r#""connectionId": "org_1""#), @r#"
    error: `org_1` is not an id of the form `conn_…`
     --> config/policies.json:3:19
      |
    3 |   "connectionId": "org_1"
      |                   ^^^^^^^
      = help: copy the id from the WorkOS dashboard

    1 problem in the configuration
    "#);
}

#[test]
fn wos_1_there_is_one_selector() {
    assert_snapshot!(with_options(r#""connectionId": "conn_1", "provider": "authkit""#), @r#"
    error: `connectionId` and `provider` exclude each other
     --> config/policies.json:3:19
      |
    3 |   "connectionId": "conn_1", "provider": "authkit"
      |                   ^^^^^^^^
      = help: keep the one that people should sign in with

    1 problem in the configuration
    "#);
}

#[test]
fn a_provider_is_a_name() {
    assert_snapshot!(with_options(r#""provider": "https://google.com""#), @r#"
    error: `provider` must be `authkit` or an OAuth provider of WorkOS
     --> config/policies.json:3:15
      |
    3 |   "provider": "https://google.com"
      |               ^^^^^^^^^^^^^^^^^^^^
      = help: such as `GoogleOAuth` or `MicrosoftOAuth`

    1 problem in the configuration
    "#);
}

#[test]
fn a_screen_hint_gets_the_nearest_right_spelling() {
    assert_snapshot!(with_options(r#""screenHint": "signin""#), @r#"
    error: `screenHint` must be `sign-in` or `sign-up`, not `signin`
     --> config/policies.json:3:17
      |
    3 |   "screenHint": "signin"
      |                 ^^^^^^^^
      = help: did you mean `sign-in`?

    1 problem in the configuration
    "#);
}

#[test]
fn a_screen_hint_is_for_authkit() {
    assert_snapshot!(with_options(r#""screenHint": "sign-up", "provider": "GoogleOAuth""#), @r#"
    error: `screenHint` works with AuthKit only
     --> config/policies.json:3:17
      |
    3 |   "screenHint": "sign-up", "provider": "GoogleOAuth"
      |                 ^^^^^^^^^
      = help: leave it out, or set `provider` to `authkit`

    1 problem in the configuration
    "#);
}

#[test]
fn a_domain_hint_is_a_domain() {
    assert_snapshot!(with_options(r#""domainHint": "https://example.com""#), @r#"
    error: `domainHint` must be a domain
     --> config/policies.json:3:17
      |
    3 |   "domainHint": "https://example.com"
      |                 ^^^^^^^^^^^^^^^^^^^^^
      = help: such as `example.com`

    1 problem in the configuration
    "#);
}

#[test]
fn pkce_is_none_or_s256() {
    assert_snapshot!(with_options(r#""browserLoginOverrides": {"pkce": "s256"}"#), @r#"
    error: `pkce` must be `none` or `S256`, not `s256`
     --> config/policies.json:3:37
      |
    3 |   "browserLoginOverrides": {"pkce": "s256"}
      |                                     ^^^^^^
      = help: did you mean `S256`?

    1 problem in the configuration
    "#);
}

#[test]
fn login_times_have_bounds() {
    assert_snapshot!(with_options(r#""sessionSyncSeconds": 0, "browserLoginOverrides": {"remoteTimeoutMs": 0, "stateTtlSeconds": 90000, "sessionTtlSeconds": -1}"#), @r#"
    error: `sessionSyncSeconds` must be a whole number from 1 to 86400
     --> config/policies.json:3:25
      |
    3 |   "sessionSyncSeconds": 0, "browserLoginOverrides": {"remoteTimeoutMs": 0, "stateTtlSeconds": 90000, "sessionTtlSeconds": -1}
      |                         ^
      = help: the default is `300`

    error: `remoteTimeoutMs` must be a whole number from 1 to 120000
     --> config/policies.json:3:73
      |
    3 |   "sessionSyncSeconds": 0, "browserLoginOverrides": {"remoteTimeoutMs": 0, "stateTtlSeconds": 90000, "sessionTtlSeconds": -1}
      |                                                                         ^
      = help: the default is `10000`

    error: `stateTtlSeconds` must be a whole number from 1 to 86400
     --> config/policies.json:3:95
      |
    3 |   "sessionSyncSeconds": 0, "browserLoginOverrides": {"remoteTimeoutMs": 0, "stateTtlSeconds": 90000, "sessionTtlSeconds": -1}
      |                                                                                               ^^^^^
      = help: the default is `900`

    error: `sessionTtlSeconds` must be a whole number from 1 to 2592000
     --> config/policies.json:3:123
      |
    3 |   "sessionSyncSeconds": 0, "browserLoginOverrides": {"remoteTimeoutMs": 0, "stateTtlSeconds": 90000, "sessionTtlSeconds": -1}
      |                                                                                                                           ^^
      = help: the default is `28800`

    4 problems in the configuration
    "#);
}

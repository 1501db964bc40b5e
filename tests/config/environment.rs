//! `$env(NAME)` and `${env.NAME}` (gateway.md §2).

use doorward::config::Mode;
use insta::assert_snapshot;

use crate::{Folder, SECRET, item, policies_with, routes_with, with_items, with_options};

#[test]
fn a_missing_variable_names_file_line_and_variable() {
    assert_snapshot!(Folder::new(&[("policies.json", &policies_with("")), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(&[], Mode::Serve), @r#"
    error: `clientSecret` needs the environment variable SECRET, which is not set
     --> config/policies.json:2:44
      |
    2 |   "clientId": "client_01", "clientSecret": "$env(SECRET)",
      |                                            ^^^^^^^^^^^^^^
      = help: set SECRET in the environment of the gateway

    1 problem in the configuration
    "#);
}

#[test]
fn a_missing_variable_of_an_optional_option_leaves_it_unset() {
    assert_snapshot!(with_options(r#""organizationId": "$env(NOT_SET)", "gateway": {"maxClients": "$env(NOT_SET)"}"#), @"valid");
}

#[test]
fn a_missing_variable_inside_longer_text_is_an_error() {
    assert_snapshot!(with_options(r#""apiUrl": "https://$env(HOST).example.com""#), @r#"
    error: the environment variable HOST is not set
     --> config/policies.json:3:13
      |
    3 |   "apiUrl": "https://$env(HOST).example.com"
      |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: set HOST, or write the value itself

    1 problem in the configuration
    "#);
}

#[test]
fn a_missing_variable_in_a_list_is_an_error() {
    assert_snapshot!(with_options(r#""issuers": ["$env(ISSUER)"]"#), @r#"
    error: an entry of `issuers` needs the environment variable ISSUER, which is not set
     --> config/policies.json:3:15
      |
    3 |   "issuers": ["$env(ISSUER)"]
      |               ^^^^^^^^^^^^^^
      = help: set ISSUER in the environment of the gateway

    1 problem in the configuration
    "#);
}

#[test]
fn env_outside_of_options_is_an_error() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "$env(NAME)", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: `$env()` is not replaced here
     --> config/policies.json:1:24
      |
    1 | {"policies": [{"name": "$env(NAME)", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "client_1", "clientSecret": "$env(SECRET)"}}}…
      |                        ^^^^^^^^^^^^
      = help: it works under `handler.options` and in `corsPolicies` only

    1 problem in the configuration
    "#);
}

#[test]
fn env_in_a_key_is_an_error() {
    assert_snapshot!(with_options(r#""gateway": {"scopes": {"$env(SCOPE)": []}}"#), @r#"
    error: `$env()` cannot stand in a key
     --> config/policies.json:3:26
      |
    3 |   "gateway": {"scopes": {"$env(SCOPE)": []}}
      |                          ^^^^^^^^^^^^^
      = help: it is replaced in values under `handler.options` and in `corsPolicies`

    1 problem in the configuration
    "#);
}

#[test]
fn a_variable_without_an_end_is_an_error() {
    assert_snapshot!(with_options(r#""apiUrl": "https://$env(HOST.example.com""#), @r#"
    error: `$env(` is not followed by a variable's name and `)`
     --> config/policies.json:3:13
      |
    3 |   "apiUrl": "https://$env(HOST.example.com"
      |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: write it as `$env(NAME)`

    1 problem in the configuration
    "#);
}

#[test]
fn a_variable_that_is_no_number_is_an_error_that_hides_it() {
    assert_snapshot!(Folder::new(&[("policies.json", &policies_with(r#""sessionSyncSeconds": "$env(SECONDS)""#)), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(&[("SECRET", "sk_test_1"), ("SECONDS", "private")], Mode::Serve), @r#"
    error: `sessionSyncSeconds` must be a whole number from 1 to 86400, which the value of SECONDS is not
     --> config/policies.json:3:25
      |
    3 |   "sessionSyncSeconds": "$env(SECONDS)"
      |                         ^^^^^^^^^^^^^^^
      = help: the default is `300`

    1 problem in the configuration
    "#);
}

#[test]
fn a_bad_value_from_a_variable_is_not_shown() {
    assert_snapshot!(Folder::new(&[("policies.json", &policies_with(r#""organizationId": "$env(ORG)", "screenHint": "$env(HINT)""#)), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(&[("SECRET", "sk_test_1"), ("ORG", "private"), ("HINT", "private")], Mode::Serve), @r#"
    error: the value of the environment variable ORG is not an id of the form `org_…`
     --> config/policies.json:3:21
      |
    3 |   "organizationId": "$env(ORG)", "screenHint": "$env(HINT)"
      |                     ^^^^^^^^^^^
      = help: copy the id from the WorkOS dashboard

    error: `screenHint` must be `sign-in` or `sign-up`, not the value of the environment variable HINT
     --> config/policies.json:3:48
      |
    3 |   "organizationId": "$env(ORG)", "screenHint": "$env(HINT)"
      |                                                ^^^^^^^^^^^^
      = help: write `sign-in` or `sign-up`

    2 problems in the configuration
    "#);
}

#[test]
fn the_other_form_belongs_to_rewrite_pattern() {
    assert_snapshot!(with_options(r#""apiUrl": "${env.HOST}""#), @r#"
    error: `${env.…}` works in `rewritePattern` only
     --> config/policies.json:3:13
      |
    3 |   "apiUrl": "${env.HOST}"
      |             ^^^^^^^^^^^^^
      = help: write `$env(NAME)`

    1 problem in the configuration
    "#);
}

#[test]
fn a_missing_variable_in_rewrite_pattern_is_an_error() {
    assert_snapshot!(with_items(r##""/mcp/a": {"post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://${env.UPSTREAM}/mcp"}}, "policies": {"inbound": ["workos"]}}}}"##), @r#"
    error: the environment variable UPSTREAM is not set
     --> config/routes.oas.json:2:130
      |
    2 | …Handler", "options": {"rewritePattern": "https://${env.UPSTREAM}/mcp"}}, "policies": {"inbound": ["workos"]}}}}
      |                                          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: set UPSTREAM, or write the value itself

    1 problem in the configuration
    "#);
}

#[test]
fn unset_credentials_are_errors_outside_of_dev() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "$env(ID)", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(&[], Mode::Serve), @r#"
    error: `clientId` needs the environment variable ID, which is not set
     --> config/policies.json:1:112
      |
    1 | {"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "$env(ID)", "clientSecret": "$env(SECRET)"}}}]}
      |                                                                                                                ^^^^^^^^^^
      = help: set ID in the environment of the gateway

    error: `clientSecret` needs the environment variable SECRET, which is not set
     --> config/policies.json:1:140
      |
    1 | {"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "$env(ID)", "clientSecret": "$env(SECRET)"}}}]}
      |                                                                                                                                            ^^^^^^^^^^^^^^
      = help: set SECRET in the environment of the gateway

    2 problems in the configuration
    "#);
}

#[test]
fn in_dev_the_development_login_stands_in_for_unset_credentials() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "$env(ID)", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(&[], Mode::Dev), @r#"
    valid
    ID and SECRET are not set: the development login stands in for WorkOS
    "#);
}

#[test]
fn in_dev_a_half_set_pair_is_an_error() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "$env(ID)", "clientSecret": "$env(SECRET)"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(&[("ID", "client_1")], Mode::Dev), @r#"
    error: `clientSecret` needs the environment variable SECRET, which is not set, while `clientId` has a value
     --> config/policies.json:1:140
      |
    1 | {"policies": [{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "$env(ID)", "clientSecret": "$env(SECRET)"}}}]}
      |                                                                                                                                            ^^^^^^^^^^^^^^
      = help: set SECRET; or unset both, and `doorward dev` uses its development login

    1 problem in the configuration
    "#);
}

// SEC-8
#[test]
fn a_secret_that_is_written_out_is_noted_and_not_shown() {
    let policies = policies_with(
        r#""gateway": {"initialAccessToken": "written-token", "clients": [
  {"clientId": "desk", "name": "Desk", "redirectUris": ["https://desk.example.com/cb"],
   "clientSecret": ["$env(SECRET)", "written-secret-of-at-least-32-characters"]}]}"#,
    );
    let routes = routes_with(&item("/mcp/a", "a"));
    let folder = Folder::new(&[("policies.json", &policies), ("routes.oas.json", &routes)]);
    let secret = [("SECRET", "sk_test_01234567890123456789012345678901")];
    let loaded = folder.load(&secret, Mode::Check).unwrap();
    let noted: Vec<_> = loaded.notes.iter().filter(|note| note.contains("written out")).collect();
    assert_eq!(
        noted,
        [
            "policies.json:3: `initialAccessToken` is written out: keep it in a variable and write `$env(NAME)`",
            "policies.json:5: `clientSecret` is written out: keep it in a variable and write `$env(NAME)`",
        ]
    );
    let shown = format!("{:?}", loaded.config);
    for secret in ["written-token", "written-secret", "sk_test_0123"] {
        assert!(!shown.contains(secret), "{secret} is in the configuration as it prints");
    }
}

//! What holds for every file: syntax, names, types (OPS-1).

use doorward::config::Mode;
use insta::assert_snapshot;

use crate::{Folder, SECRET, item, routes_with, with_options};

#[test]
fn a_syntax_error_is_shown_with_line_and_caret() {
    assert_snapshot!(Folder::new(&[("policies.json", "{\n  \"policies\": [\n    oops\n  ]\n}"), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: this is not valid JSON: unexpected word
     --> config/policies.json:3:5
      |
    3 |     oops
      |     ^^^^
      = help: look at the quotes, commas and brackets here and just before

    1 problem in the configuration
    "#);
}

#[test]
fn an_empty_file_says_so() {
    assert_snapshot!(Folder::new(&[("policies.json", ""), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: the file is empty
     --> config/policies.json:1:1
      |
    1 | 
      | ^
      = help: an empty document is `{}`

    1 problem in the configuration
    "#);
}

#[test]
fn an_unknown_key_gets_the_nearest_right_spelling() {
    assert_snapshot!(with_options(r#""orgnizationId": "org_1""#), @r#"
    error: unknown key `orgnizationId` in `options`
     --> config/policies.json:3:3
      |
    3 |   "orgnizationId": "org_1"
      |   ^^^^^^^^^^^^^^^
      = help: did you mean `organizationId`?

    1 problem in the configuration
    "#);
}

#[test]
fn an_unknown_key_without_a_near_one_lists_what_is_known() {
    assert_snapshot!(with_options(r#""browserLoginOverrides": {"zzz": 1}"#), @r#"
    error: unknown key `zzz` in `browserLoginOverrides`
     --> config/policies.json:3:29
      |
    3 |   "browserLoginOverrides": {"zzz": 1}
      |                             ^^^^^
      = help: known here: remoteTimeoutMs, stateTtlSeconds, sessionTtlSeconds, pkce

    1 problem in the configuration
    "#);
}

#[test]
fn a_wrong_type_names_both_types() {
    assert_snapshot!(with_options(r#""sessionSync": "yes", "issuers": "https://a.example.com", "gateway": [], "sessionSyncSeconds": 1.5"#), @r#"
    error: `sessionSync` must be true or false, not a string
     --> config/policies.json:3:18
      |
    3 |   "sessionSync": "yes", "issuers": "https://a.example.com", "gateway": [], "sessionSyncSeconds": 1.5
      |                  ^^^^^
      = help: the default is `true`

    error: `issuers` must be a list, not a string
     --> config/policies.json:3:36
      |
    3 |   "sessionSync": "yes", "issuers": "https://a.example.com", "gateway": [], "sessionSyncSeconds": 1.5
      |                                    ^^^^^^^^^^^^^^^^^^^^^^^
      = help: `doorward schema` describes every option

    error: `gateway` must be an object, not a list
     --> config/policies.json:3:72
      |
    3 |   "sessionSync": "yes", "issuers": "https://a.example.com", "gateway": [], "sessionSyncSeconds": 1.5
      |                                                                        ^^
      = help: `doorward schema` describes every option

    error: `sessionSyncSeconds` must be a whole number from 1 to 86400, not a fraction
     --> config/policies.json:3:98
      |
    3 |   "sessionSync": "yes", "issuers": "https://a.example.com", "gateway": [], "sessionSyncSeconds": 1.5
      |                                                                                                  ^^^
      = help: the default is `300`

    4 problems in the configuration
    "#);
}

#[test]
fn a_null_is_not_a_value() {
    assert_snapshot!(with_options(r#""organizationId": null"#), @r#"
    error: `organizationId` must be a string, not null
     --> config/policies.json:3:21
      |
    3 |   "organizationId": null
      |                     ^^^^
      = help: `doorward schema` describes every option

    1 problem in the configuration
    "#);
}

#[test]
fn a_duplicate_member_is_refused() {
    assert_snapshot!(with_options(r#""scope": "openid",
  "scope": "email""#), @r#"
    error: `scope` stands twice in this object
     --> config/policies.json:4:3
      |
    4 |   "scope": "email"
      |   ^^^^^^^
      = help: it was first given in line 3; keep one

    1 problem in the configuration
    "#);
}

#[test]
fn a_missing_member_is_named() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "workos"}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: `policyType` is missing in an entry of `policies`
     --> config/policies.json:1:15
      |
    1 | {"policies": [{"name": "workos"}]}
      |               ^
      = help: add `"policyType": …`; `doorward schema` describes it

    error: `handler` is missing in an entry of `policies`
     --> config/policies.json:1:15
      |
    1 | {"policies": [{"name": "workos"}]}
      |               ^
      = help: add `"handler": …`; `doorward schema` describes it

    2 problems in the configuration
    "#);
}

#[test]
fn all_problems_are_reported_at_once() {
    assert_snapshot!(with_options(r#""clientIdd": "x", "apiUrl": "ftp://x", "gateway": {"maxClients": 0, "pkce": true}"#), @r#"
    error: unknown key `clientIdd` in `options`
     --> config/policies.json:3:3
      |
    3 |   "clientIdd": "x", "apiUrl": "ftp://x", "gateway": {"maxClients": 0, "pkce": true}
      |   ^^^^^^^^^^^
      = help: did you mean `clientId`?

    error: `apiUrl` must be https, or http on loopback
     --> config/policies.json:3:31
      |
    3 |   "clientIdd": "x", "apiUrl": "ftp://x", "gateway": {"maxClients": 0, "pkce": true}
      |                               ^^^^^^^^^
      = help: such as `https://auth.example.com` or `http://localhost:4100`

    error: `maxClients` must be a whole number from 1 to 10000000
     --> config/policies.json:3:68
      |
    3 |   "clientIdd": "x", "apiUrl": "ftp://x", "gateway": {"maxClients": 0, "pkce": true}
      |                                                                    ^
      = help: the default is `100000`

    error: unknown key `pkce` in `gateway`
     --> config/policies.json:3:71
      |
    3 |   "clientIdd": "x", "apiUrl": "ftp://x", "gateway": {"maxClients": 0, "pkce": true}
      |                                                                       ^^^^^^
      = help: known here: accessTokenTtlSeconds, refreshTokenTtlSeconds, cimdEnabled, dcrEnabled, grantTtlSeconds, refreshTokenReuseSeconds, signingAlg, scopes, defaultRoute, legacyAliases, rememberConsent, redirectUriAllowList, cimdAllowedHosts, cimdDeniedHosts, cimdDocuments, clients, initialAccessToken, maxClients, clientIdleDays, resourceServers, streamMaxSeconds, closeStreamsAtExpiry, outageGraceSeconds, limits, operators

    4 problems in the configuration
    "#);
}

#[test]
fn a_document_that_is_not_an_object_is_refused() {
    assert_snapshot!(Folder::new(&[("policies.json", "[]"), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: the document must be an object, not a list
     --> config/policies.json:1:1
      |
    1 | []
      | ^^
      = help: `doorward schema` describes every option

    1 problem in the configuration
    "#);
}

#[test]
fn a_very_long_line_is_cut_around_the_caret() {
    assert_snapshot!(with_options(r#""issuers": ["https://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.com"], "zzzzz": 1, "scope": "openid profile email something something""#), @r#"
    error: unknown key `zzzzz` in `options`
     --> config/policies.json:3:240
      |
    3 | …aaaaaaaaaaaaaaaaaaaaaaaa.example.com"], "zzzzz": 1, "scope": "openid profile email something something"
      |                                          ^^^^^^^
      = help: known here: clientId, clientSecret, apiUrl, issuers, organizationId, connectionId, provider, screenHint, domainHint, allowImpersonation, sessionSync, sessionSyncSeconds, scope, browserLoginOverrides, idJag, gateway

    1 problem in the configuration
    "#);
}

#[test]
fn a_secret_on_the_offending_line_is_blotted_out() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"name": "w", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "nope", "clientSecret": "very-private"}}}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a").replace("workos", "w")))]).report(SECRET, Mode::Serve), @r#"
    error: `clientId` must be `client_` followed by letters, digits or underscores
     --> config/policies.json:1:107
      |
    1 | {"policies": [{"name": "w", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "nope", "clientSecret": "************"}}}]}
      |                                                                                                           ^^^^^^
      = help: it looks like `client_01KC6057N3C66XJAXZ65YHAC72`; the WorkOS dashboard shows it under API Keys

    error: `clientSecret` must be an API key: `sk_` followed by letters, digits or underscores
     --> config/policies.json:1:131
      |
    1 | {"policies": [{"name": "w", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "nope", "clientSecret": "************"}}}]}
      |                                                                                                                                   ^^^^^^^^^^^^^^
      = help: it looks like `sk_live_…` or `sk_test_…`; the WorkOS dashboard shows it under API Keys

    2 problems in the configuration
    "#);
}

#[test]
fn a_secret_in_a_file_that_does_not_parse_is_blotted_out() {
    assert_snapshot!(Folder::new(&[("policies.json", r#"{"policies": [{"clientSecret": "very-private" "x": 1}]}"#), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]).report(SECRET, Mode::Serve), @r#"
    error: this is not valid JSON: expected comma
     --> config/policies.json:1:46
      |
    1 | {"policies": [{"clientSecret": "************" "x": 1}]}
      |                                              ^
      = help: look at the quotes, commas and brackets here and just before

    1 problem in the configuration
    "#);
}

#[test]
fn a_missing_folder_says_how_to_start() {
    assert_snapshot!(match doorward::config::load(std::path::Path::new("no/such/folder"), &crate::env(&[]), Mode::Serve) { Ok(_) => String::new(), Err(problems) => problems.to_text() }, @r#"
    error: there is no such config folder
     --> no/such/folder
      = help: `doorward init` makes one; `--workos-client-id`, `--workos-client-secret` and `--server` start without a folder

    1 problem in the configuration
    "#);
}

#[test]
fn missing_files_are_named() {
    assert_snapshot!(Folder::new(&[]).report(&[], Mode::Serve), @r#"
    error: the file is missing
     --> config/policies.json
      = help: `doorward init` writes one

    error: there is no `*.oas.json` in the config folder
     --> config/routes.oas.json
      = help: `doorward init` writes one

    2 problems in the configuration
    "#);
}

//! `idJag`: whose identity assertions count (gateway.md §3, EXT-2).

use doorward::config::Mode;
use doorward::config::model::{SubjectMapping, TrustedIssuer};
use insta::assert_snapshot;

use crate::{Folder, item, loaded, routes_with, with_options};

/// A project whose people sign in at `https://login.example.com`.
fn oidc(id_jag: &str) -> Folder {
    let policies = format!(
        r#"{{"policies": [{{"name": "workos", "policyType": "mcp-oauth-inbound", "handler": {{"options": {{
"oidc": {{"issuer": "https://login.example.com"}}, "browserLogin": {{"clientId": "gateway", "clientSecret": "$env(S)"}},
"roleClaim": "my.roles", "idJag": {id_jag}
}}}}}}]}}"#
    );
    Folder::new(&[("policies.json", &policies), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))])
}

fn issuers(folder: &Folder) -> Vec<TrustedIssuer> {
    let loaded =
        folder.load(&[("S", "s3cret")], Mode::Serve).unwrap_or_else(|problems| panic!("{}", problems.to_text()));
    loaded.config.login.unwrap().trusted_issuers
}

// EXT-2
#[test]
fn an_issuer_alone_is_enough_and_every_option_arrives() {
    let folder = oidc(
        r#"{"enabled": true, "trustedIssuers": [
  {"issuer": "https://a.example.com/"},
  {"issuer": "http://127.0.0.1:9/b", "jwksUrl": "https://keys.example.com/b", "subjectMapping": "iss_tenant_prefix",
   "expectedClientIds": ["dcr_1", "https://app.example.com/client.json"]},
  {"issuer": "https://login.example.com", "subjectMapping": "sub_id_only"}]}"#,
    );
    let issuers = issuers(&folder);
    let [alone, full, login] = issuers.as_slice() else { panic!("{issuers:?}") };
    assert_eq!((alone.issuer.as_str(), &alone.jwks), ("https://a.example.com/", &None));
    assert_eq!(alone.subject_mapping, SubjectMapping::Issuer);
    assert!(alone.expected_client_ids.is_empty() && alone.claims.roles.is_none());
    assert_eq!(full.jwks.as_ref().unwrap().as_str(), "https://keys.example.com/b");
    assert_eq!(full.subject_mapping, SubjectMapping::IssuerAndTenant);
    assert_eq!(full.expected_client_ids, ["dcr_1", "https://app.example.com/client.json"]);
    assert_eq!(login.subject_mapping, SubjectMapping::Login);
    assert!(login.claims.roles.is_some(), "the login's own claims");
}

// EXT-2
#[test]
fn what_is_not_enabled_trusts_nobody_and_is_checked_all_the_same() {
    let off = r#""idJag": {"trustedIssuers": [{"issuer": "https://a.example.com"}]}"#;
    assert!(loaded(off).config.login.unwrap().trusted_issuers.is_empty());
    let report = with_options(r#""idJag": {"trustedIssuers": [{"issuer": "a.example.com"}]}"#);
    assert!(report.contains("`issuer` must be an https URL"), "{report}");
}

// EXT-2
#[test]
fn an_empty_list_trusts_nobody() {
    assert_snapshot!(with_options(r#""idJag": {"enabled": true}"#), @r#"
    error: `idJag` is enabled and trusts nobody
     --> config/policies.json:3:24
      |
    3 |   "idJag": {"enabled": true}
      |                        ^^^^
      = help: name a provider: `"trustedIssuers": [{"issuer": "https://login.example.com"}]`

    1 problem in the configuration
    "#);
}

// EXT-2
#[test]
fn an_issuer_is_named_and_an_https_url() {
    assert_snapshot!(with_options(r#""idJag": {"enabled": true, "trustedIssuers": [
    {"jwksUrl": "https://a.example.com/jwks"},
    {"issuer": "http://a.example.com"},
    {"issuer": "https://a.example.com/.well-known/openid-configuration"}]}"#), @r#"
    error: `issuer` is missing in an entry of `trustedIssuers`
     --> config/policies.json:4:5
      |
    4 |     {"jwksUrl": "https://a.example.com/jwks"},
      |     ^
      = help: add `"issuer": …`; `doorward schema` describes it

    error: `issuer` must be an https URL without query or fragment, or http on loopback
     --> config/policies.json:5:16
      |
    5 |     {"issuer": "http://a.example.com"},
      |                ^^^^^^^^^^^^^^^^^^^^^^
      = help: such as `https://login.example.com/realms/main`, spelt as in the provider's tokens

    error: `issuer` must be the issuer, not its metadata document
     --> config/policies.json:6:16
      |
    6 |     {"issuer": "https://a.example.com/.well-known/openid-configuration"}]}
      |                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: leave out what begins with `/.well-known/`

    3 problems in the configuration
    "#);
}

// EXT-2
#[test]
fn keys_come_over_https_or_from_loopback() {
    assert_snapshot!(with_options(r#""idJag": {"enabled": true, "trustedIssuers": [
    {"issuer": "https://a.example.com", "jwksUrl": "http://a.example.com/jwks"},
    {"issuer": "https://b.example.com", "jwksUrl": "http://127.0.0.1:9/jwks"}]}"#), @r#"
    error: `jwksUrl` must be an https URL, or http on loopback
     --> config/policies.json:4:52
      |
    4 |     {"issuer": "https://a.example.com", "jwksUrl": "http://a.example.com/jwks"},
      |                                                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: without fragment, user or password; leave it out to have it discovered

    1 problem in the configuration
    "#);
}

// EXT-2
#[test]
fn an_issuer_is_trusted_once() {
    assert_snapshot!(with_options(r#""idJag": {"enabled": true, "trustedIssuers": [
    {"issuer": "https://a.example.com"},
    {"issuer": "https://a.example.com", "subjectMapping": "iss_tenant_prefix"}]}"#), @r#"
    error: the issuer `https://a.example.com` is trusted twice
     --> config/policies.json:5:16
      |
    5 |     {"issuer": "https://a.example.com", "subjectMapping": "iss_tenant_prefix"}]}
      |                ^^^^^^^^^^^^^^^^^^^^^^^
      = help: the first stands in line 4; keep one of them

    1 problem in the configuration
    "#);
}

// EXT-2
#[test]
fn a_mapping_is_one_of_three() {
    assert_snapshot!(with_options(r#""idJag": {"enabled": true, "trustedIssuers": [
    {"issuer": "https://a.example.com", "subjectMapping": "sub"}]}"#), @r#"
    error: `subjectMapping` must be `iss_prefix` or `iss_tenant_prefix` or `sub_id_only`, not `sub`
     --> config/policies.json:4:59
      |
    4 |     {"issuer": "https://a.example.com", "subjectMapping": "sub"}]}
      |                                                           ^^^^^
      = help: did you mean `sub_id_only`?

    1 problem in the configuration
    "#);
}

// EXT-2: with WorkOS, and with any other provider than the login's.
#[test]
fn a_bare_subject_is_for_the_provider_that_people_sign_in_with() {
    let another = r#"{"enabled": true, "trustedIssuers": [
  {"issuer": "https://login.example.com/", "subjectMapping": "sub_id_only"}]}"#;
    assert_snapshot!(oidc(another).report(&[("S", "s3cret")], Mode::Serve), @r#"
    error: `sub_id_only` is for the provider that people sign in with, and this is another one
     --> config/policies.json:4:62
      |
    4 |   {"issuer": "https://login.example.com/", "subjectMapping": "sub_id_only"}]}
      |                                                              ^^^^^^^^^^^^^
      = help: its `sub` may be that of somebody else here; `iss_prefix` keeps them apart. The login's own issuer is spelt as in its ID tokens

    1 problem in the configuration
    "#);
    let report = with_options(&format!(r#""idJag": {another}"#));
    assert!(report.contains("this is another one"), "{report}");
}

// EXT-2
#[test]
fn an_expected_client_is_one_that_can_come() {
    assert_snapshot!(with_options(r#""gateway": {"clients": [{"clientId": "wiki", "redirectUris": ["https://a.example.com/cb"]}]},
  "idJag": {"enabled": true, "trustedIssuers": [
    {"issuer": "https://a.example.com", "expectedClientIds": ["wiki", "wikki"]}]}"#), @r#"
    error: there is no client `wikki`
     --> config/policies.json:5:71
      |
    5 |     {"issuer": "https://a.example.com", "expectedClientIds": ["wiki", "wikki"]}]}
      |                                                                       ^^^^^^^
      = help: did you mean `wiki`?

    1 problem in the configuration
    "#);
}

// EXT-2
#[test]
fn a_client_that_brings_assertions_authenticates_and_needs_the_option() {
    assert_snapshot!(with_options(r#""gateway": {"clients": [
    {"clientId": "a", "grantTypes": ["urn:ietf:params:oauth:grant-type:jwt-bearer"]},
    {"clientId": "b", "grantTypes": ["authorization_code"]},
    {"clientId": "c", "clientSecret": "$env(SECRET)", "grantTypes": ["urn:ietf:params:oauth:grant-type:jwt-bearer", "refresh_token"]}]}"#), @r#"
    error: this client brings identity assertions, and `idJag` is not enabled
     --> config/policies.json:4:37
      |
    4 |     {"clientId": "a", "grantTypes": ["urn:ietf:params:oauth:grant-type:jwt-bearer"]},
      |                                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: add `"idJag": {"enabled": true, "trustedIssuers": […]}` to the options

    error: identity assertions are for clients that authenticate
     --> config/policies.json:4:37
      |
    4 |     {"clientId": "a", "grantTypes": ["urn:ietf:params:oauth:grant-type:jwt-bearer"]},
      |                                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: give the client `clientSecretHash` or `jwks`

    error: the client needs `redirectUris`
     --> config/policies.json:5:5
      |
    5 |     {"clientId": "b", "grantTypes": ["authorization_code"]},
      |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: where it takes its codes, such as `https://app.example.com/callback`

    error: this client brings identity assertions, and `idJag` is not enabled
     --> config/policies.json:6:69
      |
    6 |     {"clientId": "c", "clientSecret": "$env(SECRET)", "grantTypes": ["urn:ietf:params:oauth:grant-type:jwt-bearer", "refresh_token"]}]}
      |                                                                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: add `"idJag": {"enabled": true, "trustedIssuers": […]}` to the options

    error: a client needs the grant type `authorization_code`
     --> config/policies.json:6:69
      |
    6 |     {"clientId": "c", "clientSecret": "$env(SECRET)", "grantTypes": ["urn:ietf:params:oauth:grant-type:jwt-bearer", "refresh_token"]}]}
      |                                                                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: leave `grantTypes` out for `authorization_code` and `refresh_token`

    5 problems in the configuration
    "#);
}

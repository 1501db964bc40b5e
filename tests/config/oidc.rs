//! `mcp-oauth-inbound` (gateway.md §6.2, IDP-8, IDP-9, IDP-17).

use doorward::config::model::{LoginProvider, OidcCredential, OidcOptions, SecretWay};
use doorward::config::{Loaded, Mode};
use insta::assert_snapshot;

use crate::{Folder, item, routes_with};

const ISSUER_AND_ID: &str = r#""oidc": {"issuer": "https://login.example.com/realms/main"}, "browserLogin": {"clientId": "gateway", "clientSecret": "$env(S)"}"#;

fn folder(options: &str) -> Folder {
    let policies = format!(
        r#"{{"policies": [{{"name": "login", "policyType": "mcp-oauth-inbound", "handler": {{"export": "McpOAuthInboundPolicy", "options": {{
{options}
}}}}}}]}}"#
    );
    let routes = routes_with(&item("/mcp/a", "a")).replace("\"workos\"", "\"login\"");
    Folder::new(&[("policies.json", &policies), ("routes.oas.json", &routes)])
}

fn report(options: &str) -> String {
    folder(options).report(&[("S", "s3cret")], Mode::Serve)
}

fn loaded(options: &str) -> Loaded {
    folder(options).load(&[("S", "s3cret")], Mode::Serve).unwrap_or_else(|problems| panic!("{}", problems.to_text()))
}

fn options(loaded: Loaded) -> OidcOptions {
    match loaded.config.login.unwrap().provider {
        LoginProvider::Oidc(options) => options,
        other => panic!("{other:?}"),
    }
}

/// A new P-256 key, as one line of JSON.
fn pem() -> String {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    pair.serialize_pem().replace('\n', "\\n")
}

// IDP-8
#[test]
fn an_issuer_and_credentials_are_enough() {
    let policy = loaded(ISSUER_AND_ID).config.login.unwrap();
    assert_eq!(policy.scope, "openid profile email");
    assert!(policy.browser_login.pkce);
    assert_eq!(policy.browser_login.remote_timeout.as_millis(), 10_000);
    assert_eq!(policy.browser_login.state_ttl.as_secs(), 900);
    assert_eq!(policy.browser_login.session_ttl.as_secs(), 28_800);
    assert_eq!(policy.gateway.access_token_ttl.as_secs(), 900);
    let LoginProvider::Oidc(options) = policy.provider else { panic!("another provider") };
    assert_eq!(options.issuer, "https://login.example.com/realms/main");
    assert_eq!(options.display_name, "login.example.com");
    assert!(options.endpoints.authorization.is_none() && options.endpoints.jwks.is_none());
    assert!(matches!(options.credential, OidcCredential::Secret { way: None, .. }));
    assert!(options.claims.roles.is_none());
}

// IDP-8, IDP-9, IDP-17
#[test]
fn every_option_arrives() {
    let options = options(loaded(
        r#""oidc": {"issuer": "https://a.example", "jwksUrl": "https://a.example/jwks", "audience": "api", "userinfoUrl": "https://a.example/me", "endSessionUrl": "https://a.example/out"},
"browserLogin": {"url": "https://a.example/authorize?tenant=1", "tokenUrl": "http://127.0.0.1:9/token", "clientId": "gateway", "clientSecret": "$env(S)",
  "scope": "openid", "audience": "api://x", "pkce": "none", "remoteTimeoutMs": 500, "stateTtlSeconds": 60, "sessionTtlSeconds": 120, "tokenEndpointAuthMethod": "client_secret_post"},
"roleClaim": "realm_access.roles", "groupClaim": "https://a.example/groups", "permissionClaim": "my\\.app.permissions",
"gateway": {"dcrEnabled": false}"#,
    ));
    let endpoints = &options.endpoints;
    let text = |url: &Option<url::Url>| url.as_ref().unwrap().to_string();
    assert_eq!(text(&endpoints.authorization), "https://a.example/authorize?tenant=1");
    assert_eq!(text(&endpoints.token), "http://127.0.0.1:9/token");
    assert_eq!(text(&endpoints.jwks), "https://a.example/jwks");
    assert_eq!(text(&endpoints.userinfo), "https://a.example/me");
    assert_eq!(text(&endpoints.end_session), "https://a.example/out");
    assert_eq!((options.audience.as_deref(), options.requested_audience.as_deref()), (Some("api"), Some("api://x")));
    assert!(matches!(options.credential, OidcCredential::Secret { way: Some(SecretWay::Post), .. }));
    assert!(options.claims.roles.is_some() && options.claims.groups.is_some() && options.claims.permissions.is_some());
    assert!(!format!("{options:?}").contains("s3cret"));
}

// IDP-9
#[test]
fn a_private_key_takes_the_place_of_a_secret() {
    let key = pem();
    let options = options(loaded(&format!(
        r#""oidc": {{"issuer": "https://a.example"}}, "browserLogin": {{"clientId": "gateway", "privateKey": "{key}", "privateKeyId": "k1"}}"#
    )));
    let OidcCredential::PrivateKey(key) = options.credential else { panic!("not a key") };
    assert_eq!((key.key.algorithm(), key.id.as_deref()), ("ES256", Some("k1")));
}

// IDP-9
#[test]
fn a_text_that_is_no_key_is_refused_and_not_shown() {
    assert_snapshot!(report(r#""oidc": {"issuer": "https://a.example"}, "browserLogin": {"clientId": "gateway",
"privateKey": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}"#), @r#"
    error: `privateKey` is not a private key that can be used
     --> config/policies.json:3:15
      |
    3 | "privateKey": "************************************************************"}
      |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: PEM, not encrypted: RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519

    1 problem in the configuration
    "#);
}

// IDP-9
#[test]
fn the_way_of_authentication_and_what_it_needs_go_together() {
    assert_snapshot!(report(r#""oidc": {"issuer": "https://a.example"}, "browserLogin": {"clientId": "gateway"}"#), @r#"
    error: `clientSecret` is missing in `browserLogin`
     --> config/policies.json:2:58
      |
    2 | "oidc": {"issuer": "https://a.example"}, "browserLogin": {"clientId": "gateway"}
      |                                                          ^^^^^^^^^^^^^^^^^^^^^^^
      = help: write `$env(NAME)`; `privateKey` takes a key in PEM

    1 problem in the configuration
    "#);
    assert_snapshot!(report(r#""oidc": {"issuer": "https://a.example"}, "browserLogin": {"clientId": "gateway", "clientSecret": "$env(S)",
"tokenEndpointAuthMethod": "private_key_jwt"}"#), @r#"
    error: `private_key_jwt` needs `privateKey`
     --> config/policies.json:3:28
      |
    3 | "tokenEndpointAuthMethod": "private_key_jwt"}
      |                            ^^^^^^^^^^^^^^^^^
      = help: write `$env(NAME)`; `privateKey` takes a key in PEM

    1 problem in the configuration
    "#);
    assert_snapshot!(report(r#""oidc": {"issuer": "https://a.example"}, "browserLogin": {"clientId": "gateway", "clientSecret": "$env(S)",
"privateKey": "$env(S)"}"#), @r#"
    error: `clientSecret` and `privateKey` exclude each other
     --> config/policies.json:3:15
      |
    3 | "privateKey": "$env(S)"}
      |               ^^^^^^^^^
      = help: keep the one that the provider knows

    1 problem in the configuration
    "#);
    assert_snapshot!(report(r#""oidc": {"issuer": "https://a.example"}, "browserLogin": {"clientId": "gateway", "clientSecret": "$env(S)",
"tokenEndpointAuthMethod": "client_secret_jwt"}"#), @r#"
    error: `tokenEndpointAuthMethod` must be `client_secret_basic` or `client_secret_post` or `private_key_jwt`, not `client_secret_jwt`
     --> config/policies.json:3:28
      |
    3 | "tokenEndpointAuthMethod": "client_secret_jwt"}
      |                            ^^^^^^^^^^^^^^^^^^^
      = help: did you mean `client_secret_post`?

    1 problem in the configuration
    "#);
}

// IDP-8
#[test]
fn issuer_and_endpoints_are_https_or_on_loopback() {
    assert_snapshot!(report(r#""oidc": {
"issuer": "http://login.example.com",
"jwksUrl": "keys"},
"browserLogin": {"clientId": "", "clientSecret": "$env(S)",
"tokenUrl": "http://login.example.com/token"}"#), @r#"
    error: `issuer` must be an https URL without query or fragment, or http on loopback
     --> config/policies.json:3:11
      |
    3 | "issuer": "http://login.example.com",
      |           ^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: such as `https://login.example.com/realms/main`, spelt as in the provider's tokens

    error: `jwksUrl` must be an https URL, or http on loopback
     --> config/policies.json:4:12
      |
    4 | "jwksUrl": "keys"},
      |            ^^^^^^
      = help: without fragment, user or password; leave it out to have it discovered

    error: `clientId` is empty
     --> config/policies.json:5:30
      |
    5 | "browserLogin": {"clientId": "", "clientSecret": "$env(S)",
      |                              ^^
      = help: the provider shows it where the gateway is registered as an application

    error: `tokenUrl` must be an https URL, or http on loopback
     --> config/policies.json:6:13
      |
    6 | "tokenUrl": "http://login.example.com/token"}
      |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: without fragment, user or password; leave it out to have it discovered

    4 problems in the configuration
    "#);
    assert_snapshot!(report(r#""oidc": {
"issuer": "https://login.example.com/.well-known/openid-configuration"},
"browserLogin": {"clientId": "a", "clientSecret": "$env(S)"}"#), @r#"
    error: `issuer` must be the issuer, not its metadata document
     --> config/policies.json:3:11
      |
    3 | "issuer": "https://login.example.com/.well-known/openid-configuration"},
      |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: leave out what begins with `/.well-known/`

    1 problem in the configuration
    "#);
}

#[test]
fn without_openid_there_is_no_id_token() {
    assert_snapshot!(report(r#""oidc": {"issuer": "https://a.example"}, "browserLogin": {"clientId": "gateway", "clientSecret": "$env(S)",
"scope": "profile email"}"#), @r#"
    error: `scope` lacks `openid`, without which there is no ID token
     --> config/policies.json:3:10
      |
    3 | "scope": "profile email"}
      |          ^^^^^^^^^^^^^^^
      = help: the default is `openid profile email`

    1 problem in the configuration
    "#);
}

// IDP-17
#[test]
fn an_unclear_claim_path_is_an_error() {
    assert_snapshot!(report(&format!(r#"{ISSUER_AND_ID},
"roleClaim": "https://a.example/claims.roles",
"groupClaim": "a..b",
"permissionClaim": "a\\b""#)), @r#"
    error: `roleClaim` is not a claim path: it is not clear which dots of this URL belong to a name and which separate names
     --> config/policies.json:3:14
      |
    3 | "roleClaim": "https://a.example/claims.roles",
      |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: such as `roles`, `realm_access.roles` or `https://example.com/roles`; a dot of a name is written `\.`, in JSON `\\.`

    error: `groupClaim` is not a claim path: a part of the path is empty
     --> config/policies.json:4:15
      |
    4 | "groupClaim": "a..b",
      |               ^^^^^^
      = help: such as `roles`, `realm_access.roles` or `https://example.com/roles`; a dot of a name is written `\.`, in JSON `\\.`

    error: `permissionClaim` is not a claim path: `\` stands before something that needs no escape
     --> config/policies.json:5:20
      |
    5 | "permissionClaim": "a\\b"
      |                    ^^^^^^
      = help: such as `roles`, `realm_access.roles` or `https://example.com/roles`; a dot of a name is written `\.`, in JSON `\\.`

    3 problems in the configuration
    "#);
}

#[test]
fn what_is_missing_and_what_is_unknown_is_named() {
    assert_snapshot!(report(r#""oidc": {}, "browserLogin": {"clientSecret": "$env(S)", "authorizeUrl": "https://a.example"}"#), @r#"
    error: `issuer` is missing in `oidc`
     --> config/policies.json:2:9
      |
    2 | "oidc": {}, "browserLogin": {"clientSecret": "$env(S)", "authorizeUrl": "https://a.example"}
      |         ^
      = help: add `"issuer": …`; `doorward schema` describes it

    error: `clientId` is missing in `browserLogin`
     --> config/policies.json:2:29
      |
    2 | "oidc": {}, "browserLogin": {"clientSecret": "$env(S)", "authorizeUrl": "https://a.example"}
      |                             ^
      = help: add `"clientId": …`; `doorward schema` describes it

    error: unknown key `authorizeUrl` in `browserLogin`
     --> config/policies.json:2:57
      |
    2 | "oidc": {}, "browserLogin": {"clientSecret": "$env(S)", "authorizeUrl": "https://a.example"}
      |                                                         ^^^^^^^^^^^^^^
      = help: known here: url, tokenUrl, clientId, clientSecret, privateKey, privateKeyId, tokenEndpointAuthMethod, scope, audience, remoteTimeoutMs, stateTtlSeconds, sessionTtlSeconds, pkce

    3 problems in the configuration
    "#);
}

#[test]
fn dev_stands_in_for_credentials_that_are_variables_without_a_value() {
    for credential in [
        r#""clientSecret": "$env(OIDC_SECRET)""#,
        r#""privateKey": "$env(OIDC_KEY)", "privateKeyId": "k", "tokenEndpointAuthMethod": "private_key_jwt""#,
    ] {
        let folder = folder(&format!(
            r#""oidc": {{"issuer": "$env(OIDC_ISSUER)"}}, "browserLogin": {{"clientId": "$env(OIDC_ID)", {credential}}}"#
        ));
        let loaded = folder.load(&[], Mode::Dev).unwrap_or_else(|problems| panic!("{}", problems.to_text()));
        assert!(matches!(loaded.config.login.unwrap().provider, LoginProvider::Development));
        assert!(
            loaded.notes[0].ends_with("the development login stands in for the identity provider"),
            "{:?}",
            loaded.notes
        );
        assert!(folder.load(&[], Mode::Serve).is_err());
    }
    let half = folder(
        r#""oidc": {"issuer": "https://a.example"}, "browserLogin": {"clientId": "gateway", "clientSecret": "$env(OIDC_SECRET)"}"#,
    );
    assert_snapshot!(half.report(&[], Mode::Dev), @r#"
    error: `clientSecret` needs the environment variable OIDC_SECRET, which is not set, while `clientId` has a value
     --> config/policies.json:2:98
      |
    2 | "oidc": {"issuer": "https://a.example"}, "browserLogin": {"clientId": "gateway", "clientSecret": "$env(OIDC_SECRET)"}
      |                                                                                                  ^^^^^^^^^^^^^^^^^^^
      = help: set OIDC_SECRET; or unset both, and `doorward dev` uses its development login

    1 problem in the configuration
    "#);
}

// IDP-8
#[test]
fn the_example_folder_is_valid() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/oidc/config");
    let env = crate::env(&[("OIDC_CLIENT_ID", "gateway"), ("OIDC_CLIENT_SECRET", "s3cret")]);
    let loaded = doorward::config::load(&folder, &env, Mode::Check).unwrap_or_else(|p| panic!("{}", p.to_text()));
    assert!(matches!(loaded.config.login.unwrap().provider, LoginProvider::Oidc(_)));
    assert_eq!(loaded.config.routes.len(), 1);
}

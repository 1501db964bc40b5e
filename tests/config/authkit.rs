//! `mcp-authkit-inbound` (gateway.md §7).

use doorward::config::model::{AuthKitAudience, DirectPolicy, LoginPolicy, OidcCredential, SecretWay};
use doorward::config::{LoginProvider, Mode};
use insta::assert_snapshot;
use rstest::rstest;

use crate::{Folder, item, routes_with};

fn folder(options: &str) -> Folder {
    let policies = format!(
        r#"{{"policies": [{{"name": "login", "policyType": "mcp-authkit-inbound", "handler": {{"export": "McpAuthKitInboundPolicy", "options": {{
{options}
}}}}}}]}}"#
    );
    let routes = routes_with(&item("/mcp/a", "a")).replace("\"workos\"", "\"login\"");
    Folder::new(&[("policies.json", &policies), ("routes.oas.json", &routes)])
}

fn report(options: &str) -> String {
    folder(options).report(&[("KEY", "sk_test_1")], Mode::Serve)
}

fn direct(options: &str) -> DirectPolicy {
    let loaded = folder(options).load(&[("KEY", "sk_test_1")], Mode::Serve);
    let config = loaded.unwrap_or_else(|problems| panic!("{}", problems.to_text())).config;
    assert!(config.login.is_none(), "the gateway issues nothing");
    config.direct.unwrap()
}

#[rstest]
#[case("name", "https://name.authkit.app")]
#[case("imaginative-palm-54-staging", "https://imaginative-palm-54-staging.authkit.app")]
#[case("name.authkit.app", "https://name.authkit.app")]
#[case("Name.AuthKit.App", "https://name.authkit.app")]
#[case("authkit-staging-abc.workos.com", "https://authkit-staging-abc.workos.com")]
#[case("auth.example.com:8443", "https://auth.example.com:8443")]
#[case("https://auth.example.com", "https://auth.example.com")]
#[case("https://auth.example.com/", "https://auth.example.com")]
#[case("http://localhost:4100", "http://localhost:4100")]
#[case("http://127.0.0.1:4100", "http://127.0.0.1:4100")]
fn a_domain_may_be_written_in_every_usual_way(#[case] written: &str, #[case] issuer: &str) {
    assert_eq!(direct(&format!(r#""authkitDomain": "{written}""#)).authkit.issuer, issuer);
}

#[rstest]
#[case("https://name.authkit.app/oauth2", "a path")]
#[case("name.authkit.app/oauth2", "a path")]
#[case("name.authkit.app?x", "a path")]
#[case("http://name.authkit.app", "must be https")]
#[case("ftp://name.authkit.app", "must be https")]
#[case("https://ada@name.authkit.app", "user or password")]
#[case("api.workos.com", "where people sign in")]
#[case("client_01ABC", "where people sign in")]
#[case("sk_test_1", "where people sign in")]
#[case("", "not a host name")]
#[case("two words", "not a host name")]
#[case("na_me", "not a host name")]
fn a_domain_that_cannot_be_authkit_s_is_refused(#[case] written: &str, #[case] said: &str) {
    let report = report(&format!(r#""authkitDomain": "{written}""#));
    assert!(report.contains(said) && report.contains("such as `name.authkit.app`"), "{report}");
}

#[test]
fn a_domain_is_enough() {
    let policy = direct(r#""authkitDomain": "name""#);
    assert_eq!(policy.authkit.audience, AuthKitAudience::Resource);
    assert!(policy.authkit.api.is_none() && policy.authkit.client_id.is_none());
    assert!(policy.required_scopes.is_empty());
    let supported: Vec<&str> = policy.scopes_supported.iter().collect();
    assert_eq!(supported, ["email", "offline_access", "openid", "profile"]);
    assert!(policy.resource.name.is_none() && policy.resource.documentation.is_none());
}

#[test]
fn every_option_arrives() {
    let policy = direct(
        r#""authkitDomain": "name", "mode": "dcr", "clientId": "client_01ENV", "apiKey": "$env(KEY)", "apiUrl": "http://localhost:4100",
"requiredScopes": ["openid"], "scopesSupported": ["openid", "tools:use"], "resourceName": "Tools", "docsUrl": "https://docs.example.com/mcp",
"audience": "clientId", "verifyJwt": true"#,
    );
    assert_eq!(policy.name, "login");
    assert_eq!(policy.authkit.client_id.as_deref(), Some("client_01ENV"));
    assert_eq!(policy.authkit.audience, AuthKitAudience::ClientId);
    assert_eq!(policy.authkit.api.as_ref().unwrap().url.as_str(), "http://localhost:4100/");
    assert!(!format!("{policy:?}").contains("sk_test_1"));
    assert!(policy.required_scopes.contains("openid") && policy.scopes_supported.contains("tools:use"));
    assert_eq!(policy.resource.name.as_deref(), Some("Tools"));
    assert_eq!(policy.resource.documentation.unwrap().as_str(), "https://docs.example.com/mcp");
}

#[test]
fn verification_cannot_be_switched_off() {
    assert_snapshot!(report(r#""authkitDomain": "name", "verifyJwt": false"#), @r#"
    error: `verifyJwt` cannot be switched off
     --> config/policies.json:2:39
      |
    2 | "authkitDomain": "name", "verifyJwt": false
      |                                       ^^^^^
      = help: anybody can write a token that nobody verifies; for tests use `doorward dev` with its development login

    1 problem in the configuration
    "#);
}

#[test]
fn one_token_for_every_route_is_warned_of() {
    assert_snapshot!(report(r#""authkitDomain": "name", "clientId": "client_01ENV", "audience": "clientId""#), @r#"
    valid
    `audience` is `clientId`: a token for one route opens every route, and those of other servers of the environment too; list the routes' URLs as MCP resource indicators in the WorkOS dashboard (Connect, Configuration), and take `audience` out
    "#);
    assert_snapshot!(report(r#""authkitDomain": "name", "audience": "clientId""#), @r#"
    error: `audience: "clientId"` needs `clientId`
     --> config/policies.json:2:38
      |
    2 | "authkitDomain": "name", "audience": "clientId"
      |                                      ^^^^^^^^^^
      = help: the environment's client id, `client_…`

    1 problem in the configuration
    "#);
}

#[test]
fn what_only_the_gateway_s_own_tokens_have_is_refused_where_authkit_issues_them() {
    assert_snapshot!(report(r#""authkitDomain": "name",
"gateway": {"accessTokenTtlSeconds": 60}, "idJag": {"enabled": false},
"browserLoginOverrides": {}, "scope": "openid""#), @r#"
    error: `gateway` has no meaning where AuthKit issues the tokens
     --> config/policies.json:3:12
      |
    3 | "gateway": {"accessTokenTtlSeconds": 60}, "idJag": {"enabled": false},
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: leave it out, or set `mode` to `preregistered`

    error: `idJag` has no meaning where AuthKit issues the tokens
     --> config/policies.json:3:52
      |
    3 | "gateway": {"accessTokenTtlSeconds": 60}, "idJag": {"enabled": false},
      |                                                    ^^^^^^^^^^^^^^^^^^
      = help: leave it out, or set `mode` to `preregistered`

    error: `browserLoginOverrides` has no meaning where AuthKit issues the tokens
     --> config/policies.json:4:26
      |
    4 | "browserLoginOverrides": {}, "scope": "openid"
      |                          ^^
      = help: leave it out, or set `mode` to `preregistered`

    error: `scope` has no meaning where AuthKit issues the tokens
     --> config/policies.json:4:39
      |
    4 | "browserLoginOverrides": {}, "scope": "openid"
      |                                       ^^^^^^^^
      = help: leave it out, or set `mode` to `preregistered`

    4 problems in the configuration
    "#);
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of it is one report")]
fn each_wrong_value_is_named() {
    assert_snapshot!(report(r#""clientId": "sk_test_1", "apiKey": "client_01",
"requiredScopes": ["two words"], "scopesSupported": ["*"], "resourceName": " ",
"docsUrl": "http://docs.example.com", "audience": "resource", "mode": "proxy""#), @r#"
    error: `authkitDomain` is missing in `options`
     --> config/policies.json:1:130
      |
    1 | {"policies": [{"name": "login", "policyType": "mcp-authkit-inbound", "handler": {"export": "McpAuthKitInboundPolicy", "options": {
      |                                                                                                                                  ^
      = help: add `"authkitDomain": …`; `doorward schema` describes it

    error: `clientId` holds an API key: `clientId` and `clientSecret` are probably swapped
     --> config/policies.json:2:13
      |
    2 | "clientId": "*********", "apiKey": "*********",
      |             ^^^^^^^^^^^
      = help: it looks like `client_01KC6057N3C66XJAXZ65YHAC72`; the WorkOS dashboard shows it under API Keys

    error: `apiKey` holds a client id: `clientId` and `apiKey` are probably swapped
     --> config/policies.json:2:36
      |
    2 | "clientId": "*********", "apiKey": "*********",
      |                                    ^^^^^^^^^^^
      = help: it looks like `sk_live_…` or `sk_test_…`; the WorkOS dashboard shows it under API Keys

    error: `two words` is not a scope
     --> config/policies.json:3:20
      |
    3 | "requiredScopes": ["two words"], "scopesSupported": ["*"], "resourceName": " ",
      |                    ^^^^^^^^^^^
      = help: one name each, such as `profile`

    error: `*` is not a scope
     --> config/policies.json:3:54
      |
    3 | "requiredScopes": ["two words"], "scopesSupported": ["*"], "resourceName": " ",
      |                                                      ^^^
      = help: one name each, such as `profile`

    error: `resourceName` is empty
     --> config/policies.json:3:76
      |
    3 | "requiredScopes": ["two words"], "scopesSupported": ["*"], "resourceName": " ",
      |                                                                            ^^^
      = help: leave it out, and each route is called by its `summary`

    error: `docsUrl` must be an https URL, or http on loopback
     --> config/policies.json:4:12
      |
    4 | "docsUrl": "http://docs.example.com", "audience": "resource", "mode": "proxy"
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: such as `https://docs.example.com/mcp`

    error: `mode` must be `dcr` or `preregistered`, not `proxy`
     --> config/policies.json:4:71
      |
    4 | "docsUrl": "http://docs.example.com", "audience": "resource", "mode": "proxy"
      |                                                                       ^^^^^^^
      = help: write `dcr` or `preregistered`

    8 problems in the configuration
    "#);
    assert_snapshot!(report(r#""authkitDomain": "name", "clientId": "sk_test_1", "apiKey": "client_01",
"requiredScopes": ["two words"], "scopesSupported": ["*"], "resourceName": " ",
"docsUrl": "http://docs.example.com""#), @r#"
    error: `clientId` holds an API key: `clientId` and `clientSecret` are probably swapped
     --> config/policies.json:2:38
      |
    2 | "authkitDomain": "name", "clientId": "*********", "apiKey": "*********",
      |                                      ^^^^^^^^^^^
      = help: it looks like `client_01KC6057N3C66XJAXZ65YHAC72`; the WorkOS dashboard shows it under API Keys

    error: `apiKey` holds a client id: `clientId` and `apiKey` are probably swapped
     --> config/policies.json:2:61
      |
    2 | "authkitDomain": "name", "clientId": "*********", "apiKey": "*********",
      |                                                             ^^^^^^^^^^^
      = help: it looks like `sk_live_…` or `sk_test_…`; the WorkOS dashboard shows it under API Keys

    error: `two words` is not a scope
     --> config/policies.json:3:20
      |
    3 | "requiredScopes": ["two words"], "scopesSupported": ["*"], "resourceName": " ",
      |                    ^^^^^^^^^^^
      = help: one name each, such as `profile`

    error: `*` is not a scope
     --> config/policies.json:3:54
      |
    3 | "requiredScopes": ["two words"], "scopesSupported": ["*"], "resourceName": " ",
      |                                                      ^^^
      = help: one name each, such as `profile`

    error: `resourceName` is empty
     --> config/policies.json:3:76
      |
    3 | "requiredScopes": ["two words"], "scopesSupported": ["*"], "resourceName": " ",
      |                                                                            ^^^
      = help: leave it out, and each route is called by its `summary`

    error: `docsUrl` must be an https URL, or http on loopback
     --> config/policies.json:4:12
      |
    4 | "docsUrl": "http://docs.example.com"
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: such as `https://docs.example.com/mcp`

    6 problems in the configuration
    "#);
}

#[test]
fn without_a_domain_in_dev_the_development_login_stands_in() {
    let folder =
        folder(r#""authkitDomain": "$env(AUTHKIT_DOMAIN)", "clientId": "$env(ID)", "requiredScopes": ["openid"]"#);
    assert_snapshot!(folder.report(&[], Mode::Dev), @r#"
    valid
    AUTHKIT_DOMAIN is not set: the development login stands in for AuthKit
    "#);
    let config = folder.load(&[], Mode::Dev).unwrap().config;
    assert!(config.direct.is_none());
    assert!(matches!(config.login.unwrap().provider, LoginProvider::Development));
    assert_snapshot!(folder.report(&[], Mode::Serve), @r#"
    error: `authkitDomain` needs the environment variable AUTHKIT_DOMAIN, which is not set
     --> config/policies.json:2:18
      |
    2 | "authkitDomain": "$env(AUTHKIT_DOMAIN)", "clientId": "$env(ID)", "requiredScopes": ["openid"]
      |                  ^^^^^^^^^^^^^^^^^^^^^^
      = help: set AUTHKIT_DOMAIN in the environment of the gateway

    1 problem in the configuration
    "#);
    let set = folder.load(&[("AUTHKIT_DOMAIN", "name")], Mode::Dev).unwrap().config;
    assert_eq!(set.direct.unwrap().authkit.client_id, None);
}

#[test]
fn check_says_that_whoever_can_sign_in_may_call() {
    assert_snapshot!(folder(r#""authkitDomain": "name""#).report(&[], Mode::Check), @r#"
    valid
    whoever can sign in to the AuthKit environment may use /mcp/a: where it lets anyone sign up, add an access policy (`mcp-access-inbound`)
    "#);
}

fn preregistered(options: &str) -> LoginPolicy {
    let options = format!(r#""authkitDomain": "name", "mode": "preregistered", {options}"#);
    let loaded = folder(&options).load(&[("KEY", "1eaaf7a47948")], Mode::Serve);
    let config = loaded.unwrap_or_else(|problems| panic!("{}", problems.to_text())).config;
    assert!(config.direct.is_none());
    config.login.unwrap()
}

// IDP-8, IDP-9
#[test]
fn preregistered_is_a_login_with_authkit_s_oauth_endpoints() {
    let policy =
        preregistered(r#""clientId": "client_01APP", "resourceName": "Tools", "gateway": {"dcrEnabled": false}"#);
    assert!(policy.browser_login.pkce && !policy.gateway.dcr_enabled);
    assert_eq!(policy.scope, "openid profile email");
    assert_eq!(policy.resource.name.as_deref(), Some("Tools"));
    let LoginProvider::AuthKit(options) = policy.provider else { panic!("another provider") };
    assert_eq!((options.issuer.as_str(), options.client_id.as_str()), ("https://name.authkit.app", "client_01APP"));
    let text = |url: Option<url::Url>| url.unwrap().to_string();
    assert_eq!(text(options.endpoints.authorization), "https://name.authkit.app/oauth2/authorize");
    assert_eq!(text(options.endpoints.token), "https://name.authkit.app/oauth2/token");
    assert_eq!(text(options.endpoints.jwks), "https://name.authkit.app/oauth2/jwks");
    assert_eq!(text(options.endpoints.userinfo), "https://name.authkit.app/oauth2/userinfo");
    assert!(matches!(options.credential, OidcCredential::None));

    let confidential = preregistered(r#""clientId": "client_01APP", "apiKey": "$env(KEY)""#);
    let LoginProvider::AuthKit(options) = confidential.provider else { panic!("another provider") };
    assert!(matches!(options.credential, OidcCredential::Secret { way: Some(SecretWay::Post), .. }));
}

#[test]
fn preregistered_needs_an_application_and_takes_nothing_that_is_authkit_s_to_say() {
    assert_snapshot!(report(r#""authkitDomain": "name", "mode": "preregistered", "apiKey": " ", "scope": "email",
"audience": "resource", "scopesSupported": [], "requiredScopes": ["openid"]"#), @r#"
    error: `clientId` is missing, which `preregistered` needs
     --> config/policies.json:1:130
      |
    1 | {"policies": [{"name": "login", "policyType": "mcp-authkit-inbound", "handler": {"export": "McpAuthKitInboundPolicy", "options": {
      |                                                                                                                                  ^
      = help: the client id of an OAuth application: WorkOS dashboard, Connect, Applications

    error: the secret is empty
     --> config/policies.json:2:61
      |
    2 | "authkitDomain": "name", "mode": "preregistered", "apiKey": "*", "scope": "email",
      |                                                             ^^^
      = help: the application's secret; or leave it out, and PKCE alone proves the gateway

    error: `scope` lacks `openid`, without which there is no ID token
     --> config/policies.json:2:75
      |
    2 | "authkitDomain": "name", "mode": "preregistered", "apiKey": "*", "scope": "email",
      |                                                                           ^^^^^^^
      = help: the default is `openid profile email`

    error: `audience` has no meaning with `preregistered`
     --> config/policies.json:3:13
      |
    3 | "audience": "resource", "scopesSupported": [], "requiredScopes": ["openid"]
      |             ^^^^^^^^^^
      = help: leave it out: the gateway issues the tokens, each for one route

    error: `scopesSupported` has no meaning with `preregistered`
     --> config/policies.json:3:44
      |
    3 | "audience": "resource", "scopesSupported": [], "requiredScopes": ["openid"]
      |                                            ^^
      = help: leave it out: the gateway's own scopes stand under `gateway.scopes`, those asked of AuthKit under `scope`

    error: `requiredScopes` has no meaning with `preregistered`
     --> config/policies.json:3:66
      |
    3 | "audience": "resource", "scopesSupported": [], "requiredScopes": ["openid"]
      |                                                                  ^^^^^^^^^^
      = help: leave it out: name them under `requiredScopes` of the routes' handlers, and under `gateway.scopes`

    6 problems in the configuration
    "#);
}

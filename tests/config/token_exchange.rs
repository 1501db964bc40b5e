//! `mcp-token-exchange-inbound` (gateway.md §8).

use std::time::Duration;

use doorward::config::{
    Mode, OidcCredential, SecretWay, Upstream, UpstreamMode, UpstreamOAuth, UpstreamPrompt, UpstreamRegistration,
};
use insta::assert_snapshot;
use rstest::rstest;
use secrecy::ExposeSecret as _;

use crate::{Folder, routes_with};

const VARIABLES: &[(&str, &str)] = &[("SECRET", "sk_test_1"), ("LINEAR_SECRET", "linear-secret"), ("EMPTY", "")];
const LOGIN: &str = r#"{"name": "login", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {"clientId": "client_01", "clientSecret": "$env(SECRET)"}}}"#;
const OIDC: &str = r#"{"name": "login", "policyType": "mcp-oauth-inbound", "handler": {"options": {"oidc": {"issuer": "https://login.example.com/"}, "browserLogin": {"clientId": "client_01", "clientSecret": "$env(SECRET)"}}}}"#;
const DIRECT: &str = r#"{"name": "login", "policyType": "mcp-authkit-inbound", "handler": {"options": {"authkitDomain": "name.authkit.app"}}}"#;

/// A policy whose options stand in the line below it.
fn policy(name: &str, options: &str) -> String {
    format!(
        r#"{{"name": "{name}", "policyType": "mcp-token-exchange-inbound", "handler": {{"export": "McpTokenExchangeInboundPolicy", "module": "$import(@zuplo/runtime/mcp-gateway)", "options": {{
{options}
}}}}}}"#
    )
}

fn route(slug: &str, url: &str, more: &str, inbound: &str) -> String {
    format!(
        r#""/mcp/{slug}": {{"get,post": {{"operationId": "{slug}", "x-zuplo-route": {{"handler": {{"export": "McpProxyHandler", "options": {{"rewritePattern": "{url}"{more}}}}}, "policies": {{"inbound": [{inbound}]}}}}}}}}"#
    )
}

fn project(policies: &[&str], routes: &[String]) -> Folder {
    let policies = format!("{{\"policies\": [\n{}\n]}}", policies.join(",\n"));
    Folder::new(&[("policies.json", &policies), ("routes.oas.json", &routes_with(&routes.join(",\n")))])
}

/// One route that names the login and one policy, called `mcp-token-exchange-linear`.
fn folder(options: &str) -> Folder {
    let named = r#""login", "mcp-token-exchange-linear""#;
    let route = route("a", "https://mcp.linear.app/mcp?tenant=1", "", named);
    let login = if options.contains(r#""authMode": "id-jag""#) { OIDC } else { LOGIN };
    project(&[login, &policy("mcp-token-exchange-linear", options)], &[route])
}

fn report(options: &str) -> String {
    folder(options).report(VARIABLES, Mode::Serve)
}

fn errors(report: &str) -> Vec<&str> {
    report.lines().filter_map(|line| line.strip_prefix("error: ")).collect()
}

fn upstream(options: &str) -> Upstream {
    let loaded = folder(options).load(VARIABLES, Mode::Serve).unwrap();
    loaded.config.routes[0].credential.as_deref().unwrap().clone()
}

fn oauth(options: &str) -> UpstreamOAuth {
    upstream(&format!(r#""authMode": "user-oauth", {options}"#)).mode.oauth().unwrap().clone()
}

#[test]
fn without_options_the_id_is_of_the_policys_name_and_all_else_is_found_out() {
    let upstream = upstream(r#""authMode": "user-oauth", "scopes": []"#);
    assert_eq!((upstream.id.as_str(), upstream.display_name.as_str(), upstream.summary), ("linear", "linear", None));
    assert_eq!(upstream.server.as_str(), "https://mcp.linear.app/mcp");
    let UpstreamMode::PerPerson(oauth) = upstream.mode else { panic!("{:?}", upstream.mode) };
    assert_eq!((oauth.resource_metadata, oauth.scopes, oauth.scope_delimiter.as_str()), (None, None, " "));
    assert!(matches!(oauth.registration, UpstreamRegistration::Auto));
    assert_eq!(oauth.prompt, UpstreamPrompt::ForOfflineAccess);
}

#[test]
fn every_option_of_the_contract_is_read() {
    let upstream = upstream(
        r#""id": "linear_2.eu", "displayName": "Linear", "summary": "Issues.", "authMode": "shared-oauth",
"protectedResourceMetadataUrl": "https://mcp.linear.app/.well-known/oauth-protected-resource",
"scopes": ["read", "issues:create"], "scopeDelimiter": ",", "prompt": "select_account",
"clientRegistration": { "mode": "manual", "clientId": "abc", "clientSecret": "$env(LINEAR_SECRET)", "tokenEndpointAuthMethod": "client_secret_post" }"#,
    );
    assert_eq!((upstream.id.as_str(), upstream.display_name.as_str()), ("linear_2.eu", "Linear"));
    assert_eq!(upstream.summary.as_deref(), Some("Issues."));
    let UpstreamMode::Shared(oauth) = upstream.mode else { panic!("{:?}", upstream.mode) };
    let metadata = oauth.resource_metadata.unwrap();
    assert_eq!(metadata.as_str(), "https://mcp.linear.app/.well-known/oauth-protected-resource");
    assert_eq!(oauth.scopes.unwrap(), ["read", "issues:create"]);
    assert_eq!((oauth.scope_delimiter.as_str(), oauth.prompt), (",", UpstreamPrompt::Always("select_account")));
    let UpstreamRegistration::Manual { client_id, credential } = oauth.registration else { panic!("auto") };
    let OidcCredential::Secret { secret, way } = credential else { panic!("{credential:?}") };
    assert_eq!((client_id.as_str(), secret.expose_secret(), way), ("abc", "linear-secret", Some(SecretWay::Post)));
}

#[test]
fn a_client_registered_by_hand_authenticates_as_is_said_or_as_is_offered() {
    let way = |more: &str| {
        let registration = format!(r#""clientRegistration": {{ "mode": "manual", "clientId": "abc"{more} }}"#);
        let UpstreamRegistration::Manual { credential, .. } = oauth(&registration).registration else {
            panic!("auto");
        };
        credential
    };
    let secret = r#", "clientSecret": "$env(LINEAR_SECRET)""#;
    assert!(matches!(way(""), OidcCredential::None));
    assert!(matches!(way(r#", "tokenEndpointAuthMethod": "none""#), OidcCredential::None));
    assert!(matches!(way(secret), OidcCredential::Secret { way: None, .. }));
    let basic = way(&format!(r#"{secret}, "tokenEndpointAuthMethod": "client_secret_basic""#));
    assert!(matches!(basic, OidcCredential::Secret { way: Some(SecretWay::Basic), .. }), "{basic:?}");
}

#[rstest]
#[case::by_scope("", Some("consent"), None)]
#[case::never(r#""prompt": false"#, None, None)]
#[case::always(r#""prompt": "none""#, Some("none"), Some("none"))]
fn consent_is_prompted_for_offline_access_unless_the_policy_says_otherwise(
    #[case] option: &str,
    #[case] offline: Option<&str>,
    #[case] online: Option<&str>,
) {
    let comma = if option.is_empty() { "" } else { ", " };
    let prompt = oauth(&format!(r#""scopes": []{comma}{option}"#)).prompt;
    let scopes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(prompt.value(&scopes(&["read", "offline_access"])), offline);
    assert_eq!(prompt.value(&scopes(&["read"])), online);
}

const ID_JAG: &str = r#""authMode": "id-jag", "idJag": {
"scopes": ["mcp:tools"], "scopeDelimiter": ",",
"idp": { "tokenUrl": "https://idp.example.com/token", "clientAuth": { "method": "client_secret_post", "clientId": "gw", "clientSecret": "$env(LINEAR_SECRET)" } },
"resourceAs": { "tokenUrl": "http://127.0.0.1:8080/token", "audience": "https://as.example.com", "resource": "https://mcp.linear.app/mcp",
  "clientAuth": { "method": "private_key_jwt", "clientId": "at-server", "privateKeyPem": "$env(KEY)", "algorithm": "ES256", "keyId": "k1", "audience": "https://as.example.com", "expiresInSeconds": 120 } } }"#;

fn key() -> String {
    rcgen::KeyPair::generate().unwrap().serialize_pem()
}

// EXT-6
#[test]
fn an_identity_assertion_grant_names_two_token_endpoints_and_a_client_at_each() {
    let key = key();
    let loaded = folder(ID_JAG).load(&[VARIABLES, &[("KEY", &key)]].concat(), Mode::Serve).unwrap();
    let upstream = loaded.config.upstreams().next().unwrap();
    assert!(upstream.mode.oauth().is_none());
    let UpstreamMode::IdJag(jag) = &upstream.mode else { panic!("{:?}", upstream.mode) };
    assert_eq!((jag.scopes.as_slice(), jag.scope_delimiter.as_str()), (["mcp:tools".to_owned()].as_slice(), ","));
    assert_eq!(
        (jag.audience.as_str(), jag.resource.as_deref()),
        ("https://as.example.com", Some("https://mcp.linear.app/mcp"))
    );
    assert_eq!((jag.idp.token_url.as_str(), jag.idp.client_id.as_str()), ("https://idp.example.com/token", "gw"));
    assert!(matches!(jag.idp.credential, OidcCredential::Secret { way: Some(SecretWay::Post), .. }));
    assert_eq!((&jag.idp.assertion_audience, jag.idp.assertion_life), (&None, Duration::from_secs(60)));
    let server = &jag.resource_as;
    assert_eq!((server.token_url.as_str(), server.client_id.as_str()), ("http://127.0.0.1:8080/token", "at-server"));
    let OidcCredential::PrivateKey(key) = &server.credential else { panic!("{:?}", server.credential) };
    assert_eq!((key.id.as_deref(), key.key.algorithm()), (Some("k1"), "ES256"));
    assert_eq!(server.assertion_audience.as_deref(), Some("https://as.example.com"));
    assert_eq!(server.assertion_life, Duration::from_secs(120));
}

#[rstest]
#[case::no_mode(r#""displayName": "Linear""#, "`authMode` is missing in `options`")]
#[case::misspelt_mode(
    r#""authMode": "user-oath""#,
    "`authMode` must be `user-oauth` or `shared-oauth` or `id-jag`, not `user-oath`"
)]
#[case::long_id(
    r#""authMode": "user-oauth", "id": "a2345678901234567890123456789012345678901234567890123456789012345""#,
    "an `id` is 1 to 64 letters, digits, `.`, `_` and `-`, and begins with no dot"
)]
#[case::empty_id(
    r#""authMode": "user-oauth", "id": """#,
    "an `id` is 1 to 64 letters, digits, `.`, `_` and `-`, and begins with no dot"
)]
#[case::dots(
    r#""authMode": "user-oauth", "id": "..""#,
    "an `id` is 1 to 64 letters, digits, `.`, `_` and `-`, and begins with no dot"
)]
#[case::path_in_id(
    r#""authMode": "user-oauth", "id": "a/b""#,
    "an `id` is 1 to 64 letters, digits, `.`, `_` and `-`, and begins with no dot"
)]
#[case::empty_name(r#""authMode": "user-oauth", "displayName": " ""#, "`displayName` is empty")]
#[case::plain_http(
    r#""authMode": "user-oauth", "protectedResourceMetadataUrl": "http://mcp.example.com/prm""#,
    "`protectedResourceMetadataUrl` must be an https URL, or http on loopback"
)]
#[case::two_scopes_in_one(r#""authMode": "user-oauth", "scopes": ["read write"]"#, "`read write` is not a scope")]
#[case::scope_twice(r#""authMode": "user-oauth", "scopes": ["read", "read"]"#, "`read` stands twice in this list")]
#[case::no_delimiter(
    r#""authMode": "user-oauth", "scopeDelimiter": """#,
    "`scopeDelimiter` is what stands between two scopes"
)]
#[case::prompt_on(r#""authMode": "user-oauth", "prompt": true"#, "`prompt` is a value, or `false` for none at all")]
#[case::unknown_prompt(
    r#""authMode": "user-oauth", "prompt": "ask""#,
    "`prompt` must be `none` or `login` or `consent` or `select_account`, not `ask`"
)]
#[case::client_with_auto(
    r#""authMode": "user-oauth", "clientRegistration": { "clientId": "abc" }"#,
    "`clientId` has no meaning with the mode `auto`"
)]
#[case::manual_without_client(
    r#""authMode": "user-oauth", "clientRegistration": { "mode": "manual" }"#,
    "`clientId` is missing in `clientRegistration`"
)]
#[case::method_without_secret(
    r#""authMode": "user-oauth", "clientRegistration": { "mode": "manual", "clientId": "a", "tokenEndpointAuthMethod": "client_secret_basic" }"#,
    "this way of authentication needs `clientSecret`"
)]
#[case::public_with_secret(
    r#""authMode": "user-oauth", "clientRegistration": { "mode": "manual", "clientId": "a", "clientSecret": "$env(LINEAR_SECRET)", "tokenEndpointAuthMethod": "none" }"#,
    "a public client has no secret"
)]
#[case::unset_secret(
    r#""authMode": "user-oauth", "clientRegistration": { "mode": "manual", "clientId": "a", "clientSecret": "$env(UNSET)" }"#,
    "`clientSecret` needs the environment variable UNSET, which is not set"
)]
#[case::id_jag_without_it(r#""authMode": "id-jag""#, "`id-jag` needs `idJag`")]
fn what_cannot_be_meant_is_refused(#[case] options: &str, #[case] said: &str) {
    let report = report(options);
    assert_eq!(errors(&report), [said], "{report}");
    assert!(report.contains("--> config/policies.json:"), "{report}");
    assert!(report.contains("= help: "), "{report}");
    assert!(!report.contains("linear-secret"), "{report}");
}

// EXT-6
#[rstest]
#[case::with_user_oauth(
    r#""authMode": "id-jag""#,
    r#""authMode": "user-oauth""#,
    "`idJag` has no meaning with this `authMode`"
)]
#[case::scopes_outside(
    r#""authMode": "id-jag""#,
    r#""authMode": "id-jag", "scopes": ["a"]"#,
    "`scopes` has no meaning with `id-jag`"
)]
#[case::prompt(
    r#""authMode": "id-jag""#,
    r#""authMode": "id-jag", "prompt": false"#,
    "`prompt` has no meaning with `id-jag`"
)]
#[case::no_audience(
    r#""audience": "https://as.example.com", "resource""#,
    r#""resource""#,
    "`audience` is missing in `resourceAs`"
)]
#[case::plain_http(
    "https://idp.example.com/token",
    "http://idp.example.com/token",
    "`tokenUrl` must be an https URL, or http on loopback"
)]
#[case::no_secret(r#", "clientSecret": "$env(LINEAR_SECRET)""#, "", "this way of authentication needs `clientSecret`")]
#[case::key_with_secret(
    r#""clientId": "gw""#,
    r#""clientId": "gw", "keyId": "1""#,
    "`keyId` has no meaning with a secret"
)]
#[case::secret_with_key(
    r#""clientId": "at-server""#,
    r#""clientId": "at-server", "clientSecret": "$env(LINEAR_SECRET)""#,
    "`clientSecret` has no meaning with `private_key_jwt`"
)]
#[case::no_key(r#""privateKeyPem": "$env(KEY)", "#, "", "`private_key_jwt` needs `privateKeyPem`")]
#[case::bad_key("$env(KEY)", "$env(LINEAR_SECRET)", "`privateKeyPem` is not a private key that can be used")]
#[case::unset_key(
    "$env(KEY)",
    "$env(NO_KEY)",
    "`privateKeyPem` needs the environment variable NO_KEY, which is not set"
)]
#[case::other_algorithm("ES256", "RS256", "this private key signs with ES256")]
#[case::no_method(r#""method": "client_secret_post", "#, "", "`method` is missing in `clientAuth`")]
fn a_faulty_identity_assertion_grant_is_refused(#[case] taken: &str, #[case] put: &str, #[case] said: &str) {
    assert!(ID_JAG.contains(taken));
    let key = key();
    let report = folder(&ID_JAG.replacen(taken, put, 1)).report(&[VARIABLES, &[("KEY", &key)]].concat(), Mode::Serve);
    assert_eq!(errors(&report), [said], "{report}");
    assert!(report.contains("= help: ") && !report.contains("linear-secret"), "{report}");
}

#[test]
fn a_name_that_cannot_be_an_id_asks_for_one() {
    let policies = [LOGIN, &policy("Linear for all", r#""authMode": "user-oauth""#)];
    let routes = [route("a", "https://mcp.linear.app/mcp", "", r#""login", "Linear for all""#)];
    assert_snapshot!(project(&policies, &routes).report(VARIABLES, Mode::Serve), @r#"
    error: the policy's name cannot be the `id` of its connections
     --> config/policies.json:3:10
      |
    3 | {"name": "Linear for all", "policyType": "mcp-token-exchange-inbound", "handler": {"export": "McpTokenExchangeInboundPolicy", "module": "$import(@zuplo/runtime/…
      |          ^^^^^^^^^^^^^^^^
      = help: give it an `id` in its options, such as `linear`; an `id` is 1 to 64 letters, digits, `.`, `_` and `-`, and begins with no dot

    1 problem in the configuration
    "#);
}

#[test]
fn two_policies_have_two_ids() {
    let policies = [
        LOGIN,
        &policy("mcp-token-exchange-linear", r#""authMode": "user-oauth""#),
        &policy("second", r#""authMode": "user-oauth", "id": "linear""#),
    ];
    let routes = [
        route("a", "https://a.example.com/mcp", "", r#""login", "mcp-token-exchange-linear""#),
        route("b", "https://b.example.com/mcp", "", r#""login", "second""#),
    ];
    assert_snapshot!(project(&policies, &routes).report(VARIABLES, Mode::Serve), @r#"
    error: there are two token exchange policies with the id `linear`
     --> config/policies.json:7:33
      |
    7 | "authMode": "user-oauth", "id": "linear"
      |                                 ^^^^^^^^
      = help: the first stands in line 3; give one of them an `id` of its own

    1 problem in the configuration
    "#);
}

#[test]
fn routes_to_one_server_share_an_upstream_and_each_server_has_its_own() {
    let linear = policy("mcp-token-exchange-linear", r#""authMode": "user-oauth""#);
    let stripe = policy("mcp-token-exchange-stripe", r#""authMode": "shared-oauth""#);
    let named = r#""login", "mcp-token-exchange-linear""#;
    let routes = [
        route("a", "https://mcp.linear.app/mcp", "", named),
        route("b", "https://mcp.linear.app/mcp?read-only=1", "", named),
        route("c", "https://mcp.stripe.com", "", r#""login", "mcp-token-exchange-stripe""#),
        route("d", "https://open.example.com/mcp", "", r#""login""#),
    ];
    let config = project(&[LOGIN, &linear, &stripe], &routes).load(VARIABLES, Mode::Serve).unwrap().config;
    let ids: Vec<_> = config.routes.iter().map(|route| route.credential.as_ref().map(|one| one.id.as_str())).collect();
    assert_eq!(ids, [Some("linear"), Some("linear"), Some("stripe"), None]);
    assert_eq!(config.upstreams().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["linear", "stripe"]);
}

/// A token that was given for one server would go to another.
#[test]
fn a_policy_is_for_one_server() {
    let linear = policy("mcp-token-exchange-linear", r#""authMode": "user-oauth""#);
    let named = r#""login", "mcp-token-exchange-linear""#;
    let routes =
        [route("a", "https://mcp.linear.app/mcp", "", named), route("b", "https://mcp.evil.example/mcp", "", named)];
    assert_snapshot!(project(&[LOGIN, &linear], &routes).report(VARIABLES, Mode::Serve), @r#"
    error: `mcp-token-exchange-linear` holds the credential of another server
     --> config/routes.oas.json:3:202
      |
    3 | …p"}}, "policies": {"inbound": ["login", "mcp-token-exchange-linear"]}}}}
      |                                          ^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: the route that names it in line 2 has another `rewritePattern`; add a policy for this server

    1 problem in the configuration
    "#);
}

#[test]
fn a_route_has_one_credential() {
    let policies =
        [LOGIN, &policy("first", r#""authMode": "user-oauth""#), &policy("second", r#""authMode": "shared-oauth""#)];
    let routes = [route("a", "https://a.example.com/mcp", "", r#""login", "first", "second""#)];
    assert_snapshot!(project(&policies, &routes).report(VARIABLES, Mode::Serve), @r#"
    error: `second` is a second token exchange policy on this route, and its server takes one credential
     --> config/routes.oas.json:2:208
      |
    2 | …licies": {"inbound": ["login", "first", "second"]}}}}
      |                                          ^^^^^^^^
      = help: keep `first` or this one; for both servers, make two routes

    1 problem in the configuration
    "#);
}

#[test]
fn nothing_else_sets_the_header_of_the_credential() {
    let key = r#"{"name": "key", "policyType": "set-upstream-api-key-inbound", "handler": {"options": {"value": "$env(LINEAR_SECRET)"}}}"#;
    let other = r#"{"name": "other", "policyType": "set-headers-inbound", "handler": {"options": {"headers": [{"name": "x-team", "value": "docs"}]}}}"#;
    let policies = [LOGIN, &policy("linear", r#""authMode": "user-oauth""#), key, other];
    let with = |inbound: &str| {
        project(&policies, &[route("a", "https://a.example.com/mcp", "", inbound)]).report(VARIABLES, Mode::Serve)
    };
    assert_snapshot!(with(r#""login", "key", "linear", "other""#), @r#"
    error: `key` sets `Authorization`, where the credential of `linear` stands
     --> config/routes.oas.json:2:199
      |
    2 | …p"}}, "policies": {"inbound": ["login", "key", "linear", "other"]}}}}
      |                                          ^^^^^
      = help: keep the one that the server wants

    1 problem in the configuration
    "#);
    assert_eq!(with(r#""login", "linear", "other""#), "valid\n");
}

#[test]
fn a_public_route_lends_no_credential() {
    let shared = policy("linear", r#""authMode": "shared-oauth""#);
    let routes = [route("a", "https://a.example.com/mcp", r#", "public": true"#, r#""linear""#)];
    assert_snapshot!(project(&[LOGIN, &shared], &routes).report(VARIABLES, Mode::Serve), @r#"
    error: the route `/mcp/a` is public, so `linear` cannot tell who calls
     --> config/routes.oas.json:2:173
      |
    2 | … "https://a.example.com/mcp", "public": true}}, "policies": {"inbound": ["linear"]}}}}
      |                                          ^^^^
      = help: name a login policy too and take `public` out, or take the policy out

    1 problem in the configuration
    "#);
}

// EXT-6
#[test]
fn an_assertion_needs_a_login_with_an_id_token() {
    let key = key();
    let named = [route("a", "https://a.example.com/mcp", "", r#""login", "linear""#)];
    let report = |login: &str| {
        let project = project(&[login, &policy("linear", ID_JAG)], &named);
        project.report(&[VARIABLES, &[("KEY", &key)]].concat(), Mode::Check)
    };
    assert!(report(OIDC).starts_with("valid\n"), "{}", report(OIDC));
    let refused = report(LOGIN);
    let [said] = errors(&refused)[..] else { panic!("{refused}") };
    assert_eq!(said, "`id-jag` exchanges the ID token of a sign-in, and WorkOS gives none");
    assert!(refused.contains("= help: write `user-oauth`, or take a login policy such as `mcp-oauth-inbound`"));
}

// AKD-1
#[rstest]
#[case::per_person(r#""authMode": "user-oauth""#, false)]
#[case::id_jag(ID_JAG, false)]
#[case::shared(r#""authMode": "shared-oauth""#, true)]
fn in_direct_mode_only_a_shared_credential_can_be_had(#[case] options: &str, #[case] valid: bool) {
    let routes = [route("a", "https://a.example.com/mcp", "", r#""login", "linear""#)];
    let key = key();
    let report = project(&[DIRECT, &policy("linear", options)], &routes)
        .report(&[VARIABLES, &[("KEY", &key)]].concat(), Mode::Serve);
    if valid {
        assert!(report.starts_with("valid\n"), "{report}");
    } else {
        let [said] = errors(&report)[..] else { panic!("{report}") };
        assert!(said.ends_with("needs people who sign in at the gateway, and here they sign in at AuthKit"), "{said}");
        assert!(report.contains("= help: write `shared-oauth`, or take a login policy"), "{report}");
    }
}

// SEC-8
#[test]
fn a_secret_that_is_written_out_is_noted_and_not_shown() {
    let manual = r#""authMode": "user-oauth", "clientRegistration": { "mode": "manual", "clientId": "a", "clientSecret": "written-out" }"#;
    let noted = folder(manual).report(VARIABLES, Mode::Check);
    assert!(noted.contains("policies.json:4: `clientSecret` is written out"), "{noted}");
    let refused = report(&manual.replace("\"clientId\": \"a\", ", ""));
    assert!(!refused.contains("written-out") && refused.contains("`clientId` is missing"), "{refused}");
}

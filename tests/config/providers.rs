//! The policies whose endpoints are derived (gateway.md §6.3).

use doorward::config::model::{
    AnotherAccount, LoginProvider, OidcCredential, OidcOptions, ProviderProfile, SecretWay, SignOut,
};
use doorward::config::{Loaded, Mode};
use insta::assert_snapshot;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{Folder, item, routes_with};

const UUID: &str = "3fa85f64-5717-4562-b3fc-2c963f66afa6";
const OTHER_UUID: &str = "11111111-1111-4111-8111-111111111111";

/// Each provider with its own options, and a client id that it could have given.
fn own_options(provider: &str) -> (Value, &'static str) {
    let any = "gateway";
    match provider {
        "auth0" => (json!({ "auth0Domain": "my-tenant.us.auth0.com" }), any),
        "cognito" => (
            json!({ "awsRegion": "us-east-1", "userPoolId": "us-east-1_AbCdEf123", "userPoolDomain": "auth.example.com" }),
            any,
        ),
        "clerk" => (json!({ "frontendApiUrl": "https://verb-noun-00.clerk.accounts.dev" }), any),
        "entra" => (json!({ "tenantId": UUID }), OTHER_UUID),
        "google" => (json!({}), "123456789012-abc123def456.apps.googleusercontent.com"),
        "keycloak" => (json!({ "keycloakBaseUrl": "https://sso.example.com", "realm": "customer-portal" }), any),
        "logto" => (json!({ "logtoEndpoint": "https://acme.logto.app" }), any),
        "okta" => (json!({ "oktaDomain": "acme.okta.com" }), any),
        "onelogin" => (json!({ "oneLoginSubdomain": "acme" }), any),
        "ping" => (json!({ "environmentId": UUID }), any),
        other => panic!("there is no provider {other}"),
    }
}

/// A project behind the provider: its options with `changes`, where null takes one out.
fn folder(provider: &str, changes: &Value) -> Folder {
    let (mut options, client_id) = own_options(provider);
    options["clientId"] = json!(client_id);
    options["clientSecret"] = json!("$env(S)");
    for (name, value) in changes.as_object().unwrap() {
        options[name] = value.clone();
    }
    options.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let options = serde_json::to_string_pretty(&options).unwrap();
    let policies = format!(
        r#"{{"policies": [{{"name": "login", "policyType": "mcp-{provider}-oauth-inbound", "handler": {{"module": "$import(@zuplo/runtime)", "options": {options}}}}}]}}"#
    );
    let routes = routes_with(&item("/mcp/a", "a")).replace("\"workos\"", "\"login\"");
    Folder::new(&[("policies.json", &policies), ("routes.oas.json", &routes)])
}

fn loaded(provider: &str, changes: &Value) -> Loaded {
    folder(provider, changes)
        .load(&[("S", "s3cret")], Mode::Check)
        .unwrap_or_else(|problems| panic!("{}", problems.to_text()))
}

fn options(provider: &str, changes: &Value) -> OidcOptions {
    match loaded(provider, changes).config.login.unwrap().provider {
        LoginProvider::Oidc(options) => options,
        other => panic!("{other:?}"),
    }
}

fn report(provider: &str, changes: &Value) -> String {
    folder(provider, changes).report(&[("S", "s3cret")], Mode::Serve)
}

/// Name, issuer, and the URLs of keys, authorization, tokens, userinfo and sign-out.
fn derived(provider: &str, changes: &Value) -> String {
    let options = options(provider, changes);
    let ends = options.endpoints;
    let lines = [
        Some(options.display_name),
        Some(options.issuer),
        ends.jwks.map(String::from),
        ends.authorization.map(String::from),
        ends.token.map(String::from),
        ends.userinfo.map(String::from),
        ends.end_session.map(String::from),
    ];
    lines.map(|line| line.unwrap_or_else(|| "-".to_owned())).join("\n")
}

#[test]
fn auth0_is_derived_from_its_domain() {
    assert_snapshot!(derived("auth0", &json!({})), @r"
    Auth0
    https://my-tenant.us.auth0.com/
    https://my-tenant.us.auth0.com/.well-known/jwks.json
    https://my-tenant.us.auth0.com/authorize
    https://my-tenant.us.auth0.com/oauth/token
    https://my-tenant.us.auth0.com/userinfo
    https://my-tenant.us.auth0.com/oidc/logout
    ");
    let plain = options("auth0", &json!({}));
    assert!(plain.profile.namespaced_claims && !plain.profile.claims_in_access_token);
    assert_eq!(plain.requested_audience, None);
    let with_api = options("auth0", &json!({ "audience": "https://gateway.example.com" }));
    assert_eq!(with_api.requested_audience.as_deref(), Some("https://gateway.example.com"));
    assert_eq!(with_api.audience, None, "an ID token of Auth0 is never for an API");
    assert!(with_api.profile.claims_in_access_token);
}

#[test]
fn cognito_is_derived_from_region_pool_and_domain() {
    assert_snapshot!(derived("cognito", &json!({})), @r"
    Amazon Cognito
    https://cognito-idp.us-east-1.amazonaws.com/us-east-1_AbCdEf123
    https://cognito-idp.us-east-1.amazonaws.com/us-east-1_AbCdEf123/.well-known/jwks.json
    https://auth.example.com/oauth2/authorize
    https://auth.example.com/oauth2/token
    https://auth.example.com/oauth2/userInfo
    https://auth.example.com/logout
    ");
    let profile = options("cognito", &json!({})).profile;
    assert_eq!(
        (profile.groups, profile.token_use, profile.sign_out),
        (&["cognito:groups"][..], Some("id"), SignOut::LogoutUri)
    );
}

#[test]
fn clerk_is_derived_from_its_frontend_api() {
    assert_snapshot!(derived("clerk", &json!({ "frontendApiUrl": "https://Clerk.example.com/" })), @r"
    Clerk
    https://clerk.example.com
    https://clerk.example.com/.well-known/jwks.json
    https://clerk.example.com/oauth/authorize
    https://clerk.example.com/oauth/token
    https://clerk.example.com/oauth/userinfo
    -
    ");
}

#[test]
fn entra_is_derived_from_the_tenant() {
    assert_snapshot!(derived("entra", &json!({ "tenantId": UUID.to_uppercase() })), @r"
    Microsoft Entra
    https://login.microsoftonline.com/3fa85f64-5717-4562-b3fc-2c963f66afa6/v2.0
    https://login.microsoftonline.com/3fa85f64-5717-4562-b3fc-2c963f66afa6/discovery/v2.0/keys
    https://login.microsoftonline.com/3fa85f64-5717-4562-b3fc-2c963f66afa6/oauth2/v2.0/authorize
    https://login.microsoftonline.com/3fa85f64-5717-4562-b3fc-2c963f66afa6/oauth2/v2.0/token
    -
    https://login.microsoftonline.com/3fa85f64-5717-4562-b3fc-2c963f66afa6/oauth2/v2.0/logout
    ");
    let profile = options("entra", &json!({})).profile;
    assert_eq!((profile.verified_email, profile.organization), ("xms_edov", "tid"));
    assert_eq!(profile.another_account, AnotherAccount::Prompt("select_account"));
}

#[test]
fn google_needs_credentials_alone() {
    assert_snapshot!(derived("google", &json!({})), @r"
    Google
    https://accounts.google.com
    https://www.googleapis.com/oauth2/v3/certs
    https://accounts.google.com/o/oauth2/v2/auth
    https://oauth2.googleapis.com/token
    https://openidconnect.googleapis.com/v1/userinfo
    -
    ");
    let profile = options("google", &json!({})).profile;
    assert_eq!(profile.another_account, AnotherAccount::Prompt("select_account"));
    assert_eq!(profile.organization, "hd");
}

#[test]
fn keycloak_is_derived_from_server_and_realm() {
    assert_snapshot!(derived("keycloak", &json!({})), @r"
    Keycloak
    https://sso.example.com/realms/customer-portal
    https://sso.example.com/realms/customer-portal/protocol/openid-connect/certs
    https://sso.example.com/realms/customer-portal/protocol/openid-connect/auth
    https://sso.example.com/realms/customer-portal/protocol/openid-connect/token
    https://sso.example.com/realms/customer-portal/protocol/openid-connect/userinfo
    https://sso.example.com/realms/customer-portal/protocol/openid-connect/logout
    ");
    let elsewhere = json!({ "keycloakBaseUrl": "http://localhost:8080/auth/", "realm": "Our people" });
    assert_eq!(options("keycloak", &elsewhere).issuer, "http://localhost:8080/auth/realms/Our%20people");
    let profile = options("keycloak", &json!({})).profile;
    assert_eq!(profile.roles, ["realm_access", "roles"]);
    assert!(profile.claims_in_access_token);
    assert_eq!(profile.another_account, AnotherAccount::SignOut);
}

#[test]
fn logto_is_derived_from_its_endpoint() {
    assert_snapshot!(derived("logto", &json!({})), @r"
    Logto
    https://acme.logto.app/oidc
    https://acme.logto.app/oidc/jwks
    https://acme.logto.app/oidc/auth
    https://acme.logto.app/oidc/token
    https://acme.logto.app/oidc/me
    https://acme.logto.app/oidc/session/end
    ");
}

#[test]
fn okta_is_derived_from_its_domain_and_the_authorization_server() {
    assert_snapshot!(derived("okta", &json!({})), @r"
    Okta
    https://acme.okta.com
    https://acme.okta.com/oauth2/v1/keys
    https://acme.okta.com/oauth2/v1/authorize
    https://acme.okta.com/oauth2/v1/token
    https://acme.okta.com/oauth2/v1/userinfo
    -
    ");
    assert_snapshot!(derived("okta", &json!({ "authorizationServerId": "default" })), @r"
    Okta
    https://acme.okta.com/oauth2/default
    https://acme.okta.com/oauth2/default/v1/keys
    https://acme.okta.com/oauth2/default/v1/authorize
    https://acme.okta.com/oauth2/default/v1/token
    https://acme.okta.com/oauth2/default/v1/userinfo
    -
    ");
}

#[test]
fn onelogin_is_derived_from_its_subdomain_and_wants_the_secret_in_the_body() {
    assert_snapshot!(derived("onelogin", &json!({})), @r"
    OneLogin
    https://acme.onelogin.com/oidc/2
    https://acme.onelogin.com/oidc/2/certs
    https://acme.onelogin.com/oidc/2/auth
    https://acme.onelogin.com/oidc/2/token
    https://acme.onelogin.com/oidc/2/me
    https://acme.onelogin.com/oidc/2/logout
    ");
    let options = options("onelogin", &json!({}));
    assert!(matches!(options.credential, OidcCredential::Secret { way: Some(SecretWay::Post), .. }));
    assert_eq!(options.profile.sign_out, SignOut::NoWayBack);
}

#[test]
fn pingone_is_derived_from_environment_and_region_or_from_a_custom_domain() {
    assert_snapshot!(derived("ping", &json!({})), @r"
    PingOne
    https://auth.pingone.com/3fa85f64-5717-4562-b3fc-2c963f66afa6/as
    https://auth.pingone.com/3fa85f64-5717-4562-b3fc-2c963f66afa6/as/jwks
    https://auth.pingone.com/3fa85f64-5717-4562-b3fc-2c963f66afa6/as/authorize
    https://auth.pingone.com/3fa85f64-5717-4562-b3fc-2c963f66afa6/as/token
    https://auth.pingone.com/3fa85f64-5717-4562-b3fc-2c963f66afa6/as/userinfo
    https://auth.pingone.com/3fa85f64-5717-4562-b3fc-2c963f66afa6/as/signoff
    ");
    let custom = json!({ "customDomain": "login.example.com", "region": "europe" });
    assert_snapshot!(derived("ping", &custom), @r"
    PingOne
    https://login.example.com/as
    https://login.example.com/as/jwks
    https://login.example.com/as/authorize
    https://login.example.com/as/token
    https://login.example.com/as/userinfo
    https://login.example.com/as/signoff
    ");
    assert_eq!(
        options("ping", &json!({ "customDomain": "login.example.com", "environmentId": null })).issuer,
        "https://login.example.com/as"
    );
}

#[rstest]
#[case("north-america", "auth.pingone.com")]
#[case("canada", "auth.pingone.ca")]
#[case("europe", "auth.pingone.eu")]
#[case("singapore", "auth.pingone.sg")]
#[case("australia", "auth.pingone.com.au")]
#[case("asia-pacific", "auth.pingone.asia")]
fn each_region_of_pingone_has_its_host(#[case] region: &str, #[case] host: &str) {
    assert_eq!(options("ping", &json!({ "region": region })).issuer, format!("https://{host}/{UUID}/as"));
}

// IDP-9
#[rstest]
#[case("auth0", SecretWay::Post)]
#[case("cognito", SecretWay::Basic)]
#[case("clerk", SecretWay::Basic)]
#[case("entra", SecretWay::Basic)]
#[case("google", SecretWay::Basic)]
#[case("keycloak", SecretWay::Basic)]
#[case("logto", SecretWay::Basic)]
#[case("okta", SecretWay::Basic)]
#[case("onelogin", SecretWay::Post)]
#[case("ping", SecretWay::Basic)]
fn every_common_option_arrives_at_every_provider(#[case] provider: &str, #[case] way: SecretWay) {
    let policy = loaded(provider, &json!({})).config.login.unwrap();
    assert_eq!((policy.scope.as_str(), policy.browser_login.pkce), ("openid profile email", true));
    assert_eq!(policy.browser_login.remote_timeout.as_millis(), 10_000);
    let changes = json!({
        "scope": "openid groups",
        "roleClaim": "realm_access.roles", "groupClaim": "https://a.example/groups", "permissionClaim": "may",
        "browserLoginOverrides": { "remoteTimeoutMs": 500, "stateTtlSeconds": 60, "sessionTtlSeconds": 120, "pkce": "none" },
        "idJag": { "enabled": false },
        "gateway": { "accessTokenTtlSeconds": 60, "scopes": { "mcp:admin": ["mcp:tools"] } },
    });
    let policy = loaded(provider, &changes).config.login.unwrap();
    assert_eq!((policy.scope.as_str(), policy.browser_login.pkce), ("openid groups", false));
    assert_eq!(policy.browser_login.remote_timeout.as_millis(), 500);
    assert_eq!((policy.browser_login.state_ttl.as_secs(), policy.browser_login.session_ttl.as_secs()), (60, 120));
    assert_eq!(policy.gateway.access_token_ttl.as_secs(), 60);
    assert!(policy.gateway.scopes.contains_key("mcp:admin"));
    let LoginProvider::Oidc(options) = policy.provider else { panic!("another provider") };
    assert!(options.claims.roles.is_some() && options.claims.groups.is_some() && options.claims.permissions.is_some());
    assert_eq!(options.client_id, own_options(provider).1);
    assert!(matches!(options.credential, OidcCredential::Secret { way: Some(given), .. } if given == way));
    assert!(!format!("{options:?}").contains("s3cret"));
}

/// What is refused, how the message begins, and what the help says.
#[rstest]
#[case::scheme("auth0", json!({"auth0Domain": "https://my-tenant.us.auth0.com/"}), "`auth0Domain` must be a host name, without a scheme", "leave out all but `my-tenant.us.auth0.com`")]
#[case::no_dot("auth0", json!({"auth0Domain": "my-tenant"}), "`auth0Domain` must be a whole host name, with a dot", "such as `my-tenant.us.auth0.com`")]
#[case::path("auth0", json!({"auth0Domain": "my-tenant.us.auth0.com/"}), "`auth0Domain` must be a host name, without a slash or path", "such as")]
#[case::port("auth0", json!({"auth0Domain": "my-tenant.us.auth0.com:443"}), "`auth0Domain` must be a host name, without port or user", "such as")]
#[case::braces("auth0", json!({"auth0Domain": "{realm}.auth0.com"}), "`auth0Domain` is not a host name", "such as")]
#[case::address("auth0", json!({"auth0Domain": "10.0.0.1"}), "`auth0Domain` is not a host name", "such as")]
#[case::empty_audience("auth0", json!({"audience": " "}), "`audience` is empty", "leave it out")]
#[case::region("cognito", json!({"awsRegion": "US East"}), "`awsRegion` is not a region of AWS", "such as `us-east-1`")]
#[case::china("cognito", json!({"awsRegion": "cn-north-1"}), "`awsRegion` is a region with hosts of its own", "configure the pool with `mcp-oauth-inbound`")]
#[case::pool("cognito", json!({"userPoolId": "AbCdEf123"}), "`userPoolId` is not the id of a user pool", "such as `us-east-1_AbCdEf123`")]
#[case::pool_elsewhere("cognito", json!({"userPoolId": "eu-west-1_AbCdEf123"}), "`userPoolId` names another region than `awsRegion`", "begins with its region")]
#[case::pool_scheme("cognito", json!({"userPoolDomain": "https://auth.example.com"}), "`userPoolDomain` must be a host name, without a scheme", "leave out all but `auth.example.com`")]
#[case::pool_slash("cognito", json!({"userPoolDomain": "auth.example.com/"}), "`userPoolDomain` must be a host name, without a slash or path", "such as")]
#[case::pool_prefix("cognito", json!({"userPoolDomain": "my-pool"}), "`userPoolDomain` must be a whole host name, not the prefix alone", "`my-pool.auth.us-east-1.amazoncognito.com`")]
#[case::clerk_path("clerk", json!({"frontendApiUrl": "https://clerk.example.com/v1"}), "`frontendApiUrl` must be an origin, without path, query or fragment", "leave out all but `https://clerk.example.com`")]
#[case::clerk_query("clerk", json!({"frontendApiUrl": "https://clerk.example.com?a=b"}), "`frontendApiUrl` must be an origin", "leave out")]
#[case::clerk_fragment("clerk", json!({"frontendApiUrl": "https://clerk.example.com#a"}), "`frontendApiUrl` must be an origin", "leave out")]
#[case::clerk_user("clerk", json!({"frontendApiUrl": "https://a:b@clerk.example.com"}), "`frontendApiUrl` must be an origin", "leave out all but `https://clerk.example.com`")]
#[case::clerk_host("clerk", json!({"frontendApiUrl": "clerk.example.com"}), "`frontendApiUrl` must be an origin, with `https://`", "such as `https://verb-noun-00.clerk.accounts.dev`")]
#[case::clerk_http("clerk", json!({"frontendApiUrl": "http://clerk.example.com"}), "`frontendApiUrl` must be https, or http on loopback", "such as")]
#[case::common("entra", json!({"tenantId": "common"}), "`tenantId` must be one tenant: `common` stands for many", "Directory (tenant) ID")]
#[case::organizations("entra", json!({"tenantId": "Organizations"}), "`tenantId` must be one tenant", "Directory (tenant) ID")]
#[case::consumers("entra", json!({"tenantId": "consumers"}), "`tenantId` must be one tenant", "Directory (tenant) ID")]
#[case::domain("entra", json!({"tenantId": "contoso.onmicrosoft.com"}), "`tenantId` must be the tenant's id, a UUID, not a domain or URL", "Directory (tenant) ID")]
#[case::no_uuid("entra", json!({"tenantId": "3fa85f64"}), "`tenantId` must be the tenant's id, a UUID", "Directory (tenant) ID")]
#[case::entra_client("entra", json!({"clientId": "gateway"}), "`clientId` must be a UUID", "Application (client) ID")]
#[case::secret_id("entra", json!({"clientSecret": OTHER_UUID}), "`clientSecret` holds the id of a secret", "Value")]
#[case::google_client("google", json!({"clientId": "123456789012"}), "`clientId` must end in `.apps.googleusercontent.com`", "it looks like")]
#[case::google_bare("google", json!({"clientId": ".apps.googleusercontent.com"}), "`clientId` must end in `.apps.googleusercontent.com`", "it looks like")]
#[case::google_url("google", json!({"clientId": "https://x.apps.googleusercontent.com"}), "`clientId` must end in `.apps.googleusercontent.com`", "it looks like")]
#[case::realms("keycloak", json!({"keycloakBaseUrl": "https://sso.example.com/realms/main"}), "`keycloakBaseUrl` must be the root of the server, without `/realms/`", r#"`"realm": "main"`"#)]
#[case::realms_alone("keycloak", json!({"keycloakBaseUrl": "https://sso.example.com/auth/realms/"}), "`keycloakBaseUrl` must be the root of the server, without `/realms/`", "an option of its own, `realm`")]
#[case::console("keycloak", json!({"keycloakBaseUrl": "https://sso.example.com/admin/master/console/"}), "`keycloakBaseUrl` must be the root of the server, not its admin console", "leave out `/admin`")]
#[case::keycloak_http("keycloak", json!({"keycloakBaseUrl": "http://sso.example.com"}), "`keycloakBaseUrl` must be https, or http on loopback", "such as")]
#[case::keycloak_query("keycloak", json!({"keycloakBaseUrl": "https://sso.example.com?a"}), "`keycloakBaseUrl` must be the root of the server, without user, query or fragment", "such as")]
#[case::realm_path("keycloak", json!({"realm": "realms/main"}), "`realm` must be the realm's name alone", "decoded")]
#[case::realm_up("keycloak", json!({"realm": ".."}), "`realm` must be the realm's name alone", "decoded")]
#[case::realm_blank("keycloak", json!({"realm": " main"}), "`realm` is empty, or begins or ends with a blank", "such as `main`")]
#[case::logto_path("logto", json!({"logtoEndpoint": "https://acme.logto.app/oidc"}), "`logtoEndpoint` must be an origin, without path, query or fragment", "leave out all but `https://acme.logto.app`; `/oidc` is added to it")]
#[case::okta_scheme("okta", json!({"oktaDomain": "https://acme.okta.com"}), "`oktaDomain` must be a host name, without a scheme", "leave out all but `acme.okta.com`")]
#[case::okta_slash("okta", json!({"oktaDomain": "acme.okta.com/"}), "`oktaDomain` must be a host name, without a slash or path", "such as `acme.okta.com`")]
#[case::okta_admin("okta", json!({"oktaDomain": "acme-admin.okta.com"}), "`oktaDomain` is the host of the admin console", "write `acme.okta.com`")]
#[case::okta_server("okta", json!({"authorizationServerId": "https://acme.okta.com/oauth2/default"}), "`authorizationServerId` must be the id of an authorization server", "such as `default`")]
#[case::onelogin_scheme("onelogin", json!({"oneLoginSubdomain": "https://acme.onelogin.com/oidc/2"}), "`oneLoginSubdomain` must be the subdomain alone", "write `acme`")]
#[case::onelogin_host("onelogin", json!({"oneLoginSubdomain": "acme.onelogin.com"}), "`oneLoginSubdomain` must be the subdomain alone", "write `acme`")]
#[case::onelogin_path("onelogin", json!({"oneLoginSubdomain": "acme/portal"}), "`oneLoginSubdomain` must be the subdomain alone", "write `acme`")]
#[case::onelogin_other("onelogin", json!({"oneLoginSubdomain": "login.example.com"}), "`oneLoginSubdomain` must be the subdomain of the account", "such as `acme`")]
#[case::ping_id("ping", json!({"environmentId": "my-environment"}), "`environmentId` must be a UUID", "such as")]
#[case::ping_nothing("ping", json!({"environmentId": null}), "`environmentId` is missing in `options`", "`customDomain` instead")]
#[case::ping_region("ping", json!({"region": "europa"}), "`region` must be `north-america`", "did you mean `europe`?")]
#[case::ping_domain("ping", json!({"customDomain": "https://login.example.com"}), "`customDomain` must be a host name, without a scheme", "leave out all but `login.example.com`")]
#[case::id("okta", json!({"clientId": ""}), "`clientId` is empty", "registered")]
#[case::secret("okta", json!({"clientSecret": ""}), "the secret is empty", "$env(NAME)")]
#[case::scope("okta", json!({"scope": "profile"}), "`scope` lacks `openid`", "the default is")]
#[case::claim("okta", json!({"roleClaim": "a..b"}), "`roleClaim` is not a claim path", "such as")]
#[case::unknown("okta", json!({"tokenUrl": "https://a.example"}), "unknown key `tokenUrl`", "oktaDomain")]
fn a_value_of_the_wrong_shape_is_refused_with_the_right_one(
    #[case] provider: &str,
    #[case] changes: Value,
    #[case] message: &str,
    #[case] help: &str,
) {
    let report = report(provider, &changes);
    assert!(report.starts_with(&format!("error: {message}")), "{report}");
    assert!(report.lines().any(|line| line.starts_with("  = help: ") && line.contains(help)), "{report}");
    assert!(report.ends_with("\n1 problem in the configuration\n"), "{report}");
}

#[test]
fn a_refusal_points_at_the_value() {
    assert_snapshot!(report("keycloak", &json!({ "keycloakBaseUrl": "https://sso.example.com/realms/main" })), @r#"
    error: `keycloakBaseUrl` must be the root of the server, without `/realms/`
     --> config/policies.json:2:22
      |
    2 |   "keycloakBaseUrl": "https://sso.example.com/realms/main",
      |                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: the realm has an option of its own: `"realm": "main"`

    1 problem in the configuration
    "#);
}

#[rstest]
#[case("auth0", &["auth0Domain"])]
#[case("cognito", &["awsRegion", "userPoolDomain", "userPoolId"])]
#[case("clerk", &["frontendApiUrl"])]
#[case("entra", &["tenantId"])]
#[case("google", &[])]
#[case("keycloak", &["keycloakBaseUrl", "realm"])]
#[case("logto", &["logtoEndpoint"])]
#[case("okta", &["oktaDomain"])]
#[case("onelogin", &["oneLoginSubdomain"])]
#[case("ping", &[])]
fn every_required_option_that_is_missing_is_named(#[case] provider: &str, #[case] own: &[&str]) {
    for option in [own, &["clientId", "clientSecret"]].concat() {
        let report = report(provider, &json!({ option: null }));
        assert!(report.starts_with(&format!("error: `{option}` is missing in ")), "{report}");
    }
}

#[rstest]
fn dev_stands_in_for_each_provider_when_nothing_of_it_is_set(
    #[values("auth0", "cognito", "clerk", "entra", "google", "keycloak", "logto", "okta", "onelogin", "ping")]
    provider: &str,
) {
    let own = own_options(provider).0;
    let mut changes: serde_json::Map<_, _> =
        own.as_object().unwrap().keys().map(|name| (name.clone(), json!("$env(UNSET)"))).collect();
    changes.insert("clientId".to_owned(), json!("$env(UNSET_ID)"));
    let folder = folder(provider, &Value::Object(changes));
    let loaded = folder.load(&[], Mode::Dev).unwrap_or_else(|problems| panic!("{}", problems.to_text()));
    assert!(matches!(loaded.config.login.unwrap().provider, LoginProvider::Development));
    assert!(
        loaded.notes[0].starts_with("UNSET_ID and S are not set: the development login stands in for "),
        "{:?}",
        loaded.notes
    );
    assert!(folder.load(&[], Mode::Serve).is_err());
    let half = folder.report(&[("S", "s3cret"), ("UNSET", "x")], Mode::Dev);
    assert!(half.contains("`clientId` needs the environment variable UNSET_ID, which is not set"), "{half}");
}

#[rstest]
#[case("auth0", true)]
#[case("cognito", true)]
#[case("clerk", true)]
#[case("entra", false)]
#[case("google", true)]
#[case("keycloak", false)]
#[case("logto", true)]
#[case("okta", false)]
#[case("onelogin", false)]
#[case("ping", false)]
fn check_warns_of_routes_without_rules_where_anyone_can_sign_up(#[case] provider: &str, #[case] warns: bool) {
    let loaded = loaded(provider, &json!({}));
    let warned = loaded.notes.iter().any(|note| note.starts_with("whoever can sign in to ") && note.contains("/mcp/a"));
    assert_eq!(warned, warns, "{:?}", loaded.notes);
    assert!(folder(provider, &json!({})).load(&[("S", "s3cret")], Mode::Serve).unwrap().notes.is_empty());
}

#[test]
fn the_generic_policy_keeps_to_the_standards() {
    let standard = ProviderProfile::STANDARD;
    assert_eq!((standard.sign_out, standard.another_account), (SignOut::Standard, AnotherAccount::Prompt("login")));
    assert!(!standard.namespaced_claims && !standard.claims_in_access_token && !standard.open_sign_up);
}

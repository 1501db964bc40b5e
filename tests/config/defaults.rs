//! Good files: every default of gateway.md §3, §6.1 and §10, and every option given.

use std::time::Duration;

use doorward::config::{
    ForwardIdentity, LoginProvider, Mode, RedirectAllowance, SigningAlg, WorkOsOptions, WorkOsSelector,
};
use doorward::domain::ClientOrigin;
use doorward::domain::client::{AuthMethod, ClientKeys, GrantType};
use secrecy::ExposeSecret as _;

use crate::{Folder, SECRET, gateway, item, loaded, policies_with, routes_with};

fn workos(options: &str) -> WorkOsOptions {
    match loaded(options).config.login.unwrap().provider {
        LoginProvider::WorkOs(options) => options,
        LoginProvider::Oidc(_) | LoginProvider::AuthKit(_) | LoginProvider::Development => {
            panic!("the development login stands in outside of dev")
        }
    }
}

#[test]
fn gateway_options_have_the_contracts_defaults() {
    let options = gateway("");
    assert_eq!(options.access_token_ttl, Duration::from_secs(900));
    assert_eq!(options.refresh_token_ttl, Duration::from_secs(2_592_000));
    assert_eq!(options.grant_ttl, Duration::from_secs(31_536_000));
    assert_eq!(options.refresh_token_reuse, Duration::from_secs(120));
    assert_eq!(options.signing_alg, SigningAlg::Es256);
    assert_eq!(options.scopes.into_iter().collect::<Vec<_>>(), [("mcp:tools".to_owned(), vec![])]);
    assert_eq!(options.default_route, None);
    assert!(options.cimd_enabled && options.dcr_enabled && options.legacy_aliases);
    assert!(!options.remember_consent && !options.close_streams_at_expiry);
    assert_eq!(options.redirect_uri_allow_list, None);
    assert_eq!(options.cimd_allowed_hosts, None);
    assert!(options.cimd_denied_hosts.is_empty() && options.cimd_documents.is_empty());
    assert!(options.clients.is_empty() && options.resource_servers.is_empty());
    assert!(options.initial_access_token.is_none());
    assert_eq!(options.max_clients, 100_000);
    assert_eq!(options.client_idle, Duration::from_secs(90 * 86400));
    assert_eq!(options.stream_max, Duration::from_secs(86400));
    assert_eq!(options.outage_grace, Duration::from_secs(3600));
    let limits = options.limits.unwrap();
    assert_eq!((limits.registrations, limits.authorizations, limits.document_fetches), (120, 300, 60));
    assert_eq!((limits.failed_token_requests, limits.grant_token_requests, limits.streams_per_grant), (120, 120, 100));
    assert!(options.operators.emails.is_empty() && options.operators.roles.is_empty());
}

#[test]
fn workos_options_have_the_contracts_defaults() {
    let login = loaded("").config.login.unwrap();
    assert_eq!((login.name.as_str(), login.scope.as_str()), ("workos", "openid profile email"));
    assert_eq!(login.browser_login.remote_timeout, Duration::from_millis(10_000));
    assert_eq!(login.browser_login.state_ttl, Duration::from_secs(900));
    assert_eq!(login.browser_login.session_ttl, Duration::from_secs(28_800));
    assert!(login.browser_login.pkce);
    let options = workos("");
    assert_eq!(options.client_id, "client_01");
    assert_eq!(options.client_secret.expose_secret(), "sk_test_1");
    assert_eq!(options.api_url.as_str(), "https://api.workos.com/");
    assert_eq!(options.selector, WorkOsSelector::Provider("authkit".to_owned()));
    assert_eq!((options.organization_id, options.screen_hint, options.domain_hint), (None, None, None));
    assert!(!options.allow_impersonation && options.session_sync && options.issuers.is_empty());
    assert_eq!(options.session_sync_interval, Duration::from_secs(300));
}

#[test]
fn a_route_has_the_contracts_defaults() {
    let config = loaded("").config;
    let route = &config.routes[0];
    assert_eq!((route.path.as_str(), route.operation_id.as_str()), ("/mcp/linear", "linear"));
    assert_eq!(route.proxy.upstream.as_str(), "https://up.example.com/mcp");
    assert!(route.proxy.forward_search && !route.proxy.follow_redirects && !route.proxy.public);
    assert_eq!(route.proxy.forward_identity, ForwardIdentity::None);
    assert_eq!(route.proxy.connect_timeout, Duration::from_millis(5000));
    assert_eq!(route.proxy.first_byte_timeout, Duration::from_millis(300_000));
    assert_eq!(route.proxy.stream_keep_alive, Some(Duration::from_secs(25)));
    assert_eq!(route.proxy.max_body, 4 * 1024 * 1024);
}

#[test]
fn every_gateway_option_is_taken() {
    let options = gateway(
        r#"
        "accessTokenTtlSeconds": 5, "refreshTokenTtlSeconds": 6, "grantTtlSeconds": 7, "refreshTokenReuseSeconds": 0,
        "signingAlg": "EdDSA", "scopes": {"mcp:admin": ["mcp:tools"]}, "defaultRoute": "linear",
        "cimdEnabled": false, "dcrEnabled": false, "legacyAliases": false, "rememberConsent": true,
        "redirectUriAllowList": ["https://claude.ai", "https://app.example.com/cb"],
        "cimdAllowedHosts": ["Claude.ai"], "cimdDeniedHosts": ["evil.example.com"],
        "cimdDocuments": {"https://a.example.com/c": {"client_id": "https://a.example.com/c", "client_name": "A",
            "redirect_uris": ["https://a.example.com/cb"]}},
        "initialAccessToken": "$env(SECRET)", "maxClients": 8, "clientIdleDays": 9,
        "resourceServers": [{"id": "api", "secret": "$env(SECRET)", "routes": ["/mcp/notion"]}],
        "streamMaxSeconds": 10, "closeStreamsAtExpiry": true, "outageGraceSeconds": 0,
        "operators": {"emails": ["ada@example.com"], "roles": ["admin"], "organizations": ["org_1"]}, "#,
    );
    assert_eq!(options.access_token_ttl, Duration::from_secs(5));
    assert_eq!(options.refresh_token_ttl, Duration::from_secs(6));
    assert_eq!(options.grant_ttl, Duration::from_secs(7));
    assert_eq!(options.refresh_token_reuse, Duration::ZERO);
    assert_eq!(options.signing_alg, SigningAlg::EdDsa);
    assert_eq!(options.scopes.keys().collect::<Vec<_>>(), ["mcp:admin", "mcp:tools"]);
    assert_eq!(options.default_route.as_deref(), Some("/mcp/linear"));
    assert!(!options.cimd_enabled && !options.dcr_enabled && !options.legacy_aliases && options.remember_consent);
    let list = options.redirect_uri_allow_list.unwrap();
    assert!(matches!(list.as_slice(), [RedirectAllowance::Origin(_), RedirectAllowance::Uri(_)]));
    assert_eq!(options.cimd_allowed_hosts.unwrap(), ["claude.ai"]);
    assert_eq!(options.cimd_denied_hosts, ["evil.example.com"]);
    assert_eq!(options.cimd_documents["https://a.example.com/c"]["client_name"], "A");
    assert_eq!(options.initial_access_token.unwrap().expose_secret(), "sk_test_1");
    assert_eq!((options.max_clients, options.client_idle), (8, Duration::from_secs(9 * 86400)));
    assert_eq!(options.resource_servers[0].routes, ["/mcp/notion"]);
    assert_eq!((options.stream_max, options.outage_grace), (Duration::from_secs(10), Duration::ZERO));
    assert!(options.close_streams_at_expiry);
    assert_eq!(options.operators.emails, ["ada@example.com"]);
}

#[test]
fn every_workos_option_is_taken() {
    let options = workos(
        r#""apiUrl": "http://localhost:4100", "issuers": ["https://auth.example.com/"], "organizationId": "org_1",
        "screenHint": "sign-up", "domainHint": "example.com", "allowImpersonation": true, "sessionSync": false,
        "sessionSyncSeconds": 60, "provider": "authkit", "idJag": {"enabled": false, "trustedIssuers": []}"#,
    );
    assert_eq!(options.api_url.as_str(), "http://localhost:4100/");
    assert_eq!(options.selector, WorkOsSelector::Provider("authkit".to_owned()));
    assert_eq!(options.organization_id.as_deref(), Some("org_1"));
    assert_eq!(options.screen_hint.as_deref(), Some("sign-up"));
    assert_eq!(options.domain_hint.as_deref(), Some("example.com"));
    assert!(options.allow_impersonation && !options.session_sync);
    assert_eq!(options.session_sync_interval, Duration::from_secs(60));
    assert_eq!(workos(r#""connectionId": "conn_1""#).selector, WorkOsSelector::Connection("conn_1".to_owned()));
    assert_eq!(workos(r#""organizationId": "org_1""#).selector, WorkOsSelector::Organization("org_1".to_owned()));
    let login = loaded(r#""scope": "openid", "browserLoginOverrides": {"remoteTimeoutMs": 1, "stateTtlSeconds": 2, "sessionTtlSeconds": 3, "pkce": "none"}"#)
        .config
        .login
        .unwrap();
    assert_eq!(login.scope, "openid");
    assert_eq!(login.browser_login.session_ttl, Duration::from_secs(3));
    assert!(!login.browser_login.pkce);
}

#[test]
fn stat_1_and_stat_2_a_static_client_is_complete() {
    let hash = format!("sha256:{}", "0A".repeat(32));
    let clients = gateway(&format!(
        r#""clients": [
        {{"clientId": "ci", "name": "CI", "redirectUris": ["https://ci.example.com/cb"], "clientSecretHash": ["{hash}", "{hash}"],
          "authMethod": "client_secret_post", "grantTypes": ["authorization_code"], "scopes": ["mcp:tools"], "routes": ["linear"]}},
        {{"clientId": "desktop", "redirectUris": ["http://127.0.0.1/cb", "cursor://x/cb"]}},
        {{"clientId": "keyed", "redirectUris": ["https://k.example.com/cb"], "jwks": "https://k.example.com/jwks"}},
        {{"clientId": "plain", "redirectUris": ["https://p.example.com/cb"], "clientSecret": "$env(SECRET)"}}]"#
    ))
    .clients;
    let [ci, desktop, keyed, plain] = clients.as_slice() else { panic!("four clients were declared") };
    assert_eq!(
        (ci.origin, ci.auth_method, ci.secret_hashes.len()),
        (ClientOrigin::Static, AuthMethod::ClientSecretPost, 2)
    );
    assert_eq!(ci.secret_hashes[0].as_bytes(), &[0x0a; 32]);
    assert_eq!(ci.grant_types, [GrantType::AuthorizationCode]);
    assert_eq!(ci.routes.as_deref(), Some(&["/mcp/linear".to_owned()][..]));
    assert!(desktop.is_public() && desktop.secret_hashes.is_empty() && desktop.scopes.is_none());
    assert_eq!(desktop.grant_types, [GrantType::AuthorizationCode, GrantType::RefreshToken]);
    assert!(matches!(keyed.keys, Some(ClientKeys::Uri(_))));
    assert_eq!(keyed.auth_method, AuthMethod::PrivateKeyJwt);
    assert_eq!(plain.auth_method, AuthMethod::ClientSecretBasic);
    assert_eq!(plain.secret_hashes, [doorward::crypto::SecretHash::of(b"sk_test_1")]);
}

#[test]
fn every_proxy_option_and_both_route_keys_and_all_methods_are_taken() {
    let items = ["post", "get", "get,post", "get,post,delete"]
        .map(|method| {
            format!(
                r#""/{method}": {{"{method}": {{"operationId": "{method}", "summary": "S", "description": "D", "tags": [], "x-mine": 1,
                "x-doorward-route": {{"corsPolicy": "none", "handler": {{"module": "$import(@zuplo/runtime)", "export": "McpProxyHandler", "options": {{
                "rewritePattern": "https://${{env.HOST}}/$env(PATH)", "forwardSearch": false, "followRedirects": true, "forwardIdentity": "assertion",
                "connectTimeoutMs": 1, "firstByteTimeoutMs": "$env(MS)", "streamKeepAliveMs": 0,
                "addresses": ["MCP-1.internal", "10.0.0.1:8080", "[::1]:9", "[2001:DB8::1]"], "maxBodyBytes": 3}}}}, "policies": {{"inbound": ["workos"]}}}}}}}}"#
            )
        })
        .join(",\n");
    let folder = Folder::new(&[("policies.json", &policies_with("")), ("routes.oas.json", &routes_with(&items))]);
    let variables = [SECRET, &[("HOST", "up.example.com"), ("PATH", "mcp?a=$env(HOST)"), ("MS", "2")]].concat();
    let routes = folder.load(&variables, Mode::Serve).unwrap().config.routes;
    assert_eq!(routes.len(), 4);
    let proxy = &routes[3].proxy;
    assert_eq!(proxy.upstream.as_str(), "https://up.example.com/mcp?a=$env(HOST)");
    assert!(!proxy.forward_search && proxy.follow_redirects);
    assert_eq!(proxy.forward_identity, ForwardIdentity::Assertion);
    assert_eq!(proxy.first_byte_timeout, Duration::from_millis(2));
    assert_eq!(proxy.stream_keep_alive, None);
    assert_eq!(proxy.addresses, ["mcp-1.internal:443", "10.0.0.1:8080", "[::1]:9", "[2001:db8::1]:443"]);
    assert_eq!((proxy.connect_timeout, proxy.max_body), (Duration::from_millis(1), 3));
    assert_eq!(routes[0].display_name(), "S");
}

#[test]
fn route_files_are_read_in_alphabetical_order() {
    let folder = Folder::new(&[
        ("policies.json", &policies_with("")),
        ("b.oas.json", &routes_with(&item("/mcp/b", "b"))),
        ("a.oas.json", &routes_with(&item("/mcp/a", "a"))),
        ("notes.json", "not read"),
    ]);
    let routes = folder.load(SECRET, Mode::Serve).unwrap().config.routes;
    assert_eq!(routes.iter().map(|route| route.path.as_str()).collect::<Vec<_>>(), ["/mcp/a", "/mcp/b"]);
}

#[test]
fn zuplos_other_files_are_noted_and_ignored() {
    let folder =
        Folder::new(&[("policies.json", &policies_with("")), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]);
    std::fs::write(folder.project().join("zuplo.jsonc"), "{}").unwrap();
    std::fs::create_dir(folder.project().join("modules")).unwrap();
    let notes = folder.load(SECRET, Mode::Serve).unwrap().notes;
    let notes: Vec<_> = notes.iter().map(|note| folder.plain(note)).collect();
    assert_eq!(
        notes,
        ["zuplo.jsonc is not used by doorward and was ignored", "modules is not used by doorward and was ignored"]
    );
}

#[test]
fn the_repositorys_own_config_works_in_dev_with_an_empty_environment() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let loaded = doorward::config::load(&folder, &crate::env(&[]), Mode::Dev).unwrap();
    assert!(matches!(loaded.config.login.unwrap().provider, LoginProvider::Development));
    assert_eq!(loaded.config.routes.len(), 1);
    assert!(loaded.notes.iter().any(|note| note.contains("development login")));
}

#[test]
fn the_repositorys_own_config_is_valid_with_its_two_variables() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let variables = crate::env(&[("WORKOS_CLIENT_ID", "client_01"), ("WORKOS_CLIENT_SECRET", "sk_test_1")]);
    let loaded = doorward::config::load(&folder, &variables, Mode::Serve).unwrap();
    assert!(matches!(loaded.config.login.unwrap().provider, LoginProvider::WorkOs(_)));
}

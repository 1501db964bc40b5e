//! A start without a folder (gateway.md §1).

use doorward::config::{Flags, LoginProvider, Mode, from_flags};
use insta::assert_snapshot;
use secrecy::SecretString;

fn flags(id: Option<&str>, secret: Option<&str>, servers: &[&str]) -> Flags {
    Flags {
        workos_client_id: id.map(str::to_owned),
        workos_client_secret: secret.map(SecretString::from),
        servers: servers.iter().map(|server| (*server).to_owned()).collect(),
        ..Flags::default()
    }
}

fn report(flags: &Flags, mode: Mode) -> String {
    match from_flags(flags, mode) {
        Ok(loaded) => format!("valid\n{}", loaded.notes.join("\n")),
        Err(diagnostics) => diagnostics.to_text(),
    }
}

#[test]
fn flags_make_the_same_configuration_as_a_folder() {
    let mut flags = flags(Some("client_1"), Some("sk_1"), &["linear=https://mcp.linear.app/mcp?x=$env(Y)"]);
    flags.workos_api_url = Some("http://localhost:4100".to_owned());
    let config = from_flags(&flags, Mode::Serve).unwrap().config;
    assert_eq!(config.routes[0].path, "/mcp/linear");
    assert_eq!(config.routes[0].operation_id, "linear");
    assert_eq!(config.routes[0].proxy.upstream.as_str(), "https://mcp.linear.app/mcp?x=$env(Y)");
    let LoginProvider::WorkOs(options) = config.login.unwrap().provider else { panic!("credentials were given") };
    assert_eq!(options.api_url.as_str(), "http://localhost:4100/");
}

#[test]
fn in_dev_no_credentials_mean_the_development_login() {
    assert_snapshot!(report(&flags(None, None, &["a=https://a.example.com/mcp"]), Mode::Dev), @r#"
    valid
    WORKOS_CLIENT_ID and WORKOS_CLIENT_SECRET are not set: the development login stands in for WorkOS
    "#);
}

#[test]
fn in_dev_one_credential_without_the_other_is_an_error() {
    assert_snapshot!(report(&flags(Some("client_1"), None, &["a=https://a.example.com/mcp"]), Mode::Dev), @r#"
    error: `clientSecret` needs the environment variable WORKOS_CLIENT_SECRET, which is not set, while `clientId` has a value
     --> --workos-client-secret
      = help: set WORKOS_CLIENT_SECRET; or unset both, and `doorward dev` uses its development login

    1 problem in the configuration
    "#);
}

#[test]
fn problems_name_their_flag() {
    let mut flags = flags(Some("sk_private"), None, &["a=ftp://x", "b", "a b=https://x", "c=https://x", "c=https://y"]);
    flags.workos_api_url = Some("http://example.com".to_owned());
    assert_snapshot!(report(&flags, Mode::Serve), @r#"
    error: `clientId` holds an API key: `clientId` and `clientSecret` are probably swapped
     --> --workos-client-id
      = help: it looks like `client_01KC6057N3C66XJAXZ65YHAC72`; the WorkOS dashboard shows it under API Keys

    error: `clientSecret` needs the environment variable WORKOS_CLIENT_SECRET, which is not set
     --> --workos-client-secret
      = help: set WORKOS_CLIENT_SECRET in the environment of the gateway

    error: `apiUrl` must be https, or http on loopback
     --> --workos-api-url
      = help: such as `https://auth.example.com` or `http://localhost:4100`

    error: `rewritePattern` must be an http or https URL
     --> --server a
      = help: give the URL of the MCP endpoint, such as `https://mcp.example.com/mcp`

    error: a server is given as SLUG=URL, the slug of letters, digits, `-`, `_` and `.`
     --> --server
      = help: such as `--server linear=https://mcp.linear.app/mcp`

    error: a server is given as SLUG=URL, the slug of letters, digits, `-`, `_` and `.`
     --> --server a b
      = help: such as `--server linear=https://mcp.linear.app/mcp`

    error: there are two servers named `c`
     --> --server c
      = help: each has a slug of its own

    7 problems in the configuration
    "#);
}

#[test]
fn a_server_is_needed() {
    assert_snapshot!(report(&flags(Some("client_1"), Some("sk_1"), &[]), Mode::Serve), @r#"
    error: no MCP server is named
     --> --server
      = help: add `--server SLUG=URL`, such as `--server linear=https://mcp.linear.app/mcp`

    1 problem in the configuration
    "#);
}

#[test]
fn dev_starts_without_a_folder_and_without_a_server() {
    let loaded = from_flags(&Flags::default(), Mode::Dev).unwrap();
    assert!(matches!(loaded.config.login.unwrap().provider, LoginProvider::Development));
    assert!(loaded.config.routes.is_empty());
}

#[test]
fn a_domain_of_authkit_means_direct_mode() {
    let mut flags = flags(Some("client_1"), Some("sk_1"), &["linear=https://mcp.linear.app/mcp"]);
    flags.authkit_domain = Some("name".to_owned());
    let config = from_flags(&flags, Mode::Serve).unwrap().config;
    let direct = config.direct.unwrap();
    assert_eq!(direct.authkit.issuer, "https://name.authkit.app");
    assert_eq!(direct.authkit.client_id.as_deref(), Some("client_1"));
    assert!(direct.authkit.api.is_some() && config.login.is_none());

    (flags.workos_client_id, flags.workos_client_secret) = (None, None);
    assert!(from_flags(&flags, Mode::Serve).unwrap().config.direct.unwrap().authkit.api.is_none());
    flags.authkit_domain = Some("https://x.authkit.app/y".to_owned());
    assert_snapshot!(report(&flags, Mode::Serve), @r#"
    error: `authkitDomain` must not have a path, a query or a fragment
     --> --authkit-domain
      = help: such as `name.authkit.app`, `auth.example.com` or `https://auth.example.com`; the WorkOS dashboard shows it under Domains

    1 problem in the configuration
    "#);
}

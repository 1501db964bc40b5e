//! A Keycloak server, as its archive starts: people sign in with a password, roles decide, and signing out ends there.
//!
//! One server serves the whole test, because it takes long to start.

use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ports::free_port;
use crate::process::{Running, node, run, scratch};
use crate::world::{Behind, PAST_EXPIRY, World};

const LIMIT: Duration = Duration::from_mins(10);
const SECRET: &str = "a secret/with+signs%";
/// The gateway, at Keycloak, once for each policy.
const GENERIC: &str = "generic";
const DERIVED: &str = "derived";

struct Keycloak {
    _server: Running,
    url: String,
}

impl Keycloak {
    /// With a realm whose clients have the gateways at these origins.
    fn start(folder: &std::path::Path, generic: &str, derived: &str) -> Self {
        let home = scratch().join("keycloak");
        let import = home.join("data/import");
        fs::create_dir_all(&import).expect("a folder");
        fs::write(import.join("main-realm.json"), realm(generic, derived).to_string()).expect("a realm");
        let (port, management) = (free_port(), free_port());
        // Without `kc.sh`, whose Java would outlive it; compiled no more than a short life is worth.
        let mut command = Command::new("java");
        command
            .args(["-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .args(["--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED"])
            .arg("-Djava.util.logging.manager=org.jboss.logmanager.LogManager")
            .arg(format!("-Dkc.home.dir={}", home.display()))
            .arg("-cp")
            .arg(home.join("lib/quarkus-run.jar"))
            .args(["io.quarkus.bootstrap.runner.QuarkusEntryPoint", "--profile=prod", "start", "--optimized"])
            .args(["--import-realm", "--http-enabled=true", "--hostname-strict=false", "--cache=local"])
            .args(["--http-host=127.0.0.1", &format!("--http-port={port}")])
            .arg(format!("--http-management-port={management}"));
        let mut server = Running::start("keycloak", folder, &mut command);
        server.wait_longer(Duration::from_mins(10), || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { _server: server, url: format!("http://localhost:{port}") }
    }
}

/// As an administrator would set it up by docs/policies/mcp-keycloak-oauth-inbound.md. The client of the generic policy
/// has its roles put into ID tokens, which the other policy does not need.
fn realm(generic: &str, derived: &str) -> Value {
    let person = |name: &str, roles: &[&str]| {
        json!({
            "username": name, "enabled": true, "email": format!("{name}@example.com"), "emailVerified": true,
            "firstName": name, "lastName": "Example", "realmRoles": roles,
            "credentials": [{ "type": "password", "value": password(name) }],
        })
    };
    let client = |id: &str, origin: &str, mappers: Value| {
        json!({
            "clientId": id, "secret": SECRET, "publicClient": false, "standardFlowEnabled": true,
            "directAccessGrantsEnabled": false, "redirectUris": [format!("{origin}/oauth/callback")],
            "attributes": {
                "pkce.code.challenge.method": "S256",
                "post.logout.redirect.uris": format!("{origin}/oauth/logout##{origin}/oauth/consent"),
            },
            "protocolMappers": mappers,
        })
    };
    let roles_in_id_tokens = json!([{
        "name": "realm roles", "protocol": "openid-connect", "protocolMapper": "oidc-usermodel-realm-role-mapper",
        "config": {
            "claim.name": "realm_access.roles", "jsonType.label": "String", "multivalued": "true",
            "id.token.claim": "true", "access.token.claim": "false",
        },
    }]);
    json!({
        "realm": "main", "enabled": true, "sslRequired": "none",
        "roles": { "realm": [{ "name": "engineer" }] },
        "users": [person("ada", &["engineer"]), person("bob", &[])],
        "clients": [client(GENERIC, generic, roles_in_id_tokens), client(DERIVED, derived, json!([]))],
    })
}

fn password(name: &str) -> String {
    format!("the password of {name}")
}

/// The login policy, and a rule that lets engineers in.
fn policies(policy_type: &str, options: &Value) -> Value {
    let mut options = options.clone();
    options["gateway"] = json!({ "accessTokenTtlSeconds": crate::world::ACCESS_TOKEN_TTL });
    json!({ "policies": [
        { "name": "login", "policyType": policy_type, "handler": { "options": options } },
        { "name": "engineers", "policyType": "mcp-access-inbound", "handler": { "options": { "roles": ["engineer"] } } },
    ] })
}

/// An official client connects as `ada`; then Chromium shows who is kept out, how they get another account, and
/// that signing out ends at Keycloak.
fn journeys(world: &World, policy: &str) {
    let mut client = node("ts_sdk.mjs");
    client.env("ROBOT_USERNAME", "ada").env("ROBOT_PASSWORD", password("ada"));
    client.arg(world.mcp_url("python")).args(["--sdk", "v2", "--wait", &PAST_EXPIRY.to_string()]);
    let said = run("ts_sdk.mjs", &mut client, LIMIT);
    assert!(said.contains("PASS"), "{said}");
    let mut chromium = node("chromium_keycloak.mjs");
    chromium.env("PASSWORD_ADA", password("ada")).env("PASSWORD_BOB", password("bob"));
    run("chromium_keycloak.mjs", chromium.args([&world.mcp_url("python"), policy]), LIMIT);
}

/// IDP-2, IDP-3, IDP-8, WOS-13
#[test]
#[ignore = "needs the clients that ./test installs"]
fn people_sign_in_at_keycloak_and_their_roles_decide() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (generic, derived) = (free_port(), free_port());
    let origin = |port: u16| format!("http://localhost:{port}");
    let keycloak = Keycloak::start(folder.path(), &origin(generic), &origin(derived));

    let options = json!({
        "keycloakBaseUrl": keycloak.url, "realm": "main", "clientId": DERIVED, "clientSecret": "$env(LOGIN_SECRET)",
    });
    let behind = |policies| Behind { policies, provider_url: &keycloak.url, secret: SECRET };
    let with_its_own = policies("mcp-keycloak-oauth-inbound", &options);
    journeys(&World::serve_behind(derived, &behind(&with_its_own)), DERIVED);

    let options = json!({
        "oidc": { "issuer": format!("{}/realms/main", keycloak.url) },
        "browserLogin": { "clientId": GENERIC, "clientSecret": "$env(LOGIN_SECRET)" },
        "roleClaim": "realm_access.roles",
    });
    let with_the_generic = policies("mcp-oauth-inbound", &options);
    journeys(&World::serve_behind(generic, &behind(&with_the_generic)), GENERIC);
}

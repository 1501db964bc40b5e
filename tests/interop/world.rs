//! What one test needs around it: an identity provider, MCP servers, and the gateway between.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ports::free_port;
use crate::postgres::Postgres;
use crate::process::{Running, node, python, scratch};

/// Seconds an access token lives in these tests.
pub const ACCESS_TOKEN_TTL: u64 = 5;
/// Seconds after which such a token has expired for client and gateway alike.
pub const PAST_EXPIRY: u64 = 8;

/// Who signs people in.
#[derive(Debug, Clone, Copy)]
pub enum Login {
    /// WorkOS's own emulator.
    Emulator,
    /// The stricter double of `tests/support/fake_workos.rs`, run as the example `fake_workos`.
    Double,
    /// The double of `tests/support/fake_authkit.rs`, at which clients register and sign in themselves (direct mode).
    AuthKit,
    /// The certified `oidc-provider`, at which the gateway authenticates in this way.
    OpenId(&'static str),
    /// The same, with its endpoints where this provider has them, behind the policy of that name.
    Like(&'static str),
}

/// Everything of one test. Fields drop in order: the gateway first.
pub struct World {
    /// What stands before several gateways.
    _balancer: Option<Running>,
    gateways: Vec<Running>,
    /// `http://localhost:PORT`
    pub origin: String,
    /// Slug and URL of every upstream, straight.
    upstream_urls: Vec<(&'static str, String)>,
    _provider: Option<Running>,
    _upstreams: Vec<Running>,
    _folder: TempDir,
}

/// What a test changes of the gateway's set-up.
#[derive(Default)]
pub struct Setup {
    /// Merged into `options.gateway`.
    pub gateway_options: Value,
    /// Merged into `options` of the login policy.
    pub login_options: Value,
    /// Further arguments of `serve`.
    pub arguments: Vec<String>,
    /// Slugs of the upstreams that run instead of [`USUAL`].
    pub upstreams: Option<Vec<&'static str>>,
    /// Slug and URL of servers that run already; each has a route.
    pub running: Vec<(&'static str, String)>,
    /// Options of an `mcp-token-exchange-inbound` that every route gets.
    pub credential: Option<Value>,
    /// How many gateways share the work, one after the other request by request; 0 is 1.
    pub replicas: usize,
    /// Options of a capability filter that every route gets.
    pub filter: Option<Value>,
}

/// What the gateway is told of its provider.
pub struct Behind<'a> {
    /// `policies.json`. The routes name all of them.
    pub policies: &'a Value,
    pub provider_url: &'a str,
    /// `$env(LOGIN_SECRET)` in the policies.
    pub secret: &'a str,
}

/// The upstreams that run when a test names none: `python` (sessions and stateless), `everything` (sessions only).
const USUAL: [&str; 2] = ["python", "everything"];

impl World {
    /// `doorward serve` with a route `/mcp/SLUG` for each upstream.
    pub fn serve(login: Login, setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let origin = format!("http://localhost:{port}");
        let slugs = setup.upstreams.clone().unwrap_or_else(|| USUAL.to_vec());
        let (provider, told) = start_provider(login, folder.path(), &origin, &slugs);
        let secret = told["apiKey"].as_str().or(told["secret"].as_str()).expect("a secret");
        let mut policies = policies(Some((login, &told)), &setup.gateway_options);
        for (name, value) in setup.login_options.as_object().into_iter().flatten() {
            policies["policies"][0]["handler"]["options"][name] = value.clone();
        }
        if let Some(options) = &setup.filter {
            let policy_type = "mcp-capability-filter-inbound";
            let filter = json!({ "name": "shown", "policyType": policy_type, "handler": { "options": options } });
            policies["policies"].as_array_mut().expect("a list").push(filter);
        }
        if let Some(options) = &setup.credential {
            let policy_type = "mcp-token-exchange-inbound";
            let policy = json!({ "name": "mcp-token-exchange-notes", "policyType": policy_type, "handler": {
                "module": "$import(@zuplo/runtime/mcp-gateway)", "export": "McpTokenExchangeInboundPolicy",
                "options": options,
            } });
            policies["policies"].as_array_mut().expect("a list").push(policy);
        }
        let behind = Behind { policies: &policies, provider_url: told["url"].as_str().expect("a URL"), secret };
        Self::run(folder, port, Some(provider), &behind, setup)
    }

    /// At a port that is known beforehand, behind a provider that runs already.
    pub fn serve_behind(port: u16, behind: &Behind<'_>) -> Self {
        Self::run(tempfile::tempdir().expect("a temporary folder"), port, None, behind, Setup::default())
    }

    fn run(folder: TempDir, port: u16, provider: Option<Running>, behind: &Behind<'_>, setup: Setup) -> Self {
        let origin = format!("http://localhost:{port}");
        let slugs = setup.upstreams.unwrap_or_else(|| USUAL.to_vec());
        let surroundings = [
            ("DOORWARD_ISSUER", origin.as_str()),
            ("WORKOS_API_URL", behind.provider_url),
            ("WORKOS_API_KEY", behind.secret),
        ];
        let (upstreams, mut upstream_urls) = start_upstreams(folder.path(), &slugs, &surroundings);
        upstream_urls.extend(setup.running);
        let config = folder.path().join("config");
        fs::create_dir(&config).expect("a config folder");
        write(&config.join("policies.json"), behind.policies);
        write(&config.join("routes.oas.json"), &routes(&upstream_urls, behind.policies));

        let several = setup.replicas > 1;
        let ports: Vec<_> = if several { (0..setup.replicas).map(|_| free_port()).collect() } else { vec![port] };
        let database = if several {
            Postgres::shared().expect("a PostgreSQL server").new_database()
        } else {
            "sqlite://gateway.db".to_owned()
        };
        let start = |port: &u16| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
            command
                .current_dir(folder.path())
                .env("WORKOS_CLIENT_ID", "client_01FAKE6057N3C66XJAXZ65YHAC")
                .env("LOGIN_SECRET", behind.secret)
                .arg("serve")
                .args(["--metrics-listen", "off"])
                .args(["--config-dir".as_ref(), config.as_os_str()])
                .args(["--listen", &format!("127.0.0.1:{port}")])
                .args(["--public-url", &origin])
                .args(["--database-url", &database])
                .args(["--secret-key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="])
                .args(&setup.arguments);
            start_gateway(folder.path(), &mut command, *port)
        };
        Self {
            gateways: ports.iter().map(start).collect(),
            _balancer: several.then(|| balance(folder.path(), port, &ports)),
            origin,
            upstream_urls,
            _provider: provider,
            _upstreams: upstreams,
            _folder: folder,
        }
    }

    /// The MCP endpoint of a route.
    pub fn mcp_url(&self, slug: &str) -> String {
        format!("{}/mcp/{slug}", self.origin)
    }

    /// The MCP endpoint of an upstream, straight.
    pub fn upstream_url(&self, slug: &str) -> &str {
        let found = self.upstream_urls.iter().find(|(name, _)| *name == slug);
        &found.expect("an upstream that runs").1
    }

    /// Checks that each gateway served calls and had a part in the sign-in.
    pub fn assert_every_replica_served(&mut self) {
        for gateway in &mut self.gateways {
            gateway.wait_for_log("mcp_request_accepted");
            gateway.wait_for_log("\"event\":\"mcp_auth_");
        }
    }

    /// Checks that the gateway asked the provider again about the person, and understood its answer.
    pub fn assert_provider_was_asked_again(&mut self) {
        for gateway in &mut self.gateways {
            gateway.wait_for_log("mcp_auth_session_confirmed");
            let log = gateway.log();
            assert!(!log.contains("mcp_auth_session_sync_failed"), "{log}");
        }
    }
}

/// `doorward dev` with the development login; in an empty folder, only the built-in demo server is there.
pub struct Dev {
    _gateway: Running,
    pub origin: String,
    _upstreams: Vec<Running>,
    _folder: TempDir,
}

impl Dev {
    pub fn start() -> Self {
        Self::run(tempfile::tempdir().expect("a temporary folder"), Vec::new(), &[])
    }

    /// With the upstreams of [`World`], options of the login policy's `gateway`, and nobody to click.
    pub fn auto_approving(gateway_options: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (upstreams, urls) = start_upstreams(folder.path(), &USUAL, &[]);
        let config = folder.path().join("config");
        fs::create_dir(&config).expect("a config folder");
        let policies = policies(None, gateway_options);
        write(&config.join("policies.json"), &policies);
        write(&config.join("routes.oas.json"), &routes(&urls, &policies));
        Self::run(folder, upstreams, &["--auto-approve"])
    }

    /// With the upstreams of [`World`], whose routes pages of `origin` may call.
    pub fn for_pages_of(origin: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (upstreams, urls) = start_upstreams(folder.path(), &USUAL, &[]);
        let config = folder.path().join("config");
        fs::create_dir(&config).expect("a config folder");
        let mut policies = policies(None, &json!({ "accessTokenTtlSeconds": 600 }));
        policies["corsPolicies"] = json!([{ "name": "pages", "allowedOrigins": [origin] }]);
        write(&config.join("policies.json"), &policies);
        let mut routes = routes(&urls, &policies);
        for slug in USUAL {
            routes["paths"][format!("/mcp/{slug}")]["get,post"]["x-zuplo-route"]["corsPolicy"] = json!("pages");
        }
        write(&config.join("routes.oas.json"), &routes);
        Self::run(folder, upstreams, &[])
    }

    fn run(folder: TempDir, upstreams: Vec<Running>, arguments: &[&str]) -> Self {
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
        command
            .current_dir(folder.path())
            .arg("dev")
            .args(["--metrics-listen", "off"])
            .arg(folder.path())
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(arguments);
        Self {
            _gateway: start_gateway(folder.path(), &mut command, port),
            origin: format!("http://localhost:{port}"),
            _upstreams: upstreams,
            _folder: folder,
        }
    }
}

fn start_gateway(folder: &Path, command: &mut Command, port: u16) -> Running {
    let mut gateway = Running::start(&format!("doorward-{port}"), folder, command);
    gateway.wait_until(|| is_ready(port));
    gateway
}

/// Each request that comes to `port` goes to the next of `replicas`.
fn balance(folder: &Path, port: u16, replicas: &[u16]) -> Running {
    let mut command = node("balancer.mjs");
    command.arg(port.to_string()).args(replicas.iter().map(u16::to_string));
    let mut balancer = Running::start("balancer", folder, &mut command);
    balancer.wait_until(|| is_ready(port));
    balancer
}

/// Asks `/readyz` as the smallest of all HTTP clients.
fn is_ready(port: u16) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let request = format!("GET /readyz HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    let mut answer = [0; 12];
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .and_then(|()| stream.read_exact(&mut answer))
        .is_ok_and(|()| answer.ends_with(b"200"))
}

/// The provider, and the line it printed about itself.
fn start_provider(login: Login, folder: &Path, origin: &str, slugs: &[&str]) -> (Running, Value) {
    let mut command = match login {
        Login::Emulator => node("emulator.mjs"),
        Login::Double => {
            let mut double = example("fake_workos");
            double.args(["--port", "0"]);
            double
        }
        Login::AuthKit => {
            let mut double = example("fake_authkit");
            for slug in slugs {
                double.args(["--resource", &format!("{origin}/mcp/{slug}")]);
            }
            double
        }
        Login::OpenId(method) => {
            let mut provider = node("oidc_provider.mjs");
            provider.args([method, &format!("{origin}/oauth/callback")]);
            provider
        }
        Login::Like(name) => {
            let mut provider = node("oidc_provider.mjs");
            provider.args(["client_secret_basic", &format!("{origin}/oauth/callback"), name]);
            provider
        }
    };
    let (running, line) = Running::start_and_read_line("provider", folder, &mut command);
    (running, serde_json::from_str(&line).expect("one line of JSON"))
}

/// The upstreams of these slugs, which know the variables, and where each is.
fn start_upstreams(
    folder: &Path,
    slugs: &[&'static str],
    variables: &[(&str, &str)],
) -> (Vec<Running>, Vec<(&'static str, String)>) {
    let ports: Vec<_> = slugs.iter().map(|_| free_port()).collect();
    let start = |slug: &str, port: u16| {
        let mut command = upstream(slug, port);
        Running::start(&format!("upstream-{slug}"), folder, command.envs(variables.iter().copied()))
    };
    let mut upstreams: Vec<_> = slugs.iter().zip(&ports).map(|(slug, port)| start(slug, *port)).collect();
    for (upstream, port) in upstreams.iter_mut().zip(&ports) {
        upstream.wait_until(|| TcpStream::connect(("localhost", *port)).is_ok());
    }
    let urls = slugs.iter().zip(ports).map(|(slug, port)| (*slug, format!("http://localhost:{port}/mcp"))).collect();
    (upstreams, urls)
}

/// The command of an upstream at `http://localhost:PORT/mcp`.
pub fn upstream(slug: &str, port: u16) -> Command {
    let url = format!("http://localhost:{port}/mcp");
    let port = port.to_string();
    let mut command = match slug {
        "python" | "python-stateless" => python("upstream_python.py"),
        "everything" => node("node_modules/@modelcontextprotocol/server-everything/dist/index.js"),
        "rmcp" | "rmcp-stateless" => example("rmcp_upstream"),
        "identity-typescript" => node("identity-typescript/server.js"),
        "identity-python" => python("identity-python/server.py"),
        "identity-rust" => example("identity-rust"),
        _ => panic!("there is no upstream {slug}"),
    };
    match slug {
        "python" => command.arg(port),
        "python-stateless" => command.args([&port, "stateless"]),
        "everything" => command.arg("streamableHttp").env("PORT", port),
        "rmcp" => command.args(["--port", &port]),
        "rmcp-stateless" => command.args(["--port", &port, "--stateless"]),
        _ => command.env("PORT", port).env("MCP_URL", url),
    };
    command
}

/// A program of `examples/`, which `./test` builds.
fn example(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_BIN_EXE_doorward")).with_file_name("examples").join(name))
}

/// Without a provider, `dev` lets the development login stand in.
fn policies(provider: Option<(Login, &Value)>, gateway_options: &Value) -> Value {
    let mut gateway = json!({ "accessTokenTtlSeconds": ACCESS_TOKEN_TTL });
    if let (Value::Object(all), Value::Object(changes)) = (&mut gateway, gateway_options) {
        all.extend(changes.clone());
    }
    if let Some((Login::OpenId(method), told)) = provider {
        let mut login = json!({ "clientId": told["clientId"], "tokenEndpointAuthMethod": method });
        if method == "private_key_jwt" {
            login["privateKey"] = json!("$env(LOGIN_SECRET)");
            login["privateKeyId"] = json!("k1");
        } else {
            login["clientSecret"] = json!("$env(LOGIN_SECRET)");
        }
        let options = json!({ "oidc": { "issuer": told["url"] }, "browserLogin": login, "gateway": gateway });
        return login_policy("mcp-oauth-inbound", "McpOAuthInboundPolicy", &options);
    }
    if let Some((Login::Like(name), told)) = provider {
        let mut options =
            json!({ "clientId": told["clientId"], "clientSecret": "$env(LOGIN_SECRET)", "gateway": gateway });
        let (option, export) = match name {
            "clerk" => ("frontendApiUrl", "McpClerkOAuthInboundPolicy"),
            "keycloak" => ("keycloakBaseUrl", "McpKeycloakOAuthInboundPolicy"),
            "logto" => ("logtoEndpoint", "McpLogtoOAuthInboundPolicy"),
            other => panic!("oidc_provider.mjs is not like {other}"),
        };
        options[option] = told["url"].clone();
        if name == "keycloak" {
            options["realm"] = json!("main");
        }
        return login_policy(&format!("mcp-{name}-oauth-inbound"), export, &options);
    }
    if let Some((Login::AuthKit, told)) = provider {
        return login_policy(
            "mcp-authkit-inbound",
            "McpAuthKitInboundPolicy",
            &json!({ "authkitDomain": told["url"] }),
        );
    }
    let mut options = json!({
        "clientId": "$env(WORKOS_CLIENT_ID)",
        "clientSecret": "$env(LOGIN_SECRET)",
        "gateway": gateway,
    });
    if let Some((_, told)) = provider {
        options["apiUrl"] = told["url"].clone();
        // Every refresh of a client asks the provider again.
        options["sessionSyncSeconds"] = json!(1);
    }
    login_policy("mcp-workos-oauth-inbound", "McpWorkosOAuthInboundPolicy", &options)
}

fn login_policy(policy_type: &str, export: &str, options: &Value) -> Value {
    json!({
        "policies": [{
            "name": "login",
            "policyType": policy_type,
            "handler": {
                "module": "$import(@zuplo/runtime/mcp-gateway)",
                "export": export,
                "options": options,
            },
        }],
        "corsPolicies": [],
    })
}

/// A route for each upstream, which names each of the policies.
fn routes(upstreams: &[(&'static str, String)], policies: &Value) -> Value {
    let names: Vec<_> = policies["policies"].as_array().into_iter().flatten().map(|policy| &policy["name"]).collect();
    let paths: serde_json::Map<_, _> = upstreams
        .iter()
        .map(|(slug, upstream)| {
            let form = if slug.starts_with("identity-") { "assertion" } else { "headers" };
            let route = json!({
                "operationId": slug,
                "summary": format!("The {slug} server"),
                "x-zuplo-route": {
                    "corsPolicy": "none",
                    "handler": {
                        "module": "$import(@zuplo/runtime/mcp-gateway)",
                        "export": "McpProxyHandler",
                        "options": { "rewritePattern": upstream, "forwardIdentity": form },
                    },
                    "policies": { "inbound": names },
                },
            });
            (format!("/mcp/{slug}"), json!({ "get,post": route }))
        })
        .collect();
    json!({ "openapi": "3.1.0", "info": { "title": "Interop", "version": "1" }, "paths": paths })
}

fn write(path: &Path, document: &Value) {
    fs::write(path, document.to_string()).expect("a config file");
}

/// Where screenshots and results of a run are kept.
pub fn results(name: &str) -> std::path::PathBuf {
    let folder = scratch().join("results").join(name);
    fs::create_dir_all(&folder).expect("a results folder");
    folder
}

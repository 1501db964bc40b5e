//! A gateway, an upstream that answers from memory, and a client, in one process and on one thread: what a call costs
//! can be counted without another process in the picture.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::routing::{get, post};
use axum::{Json, Router};
use doorward::config::{self, Mode, SigningAlg};
use doorward::crypto::KeyMaterial;
use doorward::domain::{BrowserId, Clock as _, Owner, Places, SubjectId, SystemClock};
use doorward::keys::{AccessTokenClaims, AccessTokenIssuer};
use doorward::outbound::{Outbound, OutboundSettings};
use doorward::runtime::{Assembly, HEADER_READ, Listener, Settings};
use doorward::upstream::{ReturnTo, Returned, Start, UpstreamParts, Upstreams};
use doorward::web::Web;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub type Outcome<T> = Result<T, Box<dyn Error>>;

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"}}}"#;
const SUBJECT: &str = "usr_8c0rGmYJq2yW1VbS3tZr0A";
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"Echo: hello"}]}}"#;

/// A gateway and a client that is connected to it.
pub struct World {
    connection: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
    _folder: TempDir,
}

impl World {
    /// A gateway with so many routes; the last one is called. `guarded`: its server wants a credential of the person's.
    pub async fn start(routes: usize, guarded: bool) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let upstream = TcpListener::bind("127.0.0.1:0").await?;
        let upstream_url = format!("http://{}/mcp", upstream.local_addr()?);
        tokio::spawn(serve_upstream(upstream));
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let origin = format!("http://{address}");
        let settings = settings(folder.path(), &origin);
        let authorization_server = if guarded { Some(serve_authorization(&upstream_url).await?) } else { None };
        let config = configuration(folder.path(), &upstream_url, routes, authorization_server.as_deref())?;
        let path = config.routes.last().ok_or("no route")?.path.clone();

        let assembly = Assembly::open(settings, SigningAlg::Es256).await?;
        let token = token(&assembly, &origin, &path)?;
        if guarded {
            connect(&assembly, &config, &origin).await?;
        }
        let shared = assembly.install(assembly.gateway(config));
        let listener = Listener {
            application: Arc::new(Web::new(shared)),
            tls: None,
            connections: Places::new(16),
            metrics: assembly.metrics.connections.clone(),
            trusted_proxies: Arc::from([]),
            proxy_protocol: false,
            header_read: HEADER_READ,
            shutdown: CancellationToken::new(),
            drain: Duration::ZERO,
        };
        tokio::spawn(listener.serve(socket));

        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
             mcp-protocol-version: 2025-11-25\r\nuser-agent: bench\r\ncontent-length: {}\r\n\r\n{CALL}",
            CALL.len()
        );
        let connection = TcpStream::connect(address).await?;
        connection.set_nodelay(true)?;
        Ok(Self { connection, request: request.into_bytes(), buffer: vec![0; 16 * 1024], _folder: folder })
    }

    /// One call.
    pub async fn call(&mut self) -> Outcome<()> {
        self.connection.write_all(&self.request).await?;
        let mut heard = 0;
        while !self.buffer[..heard].ends_with(ANSWER.as_bytes()) {
            let read = self.connection.read(&mut self.buffer[heard..]).await?;
            if read == 0 {
                return Err(String::from_utf8_lossy(&self.buffer[..heard]).into());
            }
            heard += read;
        }
        if self.buffer.starts_with(b"HTTP/1.1 200") { Ok(()) } else { Err("not a 200".into()) }
    }
}

async fn serve_upstream(socket: TcpListener) {
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{ANSWER}",
        ANSWER.len()
    );
    while let Ok((mut stream, _)) = socket.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            let (mut buffer, mut heard) = (vec![0; 16 * 1024], 0);
            while let Ok(read @ 1..) = stream.read(&mut buffer[heard..]).await {
                heard += read;
                if buffer[..heard].ends_with(CALL.as_bytes()) {
                    heard = 0;
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        });
    }
}

/// The authorization server of the upstream, which gives everybody the same token. Gives its origin.
async fn serve_authorization(resource: &str) -> Outcome<String> {
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", socket.local_addr()?);
    let of_resource = json!({ "resource": resource, "authorization_servers": [base] });
    let metadata = json!({
        "issuer": base,
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
    });
    let token = json!({ "access_token": "t".repeat(800), "token_type": "Bearer" });
    let router = Router::new()
        .route("/resource", get(move || std::future::ready(Json(of_resource.clone()))))
        .route("/.well-known/oauth-authorization-server", get(move || std::future::ready(Json(metadata.clone()))))
        .route("/token", post(move || std::future::ready(Json(token.clone()))));
    #[expect(clippy::disallowed_methods, reason = "a double need not drain")]
    tokio::spawn(async move { axum::serve(socket, router).await });
    Ok(base)
}

/// Connects the upstream for the person that calls.
async fn connect(assembly: &Assembly, config: &config::GatewayConfig, origin: &str) -> Outcome<()> {
    let parts = UpstreamParts {
        store: assembly.store.clone(),
        outbound: Outbound::new(&OutboundSettings { allow_loopback: true, ..OutboundSettings::default() })?,
        sealer: assembly.sealer.clone(),
        clock: Arc::clone(&assembly.clock),
        random: Arc::clone(&assembly.random),
        origins: vec![origin.to_owned()],
        base_path: "/".to_owned(),
        metrics: assembly.metrics.upstreams.clone(),
        identity: None,
    };
    let upstreams = Arc::new(Upstreams::new(config.upstreams(), parts));
    let upstream = upstreams.get("server").ok_or("no upstream")?;
    let browser = BrowserId::new("brw_bench");
    let owner = Owner::Person(SubjectId::new(SUBJECT));
    let start = Start { origin, browser: &browser, owner, by: None, return_to: ReturnTo::Application };
    let way: url::Url = upstreams.start(upstream, start).await?;
    let state = way.query_pairs().find(|(name, _)| name == "state").ok_or("no state")?.1.into_owned();
    let returned = Returned {
        upstream: "server",
        browser: &browser,
        subject: None,
        state: &state,
        code: Some("code"),
        error: None,
        iss: None,
    };
    upstreams.finish(returned).await.map_err(|failure| failure.error)?;
    Ok(())
}

fn token(assembly: &Assembly, origin: &str, path: &str) -> Outcome<String> {
    let now = SystemClock.now().0;
    let claims = AccessTokenClaims {
        iss: origin.to_owned(),
        sub: SUBJECT.to_owned(),
        aud: format!("{origin}{path}"),
        client_id: format!("dcr_{}", "x".repeat(300)),
        exp: now + 3600,
        iat: now,
        jti: "lkyO-OcwJFpZNqXjLkfzWg".to_owned(),
        scope: "mcp:tools".to_owned(),
        sid: "grt_ZEi6zJKtA6IJS9S4Iry1Jw".to_owned(),
        auth_time: None,
    };
    Ok(AccessTokenIssuer::new(Arc::clone(&assembly.keys)).issue(&claims)?)
}

fn settings(folder: &Path, origin: &str) -> Settings {
    Settings {
        listen: Vec::new(),
        public_urls: vec![origin.to_owned()],
        trusted_proxies: Vec::new(),
        base_path: "/".to_owned(),
        database_url: format!("sqlite://{}", folder.join("bench.db").display()),
        secret_keys: vec![KeyMaterial::new([7; 32])],
        cimd_allow: Vec::new(),
        upstream_allow: Vec::new(),
        outbound_ca_files: Vec::new(),
        outbound_resolve: Vec::new(),
        tls: None,
        proxy_protocol: false,
        drain_timeout: Duration::ZERO,
        max_connections: 16,
        max_streams: 1000,
        max_body: 4 * 1024 * 1024,
        metrics: None,
        development: None,
    }
}

/// `authorization_server`: of the upstream, if that wants a credential.
fn configuration(
    folder: &Path,
    upstream: &str,
    routes: usize,
    authorization_server: Option<&str>,
) -> Outcome<config::GatewayConfig> {
    let login = json!({
        "name": "login",
        "policyType": "mcp-workos-oauth-inbound",
        "handler": { "options": { "clientId": "client_01BENCH", "clientSecret": "sk_bench" } },
    });
    let credential = authorization_server.map(|base| {
        json!({
            "name": "mcp-token-exchange-server",
            "policyType": "mcp-token-exchange-inbound",
            "handler": { "options": {
                "displayName": "Server",
                "authMode": "user-oauth",
                "protectedResourceMetadataUrl": format!("{base}/resource"),
                "clientRegistration": { "mode": "manual", "clientId": "bench" },
            } },
        })
    });
    let policies: Vec<_> = std::iter::once(login).chain(credential).collect();
    let inbound: Vec<_> = policies.iter().map(|policy| &policy["name"]).collect();
    let inbound = serde_json::to_string(&inbound)?;
    let paths: Vec<String> = (0..routes)
        .map(|number| {
            format!(
                r#""/mcp/server-{number}": {{ "get,post": {{ "operationId": "server-{number}", "x-doorward-route": {{
                    "corsPolicy": "none", "policies": {{ "inbound": {inbound} }},
                    "handler": {{ "export": "McpProxyHandler", "options": {{ "rewritePattern": "{upstream}" }} }} }} }} }}"#
            )
        })
        .collect();
    let routes = format!(
        r#"{{ "openapi": "3.1.0", "info": {{ "title": "t", "version": "1" }}, "paths": {{ {} }} }}"#,
        paths.join(",")
    );
    let config = folder.join("config");
    std::fs::create_dir(&config)?;
    std::fs::write(config.join("policies.json"), json!({ "policies": policies }).to_string())?;
    std::fs::write(config.join("routes.oas.json"), routes)?;
    let environment = std::collections::BTreeMap::<String, String>::new();
    config::load(&config, &environment, Mode::Dev).map(|loaded| loaded.config).map_err(|found| found.to_text().into())
}

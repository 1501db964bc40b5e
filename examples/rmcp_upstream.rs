//! An MCP server on the official Rust SDK for the gateway to stand in front of:
//! `cargo run --example rmcp_upstream -- --port 4200`

use std::net::Ipv4Addr;
use std::sync::Arc;

use clap::Parser;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{Implementation, ServerCapabilities, ServerConfig};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, tool, tool_handler, tool_router};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::net::TcpListener;

/// A server with a few tools, at any path of the port.
#[derive(Parser)]
struct Arguments {
    /// Loopback port; 0 takes a free one.
    #[arg(long, default_value_t = 4200)]
    port: u16,
    /// No sessions for clients of revisions that have them; 2026-07-28 has none in any case.
    #[arg(long)]
    stateless: bool,
}

/// Arguments of `echo`.
#[derive(Deserialize, JsonSchema)]
struct Echo {
    /// The text that comes back.
    message: String,
}

#[derive(Clone)]
struct Upstream;

#[tool_router]
impl Upstream {
    #[tool(name = "echo", description = "Says it again")]
    async fn echo(&self, Parameters(echo): Parameters<Echo>) -> String {
        format!("Echo: {}", echo.message)
    }

    #[tool(name = "test_simple_text", description = "Text, as the conformance suite asks for it")]
    async fn test_simple_text(&self) -> String {
        "This is a simple text response for testing.".to_owned()
    }
}

#[tool_handler]
impl ServerHandler for Upstream {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("doorward-rmcp-upstream", "1"))
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, arguments.port)).await?;
    println!("http://{}/mcp", listener.local_addr()?);
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(!arguments.stateless)
        .with_allowed_origins(["http://localhost:*"]);
    let sessions: Arc<LocalSessionManager> = Arc::default();
    let service = StreamableHttpService::new(|| Ok(Upstream), sessions, config);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            // A connection that breaks is the end of that connection only.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

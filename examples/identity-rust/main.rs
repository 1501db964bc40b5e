//! An MCP server that knows who calls, because the gateway in front of it says so:
//! `cargo run --example identity-rust`

#![allow(clippy::disallowed_methods, reason = "a server of its own, which takes its settings from the environment")]

mod identity;

use std::env;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Uri;
use axum::http::request::Parts;
use axum::middleware::from_fn_with_state;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rmcp::handler::server::tool::Extension;
use rmcp::model::{CallToolResult, ContentBlock, Implementation, ServerCapabilities, ServerConfig};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler, tool, tool_handler, tool_router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::identity::{Assertions, Person, require_person};

#[derive(Clone)]
struct Server {
    client: reqwest::Client,
}

/// The caller, whom [`require_person`] has put into this very request.
fn caller(request: &Parts) -> Result<&Person, ErrorData> {
    request.extensions.get().ok_or_else(|| ErrorData::internal_error("nobody is known to have called", None))
}

#[tool_router]
impl Server {
    #[tool(name = "get-user-info", description = "Gives the profile of the person who signed in")]
    async fn get_user_info(&self, Extension(request): Extension<Parts>) -> Result<CallToolResult, ErrorData> {
        let person = caller(&request)?;
        Ok(CallToolResult::structured(json!({
            "sub": person.sub,
            "user_id": person.user_id,
            "name": person.name,
            "email": person.email,
            "email_verified": person.email_verified,
            "picture": person.picture,
            "organization_id": person.organization_id,
        })))
    }

    #[tool(
        name = "get-user-permissions",
        description = "Gives the roles, groups and permissions of the person who signed in"
    )]
    async fn get_user_permissions(&self, Extension(request): Extension<Parts>) -> Result<CallToolResult, ErrorData> {
        let person = caller(&request)?;
        Ok(CallToolResult::structured(json!({
            "organization_id": person.organization_id,
            "roles": person.roles,
            "groups": person.groups,
            "permissions": person.permissions,
        })))
    }

    #[tool(name = "get-workos-user", description = "Gives what WorkOS knows of the person who signed in")]
    async fn get_workos_user(&self, Extension(request): Extension<Parts>) -> Result<CallToolResult, ErrorData> {
        // The id is the verified caller's own. A tool that took it as an argument would show anybody to anybody.
        Ok(match self.workos_user(&caller(&request)?.user_id).await {
            Ok(user) => CallToolResult::structured(user),
            Err(error) => CallToolResult::error(vec![ContentBlock::text(format!("WorkOS: {error}"))]),
        })
    }

    async fn workos_user(&self, id: &str) -> reqwest::Result<Value> {
        let base = env::var("WORKOS_API_URL").unwrap_or_else(|_| "https://api.workos.com".to_owned());
        let id = utf8_percent_encode(id, NON_ALPHANUMERIC);
        let request = self
            .client
            .get(format!("{base}/user_management/users/{id}"))
            .bearer_auth(env::var("WORKOS_API_KEY").unwrap_or_default())
            .timeout(Duration::from_secs(10));
        request.send().await?.error_for_status()?.json().await
    }
}

#[tool_handler]
impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("identity-rust", "1.0.0"))
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let assertions = Arc::new(Assertions::from_env());
    println!("MCP server at {}", assertions.audience);
    let server = Server { client: reqwest::Client::new() };
    // Without sessions, nothing of one caller is kept that another could get at. The SDK's guard against DNS rebinding
    // allows loopback names only; a web page that rebinds a name has no assertion, so it is not needed here.
    let config = StreamableHttpServerConfig::default().with_legacy_session_mode(false).disable_allowed_hosts();
    let sessions: Arc<LocalSessionManager> = Arc::default();
    let service = StreamableHttpService::new(move || Ok(server.clone()), sessions, config);
    let path = assertions.audience.parse().map_or_else(|_| "/mcp".to_owned(), |url: Uri| url.path().to_owned());
    let app = Router::new().route_service(&path, service).layer(from_fn_with_state(assertions, require_person));
    let host = env::var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3003);
    axum::serve(TcpListener::bind((host, port)).await?, app).await
}

//! The demo's tools: each shows one thing that a gateway must get right.

use std::time::Duration;

use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{Implementation, ProgressNotificationParam, RequestMetaObject, ServerCapabilities, ServerConfig};
use rmcp::{ErrorData, Json, Peer, RoleServer, ServerHandler, tool, tool_handler, tool_router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::keys::IdentityClaims;

/// The most steps that `count` takes.
const MAX_STEPS: u32 = 100;
/// Time between two steps of `count`: short, and long enough to see that they come one by one.
const STEP: Duration = Duration::from_millis(200);

/// Who calls, in short.
#[derive(Debug, Serialize, JsonSchema)]
struct WhoAmI {
    /// The gateway's own id of the person, the same in every session.
    subject: String,
    /// How the person is called, as far as is known.
    name: Option<String>,
    email: Option<String>,
    /// The MCP client that acts for the person.
    client: String,
}

/// What the identity provider tells of the person.
#[derive(Debug, Serialize, JsonSchema)]
struct UserInfo {
    /// The provider's id of the person.
    user_id: String,
    name: Option<String>,
    given_name: Option<String>,
    family_name: Option<String>,
    email: Option<String>,
    email_verified: bool,
    picture: Option<String>,
    organization_id: Option<String>,
}

/// What the person may do, as the identity provider says.
#[derive(Debug, Serialize, JsonSchema)]
struct UserPermissions {
    organization_id: Option<String>,
    roles: Vec<String>,
    groups: Vec<String>,
    permissions: Vec<String>,
}

/// Arguments of `echo`.
#[derive(Debug, Deserialize, JsonSchema)]
struct Echo {
    /// The text that comes back.
    message: String,
}

/// Arguments of `count`.
#[derive(Debug, Deserialize, JsonSchema)]
struct Count {
    /// The last number, from 1 to 100.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 100))]
    to: u32,
}

fn five() -> u32 {
    5
}

/// The demo server. It keeps nothing: every call says for itself who makes it.
#[derive(Debug, Clone)]
pub(super) struct Demo;

#[tool_router]
impl Demo {
    pub(super) fn new() -> Self {
        Self
    }

    #[tool(
        name = "whoami",
        description = "Tells who you are to this server: the person who signed in, and the client that calls"
    )]
    async fn whoami(&self, Extension(request): Extension<Parts>) -> Result<Json<WhoAmI>, ErrorData> {
        let caller = caller(&request)?;
        Ok(Json(WhoAmI { subject: caller.sub, name: caller.name, email: caller.email, client: caller.client_id }))
    }

    #[tool(name = "get-user-info", description = "Gives the profile of the person who signed in")]
    async fn get_user_info(&self, Extension(request): Extension<Parts>) -> Result<Json<UserInfo>, ErrorData> {
        let caller = caller(&request)?;
        Ok(Json(UserInfo {
            user_id: caller.user_id,
            name: caller.name,
            given_name: caller.given_name,
            family_name: caller.family_name,
            email: caller.email,
            email_verified: caller.email_verified,
            picture: caller.picture,
            organization_id: caller.organization_id,
        }))
    }

    #[tool(
        name = "get-user-permissions",
        description = "Gives the roles, groups and permissions of the person who signed in"
    )]
    async fn get_user_permissions(
        &self,
        Extension(request): Extension<Parts>,
    ) -> Result<Json<UserPermissions>, ErrorData> {
        let caller = caller(&request)?;
        Ok(Json(UserPermissions {
            organization_id: caller.organization_id,
            roles: caller.roles,
            groups: caller.groups,
            permissions: caller.permissions,
        }))
    }

    #[tool(name = "echo", description = "Gives back the message it was given")]
    async fn echo(&self, Parameters(echo): Parameters<Echo>) -> String {
        echo.message
    }

    #[tool(
        name = "count",
        description = "Counts up slowly and reports each number as progress, to show that streams pass the gateway as they come"
    )]
    async fn count(
        &self,
        Parameters(count): Parameters<Count>,
        meta: RequestMetaObject,
        client: Peer<RoleServer>,
    ) -> Result<String, ErrorData> {
        if !(1..=MAX_STEPS).contains(&count.to) {
            return Err(ErrorData::invalid_params(format!("`to` must be from 1 to {MAX_STEPS}"), None));
        }
        let token = meta.get_progress_token();
        for step in 1..=count.to {
            tokio::time::sleep(STEP).await;
            if let Some(token) = &token {
                let progress = ProgressNotificationParam::new(token.clone(), f64::from(step))
                    .with_total(f64::from(count.to))
                    .with_message(format!("{step} of {}", count.to));
                // A client that went away needs no progress; the call itself ends with its request.
                let _ = client.notify_progress(progress).await;
            }
        }
        Ok(format!("Counted to {}.", count.to))
    }
}

#[tool_handler]
impl ServerHandler for Demo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(
                Implementation::new("doorward-demo", env!("CARGO_PKG_VERSION")).with_title("doorward demo"),
            )
            .with_instructions("A demonstration server: ask it who you are, or let it count.")
    }
}

/// The caller, whom the door has put into the request.
fn caller(request: &Parts) -> Result<IdentityClaims, ErrorData> {
    let caller = request.extensions.get::<IdentityClaims>().cloned();
    caller.ok_or_else(|| ErrorData::internal_error("nobody is known to have called", None))
}

//! The MCP endpoint of the double: JSON-RPC for whoever brings a good token, without sessions, in either era.

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::issued::Holder;
use super::{Arrival, Fault, Server};

/// One request of the MCP endpoint.
#[derive(Debug, Clone)]
pub struct McpRequest {
    pub method: String,
    pub headers: HeaderMap,
    /// The body as JSON; null where there is none.
    pub body: Value,
    /// The account of the token, where it works.
    pub account: Option<String>,
    /// Which token it was, where it is ours: `PERSON.FAMILY.GENERATION`.
    pub token: Option<String>,
    pub carried_out: bool,
    pub status: u16,
}

impl McpRequest {
    /// The tool that was called.
    pub fn tool(&self) -> Option<&str> {
        (self.body["method"] == "tools/call").then(|| self.body["params"]["name"].as_str())?
    }
}

impl Server {
    pub fn mcp(&mut self, arrival: &Arrival, fault: Option<&Fault>) -> Response {
        let authorization = arrival.headers.get("authorization").and_then(|value| value.to_str().ok());
        let bearer = authorization.and_then(|value| value.strip_prefix("Bearer "));
        let holder = bearer.and_then(|token| self.issued.holder(token));
        let body = serde_json::from_slice(&arrival.body).unwrap_or_default();
        let mut request = McpRequest {
            method: arrival.method.to_string(),
            headers: arrival.headers.clone(),
            body,
            account: holder.as_ref().map(|holder| holder.person.clone()),
            token: bearer.and_then(|token| self.issued.id_of(token)),
            carried_out: false,
            status: 0,
        };
        let answer = self.mcp_answer(&mut request, bearer.is_some(), holder.as_ref(), fault);
        request.status = answer.status().as_u16();
        self.requests.push(request);
        answer
    }

    fn mcp_answer(
        &self,
        request: &mut McpRequest,
        has_bearer: bool,
        holder: Option<&Holder>,
        fault: Option<&Fault>,
    ) -> Response {
        let unauthorized = || self.challenge(401, has_bearer.then_some("invalid_token"), None);
        let Some(holder) = holder.filter(|_| !matches!(fault, Some(Fault::Unauthorized))) else {
            return unauthorized();
        };
        if request.method != "POST" {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        if request.body.is_null() {
            return StatusCode::BAD_REQUEST.into_response();
        }
        let has = |scope: &str| holder.scope.split(' ').any(|own| own == scope);
        if let Some(scope) = &self.behaviour.required_scope
            && request.tool().is_some()
            && !has(scope)
        {
            return self.challenge(403, Some("insufficient_scope"), Some(scope));
        }
        request.carried_out = true;
        if matches!(fault, Some(Fault::DoneAndUnauthorized)) {
            return unauthorized();
        }
        if request.body.get("id").is_none() {
            return StatusCode::ACCEPTED.into_response();
        }
        let outcome = outcome(&request.body, holder);
        let mut answer = json!({ "jsonrpc": "2.0", "id": request.body["id"] });
        answer[outcome.0] = outcome.1;
        if self.behaviour.streams {
            let event = format!("event: message\ndata: {answer}\n\n");
            return ([("content-type", "text/event-stream")], event).into_response();
        }
        axum::Json(answer).into_response()
    }

    /// RFC 6750 §3, RFC 9728 §5.1.
    fn challenge(&self, status: u16, error: Option<&str>, scope: Option<&str>) -> Response {
        let mut members = Vec::new();
        if let Some(error) = error {
            members.push(format!(r#"error="{error}""#));
        }
        if let Some(scope) = scope.or(self.behaviour.challenge_scope.as_deref()) {
            members.push(format!(r#"scope="{scope}""#));
        }
        if !self.behaviour.silent_challenge {
            members.push(format!(r#"resource_metadata="{}""#, self.resource_metadata_url()));
        }
        let challenge = format!("Bearer {}", members.join(", "));
        (StatusCode::from_u16(status).unwrap(), [("www-authenticate", challenge.trim())]).into_response()
    }
}

/// `result` or `error`, and what it holds.
fn outcome(message: &Value, holder: &Holder) -> (&'static str, Value) {
    let params = &message["params"];
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => json!({
            "protocolVersion": params["protocolVersion"], "capabilities": { "tools": {} },
            "serverInfo": { "name": "fake upstream", "version": "1" },
        }),
        "server/discover" => json!({
            "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} },
            "ttlMs": 0, "cacheScope": "private",
        }),
        "ping" => json!({}),
        "tools/list" => {
            let schema = json!({ "type": "object" });
            let tool = |name: &str, what: &str| json!({ "name": name, "description": what, "inputSchema": schema });
            json!({
                "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
                "tools": [tool("whoami", "The account that calls."), tool("echo", "What it was given.")],
            })
        }
        "tools/call" => match params["name"].as_str() {
            Some("whoami") => said(&holder.person),
            Some("echo") => said(&params["arguments"].to_string()),
            _ => return ("error", json!({ "code": -32602, "message": "no such tool" })),
        },
        _ => return ("error", json!({ "code": -32601, "message": "no such method" })),
    };
    ("result", result)
}

fn said(text: &str) -> Value {
    json!({ "resultType": "complete", "content": [{ "type": "text", "text": text }], "isError": false })
}

//! What a caller is told whose call cannot be made because somebody has to connect the server first (gateway.md §8).
//!
//! Who may do it is sent to the page for it. The page's address is a ticket, and stands in the answer alone: not in the
//! log.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::config::model::Upstream;
use crate::domain::connection::ConsentNeeded;
use crate::mcp;
use crate::mcp::elicitation::{Asked, Page};

/// What keeps a call from being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The person has never connected the server.
    NotConnected,
    /// They have, and it serves no longer.
    Ended(ConsentNeeded),
    /// The identity provider vouches for the person once they have signed in again.
    SignIn,
    /// No operator has connected it for everyone, or that serves no longer.
    Unshared,
    /// An operator has, and the call wants more than they allowed. Others go on.
    TooNarrow,
}

/// The answer, ready to be sent.
#[derive(Debug)]
pub struct NotConnected {
    obstacle: Obstacle,
    /// What the requests are answered; `None` when nobody waits for one.
    answer: Option<Value>,
    text: String,
    data: Map<String, Value>,
}

impl NotConnected {
    /// `page`: where the caller can connect it. Without one it is somebody else's to do.
    pub fn new(
        obstacle: Obstacle,
        page: Option<&Page>,
        upstream: &Upstream,
        operation_id: &str,
        asked: &Asked,
    ) -> Self {
        let headline = headline(obstacle, upstream);
        let text = format!("{headline} {}", advice(obstacle, page, upstream));
        let data = data(obstacle, page, upstream, operation_id);
        Self { obstacle, answer: asked.answer(page, &headline, &text, &data), text, data }
    }

    pub fn reason_code(&self) -> &'static str {
        match self.obstacle {
            Obstacle::NotConnected => "not_connected",
            Obstacle::Ended(_) => "reconsent_required",
            Obstacle::SignIn => "sign_in_required",
            Obstacle::Unshared | Obstacle::TooNarrow => "admin_connect_required",
        }
    }

    /// Requests are answered with 200, because clients look into no other answer. Nobody reads the answer to anything
    /// else, so that a status tells of it.
    pub fn response(&self, reference: &str) -> (StatusCode, Value) {
        if let Some(answer) = &self.answer {
            return (StatusCode::OK, with_reference(answer.clone(), reference));
        }
        let mut body = mcp::error(mcp::REFUSED, &self.text, reference);
        body["error"]["data"] = self.data.clone().into();
        (StatusCode::FORBIDDEN, with_reference(body, reference))
    }
}

/// For the log.
impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotConnected => f.write_str("the person has not connected the server"),
            Self::Ended(reason) => write!(f, "the person must connect the server again: {}", reason.as_str()),
            Self::SignIn => f.write_str("the person must sign in again"),
            Self::Unshared => f.write_str("an operator must connect the server"),
            Self::TooNarrow => f.write_str("an operator must connect the server again, with more scopes"),
        }
    }
}

impl std::fmt::Display for NotConnected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.obstacle.fmt(f)
    }
}

fn headline(obstacle: Obstacle, upstream: &Upstream) -> String {
    let name = &upstream.display_name;
    match obstacle {
        Obstacle::NotConnected => format!("{name} is not connected to your account yet."),
        Obstacle::Ended(ConsentNeeded::Refused) => {
            format!("{name} no longer takes your connection, and has to be connected again.")
        }
        Obstacle::Ended(ConsentNeeded::Expired) => {
            format!("Your connection to {name} has expired, and has to be made again.")
        }
        Obstacle::Ended(ConsentNeeded::Scope) => {
            format!("{name} asks for more permissions than it was connected with.")
        }
        Obstacle::SignIn => {
            format!("{name} relies on your sign-in at your organisation, and that was too long ago.")
        }
        Obstacle::Unshared => format!("{name} is not connected yet. One connection serves everyone."),
        Obstacle::TooNarrow => {
            format!("{name} asks for more permissions for this than the connection has that everyone shares.")
        }
    }
}

fn advice(obstacle: Obstacle, page: Option<&Page>, upstream: &Upstream) -> String {
    match (page, obstacle) {
        (Some(page), Obstacle::SignIn) => format!("Open this link to sign in again, then try again: {}", page.url),
        (Some(page), _) => format!("Open this link to connect it, then try again: {}", page.url),
        (None, Obstacle::Unshared) => {
            format!("An administrator makes it with `doorward connections connect {}`.", upstream.id)
        }
        (None, Obstacle::TooNarrow) => {
            format!("An administrator makes it again with `doorward connections connect {}`.", upstream.id)
        }
        (None, Obstacle::SignIn) => {
            "Sign out of this server in your application, and connect it again: that signs you in anew.".to_owned()
        }
        (None, _) => "This gateway has no page to connect it on: ask whoever operates it.".to_owned(),
    }
}

/// What programs are told.
fn data(obstacle: Obstacle, page: Option<&Page>, upstream: &Upstream, operation_id: &str) -> Map<String, Value> {
    let state = match obstacle {
        Obstacle::NotConnected => "authenticating",
        Obstacle::Ended(_) | Obstacle::SignIn => "reconsent_required",
        Obstacle::Unshared | Obstacle::TooNarrow => "admin_connect_required",
    };
    let mut data = Map::new();
    let mut tell = |name: &str, value: &str| data.insert(name.to_owned(), json!(value));
    tell("state", state);
    tell("upstreamServerId", &upstream.id);
    tell("authProfileId", &upstream.id);
    tell("operationId", operation_id);
    if let Some(page) = page {
        tell("authUrl", &page.url);
        tell("nextAction", "redirect");
    }
    data
}

/// Puts the reference into every error of an answer.
fn with_reference(mut answer: Value, reference: &str) -> Value {
    let errors = match &mut answer {
        Value::Array(answers) => answers.iter_mut().collect(),
        answer => vec![answer],
    };
    for answer in errors {
        if let Some(data) = answer.pointer_mut("/error/data").and_then(Value::as_object_mut) {
            data.insert("reference".to_owned(), json!(reference));
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{UpstreamMode, UpstreamOAuth, UpstreamPrompt, UpstreamRegistration};

    // PROX-8
    #[test]
    fn who_can_only_sign_in_anew_is_told_so_and_has_nothing_to_connect() {
        let options = UpstreamOAuth {
            resource_metadata: None,
            scopes: None,
            scope_delimiter: " ".to_owned(),
            prompt: UpstreamPrompt::Never,
            registration: UpstreamRegistration::Auto,
        };
        let upstream = Upstream {
            id: "todos".to_owned(),
            display_name: "Todos".to_owned(),
            summary: None,
            server: url::Url::parse("https://todos.example/mcp").unwrap(),
            mode: UpstreamMode::PerPerson(options),
        };
        let asked = Asked::read(br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, None);
        let told = NotConnected::new(Obstacle::SignIn, None, &upstream, "todos", &asked);
        let (status, body) = told.response("ref-1");
        assert_eq!((status, told.reason_code()), (StatusCode::OK, "sign_in_required"));
        let data = json!({
            "state": "reconsent_required", "upstreamServerId": "todos", "authProfileId": "todos",
            "operationId": "todos", "elicitations": [], "reference": "ref-1",
        });
        assert_eq!(body["error"]["data"], data);
        assert!(body["error"]["message"].as_str().unwrap().ends_with("that signs you in anew."));
    }
}

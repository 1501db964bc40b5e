//! `audit-log-inbound` on the data path (gateway.md §11): who called what, and how it went.
//!
//! The body is watched as it passes, and never held up: what is recorded is what the server was sent. Nothing waits for
//! the store either. A record for which there is no room is counted and logged.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::{Value, json};

use super::Proxy;
use super::caller::CallerToken;
use crate::config::model::{AuditLog, Route};
use crate::crypto::{base64url, sha256};
use crate::store::{AuditRecord, Outcome};

/// Bytes of a body that are looked at. Of a longer one, no method is recorded.
const WATCHED: usize = 256 * 1024;
/// Messages of a batch that are recorded.
const MESSAGES: usize = 50;
/// Letters of a method or name.
const NAME: usize = 256;

/// What is seen of one call on its way.
#[derive(Debug, Clone, Default)]
pub struct Witness(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Set once the caller was admitted; without a token on public routes.
    caller: OnceLock<Option<CallerToken>>,
    body: Mutex<Vec<u8>>,
}

impl Witness {
    pub fn admitted(&self, token: Option<&CallerToken>) {
        let _ = self.0.caller.set(token.cloned());
    }

    /// Some more of the body has passed.
    pub fn passed(&self, bytes: &[u8]) {
        let mut body = self.0.body.lock().unwrap_or_else(PoisonError::into_inner);
        // One byte beyond the bound tells that it was passed.
        let room = (WATCHED + 1).saturating_sub(body.len());
        body.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The messages of the body: one, those of a batch, or none that could be read.
    fn messages(&self) -> Vec<Value> {
        let body = self.0.body.lock().unwrap_or_else(PoisonError::into_inner);
        let message =
            if body.len() > WATCHED { Value::Null } else { serde_json::from_slice(&body).unwrap_or_default() };
        match message {
            Value::Array(messages) => messages.into_iter().take(MESSAGES).collect(),
            message => vec![message],
        }
    }
}

/// A call that is recorded when this is dropped: a client that goes away ends the call, and may not hide it.
pub struct Recording<'a> {
    pub proxy: &'a Proxy,
    pub route: &'a Route,
    pub audit: &'a AuditLog,
    pub witness: Witness,
    pub request_id: &'a str,
    pub peer: Option<IpAddr>,
    pub started: Instant,
    /// The status, and why the gateway refused the call or could not pass it on.
    pub answered: Option<(StatusCode, Option<&'static str>)>,
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        let ended = Ended {
            request_id: self.request_id,
            peer: self.peer,
            status: self.answered.map(|(status, _)| status),
            refusal: self.answered.map_or(Some("client_gone"), |(_, refusal)| refusal),
            took: self.started.elapsed(),
        };
        self.proxy.record_call(self.route, self.audit, &self.witness, &ended);
    }
}

/// How a call ended.
struct Ended<'a> {
    request_id: &'a str,
    peer: Option<IpAddr>,
    /// `None` when nobody waited for an answer.
    status: Option<StatusCode>,
    refusal: Option<&'static str>,
    took: Duration,
}

impl Proxy {
    /// Writes the records of a call whose caller was admitted. Whoever was not, is nobody: the log tells of them.
    fn record_call(&self, route: &Route, audit: &AuditLog, witness: &Witness, ended: &Ended<'_>) {
        let Some(caller) = witness.0.caller.get() else { return };
        if !is_sampled(ended.request_id, audit.sampling_rate) {
            return;
        }
        let token = caller.as_ref().filter(|_| audit.user);
        let peer = ended.peer.filter(|_| audit.address).map(|peer| peer.to_string());
        let passed = ended.refusal.is_none() && ended.status.is_some_and(|status| status.is_success());
        for message in witness.messages() {
            let call = describe(&message, ended).to_string();
            let record = AuditRecord {
                outcome: if passed { Outcome::Success } else { Outcome::Refused },
                request_id: Some(ended.request_id),
                subject: token.map(CallerToken::subject),
                client: token.map(CallerToken::client),
                grant: token.and_then(CallerToken::of_grant).map(|token| &token.grant),
                route: Some(&route.path),
                reason: ended.refusal.or((!passed).then_some("upstream_status")),
                peer: peer.as_deref(),
                call: Some(&call),
                ..AuditRecord::new("mcp_capability_completed", self.clock.now())
            };
            if !self.store.record_if_room(&record) {
                self.audit_lost.count(["queue_full"]);
                tracing::warn!(event = "audit_record_lost", requestId = ended.request_id, call);
            }
        }
    }
}

/// What is kept of a message: never its arguments, only a hash of them.
fn describe(message: &Value, ended: &Ended<'_>) -> Value {
    let short = |text: &str| text.chars().take(NAME).collect::<String>();
    let params = &message["params"];
    let mut call = json!({});
    if let Some(method) = message["method"].as_str() {
        call["method"] = short(method).into();
    }
    if let Some(name) = params["name"].as_str() {
        call["name"] = short(name).into();
    } else if let Some(uri) = params["uri"].as_str() {
        // What stands behind a `?` may be anything.
        call["name"] = short(uri.split(['?', '#']).next().unwrap_or_default()).into();
    }
    if let Some(arguments) = params.get("arguments") {
        call["argumentsHash"] = base64url(&sha256(arguments.to_string().as_bytes())).into();
    }
    if let Some(status) = ended.status {
        call["status"] = status.as_u16().into();
    }
    call["ms"] = u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX).into();
    call
}

/// Whether a call is among those that are recorded. Its id decides, so that nothing has to be drawn.
fn is_sampled(request_id: &str, rate: f64) -> bool {
    let [a, b, c, d, ..] = sha256(request_id.as_bytes());
    f64::from(u32::from_be_bytes([a, b, c, d])) < rate * (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended() -> Ended<'static> {
        Ended {
            request_id: "r",
            peer: None,
            status: Some(StatusCode::OK),
            refusal: None,
            took: Duration::from_millis(7),
        }
    }

    // REV-6, SEC-6
    #[test]
    fn a_record_names_the_tool_and_holds_a_hash_of_the_arguments() {
        let call = |text: &str| {
            let witness = Witness::default();
            let (one, other) = text.as_bytes().split_at(text.len() / 2);
            witness.passed(one);
            witness.passed(other);
            witness.messages().iter().map(|message| describe(message, &ended())).collect::<Vec<_>>()
        };
        let hash = base64url(&sha256(br#"{"city":"Paris","n":1}"#));
        let tool = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"weather","arguments":{"city": "Paris", "n": 1}}}"#;
        let recorded =
            json!({ "method": "tools/call", "name": "weather", "argumentsHash": hash, "status": 200, "ms": 7 });
        assert_eq!(call(tool), std::slice::from_ref(&recorded));
        let list = json!({ "method": "tools/list", "status": 200, "ms": 7 });
        assert_eq!(call(&format!(r#"[{tool}, {{"method": "tools/list"}}]"#)), [recorded, list]);
        let read = r#"{"method": "resources/read", "params": {"uri": "file:///notes?token=abc"}}"#;
        assert_eq!(
            call(read),
            [json!({ "method": "resources/read", "name": "file:///notes", "status": 200, "ms": 7 })]
        );
        for unreadable in ["", "{", "7", &" ".repeat(WATCHED + 2)] {
            assert_eq!(call(unreadable), [json!({ "status": 200, "ms": 7 })]);
        }
    }

    // REV-6
    #[test]
    fn a_rate_takes_its_part_of_the_calls() {
        let taken = |rate: f64| (0..1_000).filter(|id: &i32| is_sampled(&id.to_string(), rate)).count();
        assert_eq!((taken(0.0), taken(1.0)), (0, 1_000));
        assert!((400..600).contains(&taken(0.5)), "{}", taken(0.5));
    }
}

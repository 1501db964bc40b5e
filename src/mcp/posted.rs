//! What a client posts: a message or a batch of them, and the items it wants to use (MCP 2025-03-26 to 2026-07-28).

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::capability::Capability;
use super::unique::{self, Unclear};

const OF_MESSAGE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
const OF_PARAMS: &[&str] = &["name", "uri", "ref", "notifications", "_meta"];
const OF_REFERENCE: &[&str] = &["type", "name", "uri"];

/// `_meta` of the stateless era: the revision that the request is written in.
const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// Why a body is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPost {
    #[error(transparent)]
    Unclear(#[from] Unclear),
    #[error("it is not a JSON-RPC message, nor a batch of them")]
    NoMessage,
    #[error("a member's name differs from a known one in upper and lower case only")]
    NearName,
}

/// A body, understood.
#[derive(Debug)]
pub struct Posted {
    pub is_batch: bool,
    pub messages: Vec<Message>,
}

/// One message: a request, a notification, or the client's answer to a request of the server.
#[derive(Debug, Default)]
pub struct Message {
    /// Absent of notifications.
    pub id: Option<Value>,
    /// Absent of answers.
    pub method: Option<String>,
    /// What it asks for.
    pub targets: Vec<Target>,
    /// What `Mcp-Name` has to say of it, where that is defined.
    pub name: Option<String>,
    /// The revision it claims to be written in.
    pub version: Option<String>,
    /// What it hands to a tool or a prompt.
    pub arguments: Option<Value>,
}

/// An item that a message is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Tool(String),
    Prompt(String),
    /// To be read, or to be watched.
    Resource(String),
    /// Of a completion: the URI of a resource, or a template.
    Template(String),
    /// An item of one of these kinds, but it is not said which one.
    Unnamed(&'static [Capability]),
}

/// Reads a body.
///
/// # Errors
/// [`BadPost`].
pub fn read(body: &[u8]) -> Result<Posted, BadPost> {
    let (is_batch, values) = match unique::parse(body)? {
        Value::Array(values) => (true, values),
        value => (false, vec![value]),
    };
    let messages = values.into_iter().map(message).collect::<Result<_, _>>()?;
    Ok(Posted { is_batch, messages })
}

/// The messages of a batch, byte for byte.
///
/// # Errors
/// [`BadPost`] when it is not a batch.
pub fn split(batch: &[u8]) -> Result<Vec<&RawValue>, BadPost> {
    serde_json::from_slice(batch).map_err(|_| BadPost::NoMessage)
}

fn message(value: Value) -> Result<Message, BadPost> {
    let Value::Object(mut members) = value else { return Err(BadPost::NoMessage) };
    check_names(&members, OF_MESSAGE)?;
    let id = members.remove("id");
    let method = match members.remove("method") {
        None => return Ok(Message { id, ..Message::default() }),
        Some(Value::String(method)) => method,
        Some(_) => return Err(BadPost::NoMessage),
    };
    let mut params = match members.remove("params") {
        Some(Value::Object(params)) => params,
        _ => Map::new(),
    };
    let (name, targets) = targets(&method, &params)?;
    let version = params.get("_meta").and_then(|meta| text(meta.as_object()?, PROTOCOL_VERSION));
    let arguments = params.remove("arguments");
    Ok(Message { id, method: Some(method), targets, name, version, arguments })
}

/// What `Mcp-Name` mirrors, and the items.
fn targets(method: &str, params: &Map<String, Value>) -> Result<(Option<String>, Vec<Target>), BadPost> {
    const RESOURCES: &[Capability] = &[Capability::Resource, Capability::ResourceTemplate];
    // A server that does not mind upper and lower case would take these for methods that are known.
    let known = unique::folded(method.trim());
    let one = |member: &str, make: fn(String) -> Target, kinds: &'static [Capability]| {
        let named = text(params, member);
        let target = named.clone().filter(|_| known == method).map_or(Target::Unnamed(kinds), make);
        (named, vec![target])
    };
    let found = match known.as_str() {
        "tools/call" => one("name", Target::Tool, &[Capability::Tool]),
        "prompts/get" => one("name", Target::Prompt, &[Capability::Prompt]),
        "resources/read" => one("uri", Target::Resource, RESOURCES),
        "resources/subscribe" => (None, one("uri", Target::Resource, RESOURCES).1),
        "completion/complete" => {
            let reference = params.get("ref").and_then(Value::as_object);
            (None, vec![completed(reference, known == method)?])
        }
        "subscriptions/listen" => (None, watched(params, known == method)),
        "tasks/get" | "tasks/update" | "tasks/cancel" => return Ok((text(params, "taskId"), Vec::new())),
        _ => return Ok((None, Vec::new())),
    };
    check_names(params, OF_PARAMS)?;
    Ok(found)
}

fn completed(reference: Option<&Map<String, Value>>, is_exact: bool) -> Result<Target, BadPost> {
    const KINDS: &[Capability] = &[Capability::Prompt, Capability::Resource, Capability::ResourceTemplate];
    let Some(reference) = reference.filter(|_| is_exact) else { return Ok(Target::Unnamed(KINDS)) };
    check_names(reference, OF_REFERENCE)?;
    let target = match text(reference, "type").as_deref() {
        Some("ref/prompt") => text(reference, "name").map(Target::Prompt),
        Some("ref/resource") => text(reference, "uri").map(Target::Template),
        _ => None,
    };
    Ok(target.unwrap_or(Target::Unnamed(KINDS)))
}

/// The resources whose changes a stream of the stateless era is to tell.
fn watched(params: &Map<String, Value>, is_exact: bool) -> Vec<Target> {
    const KINDS: &[Capability] = &[Capability::Resource, Capability::ResourceTemplate];
    let wanted = params.get("notifications").and_then(|wanted| wanted.get("resourceSubscriptions"));
    match wanted {
        None | Some(Value::Null) if is_exact => Vec::new(),
        Some(Value::Array(uris)) if is_exact => uris
            .iter()
            .map(|uri| uri.as_str().map_or(Target::Unnamed(KINDS), |uri| Target::Resource(uri.to_owned())))
            .collect(),
        _ => vec![Target::Unnamed(KINDS)],
    }
}

fn text(members: &Map<String, Value>, name: &str) -> Option<String> {
    members.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn check_names(members: &Map<String, Value>, known: &[&str]) -> Result<(), BadPost> {
    let is_near = members.keys().any(|name| unique::is_nearly_one_of(name, known));
    if is_near { Err(BadPost::NearName) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn targets_of(method: &str, params: &Value) -> Vec<Target> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        read(body.to_string().as_bytes()).unwrap().messages.remove(0).targets
    }

    const RESOURCES: &[Capability] = &[Capability::Resource, Capability::ResourceTemplate];

    // STRM-12
    #[rstest]
    #[case("tools/call", json!({"name": "a"}), vec![Target::Tool("a".to_owned())])]
    #[case("tools/call", json!({}), vec![Target::Unnamed(&[Capability::Tool])])]
    #[case("tools/call", json!(["a"]), vec![Target::Unnamed(&[Capability::Tool])])]
    #[case("tools/call", json!({"name": ["a"]}), vec![Target::Unnamed(&[Capability::Tool])])]
    #[case("Tools/Call", json!({"name": "a"}), vec![Target::Unnamed(&[Capability::Tool])])]
    #[case(" tools/call", json!({"name": "a"}), vec![Target::Unnamed(&[Capability::Tool])])]
    #[case("prompts/get", json!({"name": "a"}), vec![Target::Prompt("a".to_owned())])]
    #[case("resources/read", json!({"uri": "a:b"}), vec![Target::Resource("a:b".to_owned())])]
    #[case("resources/subscribe", json!({"uri": "a:b"}), vec![Target::Resource("a:b".to_owned())])]
    #[case("completion/complete", json!({"ref": {"type": "ref/prompt", "name": "a"}}), vec![Target::Prompt("a".to_owned())])]
    #[case("completion/complete", json!({"ref": {"type": "ref/resource", "uri": "a:{b}"}}), vec![Target::Template("a:{b}".to_owned())])]
    #[case("completion/complete", json!({"ref": {"type": "ref/else", "uri": "a"}}), vec![Target::Unnamed(&[Capability::Prompt, Capability::Resource, Capability::ResourceTemplate])])]
    #[case("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": ["a:b", 1]}}), vec![Target::Resource("a:b".to_owned()), Target::Unnamed(RESOURCES)])]
    #[case("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}), vec![])]
    #[case("tools/list", json!({}), vec![])]
    #[case("ping", Value::Null, vec![])]
    fn what_a_request_wants_is_named(#[case] method: &str, #[case] params: Value, #[case] expected: Vec<Target>) {
        assert_eq!(targets_of(method, &params), expected);
    }

    // STRM-12
    #[rstest]
    #[case(r#"{"method": "tools/call", "params": {"name": "seen", "Name": "hidden"}}"#, BadPost::NearName)]
    #[case(r#"{"method": "ping", "Method": "tools/call"}"#, BadPost::NearName)]
    #[case(r#"{"method": "ping", "param\u017f": {}}"#, BadPost::NearName)]
    #[case(
        r#"{"method": "completion/complete", "params": {"ref": {"type": "ref/prompt", "NAME": "a"}}}"#,
        BadPost::NearName
    )]
    #[case(
        r#"{"method": "tools/call", "params": {"name": "seen", "n\u0061me": "hidden"}}"#,
        BadPost::Unclear(Unclear::Duplicate)
    )]
    #[case(r#"[[{"method": "ping"}]]"#, BadPost::NoMessage)]
    #[case(r#""tools/call""#, BadPost::NoMessage)]
    #[case(r#"{"method": ["tools/call"]}"#, BadPost::NoMessage)]
    fn what_has_two_readings_is_refused(#[case] body: &str, #[case] expected: BadPost) {
        assert_eq!(read(body.as_bytes()).unwrap_err(), expected);
    }

    // STRM-12
    #[test]
    fn escapes_are_taken_back_before_a_name_is_judged() {
        let body = br#"{"m\u0065thod": "tools\u002fcall", "params": {"name": "\u0061dd"}}"#;
        assert_eq!(read(body).unwrap().messages[0].targets, [Target::Tool("add".to_owned())]);
    }

    #[test]
    fn a_batch_comes_apart_byte_for_byte() {
        let body = br#"[ {"id":1, "method":"ping"},{"result" : 1.0} ]"#;
        let posted = read(body).unwrap();
        assert!(posted.is_batch && posted.messages[1].method.is_none());
        let parts: Vec<&str> = split(body).unwrap().into_iter().map(RawValue::get).collect();
        assert_eq!(parts, [r#"{"id":1, "method":"ping"}"#, r#"{"result" : 1.0}"#]);
    }
}

//! `set-headers-inbound`, `remove-headers-inbound`, `set-upstream-api-key-inbound`: what a route changes in the headers
//! of a request before it goes to the upstream (gateway.md §3).
//!
//! Owns which headers such a policy may name. Everything is parsed here, once; the data path only inserts and removes.

use http::{HeaderName, HeaderValue};

use super::diagnostic::Problems;
use super::document::Node;
use super::raw;

/// One change. Changes apply in order, to what is left of the client's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderChange {
    Set {
        name: HeaderName,
        /// Marked as sensitive: it is never shown.
        value: HeaderValue,
        /// Whether the value stands where the request has the header already.
        overwrite: bool,
    },
    Remove(HeaderName),
}

impl HeaderChange {
    /// The header of which nothing is left that the client sent.
    #[must_use]
    pub fn taken(&self) -> Option<&HeaderName> {
        match self {
            Self::Set { overwrite: false, .. } => None,
            Self::Set { name, .. } | Self::Remove(name) => Some(name),
        }
    }
}

pub(super) fn set(raw: &raw::SetHeaders, node: &Node, problems: &mut Problems) -> Vec<HeaderChange> {
    let headers = raw.headers.iter().flatten().enumerate();
    headers
        .filter_map(|(index, header)| {
            let node = node.find(&["headers", &index.to_string()]);
            let name = name(header.name.as_deref()?, &node.find(&["name"]), problems);
            let value = value(header.value.as_deref()?, &node.find(&["value"]), problems);
            Some(HeaderChange::Set { name: name?, value: value?, overwrite: header.overwrite })
        })
        .collect()
}

pub(super) fn remove(raw: &raw::RemoveHeaders, node: &Node, problems: &mut Problems) -> Vec<HeaderChange> {
    let headers = raw.headers.iter().flatten().enumerate();
    headers
        .filter_map(|(index, header)| name(header, &node.find(&["headers", &index.to_string()]), problems))
        .map(HeaderChange::Remove)
        .collect()
}

pub(super) fn set_api_key(raw: &raw::SetUpstreamApiKey, node: &Node, problems: &mut Problems) -> Vec<HeaderChange> {
    let name = name(&raw.header, &node.find(&["header"]), problems);
    let value = raw.value.as_deref().and_then(|text| value(text, &node.find(&["value"]), problems));
    let change = name.zip(value);
    change.map(|(name, value)| HeaderChange::Set { name, value, overwrite: raw.overwrite }).into_iter().collect()
}

fn name(text: &str, node: &Node, problems: &mut Problems) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        problems
            .add("value", node.place, format!("{} is not the name of a header", node.shown()))
            .help("such as `X-Api-Key`");
        return None;
    };
    if let Some((reason, help)) = untouchable(&name) {
        problems.add("value", node.place, format!("{} {reason}", node.shown())).help(help);
        return None;
    }
    Some(name)
}

const NOT_VISIBLE: &str = "the value of a header is visible ASCII, in one line";

/// Never shows the value.
fn value(text: &str, node: &Node, problems: &mut Problems) -> Option<HeaderValue> {
    let problem = match HeaderValue::from_str(text) {
        Err(_) => NOT_VISIBLE,
        Ok(_) if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) => NOT_VISIBLE,
        Ok(_) if text.is_empty() => "the value of the header is empty",
        // An empty variable leaves one behind.
        Ok(_) if text.trim() != text => "the value of the header begins or ends with a blank",
        Ok(mut value) => {
            value.set_sensitive(true);
            return Some(value);
        }
    };
    let from = node.variable.as_deref().map(|variable| format!(": look at {variable}")).unwrap_or_default();
    problems
        .add("value", node.place, format!("{problem}{from}"))
        .help("to take a header out, use `remove-headers-inbound`");
    None
}

/// Why a policy may not name a header, and what to do instead. Other spellings count too: an upstream behind CGI reads
/// `x_forwarded_user` as `x-forwarded-user`.
fn untouchable(name: &HeaderName) -> Option<(&'static str, &'static str)> {
    let name = name.as_str().replace(|char: char| !char.is_ascii_alphanumeric(), "-");
    match name.as_str() {
        "connection"
        | "keep-alive"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "proxy-connection"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade"
        | "expect"
        | "http2-settings" => Some((
            "is about one connection, and the gateway makes its own",
            "leave it out; the client's never reaches the server",
        )),
        "host" => Some((
            "is made from the URL of the server",
            "set the host in `rewritePattern`, and `addresses` if it runs elsewhere",
        )),
        "content-length" => Some(("says how long the body is, which passes as it comes", "leave it out")),
        "last-event-id" => Some(MCP),
        _ if name.starts_with("mcp-") => Some(MCP),
        // These tell of the way a request took; all others of the family tell of its caller.
        "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-port" | "x-forwarded-prefix" | "x-forwarded-proto"
        | "x-forwarded-server" => None,
        _ if name.starts_with("x-forwarded-") => Some(IDENTITY),
        _ if name.starts_with("x-doorward-") => Some(IDENTITY),
        _ => None,
    }
}

const MCP: (&str, &str) = ("belongs to the conversation of client and server, and passes as it is", "leave it out");
const IDENTITY: (&str, &str) = (
    "tells the server who calls; what clients send under this name never reaches it",
    "set `forwardIdentity` in the handler's options of the route",
);

/// Whether `node`, which has a `value`, sets a header that holds a credential. Without a name it is `Authorization`.
pub(super) fn sets_credential(node: &Node) -> bool {
    let name = ["name", "header"].into_iter().find_map(|member| node.get(member)?.as_text());
    let name = name.unwrap_or("authorization").to_ascii_lowercase();
    ["auth", "key", "token", "secret", "cookie", "password"].iter().any(|word| name.contains(word))
}

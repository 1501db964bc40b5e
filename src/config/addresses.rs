//! Where an upstream is dialled: the `addresses` of a route (gateway.md §10).

use http::uri::Authority;
use url::Url;

use super::diagnostic::Problems;
use super::document::Node;

/// The addresses, each with its port; one without takes the upstream's.
pub(super) fn resolve(names: &[String], upstream: &Url, node: &Node, problems: &mut Problems) -> Vec<Authority> {
    if names.is_empty() {
        problems
            .add("value", node.place, "the list of addresses is empty")
            .help("leave it out, and the host of `rewritePattern` is dialled");
    }
    let mut addresses: Vec<Authority> = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let entry = node.find(&[&index.to_string()]);
        match address(name, upstream) {
            None => {
                problems
                    .add("value", entry.place, format!("{} is not an address", entry.shown()))
                    .help("give a host, or a host and a port, such as `mcp-1.internal:8080`; scheme and path are those of `rewritePattern`");
            }
            Some(address) if addresses.contains(&address) => {
                problems
                    .add("value", entry.place, format!("{} is listed twice", entry.shown()))
                    .help("remove one of the two");
            }
            Some(address) => addresses.push(address),
        }
    }
    addresses
}

/// `HOST` or `HOST:PORT`, in the form in which two spellings are the same.
fn address(name: &str, upstream: &Url) -> Option<Authority> {
    // A URL knows all spellings of a host; beside host and port it must have gained nothing.
    let url = Url::parse(&format!("{}://{name}", upstream.scheme())).ok()?;
    let bare = url.username().is_empty() && url.password().is_none() && url.path() == "/";
    if !bare || name.contains(['/', '\\', '?', '#', '@']) || name.ends_with(':') {
        return None;
    }
    // The URL leaves out the port that its scheme has anyway, so whether one was named has to be looked for.
    let has_port = name.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let port = if has_port { url.port_or_known_default()? } else { upstream.port_or_known_default()? };
    if port == 0 {
        return None;
    }
    format!("{}:{port}", url.host_str()?).parse().ok()
}

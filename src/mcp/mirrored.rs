//! Headers that repeat what stands in the body (MCP 2026-07-28, Streamable HTTP, "Standard Headers"; SEP-2243).
//!
//! Whoever reads the body sees to it that they agree, in any revision: something on the way may act by the headers
//! alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::posted::{Message, Posted};

/// The header that repeats a request's method.
pub const METHOD: &str = "mcp-method";
/// The header that repeats the name or the URI of what is called, got or read.
pub const NAME: &str = "mcp-name";

/// The first revision whose servers compare them.
const SINCE: &str = "2026-07-28";

/// Whether a revision is of the stateless era.
#[must_use]
pub fn is_stateless(version: &str) -> bool {
    let bytes = version.as_bytes();
    let is_date = bytes.len() == SINCE.len()
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    is_date && version >= SINCE
}

/// A header says something else than the body, or says it twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the header {0} does not agree with the body")]
pub struct Mismatch(pub &'static str);

/// The values of the headers, as they came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mirrored<'h> {
    pub method: &'h [&'h [u8]],
    pub name: &'h [&'h [u8]],
    pub version: &'h [&'h [u8]],
}

impl Mirrored<'_> {
    /// Compares them with a body. A header that is not there says nothing; the server knows whether it needs it.
    ///
    /// # Errors
    /// [`Mismatch`], with the first header that does not agree.
    pub fn check(&self, posted: &Posted) -> Result<(), Mismatch> {
        let message = match posted.messages.as_slice() {
            [message] if !posted.is_batch => message,
            _ if self.method.is_empty() && self.name.is_empty() => return Ok(()),
            // No header can speak for several messages.
            _ => return Err(Mismatch("Mcp-Method")),
        };
        agree(self.method, message.method.as_deref(), "Mcp-Method")?;
        if has_name(message) {
            agree(self.name, message.name.as_deref(), "Mcp-Name")?;
        } else if self.name.len() > 1 {
            return Err(Mismatch("Mcp-Name"));
        }
        match &message.version {
            Some(version) => agree(self.version, Some(version), "MCP-Protocol-Version"),
            None if self.version.len() > 1 => Err(Mismatch("MCP-Protocol-Version")),
            None => Ok(()),
        }
    }
}

/// Whether `Mcp-Name` has a meaning beside the message.
fn has_name(message: &Message) -> bool {
    const NAMED: &[&str] =
        &["tools/call", "prompts/get", "resources/read", "tasks/get", "tasks/update", "tasks/cancel"];
    message.method.as_deref().is_some_and(|method| NAMED.contains(&method))
}

fn agree(values: &[&[u8]], body: Option<&str>, header: &'static str) -> Result<(), Mismatch> {
    match values {
        [] => Ok(()),
        [value] if body.is_some() && decoded(value).as_deref() == body => Ok(()),
        _ => Err(Mismatch(header)),
    }
}

/// A value of such a header: as it stands, or in Base64 when it could not stand there.
fn decoded(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    match text.strip_prefix("=?base64?").and_then(|text| text.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::posted;
    use super::*;

    const CALL: &str = r#"{"id": 1, "method": "tools/call", "params": {"name": "addé"}}"#;

    fn check(method: &[&str], name: &[&str], version: &[&str], body: &str) -> Result<(), Mismatch> {
        let (method, name, version) = (bytes(method), bytes(name), bytes(version));
        Mirrored { method: &method, name: &name, version: &version }.check(&posted::read(body.as_bytes()).unwrap())
    }

    fn bytes<'v>(values: &[&'v str]) -> Vec<&'v [u8]> {
        values.iter().map(|value| value.as_bytes()).collect()
    }

    // PROX-11
    #[rstest]
    #[case(&["tools/call"], &["=?base64?YWRkw6k=?="], CALL, Ok(()))]
    #[case(&["tools/call"], &["addé"], CALL, Ok(()))]
    #[case(&[], &[], CALL, Ok(()))]
    #[case(&["tools/list"], &["addé"], CALL, Err("Mcp-Method"))]
    #[case(&["Tools/Call"], &["addé"], CALL, Err("Mcp-Method"))]
    #[case(&["tools/call", "tools/call"], &["addé"], CALL, Err("Mcp-Method"))]
    #[case(&["tools/call"], &["ADDÉ"], CALL, Err("Mcp-Name"))]
    #[case(&["tools/call"], &["addé", "other"], CALL, Err("Mcp-Name"))]
    #[case(&["tools/call"], &["=?base64?YWRk?="], CALL, Err("Mcp-Name"))]
    #[case(&["tools/call"], &["=?base64?%%%?="], CALL, Err("Mcp-Name"))]
    #[case(&["tools/call"], &["add"], r#"{"method": "tools/call"}"#, Err("Mcp-Name"))]
    #[case(&["ping"], &[], r#"[{"method": "ping"}]"#, Err("Mcp-Method"))]
    #[case(&["ping"], &[], r#"{"id": 1, "result": {}}"#, Err("Mcp-Method"))]
    #[case(&["prompts/get"], &["a"], r#"{"method": "prompts/get", "params": {"name": "a"}}"#, Ok(()))]
    #[case(&["resources/read"], &["a:b"], r#"{"method": "resources/read", "params": {"uri": "a:c"}}"#, Err("Mcp-Name"))]
    fn headers_say_what_the_body_says(
        #[case] method: &[&str],
        #[case] name: &[&str],
        #[case] body: &str,
        #[case] expected: Result<(), &'static str>,
    ) {
        assert_eq!(check(method, name, &[], body), expected.map_err(Mismatch));
    }

    // PROX-11
    #[test]
    fn the_revision_of_the_body_is_that_of_the_header() {
        let body =
            r#"{"method": "ping", "params": {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}}"#;
        assert_eq!(check(&[], &[], &["2026-07-28"], body), Ok(()));
        assert_eq!(check(&[], &[], &["2025-11-25"], body), Err(Mismatch("MCP-Protocol-Version")));
    }

    // PROX-12
    #[test]
    fn revisions_that_compare_are_told_from_those_that_do_not() {
        for (version, stateless) in
            [("2026-07-28", true), ("2027-01-01", true), ("2025-11-25", false), ("9", false), ("latest-one", false)]
        {
            assert_eq!(is_stateless(version), stateless, "{version}");
        }
    }
}

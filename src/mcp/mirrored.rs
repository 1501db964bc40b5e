//! Headers that repeat what stands in the body (MCP 2026-07-28, Streamable HTTP, "Standard Headers"; SEP-2243).
//!
//! Whoever reads the body sees to it that they agree, in any revision: something on the way may act by the headers
//! alone. Which argument an `Mcp-Param-…` repeats, only the server knows; that it repeats one at all shows without
//! (docs/decisions/0030).

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::posted::{Message, Posted};

/// The header that repeats a request's method.
pub const METHOD: &str = "mcp-method";
/// The header that repeats the name or the URI of what is called, got or read.
pub const NAME: &str = "mcp-name";
/// What the names of those headers begin with that repeat an argument of a tool each (`x-mcp-header`).
pub const PARAM: &str = "mcp-param-";

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
    /// All that begin with [`PARAM`], by their names in lower case.
    pub params: &'h [(&'h str, &'h [u8])],
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
        agree(self.method, literal, message.method.as_deref(), "Mcp-Method")?;
        self.check_params(message)?;
        if has_name(message) {
            agree(self.name, decoded, message.name.as_deref(), "Mcp-Name")?;
        } else if self.name.len() > 1 {
            return Err(Mismatch("Mcp-Name"));
        }
        match &message.version {
            Some(version) => agree(self.version, literal, Some(version), "MCP-Protocol-Version"),
            None if self.version.len() > 1 => Err(Mismatch("MCP-Protocol-Version")),
            None => Ok(()),
        }
    }

    /// Each stands once and repeats a value of the arguments. Beside anything but a call they mean nothing.
    fn check_params(&self, message: &Message) -> Result<(), Mismatch> {
        if self.params.is_empty() || message.method.as_deref() != Some("tools/call") {
            return Ok(());
        }
        let mut said = Said::default();
        message.arguments.iter().for_each(|arguments| said.gather(arguments));
        let mut names = HashSet::new();
        let agree = self
            .params
            .iter()
            .all(|&(name, value)| names.insert(name) && decoded(value).is_some_and(|value| said.holds(&value)));
        if agree { Ok(()) } else { Err(Mismatch("Mcp-Param-*")) }
    }
}

/// The values of a call's arguments that a header can repeat.
#[derive(Default)]
struct Said<'b> {
    texts: HashSet<&'b str>,
    /// As bits of floating-point numbers: `42.0` is 42.
    numbers: HashSet<u64>,
}

impl<'b> Said<'b> {
    fn gather(&mut self, value: &'b Value) {
        match value {
            // A client leaves out the header of an argument that is null.
            Value::Null => {}
            Value::Bool(value) => _ = self.texts.insert(if *value { "true" } else { "false" }),
            Value::Number(value) => self.numbers.extend(value.as_f64().map(bits)),
            Value::String(value) => _ = self.texts.insert(value),
            Value::Array(values) => values.iter().for_each(|value| self.gather(value)),
            Value::Object(members) => members.values().for_each(|value| self.gather(value)),
        }
    }

    fn holds(&self, value: &str) -> bool {
        self.texts.contains(value) || value.parse().is_ok_and(|number| self.numbers.contains(&bits(number)))
    }
}

/// Of one zero, not two.
fn bits(number: f64) -> u64 {
    (number + 0.0).to_bits()
}

/// Whether `Mcp-Name` has a meaning beside the message.
fn has_name(message: &Message) -> bool {
    const NAMED: &[&str] =
        &["tools/call", "prompts/get", "resources/read", "tasks/get", "tasks/update", "tasks/cancel"];
    message.method.as_deref().is_some_and(|method| NAMED.contains(&method))
}

fn agree<'v>(
    values: &[&'v [u8]],
    read: fn(&'v [u8]) -> Option<Cow<'v, str>>,
    body: Option<&str>,
    header: &'static str,
) -> Result<(), Mismatch> {
    match values {
        [] => Ok(()),
        [value] if body.is_some() && read(value).as_deref() == body => Ok(()),
        _ => Err(Mismatch(header)),
    }
}

/// A value as it stands, in the characters that may stand there.
fn literal(value: &[u8]) -> Option<Cow<'_, str>> {
    let is_plain = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    std::str::from_utf8(value).ok().filter(|_| is_plain).map(Cow::Borrowed)
}

/// The same of a header whose value is in Base64 when it could not stand there.
fn decoded(value: &[u8]) -> Option<Cow<'_, str>> {
    let text = literal(value)?;
    match text.strip_prefix("=?base64?").and_then(|text| text.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok().map(Cow::Owned),
        None => Some(text),
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
        let mirrored = Mirrored { method: &method, name: &name, version: &version, params: &[] };
        mirrored.check(&posted::read(body.as_bytes()).unwrap())
    }

    fn bytes<'v>(values: &[&'v str]) -> Vec<&'v [u8]> {
        values.iter().map(|value| value.as_bytes()).collect()
    }

    // PROX-11
    #[rstest]
    #[case(&["tools/call"], &["=?base64?YWRkw6k=?="], CALL, Ok(()))]
    #[case(&["tools/call"], &["addé"], CALL, Err("Mcp-Name"))]
    #[case(&["=?base64?dG9vbHMvY2FsbA==?="], &[], CALL, Err("Mcp-Method"))]
    #[case(&[], &[], CALL, Ok(()))]
    #[case(&["tools/list"], &["=?base64?YWRkw6k=?="], CALL, Err("Mcp-Method"))]
    #[case(&["Tools/Call"], &["=?base64?YWRkw6k=?="], CALL, Err("Mcp-Method"))]
    #[case(&["tools/call", "tools/call"], &["=?base64?YWRkw6k=?="], CALL, Err("Mcp-Method"))]
    #[case(&["tools/call"], &["ADDÉ"], CALL, Err("Mcp-Name"))]
    #[case(&["tools/call"], &["=?base64?YWRkw6k=?=", "other"], CALL, Err("Mcp-Name"))]
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
    #[rstest]
    #[case(&[("region", "eu")], true)]
    #[case(&[("region", "=?base64?ZXU=?=")], true)]
    #[case(&[("zip", "10115"), ("count", "42"), ("dry", "true"), ("empty", "")], true)]
    #[case(&[("count", "42.0")], true)]
    #[case(&[("count", "4.2e1")], true)]
    #[case(&[("least", "0")], true)]
    #[case(&[("zip", "10115.0")], false)]
    #[case(&[("region", "us")], false)]
    #[case(&[("region", "EU")], false)]
    #[case(&[("dry", "True")], false)]
    #[case(&[("count", "43")], false)]
    #[case(&[("none", "null")], false)]
    #[case(&[("region", "eu"), ("region", "eu")], false)]
    #[case(&[("region", "=?base64?ZXU?=")], false)]
    #[case(&[("region", "=?base64?Z!U=?=")], false)]
    #[case(&[("region", "=?BASE64?ZXU=?=")], false)]
    #[case(&[("odd", "=?base64?PT9iYXNlNjQ/eD89?=")], true)]
    #[case(&[("odd", "=?base64?x?=")], false)]
    #[case(&[("city", "Malmö")], false)]
    #[case(&[("city", "=?base64?TWFsbcO2?=")], true)]
    fn a_header_of_an_argument_repeats_one_once(#[case] params: &[(&str, &str)], #[case] expected: bool) {
        let body = r#"{"id": 1, "method": "tools/call", "params": {"name": "add", "arguments": {"region": "eu", "count": 42,
            "least": -0.0, "dry": true, "none": null, "empty": "", "place": {"zip": "10115"}, "odd": "=?base64?x?=",
            "city": "Malmö"}}}"#;
        let params: Vec<_> = params.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let mirrored = Mirrored { params: &params, ..Mirrored::default() };
        let checked = mirrored.check(&posted::read(body.as_bytes()).unwrap());
        assert_eq!(checked, if expected { Ok(()) } else { Err(Mismatch("Mcp-Param-*")) });
        let other = r#"{"id": 1, "method": "tools/list", "params": {}}"#;
        assert_eq!(mirrored.check(&posted::read(other.as_bytes()).unwrap()), Ok(()));
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

//! The challenge of a server behind (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9728 §5.1): what `WWW-Authenticate` says of
//! the metadata and the scopes.

/// What the `Bearer` challenges of one answer say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamChallenge {
    pub resource_metadata: Option<String>,
    /// As sent; [`scopes`] takes it apart.
    pub scope: Option<String>,
    /// RFC 6750 §3.1.
    pub error: Option<String>,
}

/// Scopes one request may ask for. A server that names more asks for too much.
const MOST_SCOPES: usize = 100;
const LONGEST_SCOPE: usize = 256;

impl UpstreamChallenge {
    /// Reads all values of the header. The first that names something counts; other schemes than `Bearer` and
    /// what cannot be read are left out.
    #[must_use]
    pub fn parse<'h>(values: impl IntoIterator<Item = &'h str>) -> Self {
        let mut challenge = Self::default();
        for value in values {
            let mut bearer = false;
            for part in (Parts { rest: value }) {
                match part {
                    Part::Scheme(scheme) => bearer = scheme.eq_ignore_ascii_case("bearer"),
                    Part::Param(name, value) if bearer => challenge.set(name, value),
                    Part::Param(..) => {}
                }
            }
        }
        challenge
    }

    fn set(&mut self, name: &str, value: String) {
        let member = match name.to_ascii_lowercase().as_str() {
            "resource_metadata" => &mut self.resource_metadata,
            "scope" => &mut self.scope,
            "error" => &mut self.error,
            _ => return,
        };
        member.get_or_insert(value);
    }
}

/// The scopes of a list, each once, in their order; what is no scope-token (RFC 6749 §3.3) falls out.
#[must_use]
pub fn scopes<'s>(listed: impl IntoIterator<Item = &'s str>) -> Vec<String> {
    let token = |scope: &&str| {
        (1..=LONGEST_SCOPE).contains(&scope.len())
            && scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    };
    let mut scopes: Vec<String> = Vec::new();
    for scope in listed.into_iter().flat_map(str::split_ascii_whitespace).filter(token).take(MOST_SCOPES) {
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}

enum Part<'h> {
    Scheme(&'h str),
    Param(&'h str, String),
}

/// Walks over a header value: a name before `=` is a parameter's, any other a scheme's.
struct Parts<'h> {
    rest: &'h str,
}

impl<'h> Iterator for Parts<'h> {
    type Item = Part<'h>;

    fn next(&mut self) -> Option<Part<'h>> {
        self.rest = self.rest.trim_start_matches([' ', '\t', ',']);
        let name = self.take(|byte| !matches!(byte, b' ' | b'\t' | b',' | b'=' | b'"'));
        let after = self.rest.trim_start_matches([' ', '\t']);
        if let Some(value) = after.strip_prefix('=') {
            self.rest = value.trim_start_matches([' ', '\t']);
            let value = self.value();
            return Some(Part::Param(name, value));
        }
        if name.is_empty() {
            // A quote that belongs to nothing: nothing after it can be understood.
            self.rest = "";
            return None;
        }
        Some(Part::Scheme(name))
    }
}

impl<'h> Parts<'h> {
    fn take(&mut self, belongs: impl Fn(u8) -> bool) -> &'h str {
        let end = self.rest.bytes().position(|byte| !belongs(byte)).unwrap_or(self.rest.len());
        // The delimiters are ASCII, so `end` is never within a character.
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// A token, or a quoted string without its quotes and escapes.
    fn value(&mut self) -> String {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            return self.take(|byte| !matches!(byte, b' ' | b'\t' | b',')).to_owned();
        };
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    self.rest = quoted.get(at + 1..).unwrap_or_default();
                    return value;
                }
                '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
                _ => value.push(char),
            }
        }
        self.rest = "";
        value
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn challenge(metadata: Option<&str>, scope: Option<&str>, error: Option<&str>) -> UpstreamChallenge {
        UpstreamChallenge {
            resource_metadata: metadata.map(str::to_owned),
            scope: scope.map(str::to_owned),
            error: error.map(str::to_owned),
        }
    }

    #[rstest]
    #[case(&[r#"Bearer resource_metadata="https://a.example/m""#], challenge(Some("https://a.example/m"), None, None))]
    #[case(
        &[r#"bearer realm="OAuth", error="invalid_token", scope="a b",resource_metadata=https://a.example/m"#],
        challenge(Some("https://a.example/m"), Some("a b"), Some("invalid_token"))
    )]
    #[case(&[r#"Basic realm="x, Bearer scope=evil", Bearer scope="a""#], challenge(None, Some("a"), None))]
    #[case(&[r#"DPoP scope="a", resource_metadata="https://evil.example""#], challenge(None, None, None))]
    #[case(&["Negotiate YWJj==", "Bearer scope=a"], challenge(None, Some("a"), None))]
    #[case(&["Bearer scope=a", "Bearer scope=b"], challenge(None, Some("a"), None))]
    #[case(&[r#"Bearer realm="a \"quoted\", scope=x", scope = "b""#], challenge(None, Some("b"), None))]
    #[case(&["Bearer"], challenge(None, None, None))]
    #[case(&[r#"Bearer scope="unfinished"#], challenge(None, Some("unfinished"), None))]
    #[case(&[r#"Bearer ""#, "", ",,,", "=", "Bearer x=, scope=é"], challenge(None, Some("é"), None))]
    fn a_challenge_is_read_as_http_writes_it(#[case] values: &[&str], #[case] expected: UpstreamChallenge) {
        assert_eq!(UpstreamChallenge::parse(values.iter().copied()), expected);
    }

    #[test]
    fn of_a_list_only_scopes_are_asked_for_and_each_once() {
        assert_eq!(scopes(["read  write", "read", "a\"b", "caf\u{e9}", "files:read"]), ["read", "write", "files:read"]);
        assert_eq!(scopes([(0..300).map(|n| n.to_string()).collect::<Vec<_>>().join(" ").as_str()]).len(), MOST_SCOPES);
        assert!(scopes(["a".repeat(LONGEST_SCOPE + 1).as_str()]).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_header_keeps_the_reader_busy(value in "[\\PC\\x00-\\x20\"=,]{0,80}") {
            let _ = UpstreamChallenge::parse([value.as_str()]);
        }

        #[test]
        fn what_a_server_quotes_is_read_back(scope in "[\\PC]{0,40}") {
            let quoted = scope.replace('\\', "\\\\").replace('"', "\\\"");
            let read = UpstreamChallenge::parse([format!("Bearer realm=x, scope=\"{quoted}\"").as_str()]);
            assert_eq!(read.scope, Some(scope));
        }
    }
}

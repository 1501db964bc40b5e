//! Bearer tokens on a request, and the challenge for one that has none (RFC 6750, RFC 9110 §11.6.1;
//! CHAL-1 … CHAL-8, CHAL-12).
//!
//! Must not verify tokens.

use std::fmt;

use super::scope::{OFFLINE_ACCESS, ScopeSet};

/// Why a request carries no single bearer token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BearerProblem {
    /// No credentials. A token in the query alone is none (CHAL-4).
    #[error("the request carries no access token")]
    Missing,
    #[error("the Authorization header holds no well-formed bearer token")]
    Malformed,
    #[error("the request carries credentials more than once")]
    Duplicate,
    #[error("the Authorization header must use the Bearer scheme")]
    WrongScheme,
}

impl BearerProblem {
    /// HTTP status.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::Duplicate => 400,
            Self::Missing | Self::Malformed | Self::WrongScheme => 401,
        }
    }

    /// RFC 6750 §3.1. A request without credentials of the right scheme is told no error (CHAL-1).
    #[must_use]
    pub fn error(self) -> Option<BearerError> {
        match self {
            Self::Missing | Self::WrongScheme => None,
            Self::Malformed => Some(BearerError::InvalidToken),
            Self::Duplicate => Some(BearerError::InvalidRequest),
        }
    }
}

/// RFC 6750 §3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BearerError {
    InvalidRequest,
    InvalidToken,
    InsufficientScope,
    /// RFC 9470 §3: the person has to sign in anew.
    InsufficientUserAuthentication,
}

impl BearerError {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
        }
    }

    /// HTTP status.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::InvalidToken => 401,
            Self::InsufficientScope | Self::InsufficientUserAuthentication => 403,
        }
    }
}

/// The one token of a request: `authorization` are the values of all its `Authorization` headers, `query` its
/// raw query.
///
/// # Errors
/// [`BearerProblem`].
pub fn credentials<'h>(
    authorization: impl IntoIterator<Item = &'h [u8]>,
    query: Option<&str>,
) -> Result<&'h str, BearerProblem> {
    let mut headers = authorization.into_iter();
    let header = headers.next().ok_or(BearerProblem::Missing)?;
    if headers.next().is_some() || query.is_some_and(names_a_token) {
        return Err(BearerProblem::Duplicate);
    }
    let header = std::str::from_utf8(header).map_err(|_| BearerProblem::Malformed)?.trim();
    let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(BearerProblem::WrongScheme);
    }
    let token = token.trim_start();
    if is_token(token) { Ok(token) } else { Err(BearerProblem::Malformed) }
}

fn names_a_token(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "access_token" && !value.is_empty())
}

/// `b64token` (RFC 6750 §2.1).
fn is_token(text: &str) -> bool {
    // Of all that is done for a call this goes over the most bytes: one look each.
    const ALLOWED: [bool; 256] = {
        let mut allowed = [false; 256];
        let mut byte = 0u8;
        while byte < 128 {
            allowed[byte as usize] =
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
            byte += 1;
        }
        allowed
    };
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|byte| ALLOWED[usize::from(byte)])
}

/// A `WWW-Authenticate` value; `Display` writes it.
#[derive(Debug, Clone, Copy)]
pub struct Challenge<'a> {
    /// Absolute URL of the resource's metadata (RFC 9728 §5.1).
    pub resource_metadata: &'a str,
    /// Every scope the request needs. `offline_access` is left out whoever puts it in (CHAL-12).
    pub scope: &'a ScopeSet,
    pub error: Option<BearerError>,
    pub error_description: Option<&'a str>,
    /// How many seconds ago the person may have signed in (RFC 9470 §3).
    pub max_age: Option<u64>,
}

impl fmt::Display for Challenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer ")?;
        if let Some(error) = self.error {
            write!(f, "error=\"{}\", ", error.as_str())?;
            if let Some(description) = self.error_description {
                write!(f, "error_description=\"{}\", ", quotable(description))?;
            }
        }
        write!(f, "resource_metadata=\"{}\"", quotable(self.resource_metadata))?;
        let scopes: Vec<&str> = self.scope.iter().filter(|scope| *scope != OFFLINE_ACCESS).collect();
        if !scopes.is_empty() {
            write!(f, ", scope=\"{}\"", quotable(&scopes.join(" ")))?;
        }
        if let Some(max_age) = self.max_age {
            write!(f, ", max_age=\"{max_age}\"")?;
        }
        Ok(())
    }
}

/// Printable ASCII that needs no escape in a quoted string (CHAL-8). Quotes and backslashes are replaced, as
/// several clients take the value apart without unescaping it.
fn quotable(text: &str) -> String {
    text.chars()
        .map(|char| match char {
            '"' => '\'',
            '\\' => '/',
            ' '..='~' => char,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const METADATA: &str = "https://gw.example/.well-known/oauth-protected-resource/mcp/linear";

    #[rstest]
    #[case(&["Bearer abc.def-1_~+/=="], None, Ok("abc.def-1_~+/=="))]
    #[case(&["bEaReR   abc"], Some("x=1&access_token="), Ok("abc"))]
    #[case(&[], None, Err(BearerProblem::Missing))]
    #[case(&[], Some("access_token=abc"), Err(BearerProblem::Missing))]
    #[case(&["Bearer a", "Bearer a"], None, Err(BearerProblem::Duplicate))]
    #[case(&["Bearer a", "Basic b"], None, Err(BearerProblem::Duplicate))]
    #[case(&["Bearer a"], Some("x=1&access_token=a"), Err(BearerProblem::Duplicate))]
    #[case(&["Bearer a"], Some("access%5Ftoken=a"), Err(BearerProblem::Duplicate))]
    #[case(&["Basic dXNlcjpwdw=="], None, Err(BearerProblem::WrongScheme))]
    #[case(&["DPoP abc"], None, Err(BearerProblem::WrongScheme))]
    #[case(&[""], None, Err(BearerProblem::WrongScheme))]
    #[case(&["Bearer"], None, Err(BearerProblem::Malformed))]
    #[case(&["Bearer ="], None, Err(BearerProblem::Malformed))]
    #[case(&["Bearer a b"], None, Err(BearerProblem::Malformed))]
    #[case(&["Bearer a, Bearer b"], None, Err(BearerProblem::Malformed))]
    #[case(&["Bearer \u{e9}"], None, Err(BearerProblem::Malformed))]
    fn chal_4_to_6_exactly_one_bearer_token_in_the_header_counts(
        #[case] headers: &[&str],
        #[case] query: Option<&str>,
        #[case] expected: Result<&str, BearerProblem>,
    ) {
        assert_eq!(credentials(headers.iter().map(|header| header.as_bytes()), query), expected);
    }

    #[test]
    fn chal_5_only_doubled_credentials_are_a_bad_request() {
        assert_eq!(credentials([&[0xff_u8, 0xfe][..]], None), Err(BearerProblem::Malformed));
        assert_eq!(
            (BearerProblem::Duplicate.http_status(), BearerProblem::Duplicate.error()),
            (400, Some(BearerError::InvalidRequest))
        );
        assert_eq!((BearerProblem::Missing.http_status(), BearerProblem::Missing.error()), (401, None));
        assert_eq!((BearerProblem::WrongScheme.http_status(), BearerProblem::WrongScheme.error()), (401, None));
        assert_eq!(
            (BearerProblem::Malformed.http_status(), BearerProblem::Malformed.error()),
            (401, Some(BearerError::InvalidToken))
        );
        assert_eq!(BearerError::InsufficientScope.http_status(), 403);
    }

    #[test]
    fn chal_1_2_and_7_a_challenge_says_where_to_go_and_what_is_needed() {
        let scope = ScopeSet::parse("offline_access mcp:tools mcp:admin");
        let plain = Challenge {
            resource_metadata: METADATA,
            scope: &scope,
            error: None,
            error_description: None,
            max_age: None,
        };
        assert_eq!(
            plain.to_string(),
            format!("Bearer resource_metadata=\"{METADATA}\", scope=\"mcp:admin mcp:tools\"")
        );
        let expired = Challenge {
            error: Some(BearerError::InvalidToken),
            error_description: Some("the token \"x\" has expired"),
            ..plain
        };
        assert_eq!(
            expired.to_string(),
            format!(
                "Bearer error=\"invalid_token\", error_description=\"the token 'x' has expired\", \
                 resource_metadata=\"{METADATA}\", scope=\"mcp:admin mcp:tools\""
            )
        );
        let anew = Challenge { error: Some(BearerError::InsufficientUserAuthentication), max_age: Some(300), ..plain };
        assert_eq!(
            anew.to_string(),
            format!(
                "Bearer error=\"insufficient_user_authentication\", resource_metadata=\"{METADATA}\", \
                 scope=\"mcp:admin mcp:tools\", max_age=\"300\""
            )
        );
        let bare = Challenge { scope: &ScopeSet::parse("offline_access"), ..plain };
        assert_eq!(bare.to_string(), format!("Bearer resource_metadata=\"{METADATA}\""));
    }

    proptest! {
        #[test]
        fn chal_8_no_input_breaks_out_of_its_attribute(url in any::<String>(), scope in any::<String>(), text in any::<String>()) {
            let scope = ScopeSet::parse(&scope);
            let value = Challenge {
                resource_metadata: &url,
                scope: &scope,
                error: Some(BearerError::InvalidToken),
                error_description: Some(&text),
                max_age: None,
            }
            .to_string();
            prop_assert!(value.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'\\'));
            prop_assert!([6, 8].contains(&value.matches('"').count()));
        }

        #[test]
        fn no_header_panics(header in any::<Vec<u8>>(), query in any::<Option<String>>()) {
            let _ = credentials([header.as_slice()], query.as_deref());
        }
    }
}

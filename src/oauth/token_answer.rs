//! Token endpoint answers as other servers give them (RFC 6749 §5, RFC 8693 §2.2).
//!
//! Stricter than some servers where it matters (another token type is no bearer token), more lenient where they are known
//! to differ: numbers as texts, a 200 that holds an error.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;

/// `issued_token_type` of an identity assertion (draft-ietf-oauth-identity-assertion-authz-grant).
pub const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// A token goes into a header, of which servers take so much.
const LONGEST_TOKEN: usize = 16 * 1024;
const LONGEST_SCOPE: usize = 8 * 1024;
const LONGEST_CODE: usize = 64;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// RFC 6750.
    Bearer,
    /// An assertion for another server, which is no access token.
    IdJag,
}

/// A token that was granted. `Debug` shows no token.
#[derive(Debug, Clone)]
pub struct TokenAnswer {
    pub access_token: SecretString,
    /// Absent: the one that was spent, if any, goes on serving.
    pub refresh_token: Option<SecretString>,
    /// Absent: the server does not say.
    pub expires_in: Option<Duration>,
    /// Absent: what was asked for (RFC 6749 §5.1).
    pub scope: Option<String>,
}

impl TokenAnswer {
    /// Reads the answer to a request that succeeded.
    ///
    /// # Errors
    /// What is wrong with it, continuing a sentence that begins with "the token answer".
    pub fn parse(json: &[u8], kind: TokenKind) -> Result<Self, &'static str> {
        let answer: Value = serde_json::from_slice(json).map_err(|_| "is not JSON")?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        match kind {
            TokenKind::Bearer if text("token_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) => {
                return Err("holds a token that is not a bearer token");
            }
            TokenKind::IdJag if text("issued_token_type") != Some(ID_JAG) => {
                return Err("holds no identity assertion (id-jag)");
            }
            _ => {}
        }
        let access_token = text("access_token").ok_or("holds no access token")?;
        let refresh_token = text("refresh_token");
        if ![Some(access_token), refresh_token].into_iter().flatten().all(is_token) {
            return Err("holds a token that fits into no header");
        }
        Ok(Self {
            access_token: access_token.into(),
            refresh_token: refresh_token.map(SecretString::from),
            expires_in: answer.get("expires_in").and_then(seconds),
            scope: text("scope").filter(|scope| scope.len() <= LONGEST_SCOPE).map(str::to_owned),
        })
    }
}

/// `error` of an answer, whatever its status (RFC 6749 §5.2; some servers send it with a 200). What is not shaped like an
/// error code is left out.
#[must_use]
pub fn error_code(json: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(json).ok()?;
    let code = answer.get("error").filter(|error| !error.is_null())?.as_str().unwrap_or_default();
    Some(shown_code(code))
}

/// An error code, as a message may show it; anything that is not shaped like one is left out.
#[must_use]
pub fn shown_code(code: &str) -> String {
    let shaped = (1..=LONGEST_CODE).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if shaped { code.to_owned() } else { "an unreadable error code".to_owned() }
}

/// Visible ASCII (RFC 6749 appendix A.12).
fn is_token(text: &str) -> bool {
    text.len() <= LONGEST_TOKEN && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A lifetime. Nothing lives for no time at all: zero is some servers' way to say that it does not end.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }?;
    Duration::try_from_secs_f64(seconds.floor()).ok().filter(|span| !span.is_zero())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use secrecy::ExposeSecret as _;
    use serde_json::json;

    use super::*;

    fn parse(answer: &Value) -> Result<TokenAnswer, &'static str> {
        TokenAnswer::parse(answer.to_string().as_bytes(), TokenKind::Bearer)
    }

    #[rstest]
    #[case(json!(3600), Some(3600))]
    #[case(json!("3600"), Some(3600))]
    #[case(json!(3600.9), Some(3600))]
    #[case(json!(0), None)]
    #[case(json!(-5), None)]
    #[case(json!("soon"), None)]
    #[case(json!("NaN"), None)]
    #[case(json!(1e300), None)]
    #[case(json!(null), None)]
    fn a_lifetime_may_be_a_number_or_a_text(#[case] expires_in: Value, #[case] seconds: Option<u64>) {
        let answer = parse(&json!({"access_token": "a", "token_type": "bearer", "expires_in": expires_in})).unwrap();
        assert_eq!(answer.expires_in, seconds.map(Duration::from_secs));
    }

    #[test]
    fn members_that_are_empty_are_absent_and_none_is_shown() {
        let answer = parse(&json!({"access_token": "at-1", "refresh_token": "", "scope": ""})).unwrap();
        assert!(answer.refresh_token.is_none() && answer.scope.is_none());
        let answer = parse(&json!({"access_token": "at-1", "refresh_token": "rt-1", "token_type": "BEARER"})).unwrap();
        assert_eq!(answer.refresh_token.as_ref().unwrap().expose_secret(), "rt-1");
        assert!(!format!("{answer:?}").contains("t-1"));
    }

    #[rstest]
    #[case(json!({"access_token": "a", "token_type": "DPoP"}))]
    #[case(json!({"access_token": "a", "token_type": "N_A"}))]
    #[case(json!({"access_token": ""}))]
    #[case(json!({"access_token": 7}))]
    #[case(json!({"access_token": "a\r\nHost: b"}))]
    #[case(json!({"access_token": "a b"}))]
    #[case(json!({"access_token": "a".repeat(LONGEST_TOKEN + 1)}))]
    #[case(json!({"access_token": "a", "refresh_token": "b\n"}))]
    #[case(json!([]))]
    fn what_is_no_bearer_token_is_not_used(#[case] answer: Value) {
        assert!(parse(&answer).is_err());
    }

    // EXT-6
    #[test]
    fn an_identity_assertion_is_told_from_a_token_by_its_type() {
        let answer =
            |kind: &str| json!({"access_token": "a", "issued_token_type": kind, "token_type": "N_A"}).to_string();
        assert!(TokenAnswer::parse(answer(ID_JAG).as_bytes(), TokenKind::IdJag).is_ok());
        let other = answer("urn:ietf:params:oauth:token-type:access_token");
        assert!(TokenAnswer::parse(other.as_bytes(), TokenKind::IdJag).is_err());
        assert!(TokenAnswer::parse(answer(ID_JAG).as_bytes(), TokenKind::Bearer).is_err());
    }

    #[test]
    fn an_error_code_is_shown_only_if_it_is_one() {
        assert_eq!(error_code(br#"{"error":"invalid_grant","error_description":"x"}"#).unwrap(), "invalid_grant");
        for odd in [r#"{"error":"<script>"}"#, r#"{"error":{"message":"x"}}"#, r#"{"error":""}"#] {
            assert_eq!(error_code(odd.as_bytes()).unwrap(), "an unreadable error code");
        }
        for none in [r#"{"error":null}"#, "{}", "<html>", "[]"] {
            assert_eq!(error_code(none.as_bytes()), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_answer_upsets_the_reader_or_smuggles_a_line(token in "\\PC{0,20}|[\\x00-\\x7f]{0,20}", bytes: Vec<u8>) {
            let _ = (TokenAnswer::parse(&bytes, TokenKind::Bearer), error_code(&bytes));
            if let Ok(answer) = parse(&json!({"access_token": token})) {
                assert!(answer.access_token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}

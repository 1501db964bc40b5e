//! The credentials of a request: each line is one `Authorization` header, a line that begins with `?` is the query
//! (CHAL-4 … CHAL-6, CHAL-8).

use doorward::oauth::bearer::{BearerError, BearerProblem, Challenge, credentials};
use doorward::oauth::scope::ScopeSet;

pub fn run(data: &[u8]) {
    let (queries, headers): (Vec<&[u8]>, Vec<&[u8]>) =
        data.split(|byte| *byte == b'\n').partition(|line| line.starts_with(b"?"));
    let query = queries.first().and_then(|query| std::str::from_utf8(&query[1..]).ok());
    let in_query = query.is_some_and(|query| {
        url::form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "access_token" && !value.is_empty())
    });
    match credentials(headers.iter().copied(), query) {
        Ok(token) => {
            assert!(headers.len() == 1 && !in_query, "one place, and not the query");
            assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && !b",;\"".contains(&byte)));
            let written = std::str::from_utf8(headers[0]).unwrap();
            assert!(written.trim_end().ends_with(token), "a token is never made up");
            assert_eq!(credentials([format!("Bearer {token}").as_bytes()], None), Ok(token));
        }
        Err(BearerProblem::Missing) => assert!(headers.is_empty()),
        Err(BearerProblem::Duplicate) => assert!(headers.len() > 1 || in_query),
        Err(problem @ (BearerProblem::Malformed | BearerProblem::WrongScheme)) => {
            assert_eq!((headers.len(), problem.http_status()), (1, 401));
        }
    }
    challenge(&String::from_utf8_lossy(data));
}

/// Whatever is put into a challenge, it stays one header with attributes that any parser tells apart.
fn challenge(text: &str) {
    let scope = ScopeSet::parse(text);
    let error = Some(BearerError::InsufficientScope);
    let value =
        Challenge { resource_metadata: text, scope: &scope, error, error_description: Some(text), max_age: None }
            .to_string();
    assert!(value.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'\\'));
    let mut rest = value.strip_prefix("Bearer ").unwrap();
    let mut names = Vec::new();
    while let Some((name, quoted)) = rest.split_once("=\"") {
        names.push(name);
        let after = quoted.split_once('"').unwrap().1;
        rest = after.strip_prefix(", ").unwrap_or(after);
    }
    assert_eq!(rest, "");
    let scoped = scope.iter().any(|scope| scope != "offline_access");
    let expected = ["error", "error_description", "resource_metadata", "scope"];
    assert_eq!(names, expected[..3 + usize::from(scoped)]);
}

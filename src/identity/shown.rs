//! How a message shows what a provider sent: never more than it takes to find a fault.

const LONGEST_CODE: usize = 64;
const LONGEST_CLAIM: usize = 200;

/// An error code; anything that is not shaped like one is left out.
pub(super) fn error_code(code: &str) -> String {
    let shaped = code.len() <= LONGEST_CODE && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if shaped { code.to_owned() } else { "an unreadable error code".to_owned() }
}

/// A claim: quoted, escaped, short.
pub(super) fn claim(text: &str) -> String {
    let short: String = text.chars().take(LONGEST_CLAIM).collect();
    format!("{short:?}")
}

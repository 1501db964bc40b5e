//! How a message shows what a provider sent: never more than it takes to find a fault.

pub(super) use crate::oauth::token_answer::shown_code as error_code;

const LONGEST_CLAIM: usize = 200;

/// A claim: quoted, escaped, short.
pub(super) fn claim(text: &str) -> String {
    let short: String = text.chars().take(LONGEST_CLAIM).collect();
    format!("{short:?}")
}

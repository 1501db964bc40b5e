//! Template filters that make text from outside fit to be shown (CONS-7, CONS-8).
//!
//! They bound length and remove what could make text read as something else. Escaping is askama's.

#![expect(
    clippy::inline_always,
    clippy::unnecessary_wraps,
    clippy::unused_self,
    reason = "askama prescribes the shape of a filter and writes its impl"
)]

use std::fmt::Display;

use askama::{Result, Values};

/// The longest host that DNS allows, and a port.
const MAX_HOST: usize = 259;

/// At most `max` characters on one line; a longer text ends with an ellipsis.
#[askama::filter_fn]
pub fn bounded(value: impl Display, _: &dyn Values, max: usize) -> Result<String> {
    Ok(shorten(&plain(&value.to_string()), max))
}

/// A host and port, whole where DNS allows it. A longer one loses its middle: the end of a host says whose
/// it is, and the beginning of a private-use URI which app.
#[askama::filter_fn]
pub fn host(value: impl Display, _: &dyn Values) -> Result<String> {
    let text = plain(&value.to_string());
    let length = text.chars().count();
    if length <= MAX_HOST {
        return Ok(text);
    }
    let half = MAX_HOST / 2;
    Ok(text.chars().take(half).chain(['…']).chain(text.chars().skip(length - half)).collect())
}

/// The letter on a tile.
#[askama::filter_fn]
pub fn initial(value: impl Display, _: &dyn Values) -> Result<String> {
    let text = value.to_string();
    let letter = text.chars().find(|c| c.is_alphanumeric());
    Ok(letter.map_or_else(|| "•".to_owned(), |c| c.to_uppercase().collect()))
}

fn shorten(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(max.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

/// One line of visible text: white space and control characters become single spaces; invisible and
/// direction-changing characters, which can disguise a name, are dropped.
fn plain(text: &str) -> String {
    let visible: String =
        text.chars().filter(|c| !is_invisible(*c)).map(|c| if c.is_control() { ' ' } else { c }).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{00AD}'
            | '\u{034F}'
            | '\u{061C}'
            | '\u{115F}'..='\u{1160}'
            | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}'
            | '\u{FFA0}'
            | '\u{FFF9}'..='\u{FFFB}'
            | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{E0FFF}'
    )
}

#[cfg(test)]
mod tests {
    use super::{plain, shorten};

    #[test]
    fn cons_8_long_text_ends_with_an_ellipsis_within_its_bound() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("abcd", 3), "ab…");
        assert_eq!(shorten(&"é".repeat(500), 100).chars().count(), 100);
    }

    #[test]
    fn cons_8_text_cannot_hide_or_turn_around_its_letters() {
        assert_eq!(plain("Claude\u{202E}edoC\u{200B} \n\t x\u{0007}y"), "ClaudeedoC x y");
        // Letters that are drawn as nothing.
        assert_eq!(plain("\u{3164}Cla\u{115F}ude\u{2800}\u{FFA0}\u{1160}"), "Claude");
    }
}

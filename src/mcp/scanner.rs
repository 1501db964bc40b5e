//! JSON read byte by byte (RFC 8259), for texts that are too long to hold. Says where values begin and end, and takes
//! nothing that a strict parser would not take.

/// Values in values, at most.
const MAX_DEPTH: usize = 512;
/// Bytes of a number.
const MAX_WORD: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    Object,
    Array,
}

/// What a byte is in its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// White space between tokens.
    Blank,
    Open(Container),
    Close,
    Comma,
    Colon,
    /// The quote that opens a member's name, what stands in it, and the quote that closes it.
    KeyStart,
    KeyByte,
    KeyEnd,
    /// The first byte of a text, a number, or one of `true`, `false`, `null`.
    ScalarStart,
    ScalarByte,
}

/// The text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not JSON")]
pub struct Malformed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    /// The value is over.
    Nothing,
}

#[derive(Debug)]
enum Token {
    None,
    Text { is_key: bool, escape: Escape },
    Word(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    /// Digits of `\u` that are still to come.
    Digits(u8),
}

/// Where in a text the next byte stands.
#[derive(Debug)]
pub struct Scanner {
    open: Vec<Container>,
    expect: Expect,
    token: Token,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { open: Vec::new(), expect: Expect::Value, token: Token::None }
    }
}

impl Scanner {
    /// How many containers are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// Whether nothing but white space has come.
    pub fn is_untouched(&self) -> bool {
        self.open.is_empty() && self.expect == Expect::Value && matches!(self.token, Token::None)
    }

    /// Takes the next byte.
    ///
    /// # Errors
    /// [`Malformed`]; after it the scanner is of no more use.
    pub fn step(&mut self, byte: u8) -> Result<Step, Malformed> {
        match &mut self.token {
            Token::Text { is_key, escape } => {
                let is_key = *is_key;
                if is_in_text(byte, escape)? {
                    return Ok(if is_key { Step::KeyByte } else { Step::ScalarByte });
                }
                self.token = Token::None;
                if is_key {
                    self.expect = Expect::Colon;
                    return Ok(Step::KeyEnd);
                }
                self.value_ended();
                Ok(Step::ScalarByte)
            }
            Token::Word(word) if !matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r') => {
                if word.len() >= MAX_WORD {
                    return Err(Malformed);
                }
                word.push(byte);
                Ok(Step::ScalarByte)
            }
            Token::Word(_) => {
                self.end_word()?;
                self.between(byte)
            }
            Token::None => self.between(byte),
        }
    }

    /// The text is over.
    ///
    /// # Errors
    /// [`Malformed`] when its value is not.
    pub fn finish(&mut self) -> Result<(), Malformed> {
        self.end_word()?;
        if self.expect == Expect::Nothing && matches!(self.token, Token::None) { Ok(()) } else { Err(Malformed) }
    }

    fn between(&mut self, byte: u8) -> Result<Step, Malformed> {
        let value = matches!(self.expect, Expect::Value | Expect::ValueOrEnd);
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => Ok(Step::Blank),
            b'{' if value => self.open(Container::Object),
            b'[' if value => self.open(Container::Array),
            b'}' if self.closes(Container::Object, Expect::KeyOrEnd) => Ok(self.close()),
            b']' if self.closes(Container::Array, Expect::ValueOrEnd) => Ok(self.close()),
            b'"' if value => {
                self.token = Token::Text { is_key: false, escape: Escape::None };
                Ok(Step::ScalarStart)
            }
            b'"' if matches!(self.expect, Expect::Key | Expect::KeyOrEnd) => {
                self.token = Token::Text { is_key: true, escape: Escape::None };
                Ok(Step::KeyStart)
            }
            b':' if self.expect == Expect::Colon => {
                self.expect = Expect::Value;
                Ok(Step::Colon)
            }
            b',' if self.expect == Expect::CommaOrEnd => {
                self.expect = match self.open.last() {
                    Some(Container::Object) => Expect::Key,
                    _ => Expect::Value,
                };
                Ok(Step::Comma)
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' if value => {
                self.token = Token::Word(vec![byte]);
                Ok(Step::ScalarStart)
            }
            _ => Err(Malformed),
        }
    }

    fn open(&mut self, container: Container) -> Result<Step, Malformed> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Malformed);
        }
        self.open.push(container);
        self.expect = match container {
            Container::Object => Expect::KeyOrEnd,
            Container::Array => Expect::ValueOrEnd,
        };
        Ok(Step::Open(container))
    }

    fn closes(&self, container: Container, empty: Expect) -> bool {
        self.open.last() == Some(&container) && (self.expect == empty || self.expect == Expect::CommaOrEnd)
    }

    fn close(&mut self) -> Step {
        self.open.pop();
        self.value_ended();
        Step::Close
    }

    fn value_ended(&mut self) {
        self.expect = if self.open.is_empty() { Expect::Nothing } else { Expect::CommaOrEnd };
    }

    fn end_word(&mut self) -> Result<(), Malformed> {
        let Token::Word(word) = &self.token else { return Ok(()) };
        if !matches!(word.as_slice(), b"true" | b"false" | b"null") && !is_number(word) {
            return Err(Malformed);
        }
        self.token = Token::None;
        self.value_ended();
        Ok(())
    }
}

/// Whether a byte belongs to the text that is open; the quote that ends it does not.
fn is_in_text(byte: u8, escape: &mut Escape) -> Result<bool, Malformed> {
    *escape = match (*escape, byte) {
        (Escape::None, b'"') => return Ok(false),
        (Escape::None, b'\\') => Escape::Begun,
        (Escape::None, 0..0x20) => return Err(Malformed),
        (Escape::Begun, b'u') => Escape::Digits(4),
        (Escape::None, _) | (Escape::Begun, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Escape::None,
        (Escape::Digits(1), digit) if digit.is_ascii_hexdigit() => Escape::None,
        (Escape::Digits(left), digit) if digit.is_ascii_hexdigit() => Escape::Digits(left - 1),
        _ => return Err(Malformed),
    };
    Ok(true)
}

/// RFC 8259 §6.
fn is_number(word: &[u8]) -> bool {
    fn digits(text: &[u8]) -> Option<&[u8]> {
        let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then(|| &text[count..])
    }
    fn rest(word: &[u8]) -> Option<&[u8]> {
        let text = word.strip_prefix(b"-").unwrap_or(word);
        let mut text = match text.strip_prefix(b"0") {
            Some(text) => text,
            None => digits(text)?,
        };
        if let Some(fraction) = text.strip_prefix(b".") {
            text = digits(fraction)?;
        }
        if let [b'e' | b'E', power @ ..] = text {
            let power = power.strip_prefix(b"-").or(power.strip_prefix(b"+")).unwrap_or(power);
            text = digits(power)?;
        }
        Some(text)
    }
    rest(word).is_some_and(<[u8]>::is_empty)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::Value;

    use super::*;

    fn is_json(text: &[u8]) -> bool {
        let mut scanner = Scanner::default();
        text.iter().all(|byte| scanner.step(*byte).is_ok()) && scanner.finish().is_ok()
    }

    #[rstest]
    #[case(r#"{"a": [1, -0.5e+3, "x\u0061\n", {}, [], true, false, null]}"#)]
    #[case(" 7 ")]
    #[case("\"\"")]
    fn what_is_json_is_taken(#[case] text: &str) {
        assert!(is_json(text.as_bytes()));
    }

    #[rstest]
    #[case("")]
    #[case("{")]
    #[case("{}{}")]
    #[case("[1,]")]
    #[case("{\"a\":1,}")]
    #[case("{a:1}")]
    #[case("{'a':1}")]
    #[case("[01]")]
    #[case("[1.]")]
    #[case("[.5]")]
    #[case("[NaN]")]
    #[case("[+1]")]
    #[case("[1 2]")]
    #[case("\"\u{1}\"")]
    #[case("\"\n\"")]
    #[case(r#""\x""#)]
    #[case(r#""\u12""#)]
    #[case("[}")]
    #[case("{]")]
    #[case("{\"a\" 1}")]
    #[case("\u{feff}{}")]
    #[case("// x\n{}")]
    fn what_a_strict_parser_refuses_is_refused(#[case] text: &str) {
        assert!(!is_json(text.as_bytes()), "{text}");
    }

    #[test]
    fn depth_and_numbers_have_a_bound() {
        assert!(is_json([b"[".repeat(MAX_DEPTH), b"]".repeat(MAX_DEPTH)].concat().as_slice()));
        assert!(!is_json([b"[".repeat(MAX_DEPTH + 1), b"]".repeat(MAX_DEPTH + 1)].concat().as_slice()));
        assert!(!is_json(&b"1".repeat(MAX_WORD + 1)));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_parser_on_what_is_nearly_json(text in r#"[\[\]{}:,"a1 \\n0.e-]{0,12}"#) {
            // Lone surrogates and numbers beyond all bounds are values that the parser does not have.
            prop_assert_eq!(is_json(text.as_bytes()), serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
        }
    }
}

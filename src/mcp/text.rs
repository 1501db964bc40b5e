//! Whether bytes that come in pieces are UTF-8 (MCP: messages are UTF-8).

/// A text on its way, and the letter that the last piece broke off in.
#[derive(Debug, Default)]
pub struct Utf8 {
    begun: Vec<u8>,
}

impl Utf8 {
    /// How many of the next bytes can stand in a text.
    pub fn good(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !self.begun.is_empty() {
            let Some((byte, after)) = rest.split_first() else { return bytes.len() };
            self.begun.push(*byte);
            match std::str::from_utf8(&self.begun) {
                Ok(_) => self.begun.clear(),
                Err(error) if error.error_len().is_some() => return bytes.len() - rest.len(),
                Err(_) => {}
            }
            rest = after;
        }
        match std::str::from_utf8(rest) {
            Ok(_) => bytes.len(),
            Err(error) if error.error_len().is_some() => bytes.len() - rest.len() + error.valid_up_to(),
            Err(error) => {
                self.begun = rest.get(error.valid_up_to()..).unwrap_or_default().to_vec();
                bytes.len()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_may_break_anywhere_and_nothing_else_passes() {
        let text = "aä€😀z".as_bytes();
        for at in 0..=text.len() {
            let mut utf8 = Utf8::default();
            assert_eq!(utf8.good(&text[..at]) + utf8.good(&text[at..]), text.len(), "{at}");
        }
        let mut single = Utf8::default();
        assert!(text.iter().all(|byte| single.good(&[*byte]) == 1));
        assert_eq!(Utf8::default().good(b"a\xc3\xa4\xff"), 3);
        for bad in [&b"\xff"[..], b"\xc0\xa2", b"\xed\xa0\x80", b"\xe2\x82a"] {
            let mut utf8 = Utf8::default();
            assert!(!bad.iter().all(|byte| utf8.good(&[*byte]) == 1), "{bad:?}");
            assert!(Utf8::default().good(bad) < bad.len());
        }
    }
}

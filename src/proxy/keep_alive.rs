//! Comments on event streams that are quiet for long (STRM-3; WHATWG HTML §9.2), so that nothing on the way takes the
//! connection for dead. Only between two events: inside one the upstream's next byte belongs to what it began.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

/// A comment, and the blank line by which a reader that looks for nothing else tells it from the next event.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// How long a stream has been quiet, and whether a comment may stand where it is.
pub struct Quiet {
    period: Duration,
    since: Instant,
    /// The last bytes that came. A stream begins as if after a blank line.
    tail: [u8; 3],
}

impl Quiet {
    /// A stream that begins at `now` and gets a comment each `period` without a byte.
    pub fn new(period: Duration, now: Instant) -> Self {
        Self { period, since: now, tail: *b"\n\n\n" }
    }

    /// Notes what the upstream sent.
    pub fn heard(&mut self, bytes: &[u8], now: Instant) {
        self.since = now;
        for byte in &bytes[bytes.len().saturating_sub(self.tail.len())..] {
            self.tail.rotate_left(1);
            self.tail[2] = *byte;
        }
    }

    /// When to ask for a comment next.
    pub fn due(&self) -> Instant {
        self.since + self.period
    }

    /// The comment, if the period is over and no event is open. Either way the next period begins.
    pub fn comment(&mut self, now: Instant) -> Option<Bytes> {
        if now < self.due() {
            return None;
        }
        self.since = now;
        self.is_between_events().then_some(COMMENT)
    }

    /// Whether the last line was a blank one and is over. Lines end with LF, CR or CRLF; a CR after an LF is taken for
    /// the first half of a CRLF, whose second may be on its way.
    fn is_between_events(&self) -> bool {
        matches!(self.tail, [_, b'\n', b'\n'] | [_, b'\r', b'\r'] | [b'\n' | b'\r', b'\r', b'\n'])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(25);

    /// Whether a comment comes after these pieces and a period of silence.
    fn commented(pieces: &[&str]) -> bool {
        let start = Instant::now();
        let mut quiet = Quiet::new(PERIOD, start);
        for piece in pieces {
            quiet.heard(piece.as_bytes(), start);
        }
        quiet.comment(start + PERIOD).is_some()
    }

    // STRM-3
    #[test]
    fn a_comment_stands_between_events_only_whatever_ends_a_line_and_wherever_the_pieces_break() {
        let between: [&[&str]; 9] = [
            &[],
            &["data: 1\n\n"],
            &["data: 1\r\n\r\n"],
            &["data: 1\r\r"],
            &["data: 1\r\n", "\r\n"],
            &["data: 1\r\n\r", "\n"],
            &["data: 1", "\n", "", "\n"],
            &[": theirs\n\n"],
            &["data: 1\r\n\n"],
        ];
        for pieces in between {
            assert!(commented(pieces), "{pieces:?}");
        }
        let inside: [&[&str]; 9] = [
            &["d"],
            &["data: 1"],
            &["data: 1\n"],
            &["data: 1\r"],
            &["data: 1\r\n"],
            &["data: 1\r\n\r"],
            &["data: 1\n\n", "i"],
            &["data: 1\n\nid: 2\n"],
            &["data: a\n\nb: c\n", "data: \n"],
        ];
        for pieces in inside {
            assert!(!commented(pieces), "{pieces:?}");
        }
    }

    // STRM-3
    #[test]
    fn each_period_of_silence_gives_one_comment() {
        let start = Instant::now();
        let mut quiet = Quiet::new(PERIOD, start);
        quiet.heard(b"data: 1\n\n", start + PERIOD / 2);
        assert_eq!(quiet.comment(start + PERIOD), None, "it is quiet since the last byte, not since it began");
        let due = quiet.due();
        assert_eq!(quiet.comment(due), Some(COMMENT));
        assert_eq!(quiet.comment(due), None);
        assert_eq!(quiet.due(), due + PERIOD);
    }
}

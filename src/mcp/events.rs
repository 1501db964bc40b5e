//! The same for event streams (WHATWG HTML §9.2): each event's data is a JSON text of its own.
//!
//! `data` lines stay lines, and the other fields and comments stay where they are; lines end with LF. An event is held
//! until it is over, or until it has grown, so that most of what cannot be read leaves no trace.

use super::capability::Selection;
use super::listing::{Listing, Unreadable};

/// Bytes of an event that are held back at most, beside one item.
pub const HELD: usize = 64 * 1024;

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// An event stream on its way.
pub struct Events<S> {
    /// Makes the selection of the next event.
    selection: S,
    held: Vec<u8>,
    /// Part of the open event has passed.
    has_begun: bool,
    line: Line,
    after_cr: bool,
    /// How much of a byte order mark has come; `None` once the stream has begun.
    mark: Option<usize>,
    data: Data<S>,
    /// Whether a field of the event has come, and not just comments.
    has_fields: bool,
}

enum Line {
    /// Its first bytes, until they tell what it is.
    Head(Vec<u8>),
    /// `data:`, before its first byte, which may be a blank that does not count.
    DataStart,
    Data,
    Field,
    Comment,
    Dropped,
}

enum Data<S> {
    None,
    /// `data` lines have come, all of them empty.
    Empty,
    Text(Box<Listing<S>>),
}

impl<S: Selection + Clone> Events<S> {
    pub fn new(selection: S) -> Self {
        Self {
            selection,
            held: Vec::new(),
            has_begun: false,
            line: Line::Head(Vec::new()),
            after_cr: false,
            mark: Some(0),
            data: Data::None,
            has_fields: false,
        }
    }

    /// Takes the next bytes, and appends to `out` what may pass.
    ///
    /// # Errors
    /// [`Unreadable`]; nothing more may pass then.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
        for byte in bytes {
            self.take(*byte, out)?;
            if self.held.len() > HELD {
                self.has_begun = true;
                out.append(&mut self.held);
            }
        }
        Ok(())
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        if let Some(come) = self.mark {
            if BYTE_ORDER_MARK.get(come) == Some(&byte) {
                self.mark = Some(come + 1).filter(|come| *come < BYTE_ORDER_MARK.len());
                return Ok(());
            }
            self.mark = None;
            // Half a mark is the beginning of a field that nobody knows.
            BYTE_ORDER_MARK[..come].iter().try_for_each(|byte| self.in_line(*byte))?;
        }
        match byte {
            b'\n' if std::mem::take(&mut self.after_cr) => Ok(()),
            b'\n' | b'\r' => {
                self.after_cr = byte == b'\r';
                self.end_line(out)
            }
            _ => {
                self.after_cr = false;
                self.in_line(byte)
            }
        }
    }

    fn in_line(&mut self, byte: u8) -> Result<(), Unreadable> {
        match &mut self.line {
            Line::Head(head) => {
                head.push(byte);
                let head = std::mem::take(head);
                self.line = self.kind_of(head)?;
                Ok(())
            }
            Line::DataStart => {
                self.line = Line::Data;
                if byte == b' ' { Ok(()) } else { self.in_data(byte) }
            }
            Line::Data => self.in_data(byte),
            Line::Field | Line::Comment => {
                self.held.push(byte);
                Ok(())
            }
            Line::Dropped => Ok(()),
        }
    }

    /// What a line is that begins like this. Fields that no reader of event streams knows are left out: some reader may
    /// take `Data` for `data`.
    fn kind_of(&mut self, head: Vec<u8>) -> Result<Line, Unreadable> {
        let Some((b':', name)) = head.split_last() else {
            return Ok(if head.len() > 5 { Line::Dropped } else { Line::Head(head) });
        };
        let line = match name {
            b"data" => {
                self.begin_data_line()?;
                return Ok(Line::DataStart);
            }
            b"event" | b"id" | b"retry" => Line::Field,
            b"" => Line::Comment,
            _ => return Ok(Line::Dropped),
        };
        self.has_fields |= matches!(line, Line::Field);
        self.held.extend_from_slice(&head);
        Ok(line)
    }

    fn begin_data_line(&mut self) -> Result<(), Unreadable> {
        match &mut self.data {
            Data::None => self.data = Data::Empty,
            Data::Empty => {}
            Data::Text(text) => text.line_break()?,
        }
        self.has_fields = true;
        self.held.extend_from_slice(b"data: ");
        Ok(())
    }

    fn in_data(&mut self, byte: u8) -> Result<(), Unreadable> {
        if !matches!(self.data, Data::Text(_)) {
            self.data = Data::Text(Box::new(Listing::new(self.selection.clone(), &[])));
        }
        let Data::Text(text) = &mut self.data else { return Ok(()) };
        text.push(&[byte], &mut self.held)
    }

    fn end_line(&mut self, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        match std::mem::replace(&mut self.line, Line::Head(Vec::new())) {
            Line::Head(head) if head.is_empty() => return self.end_event(out),
            // A field without a colon is one without a value.
            Line::Head(head) if head == b"data" => self.begin_data_line()?,
            Line::Head(head) if head == b"id" || head == b"event" || head == b"retry" => {
                self.has_fields = true;
                self.held.extend_from_slice(&head);
            }
            Line::DataStart | Line::Data | Line::Field | Line::Comment => {}
            Line::Head(_) | Line::Dropped => return Ok(()),
        }
        self.held.push(b'\n');
        if !self.has_fields {
            // A sign of life does not wait for an event.
            out.append(&mut self.held);
        }
        Ok(())
    }

    fn end_event(&mut self, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        if let Data::Text(mut text) = std::mem::replace(&mut self.data, Data::None) {
            text.finish(&mut self.held)?;
        }
        self.held.push(b'\n');
        self.has_begun = false;
        self.has_fields = false;
        out.append(&mut self.held);
        Ok(())
    }

    /// Whether the client may have seen part of the open event.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        let item = if let Data::Text(text) = &self.data { text.held() } else { 0 };
        self.held.len() + item
    }
}

#[cfg(test)]
mod tests;

//! Takes hidden items out of the lists in a server's JSON as it passes, whatever request it answers.
//!
//! A list is known by where it stands: `result.tools` and its like, in a message or in a batch of them. Not by the id
//! of a request: after a resumption, answers come to requests that nobody here has seen. Nothing is held but the item
//! that is being read; everything else passes as it comes.

use std::collections::HashSet;
use std::ops::Range;

use serde_json::{Map, Value};

use super::capability::{Capability, Selection};
use super::scanner::{Container, Malformed, Scanner, Step};
use super::unique::{self, Unclear};

/// Bytes of one item.
pub const MAX_ITEM: usize = 4 * 1024 * 1024;
/// Bytes of a member's name, escapes and all.
const MAX_KEY: usize = 4096;
/// Members of a message, or of its result.
const MAX_MEMBERS: usize = 1024;

const OF_MESSAGE: &[&str] = &["jsonrpc", "id", "result", "error", "method", "params"];
const OF_RESULT: &[&str] = &["tools", "prompts", "resources", "resourceTemplates"];

/// Why an answer cannot be passed. `Display` is for the log and names nothing that is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error(transparent)]
    NotJson(#[from] Malformed),
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("an item is unclear: {0}")]
    Item(#[from] Unclear),
    #[error("it is not a JSON-RPC message, nor a batch of them")]
    NoMessage,
    #[error("a member stands twice in a message")]
    Duplicate,
    #[error("a member's name differs from a known one in upper and lower case only")]
    NearName,
    #[error("a member's name is not text")]
    Name,
    #[error("a list is not an array of items with names")]
    NoList,
    #[error("something in it is larger than the gateway holds")]
    TooLarge,
}

/// One JSON text on its way.
pub struct Listing<S> {
    selection: S,
    scanner: Scanner,
    is_batch: bool,
    /// Answers of our own that go into the batch, with commas between them.
    added: Vec<u8>,
    owes_comma: bool,
    /// Whether the member of the message that is open is an object named `result`.
    in_result: bool,
    message: Members,
    result: Members,
    list: Option<List>,
}

#[derive(Default)]
struct Members {
    seen: HashSet<String>,
    /// The name that is being read, or was read last.
    raw: Vec<u8>,
    name: String,
}

struct List {
    kind: Capability,
    is_empty: bool,
    item: Option<Vec<u8>>,
}

impl<S: Selection> Listing<S> {
    /// `added`: messages, already written, that join the answer. A single message becomes a batch with them.
    pub fn new(selection: S, added: &[Vec<u8>]) -> Self {
        Self {
            selection,
            scanner: Scanner::default(),
            is_batch: false,
            added: added.join(&b","[..]),
            owes_comma: false,
            in_result: false,
            message: Members::default(),
            result: Members::default(),
            list: None,
        }
    }

    /// Takes the next bytes, and appends to `out` what may pass.
    ///
    /// # Errors
    /// [`Unreadable`]; nothing more may pass then.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
        bytes.iter().try_for_each(|byte| self.take(*byte, out))
    }

    /// A line of the text ends here, where the text it is written to has lines of its own.
    pub fn line_break(&mut self) -> Result<(), Unreadable> {
        self.scanner.step(b'\n')?;
        if let Some(item) = self.list.as_mut().and_then(|list| list.item.as_mut()) {
            item.push(b' ');
        }
        Ok(())
    }

    /// The text is over. Whether there was one.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<bool, Unreadable> {
        if self.scanner.is_untouched() {
            return Ok(false);
        }
        self.scanner.finish()?;
        if !self.is_batch && !self.added.is_empty() {
            out.push(b']');
        }
        Ok(true)
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let depth = self.scanner.depth();
        let step = self.scanner.step(byte)?;
        if self.list.is_some() {
            return self.in_list(byte, step, depth, out);
        }
        let message = usize::from(self.is_batch) + 1;
        match step {
            Step::Open(container) if depth == 0 => return self.begin(container, out),
            Step::Open(container) if depth < message => self.begin_message(container, out)?,
            Step::Open(container) if depth == message => {
                self.in_result = self.message.name == "result" && container == Container::Object;
                self.result = Members::default();
            }
            Step::Open(container) if self.in_result && depth == message + 1 => self.begin_list(container)?,
            Step::ScalarStart if depth < message => return Err(Unreadable::NoMessage),
            Step::ScalarStart if self.in_result && depth == message + 1 => self.check_scalar(byte)?,
            Step::Close if depth == message + 1 => self.in_result = false,
            Step::KeyStart | Step::KeyByte | Step::KeyEnd if depth == message => {
                self.message.take(byte, step, OF_MESSAGE)?;
            }
            Step::KeyStart | Step::KeyByte | Step::KeyEnd if self.in_result && depth == message + 1 => {
                self.result.take(byte, step, OF_RESULT)?;
            }
            _ => {}
        }
        out.push(byte);
        Ok(())
    }

    /// The first byte that is not blank.
    fn begin(&mut self, container: Container, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        self.is_batch = container == Container::Array;
        if self.is_batch || !self.added.is_empty() {
            out.push(b'[');
            out.extend_from_slice(&self.added);
            self.owes_comma = !self.added.is_empty();
        }
        if self.is_batch { Ok(()) } else { self.begin_message(container, out).map(|()| out.push(b'{')) }
    }

    fn begin_message(&mut self, container: Container, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        if container == Container::Array {
            return Err(Unreadable::NoMessage);
        }
        if std::mem::take(&mut self.owes_comma) {
            out.push(b',');
        }
        self.message = Members::default();
        Ok(())
    }

    fn listed(&self) -> Option<Capability> {
        let kind = Capability::ALL.into_iter().find(|kind| kind.list_member() == self.result.name)?;
        self.selection.covers(kind).then_some(kind)
    }

    fn begin_list(&mut self, container: Container) -> Result<(), Unreadable> {
        let Some(kind) = self.listed() else { return Ok(()) };
        if container == Container::Object {
            return Err(Unreadable::NoList);
        }
        self.list = Some(List { kind, is_empty: true, item: None });
        Ok(())
    }

    /// No list is as good as an empty one.
    fn check_scalar(&self, byte: u8) -> Result<(), Unreadable> {
        if byte == b'n' || self.listed().is_none() { Ok(()) } else { Err(Unreadable::NoList) }
    }

    fn in_list(&mut self, byte: u8, step: Step, depth: usize, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let of_list = usize::from(self.is_batch) + 3;
        let Some(list) = &mut self.list else { return Ok(()) };
        if let Some(item) = &mut list.item {
            if item.len() >= MAX_ITEM {
                return Err(Unreadable::TooLarge);
            }
            item.push(byte);
            if step == Step::Close && depth == of_list + 1 {
                let item = list.item.take().unwrap_or_default();
                if let Some(shown) = show(&self.selection, list.kind, item)? {
                    if !std::mem::take(&mut list.is_empty) {
                        out.push(b',');
                    }
                    out.extend_from_slice(&shown);
                }
            }
            return Ok(());
        }
        match step {
            Step::Blank | Step::Comma => {}
            Step::Open(Container::Object) => list.item = Some(vec![byte]),
            Step::Close => {
                self.list = None;
                out.push(byte);
            }
            _ => return Err(Unreadable::NoList),
        }
        Ok(())
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.list.as_ref().and_then(|list| list.item.as_ref()).map_or(0, Vec::len)
    }
}

impl Members {
    fn take(&mut self, byte: u8, step: Step, known: &[&str]) -> Result<(), Unreadable> {
        if step == Step::KeyStart {
            self.raw.clear();
        }
        if self.raw.len() >= MAX_KEY {
            return Err(Unreadable::TooLarge);
        }
        self.raw.push(byte);
        if step != Step::KeyEnd {
            return Ok(());
        }
        self.name = serde_json::from_slice(&self.raw).map_err(|_| Unreadable::Name)?;
        if unique::is_nearly_one_of(&self.name, known) {
            return Err(Unreadable::NearName);
        }
        if self.seen.len() >= MAX_MEMBERS {
            return Err(Unreadable::TooLarge);
        }
        if self.seen.insert(self.name.clone()) { Ok(()) } else { Err(Unreadable::Duplicate) }
    }
}

/// An item as it is shown, `None` if it is hidden.
fn show(selection: &impl Selection, kind: Capability, item: Vec<u8>) -> Result<Option<Vec<u8>>, Unreadable> {
    let value = unique::parse(&item)?;
    let members = value.as_object().ok_or(Unreadable::NoList)?;
    if members.keys().any(|name| unique::is_nearly_one_of(name, &[kind.key_member()])) {
        return Err(Unreadable::NearName);
    }
    let key = members.get(kind.key_member()).and_then(Value::as_str).ok_or(Unreadable::NoList)?;
    let Some(replaced) = selection.shown(kind, key) else { return Ok(None) };
    Ok(Some(if replaced.is_empty() { item } else { projected(&item, members, &replaced)? }))
}

/// An item with some of its members replaced; the others keep every byte.
fn projected(item: &[u8], members: &Map<String, Value>, replaced: &Map<String, Value>) -> Result<Vec<u8>, Unreadable> {
    let mut out = vec![b'{'];
    let mut write = |name: &str, value: &[u8]| {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(Value::from(name).to_string().as_bytes());
        out.push(b':');
        out.extend_from_slice(value);
    };
    for (name, range) in ranges(item)? {
        match (replaced.get(&name), members.get(&name)) {
            (Some(with), Some(value)) => write(&name, merged(value, with).to_string().as_bytes()),
            _ => write(&name, item.get(range).unwrap_or_default()),
        }
    }
    for (name, value) in replaced.iter().filter(|(name, _)| !members.contains_key(*name)) {
        write(name, value.to_string().as_bytes());
    }
    out.push(b'}');
    Ok(out)
}

/// Objects are merged member by member, all else is replaced.
fn merged(value: &Value, with: &Value) -> Value {
    let (Value::Object(value), Value::Object(with)) = (value, with) else { return with.clone() };
    let mut all = value.clone();
    for (name, with) in with {
        let value = all.get(name).map_or_else(|| with.clone(), |value| merged(value, with));
        all.insert(name.clone(), value);
    }
    Value::Object(all)
}

/// The members of an object, and where their values stand.
fn ranges(object: &[u8]) -> Result<Vec<(String, Range<usize>)>, Unreadable> {
    let mut scanner = Scanner::default();
    let mut found: Vec<(String, Range<usize>)> = Vec::new();
    let mut key = 0;
    for (at, byte) in object.iter().enumerate() {
        let depth = scanner.depth();
        match scanner.step(*byte)? {
            Step::KeyStart if depth == 1 => key = at,
            Step::KeyEnd if depth == 1 => {
                let name = object.get(key..=at).unwrap_or_default();
                found.push((serde_json::from_slice(name).map_err(|_| Unreadable::Name)?, at..at));
            }
            Step::Colon if depth == 1 => {
                if let Some((_, range)) = found.last_mut() {
                    range.start = at + 1;
                }
            }
            Step::Comma | Step::Close if depth == 1 => {
                if let Some((_, range)) = found.last_mut() {
                    range.end = at;
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;

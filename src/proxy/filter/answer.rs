//! The answers of a route with a capability filter: lists lose what is hidden as they pass, and what cannot be read does
//! not pass (STRM-12).

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

use super::{DIGESTS, Filter};
use crate::access::Visible;
use crate::mcp;
use crate::mcp::events::{Events, HELD};
use crate::mcp::listing::{Listing, Unreadable};
use crate::mcp::text::Utf8;
use crate::proxy::error::{ProxyError, Withheld};

/// What a filter makes of an answer, by its head.
pub enum Shape {
    /// Nothing is in it.
    Empty,
    /// Goes through the filter.
    Filtered(Box<AnswerFilter>),
    /// Something else takes the place of its body.
    Replaced(Bytes),
}

/// The body of an answer on its way through the filter.
pub struct AnswerFilter {
    text: Text,
    utf8: Utf8,
    /// What comes before anything of the server.
    first: Option<Bytes>,
    refusal: Refusal,
}

enum Text {
    Json(Box<Whole>),
    Events(Box<Events<Visible>>),
}

/// One JSON text, the beginning of which is held back: most that cannot be read shows it early.
struct Whole {
    listing: Listing<Visible>,
    held: Vec<u8>,
    has_begun: bool,
}

/// What a client reads in the place of an answer that cannot be.
struct Refusal {
    id: Option<Value>,
    /// Answers of the same batch that stand.
    added: Vec<Vec<u8>>,
    reference: String,
    operation_id: String,
}

/// What comes out of the filter.
pub enum Sifted {
    /// Passes; it may be empty.
    Passing(Bytes),
    /// Passes, and ends the answer.
    Last(Bytes),
    /// Ends the answer, of which the client has seen a part.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    Json,
    EventStream,
}

/// The one media type of a message, if it is one that can be read, in UTF-8.
pub(super) fn media_type(headers: &HeaderMap) -> Option<MediaType> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let mut parts = value.to_str().ok()?.split(';').map(|part| part.trim().to_ascii_lowercase());
    let kind = match parts.next()?.as_str() {
        "text/event-stream" => MediaType::EventStream,
        "application/json" => MediaType::Json,
        name if name.starts_with("application/") && name.ends_with("+json") => MediaType::Json,
        _ => return None,
    };
    // Some readers find a charset in spellings that are none: `charset = utf-7`, `charset*=…`.
    let mut charsets = parts.filter(|part| part.contains("charset"));
    charsets.all(|part| matches!(part.replace('"', "").as_str(), "charset=utf-8" | "charset=utf8")).then_some(kind)
}

impl Filter {
    /// What becomes of an answer with this head. `is_empty`: no body comes.
    ///
    /// # Errors
    /// [`ProxyError::Withheld`] for a good answer whose body cannot be read.
    pub fn shape(
        self,
        head: &mut Parts,
        is_empty: bool,
        reference: &str,
        operation_id: &str,
    ) -> Result<Shape, ProxyError> {
        let message = "there is no such tool, prompt or resource";
        let added: Vec<Vec<u8>> = self
            .hidden
            .iter()
            .map(|id| mcp::error_for(Some(id), mcp::NOT_FOUND, message, reference).to_string().into_bytes())
            .collect();
        let refusal =
            Refusal { id: self.id, added, reference: reference.to_owned(), operation_id: operation_id.to_owned() };
        if is_empty || matches!(head.status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Ok(refusal.nothing_in(head));
        }
        let encoded = head.headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| coding != "identity");
        let kind = media_type(&head.headers).filter(|_| !encoded && head.status != StatusCode::PARTIAL_CONTENT);
        let Some(kind) = kind else {
            if head.status.is_success() {
                return Err(ProxyError::Withheld(Box::new(Withheld { id: refusal.id })));
            }
            // The status still tells the client what it has to do with.
            return Ok(Shape::Replaced(refusal.take_place_of(head)));
        };
        loosen(&mut head.headers);
        let added = if head.status.is_success() { refusal.added.as_slice() } else { &[] };
        let (text, first) = match kind {
            MediaType::Json => {
                let listing = Listing::new(self.visible, added);
                (Text::Json(Box::new(Whole { listing, held: Vec::new(), has_begun: false })), None)
            }
            MediaType::EventStream => {
                let first = added.iter().map(|message| event(message)).collect::<Vec<_>>().concat();
                (Text::Events(Box::new(Events::new(self.visible))), Some(first))
            }
        };
        let first = first.filter(|first| !first.is_empty()).map(Bytes::from);
        Ok(Shape::Filtered(Box::new(AnswerFilter { text, utf8: Utf8::default(), first, refusal })))
    }
}

/// Takes out what is about bytes that may not all pass.
fn loosen(headers: &mut HeaderMap) {
    const ABOUT_BYTES: [HeaderName; 5] =
        [header::CONTENT_LENGTH, header::ETAG, header::LAST_MODIFIED, header::ACCEPT_RANGES, header::CONTENT_RANGE];
    for name in ABOUT_BYTES.into_iter().chain(DIGESTS) {
        headers.remove(name);
    }
}

/// An event with a message.
fn event(message: &[u8]) -> Vec<u8> {
    [b"event: message\ndata: ", message, b"\n\n"].concat()
}

impl Refusal {
    /// An answer without a body: what is said there, if anything, is the gateway's.
    fn nothing_in(self, head: &mut Parts) -> Shape {
        loosen(&mut head.headers);
        head.headers.remove(header::CONTENT_ENCODING);
        if self.added.is_empty() {
            if head.status == StatusCode::ACCEPTED {
                head.headers.remove(header::CONTENT_TYPE);
                return Shape::Replaced(Bytes::new());
            }
            return Shape::Empty;
        }
        if head.status.is_success() {
            head.status = StatusCode::OK;
        }
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Shape::Replaced([b"[", self.added.join(&b","[..]).as_slice(), b"]"].concat().into())
    }

    fn take_place_of(&self, head: &mut Parts) -> Bytes {
        loosen(&mut head.headers);
        head.headers.remove(header::CONTENT_ENCODING);
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.log("its media type, its charset or its coding is not one that can be read");
        self.text().into()
    }

    fn text(&self) -> Vec<u8> {
        let own = withheld(self.id.as_ref(), &self.reference).to_string().into_bytes();
        if self.added.is_empty() {
            return own;
        }
        [b"[", self.added.join(&b","[..]).as_slice(), b",", &own, b"]"].concat()
    }

    fn log(&self, reason: &str) {
        tracing::warn!(
            event = "mcp_answer_withheld",
            operationId = self.operation_id,
            requestId = self.reference,
            reasonCode = "answer_unreadable",
            reason,
        );
    }
}

/// What a client is told of an answer that does not pass.
pub fn withheld(id: Option<&Value>, reference: &str) -> Value {
    let message =
        "the MCP server behind the gateway gave an answer that the gateway cannot read, and so does not pass on";
    mcp::error_for(id, mcp::UPSTREAM_FAILED, message, reference)
}

impl AnswerFilter {
    /// What the client reads before anything of the server.
    pub fn first(&mut self) -> Option<Bytes> {
        self.first.take()
    }

    /// Takes the next bytes of the server.
    pub fn sift(&mut self, bytes: &[u8]) -> Sifted {
        let (good, bad) = bytes.split_at(self.utf8.good(bytes));
        let mut out = Vec::with_capacity(bytes.len());
        let done = match &mut self.text {
            Text::Json(whole) => whole.push(good, &mut out),
            Text::Events(events) => events.push(good, &mut out),
        };
        match done.and(if bad.is_empty() { Ok(()) } else { Err(Unreadable::NotUtf8) }) {
            Ok(()) => Sifted::Passing(out.into()),
            Err(reason) => match self.refuse(reason) {
                // Whole events that came before it pass.
                Sifted::Last(last) => Sifted::Last([out.as_slice(), &last].concat().into()),
                other => other,
            },
        }
    }

    /// The server has said all.
    pub fn end(&mut self) -> Sifted {
        let Text::Json(whole) = &mut self.text else { return Sifted::Last(Bytes::new()) };
        match whole.listing.finish(&mut whole.held) {
            Ok(true) => Sifted::Last(std::mem::take(&mut whole.held).into()),
            Ok(false) => self.refuse(Unreadable::NoMessage),
            Err(reason) => self.refuse(reason),
        }
    }

    fn has_begun(&self) -> bool {
        match &self.text {
            Text::Json(whole) => whole.has_begun,
            Text::Events(events) => events.has_begun(),
        }
    }

    fn refuse(&self, reason: Unreadable) -> Sifted {
        self.refusal.log(&reason.to_string());
        match &self.text {
            _ if self.has_begun() => Sifted::Broken,
            Text::Json(_) => Sifted::Last(self.refusal.text().into()),
            Text::Events(_) => {
                let message = withheld(self.refusal.id.as_ref(), &self.refusal.reference);
                Sifted::Last(event(message.to_string().as_bytes()).into())
            }
        }
    }
}

impl Whole {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
        self.listing.push(bytes, &mut self.held)?;
        if self.has_begun || self.held.len() > HELD {
            self.has_begun = true;
            out.append(&mut self.held);
        }
        Ok(())
    }
}

//! The answer of a server on a filtered route: the first byte says whether it is JSON or an event stream and into pieces
//! of how many bytes it breaks, the rest is the answer (STRM-12).

use doorward::mcp::capability::{Capability, Selection};
use doorward::mcp::events::Events;
use doorward::mcp::listing::{Listing, Unreadable};
use serde_json::{Map, Value};

/// Shows half of the world: what does not begin with `hidden`.
#[derive(Clone)]
struct Half;

impl Selection for Half {
    fn covers(&self, _: Capability) -> bool {
        true
    }

    fn shown(&self, _: Capability, key: &str) -> Option<Map<String, Value>> {
        (!key.starts_with("hidden")).then(Map::new)
    }
}

pub fn run(data: &[u8]) {
    let Some((first, answer)) = data.split_first() else { return };
    let pieces = usize::from(first >> 1) + 1;
    let filter = if first & 1 == 0 { json } else { events };
    let whole = filter(answer, answer.len().max(1));
    assert_eq!(whole, filter(answer, pieces), "wherever the pieces break");
    let Ok(shown) = whole else { return };
    if first & 1 == 0 {
        assert!(shown.is_empty() || serde_json::from_slice::<Value>(answer).is_ok() || !is_plain(answer));
        check(&shown);
    } else {
        for text in texts(&shown) {
            check(&text);
        }
    }
}

fn json(answer: &[u8], pieces: usize) -> Result<Vec<u8>, Unreadable> {
    let (mut listing, mut out) = (Listing::new(Half, &[]), Vec::new());
    answer.chunks(pieces).try_for_each(|piece| listing.push(piece, &mut out))?;
    // Blanks alone are no answer, and do not pass.
    let is_there = listing.finish(&mut out)?;
    Ok(if is_there { out } else { Vec::new() })
}

fn events(answer: &[u8], pieces: usize) -> Result<Vec<u8>, Unreadable> {
    let (mut events, mut out) = (Events::new(Half), Vec::new());
    answer.chunks(pieces).try_for_each(|piece| events.push(piece, &mut out))?;
    Ok(out)
}

/// Values that a parser may have its own limits for.
fn is_plain(answer: &[u8]) -> bool {
    std::str::from_utf8(answer)
        .is_ok_and(|text| text.len() < 100 && !text.contains("\\u") && !text.contains(['e', 'E']))
}

/// What a lenient client finds in a text: the last of two members counts.
fn check(text: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(text) else { return };
    let messages = if let Value::Array(batch) = value { batch } else { vec![value] };
    for result in messages.iter().filter_map(|message| message.get("result")) {
        for kind in Capability::ALL {
            let items = result.get(kind.list_member()).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            for item in items {
                let key = item.get(kind.key_member()).and_then(Value::as_str).expect("an item with a name");
                assert!(!key.starts_with("hidden"));
            }
        }
    }
}

/// The data of the events, as a client reads them (WHATWG HTML §9.2.6).
fn texts(stream: &[u8]) -> Vec<Vec<u8>> {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let (mut texts, mut data) = (Vec::new(), Vec::new());
    let unified = String::from_utf8_lossy(stream).replace("\r\n", "\n").replace('\r', "\n");
    for line in unified.split('\n') {
        if line.is_empty() {
            texts.push(std::mem::take(&mut data));
        } else if let Some(value) = line.strip_prefix("data:") {
            data.extend_from_slice(value.strip_prefix(' ').unwrap_or(value).as_bytes());
            data.push(b'\n');
        }
    }
    texts
}

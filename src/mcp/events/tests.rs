use rstest::rstest;
use serde_json::Map;

use super::super::capability::{Capability, Selection};
use super::*;

#[derive(Clone)]
struct Fake;

impl Selection for Fake {
    fn covers(&self, _: Capability) -> bool {
        true
    }

    fn shown(&self, _: Capability, key: &str) -> Option<Map<String, serde_json::Value>> {
        (key != "hidden").then(Map::new)
    }
}

/// What passes, or whether the client has seen part of the bad event, and what has passed until then.
fn filtered(pieces: &[&[u8]]) -> Result<String, (bool, String)> {
    let mut events = Events::new(Fake);
    let mut out = Vec::new();
    for piece in pieces {
        if events.push(piece, &mut out).is_err() {
            return Err((events.has_begun(), String::from_utf8(out).unwrap()));
        }
    }
    Ok(String::from_utf8(out).unwrap())
}

const LIST: &str = r#"{"id":1,"result":{"tools":[{"name":"hidden"},{"name":"b"}]}}"#;
const SHOWN: &str = r#"{"id":1,"result":{"tools":[{"name":"b"}]}}"#;

// STRM-12, STRM-1
#[rstest]
#[case("id: 7\nevent: message\ndata: LIST\n\n", "id: 7\nevent: message\ndata: SHOWN\n\n")]
#[case("data: LIST\r\nid: 7\r\n\r\n: x\r\n\r\n", "data: SHOWN\nid: 7\n\n: x\n\n")]
#[case("data:LIST\r\rretry: 5\r\r", "data: SHOWN\n\nretry: 5\n\n")]
#[case("event: odd\ndata: LIST\n\n", "event: odd\ndata: SHOWN\n\n")]
#[case("\u{feff}data: LIST\n\n", "data: SHOWN\n\n")]
#[case("id: 1\ndata: \n\n", "id: 1\ndata: \n\n")]
#[case("id\ndata\n\n", "id\ndata: \n\n")]
#[case(": alive\n", ": alive\n")]
#[case("Data: LIST\ndatas: LIST\nx: LIST\ndata : LIST\n\n", "\n")]
#[case("data: {\"id\":1,\ndata: \"method\":\"x\"}\n\n", "data: {\"id\":1,\ndata: \"method\":\"x\"}\n\n")]
#[case(
    "data: {\"id\":1,\"result\":{\"tools\":[{\ndata: \"name\":\"b\"},\nid: 9\ndata: {\"name\":\"hid\\u0064en\"}]}}\n\n",
    "data: {\"id\":1,\"result\":{\"tools\":[\ndata: { \"name\":\"b\"}\nid: 9\ndata: ]}}\n\n"
)]
#[case("data: [LIST,{\"id\":2}]\n\n", "data: [SHOWN,{\"id\":2}]\n\n")]
// Nobody reads an event that never ends.
#[case("data: LIST\n\ndata: LIST\n", "data: SHOWN\n\n")]
fn events_lose_what_is_hidden_and_keep_their_ids_wherever_the_pieces_break(#[case] text: &str, #[case] expected: &str) {
    let (text, expected) = (text.replace("LIST", LIST), expected.replace("SHOWN", SHOWN));
    assert_eq!(filtered(&[text.as_bytes()]).unwrap(), expected);
    for at in 0..=text.len() {
        let (left, right) = text.as_bytes().split_at(at);
        assert_eq!(filtered(&[left, right]).unwrap(), expected, "{at}");
    }
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    assert_eq!(filtered(&bytes).unwrap(), expected);
}

// STRM-12
#[rstest]
#[case("data: hello\n\n")]
#[case("data: {\"id\":1}{\"id\":2}\n\n")]
#[case("data: {\"id\":1\n\n")]
#[case("data: {\"a\":\"b\ndata: c\"}\n\n")]
#[case("data: {\"result\":{\"tools\":{}}}\n\n")]
#[case("data: {\"id\":1}\ndata: {\"result\":{\"tools\":[{\"name\":\"hidden\"}]}}\n\n")]
fn an_event_that_cannot_be_read_leaves_no_trace(#[case] text: &str) {
    let (has_begun, out) = filtered(&[b"data: {\"id\":0}\n\n", text.as_bytes()]).unwrap_err();
    assert!(!has_begun);
    assert_eq!(out, "data: {\"id\":0}\n\n");
}

// STRM-12
#[test]
fn a_large_event_passes_item_by_item() {
    let mut events = Events::new(Fake);
    let mut out = Vec::new();
    events.push(b"data: {\"result\":{\"tools\":[", &mut out).unwrap();
    let item = format!(r#"{{"name":"b","description":"{}"}}"#, "x".repeat(20_000));
    let (mut most, mut passed) = (0, 0);
    for number in 0..100 {
        let comma = if number == 0 { "" } else { "," };
        events.push(comma.as_bytes(), &mut out).unwrap();
        for piece in item.as_bytes().chunks(4096) {
            events.push(piece, &mut out).unwrap();
            most = most.max(events.held());
        }
        passed += out.len();
        out.clear();
    }
    assert!(most < HELD + 25_000, "{most}");
    assert!(passed > 90 * 20_000);
    assert!(events.push(b"]}]", &mut out).is_err() && events.has_begun(), "what has been seen cannot be taken back");
}

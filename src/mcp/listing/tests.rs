use rstest::rstest;
use serde_json::json;

use super::*;

/// Hides what begins with `hidden`, of the kinds it covers.
#[derive(Clone)]
pub struct Fake(pub &'static [Capability], pub Map<String, Value>);

impl Selection for Fake {
    fn covers(&self, kind: Capability) -> bool {
        self.0.contains(&kind)
    }

    fn shown(&self, _: Capability, key: &str) -> Option<Map<String, Value>> {
        (!key.starts_with("hidden")).then(|| self.1.clone())
    }
}

fn filtered(fake: &Fake, pieces: &[&[u8]], added: &[Vec<u8>]) -> Result<String, Unreadable> {
    let mut listing = Listing::new(fake.clone(), added);
    let mut out = Vec::new();
    for piece in pieces {
        listing.push(piece, &mut out)?;
    }
    listing.finish(&mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn all() -> Fake {
    Fake(&Capability::ALL, Map::new())
}

fn of(text: &str) -> Result<String, Unreadable> {
    filtered(&all(), &[text.as_bytes()], &[])
}

// STRM-12
#[rstest]
#[case(
    r#"{"id":1,"result":{"tools":[{"name":"a"},{"name":"hidden"},{"name":"b"}],"nextCursor":"c"}}"#,
    r#"{"id":1,"result":{"tools":[{"name":"a"},{"name":"b"}],"nextCursor":"c"}}"#
)]
#[case(
    r#"{"result":{"tools":[{"name":"hidden"}, {"name":"b", "inputSchema": {"n": 1.0}}]},"id":1}"#,
    r#"{"result":{"tools":[{"name":"b", "inputSchema": {"n": 1.0}}]},"id":1}"#
)]
#[case(r#"{"result":{"tools":[ ]}}"#, r#"{"result":{"tools":[]}}"#)]
#[case(r#"{"result":{"tools":null}}"#, r#"{"result":{"tools":null}}"#)]
#[case(r#"{"result":{"prompts":[{"name":"hidden"}]}}"#, r#"{"result":{"prompts":[]}}"#)]
#[case(
    r#"{"result":{"resources":[{"uri":"hidden://a","name":"a"},{"name":"hidden","uri":"b:c"}]}}"#,
    r#"{"result":{"resources":[{"name":"hidden","uri":"b:c"}]}}"#
)]
#[case(
    r#"{"result":{"resourceTemplates":[{"uriTemplate":"hidden://{a}"}]}}"#,
    r#"{"result":{"resourceTemplates":[]}}"#
)]
#[case(r#"{"r\u0065sult":{"t\u006fols":[{"n\u0061me":"\u0068idden"}]}}"#, r#"{"r\u0065sult":{"t\u006fols":[]}}"#)]
#[case(r#"{"id":"any","result":{"tools":[{"name":"hidden"}]}}"#, r#"{"id":"any","result":{"tools":[]}}"#)]
#[case(
    r#"[{"id":1,"result":{"tools":[{"name":"hidden"}]}},{"id":2,"result":{}}]"#,
    r#"[{"id":1,"result":{"tools":[]}},{"id":2,"result":{}}]"#
)]
// What is no list of items passes as it is.
#[case(
    r#"{"result":{"content":[{"tools":[{"name":"hidden"}]}],"structuredContent":{"tools":[1]}}}"#,
    r#"{"result":{"content":[{"tools":[{"name":"hidden"}]}],"structuredContent":{"tools":[1]}}}"#
)]
#[case(
    r#"{"result":{"capabilities":{"tools":{"listChanged":true}}}}"#,
    r#"{"result":{"capabilities":{"tools":{"listChanged":true}}}}"#
)]
#[case(r#"{"method":"notifications/x","params":{"tools":7}}"#, r#"{"method":"notifications/x","params":{"tools":7}}"#)]
#[case(
    r#"{"id":1,"error":{"code":-1,"message":"m","data":{"tools":7}}}"#,
    r#"{"id":1,"error":{"code":-1,"message":"m","data":{"tools":7}}}"#
)]
fn hidden_items_go_and_every_other_byte_stays_wherever_the_pieces_break(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(of(text).unwrap(), expected);
    for at in 0..=text.len() {
        let (left, right) = text.as_bytes().split_at(at);
        assert_eq!(filtered(&all(), &[left, right], &[]).unwrap(), expected, "{at}");
    }
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    assert_eq!(filtered(&all(), &bytes, &[]).unwrap(), expected);
}

// STRM-12
#[rstest]
#[case(r#"{"result":{"tools":[{"name":"a"}]},"result":{"tools":[]}}"#, Unreadable::Duplicate)]
#[case(r#"{"result":{"tools":[],"t\u006fols":[{"name":"hidden"}]}}"#, Unreadable::Duplicate)]
#[case(r#"{"Result":{"tools":[{"name":"hidden"}]}}"#, Unreadable::NearName)]
#[case(r#"{"result":{"TOOLS":[{"name":"hidden"}]}}"#, Unreadable::NearName)]
#[case(r#"{"re\u017fult":{"tools":[{"name":"hidden"}]}}"#, Unreadable::NearName)]
#[case(r#"{"result":{"tools":[{"name":"a","Name":"hidden"}]}}"#, Unreadable::NearName)]
#[case(r#"{"result":{"tools":[{"name":"a","name":"hidden"}]}}"#, Unreadable::Item(Unclear::Duplicate))]
#[case(r#"{"result":{"tools":[{"name":"a","x":{"y":1,"y":2}}]}}"#, Unreadable::Item(Unclear::Duplicate))]
#[case(r#"{"result":{"tools":{"hidden":{}}}}"#, Unreadable::NoList)]
#[case(r#"{"result":{"tools":"hidden"}}"#, Unreadable::NoList)]
#[case(r#"{"result":{"tools":["hidden"]}}"#, Unreadable::NoList)]
#[case(r#"{"result":{"tools":[[{"name":"hidden"}]]}}"#, Unreadable::NoList)]
#[case(r#"{"result":{"tools":[{"title":"hidden"}]}}"#, Unreadable::NoList)]
#[case(r#"{"result":{"tools":[{"name":7}]}}"#, Unreadable::NoList)]
#[case(r#"[[{"result":{"tools":[{"name":"hidden"}]}}]]"#, Unreadable::NoMessage)]
#[case(r#""hidden""#, Unreadable::NoMessage)]
#[case("7", Unreadable::NoMessage)]
#[case("{}{}", Unreadable::NotJson(Malformed))]
#[case("\u{feff}{}", Unreadable::NotJson(Malformed))]
#[case(r#"{"result":{"tools":[{"name":"a"}"#, Unreadable::NotJson(Malformed))]
fn what_cannot_be_told_apart_does_not_pass(#[case] text: &str, #[case] expected: Unreadable) {
    assert_eq!(of(text).unwrap_err(), expected);
}

// STRM-12
#[test]
fn kinds_that_are_not_selected_pass_as_they_are() {
    let text = r#"{"result":{"tools":[{"name":"hidden"}],"prompts":{"odd":1},"resources":[ {"uri":"hidden"} ]}}"#;
    let expected = r#"{"result":{"tools":[],"prompts":{"odd":1},"resources":[ {"uri":"hidden"} ]}}"#;
    assert_eq!(filtered(&Fake(&[Capability::Tool], Map::new()), &[text.as_bytes()], &[]).unwrap(), expected);
}

// STRM-12
#[test]
fn what_is_shown_otherwise_is_merged_and_schemas_keep_every_byte() {
    let replaced = json!({
        "description": "Ours",
        "annotations": { "readOnlyHint": true, "deep": { "b": 2 } },
        "_meta": { "ours": 1 },
    });
    let fake = Fake(&[Capability::Tool], replaced.as_object().unwrap().clone());
    let text = r#"{"result":{"tools":[{"name":"a\u0061","inputSchema": {"max": 18446744073709551616.0e0, "x":"\u00e9"},
        "description":"Theirs","annotations":{"title":"T","readOnlyHint":false,"deep":{"a":1}}}]}}"#;
    let expected = r#"{"result":{"tools":[{"name":"a\u0061","inputSchema": {"max": 18446744073709551616.0e0, "x":"\u00e9"},"description":"Ours","annotations":{"title":"T","readOnlyHint":true,"deep":{"a":1,"b":2}},"_meta":{"ours":1}}]}}"#;
    assert_eq!(filtered(&fake, &[text.as_bytes()], &[]).unwrap(), expected);
}

// STRM-12
#[rstest]
#[case("[]", "[1,2]")]
#[case("[ ]", "[1,2 ]")]
#[case(r#"[ {"id":3} ,{"id":4}]"#, r#"[1,2 ,{"id":3} ,{"id":4}]"#)]
#[case(r#" {"id":3} "#, r#" [1,2,{"id":3} ]"#)]
fn answers_that_join_a_batch_stand_before_the_others(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(filtered(&all(), &[text.as_bytes()], &[b"1".to_vec(), b"2".to_vec()]).unwrap(), expected);
}

// STRM-12
#[test]
fn no_more_than_one_item_is_ever_held_and_what_is_shown_leaves_at_once() {
    let mut listing = Listing::new(all(), &[]);
    let mut out = Vec::new();
    listing.push(br#"{"result":{"tools":["#, &mut out).unwrap();
    let padding = "x".repeat(10_000);
    let mut most = 0;
    for number in 0..500 {
        let name = if number % 2 == 0 { "a" } else { "hidden" };
        let item = format!(r#"{{"name":"{name}{number}","description":"{padding}"}}"#);
        let comma = if number == 0 { "" } else { "," };
        for piece in format!("{comma}{item}").as_bytes().chunks(1500) {
            listing.push(piece, &mut out).unwrap();
            most = most.max(listing.held());
        }
        // The item is out, or gone, before the next one comes.
        assert_eq!(listing.held(), 0);
        assert_eq!(out.ends_with(item.as_bytes()), number % 2 == 0);
        out.clear();
    }
    assert!(most < 11_000, "{most}");
    listing.push(b"]}}", &mut out).unwrap();
    assert_eq!((listing.finish(&mut out), out.as_slice()), (Ok(true), b"]}}".as_slice()));
}

// STRM-12
#[test]
fn an_item_a_name_and_the_number_of_members_have_a_bound() {
    let item = format!(r#"{{"result":{{"tools":[{{"name":"{}"}}]}}}}"#, "x".repeat(MAX_ITEM));
    assert_eq!(of(&item).unwrap_err(), Unreadable::TooLarge);
    let name = format!(r#"{{"{}":1}}"#, "x".repeat(MAX_KEY));
    assert_eq!(of(&name).unwrap_err(), Unreadable::TooLarge);
    let members: Vec<String> = (0..=MAX_MEMBERS).map(|number| format!(r#""m{number}":1"#)).collect();
    assert_eq!(of(&format!("{{{}}}", members.join(","))).unwrap_err(), Unreadable::TooLarge);
}

//! JSON without room for two readings: UTF-8, no member of an object twice (RFC 8259 §4, RFC 7493 §2.3).

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a text cannot be taken. `Display` names no byte of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    #[error("it is not JSON in UTF-8")]
    NotJson,
    #[error("a member stands twice in one object")]
    Duplicate,
}

/// Parses a whole text.
///
/// # Errors
/// [`Unclear`].
pub fn parse(text: &[u8]) -> Result<Value, Unclear> {
    let mut parser = serde_json::Deserializer::from_slice(text);
    let value = Unique.deserialize(&mut parser).map_err(|error| reason(&error))?;
    parser.end().map_err(|_| Unclear::NotJson)?;
    Ok(value)
}

const DUPLICATE: &str = "a member stands twice";

fn reason(error: &serde_json::Error) -> Unclear {
    if error.to_string().starts_with(DUPLICATE) { Unclear::Duplicate } else { Unclear::NotJson }
}

struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Value, D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(Name(name)) = members.next_key()? {
            let value = members.next_value_seed(Self)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom(DUPLICATE));
            }
        }
        Ok(Value::Object(object))
    }
}

/// A member's name, without its escapes.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(parser: D) -> Result<Self, D::Error> {
        String::deserialize(parser).map(Self)
    }
}

/// A name as a reader that does not mind upper and lower case takes it. Some fold as Unicode does, where `ſ` is an `s`
/// and the Kelvin sign a `k`.
pub fn folded(name: &str) -> String {
    name.chars()
        .map(|letter| match letter {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}

/// Whether a name is none of `read`, but one of them to a reader that does not mind upper and lower case: what such a
/// reader would see is not what was judged.
pub fn is_nearly_one_of(name: &str, read: &[&str]) -> bool {
    !read.contains(&name) && {
        let folded = folded(name);
        read.iter().any(|known| known.to_ascii_lowercase() == folded)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(br#"{"a": 1, "b": [{"c": null}]}"#, Ok(()))]
    #[case(br#"{"a": 1, "a": 1}"#, Err(Unclear::Duplicate))]
    #[case(br#"{"a": 1, "\u0061": 1}"#, Err(Unclear::Duplicate))]
    #[case(br#"[{"x": {"a": 1, "b": 2, "a": 3}}]"#, Err(Unclear::Duplicate))]
    #[case(b"\xef\xbb\xbf{}", Err(Unclear::NotJson))]
    #[case(b"{\"a\": \"\xff\"}", Err(Unclear::NotJson))]
    #[case(b"\xff\xfe{\0}\0", Err(Unclear::NotJson))]
    #[case(b"{} {}", Err(Unclear::NotJson))]
    #[case(b"", Err(Unclear::NotJson))]
    fn a_text_with_two_readings_is_refused(#[case] text: &[u8], #[case] expected: Result<(), Unclear>) {
        assert_eq!(parse(text).map(|_| ()), expected);
    }

    #[test]
    fn a_name_in_another_case_is_told_from_a_name_that_is_foreign() {
        for name in ["Tools", "TOOLS", "tool\u{17f}", "toolS"] {
            assert!(is_nearly_one_of(name, &["tools", "uri"]), "{name}");
        }
        for name in ["tools", "uri", "tool", "_tools"] {
            assert!(!is_nearly_one_of(name, &["tools", "uri"]), "{name}");
        }
        assert!(is_nearly_one_of("resourcetemplates", &["resourceTemplates"]));
    }
}

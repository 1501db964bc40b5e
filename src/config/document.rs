//! A JSON document with the position of every value: the form all checks work on.
//!
//! JSON with comments and trailing commas, nothing looser. Objects keep duplicates out (each one is a problem).

use std::borrow::Cow;

use jsonc_parser::ast;
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::{Number, Value};

use super::diagnostic::{Place, Problems};

/// A value and where it was written. It may hold secrets, so it has no `Debug`.
#[derive(Clone)]
pub(super) struct Node {
    pub place: Place,
    /// The variable the text came from, in whole or in part. Such text is never shown.
    pub variable: Option<String>,
    pub kind: Kind,
}

#[derive(Clone)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Object(Vec<Member>),
    /// Exactly one `$env(NAME)` whose variable is not set; an empty name when the problem is reported already.
    Unset(String),
}

#[derive(Clone)]
pub(super) struct Member {
    pub name: String,
    pub place: Place,
    pub value: Node,
}

impl Node {
    pub fn new(place: Place, kind: Kind) -> Self {
        Self { place, variable: None, kind }
    }

    /// Whether it is a text, or a list of which one is, that came from no variable.
    pub fn is_written_text(&self) -> bool {
        match &self.kind {
            Kind::Text(_) => self.variable.is_none(),
            Kind::List(items) => items.iter().any(Self::is_written_text),
            _ => false,
        }
    }

    pub fn text(place: Place, text: impl Into<String>) -> Self {
        Self::new(place, Kind::Text(text.into()))
    }

    /// An object whose members all stand at `place`; for values that no file holds.
    pub fn object(place: Place, members: Vec<(&str, Self)>) -> Self {
        let members = members.into_iter().map(|(name, value)| Member { name: name.to_owned(), place, value }).collect();
        Self::new(place, Kind::Object(members))
    }

    pub fn members(&self) -> &[Member] {
        match &self.kind {
            Kind::Object(members) => members,
            _ => &[],
        }
    }

    pub fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    pub fn get(&self, name: &str) -> Option<&Self> {
        self.members().iter().find(|member| member.name == name).map(|member| &member.value)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Self> {
        match &mut self.kind {
            Kind::Object(members) => {
                members.iter_mut().find(|member| member.name == name).map(|member| &mut member.value)
            }
            _ => None,
        }
    }

    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, name| match &node.kind {
            Kind::List(items) => name.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => node.get(name),
        })
    }

    /// The value at `path` (member names and list indexes). When there is none, an empty value that stands where
    /// the innermost one on the way to it does, so that a message always has a place.
    pub fn find(&self, path: &[&str]) -> Cow<'_, Self> {
        let mut innermost = self;
        for step in 1..=path.len() {
            match self.at(&path[..step]) {
                Some(inner) => innermost = inner,
                None => return Cow::Owned(Self::new(innermost.place, Kind::Null)),
            }
        }
        Cow::Borrowed(innermost)
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// How a message names the value: what was written, unless it came from a variable.
    pub fn shown(&self) -> String {
        match (&self.variable, &self.kind) {
            (Some(variable), _) => format!("the value of the environment variable {variable}"),
            (None, Kind::Text(text)) => format!("`{text}`"),
            _ => "the value".to_owned(),
        }
    }

    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null | Kind::Unset(_) => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(number) => Value::Number(number.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Kind::Object(members) => {
                Value::Object(members.iter().map(|member| (member.name.clone(), member.value.to_json())).collect())
            }
        }
    }
}

/// What the folder's files may use of JSON's dialects.
pub(crate) fn dialect() -> ParseOptions {
    ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
    }
}

/// Parses source number `source`; `None` after a syntax error.
pub(super) fn parse(source: usize, problems: &mut Problems) -> Option<Node> {
    let text = problems.text(source);
    match parse_to_ast(&text, &CollectOptions::default(), &dialect()) {
        Ok(result) => {
            let Some(value) = result.value else {
                problems.add("syntax", Place::start_of(source), "the file is empty").help("an empty document is `{}`");
                return None;
            };
            convert(&value, source, problems)
        }
        Err(error) => {
            let range = error.range();
            let place = Place { source, start: range.start, end: range.end };
            let kind = error.kind().to_string();
            let mut letters = kind.chars();
            let kind = letters.next().map(|first| first.to_lowercase().to_string() + letters.as_str()).unwrap_or(kind);
            problems
                .add("syntax", place, format!("this is not valid JSON: {kind}"))
                .help("look at the quotes, commas and brackets here and just before");
            None
        }
    }
}

fn convert(value: &ast::Value<'_>, source: usize, problems: &mut Problems) -> Option<Node> {
    let range = value.range();
    let place = Place { source, start: range.start, end: range.end };
    let kind = match value {
        ast::Value::NullKeyword(_) => Kind::Null,
        ast::Value::BooleanLit(literal) => Kind::Bool(literal.value),
        ast::Value::StringLit(literal) => Kind::Text(literal.value.to_string()),
        ast::Value::NumberLit(literal) => {
            if let Ok(number) = literal.value.parse() {
                Kind::Number(number)
            } else {
                problems.add("syntax", place, "the number is too large").help("write a smaller one");
                return None;
            }
        }
        ast::Value::Array(list) => {
            Kind::List(list.elements.iter().filter_map(|item| convert(item, source, problems)).collect())
        }
        ast::Value::Object(object) => Kind::Object(convert_members(object, source, problems)),
    };
    Some(Node::new(place, kind))
}

fn convert_members(object: &ast::Object<'_>, source: usize, problems: &mut Problems) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::with_capacity(object.properties.len());
    for property in &object.properties {
        let name = property.name.as_str();
        let range = property.name.range();
        let place = Place { source, start: range.start, end: range.end };
        let value = convert(&property.value, source, problems);
        if let Some(first) = members.iter().find(|member| member.name == name) {
            let line = problems.line_of(first.place);
            problems
                .add("duplicate", place, format!("`{name}` stands twice in this object"))
                .help(format!("it was first given in line {line}; keep one"));
        } else if let Some(value) = value {
            members.push(Member { name: name.to_owned(), place, value });
        }
    }
    members
}

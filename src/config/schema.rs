//! The shape of the config files: JSON Schema out of [`raw`](super::raw), and the check of a document against it.
//!
//! The check prunes what does not fit, so that the rules after it see only values of the right type and every
//! problem is reported once.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use super::diagnostic::{Place, Problems};
use super::document::{Kind, Member, Node};
use super::raw;

/// JSON Schema of `config/policies.json`.
#[must_use]
pub fn policies_schema() -> Value {
    of::<raw::Policies>()
}

/// JSON Schema of `config/*.oas.json`.
#[must_use]
pub fn routes_schema() -> Value {
    of::<raw::Routes>()
}

/// What stands in several places, such as `gateway` in every login policy, is written once, under `$defs`.
fn of<T: JsonSchema>() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    schema
}

/// An optional member is left out, never `null`: takes null out of types, alternatives and defaults. The default of what
/// is described elsewhere is described there, member by member.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(values)) = map.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            if let Some(Value::Array(alternatives)) = map.get_mut("anyOf") {
                alternatives.retain(|alternative| alternative["type"] != "null");
                if let [Value::Object(only)] = alternatives.as_mut_slice() {
                    let only = std::mem::take(only);
                    map.remove("anyOf");
                    merge(map, only);
                }
            }
            if map
                .get("default")
                .is_some_and(|default| default.is_null() || default.is_object() && map.contains_key("$ref"))
            {
                map.remove("default");
            }
            map.iter_mut().filter(|(key, _)| *key != "default").for_each(|(_, value)| tidy(value));
        }
        _ => {}
    }
}

/// The same schema without references: what they name stands in their place.
#[must_use]
pub fn without_references(schema: &Value) -> Value {
    fn whole(part: &Value, defs: &Value) -> Value {
        match part {
            Value::Array(items) => items.iter().map(|item| whole(item, defs)).collect(),
            Value::Object(map) => {
                let kept = map.iter().filter(|(key, _)| !["$ref", "$defs"].contains(&key.as_str()));
                let mut made: Map<_, _> = kept.map(|(key, value)| (key.clone(), whole(value, defs))).collect();
                let named = map.get("$ref").and_then(|name| name.as_str()?.strip_prefix("#/$defs/"));
                if let Some(Value::Object(named)) = named.map(|name| whole(&defs[name], defs)) {
                    merge(&mut made, named);
                }
                Value::Object(made)
            }
            other => other.clone(),
        }
    }
    whole(schema, &schema["$defs"])
}

/// What `map` says itself holds before what `more` says.
fn merge(map: &mut Map<String, Value>, more: Map<String, Value>) {
    for (key, value) in more {
        map.entry(key).or_insert(value);
    }
}

/// Checks `document` against the schema of `T` and reads what is left.
pub(super) fn read<T: JsonSchema + DeserializeOwned + Default>(document: &mut Node, problems: &mut Problems) -> T {
    let schema = without_references(&of::<T>());
    if !(Check { problems }).node(document, &schema, "the document") {
        return T::default();
    }
    match serde_path_to_error::deserialize(document.to_json()) {
        Ok(value) => value,
        Err(error) => {
            let path = error.path().to_string();
            problems.add("type", document.place, format!("`{path}` cannot be read")).help("see `doorward schema`");
            T::default()
        }
    }
}

struct Check<'a> {
    problems: &'a mut Problems,
}

impl Check<'_> {
    /// Whether `node` may stay. `name` is what messages call it.
    fn node(&mut self, node: &mut Node, schema: &Value, name: &str) -> bool {
        if let Kind::Unset(variable) = &node.kind {
            self.unset(node.place, variable, name);
            return false;
        }
        let Value::Object(schema) = schema else { return true };
        if let Some(Value::Array(alternatives)) = schema.get("anyOf") {
            let fitting = alternatives.iter().find(|alternative| fits(node, alternative["type"].as_str()));
            if let Some(alternative) = fitting {
                return self.node(node, alternative, name);
            }
            let kinds: Vec<_> = alternatives.iter().filter_map(|one| one["type"].as_str()).map(type_name).collect();
            return self.wrong_type(node, &kinds.join(" or "), &default_help(schema), name);
        }
        if let Some(Value::Array(shapes)) = schema.get("oneOf") {
            return self.tagged(node, shapes, name);
        }
        let kind = schema.get("type").and_then(Value::as_str);
        convert(node, kind);
        if !fits(node, kind) {
            let expected = expectation(schema);
            return self.wrong_type(node, &expected, &default_help(schema), name);
        }
        if let Some(Value::Array(values)) = schema.get("enum") {
            return self.one_of(node, values, name);
        }
        match kind {
            Some("object") => self.object(node, schema, name),
            Some("array") => return self.list(node, schema, name),
            Some("integer") => return self.bounds(node, schema, name),
            Some("number") => return self.number_bounds(node, schema, name),
            _ => {}
        }
        true
    }

    /// An object one member of which says which shape it has. Without that member the first shape counts, so that
    /// the rest of it is checked all the same.
    fn tagged(&mut self, node: &mut Node, shapes: &[Value], name: &str) -> bool {
        let has = |node: &Node, (key, value): (&str, &str)| node.get(key).and_then(Node::as_text) == Some(value);
        let fitting = shapes.iter().find(|shape| tag(shape).is_some_and(|tag| has(node, tag)));
        let Some(shape) = fitting.or_else(|| shapes.first()) else { return true };
        let stays = self.node(node, shape, name);
        let place = node.place;
        if let (Some((key, value)), Kind::Object(members)) = (tag(shape), &mut node.kind)
            && fitting.is_none()
        {
            members.retain(|member| member.name != key);
            members.push(Member { name: key.to_owned(), place, value: Node::text(place, value) });
        }
        stays
    }

    fn unset(&mut self, place: Place, variable: &str, name: &str) {
        if variable.is_empty() {
            return;
        }
        self.problems
            .add("environment", place, format!("{name} needs the environment variable {variable}, which is not set"))
            .help(format!("set {variable} in the environment of the gateway"));
    }

    fn wrong_type(&mut self, node: &Node, expected: &str, help: &str, name: &str) -> bool {
        let message = match &node.variable {
            Some(variable) => format!("{name} must be {expected}, which the value of {variable} is not"),
            None => format!("{name} must be {expected}, not {}", kind_name(node)),
        };
        self.problems.add("type", node.place, message).help(help);
        false
    }

    fn one_of(&mut self, node: &Node, values: &[Value], name: &str) -> bool {
        let Some(text) = node.as_text() else { return true };
        let known: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        if known.contains(&text) {
            return true;
        }
        let listed = known.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" or ");
        let message = format!("{name} must be {listed}, not {}", node.shown());
        self.problems.add("value", node.place, message).nearest(text, known, format!("write {listed}"));
        false
    }

    fn bounds(&mut self, node: &Node, schema: &Map<String, Value>, name: &str) -> bool {
        let Kind::Number(number) = &node.kind else { return true };
        let least = schema.get("minimum").and_then(Value::as_u64).unwrap_or(0);
        let most = schema.get("maximum").and_then(Value::as_u64).unwrap_or(u64::MAX);
        if number.as_u64().is_some_and(|value| (least..=most).contains(&value)) {
            return true;
        }
        self.problems
            .add("value", node.place, format!("{name} must be {}", expectation(schema)))
            .help(default_help(schema));
        false
    }

    fn number_bounds(&mut self, node: &Node, schema: &Map<String, Value>, name: &str) -> bool {
        let Kind::Number(number) = &node.kind else { return true };
        let least = schema.get("minimum").and_then(Value::as_f64).unwrap_or(f64::MIN);
        let most = schema.get("maximum").and_then(Value::as_f64).unwrap_or(f64::MAX);
        if number.as_f64().is_some_and(|value| (least..=most).contains(&value)) {
            return true;
        }
        self.problems
            .add("value", node.place, format!("{name} must be {}", expectation(schema)))
            .help(default_help(schema));
        false
    }

    fn list(&mut self, node: &mut Node, schema: &Map<String, Value>, name: &str) -> bool {
        let Kind::List(items) = &mut node.kind else { return true };
        let most = schema.get("maxItems").and_then(Value::as_u64).and_then(|most| usize::try_from(most).ok());
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        if items.is_empty() && least > 0 {
            self.problems
                .add("value", node.place, format!("{name} is empty"))
                .help("give a value, or leave it out if it is optional");
            return false;
        }
        if let Some(most) = most.filter(|most| items.len() > *most) {
            self.problems
                .add("value", node.place, format!("{name} holds more than {most} values"))
                .help("remove the oldest");
            return false;
        }
        if let Some(schema) = schema.get("items") {
            let name = format!("an entry of {name}");
            items.retain_mut(|item| self.node(item, schema, &name));
        }
        true
    }

    fn object(&mut self, node: &mut Node, schema: &Map<String, Value>, name: &str) {
        let place = node.place;
        let Kind::Object(members) = &mut node.kind else { return };
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        for missing in required.iter().filter(|key| members.iter().all(|member| member.name != **key)) {
            self.problems
                .add("missing", Place { end: place.start + 1, ..place }, format!("`{missing}` is missing in {name}"))
                .help(format!("add `\"{missing}\": …`; `doorward schema` describes it"));
        }
        members.retain_mut(|member| match properties.get(&member.name) {
            Some(property) => self.member(member, property, required.contains(&member.name.as_str())),
            None => self.other_member(member, schema, properties, name),
        });
    }

    fn member(&mut self, member: &mut Member, schema: &Value, required: bool) -> bool {
        if !required && matches!(member.value.kind, Kind::Unset(_)) {
            return false;
        }
        let name = format!("`{}`", member.name);
        self.node(&mut member.value, schema, &name)
    }

    /// A member that is not listed: an entry of a map, an `x-…` extension, or a mistake.
    fn other_member(
        &mut self,
        member: &mut Member,
        schema: &Map<String, Value>,
        known: &Map<String, Value>,
        name: &str,
    ) -> bool {
        match schema.get("additionalProperties") {
            Some(entries @ Value::Object(_)) => return self.member(member, entries, true),
            Some(Value::Bool(true)) | None => return true,
            _ => {}
        }
        let extension = schema.contains_key("patternProperties")
            && member.name.starts_with("x-")
            && !known.keys().any(|key| strsim::damerau_levenshtein(key, &member.name) <= 3);
        if !extension {
            let keys: Vec<&str> = known.keys().map(String::as_str).filter(|key| *key != "$schema").collect();
            let otherwise = format!("known here: {}", keys.join(", "));
            self.problems.add("unknown-key", member.place, format!("unknown key `{}` in {name}", member.name)).nearest(
                &member.name,
                keys,
                otherwise,
            );
        }
        false
    }
}

/// The member, and its value, that tells a shape from its siblings.
fn tag(shape: &Value) -> Option<(&str, &str)> {
    let mut properties = shape.get("properties")?.as_object()?.iter();
    properties.find_map(|(key, property)| Some((key.as_str(), property.get("const")?.as_str()?)))
}

/// A number or boolean that came out of a variable arrives as text.
fn convert(node: &mut Node, kind: Option<&str>) {
    if node.variable.is_none() {
        return;
    }
    let Some(text) = node.as_text().map(str::trim) else { return };
    let converted = match (kind, text) {
        (Some("integer"), text) => text.parse::<u64>().ok().map(|number| Kind::Number(number.into())),
        (Some("number"), text) => text.parse::<f64>().ok().and_then(Number::from_f64).map(Kind::Number),
        (Some("boolean"), "true") => Some(Kind::Bool(true)),
        (Some("boolean"), "false") => Some(Kind::Bool(false)),
        _ => None,
    };
    if let Some(kind) = converted {
        node.kind = kind;
    }
}

fn fits(node: &Node, kind: Option<&str>) -> bool {
    match (kind, &node.kind) {
        (None, _)
        | (Some("string"), Kind::Text(_))
        | (Some("boolean"), Kind::Bool(_))
        | (Some("number"), Kind::Number(_))
        | (Some("array"), Kind::List(_))
        | (Some("object"), Kind::Object(_)) => true,
        (Some("integer"), Kind::Number(number)) => !number.is_f64(),
        _ => false,
    }
}

fn expectation(schema: &Map<String, Value>) -> String {
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let least = schema.get("minimum").and_then(Value::as_u64).unwrap_or(0);
    match (kind, schema.get("maximum")) {
        ("integer", Some(most)) => format!("a whole number from {least} to {most}"),
        ("number", Some(most)) => {
            let least = schema.get("minimum").unwrap_or(&Value::Null);
            format!("a number from {least} to {most}")
        }
        _ => type_name(kind).to_owned(),
    }
}

/// What to write instead of a value that does not fit.
fn default_help(schema: &Map<String, Value>) -> String {
    match schema.get("default") {
        Some(default @ (Value::Number(_) | Value::Bool(_) | Value::String(_))) => {
            format!("the default is `{default}`")
        }
        _ => "`doorward schema` describes every option".to_owned(),
    }
}

fn type_name(kind: &str) -> &'static str {
    match kind {
        "string" => "a string",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        _ => "an object",
    }
}

fn kind_name(node: &Node) -> &'static str {
    match &node.kind {
        Kind::Null | Kind::Unset(_) => "null",
        Kind::Bool(_) => "true or false",
        Kind::Number(number) if number.is_f64() => "a fraction",
        Kind::Number(_) => "a number",
        Kind::Text(_) => "a string",
        Kind::List(_) => "a list",
        Kind::Object(_) => "an object",
    }
}

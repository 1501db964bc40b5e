//! `docs/policies/`: a page for each policy type, which ends with a table of all options, made from the schema.
//!
//! `DOORWARD_REGENERATE=1` writes the tables.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use doorward::config::{policies_schema, without_references};
use serde_json::Value;

const BEGIN: &str = "<!-- made from the schema: DOORWARD_REGENERATE=1 cargo test --test config policy_pages -->";
const END: &str = "<!-- end of what is made from the schema -->";

/// What every login policy shares has a page of its own.
const SHARED: &str = "gateway";
/// Pages that are about no policy type.
const OTHER_PAGES: [&str; 2] = [SHARED, "cors"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policies")
}

/// The schema of the options of each policy type.
fn options_by_type(schema: &Value) -> BTreeMap<&str, &Value> {
    schema["properties"]["policies"]["items"]["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|policy| {
            let properties = &policy["properties"];
            let name = properties["policyType"]["const"].as_str().unwrap();
            (name, &properties["handler"]["properties"]["options"])
        })
        .collect()
}

/// The members that an option holds, and what stands between its name and theirs.
fn members(option: &Value) -> Option<(&Value, &'static str)> {
    if option["properties"].is_object() {
        return Some((option, "."));
    }
    if let Some(listed) = option.get("items").filter(|items| items["properties"].is_object()) {
        return Some((listed, "[]."));
    }
    let alternatives = option["anyOf"].as_array()?;
    alternatives.iter().find_map(members)
}

fn type_of(option: &Value) -> String {
    let values: Vec<String> = match (option["enum"].as_array(), option["oneOf"].as_array()) {
        (Some(values), _) => values.iter().map(|value| format!("`{value}`")).collect(),
        (None, Some(variants)) => variants.iter().map(|variant| format!("`{}`", variant["const"])).collect(),
        (None, None) => Vec::new(),
    };
    if !values.is_empty() {
        return values.join(", ");
    }
    if let Some(alternatives) = option["anyOf"].as_array() {
        return alternatives.iter().map(type_of).collect::<Vec<_>>().join(" or ");
    }
    match option["type"].as_str() {
        Some("integer") => match (option["minimum"].as_u64(), option["maximum"].as_u64()) {
            (least, Some(most)) => format!("{}…{most}", least.unwrap_or(0)),
            _ => "whole number".to_owned(),
        },
        Some("number") => "number".to_owned(),
        Some("string") => "text".to_owned(),
        Some("boolean") => "`true`, `false`".to_owned(),
        Some("array") => match type_of(&option["items"]) {
            items if items.is_empty() => "list".to_owned(),
            items => format!("list: {items}"),
        },
        Some("object") => "object".to_owned(),
        _ => String::new(),
    }
}

/// One row for each option, members of members included.
fn rows(options: &Value, prefix: &str, shared: Option<&Value>, table: &mut Vec<String>) {
    let required: Vec<&str> = options["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, option) in options["properties"].as_object().into_iter().flatten() {
        if prefix.is_empty() && shared == Some(option) {
            table.push(format!(
                "| [`{name}`]({SHARED}.md) | object | | the authorization server that MCP clients see |"
            ));
            continue;
        }
        let inner = members(option);
        let only_members = inner.is_some_and(|(holder, _)| std::ptr::eq(holder, option));
        if !only_members {
            let default = match option.get("default") {
                _ if required.contains(&name.as_str()) => "required".to_owned(),
                Some(default) if !default.is_object() && *default != Value::Array(Vec::new()) => format!("`{default}`"),
                _ => String::new(),
            };
            let text = option["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
            table.push(format!("| `{prefix}{name}` | {} | {default} | {text} |", type_of(option)));
        }
        if let Some((inner, joint)) = inner {
            rows(inner, &format!("{prefix}{name}{joint}"), None, table);
        }
    }
}

fn section(options: &Value, shared: Option<&Value>) -> String {
    let mut table = vec!["| option | values | default | |".to_owned(), "|---|---|---|---|".to_owned()];
    rows(options, "", shared, &mut table);
    format!("{BEGIN}\n\n{}\n\n{END}\n", table.join("\n"))
}

#[test]
fn the_page_of_each_policy_type_ends_with_all_its_options() {
    let schema = without_references(&policies_schema());
    let types = options_by_type(&schema);
    let shared = &types["mcp-workos-oauth-inbound"]["properties"][SHARED];
    let pages = types.iter().map(|(name, options)| (*name, section(options, Some(shared))));
    let mut faults = Vec::new();
    for (name, made) in pages.chain([(SHARED, section(shared, None))]) {
        let path = folder().join(format!("{name}.md"));
        let Ok(page) = fs::read_to_string(&path) else {
            faults.push(format!("{name} has no page docs/policies/{name}.md"));
            continue;
        };
        #[expect(clippy::disallowed_methods, reason = "the one switch of this test, read nowhere else")]
        if std::env::var_os("DOORWARD_REGENERATE").is_some() {
            let kept = page.split(BEGIN).next().unwrap_or_default().trim_end();
            let heading = if kept.contains("\n## All options") { "" } else { "\n\n## All options" };
            fs::write(path, format!("{kept}{heading}\n\n{made}")).unwrap();
        } else if !page.ends_with(&made) {
            faults.push(format!("docs/policies/{name}.md is behind the schema"));
        }
    }
    assert!(
        faults.is_empty(),
        "run `DOORWARD_REGENERATE=1 cargo test --test config policy_pages`:\n{}",
        faults.join("\n")
    );
}

#[test]
fn every_page_about_a_policy_is_about_one_that_exists() {
    let schema = without_references(&policies_schema());
    let types = options_by_type(&schema);
    let strays: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.path().file_stem()?.to_str().map(str::to_owned))
        .filter(|name| !types.contains_key(name.as_str()) && !OTHER_PAGES.contains(&name.as_str()))
        .collect();
    assert!(strays.is_empty(), "pages about no policy type: {strays:?}");
}

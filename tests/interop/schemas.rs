//! The printed JSON Schemas, as somebody else's validator reads them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use doorward::config::{policies_schema, routes_schema};
use serde_json::{Value, json};

use crate::process::{python, run};

fn folders(below: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(below).unwrap().flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        if path.ends_with("config") {
            found.push(path);
        } else if !path.ends_with("node_modules") {
            folders(&path, found);
        }
    }
}

fn document(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap();
    jsonc_parser::parse_to_serde_value(&text, &jsonc_parser::ParseOptions::default()).unwrap()
}

/// What the validator says of each document: its first fault, or null.
fn verdicts(documents: &Value) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("documents.json");
    fs::write(&file, documents.to_string()).unwrap();
    let said = run("schemas", python("schemas.py").arg(&file), Duration::from_mins(10));
    serde_json::from_str(&said).unwrap()
}

// OPS-1
#[test]
#[ignore = "needs the installed clients: ./test"]
fn every_example_fits_the_printed_schemas_and_what_is_misspelt_does_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![root.join("config")];
    folders(&root.join("examples"), &mut found);
    let both = |folder: &PathBuf| {
        [("policies", "policies.json"), ("routes", "routes.oas.json")].map(|(schema, name)| (schema, folder.join(name)))
    };
    let files: Vec<(&str, PathBuf)> = found.iter().flat_map(both).collect();
    assert!(files.len() > 40, "{files:?}");
    let good: Vec<Value> =
        files.iter().map(|(schema, file)| json!({ "schema": schema, "document": document(file) })).collect();
    let policies = document(&root.join("config/policies.json"));
    let changed = |pointer: &str, value: Value| {
        let mut document = policies.clone();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[member] = value;
        json!({ "schema": "policies", "document": document })
    };
    let options = "/policies/0/handler/options";
    let bad = [
        changed(&format!("{options}/clientIdd"), json!("client_01")),
        changed(&format!("{options}/gateway"), json!({ "accessTokenTtlSecond": 900 })),
        changed(&format!("{options}/gateway"), json!({ "accessTokenTtlSeconds": 0 })),
        changed(&format!("{options}/gateway"), json!({ "signingAlg": "RS256" })),
        changed("/policies/0/policyType", json!("mcp-workos-oauth")),
        changed("/policies/0/export", json!("McpWorkosOAuthInboundPolicy")),
    ];
    let schemas = json!({ "policies": policies_schema(), "routes": routes_schema() });
    let documents = [good.as_slice(), bad.as_slice()].concat();
    let said = verdicts(&json!({ "schemas": schemas, "documents": documents }));
    for ((_, file), said) in files.iter().zip(&said) {
        assert_eq!(*said, Value::Null, "{}", file.display());
    }
    for (bad, said) in bad.iter().zip(&said[good.len()..]) {
        assert!(said.is_string(), "this fits: {bad}");
    }
}

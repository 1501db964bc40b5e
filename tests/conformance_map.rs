//! `docs/conformance.md` held against the tests: which requirement is proven, and where.
//!
//! A test cites requirements in a comment directly above it, inside it, or in its name (`refr_4_…`).
//! Files of `tests/interop` that are not Rust cite them anywhere. `DOORWARD_REGENERATE=1` writes the table.
//!
//! The tests that `docs/security.md` names must exist, too.

#![allow(clippy::expect_used, reason = "a test stops where it cannot go on")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const TABLE: &str = "docs/conformance.md";
const THREATS: &str = "docs/security.md";

/// The groups of the requirements, and the last number of each.
const GROUPS: [(&str, u32); 21] = [
    ("DISC", 21),
    ("CHAL", 12),
    ("AUTHZ", 18),
    ("CONS", 17),
    ("IDP", 17),
    ("WOS", 16),
    ("CODE", 16),
    ("REFR", 13),
    ("CIMD", 13),
    ("DCR", 14),
    ("STAT", 5),
    ("REV", 8),
    ("PROX", 15),
    ("STRM", 13),
    ("SCOPE", 8),
    ("CORS", 7),
    ("STORE", 11),
    ("SEC", 10),
    ("LIM", 7),
    ("OPS", 16),
    ("EXT", 7),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn all_ids() -> BTreeSet<String> {
    GROUPS.iter().flat_map(|(group, last)| (1..=*last).map(move |number| format!("{group}-{number}"))).collect()
}

/// The known ids that `text` names.
fn cited_in(text: &str, known: &BTreeSet<String>) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|word| known.contains(*word))
        .map(str::to_owned)
        .collect()
}

/// The known ids in a function's name: `refr_4_a_superseded_token_answers` cites REFR-4.
fn cited_in_name(name: &str, known: &BTreeSet<String>) -> BTreeSet<String> {
    let parts: Vec<&str> = name.split('_').collect();
    parts
        .windows(2)
        .map(|pair| format!("{}-{}", pair[0].to_ascii_uppercase(), pair[1]))
        .filter(|id| known.contains(id))
        .collect()
}

fn function_name(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("async ");
    let name = line.strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}

/// Each test of a Rust file with the ids it cites.
fn rust_citations(text: &str, known: &BTreeSet<String>) -> Vec<(String, BTreeSet<String>)> {
    let mut found: Vec<(String, BTreeSet<String>)> = Vec::new();
    let mut above = BTreeSet::new();
    let mut is_test = false;
    // Indentation of the test function that was opened last.
    let mut open_test: Option<usize> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let indentation = line.len() - trimmed.len();
        if trimmed.starts_with("#[") {
            is_test |= trimmed.starts_with("#[test]") || trimmed.contains("::test") || trimmed.starts_with("#[rstest");
        } else if trimmed.starts_with("//") && !trimmed.starts_with("//!") {
            let ids = cited_in(trimmed, known);
            match found.last_mut() {
                Some((_, cited)) if open_test.is_some_and(|own| indentation > own) => cited.extend(ids),
                _ => above.extend(ids),
            }
        } else if let Some(name) = function_name(trimmed) {
            open_test = is_test.then_some(indentation);
            if is_test {
                above.extend(cited_in_name(name, known));
                found.push((name.to_owned(), std::mem::take(&mut above)));
            }
            above.clear();
            is_test = false;
        } else if trimmed.is_empty() && !is_test {
            above.clear();
        }
    }
    found
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden && !path.ends_with("node_modules") {
            files(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

/// Requirement → the tests that cite it, as `path::function` (or the path, for other languages).
fn citations() -> BTreeMap<String, BTreeSet<String>> {
    let known = all_ids();
    let mut paths = Vec::new();
    files(&root().join("src"), &mut paths);
    files(&root().join("tests"), &mut paths);
    let mut by_id: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in paths.iter().filter(|path| !path.ends_with("conformance_map.rs")) {
        let Ok(text) = fs::read_to_string(path) else { continue };
        let relative = path.strip_prefix(root()).expect("the file is in the project").display().to_string();
        let cited = match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => rust_citations(&text, &known)
                .into_iter()
                .map(|(name, ids)| (format!("{relative}::{name}"), ids))
                .collect(),
            Some("py" | "mjs" | "sh") => vec![(relative, cited_in(&text, &known))],
            _ => Vec::new(),
        };
        for (test, ids) in cited {
            for id in ids {
                by_id.entry(id).or_default().insert(test.clone());
            }
        }
    }
    by_id
}

/// The cells of a row of the table, if the line is one.
fn row(line: &str) -> Option<[&str; 5]> {
    let inner = line.strip_prefix("| ")?.strip_suffix('|')?;
    let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
    let cells: [&str; 5] = cells.try_into().ok()?;
    (cells[0] != "id").then_some(cells)
}

/// The state that tests give a requirement, unless a longer one is written by hand: a rule that only unit tests
/// cite is not proven on the wire.
fn state_of<'s>(tests: &BTreeSet<String>, written: &'s str) -> &'s str {
    let keeps = |word: &str| written.starts_with(word) && written.len() > word.len();
    if tests.is_empty() {
        return if keeps("open") { written } else { "open" };
    }
    if keeps("partly") || keeps("covered") {
        return written;
    }
    if tests.iter().any(|test| test.starts_with("tests/")) { "covered" } else { "units" }
}

/// The table as the tests in the tree make it, keeping what is written by hand.
fn regenerate(table: &str) -> String {
    let by_id = citations();
    let mut lines = Vec::new();
    for line in table.lines() {
        lines.push(match row(line) {
            Some([id, level, holds, _, state]) => {
                let tests = by_id.get(id).cloned().unwrap_or_default();
                let state = state_of(&tests, state);
                let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
                let tests = if tests.is_empty() { " ".to_owned() } else { format!(" {} ", tests.join("<br>")) };
                format!("| {id} | {level} | {holds} |{tests}| {state} |")
            }
            None => line.to_owned(),
        });
    }
    lines.join("\n") + "\n"
}

fn table() -> String {
    fs::read_to_string(root().join(TABLE)).expect("the conformance table is readable")
}

#[test]
fn every_requirement_has_one_row() {
    let text = table();
    let rows: Vec<&str> = text.lines().filter_map(row).map(|cells| cells[0]).collect();
    let listed: BTreeSet<String> = rows.iter().map(|id| (*id).to_owned()).collect();
    assert_eq!(rows.len(), listed.len(), "an id stands twice in {TABLE}");
    assert_eq!(listed, all_ids());
}

#[test]
fn the_table_names_the_tests_that_cite_each_requirement() {
    let present = table();
    let made = regenerate(&present);
    #[expect(clippy::disallowed_methods, reason = "the one switch of this test, read nowhere else")]
    if std::env::var_os("DOORWARD_REGENERATE").is_some() {
        fs::write(root().join(TABLE), made).expect("the conformance table is writable");
        return;
    }
    let stale: Vec<&str> =
        made.lines().zip(present.lines()).filter(|(made, present)| made != present).map(|(made, _)| made).collect();
    assert!(
        stale.is_empty(),
        "{TABLE} is behind the tests; run `DOORWARD_REGENERATE=1 cargo test --release --test conformance_map`:\n{}",
        stale.join("\n")
    );
}

/// The tests of all Rust files, as `path::function`.
fn rust_tests() -> BTreeSet<String> {
    let mut paths = Vec::new();
    files(&root().join("src"), &mut paths);
    files(&root().join("tests"), &mut paths);
    let mut tests = BTreeSet::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let text = fs::read_to_string(path).expect("a source file is text");
        let relative = path.strip_prefix(root()).expect("the file is in the project").display();
        tests
            .extend(rust_citations(&text, &BTreeSet::new()).into_iter().map(|(name, _)| format!("{relative}::{name}")));
    }
    tests
}

#[test]
fn the_threat_model_names_tests_that_exist_and_one_in_every_row() {
    let mut text = fs::read_to_string(root().join(THREATS)).expect("the threat model is readable");
    let tests = rust_tests();
    let named = |text: &str| -> Vec<String> {
        text.split('`').filter(|word| word.contains(".rs::")).map(str::to_owned).collect()
    };
    let missing: Vec<String> = named(&text).into_iter().filter(|name| !tests.contains(name)).collect();
    #[expect(clippy::disallowed_methods, reason = "the one switch of this test, read nowhere else")]
    if std::env::var_os("DOORWARD_REGENERATE").is_some() {
        // A test that moved to another file is followed there.
        for name in &missing {
            let function = name.rsplit("::").next().unwrap_or_default();
            let found: Vec<&String> = tests.iter().filter(|test| test.rsplit("::").next() == Some(function)).collect();
            if let [moved] = found[..] {
                text = text.replace(name.as_str(), moved);
            }
        }
        fs::write(root().join(THREATS), text).expect("the threat model is writable");
        return;
    }
    assert!(missing.is_empty(), "{THREATS} names tests that do not exist:\n{}", missing.join("\n"));
    let attacks = text.split("\n## Attacks").nth(1).expect("there is a chapter of attacks");
    let bare: Vec<&str> = attacks
        .lines()
        .filter(|line| line.starts_with("| ") && !line.ends_with("| test |") && named(line).is_empty())
        .collect();
    assert!(bare.is_empty(), "{THREATS} has rows without a test:\n{}", bare.join("\n"));
}

#[test]
fn the_reader_of_citations_sees_comments_and_names() {
    let text = "// REFR-4, not XYZ-1\n#[tokio::test]\nasync fn racers_agree() {\n}\n\n\
                // CODE-1\n\nfn helper() {}\n\n#[test]\nfn code_5_is_short() {\n    // SEC-5\n}\n";
    let found = rust_citations(text, &all_ids());
    let names: Vec<(&str, Vec<&str>)> =
        found.iter().map(|(name, ids)| (name.as_str(), ids.iter().map(String::as_str).collect())).collect();
    assert_eq!(names, [("racers_agree", vec!["REFR-4"]), ("code_5_is_short", vec!["CODE-5", "SEC-5"])]);
}

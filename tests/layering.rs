//! The layering of `src/`, held against the two tables in `src/lib.rs`.

#![allow(clippy::expect_used, reason = "a test stops where it cannot go on")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A row of the first table.
struct Room {
    layer: u8,
    beside: BTreeSet<String>,
}

/// The code of one source file: without comments, and without the unit tests at its end.
struct Source {
    path: PathBuf,
    /// `["oauth", "scope"]` for `src/oauth/scope.rs`; `["oauth"]` for `src/oauth/mod.rs`.
    module: Vec<String>,
    /// Line number and text.
    lines: Vec<(usize, String)>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The cells of every row of the table in `lib.rs` whose first column is headed `heading`.
fn table(heading: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs is readable");
    let rows: Vec<Vec<String>> = text
        .lines()
        .map(|line| line.trim_start_matches("//!").trim())
        .skip_while(|line| !line.starts_with(&format!("| {heading} |")))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "src/lib.rs has a table headed `{heading}`");
    rows
}

/// The `names` in backquotes of a cell.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn rooms() -> BTreeMap<String, Room> {
    table("layer")
        .into_iter()
        .map(|row| {
            let layer = row[0].parse().expect("a layer is a number");
            let name = row[1].trim_matches('`').to_owned();
            (name, Room { layer, beside: names(&row[2]) })
        })
        .collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder is readable") {
        let path = entry.expect("a folder entry is readable").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut paths = Vec::new();
    rust_files(&src, &mut paths);
    paths.sort();
    paths.retain(|path| path.file_stem().is_some_and(|stem| stem != "tests"));
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file is readable");
            let relative = path.strip_prefix(&src).expect("the file is below src").with_extension("");
            let mut module: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
                module.pop();
            }
            Source { lines: code(&text), module, path }
        })
        .collect()
}

/// Strips line comments and stops at the unit tests, which stand at the end of a module.
fn code(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut rest = text.lines().enumerate().peekable();
    while let Some((number, line)) = rest.next() {
        let opens_tests = line.trim() == "#[cfg(test)]"
            && rest.peek().is_some_and(|(_, next)| next.trim_start().starts_with("mod ") && next.ends_with('{'));
        if opens_tests {
            break;
        }
        let trimmed = line.trim_start();
        if !trimmed.starts_with("//") {
            let kept = line.split(" // ").next().unwrap_or_default();
            lines.push((number + 1, kept.to_owned()));
        }
    }
    lines
}

/// The rooms that a file reaches, with the line where it does: `crate::room`, `crate::{room, …}`, and
/// `super::…` as far as it climbs to the root.
fn reached_rooms(source: &Source) -> Vec<(usize, String)> {
    let text = source.lines.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n");
    let climb = "super::".repeat(source.module.len());
    let mut starts: Vec<usize> = text.match_indices("crate::").map(|(at, found)| at + found.len()).collect();
    if !climb.is_empty() {
        // A chain may not be the tail of a longer one: that one leads elsewhere, and does not compile.
        starts.extend(text.match_indices(&climb).map(|(at, found)| at + found.len()));
    }
    let mut reached = Vec::new();
    for start in starts {
        let line = source.lines[text[..start].matches('\n').count()].0;
        for name in first_segments(&text[start..]) {
            reached.push((line, name));
        }
    }
    reached
}

/// The first segment of the path that `text` starts with, or of each member of the group that it starts with.
fn first_segments(text: &str) -> Vec<String> {
    fn identifier(text: &str) -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    }
    let Some(group) = text.strip_prefix('{') else {
        return vec![identifier(text)];
    };
    let mut depth = 1;
    let mut members = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => members.push(String::new()),
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if let Some(member) = members.last_mut().filter(|_| c != ',' || depth > 1) {
            member.push(c);
        }
    }
    members.iter().map(|member| identifier(member)).filter(|name| !name.is_empty()).collect()
}

/// Whether `line` speaks of the crate or module `path` as such, and not of a longer name that ends alike.
fn mentions(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + path.len()..];
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
            && (after.starts_with("::") || (line.trim_start().starts_with("use ") && after.starts_with([';', ' '])))
    })
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_room_has_a_row_in_the_map_and_every_row_a_room() {
    let listed: BTreeSet<String> = rooms().into_keys().collect();
    let present: BTreeSet<String> = sources().iter().filter_map(|source| source.module.first().cloned()).collect();
    assert_eq!(listed, present, "the table in src/lib.rs (left) against the rooms in src/ (right)");
}

#[test]
fn arrows_between_rooms_point_down_or_to_a_room_named_beside() {
    let rooms = rooms();
    let mut faults = Vec::new();
    for source in sources() {
        let Some((own_name, own)) = source.module.first().and_then(|name| rooms.get_key_value(name)) else {
            continue;
        };
        for (line, name) in reached_rooms(&source) {
            let Some(other) = rooms.get(&name).filter(|_| name != *own_name) else {
                continue;
            };
            if other.layer >= own.layer && !own.beside.contains(&name) {
                faults.push(format!(
                    "{}:{line}: `{own_name}` (layer {}) uses `{name}` (layer {})",
                    source.path.display(),
                    own.layer,
                    other.layer
                ));
            }
        }
    }
    report(&faults);
}

#[test]
fn a_room_named_beside_another_stands_on_the_same_layer() {
    let rooms = rooms();
    for (name, room) in &rooms {
        for beside in &room.beside {
            let same = rooms.get(beside).is_some_and(|other| other.layer == room.layer);
            assert!(same, "`{beside}` stands beside `{name}` in the table, but not on its layer");
        }
    }
}

#[test]
fn each_crate_with_a_home_stays_at_home() {
    let mut faults = Vec::new();
    let sources = sources();
    for row in table("crate") {
        let path = row[0].trim_matches('`').to_owned();
        let homes = names(&row[1]);
        for source in &sources {
            if source.module.first().is_some_and(|room| homes.contains(room)) {
                continue;
            }
            for (line, text) in source.lines.iter().filter(|(_, text)| mentions(text, &path)) {
                faults.push(format!(
                    "{}:{line}: `{path}` stands only in {}: {}",
                    source.path.display(),
                    row[1],
                    text.trim()
                ));
            }
        }
    }
    report(&faults);
}

#[test]
fn the_two_lowest_layers_are_synchronous() {
    let rooms = rooms();
    let mut faults = Vec::new();
    for source in sources() {
        let low = source.module.first().and_then(|name| rooms.get(name)).is_some_and(|room| room.layer <= 1);
        if !low {
            continue;
        }
        for (line, text) in &source.lines {
            if text.contains("async fn") || text.contains(".await") || mentions(text, "tokio") {
                faults.push(format!("{}:{line}: {}", source.path.display(), text.trim()));
            }
        }
    }
    report(&faults);
}

#[test]
fn the_reader_of_paths_sees_groups_and_single_paths() {
    assert_eq!(first_segments("domain::{Client, Person};"), ["domain"]);
    assert_eq!(first_segments("{domain::Client, oauth::{pkce, scope}, store};"), ["domain", "oauth", "store"]);
    assert!(mentions("use sqlx::SqlitePool;", "sqlx"));
    assert!(mentions("    let pool: sqlx::PgPool;", "sqlx"));
    assert!(!mentions("use axum_extra::extract;", "axum"));
}

//! The documents for people, held against the project: links lead somewhere, commands take the flags that are
//! shown, examples parse.

#![allow(clippy::expect_used, reason = "a test stops where it cannot go on")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory as _;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and its like at the root, every page of `docs/`, and those beside the examples.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].iter().map(|name| root().join(name)).collect();
    for folder in ["docs", "docs/decisions", "docs/policies"] {
        for entry in fs::read_dir(root().join(folder)).expect("the documents are there").flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "md") {
                paths.push(entry.path());
            }
        }
    }
    let examples = fs::read_dir(root().join("examples")).expect("the examples are there").flatten();
    paths.extend(examples.map(|entry| entry.path().join("README.md")).filter(|path| path.exists()));
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a document is readable");
            (path, text)
        })
        .collect()
}

/// The fenced blocks of one language, without their fences.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(bool, Vec<&str>)> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), open.take()) {
            (Some(fence), None) => open = Some((fence.trim() == language, Vec::new())),
            (Some(_), Some((wanted, lines))) => {
                if wanted {
                    found.push(lines.join("\n"));
                }
            }
            (None, Some((wanted, mut lines))) => {
                lines.push(line);
                open = Some((wanted, lines));
            }
            (None, None) => {}
        }
    }
    found
}

/// Targets of `[text](target)`, `<img src="target">` and `srcset="target"`.
fn link_targets(text: &str) -> Vec<&str> {
    [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"'), ("href=\"", '"')]
        .iter()
        .flat_map(|(opening, closing)| {
            text.match_indices(opening).filter_map(move |(at, found)| text[at + found.len()..].split(*closing).next())
        })
        .collect()
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn has_anchor(path: &Path, wanted: &str) -> bool {
    let text = fs::read_to_string(path).expect("a linked document is readable");
    text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == wanted)
}

fn help_of(subcommand: &str) -> String {
    let words = subcommand.split(' ').chain(["--help"]);
    let output = Command::new(env!("CARGO_BIN_EXE_doorward")).args(words).output().expect("the binary starts");
    assert!(output.status.success(), "doorward {subcommand} --help failed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Commands that have subcommands of their own.
const GROUPS: [&str; 5] = ["keys", "clients", "grants", "connections", "audit"];

/// `(subcommand, flags)` of every doorward command line in a shell block; a `\` joins lines.
fn command_lines(block: &str) -> Vec<(String, BTreeSet<String>)> {
    block
        .replace("\\\n", " ")
        .lines()
        .filter_map(|line| {
            let line = line.split(" #").next().unwrap_or_default();
            let (_, arguments) = line
                .split_once("cargo run --release -- ")
                .or_else(|| line.split_once("doorward:latest "))
                .or_else(|| line.trim_start().split_once("doorward ").filter(|(before, _)| before.is_empty()))?;
            let mut words = arguments.split_whitespace();
            let mut subcommand = words.next()?.to_owned();
            if GROUPS.contains(&subcommand.as_str()) {
                subcommand = format!("{subcommand} {}", words.next()?);
            }
            let flags = words
                .filter(|word| word.starts_with("--"))
                .map(|word| word.split('=').next().unwrap_or(word).to_owned())
                .collect();
            Some((subcommand, flags))
        })
        .collect()
}

#[test]
fn every_local_link_leads_to_a_file_and_a_heading() {
    let mut faults = Vec::new();
    for (path, text) in documents() {
        for target in link_targets(&text) {
            if target.contains("://") || target.starts_with("mailto:") || target.is_empty() {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let linked =
                if file.is_empty() { path.clone() } else { path.parent().expect("a document has a folder").join(file) };
            if !linked.exists() || (!heading.is_empty() && !has_anchor(&linked, heading)) {
                faults.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "links that lead nowhere:\n{}", faults.join("\n"));
}

#[test]
fn every_command_shown_exists_with_its_flags() {
    let mut faults = Vec::new();
    let mut seen = 0;
    for (path, text) in documents() {
        for block in blocks(&text, "bash") {
            for (subcommand, flags) in command_lines(&block) {
                let help = help_of(&subcommand);
                seen += 1;
                for flag in flags.iter().filter(|flag| !help.contains(flag.as_str())) {
                    faults.push(format!("{}: doorward {subcommand} has no {flag}", path.display()));
                }
            }
        }
    }
    assert!(seen >= 3, "the documents show how to start the gateway");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

// OPS-1
#[test]
fn every_flag_of_the_process_has_a_twin_in_the_environment_and_a_row_in_operations() {
    let page = fs::read_to_string(root().join("docs/operations.md")).expect("the page is readable");
    let mut faults = Vec::new();
    let cli = doorward::cli::Cli::command();
    for command in cli.get_subcommands().filter(|command| ["serve", "dev"].contains(&command.get_name())) {
        for (flag, argument) in command.get_arguments().filter_map(|one| Some((one.get_long()?, one))) {
            if !page.lines().any(|line| line.starts_with("| `--") && line.contains(&format!("`--{flag}`"))) {
                faults.push(format!("docs/operations.md has no row for --{flag}"));
            }
            // Nobody should have this by accident.
            if argument.get_env().is_none() && flag != "auto-approve" {
                faults.push(format!("--{flag} has no twin"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_json_example_parses() {
    let mut faults = Vec::new();
    for (path, text) in documents() {
        for block in blocks(&text, "json") {
            if let Err(error) = serde_json::from_str::<serde_json::Value>(&block) {
                faults.push(format!("{}: {error} in\n{block}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

// OPS-1
#[test]
fn the_folder_that_the_readme_shows_passes_the_check() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md is readable");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("config");
    fs::create_dir(&config).expect("a folder");
    for block in blocks(&readme, "json") {
        let name = if block.contains("\"policyType\"") { "policies.json" } else { "routes.oas.json" };
        fs::write(config.join(name), block).expect("written");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
    command.env_clear().env("WORKOS_CLIENT_ID", "client_01AB").env("WORKOS_API_KEY", "sk_test_1");
    let output = command.current_dir(folder.path()).arg("check").output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("the configuration is valid: 1 route, login `login`"), "{said}");
}

#[test]
fn the_readme_shows_the_one_command() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md is readable");
    assert!(blocks(&readme, "bash").iter().any(|block| block.contains("cargo run --release -- dev")));
}

/// `(name, version)` of every pin in a `requirements.txt`, without the extras of a name.
fn python_pins(path: &str) -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(root().join(path)).expect("the pins are readable");
    text.lines()
        .filter_map(|line| line.split_once("=="))
        .map(|(name, version)| (name.split('[').next().unwrap_or(name).to_owned(), version.to_owned()))
        .collect()
}

/// `(name, version)` of every dependency in a `package.json`.
fn node_pins(path: &str) -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(root().join(path)).expect("the pins are readable");
    let package: serde_json::Value = serde_json::from_str(&text).expect("a package.json is JSON");
    let dependencies = package["dependencies"].as_object().expect("dependencies");
    dependencies.iter().map(|(name, version)| (name.clone(), version.as_str().unwrap_or_default().to_owned())).collect()
}

#[test]
fn the_examples_stand_on_the_versions_that_are_tested() {
    let (node, python) = (node_pins("tests/interop/package.json"), python_pins("tests/interop/requirements.txt"));
    let (their_node, their_python) = (
        node_pins("examples/identity-typescript/package.json"),
        python_pins("examples/identity-python/requirements.txt"),
    );
    assert!(their_node.len() >= 3 && their_python.len() >= 5);
    let differing: Vec<_> = their_node.difference(&node).chain(their_python.difference(&python)).collect();
    assert!(differing.is_empty(), "not what tests/interop pins: {differing:?}");
}

#[test]
fn the_code_that_is_shown_is_that_of_the_examples() {
    let page = fs::read_to_string(root().join("docs/identity-for-servers.md")).expect("the page is readable");
    for (language, file) in [
        ("js", "examples/identity-typescript/identity.js"),
        ("python", "examples/identity-python/identity.py"),
        ("rust", "examples/identity-rust/identity.rs"),
    ] {
        let source = fs::read_to_string(root().join(file)).expect("an example is readable");
        let shown = blocks(&page, language);
        assert!(!shown.is_empty(), "no {language} is shown");
        for block in shown {
            assert!(format!("\n{source}").contains(&format!("\n{block}\n")), "not in {file}:\n{block}");
        }
    }
}

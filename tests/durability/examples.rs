//! Every example folder: valid as it stands, and served by the real binary.
//!
//! An example is a folder `config`, with a file `env.example` beside it if it names variables. `doorward check` gets all
//! of these; `doorward dev` gets all but the credentials at the identity provider, so that its development login stands in
//! as it does in a clean clone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use doorward::config::{self, Mode};
use serde_json::Value;

use crate::process::{Process, http};

/// What the names of credentials at an identity provider end with.
const CREDENTIALS: [&str; 4] = ["_CLIENT_ID", "_CLIENT_SECRET", "_PRIVATE_KEY", "AUTHKIT_DOMAIN"];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The projects: the repository itself, whose `config/` is one, and what is below `examples/`.
fn projects() -> Vec<PathBuf> {
    let mut found = vec![root().to_owned()];
    let mut open = vec![root().join("examples")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
            let name = entry.file_name();
            if name == "config" {
                found.extend(entry.path().parent().map(Path::to_owned));
            } else if name != "node_modules" && name != "target" {
                open.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

fn shown(project: &Path) -> String {
    project.strip_prefix(root()).unwrap().join("config").display().to_string()
}

/// The variables of `env.example`; those of this repository's own `config/` are in its README.
pub fn environment(project: &Path) -> BTreeMap<String, String> {
    if project == root() {
        let values = [("WORKOS_CLIENT_ID", "client_01"), ("WORKOS_CLIENT_SECRET", "sk_test_1")];
        return values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    }
    fs::read_to_string(project.join("env.example"))
        .unwrap_or_default()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().trim_matches('"').to_owned()))
        .collect()
}

/// All but the credentials at the identity provider.
pub fn without_credentials(mut environment: BTreeMap<String, String>) -> BTreeMap<String, String> {
    environment.retain(|name, _| !CREDENTIALS.iter().any(|end| name.ends_with(end)));
    environment
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

// OPS-1
#[test]
fn every_example_passes_the_check() {
    for project in projects() {
        let output = Command::new(env!("CARGO_BIN_EXE_doorward"))
            .env_clear()
            .envs(environment(&project))
            .current_dir(&project)
            .arg("check")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {said}", shown(&project));
        assert!(!said.contains("is written out"), "{} shows a secret: {said}", shown(&project));
    }
}

// DISC-1, OPS-10
#[tokio::test]
async fn every_example_is_served_with_the_development_login() {
    for project in projects() {
        let shown = shown(&project);
        let folder = tempfile::tempdir().unwrap();
        copy(&project.join("config"), &folder.path().join("config"));
        let environment = without_credentials(environment(&project));
        let config = config::load(&folder.path().join("config"), &environment, Mode::Dev)
            .unwrap_or_else(|problems| panic!("{shown}: {}", problems.to_text()))
            .config;
        let process = Process::start_in(folder.path(), environment).await;
        for route in config.routes.iter().filter(|route| !route.proxy.public) {
            let url = process.url(&format!("/.well-known/oauth-protected-resource{}", route.path));
            let answer = http().get(url).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{shown}: {}", route.path);
            let metadata: Value = answer.json().await.unwrap();
            assert_eq!(metadata["resource"], process.url(&route.path), "{shown}");
        }
    }
}

#[test]
fn every_policy_type_stands_in_an_example() {
    let schema = config::without_references(&config::policies_schema());
    let known = schema["properties"]["policies"]["items"]["oneOf"].as_array().unwrap();
    let known: BTreeSet<&str> =
        known.iter().map(|policy| policy["properties"]["policyType"]["const"].as_str().unwrap()).collect();
    let texts: String =
        projects().iter().map(|project| fs::read_to_string(project.join("config/policies.json")).unwrap()).collect();
    let missing: Vec<_> = known.iter().filter(|name| !texts.contains(&format!("\"{name}\""))).collect();
    assert!(missing.is_empty(), "in no `examples/**/config/policies.json`: {missing:?}");
}

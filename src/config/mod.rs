//! The configuration: from the project folder (or the flags that stand in for it) to one immutable
//! [`GatewayConfig`].
//!
//! Owns everything between the text of `config/*.json` and typed, valid values: parsing with positions,
//! `$env()`, the shape (the JSON Schema made from [`raw`] is what is enforced and what is printed), the rules
//! between the parts, and the report of every problem at once. Must not open sockets, read the clock, or show a
//! secret. Nothing downstream checks a setting again.

mod access;
mod addresses;
mod audit_log;
mod authkit;
mod capability_filter;
mod claim_path;
mod client_certificate;
mod clients;
mod cors;
pub mod diagnostic;
mod document;
mod env;
mod flags;
mod gateway;
mod headers;
mod id_jag;
mod login;
pub mod model;
mod oidc;
mod policies;
mod providers;
mod rate_limit;
pub mod raw;
mod routes;
mod schema;
mod token_exchange;
mod workos;

use std::path::{Path, PathBuf};

pub use diagnostic::{Diagnostic, Diagnostics, Position};
pub use env::{Env, ProcessEnv};
pub use flags::{Flags, from_flags};
pub use model::*;
pub use schema::{policies_schema, routes_schema, without_references};

pub(crate) use document::dialect;
pub(crate) use flags::is_slug;
pub(crate) use routes::upstream_problem;
pub(crate) use workos::is_https_or_loopback;

use diagnostic::Problems;
use document::{Kind, Node};
use login::Resolved;

/// Who is asking: `dev` may stand in for a login that has no credentials, the others may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Serve,
    Dev,
    Check,
}

/// A valid configuration and what a person should know of it.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: GatewayConfig,
    /// One line each, to print or log once at start. Never a secret.
    pub notes: Vec<String>,
}

/// Reads and checks the config folder.
///
/// # Errors
/// Every problem that was found, in the order of the files.
pub fn load(folder: &Path, env: &dyn Env, mode: Mode) -> Result<Loaded, Diagnostics> {
    let mut problems = Problems::default();
    let mut notes = Vec::new();
    if !folder.is_dir() {
        let place = problems.whole(folder.display().to_string());
        problems
            .add("file", place, "there is no such config folder")
            .help("`doorward init` makes one; `--workos-client-id`, `--workos-client-secret` and `--server` start without a folder");
        return Err(problems.into_diagnostics());
    }
    let policies = read(&folder.join("policies.json"), env, &mut problems);
    let route_files = route_files(folder, &mut problems);
    let routes = route_files.iter().map(|path| read(path, env, &mut problems)).collect::<Vec<_>>();
    note_ignored(folder, &mut notes);
    if mode == Mode::Check
        && let Some(policies) = &policies
    {
        note_secrets(policies, &problems, &mut notes);
        routes.iter().flatten().for_each(|document| note_secrets(document, &problems, &mut notes));
    }
    resolve(folder, policies, routes, mode, problems, notes)
}

/// The part that folder and flags share: from parsed documents to the configuration. `folder` is what the paths in
/// them begin at.
fn resolve(
    folder: &Path,
    policies: Option<Node>,
    routes: Vec<Option<Node>>,
    mode: Mode,
    mut problems: Problems,
    mut notes: Vec<String>,
) -> Result<Loaded, Diagnostics> {
    let policies = policies::read(policies, mode, &mut problems);
    let mut operations = Vec::new();
    let mut complete = true;
    for document in routes {
        let before = problems.count();
        complete &= document.is_some();
        operations.extend(document.map(|document| routes::read(document, &mut problems)).unwrap_or_default());
        complete &= problems.count() == before;
    }
    let routes = routes::resolve(&operations, folder, &policies, &mut problems);
    let (login, direct) = match policies.resolve(&routes::Known::new(&operations, complete), &mut problems, &mut notes)
    {
        Some(Resolved::Login(login)) => (Some(login), None),
        Some(Resolved::Direct(direct)) => (None, Some(direct)),
        None => (None, None),
    };
    if mode == Mode::Check && (direct.is_some() || login.is_some()) {
        notes.extend(access::note_on_open_routes(login.as_ref(), &routes));
    }
    if routes.is_empty() {
        notes.push("there is no route yet: `doorward add SLUG URL` adds one".to_owned());
    }
    problems.finish()?;
    Ok(Loaded { config: GatewayConfig { login, direct, routes }, notes })
}

/// Text, tree and `$env()` of one file; `None` after a problem that leaves nothing to look at.
fn read(path: &Path, env: &dyn Env, problems: &mut Problems) -> Option<Node> {
    let name = path.display().to_string();
    let text = match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => {
            let place = problems.whole(name);
            problems.add("file", place, "the file is not UTF-8 text").help("save it as UTF-8");
            return None;
        }
        Err(error) => {
            let place = problems.whole(name);
            if error.kind() == std::io::ErrorKind::NotFound {
                problems.add("file", place, "the file is missing").help("`doorward init` writes one");
            } else {
                let message = format!("the file cannot be read: {}", error.kind());
                problems.add("file", place, message).help("look at its permissions");
            }
            return None;
        }
    };
    let source = problems.file(name, text);
    let mut node = document::parse(source, problems)?;
    env::substitute(&mut node, env, problems);
    Some(node)
}

/// All `*.oas.json` of the folder, in alphabetical order.
fn route_files(folder: &Path, problems: &mut Problems) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(".oas.json")))
        .collect();
    files.sort();
    if files.is_empty() {
        let place = problems.whole(folder.join("routes.oas.json").display().to_string());
        problems.add("file", place, "there is no `*.oas.json` in the config folder").help("`doorward init` writes one");
    }
    files
}

/// Options that hold a secret.
const SECRETS: [&str; 5] = ["clientSecret", "secret", "initialAccessToken", "privateKey", "privateKeyPem"];

/// SEC-8: a secret that is written out, in a file that gets copied and committed, rather than named.
fn note_secrets(node: &Node, problems: &Problems, notes: &mut Vec<String>) {
    match &node.kind {
        Kind::Object(members) => {
            for member in members {
                let is_secret = SECRETS.contains(&member.name.as_str())
                    || (member.name == "value" && headers::sets_credential(node))
                    || member.value.as_text().is_some_and(client_certificate::holds_private_key);
                if is_secret && member.value.is_written_text() {
                    notes.push(format!(
                        "{}:{}: `{}` is written out: keep it in a variable and write `$env(NAME)`",
                        problems.file_name(member.place),
                        problems.line_of(member.place),
                        member.name
                    ));
                } else {
                    note_secrets(&member.value, problems, notes);
                }
            }
        }
        Kind::List(items) => items.iter().for_each(|item| note_secrets(item, problems, notes)),
        _ => {}
    }
}

/// Parts of a Zuplo project that have no meaning here are named once.
fn note_ignored(folder: &Path, notes: &mut Vec<String>) {
    let project = folder.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    for name in ["zuplo.jsonc", "modules"] {
        let path = project.join(name);
        if path.exists() {
            notes.push(format!("{} is not used by doorward and was ignored", path.display()));
        }
    }
}

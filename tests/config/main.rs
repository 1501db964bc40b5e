//! The configuration: bad files with their whole message, good files with every value they give.

#![allow(
    clippy::needless_raw_string_hashes,
    clippy::needless_raw_strings,
    clippy::duration_suboptimal_units,
    reason = "configuration, messages and times stand here as the contract writes them"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it is disappointed")]

mod access;
mod audit_log;
mod authkit;
mod capability_filter;
mod client_certificate;
mod clients;
mod commands;
mod cors;
mod defaults;
mod environment;
mod flags;
mod gateway;
mod headers;
mod id_jag;
mod never_panics;
mod oidc;
mod policies;
mod policy_pages;
mod providers;
mod rate_limits;
mod routes;
mod schema;
mod shape;
mod token_exchange;
mod workos;

use std::collections::BTreeMap;
use std::path::Path;

use doorward::config::{self, Diagnostics, Loaded, Mode};

/// An environment of its own.
pub(crate) fn env(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A project folder that lives as long as this.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("config")).unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join("config").join(name), text).unwrap();
        }
        Self(dir)
    }

    pub(crate) fn project(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn load(&self, variables: &[(&str, &str)], mode: Mode) -> Result<Loaded, Diagnostics> {
        config::load(&self.0.path().join("config"), &env(variables), mode)
    }

    /// The text with this folder's own path taken out.
    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }

    /// What `doorward check` would say.
    pub(crate) fn report(&self, variables: &[(&str, &str)], mode: Mode) -> String {
        match self.load(variables, mode) {
            Ok(loaded) => format!("valid\n{}", loaded.notes.join("\n")),
            Err(diagnostics) => self.plain(&diagnostics.to_text()),
        }
    }
}

/// `policies.json` with one WorkOS policy whose options end with `more`.
pub(crate) fn policies_with(more: &str) -> String {
    format!(
        r#"{{"policies": [{{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {{"options": {{
  "clientId": "client_01", "clientSecret": "$env(SECRET)",
  {more}
}}}}}}]}}"#
    )
}

/// `routes.oas.json` with these path items.
pub(crate) fn routes_with(items: &str) -> String {
    format!("{{\"openapi\": \"3.1.0\", \"paths\": {{\n{items}\n}}}}")
}

/// A path item in one line.
pub(crate) fn item(path: &str, id: &str) -> String {
    format!(
        r#""{path}": {{"get,post": {{"operationId": "{id}", "x-zuplo-route": {{"handler": {{"export": "McpProxyHandler", "options": {{"rewritePattern": "https://up.example.com/mcp"}}}}, "policies": {{"inbound": ["workos"]}}}}}}}}"#
    )
}

pub(crate) const SECRET: &[(&str, &str)] = &[("SECRET", "sk_test_1")];

/// The report on a project whose files differ from a good one in `options`.
pub(crate) fn with_options(options: &str) -> String {
    let routes = routes_with(&format!("{},\n{}", item("/mcp/linear", "linear"), item("/mcp/notion", "notion")));
    Folder::new(&[("policies.json", &policies_with(options)), ("routes.oas.json", &routes)]).report(SECRET, Mode::Serve)
}

/// The report on a project whose files differ from a good one in its path items.
pub(crate) fn with_items(items: &str) -> String {
    Folder::new(&[("policies.json", &policies_with("")), ("routes.oas.json", &routes_with(items))])
        .report(SECRET, Mode::Serve)
}

/// A good project with these options.
pub(crate) fn loaded(options: &str) -> Loaded {
    let routes = routes_with(&format!("{},\n{}", item("/mcp/linear", "linear"), item("/mcp/notion", "notion")));
    Folder::new(&[("policies.json", &policies_with(options)), ("routes.oas.json", &routes)])
        .load(SECRET, Mode::Serve)
        .unwrap()
}

/// The gateway options of a good project.
pub(crate) fn gateway(options: &str) -> config::GatewayOptions {
    loaded(&format!("\"gateway\": {{{options}}}")).config.login.unwrap().gateway
}

/// A project whose one route names these policies, each given as type and options.
pub(crate) fn folder_with_policies(policies: &[(&str, &str)]) -> Folder {
    let login = policies_with("");
    let more: Vec<String> = policies
        .iter()
        .enumerate()
        .map(|(index, (kind, options))| {
            format!(
                ",\n{{\"name\": \"p{index}\", \"policyType\": \"{kind}\", \"handler\": {{\"options\": {options}}}}}"
            )
        })
        .collect();
    let policies_json = format!("{}{}\n]}}", login.trim_end().trim_end_matches("]}"), more.concat());
    let names: Vec<String> = (0..policies.len()).map(|index| format!(", \"p{index}\"")).collect();
    let route = format!(
        r#""/mcp/a": {{"get,post": {{"operationId": "a", "x-zuplo-route": {{"handler": {{"export": "McpProxyHandler", "options": {{"rewritePattern": "https://up.example.com/mcp"}}}}, "policies": {{"inbound": ["workos"{}]}}}}}}}}"#,
        names.concat()
    );
    Folder::new(&[("policies.json", &policies_json), ("routes.oas.json", &routes_with(&route))])
}

//! `doorward add SLUG URL`: one more route in `routes.oas.json`, everything else left as it stands.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use jsonc_parser::json;

use crate::config::{dialect, is_slug, upstream_problem};

/// Put an MCP server behind the gateway: adds a route to routes.oas.json, keeping comments and order.
#[derive(Debug, Clone, Args)]
pub struct AddArgs {
    /// The route will be /mcp/SLUG
    pub slug: String,
    /// The URL of the MCP endpoint
    pub url: String,
    /// Also add a token-exchange policy for the upstream's own OAuth
    #[arg(long)]
    pub oauth: bool,
    /// The folder with policies.json and routes.oas.json
    #[arg(long, value_name = "DIR", env = "DOORWARD_CONFIG_DIR", default_value = "config")]
    pub config_dir: PathBuf,
}

/// Adds the route and says so.
///
/// # Errors
/// A slug or URL that cannot be, a route that exists, or files that cannot be read or written. Nothing is
/// changed then.
pub fn run(args: &AddArgs, stdout: &mut dyn Write) -> anyhow::Result<()> {
    if args.oauth {
        bail!(
            "`--oauth` is not supported yet in this version: leave it out, the route works without a credential for the upstream"
        );
    }
    if !is_slug(&args.slug) {
        bail!("`{}` cannot be a slug: use letters, digits, `-`, `_` and `.`", args.slug);
    }
    if let Some(problem) = upstream_problem(&args.url) {
        bail!("{problem}: give the URL of the MCP endpoint, such as https://mcp.example.com/mcp");
    }
    let path = format!("/mcp/{}", args.slug);
    refuse_duplicates(&args.config_dir, &path, &args.slug)?;
    let policy = first_login_policy(&args.config_dir)?;

    let file = args.config_dir.join("routes.oas.json");
    let root = parse(&file)?;
    let paths = root
        .object_value()
        .and_then(|document| document.object_value_or_create("paths"))
        .with_context(|| format!("{}: `paths` is not an object", file.display()))?;
    paths.append(&path, route(&args.slug, &args.url, &policy));
    write_whole(&file, &root.to_string())?;
    writeln!(stdout, "added {path} to {}, with the login policy `{policy}`", file.display())?;
    Ok(())
}

fn route(slug: &str, url: &str, policy: &str) -> CstInputValue {
    json!({
        "get,post": {
            "operationId": slug,
            "summary": slug,
            "x-zuplo-route": {
                "corsPolicy": "none",
                "handler": {
                    "module": "$import(@zuplo/runtime/mcp-gateway)",
                    "export": "McpProxyHandler",
                    "options": { "rewritePattern": url }
                },
                "policies": { "inbound": [policy] }
            }
        }
    })
}

fn parse(file: &Path) -> anyhow::Result<CstRootNode> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read {}; `doorward init` makes a project", file.display()))?;
    CstRootNode::parse(&text, &dialect())
        .map_err(|error| anyhow::anyhow!("{}: {error}; see `doorward check`", file.display()))
}

/// No file of the folder may have the path or the operation id already.
fn refuse_duplicates(folder: &Path, path: &str, id: &str) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read {}; `doorward init` makes a project", folder.display()))?;
    for file in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        if !file.to_string_lossy().ends_with(".oas.json") {
            continue;
        }
        let root = parse(&file)?;
        let Some(paths) = root.object_value().and_then(|document| document.object_value("paths")) else { continue };
        if paths.get(path).is_some() {
            bail!("{} has a route {path} already: choose another slug, or edit the route there", file.display());
        }
        let taken =
            paths.properties().iter().filter_map(|item| item.value()?.as_object()).any(|item| has_id(&item, id));
        if taken {
            bail!("{} has a route with the operationId `{id}` already: choose another slug", file.display());
        }
    }
    Ok(())
}

fn has_id(item: &CstObject, id: &str) -> bool {
    item.properties()
        .iter()
        .filter_map(|operation| {
            operation.value()?.as_object()?.get("operationId")?.value()?.as_string_lit()?.decoded_value().ok()
        })
        .any(|given| given == id)
}

/// The name of the first policy that is an MCP OAuth policy.
fn first_login_policy(folder: &Path) -> anyhow::Result<String> {
    let file = folder.join("policies.json");
    let root = parse(&file)?;
    let policies = root.object_value().and_then(|document| document.array_value("policies"));
    let text = |policy: &CstObject, key: &str| policy.get(key)?.value()?.as_string_lit()?.decoded_value().ok();
    policies
        .iter()
        .flat_map(jsonc_parser::cst::CstArray::elements)
        .filter_map(|policy| policy.as_object())
        .find(|policy| text(policy, "policyType").is_some_and(|kind| kind.ends_with("oauth-inbound")))
        .and_then(|policy| text(&policy, "name"))
        .with_context(|| {
            format!("{} has no login policy: add one first, see `doorward schema policies`", file.display())
        })
}

/// Replaces the file in one step, so that a crash leaves the old or the new text.
fn write_whole(file: &Path, text: &str) -> anyhow::Result<()> {
    let draft = file.with_extension("json.tmp");
    std::fs::write(&draft, text)
        .and_then(|()| std::fs::rename(&draft, file))
        .with_context(|| format!("cannot write {}", file.display()))
}

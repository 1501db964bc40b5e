//! `doorward add SLUG URL`: one more route in `routes.oas.json`, on request with the policy for its server's own OAuth in
//! `policies.json`; everything else is left as it stands.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use jsonc_parser::cst::{CstArray, CstInputValue, CstObject, CstRootNode};
use jsonc_parser::json;

use crate::config::{dialect, is_slug, upstream_problem};

/// Put an MCP server behind the gateway: adds a route to routes.oas.json, keeping comments and order.
#[derive(Debug, Clone, Args)]
pub struct AddArgs {
    /// The route will be /mcp/SLUG
    pub slug: String,
    /// The URL of the MCP endpoint
    pub url: String,
    /// Also add the policy for the server's own OAuth: each person connects their account
    #[arg(long)]
    pub oauth: bool,
    /// With --oauth: one account for all, which an operator connects
    #[arg(long, requires = "oauth")]
    pub shared: bool,
    /// With --oauth: a scope to ask the server's authorization server for; repeatable
    #[arg(long, requires = "oauth", value_name = "SCOPE", value_delimiter = ' ')]
    pub scope: Vec<String>,
    /// The folder with policies.json and routes.oas.json
    #[arg(long, value_name = "DIR", env = "DOORWARD_CONFIG_DIR", default_value = "config")]
    pub config_dir: PathBuf,
}

/// Adds the route and says so.
///
/// # Errors
/// A slug or URL that cannot be, a route or policy that exists, or files that cannot be read or written. Nothing is
/// changed then.
pub fn run(args: &AddArgs, stdout: &mut dyn Write) -> anyhow::Result<()> {
    if !is_slug(&args.slug) {
        bail!("`{}` cannot be a slug: use letters, digits, `-`, `_` and `.`", args.slug);
    }
    if let Some(problem) = upstream_problem(&args.url) {
        bail!("{problem}: give the URL of the MCP endpoint, such as https://mcp.example.com/mcp");
    }
    let path = format!("/mcp/{}", args.slug);
    refuse_duplicates(&args.config_dir, &path, &args.slug)?;
    let policies_file = args.config_dir.join("policies.json");
    let policies = parse(&policies_file)?;
    let login = first_login_policy(&policies, &policies_file)?;
    let login_name = text(&login, "name").context("the login policy has no name; see `doorward check`")?;
    let credential =
        if args.oauth { Some(add_credential_policy(args, &policies, &login, &policies_file)?) } else { None };

    let file = args.config_dir.join("routes.oas.json");
    let root = parse(&file)?;
    let paths = root
        .object_value()
        .and_then(|document| document.object_value_or_create("paths"))
        .with_context(|| format!("{}: `paths` is not an object", file.display()))?;
    let inbound = [Some(login_name.clone()), credential.clone()].into_iter().flatten().collect();
    paths.append(&path, route(&args.slug, &args.url, inbound));
    // A policy that no route names does no harm, a route that names a missing one does.
    if credential.is_some() {
        write_whole(&policies_file, &policies.to_string())?;
    }
    write_whole(&file, &root.to_string())?;
    writeln!(stdout, "added {path} to {}, with the login policy `{login_name}`", file.display())?;
    if let Some(policy) = credential {
        let how = if args.shared {
            format!(
                "an operator connects one account for all, by `doorward connections connect {} --public-url URL`",
                args.slug
            )
        } else {
            "each person connects their own account".to_owned()
        };
        writeln!(stdout, "added the policy `{policy}` to {}: {how}", policies_file.display())?;
    }
    Ok(())
}

/// Adds the token exchange policy to `policies` and gives its name.
fn add_credential_policy(
    args: &AddArgs,
    policies: &CstRootNode,
    login: &CstObject,
    file: &Path,
) -> anyhow::Result<String> {
    let slug = args.slug.as_str();
    let name = &format!("mcp-token-exchange-{slug}");
    if slug.len() > 64 {
        bail!("`{slug}` is too long for a server with OAuth of its own: 64 characters at most");
    }
    if !args.shared && leaves_sign_in_to_authkit(login) {
        bail!(
            "people sign in at AuthKit here and not at the gateway, so they could not connect their accounts: add `--shared`, or take a login policy such as `mcp-workos-oauth-inbound`"
        );
    }
    let list = policies
        .object_value()
        .and_then(|document| document.array_value("policies"))
        .with_context(|| format!("{}: `policies` is not a list", file.display()))?;
    if elements(&list).any(|policy| text(&policy, "name").as_ref() == Some(name)) {
        bail!("{} has a policy named `{name}` already: choose another slug", file.display());
    }
    if elements(&list).any(|policy| options(&policy).and_then(|options| text(&options, "id")).as_deref() == Some(slug))
    {
        bail!("{} has a token exchange policy with the id `{slug}` already: choose another slug", file.display());
    }
    let mode = if args.shared { "shared-oauth" } else { "user-oauth" };
    let mut options = vec![("displayName".to_owned(), json!(slug)), ("authMode".to_owned(), json!(mode))];
    if !args.scope.is_empty() {
        let scopes = args.scope.iter().cloned().map(CstInputValue::String).collect();
        options.push(("scopes".to_owned(), CstInputValue::Array(scopes)));
    }
    let (options, policy_name) = (CstInputValue::Object(options), name.clone());
    list.append(json!({
        "name": policy_name,
        "policyType": "mcp-token-exchange-inbound",
        "handler": {
            "module": "$import(@zuplo/runtime/mcp-gateway)",
            "export": "McpTokenExchangeInboundPolicy",
            "options": options
        }
    }));
    Ok(name.clone())
}

/// Direct mode, where the gateway knows nobody's browser.
fn leaves_sign_in_to_authkit(login: &CstObject) -> bool {
    let preregistered = options(login).and_then(|options| text(&options, "mode")).as_deref() == Some("preregistered");
    text(login, "policyType").as_deref() == Some(DIRECT) && !preregistered
}

fn route(slug: &str, url: &str, inbound: Vec<String>) -> CstInputValue {
    let inbound = CstInputValue::Array(inbound.into_iter().map(CstInputValue::String).collect());
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
                "policies": { "inbound": inbound }
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

/// The first policy that is an MCP OAuth policy.
fn first_login_policy(policies: &CstRootNode, file: &Path) -> anyhow::Result<CstObject> {
    let list = policies.object_value().and_then(|document| document.array_value("policies"));
    list.iter()
        .flat_map(elements)
        .find(|policy| text(policy, "policyType").is_some_and(|kind| kind.ends_with("oauth-inbound") || kind == DIRECT))
        .with_context(|| {
            format!("{} has no login policy: add one first, see `doorward schema policies`", file.display())
        })
}

const DIRECT: &str = "mcp-authkit-inbound";

fn elements(list: &CstArray) -> impl Iterator<Item = CstObject> {
    list.elements().into_iter().filter_map(|policy| policy.as_object())
}

fn options(policy: &CstObject) -> Option<CstObject> {
    policy.object_value("handler")?.object_value("options")
}

fn text(object: &CstObject, key: &str) -> Option<String> {
    object.get(key)?.value()?.as_string_lit()?.decoded_value().ok()
}

/// Replaces the file in one step, so that a crash leaves the old or the new text.
fn write_whole(file: &Path, text: &str) -> anyhow::Result<()> {
    let draft = file.with_extension("json.tmp");
    std::fs::write(&draft, text)
        .and_then(|()| std::fs::rename(&draft, file))
        .with_context(|| format!("cannot write {}", file.display()))
}

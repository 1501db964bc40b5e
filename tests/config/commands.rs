//! `doorward check`, `init`, `add`, `schema`.

use std::process::ExitCode;

use doorward::cli::{add, check, init, schema};
use insta::assert_snapshot;
use serde_json::Value;

use crate::{Folder, SECRET, env, item, policies_with, routes_with};

fn check(folder: &Folder, format: check::Format) -> (ExitCode, String) {
    let args = check::CheckArgs { config_dir: folder.project().join("config"), format };
    let mut out = Vec::new();
    let code = check::run(&args, &env(SECRET), &mut out).unwrap();
    (code, folder.plain(&String::from_utf8(out).unwrap()))
}

fn bad() -> Folder {
    Folder::new(&[
        ("policies.json", &policies_with("\"orgnizationId\": \"org_1\"")),
        ("routes.oas.json", &routes_with(&item("/mcp/a", "a"))),
    ])
}

fn good() -> Folder {
    Folder::new(&[("policies.json", &policies_with("")), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))])
}

#[test]
fn check_says_that_a_good_project_is_valid() {
    let (code, out) = check(&good(), check::Format::Text);
    assert_eq!(code, ExitCode::SUCCESS);
    assert_snapshot!(out, @r#"
    note: whoever can sign in to the AuthKit environment may use /mcp/a: where it lets anyone sign up, add an access policy (`mcp-access-inbound`)
    the configuration is valid: 1 route, login `workos`
    "#);
}

#[test]
fn check_answers_1_and_json_for_a_bad_project() {
    let (code, out) = check(&bad(), check::Format::Json);
    assert_eq!(code, ExitCode::FAILURE);
    assert_snapshot!(out, @r#"
    {
      "valid": false,
      "problems": [
        {
          "rule": "unknown-key",
          "message": "unknown key `orgnizationId` in `options`",
          "file": "config/policies.json",
          "line": 3,
          "column": 3,
          "width": 15,
          "source": "  \"orgnizationId\": \"org_1\"",
          "help": "did you mean `organizationId`?"
        }
      ]
    }
    "#);
}

#[test]
fn check_writes_sarif_with_the_region() {
    let (_, out) = check(&bad(), check::Format::Sarif);
    let sarif: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&"unknown-key".into(), &"error".into()));
    let location = &result["locations"][0]["physicalLocation"];
    assert_eq!(location["artifactLocation"]["uri"], "config/policies.json");
    assert_eq!((&location["region"]["startLine"], &location["region"]["startColumn"]), (&3.into(), &3.into()));
    let (code, out) = check(&good(), check::Format::Sarif);
    assert_eq!(code, ExitCode::SUCCESS);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["runs"][0]["results"], Value::Array(Vec::new()));
}

#[test]
fn init_makes_a_project_that_works_in_dev_and_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".gitignore"), "mine").unwrap();
    init::run(dir.path(), &mut Vec::new()).unwrap();
    doorward::config::load(&dir.path().join("config"), &env(&[]), doorward::config::Mode::Dev).unwrap();
    assert!(dir.path().join(".env.example").is_file());
    std::fs::write(dir.path().join("config/policies.json"), "changed").unwrap();
    let mut out = Vec::new();
    init::run(dir.path(), &mut out).unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join("config/policies.json")).unwrap(), "changed");
    assert_eq!(std::fs::read_to_string(dir.path().join(".gitignore")).unwrap(), "mine");
    assert!(!String::from_utf8(out).unwrap().contains("made "));
}

fn add(folder: &Folder, slug: &str, url: &str, oauth: bool) -> Result<String, String> {
    let args =
        add::AddArgs { slug: slug.to_owned(), url: url.to_owned(), oauth, config_dir: folder.project().join("config") };
    let mut out = Vec::new();
    match add::run(&args, &mut out) {
        Ok(()) => Ok(folder.plain(&String::from_utf8(out).unwrap())),
        Err(error) => Err(folder.plain(&format!("{error:#}"))),
    }
}

#[test]
fn add_keeps_comments_and_order_and_makes_a_valid_route() {
    let routes =
        "{\n  // mine\n  \"openapi\": \"3.1.0\",\n  \"paths\": {\n    // the first\n    ITEM, // kept\n  },\n}\n"
            .replace("ITEM", &item("/mcp/a", "a"));
    let folder = Folder::new(&[("policies.json", &policies_with("")), ("routes.oas.json", &routes)]);
    assert_snapshot!(add(&folder, "linear", "https://mcp.linear.app/mcp", false).unwrap(), @"added /mcp/linear to config/routes.oas.json, with the login policy `workos`");
    let text = std::fs::read_to_string(folder.project().join("config/routes.oas.json")).unwrap();
    assert_snapshot!(text.replace(&item("/mcp/a", "a"), "ITEM"), @r#"
    {
      // mine
      "openapi": "3.1.0",
      "paths": {
        // the first
        ITEM, // kept
        "/mcp/linear": {
          "get,post": {
            "operationId": "linear",
            "summary": "linear",
            "x-zuplo-route": {
              "corsPolicy": "none",
              "handler": {
                "module": "$import(@zuplo/runtime/mcp-gateway)",
                "export": "McpProxyHandler",
                "options": {
                  "rewritePattern": "https://mcp.linear.app/mcp",
                },
              },
              "policies": {
                "inbound": ["workos"],
              },
            },
          },
        },
      },
    }
    "#);
    let routes = folder.load(SECRET, doorward::config::Mode::Serve).unwrap().config.routes;
    assert_eq!(routes[1].path, "/mcp/linear");
}

#[test]
fn add_refuses_what_cannot_be_a_route_and_changes_nothing() {
    let folder = good();
    let before = std::fs::read_to_string(folder.project().join("config/routes.oas.json")).unwrap();
    let refusals = [
        add(&folder, "a", "https://x.example.com/mcp", false),
        add(&folder, "b/c", "https://x.example.com/mcp", false),
        add(&folder, "b", "ftp://x", false),
        add(&folder, "b", "https://x.example.com/mcp", true),
    ];
    let refusals: Vec<_> = refusals.into_iter().map(Result::unwrap_err).collect();
    assert_snapshot!(refusals.join("\n"), @r#"
    config/routes.oas.json has a route /mcp/a already: choose another slug, or edit the route there
    `b/c` cannot be a slug: use letters, digits, `-`, `_` and `.`
    `rewritePattern` must be an http or https URL: give the URL of the MCP endpoint, such as https://mcp.example.com/mcp
    `--oauth` is not supported yet in this version: leave it out, the route works without a credential for the upstream
    "#);
    assert_eq!(std::fs::read_to_string(folder.project().join("config/routes.oas.json")).unwrap(), before);
}

#[test]
fn schema_prints_json_schema() {
    let mut out = Vec::new();
    schema::run(&schema::SchemaArgs { file: schema::SchemaFile::Routes }, &mut out).unwrap();
    let schema: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

//! `mcp-capability-filter-inbound` (gateway.md §9).

use std::time::Duration;

use doorward::config::{Audience, CapabilityFilter, HeldClaim, Mode};
use rstest::rstest;

use crate::{Folder, SECRET, routes_with};

fn folder(options: &str, handler: &str, inbound: &str) -> Folder {
    let policies = format!(
        r#"{{"policies": [
{{"name": "shown", "policyType": "mcp-capability-filter-inbound", "handler": {{"export": "McpCapabilityFilterInboundPolicy", "module": "$import(@zuplo/runtime)", "options": {{
{options}
}}}}}},
{{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {{"options": {{"clientId": "client_01", "clientSecret": "$env(SECRET)",
"gateway": {{"scopes": {{"mcp:admin": []}}}}}}}}}}
]}}"#
    );
    let routes = routes_with(&format!(
        r#""/mcp/a": {{"get,post": {{"operationId": "a", "x-zuplo-route": {{"handler": {{"export": "McpProxyHandler", "options": {{"rewritePattern": "https://up.example.com/mcp"{handler}}}}}, "policies": {{"inbound": [{inbound}]}}}}}}}}"#
    ));
    Folder::new(&[("policies.json", &policies), ("routes.oas.json", &routes)])
}

fn filter(options: &str) -> CapabilityFilter {
    let loaded = folder(options, "", r#""workos", "shown""#).load(SECRET, Mode::Serve).unwrap();
    loaded.config.routes[0].filters[0].clone()
}

fn report(options: &str) -> String {
    folder(options, "", r#""workos", "shown""#).report(SECRET, Mode::Serve)
}

// STRM-12
#[test]
fn every_option_of_the_contract_is_read() {
    let filter = filter(
        r#""tools": ["add", "get_*", "!get_secret", { "name": "write", "description": "Ours", "annotations": { "readOnlyHint": false },
          "_meta": { "x": 1 }, "roles": ["admin"], "groups": ["staff"], "permissions": ["tools:use"], "clients": ["desk"],
          "scope": "mcp:admin", "maxAge": 300 }, { "name": "open", "public": true }],
        "prompts": [],
        "resources": [{ "uri": "docs://a", "name": "A", "description": "Ours", "mimeType": "text/plain", "public": true }],
        "resourceTemplates": ["docs://{page}"],
        "accessControl": { "mode": "rolesAndGroups", "roleClaim": "entitlements", "groupClaim": "permissions" }"#,
    );
    let tools = filter.tools.as_ref().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| (tool.name.as_str(), tool.hides)).collect();
    assert_eq!(names, [("add", false), ("get_*", false), ("get_secret", true), ("write", false), ("open", false)]);
    let list = |text: &str| vec![text.to_owned()];
    let holders = Audience::Holders { roles: list("admin"), groups: list("staff"), permissions: list("tools:use") };
    assert_eq!(tools[3].audience, holders);
    assert_eq!(tools[3].clients, Some(list("desk")));
    assert_eq!(tools[3].demands.max_age, Some(Duration::from_secs(300)));
    assert!(tools[3].demands.scope.contains("mcp:admin"));
    assert_eq!(tools[3].replaced.keys().collect::<Vec<_>>(), ["description", "annotations", "_meta"]);
    assert_eq!(tools[4].audience, Audience::Everyone);
    assert_eq!(filter.prompts, Some(vec![]));
    assert_eq!(
        filter.resources.as_ref().unwrap()[0].replaced.keys().collect::<Vec<_>>(),
        ["name", "description", "mimeType"]
    );
    assert_eq!(filter.resource_templates.as_ref().unwrap()[0].name, "docs://{page}");
    assert_eq!((filter.role_claim, filter.group_claim), (HeldClaim::Entitlements, HeldClaim::Permissions));
    // In this mode, what is not classified is for nobody.
    assert_eq!(tools[0].audience, Audience::Holders { roles: vec![], groups: vec![], permissions: vec![] });
}

// STRM-12
#[test]
fn lists_that_are_left_out_let_all_pass_and_everyone_sees_the_same() {
    let filter = filter(r#""tools": ["add"]"#);
    assert_eq!((&filter.prompts, &filter.resources, &filter.resource_templates), (&None, &None, &None));
    assert_eq!(filter.tools.as_ref().unwrap()[0].audience, Audience::Everyone);
    assert_eq!((filter.role_claim, filter.group_claim), (HeldClaim::Roles, HeldClaim::Groups));
    assert!(!filter.needs_caller());
}

// STRM-12
#[rstest]
#[case::empty(r#""tools": ["add", ""]"#, "an entry is empty, or begins or ends with a blank")]
#[case::blank(r#""tools": ["add "]"#, "an entry is empty, or begins or ends with a blank")]
#[case::twice(r#""tools": ["add", { "name": "add", "description": "x" }]"#, "`add` stands twice in this list")]
#[case::denials_alone(r#""tools": ["!a", "!b"]"#, "a list of `!` entries alone shows nothing")]
#[case::double_denial(r#""tools": ["*", "!!a"]"#, "an entry begins with two `!`")]
#[case::denial_with_more(
    r#""tools": ["*", { "name": "!a", "description": "x" }]"#,
    "what `!` hides has nothing more to it"
)]
#[case::no_template(r#""resourceTemplates": ["docs://{page"]"#, "this is not a URI template")]
#[case::no_list(r#""accessControl": {}"#, "a capability filter without a list hides nothing")]
#[case::audience_without_mode(
    r#""tools": [{ "name": "a", "roles": ["admin"] }]"#,
    "with `accessControl.mode` `allPublic` an entry is for everyone"
)]
#[case::public_and_roles(
    r#""tools": [{ "name": "a", "public": true, "roles": ["admin"] }], "accessControl": { "mode": "rolesAndGroups" }"#,
    "an entry that is `public` is not for certain people only"
)]
#[case::empty_role(
    r#""tools": [{ "name": "a", "roles": [" "] }], "accessControl": { "mode": "rolesAndGroups" }"#,
    "an entry is empty, or begins or ends with a blank"
)]
#[case::no_roles(
    r#""tools": [{ "name": "a", "roles": [] }], "accessControl": { "mode": "rolesAndGroups" }"#,
    "`roles` is empty"
)]
#[case::empty_description(r#""tools": [{ "name": "a", "description": "" }]"#, "`description` is empty")]
#[case::unknown_member(
    r#""tools": [{ "name": "a", "inputSchema": {} }]"#,
    "unknown key `inputSchema` in an entry of `tools`"
)]
#[case::no_name(r#""resources": [{ "name": "a" }]"#, "`uri` is missing in an entry of `resources`")]
#[case::unknown_scope(r#""tools": [{ "name": "a", "scope": "mcp:admn" }]"#, "there is no scope `mcp:admn`")]
#[case::prompt_with_scope(
    r#""prompts": [{ "name": "a", "scope": "mcp:admin" }]"#,
    "unknown key `scope` in an entry of `prompts`"
)]
#[case::no_age(r#""tools": [{ "name": "a", "maxAge": 0 }]"#, "`maxAge` must be a whole number from 1 to 31536000")]
#[case::unknown_claim(
    r#""tools": ["a"], "accessControl": { "mode": "rolesAndGroups", "roleClaim": "realm_access.roles" }"#,
    "the gateway keeps nothing of a person under `realm_access.roles`"
)]
#[case::own_function(
    r#""tools": ["a"], "accessControl": { "mode": "function" }"#,
    "`mode` must be `allPublic` or `rolesAndGroups`, not `function`"
)]
fn what_cannot_be_meant_is_refused(#[case] options: &str, #[case] said: &str) {
    let report = report(options);
    let errors: Vec<&str> = report.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
    assert_eq!(errors, [said], "{report}");
    assert!(report.contains("--> config/policies.json:3:") || options.starts_with("\"accessControl"), "{report}");
    assert!(report.contains("= help: "), "{report}");
}

// STRM-12
#[test]
fn a_filter_that_asks_who_calls_does_not_go_with_a_public_route() {
    let public = r#", "public": true"#;
    let asking =
        folder(r#""tools": [{ "name": "a", "maxAge": 60 }]"#, public, r#""shown""#).report(SECRET, Mode::Serve);
    assert!(asking.starts_with("error: the route `/mcp/a` is public, so `shown` cannot tell who calls"), "{asking}");
    assert_eq!(folder(r#""tools": ["a"]"#, public, r#""shown""#).report(SECRET, Mode::Serve), "valid\n");
}

use std::time::Duration;

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::domain::SubjectId;

fn entry(name: &str) -> CapabilityEntry {
    let (hides, name) = name.strip_prefix('!').map_or((false, name), |name| (true, name));
    CapabilityEntry {
        name: name.to_owned(),
        hides,
        replaced: Map::new(),
        audience: Audience::Everyone,
        clients: None,
        demands: Demands::default(),
    }
}

fn entries(names: &[&str]) -> Vec<CapabilityEntry> {
    names.iter().map(|name| entry(name)).collect()
}

fn list(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn person(roles: &[&str], groups: &[&str], permissions: &[&str]) -> Person {
    Person {
        id: SubjectId::new("usr_1"),
        provider: "https://idp.example".to_owned(),
        subject: "user_01".to_owned(),
        email: None,
        email_verified: false,
        name: None,
        given_name: None,
        family_name: None,
        username: None,
        picture: None,
        organization_id: None,
        roles: list(roles),
        groups: list(groups),
        permissions: list(permissions),
        entitlements: list(&["gold"]),
        external_id: None,
        impersonator: None,
    }
}

fn visible(filter: CapabilityFilter, person: Option<Person>) -> Visible {
    Visible::new(Arc::from([filter]), person.map(Arc::new), Some(ClientId::new("desk")))
}

fn shows(names: &[&str], name: &str) -> bool {
    let filter = CapabilityFilter { tools: Some(entries(names)), ..CapabilityFilter::default() };
    let visible = visible(filter, None);
    let listed = visible.shown(Capability::Tool, name).is_some();
    assert_eq!(listed, visible.demands(&Target::Tool(name.to_owned())).is_some(), "what is listed can be called");
    listed
}

// STRM-12
#[rstest]
#[case(&["add"], "add", true)]
#[case(&["add"], "Add", false)]
#[case(&["add"], "add ", false)]
#[case(&["add"], "addx", false)]
#[case(&[], "add", false)]
#[case(&["get_*"], "get_", true)]
#[case(&["get_*"], "get_a_b", true)]
#[case(&["get_*"], "forget_a", false)]
#[case(&["*_get"], "a_get", true)]
#[case(&["a*b*c"], "aXbbYc", true)]
#[case(&["a*b*c"], "aXcYb", false)]
#[case(&["*"], "anything", true)]
#[case(&["*", "!delete_*"], "delete_all", false)]
#[case(&["!delete_*", "*"], "delete_all", false)]
#[case(&["delete_all", "!delete_*"], "delete_all", false)]
#[case(&["*", "!delete_*"], "undelete", true)]
#[case(&["a{b}"], "a{b}", true)]
#[case(&["a{b}"], "ab", false)]
fn names_patterns_and_denials_decide(#[case] names: &[&str], #[case] name: &str, #[case] expected: bool) {
    assert_eq!(shows(names, name), expected);
}

// STRM-12
#[test]
fn a_list_that_is_not_given_lets_all_pass() {
    let filter = CapabilityFilter { tools: Some(entries(&["a"])), ..CapabilityFilter::default() };
    let visible = visible(filter, None);
    assert!(visible.covers(Capability::Tool) && !visible.covers(Capability::Prompt));
    assert!(visible.demands(&Target::Prompt("p".to_owned())).is_some());
    assert!(visible.demands(&Target::Resource("a:b".to_owned())).is_some());
    assert!(visible.demands(&Target::Unnamed(&[Capability::Tool])).is_none());
    assert!(visible.demands(&Target::Unnamed(&[Capability::Prompt])).is_some());
}

fn by_audience(roles: &[&str], groups: &[&str], permissions: &[&str]) -> CapabilityFilter {
    let audience = Audience::Holders { roles: list(roles), groups: list(groups), permissions: list(permissions) };
    let special = CapabilityEntry { audience, ..entry("special") };
    CapabilityFilter {
        tools: Some(vec![entry("*"), special]),
        group_claim: HeldClaim::Groups,
        ..CapabilityFilter::default()
    }
}

// STRM-12
#[rstest]
#[case(by_audience(&["admin"], &[], &[]), person(&["admin"], &[], &[]), true)]
#[case(by_audience(&["admin"], &[], &[]), person(&["Admin", "member"], &["admin"], &["admin"]), false)]
#[case(by_audience(&["admin"], &["staff"], &[]), person(&[], &["staff"], &[]), true)]
#[case(by_audience(&["admin"], &["staff"], &["tools:use"]), person(&[], &[], &["tools:use"]), true)]
#[case(by_audience(&[], &[], &[]), person(&["admin"], &["staff"], &["tools:use"]), false)]
#[case(CapabilityFilter { role_claim: HeldClaim::Entitlements, ..by_audience(&["gold"], &[], &[]) }, person(&[], &[], &[]), true)]
fn the_entry_with_the_exact_name_decides_whom_it_is_for(
    #[case] filter: CapabilityFilter,
    #[case] person: Person,
    #[case] expected: bool,
) {
    let caller = visible(filter.clone(), Some(person));
    assert_eq!(caller.shown(Capability::Tool, "special").is_some(), expected);
    assert!(caller.shown(Capability::Tool, "other").is_some(), "the pattern does not make up for it");
    assert!(visible(filter, None).shown(Capability::Tool, "special").is_none());
}

// STRM-12
#[test]
fn an_entry_may_be_for_certain_clients() {
    for (clients, expected) in [(list(&["desk", "dcr_1"]), true), (list(&["dcr_1"]), false)] {
        let tools = vec![CapabilityEntry { clients: Some(clients), ..entry("add") }];
        let filter = CapabilityFilter { tools: Some(tools), ..CapabilityFilter::default() };
        assert_eq!(visible(filter, None).shown(Capability::Tool, "add").is_some(), expected);
    }
}

// STRM-12
#[test]
fn several_filters_of_a_route_must_agree_and_their_demands_add_up() {
    let demands = |scope: &str, age| Demands { scope: ScopeSet::parse(scope), max_age: Some(Duration::from_secs(age)) };
    let with = |names: &[&str], scope: &str, age| {
        let tools = names.iter().map(|name| CapabilityEntry { demands: demands(scope, age), ..entry(name) }).collect();
        CapabilityFilter { tools: Some(tools), ..CapabilityFilter::default() }
    };
    let filters = [with(&["a", "b"], "mcp:admin", 600), with(&["b", "c"], "mcp:write", 60)];
    let visible = Visible::new(Arc::from(filters), None, None);
    let of = |name: &str| visible.demands(&Target::Tool(name.to_owned()));
    assert_eq!((of("a"), of("c")), (None, None));
    assert_eq!(of("b"), Some(demands("mcp:admin mcp:write", 60)));
}

fn reads(resources: Option<&[&str]>, templates: Option<&[&str]>, uri: &str) -> bool {
    let filter = CapabilityFilter {
        resources: resources.map(entries),
        resource_templates: templates.map(entries),
        ..CapabilityFilter::default()
    };
    visible(filter, None).demands(&Target::Resource(uri.to_owned())).is_some()
}

// STRM-12
#[rstest]
#[case(None, None, "docs://a", true)]
#[case(Some(&["docs://a"][..]), None, "docs://a", true)]
#[case(Some(&["docs://a"][..]), None, "docs://b", false)]
#[case(Some(&["docs://a"][..]), None, "DOCS://a", false)]
#[case(Some(&[][..]), Some(&["docs://{page}"][..]), "docs://a", true)]
#[case(Some(&[][..]), Some(&["docs://{page}"][..]), "docs://", false)]
#[case(Some(&[][..]), Some(&["docs://{page}"][..]), "docs://a/b", false)]
#[case(Some(&[][..]), Some(&["docs://{+path}"][..]), "docs://a/b", true)]
#[case(Some(&[][..]), Some(&["docs://{page}/raw"][..]), "docs://a/raw", true)]
#[case(Some(&[][..]), Some(&["docs://public/*"][..]), "docs://public/a/b", true)]
#[case(Some(&[][..]), Some(&[][..]), "docs://a", false)]
#[case(None, Some(&[][..]), "docs://a", true)]
// A way out of what a pattern seems to say.
#[case(Some(&["docs://public/*"][..]), None, "docs://public/../secret", false)]
#[case(Some(&["docs://public/*"][..]), None, "docs://public/%2e%2E/secret", false)]
#[case(Some(&["docs://public/*"][..]), None, "docs://public/..%2fsecret", false)]
#[case(Some(&["docs://public/*"][..]), None, "docs://public/%252e%252e/secret", false)]
#[case(Some(&["docs://public/*"][..]), None, "docs://public/..\\secret", false)]
#[case(Some(&["docs://public/*"][..]), None, "docs://public/a..b", true)]
// Other spellings of what is denied.
#[case(Some(&["*", "!docs://secret*"][..]), None, "docs://secret", false)]
#[case(Some(&["*", "!docs://secret*"][..]), None, "docs://%73ecret/x", false)]
#[case(Some(&["*", "!docs://secret*"][..]), None, "DOCS://Secret/x", false)]
#[case(Some(&["*", "!docs://secret*"][..]), None, "docs://open", true)]
#[case(Some(&["*"][..]), Some(&["!docs://secret/{page}", "*"][..]), "docs://secret/a", false)]
fn a_resource_is_read_when_it_is_listed_or_made_of_a_template(
    #[case] resources: Option<&[&str]>,
    #[case] templates: Option<&[&str]>,
    #[case] uri: &str,
    #[case] expected: bool,
) {
    assert_eq!(reads(resources, templates, uri), expected);
}

// STRM-12
#[test]
fn completions_are_of_templates_and_resources_that_are_shown() {
    let filter = CapabilityFilter {
        resources: Some(entries(&["docs://a"])),
        resource_templates: Some(entries(&["docs://{page}"])),
        ..CapabilityFilter::default()
    };
    let visible = visible(filter, None);
    for (uri, expected) in
        [("docs://{page}", true), ("docs://a", true), ("docs://{secret}", false), ("docs://b", false)]
    {
        assert_eq!(visible.demands(&Target::Template(uri.to_owned())).is_some(), expected, "{uri}");
    }
}

// STRM-12
#[test]
fn long_names_cost_no_more_than_their_length() {
    let name = "a".repeat(4 * 1024 * 1024);
    assert!(!shows(&["*a*a*a*a*b"], &name) && !shows(&["*", "!b*a*c"], &name));
    let name = "a".repeat(MAX_COMPARED);
    assert!(!shows(&["*a*a*a*a*b"], &name) && shows(&["*a*a*a*a"], &name));
}

// STRM-12
#[test]
fn what_several_filters_show_otherwise_is_joined() {
    let with = |replaced: Value| {
        let replaced = replaced.as_object().unwrap().clone();
        let tools = Some(vec![CapabilityEntry { replaced, ..entry("a") }]);
        CapabilityFilter { tools, ..CapabilityFilter::default() }
    };
    let filters = [with(json!({"description": "one"})), with(json!({"_meta": {"x": 1}}))];
    let visible = Visible::new(Arc::from(filters), None, None);
    let expected = json!({"description": "one", "_meta": {"x": 1}});
    assert_eq!(Value::Object(visible.shown(Capability::Tool, "a").unwrap()), expected);
}

// SCOPE-5, SCOPE-6
#[test]
fn a_call_waits_for_the_scope_and_then_for_the_login_it_needs() {
    let demands = Demands { scope: ScopeSet::parse("mcp:admin"), max_age: Some(Duration::from_secs(60)) };
    let missing = |held: bool, signed_in| check_demands(&demands, |_| held, signed_in);
    assert_eq!(missing(false, Some(10)), Err(StepUp::Scope(ScopeSet::parse("mcp:admin"))));
    assert_eq!(missing(true, Some(61)), Err(StepUp::Login(60)));
    assert_eq!(missing(true, None), Err(StepUp::Login(60)));
    assert_eq!(missing(true, Some(60)), Ok(()));
    assert_eq!(check_demands(&Demands::default(), |_| false, None), Ok(()));
}

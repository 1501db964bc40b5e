//! Operators' commands beside a running gateway: the real binary for both.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::browser::{Browser, param_of};
use crate::process::{Process, REDIRECT, VERIFIER, approve, authorize_url, form, http, initialize, refresh};

/// A command in the project folder, with an empty environment.
fn doorward(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_doorward")).env_clear().current_dir(folder).args(args).output().unwrap()
}

/// The JSON answer of a command that succeeds.
fn answer(folder: &Path, args: &[&str]) -> Value {
    let output = doorward(folder, &[args, &["--json"]].concat());
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A registered client and its tokens for the demo route, granted by a ready person.
async fn connect(process: &Process, person: &str) -> (String, Value) {
    let browser = Browser::new();
    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    let registered = http().post(process.url("/oauth/register")).json(&body).send().await.unwrap();
    let registered: Value = registered.json().await.unwrap();
    let id = registered["client_id"].as_str().unwrap().to_owned();
    let start = browser.get(&authorize_url(process, &id)).await;
    let fields = [("transaction", start.field("transaction")), ("decision", "continue".to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let to_provider = browser.post(&process.url("/oauth/consent"), &fields).await;
    let state = param_of(to_provider.redirect(), "state").unwrap();
    let from_provider = browser.post(&process.url("/oauth/dev-login"), &[("state", &state), ("person", person)]).await;
    let back = browser.get(from_provider.redirect()).await;
    let consent = browser.get(back.redirect()).await;
    let code = approve(process, &browser, &consent).await.param("code").unwrap();
    let fields =
        [("grant_type", "authorization_code"), ("client_id", &id), ("code", &code), ("code_verifier", VERIFIER)];
    let tokens = form(&process.url("/oauth/token"), &fields).await;
    (id, tokens)
}

async fn published(process: &Process) -> Vec<String> {
    let jwks: Value = http().get(process.url("/.well-known/jwks.json")).send().await.unwrap().json().await.unwrap();
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Looks until it is so; the gateway looks at its store twice a second.
async fn eventually<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    for _ in 0..2_400 {
        if look().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

async fn call(process: &Process, tokens: &Value) -> u16 {
    initialize(process, tokens["access_token"].as_str().unwrap()).await.status().as_u16()
}

// SEC-3, DISC-19, STORE-11
#[tokio::test]
async fn keys_rotate_beside_a_running_gateway_and_nobody_is_signed_out() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path()).await;
    let (id, tokens) = connect(&process, "member").await;
    let before = published(&process).await;
    assert_eq!(before.len(), 2, "one signs, the next is known already");

    let rotated = answer(folder.path(), &["keys", "rotate"]);
    assert_eq!(rotated.as_array().unwrap().len(), 2, "the signing key and the derivation key: {rotated}");
    let promoted = rotated[0]["id"].as_str().unwrap();
    assert!(before.iter().any(|kid| kid == promoted), "what takes over was published before");
    let again = doorward(folder.path(), &["keys", "rotate"]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("under way"));

    eventually("the new next key is published", async || published(&process).await.len() == 3).await;
    let after = published(&process).await;
    assert!(before.iter().all(|kid| after.contains(kid)), "and the others still are");
    assert_eq!(call(&process, &tokens).await, 200);
    let next = refresh(&process, &id, &tokens).await;
    assert_eq!(call(&process, &next).await, 200);

    let listed = answer(folder.path(), &["keys", "list"]);
    let states = |kind: &str| -> Vec<String> {
        let keys = listed.as_array().unwrap().iter().filter(|key| key["kind"] == kind);
        keys.map(|key| key["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states("signing"), ["next", "next", "current"]);
    assert!(!listed.to_string().contains("sealed\":"), "no key material: {listed}");
}

// STORE-11
#[tokio::test]
async fn a_command_finds_no_store_and_says_so_instead_of_making_one() {
    let folder = tempfile::tempdir().unwrap();
    let output = doorward(folder.path(), &["keys", "list"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("there is no database at doorward.db"), "{text}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

// REV-5, REV-6, STORE-11
#[tokio::test]
async fn a_grant_that_an_operator_revokes_is_refused_by_the_running_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path()).await;
    let (_, first) = connect(&process, "member").await;
    let (client, second) = connect(&process, "admin").await;
    assert_eq!((call(&process, &first).await, call(&process, &second).await), (200, 200));

    let listed = answer(folder.path(), &["grants", "list"]);
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    let email = |client_id: Option<&str>| -> String {
        let mut grants = listed.as_array().unwrap().iter();
        let grant = grants.find(|grant| client_id.is_none_or(|id| grant["clientId"] == id)).unwrap();
        grant["user"].as_str().unwrap().to_owned()
    };
    let admin = email(Some(&client));
    assert!(admin.contains('@'), "{admin}");
    // Nothing is given, or nothing fits: nothing ends.
    assert!(!doorward(folder.path(), &["grants", "revoke"]).status.success());
    assert!(!doorward(folder.path(), &["grants", "revoke", "--user", "nobody@example.com"]).status.success());
    for nothing in [["--slug", "other"], ["--client", "dcr_other"], ["--before", "2020-01-01T00:00:00Z"]] {
        let ended = answer(folder.path(), &[["grants", "revoke"], nothing].concat());
        assert_eq!(ended["revoked"], json!([]), "{nothing:?}");
    }
    assert_eq!(call(&process, &second).await, 200);

    let who = ["grants", "revoke", "--user", &admin.to_uppercase(), "--slug", "demo", "--as", "alice"];
    assert_eq!(answer(folder.path(), &who)["revoked"].as_array().unwrap().len(), 1);
    eventually("the token is refused", async || call(&process, &second).await == 401).await;
    assert_eq!(call(&process, &first).await, 200, "the other person's is not");
    let left = answer(folder.path(), &["grants", "list"]);
    assert_eq!(left.as_array().unwrap().len(), 1);

    let trail = answer(folder.path(), &["audit", "tail", "-n", "1"]);
    let record = &trail[0];
    assert_eq!((&record["event"], &record["operator"]), (&json!("admin_grant_revoked"), &json!("alice")), "{record}");
    assert_eq!((&record["clientId"], &record["route"]), (&json!(client), &json!("/mcp/demo")));
    let verified = answer(folder.path(), &["audit", "verify"]);
    assert!(verified.as_array().unwrap().iter().all(|chain| chain["fault"].is_null()), "{verified}");
    let exported = doorward(folder.path(), &["audit", "export"]);
    let lines = String::from_utf8(exported.stdout).unwrap();
    assert!(lines.lines().count() > 5 && lines.lines().all(|line| line.starts_with("{\"chain\"")));
}

// REV-5
#[tokio::test]
async fn a_client_that_an_operator_deletes_is_gone_with_its_grants() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path()).await;
    let (client, tokens) = connect(&process, "member").await;
    let listed = answer(folder.path(), &["clients", "list"]);
    assert_eq!((&listed[0]["id"], &listed[0]["liveGrants"]), (&json!(client), &json!(1)));
    let shown = answer(folder.path(), &["clients", "show", &client]);
    assert_eq!((&shown["id"], shown["grants"].as_array().unwrap().len()), (&json!(client), 1));
    assert!(!doorward(folder.path(), &["clients", "show", "dcr_other"]).status.success());
    for (list, columns) in [("clients", "NAME GRANTS LAST USED ID"), ("grants", "ID USER ROUTE SINCE STATE CLIENT")] {
        let text = String::from_utf8(doorward(folder.path(), &[list, "list"]).stdout).unwrap();
        let (head, rest) = text.split_once('\n').unwrap();
        assert_eq!(head.split_whitespace().collect::<Vec<_>>().join(" "), columns);
        assert!(rest.trim_end().ends_with(&client), "what is long stands last: {text}");
    }
    let refused = doorward(folder.path(), &["grants", "list", "--before", "yesterday"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("must be a moment such as 2026-07-01T00:00:00Z"), "{said}");

    assert_eq!(answer(folder.path(), &["clients", "delete", &client])["grantsRevoked"], 1);
    eventually("the token is refused", async || call(&process, &tokens).await == 401).await;
    assert_eq!(answer(folder.path(), &["clients", "list"]), json!([]));
    let start = Browser::new().get(&authorize_url(&process, &client)).await;
    assert_eq!(start.status, 400, "its id opens nothing any more");
}

/// Runs `sql` on the store of `doorward dev`.
async fn in_store(folder: &Path, sql: &'static str) {
    use sqlx::Connection as _;
    let url = format!("sqlite://{}", folder.join(".doorward/doorward.db").display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query(sql).execute(&mut database).await.unwrap();
}

// REV-5
#[tokio::test]
async fn connections_are_listed_and_deleted_and_a_link_connects_a_shared_one() {
    const ROWS: &str = "INSERT INTO upstream_connections (id, upstream_id, subject_id, server, sealed, scope, \
         has_refresh_token, version, generation, connected_at, used_at, needs_consent) VALUES \
         ('con_1', 'notes', 'usr_1', 'https://mcp.example/mcp', x'01', 'read', 1, 1, 1, 1000, unixepoch(), NULL), \
         ('con_2', 'notes', 'usr_2', 'https://mcp.example/mcp', x'01', 'read', 1, 1, 1, 1000, unixepoch(), 'refused'), \
         ('con_3', 'crm', NULL, 'https://crm.example/mcp', x'01', '', 0, 1, 1, 1000, unixepoch(), NULL)";
    const REGISTRATIONS: &str = "INSERT INTO upstream_registrations (id, upstream_id, sealed, used_at) VALUES \
         ('reg_1', 'notes', x'01', unixepoch()), ('reg_2', 'crm', x'01', unixepoch())";
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path()).await;
    in_store(folder.path(), ROWS).await;
    in_store(folder.path(), REGISTRATIONS).await;
    let listed = answer(folder.path(), &["connections", "list"]);
    let ids = |listed: &Value| -> Vec<String> {
        listed.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&listed), ["con_1", "con_2", "con_3"]);
    assert_eq!((&listed[1]["state"], &listed[2]["user"]), (&json!("refused: connect again"), &json!("everyone")));
    let shown = String::from_utf8(doorward(folder.path(), &["connections", "list"]).stdout).unwrap();
    assert!(shown.starts_with("ID     UPSTREAM  USER"), "{shown}");
    assert_eq!(ids(&answer(folder.path(), &["connections", "list", "--shared"])), ["con_3"]);
    assert_eq!(ids(&answer(folder.path(), &["connections", "list", "--user", "usr_2"])), ["con_2"]);

    assert!(!doorward(folder.path(), &["connections", "delete"]).status.success(), "not all by mistake");
    let deleted = answer(folder.path(), &["connections", "delete", "--upstream", "notes", "con_1", "con_3"]);
    assert_eq!(deleted, json!({ "deleted": ["con_1"] }));
    assert_eq!(ids(&answer(folder.path(), &["connections", "list"])), ["con_2", "con_3"]);
    let forget = ["connections", "delete", "--upstream", "notes", "--registration"];
    assert!(!doorward(folder.path(), &[&forget[..], &["con_2"]].concat()).status.success(), "all of it or nothing");
    assert_eq!(answer(folder.path(), &forget), json!({ "deleted": ["con_2"], "registrations": 1 }));
    assert_eq!(answer(folder.path(), &forget), json!({ "deleted": [], "registrations": 0 }));

    let args = ["connections", "connect", "crm", "--public-url", &process.url("")];
    let link = answer(folder.path(), &args);
    let link = link["link"].as_str().unwrap();
    assert!(link.starts_with(&process.url("/auth/connections/crm/connect?ticket=")), "{link}");
    let trail = answer(folder.path(), &["audit", "tail"]);
    for event in ["admin_connection_deleted", "admin_upstream_registration_deleted", "admin_connect_link_made"] {
        assert!(trail.as_array().unwrap().iter().any(|record| record["event"] == event), "{trail}");
    }
}

//! A project of Zuplo's MCP Gateway, as its guides write one, in `doorward`: unchanged, from the check to a call.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use doorward::domain::{Clock as _, SystemClock};
use rstest::rstest;
use serde_json::{Value, json};

use crate::browser::{Browser, param_of};
use crate::examples;
use crate::fake_upstream::FakeUpstream;
use crate::person::Person;
use crate::process::{Process, REDIRECT, VERIFIER, approve, authorize_url, form, http as client};
use crate::upstream::Upstream;

fn check(project: &Path, environment: &BTreeMap<String, String>) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
    let output = command.env_clear().envs(environment).current_dir(project).arg("check").output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// The access token of somebody who went the whole way to a route.
async fn sign_in(process: &Process, path: &str) -> String {
    let browser = Browser::new();
    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    let registered = client().post(process.url("/oauth/register")).json(&body).send().await.unwrap();
    let registered: Value = registered.json().await.unwrap();
    let id = registered["client_id"].as_str().unwrap();
    let resource: String = url::form_urlencoded::byte_serialize(process.url(path).as_bytes()).collect();
    let start = browser.get(&format!("{}&resource={resource}", authorize_url(process, id))).await;
    let transaction = start.field("transaction");
    let fields = [("transaction", transaction.as_str()), ("decision", "continue")];
    let to_provider = browser.post(&process.url("/oauth/consent"), &fields).await;
    let state = param_of(to_provider.redirect(), "state").unwrap();
    let fields = [("state", state.as_str()), ("person", "member")];
    let from_provider = browser.post(&process.url("/oauth/dev-login"), &fields).await;
    let back = browser.get(from_provider.redirect()).await;
    let consent = browser.get(back.redirect()).await;
    let code = approve(process, &browser, &consent).await.param("code").unwrap();
    let fields =
        [("grant_type", "authorization_code"), ("client_id", id), ("code", &code), ("code_verifier", VERIFIER)];
    form(&process.url("/oauth/token"), &fields).await["access_token"].as_str().unwrap().to_owned()
}

// OPS-1
#[rstest]
#[case::keys_and_filters("examples/zuplo")]
#[case::two_oauth_upstreams("examples/zuplo-upstreams")]
fn a_project_passes_the_check_as_it_is_and_what_zuplo_alone_reads_is_noted(#[case] project: &str) {
    let project = examples::root().join(project);
    let (valid, said) = check(&project, &examples::environment(&project));
    assert!(valid && said.contains("the configuration is valid: 2 routes"), "{said}");
    for noted in ["zuplo.jsonc is not used by doorward", "modules is not used by doorward"] {
        assert!(said.contains(noted), "{said}");
    }
}

// OPS-1
#[test]
fn a_module_of_the_project_is_refused_with_what_to_do_instead() {
    let folder = tempfile::tempdir().unwrap();
    let project = examples::root().join("examples/zuplo");
    examples::copy(&project, folder.path());
    let path = folder.path().join("config/policies.json");
    let own = r#"{
      "name": "own-code",
      "policyType": "custom-code-inbound",
      "handler": { "export": "default", "module": "$import(./modules/own-code)", "options": {} }
    },"#;
    let policies = fs::read_to_string(&path).unwrap().replacen("\"policies\": [", &format!("\"policies\": [{own}"), 1);
    fs::write(path, policies).unwrap();
    let (valid, said) = check(folder.path(), &examples::environment(&project));
    assert!(!valid && said.contains("TypeScript modules of a project cannot run in doorward"), "{said}");
    assert!(said.contains("use a built-in policy type") && said.contains("1 problem in the configuration"), "{said}");
}

fn this_minute() -> i64 {
    SystemClock.now().0 / 60
}

// PROX-1, LIM-2, CHAL-1
#[tokio::test]
async fn a_project_serves_from_the_login_to_a_call_with_the_servers_own_key() {
    let upstream = Upstream::ok().await;
    let project = examples::root().join("examples/zuplo");
    let folder = tempfile::tempdir().unwrap();
    examples::copy(&project, folder.path());
    let mut environment = examples::without_credentials(examples::environment(&project));
    environment.insert("UPSTREAM_MCP_URL".to_owned(), upstream.url());
    environment.insert("SEARCH_API_KEY".to_owned(), "key-of-the-server".to_owned());
    let process = Process::start_in(folder.path(), environment).await;
    let call = async |token: &str| {
        let request = client().post(process.url("/mcp/search-v1")).bearer_auth(token);
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
        request.header("accept", "application/json, text/event-stream").json(&message).send().await.unwrap()
    };
    assert_eq!(call("none").await.status(), 401);
    let token = sign_in(&process, "/mcp/search-v1").await;
    assert_eq!(call(&token).await.status(), 200);
    let seen = upstream.last();
    assert_eq!(seen.headers["x-api-key"], "key-of-the-server");
    assert!(!seen.headers.contains_key("authorization"), "{:?}", seen.headers);
    let first_minute = this_minute();
    let mut served = 1;
    let refused = loop {
        let status = call(&token).await.status();
        if status != 200 {
            break status;
        }
        served += 1;
        assert!(served < 300, "nobody is refused");
    };
    assert_eq!(refused, http::StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(upstream.seen().len(), served);
    // Where the minute turned meanwhile, what was called in the first counts less with every second of the next.
    assert!(served == 100 || served > 100 && this_minute() > first_minute, "a hundred a minute, not {served}");
}

// EXT-6: the project of the guide, but for the addresses of its two servers, whose doubles stand here.
#[tokio::test]
async fn a_project_serves_two_servers_each_with_an_account_of_the_person() {
    let (linear, stripe) = (FakeUpstream::start().await, FakeUpstream::start().await);
    linear.behave(|behaviour| behaviour.no_path_metadata = true);
    stripe.behave(|behaviour| behaviour.at_root = true);
    let project = examples::root().join("examples/zuplo-upstreams");
    let folder = tempfile::tempdir().unwrap();
    examples::copy(&project, folder.path());
    for file in ["config/policies.json", "config/routes.oas.json"] {
        let path = folder.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("https://mcp.linear.app", &linear.base());
        fs::write(path, text.replace("https://mcp.stripe.com", &stripe.base())).unwrap();
    }
    let environment = examples::without_credentials(examples::environment(&project));
    let process = Process::start_in(folder.path(), environment).await;
    let person = Person::new(&process.origin).await;
    for (double, upstream, account) in [(&linear, "linear", "ada-at-linear"), (&stripe, "stripe", "ada-at-stripe")] {
        double.sign_in(account);
        let slug = format!("{upstream}-v1");
        let token = person.connect(&slug, upstream).await;
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "whoami" } });
        let request = client().post(process.url(&format!("/mcp/{slug}"))).bearer_auth(&token);
        let request = request.header("accept", "application/json, text/event-stream").json(&message);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["result"]["content"][0]["text"], account, "{answer}");
        assert_eq!(double.carried_out().len(), 1, "one call, and none of the other server");
        assert_eq!(double.registrations().len(), 1, "the gateway registered by itself");
    }
}

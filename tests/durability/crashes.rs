//! `kill -9` between any two steps of the journey loses nothing (STORE-2, REFR-11): the real binary, a real
//! SIGKILL, the same store.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::browser::{Browser, param_of};
use crate::process::{Process, REDIRECT, VERIFIER, approve, authorize_url, form, http, initialize, refresh};

// STORE-2, STORE-1, SEC-4, OPS-10: an empty folder, an empty environment, and a crash after each step.
#[tokio::test]
async fn a_crash_between_any_two_steps_of_the_journey_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path()).await;
    let browser = Browser::new();

    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    let registered = http().post(process.url("/oauth/register")).json(&body).send().await.unwrap();
    let registered: Value = registered.json().await.unwrap();
    let id = registered["client_id"].as_str().unwrap().to_owned();
    process.crash().await;

    let start = browser.get(&authorize_url(&process, &id)).await;
    process.crash().await;
    let transaction = start.field("transaction");
    let fields = [("transaction", transaction.as_str()), ("decision", "continue")];
    let to_provider = browser.post(&process.url("/oauth/consent"), &fields).await;
    process.crash().await;

    let state = param_of(to_provider.redirect(), "state").unwrap();
    let fields = [("state", state.as_str()), ("person", "member")];
    let from_provider = browser.post(&process.url("/oauth/dev-login"), &fields).await;
    process.crash().await;
    let back = browser.get(from_provider.redirect()).await;
    process.crash().await;

    let consent = browser.get(back.redirect()).await;
    process.crash().await;
    let approved = approve(&process, &browser, &consent).await;
    process.crash().await;
    // The person presses Approve again, because the first answer may never have arrived (CONS-12).
    assert_eq!(approve(&process, &browser, &consent).await.location, approved.location);
    process.crash().await;

    let code = approved.param("code").unwrap();
    let fields =
        [("grant_type", "authorization_code"), ("client_id", &id), ("code", &code), ("code_verifier", VERIFIER)];
    let tokens = form(&process.url("/oauth/token"), &fields).await;
    process.crash().await;
    assert_eq!(initialize(&process, tokens["access_token"].as_str().unwrap()).await.status(), 200);

    // REFR-7, REFR-11: the answer to a refresh is lost in the crash; the same token answers again, alike.
    let first = refresh(&process, &id, &tokens).await;
    process.crash().await;
    let again = refresh(&process, &id, &tokens).await;
    assert_eq!(first["refresh_token"], again["refresh_token"]);
    process.crash().await;
    let next = refresh(&process, &id, &again).await;
    assert_eq!(initialize(&process, next["access_token"].as_str().unwrap()).await.status(), 200);

    let fields = [("client_id", id.as_str()), ("token", next["refresh_token"].as_str().unwrap())];
    form(&process.url("/oauth/revoke"), &fields).await;
    process.crash().await;
    // Revocation survives as well: the new process has read it from the store.
    let mut status = 0;
    for _ in 0..2_400 {
        status = initialize(&process, next["access_token"].as_str().unwrap()).await.status().as_u16();
        if status == 401 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(status, 401);
}

// STORE-11
#[tokio::test]
async fn a_second_dev_in_the_same_folder_says_why_it_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let _running = Process::start(folder.path()).await;
    let second = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .env_clear()
        .current_dir(folder.path())
        .args(["dev", "--metrics-listen", "off", "--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && text.contains("another doorward already runs"), "{text}");
}

// The folder and its files are for this user alone, and out of version control (gateway.md §1).
#[cfg(unix)]
#[tokio::test]
async fn the_project_folder_keeps_its_secrets_to_itself() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let _running = Process::start(folder.path()).await;
    let home = folder.path().join(".doorward");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home), 0o700);
    for entry in std::fs::read_dir(&home).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    assert_eq!(std::fs::read_to_string(home.join(".gitignore")).unwrap(), "*\n");
}

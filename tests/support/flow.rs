//! The journey of a client, step by step, against the development login.

use doorward::crypto::{base64url, sha256};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use super::browser::{Browser, Page, client, param_of};
use super::gateway::TestGateway;

pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const REDIRECT: &str = "http://127.0.0.1:7777/callback";

/// A public client that registered itself.
pub struct TestClient<'g> {
    pub gateway: &'g TestGateway,
    pub http: Client,
    pub id: String,
    pub redirect_uri: String,
    pub secret: Option<String>,
}

impl<'g> TestClient<'g> {
    pub async fn register(gateway: &'g TestGateway) -> Self {
        let body =
            json!({ "client_name": "Test client", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
        Self::register_with(gateway, &body).await
    }

    /// Registers with any body; the first redirect URI is used.
    pub async fn register_with(gateway: &'g TestGateway, body: &Value) -> Self {
        let http = client();
        let response = http.post(gateway.url("/oauth/register")).json(body).send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::CREATED);
        let registered: Value = response.json().await.expect("JSON");
        Self {
            gateway,
            http,
            id: registered["client_id"].as_str().expect("an id").to_owned(),
            redirect_uri: registered["redirect_uris"][0].as_str().expect("a redirect URI").to_owned(),
            secret: registered["client_secret"].as_str().map(str::to_owned),
        }
    }

    /// The authorization URL for a route, with further or other parameters (an empty value leaves one out).
    pub fn authorize_url(&self, slug: &str, changes: &[(&str, &str)]) -> String {
        let challenge = base64url(&sha256(VERIFIER.as_bytes()));
        let resource = self.gateway.resource(slug);
        let mut params = vec![
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", &self.redirect_uri),
            ("state", "st-1"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", &resource),
            ("scope", "mcp:tools"),
        ];
        for (name, value) in changes {
            params.retain(|(known, _)| known != name);
            if !value.is_empty() {
                params.push((name, value));
            }
        }
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        self.gateway.url(&format!("/oauth/authorize?{query}"))
    }

    /// From the authorization URL to the consent page, as the ready person `person`.
    pub async fn consent_page(&self, browser: &Browser, url: &str, person: &str) -> Page {
        let mut page = browser.get(url).await;
        if page.status == StatusCode::OK {
            let transaction = page.field("transaction");
            let consent = self.gateway.url("/oauth/consent");
            page = browser.post(&consent, &[("transaction", &transaction), ("decision", "continue")]).await;
        }
        if page.redirect().contains("/oauth/dev-login") {
            page = self.log_in(browser, page.redirect(), person).await;
        }
        browser.get(page.redirect()).await
    }

    /// The development login and the callback; gives the callback's answer.
    pub async fn log_in(&self, browser: &Browser, provider_url: &str, person: &str) -> Page {
        let login = browser.get(provider_url).await;
        assert_eq!(login.status, StatusCode::OK, "{}", login.text);
        let state = param_of(provider_url, "state").expect("a state");
        let url = self.gateway.url("/oauth/dev-login");
        let back = browser.post(&url, &[("state", &state), ("person", person)]).await;
        browser.get(back.redirect()).await
    }

    /// Submits the consent page.
    pub async fn decide(&self, browser: &Browser, page: &Page, decision: &str) -> Page {
        self.submit(browser, page, decision, &[]).await
    }

    /// Approves without the scopes that the person clears.
    pub async fn decide_without(&self, browser: &Browser, page: &Page, cleared: &[&str]) -> Page {
        self.submit(browser, page, "approve", cleared).await
    }

    async fn submit(&self, browser: &Browser, page: &Page, decision: &str, cleared: &[&str]) -> Page {
        let (transaction, csrf) = (page.field("transaction"), page.field("csrf"));
        let mut fields = vec![("transaction", transaction.as_str()), ("csrf", &csrf), ("decision", decision)];
        let boxes = page.checkboxes();
        assert!(cleared.iter().all(|scope| boxes.iter().any(|one| one == scope)), "{cleared:?} of {boxes:?}");
        let offered = if boxes.is_empty() { String::new() } else { page.field("offered") };
        fields.push(("offered", &offered));
        fields.extend(boxes.iter().filter(|one| !cleared.contains(&one.as_str())).map(|one| ("scope", one.as_str())));
        browser.post(&self.gateway.url("/oauth/consent"), &fields).await
    }

    /// The whole browser part, approved by the admin: a code.
    pub async fn code(&self, slug: &str) -> String {
        let browser = Browser::new();
        let page = self.consent_page(&browser, &self.authorize_url(slug, &[]), "admin").await;
        self.decide(&browser, &page, "approve").await.param("code").expect("a code")
    }

    /// Posts to the token endpoint with the client's own way of authentication.
    pub async fn token(&self, fields: &[(&str, &str)]) -> Response {
        let mut form: Vec<(&str, &str)> = vec![("client_id", &self.id)];
        if let Some(secret) = &self.secret {
            form.push(("client_secret", secret));
        }
        form.extend_from_slice(fields);
        post_form(&self.http, &self.gateway.url("/oauth/token"), &form).await
    }

    pub async fn redeem(&self, code: &str) -> Response {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.redirect_uri.as_str()),
            ("code_verifier", VERIFIER),
        ];
        self.token(&fields).await
    }

    pub async fn refresh(&self, refresh_token: &str) -> Response {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    /// The whole journey for a route: the token answer.
    pub async fn connect(&self, slug: &str) -> Value {
        let response = self.redeem(&self.code(slug).await).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.expect("JSON")
    }

    /// A call of a route with an access token.
    pub async fn call(&self, slug: &str, access_token: &str) -> Response {
        self.http
            .post(self.gateway.resource(slug))
            .bearer_auth(access_token)
            .header("accept", "application/json, text/event-stream")
            .json(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }))
            .send()
            .await
            .expect("an answer")
    }
}

pub async fn post_form(http: &Client, url: &str, fields: &[(&str, &str)]) -> Response {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    http.post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .expect("an answer")
}

/// Checks an OAuth error answer: status, code, JSON, never kept by anyone (CODE-1). Gives the body.
pub async fn oauth_error(response: Response, status: u16, code: &str) -> Value {
    let seen = response.status().as_u16();
    assert!(response.headers()["cache-control"].to_str().unwrap().contains("no-store"));
    let body: Value = response.json().await.expect("JSON");
    assert_eq!((seen, body["error"].as_str()), (status, Some(code)), "{body}");
    body
}

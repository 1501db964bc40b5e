//! Somebody with a browser and an application, who signs in, connects what is behind, and approves.

use serde_json::{Value, json};

use crate::browser::{Browser, Page, param_of};
use crate::process::{REDIRECT, VERIFIER, form, http};

pub struct Person {
    /// The gateway's.
    origin: String,
    pub browser: Browser,
    client: String,
}

impl Person {
    /// With an application that has just registered.
    pub async fn new(origin: &str) -> Self {
        let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
        let registered = http().post(format!("{origin}/oauth/register")).json(&body).send().await.unwrap();
        let registered: Value = registered.json().await.unwrap();
        let client = registered["client_id"].as_str().unwrap().to_owned();
        Self { origin: origin.to_owned(), browser: Browser::new(), client }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Follows redirects to a page, or to the application. A development login it passes as a member.
    pub async fn follow(&self, mut page: Page) -> Page {
        for _ in 0..12 {
            let Some(next) = page.location.clone().filter(|next| !next.starts_with(REDIRECT)) else { return page };
            page = self.browser.get(&next).await;
            if next.contains("/oauth/dev-login") {
                let state = param_of(&next, "state").unwrap();
                let fields = [("state", state.as_str()), ("person", "member")];
                page = self.browser.post(&self.url("/oauth/dev-login"), &fields).await;
            }
        }
        panic!("it never ends: {}", page.url);
    }

    /// From the application to the consent page of a route.
    pub async fn consent_page(&self, slug: &str) -> Page {
        let challenge = doorward::crypto::base64url(&doorward::crypto::sha256(VERIFIER.as_bytes()));
        let resource = self.url(&format!("/mcp/{slug}"));
        let params = [
            ("response_type", "code"),
            ("client_id", &self.client),
            ("redirect_uri", REDIRECT),
            ("state", "s"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", &resource),
        ];
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        let page = self.follow(self.browser.get(&self.url(&format!("/oauth/authorize?{query}"))).await).await;
        if !page.text.contains(r#"value="continue""#) {
            return page;
        }
        let transaction = page.field("transaction");
        let fields = [("transaction", transaction.as_str()), ("decision", "continue")];
        self.follow(self.browser.post(&self.url("/oauth/consent"), &fields).await).await
    }

    /// Presses Connect on the consent page: away to the authorization server of the upstream.
    pub async fn press_connect(&self, upstream: &str, consent: &Page) -> Page {
        let (transaction, csrf) = (consent.field("transaction"), consent.field("csrf"));
        let fields = [("transaction", transaction.as_str()), ("csrf", &csrf), ("step", "connect")];
        self.browser.post(&self.url(&format!("/auth/connections/{upstream}/connect")), &fields).await
    }

    /// Presses Approve: the access token of the application.
    pub async fn approve(&self, consent: &Page) -> String {
        let (transaction, csrf) = (consent.field("transaction"), consent.field("csrf"));
        let fields = [("transaction", transaction.as_str()), ("csrf", &csrf), ("decision", "approve")];
        let approved = self.browser.post(&self.url("/oauth/consent"), &fields).await;
        let code = approved.param("code").unwrap_or_else(|| panic!("no code from {}", approved.redirect()));
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", &self.client),
            ("code", &code),
            ("code_verifier", VERIFIER),
        ];
        form(&self.url("/oauth/token"), &fields).await["access_token"].as_str().unwrap().to_owned()
    }

    /// The whole way: an access token for a route whose server is connected.
    pub async fn connect(&self, slug: &str, upstream: &str) -> String {
        let consent = self.consent_page(slug).await;
        assert!(waits(&consent), "{}", consent.text);
        let back = self.follow(self.press_connect(upstream, &consent).await).await;
        assert!(!waits(&back), "{}", back.text);
        self.approve(&back).await
    }
}

/// Whether Approve waits for a connection.
pub fn waits(page: &Page) -> bool {
    page.text.contains(r#"value="approve" disabled"#)
}

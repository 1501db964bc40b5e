//! Forms for the token endpoint, one a line, sent one after the other (CODE-1 … CODE-8, CODE-12, CODE-15, REFR-3,
//! REFR-5).
//!
//! A form may begin with the value of an `Authorization` header and a tab. `+60` lets seconds pass. `$CODE` stands for
//! an approved code of the client `app`, `$SERVED` for one of `service`, `$VERIFIER` for their verifier, `$FIRST` and
//! `$LAST` for the first and the newest refresh token that this input was answered with.

use http::{Method, Request, Response, header};
use http_body_util::Full;
use serde_json::Value;

use super::world::{SECRET, VERIFIER, World, world};

/// The most that is looked at of one input.
const FORMS: usize = 8;
const ERRORS: [&str; 9] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "temporarily_unavailable",
    "server_error",
];

/// The codes of one input and what was answered to it.
struct Session {
    codes: [(&'static str, Option<String>); 2],
    refresh_tokens: Vec<String>,
    redeemed: usize,
}

pub fn run(data: &[u8]) {
    let mut world = world();
    let mut session = Session { codes: [("$CODE", None), ("$SERVED", None)], refresh_tokens: Vec::new(), redeemed: 0 };
    for line in data.split(|byte| *byte == b'\n').take(FORMS) {
        if let Some(seconds) = line.strip_prefix(b"+") {
            world.advance(
                std::str::from_utf8(seconds).ok().and_then(|text| text.parse::<u16>().ok()).unwrap_or(1).into(),
            );
            continue;
        }
        let at = line.iter().position(|byte| *byte == b'\t');
        let form = String::from_utf8_lossy(&line[at.map_or(0, |at| at + 1)..]).into_owned();
        session.send(&mut world, at.map(|at| &line[..at]), &form);
    }
    assert!(session.redeemed <= session.codes.iter().filter(|(_, code)| code.is_some()).count(), "a code serves once");
}

impl Session {
    fn send(&mut self, world: &mut World, authorization: Option<&[u8]>, form: &str) {
        let form = self.filled_in(world, form);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri("/oauth/token")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(value) = authorization.and_then(|value| http::HeaderValue::from_bytes(value).ok()) {
            request = request.header(header::AUTHORIZATION, value);
        }
        let answer = world.send(request.body(Full::from(form.clone())).unwrap());
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        let body: Value = serde_json::from_str(answer.body()).unwrap();
        assert!(body.as_object().unwrap().values().all(|member| !member.is_null()), "{body}");
        match answer.status().as_u16() {
            200 => self.granted(&body, &form),
            _ => self.refused(&answer, &body, authorization.is_some()),
        }
    }

    fn filled_in(&mut self, world: &mut World, form: &str) -> String {
        let mut form = form.replace("$VERIFIER", VERIFIER).replace("$SECRET", SECRET);
        for ((name, code), client) in self.codes.iter_mut().zip(["app", "service"]) {
            if form.contains(*name) {
                form = form.replace(*name, code.get_or_insert_with(|| world.approved_code(client)));
            }
        }
        let token = |token: Option<&String>| token.map_or("rt_none", String::as_str).to_owned();
        form.replace("$FIRST", &token(self.refresh_tokens.first())).replace("$LAST", &token(self.refresh_tokens.last()))
    }

    fn granted(&mut self, body: &Value, form: &str) {
        let asked: Vec<(String, String)> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        let one = |name: &str| {
            asked.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
        };
        match one("grant_type") {
            Some("authorization_code") => {
                assert!(self.codes.iter().any(|(_, code)| code.is_some() && code.as_deref() == one("code")));
                assert_eq!(one("code_verifier"), Some(VERIFIER));
                self.redeemed += 1;
            }
            Some("refresh_token") => {
                let presented = one("refresh_token").unwrap();
                assert!(self.refresh_tokens.iter().any(|known| known == presented));
                assert_ne!(body["refresh_token"], presented, "every refresh rotates");
            }
            other => panic!("a token for {other:?}"),
        }
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(body["resource"], "https://gw.example/mcp/one");
        assert!((1..=900).contains(&body["expires_in"].as_i64().unwrap()));
        assert_eq!(body["access_token"].as_str().unwrap().split('.').count(), 3);
        let scopes: Vec<_> = body["scope"].as_str().unwrap().split(' ').collect();
        assert!(scopes.iter().all(|scope| ["mcp:tools", "read"].contains(scope)), "{scopes:?} exceed the grant");
        self.refresh_tokens.push(body["refresh_token"].as_str().unwrap().to_owned());
    }

    /// A client learns what is wrong, and nobody learns a secret.
    fn refused(&self, answer: &Response<String>, body: &Value, authenticated: bool) {
        let (status, error) = (answer.status().as_u16(), body["error"].as_str().unwrap());
        assert!(ERRORS.contains(&error) && [400, 401, 413].contains(&status), "{status} {error}");
        assert_eq!(status == 401, error == "invalid_client");
        assert!(authenticated || answer.headers().get(header::WWW_AUTHENTICATE).is_none());
        let description = body["error_description"].as_str().unwrap();
        assert!(description.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)));
        let codes = self.codes.iter().filter_map(|(_, code)| code.as_deref());
        let secrets = codes.chain(self.refresh_tokens.iter().map(String::as_str)).chain([SECRET, VERIFIER]);
        assert!(secrets.into_iter().all(|secret| !answer.body().contains(secret)), "{}", answer.body());
    }
}

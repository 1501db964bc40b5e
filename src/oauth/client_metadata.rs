//! Client metadata (RFC 7591 §2): the members by which a client describes itself, read and checked one by one.
//!
//! Shared by registration and by client-id metadata documents, which differ only in what they demand. A
//! member that is null or an empty text counts as absent, an unknown one is ignored, a wrong type is an error
//! that names it (DCR-2, DCR-3, DCR-5). Must not decide what a client may do.

use serde_json::{Map, Value};
use url::Url;

use super::redirect_uri::RedirectUri;
use crate::domain::client::{ClientKeys, GrantType};

/// Redirect URIs one client may have (DCR-12).
const MAX_REDIRECT_URIS: usize = 20;
/// The longest text, in bytes (DCR-12).
const MAX_TEXT: usize = 2048;
/// The longest name that is shown, in characters.
const MAX_NAME: usize = 200;
/// Members that hold key material or a signed statement: one value of theirs may be longer than a text.
const UNBOUNDED: [&str; 2] = ["jwks", "software_statement"];
/// JWK members that only a private or symmetric key has (RFC 7518 §6).
const SECRET_KEY_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What is wrong with a client's description of itself. `Display` is for its maker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    #[error("the client metadata is not a JSON object")]
    NotAnObject,
    #[error("`{member}` {problem}")]
    Member { member: String, problem: String },
}

impl MetadataError {
    /// `problem` continues a sentence that begins with the member's name.
    pub fn member(member: &str, problem: impl Into<String>) -> Self {
        Self::Member { member: excerpt(member), problem: problem.into() }
    }
}

/// The members of one description.
#[derive(Debug, Clone)]
pub struct Members(Map<String, Value>);

impl Members {
    /// # Errors
    /// [`MetadataError`] for what is no JSON object, or holds a text over 2 KiB.
    pub fn from_json(json: &[u8]) -> Result<Self, MetadataError> {
        let Ok(Value::Object(mut members)) = serde_json::from_slice(json) else {
            return Err(MetadataError::NotAnObject);
        };
        members.retain(|_, value| !value.is_null());
        for (name, value) in members.iter().filter(|(name, _)| !UNBOUNDED.contains(&name.as_str())) {
            if name.len() > MAX_TEXT || holds_long_text(value) {
                return Err(MetadataError::member(name, "holds a text of more than 2 KiB"));
            }
        }
        Ok(Self(members))
    }

    /// The names of all members that are not null.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn text(&self, name: &str) -> Result<Option<&str>, MetadataError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(MetadataError::member(name, "must be a string")),
        }
    }

    pub fn texts(&self, name: &str) -> Result<Option<Vec<&str>>, MetadataError> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let texts = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
        texts.map(Some).ok_or_else(|| MetadataError::member(name, "must be an array of strings"))
    }

    /// `client_name`, fit to be shown: without characters that control or reorder text, and bounded.
    pub fn client_name(&self) -> Result<Option<String>, MetadataError> {
        let Some(name) = self.text("client_name")? else { return Ok(None) };
        let shown: String = name.chars().filter(|char| !reorders_or_controls(*char)).take(MAX_NAME).collect();
        Ok(Some(shown.trim().to_owned()).filter(|name| !name.is_empty()))
    }

    /// A text that is kept for display and policy only.
    pub fn label(&self, name: &str) -> Result<Option<String>, MetadataError> {
        Ok(self.text(name)?.map(str::to_owned))
    }

    /// `redirect_uris`: at least one, each as AUTHZ-4 demands.
    pub fn redirect_uris(&self) -> Result<Vec<RedirectUri>, MetadataError> {
        const NAME: &str = "redirect_uris";
        let texts = self.texts(NAME)?.unwrap_or_default();
        if texts.is_empty() {
            return Err(MetadataError::member(NAME, "must name at least one URI"));
        }
        if texts.len() > MAX_REDIRECT_URIS {
            return Err(MetadataError::member(NAME, format!("names more than {MAX_REDIRECT_URIS} URIs")));
        }
        let parse = |text: &str| {
            RedirectUri::parse(text)
                .map_err(|error| MetadataError::member(NAME, format!("holds {}, which {error}", excerpt(text))))
        };
        texts.into_iter().map(parse).collect()
    }

    /// `grant_types`: those of a person's login when absent (DCR-6, CIMD-11); those that do not exist here fall out.
    pub fn grant_types(&self) -> Result<Vec<GrantType>, MetadataError> {
        const OURS: [GrantType; 3] = [GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::JwtBearer];
        let Some(asked) = self.texts("grant_types")? else { return Ok(OURS[..2].to_vec()) };
        let granted: Vec<_> = OURS.into_iter().filter(|grant| asked.contains(&grant.as_str())).collect();
        if granted.contains(&GrantType::AuthorizationCode) {
            Ok(granted)
        } else {
            Err(MetadataError::member("grant_types", "must include authorization_code"))
        }
    }

    /// `response_types`, when given, must include `code`; there is no other.
    pub fn check_response_types(&self) -> Result<(), MetadataError> {
        match self.texts("response_types")? {
            Some(types) if !types.contains(&"code") => {
                Err(MetadataError::member("response_types", "must include code"))
            }
            _ => Ok(()),
        }
    }

    /// A web page of the client's.
    pub fn web_address(&self, name: &str) -> Result<Option<String>, MetadataError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Some(text.to_owned())),
            _ => Err(MetadataError::member(name, "must be an http or https URL")),
        }
    }

    /// `jwks` or `jwks_uri`: public keys only, and not both (RFC 7591 §2).
    pub fn keys(&self) -> Result<Option<ClientKeys>, MetadataError> {
        match (self.0.get("jwks"), self.text("jwks_uri")?) {
            (Some(_), Some(_)) => Err(MetadataError::member("jwks", "and `jwks_uri` cannot both be given")),
            (Some(jwks), None) => {
                check_public_keys(jwks).map_err(|problem| MetadataError::member("jwks", problem))?;
                Ok(Some(ClientKeys::Inline(jwks.clone())))
            }
            (None, Some(uri)) => match Url::parse(uri) {
                Ok(url) if url.scheme() == "https" && url.username().is_empty() && url.password().is_none() => {
                    Ok(Some(ClientKeys::Uri(uri.to_owned())))
                }
                _ => Err(MetadataError::member("jwks_uri", "must be an https URL without user information")),
            },
            (None, None) => Ok(None),
        }
    }
}

/// Whatever the client sent, short enough for an error message.
pub(super) fn excerpt(text: &str) -> String {
    const SHOWN: usize = 100;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

fn holds_long_text(value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() > MAX_TEXT,
        Value::Array(items) => items.iter().any(holds_long_text),
        Value::Object(members) => members.values().any(holds_long_text),
        _ => false,
    }
}

/// Control characters, and Unicode's invisible marks that turn or join text: they let one name look like
/// another.
fn reorders_or_controls(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn check_public_keys(jwks: &Value) -> Result<(), &'static str> {
    let keys = jwks.get("keys").and_then(Value::as_array).filter(|keys| !keys.is_empty());
    for key in keys.ok_or("must be a JWK set with at least one key")? {
        let key = key.as_object().ok_or("must be a JWK set with at least one key")?;
        if SECRET_KEY_MEMBERS.iter().any(|member| key.contains_key(*member)) {
            return Err("holds a private or symmetric key; register public keys only");
        }
        if !matches!(key.get("kty").and_then(Value::as_str), Some("RSA" | "EC" | "OKP")) {
            return Err("holds a key whose `kty` is none of RSA, EC and OKP");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn members(json: &Value) -> Members {
        Members::from_json(json.to_string().as_bytes()).unwrap()
    }

    fn problem<T: std::fmt::Debug>(result: Result<T, MetadataError>) -> String {
        result.unwrap_err().to_string()
    }

    // DCR-2, DCR-5
    #[test]
    fn null_and_empty_members_are_absent_and_unknown_ones_ignored() {
        let members = members(&json!({"client_name": null, "client_uri": "", "grant_types": null, "x": {"y": 1}}));
        assert_eq!(members.client_name(), Ok(None));
        assert_eq!(members.web_address("client_uri"), Ok(None));
        assert_eq!(members.grant_types(), Ok(vec![GrantType::AuthorizationCode, GrantType::RefreshToken]));
        assert_eq!(members.keys(), Ok(None));
        assert_eq!(members.names().collect::<Vec<_>>(), ["client_uri", "x"]);
    }

    // DCR-3
    #[test]
    fn a_wrong_type_is_an_error_that_names_the_member() {
        let members = members(&json!({
            "client_name": 1, "redirect_uris": "https://a.example", "grant_types": ["authorization_code", 2],
            "response_types": {}, "jwks_uri": [], "client_uri": "javascript:alert(1)",
        }));
        assert_eq!(problem(members.client_name()), "`client_name` must be a string");
        assert_eq!(problem(members.redirect_uris()), "`redirect_uris` must be an array of strings");
        assert_eq!(problem(members.grant_types()), "`grant_types` must be an array of strings");
        assert_eq!(problem(members.check_response_types()), "`response_types` must be an array of strings");
        assert_eq!(problem(members.keys()), "`jwks_uri` must be a string");
        assert_eq!(problem(members.web_address("client_uri")), "`client_uri` must be an http or https URL");
        for text in ["", "[]", "null", "{", "\"x\""] {
            assert_eq!(Members::from_json(text.as_bytes()).unwrap_err(), MetadataError::NotAnObject, "{text}");
        }
    }

    // DCR-12
    #[test]
    fn texts_and_redirect_uris_are_bounded() {
        let long = "x".repeat(MAX_TEXT + 1);
        for json in [json!({"client_name": long}), json!({"contacts": [long]}), json!({"x": {"y": long}})] {
            let error = Members::from_json(json.to_string().as_bytes());
            assert!(problem(error).ends_with("more than 2 KiB"));
        }
        assert!(Members::from_json(json!({"software_statement": long}).to_string().as_bytes()).is_ok());
        let named = |length: usize| Members::from_json(json!({ "x".repeat(length): 1 }).to_string().as_bytes());
        assert!(problem(named(MAX_TEXT + 1)).ends_with("more than 2 KiB"));
        assert!(named(MAX_TEXT).is_ok());
        let just = "x".repeat(MAX_TEXT);
        assert_eq!(members(&json!({"software_id": just})).label("software_id"), Ok(Some(just)));
        let uris: Vec<_> = (0..21).map(|at| format!("https://a.example/{at}")).collect();
        assert!(members(&json!({"redirect_uris": uris[..20]})).redirect_uris().is_ok());
        assert!(problem(members(&json!({"redirect_uris": uris})).redirect_uris()).contains("more than 20"));
    }

    // CONS-8
    #[test]
    fn a_name_cannot_reorder_or_flood_the_page() {
        let name = |text: &str| members(&json!({"client_name": text})).client_name().unwrap();
        assert_eq!(name(" Claude\u{202e}\n Code\u{200b} ").as_deref(), Some("Claude Code"));
        assert_eq!(name("\u{202e}\t"), None);
        assert_eq!(name(&"é".repeat(500)).map(|name| name.chars().count()), Some(MAX_NAME));
    }

    // DCR-3
    #[test]
    fn what_an_error_repeats_is_cut() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"x".repeat(100)), "x".repeat(100));
        assert_eq!(excerpt(&"x".repeat(101)), format!("{}...", "x".repeat(100)));
    }

    // DCR-3
    #[test]
    fn a_web_page_is_one_that_a_browser_can_open() {
        let address = |text: &str| members(&json!({ "client_uri": text })).web_address("client_uri");
        assert_eq!(address("http://a.example/x"), Ok(Some("http://a.example/x".to_owned())));
        for bad in ["ftp://a.example/", "mailto:a@a.example", "a.example", "/x"] {
            assert_eq!(problem(address(bad)), "`client_uri` must be an http or https URL", "{bad}");
        }
    }

    // DCR-6, CODE-14
    #[test]
    fn grant_types_that_do_not_exist_here_fall_out() {
        let grants = |list: Value| members(&json!({"grant_types": list})).grant_types();
        assert_eq!(grants(json!(["authorization_code"])), Ok(vec![GrantType::AuthorizationCode]));
        let device = "urn:ietf:params:oauth:grant-type:device_code";
        assert_eq!(grants(json!(["refresh_token", "authorization_code", device])).unwrap().len(), 2);
        assert!(problem(grants(json!(["refresh_token"]))).contains("authorization_code"));
        assert!(grants(json!([])).is_err());
        assert!(members(&json!({"response_types": ["code", "token"]})).check_response_types().is_ok());
        assert!(members(&json!({"response_types": ["token"]})).check_response_types().is_err());
    }

    #[test]
    fn only_public_keys_are_taken_and_from_one_place() {
        let keys = |json: Value| members(&json).keys();
        let public = json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "kid": "1"}]});
        assert_eq!(keys(json!({"jwks": public})), Ok(Some(ClientKeys::Inline(public.clone()))));
        assert!(matches!(keys(json!({"jwks_uri": "https://a.example/jwks.json"})), Ok(Some(ClientKeys::Uri(_)))));
        for bad in [
            json!({"jwks": {"keys": []}}),
            json!({"jwks": []}),
            json!({"jwks": {"keys": ["x"]}}),
            json!({"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}),
            json!({"jwks": {"keys": [{"kty": "oct"}]}}),
            json!({"jwks": {"keys": [{"kty": "EC", "d": "AAAA"}]}}),
            json!({"jwks": {"keys": [{"kty": "RSA", "n": "n", "e": "AQAB", "qi": "AAAA"}]}}),
            json!({"jwks": public, "jwks_uri": "https://a.example/jwks.json"}),
            json!({"jwks_uri": "http://a.example/jwks.json"}),
            json!({"jwks_uri": "https://u:p@a.example/jwks.json"}),
        ] {
            assert!(keys(bad.clone()).is_err(), "{bad}");
        }
    }
}

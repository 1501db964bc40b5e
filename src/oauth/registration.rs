//! Dynamic client registration (RFC 7591): the request checked, and the answer with every value as it was
//! registered (DCR-1 … DCR-8, DCR-12).
//!
//! Must not invent ids or secrets; they are arguments of the answer.

use serde::Serialize;

use super::client_metadata::{Members, MetadataError, excerpt};
use super::redirect_uri::{RedirectKind, RedirectUri};
use super::scope::{ScopeCatalog, ScopeSet};
use crate::domain::Client;
use crate::domain::client::{AuthMethod, ClientKeys, GrantType};

/// The largest body, in bytes (DCR-12).
const MAX_BODY: usize = 64 * 1024;

/// RFC 7591 §3.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationErrorCode {
    InvalidRedirectUri,
    InvalidClientMetadata,
}

impl RegistrationErrorCode {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
        }
    }
}

/// Why a registration is refused; answered with 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationError {
    pub code: RegistrationErrorCode,
    /// Names the offending member or value. May quote what the client sent.
    pub description: String,
}

impl RegistrationError {
    pub fn new(code: RegistrationErrorCode, description: impl Into<String>) -> Self {
        Self { code, description: description.into() }
    }
}

impl From<MetadataError> for RegistrationError {
    fn from(error: MetadataError) -> Self {
        let code = match &error {
            MetadataError::Member { member, .. } if member == "redirect_uris" => {
                RegistrationErrorCode::InvalidRedirectUri
            }
            _ => RegistrationErrorCode::InvalidClientMetadata,
        };
        Self::new(code, error.to_string())
    }
}

/// A registration as it came in.
#[derive(Debug, Clone)]
pub struct RegistrationRequest(Members);

impl RegistrationRequest {
    /// # Errors
    /// [`RegistrationError`] for a body that is too large or no JSON object.
    pub fn from_json(body: &[u8]) -> Result<Self, RegistrationError> {
        if body.len() > MAX_BODY {
            let text = "the client metadata is larger than 64 KiB";
            return Err(RegistrationError::new(RegistrationErrorCode::InvalidClientMetadata, text));
        }
        Ok(Self(Members::from_json(body)?))
    }

    /// Checks every member, and puts in what was left out.
    ///
    /// # Errors
    /// [`RegistrationError`] for the first member that cannot be used.
    pub fn check(&self, catalog: &ScopeCatalog) -> Result<ClientMetadata, RegistrationError> {
        let members = &self.0;
        let redirect_uris = members.redirect_uris()?;
        members.check_response_types()?;
        let auth_method = self.auth_method()?;
        Ok(ClientMetadata {
            client_name: members.client_name()?,
            auth_method,
            keys: self.keys(auth_method)?,
            grant_types: members.grant_types()?,
            scope: self.scope(catalog)?,
            software_id: members.label("software_id")?,
            software_version: members.label("software_version")?,
            client_uri: members.web_address("client_uri")?,
            application_type: self.application_type(&redirect_uris)?,
            redirect_uris,
        })
    }

    /// DCR-6: `client_secret_basic` when omitted, as the RFC has it.
    fn auth_method(&self) -> Result<AuthMethod, MetadataError> {
        const NAME: &str = "token_endpoint_auth_method";
        let Some(text) = self.0.text(NAME)? else { return Ok(AuthMethod::ClientSecretBasic) };
        AuthMethod::parse(text).ok_or_else(|| {
            let problem = format!(
                "is {}; known are none, client_secret_basic, client_secret_post and private_key_jwt",
                excerpt(text)
            );
            MetadataError::member(NAME, problem)
        })
    }

    /// Keys are checked whenever they are sent, and kept for the method that needs them.
    fn keys(&self, auth_method: AuthMethod) -> Result<Option<ClientKeys>, MetadataError> {
        let keys = self.0.keys()?;
        match (auth_method, keys) {
            (AuthMethod::PrivateKeyJwt, None) => {
                Err(MetadataError::member("token_endpoint_auth_method", "private_key_jwt needs `jwks` or `jwks_uri`"))
            }
            (AuthMethod::PrivateKeyJwt, keys) => Ok(keys),
            _ => Ok(None),
        }
    }

    /// DCR-7: unknown scopes fall out; if none is left it is as if none was named.
    fn scope(&self, catalog: &ScopeCatalog) -> Result<Option<ScopeSet>, MetadataError> {
        let asked = ScopeSet::parse(self.0.text("scope")?.unwrap_or_default());
        let grantable = catalog.grantable();
        let known: ScopeSet = asked.iter().filter(|scope| grantable.contains(scope)).map(str::to_owned).collect();
        Ok(Some(known).filter(|known| !known.is_empty()))
    }

    /// DCR-5: a program that listens on the person's machine is `native`, whatever it says; one that names
    /// only web addresses may be either (RFC 8252 §7.2).
    fn application_type(&self, redirect_uris: &[RedirectUri]) -> Result<Option<String>, MetadataError> {
        let Some(sent) = self.0.text("application_type")? else { return Ok(None) };
        let on_the_machine = redirect_uris.iter().any(|uri| uri.kind() != RedirectKind::Https);
        let effective = if on_the_machine || sent == "native" { "native" } else { "web" };
        Ok(Some(effective.to_owned()))
    }
}

/// A client's metadata as registered: checked, and complete with what was substituted.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientMetadata {
    pub client_name: Option<String>,
    pub redirect_uris: Vec<RedirectUri>,
    pub auth_method: AuthMethod,
    pub keys: Option<ClientKeys>,
    pub grant_types: Vec<GrantType>,
    /// `None` means all grantable scopes.
    pub scope: Option<ScopeSet>,
    pub software_id: Option<String>,
    pub software_version: Option<String>,
    pub client_uri: Option<String>,
    pub application_type: Option<String>,
}

impl ClientMetadata {
    /// The metadata of a stored registration.
    #[must_use]
    pub fn of(client: &Client) -> Self {
        Self {
            client_name: client.name.clone(),
            redirect_uris: client.redirect_uris.clone(),
            auth_method: client.auth_method,
            keys: client.keys.clone(),
            grant_types: client.grant_types.clone(),
            scope: client.scopes.clone(),
            software_id: client.software_id.clone(),
            software_version: client.software_version.clone(),
            client_uri: client.client_uri.clone(),
            application_type: client.application_type.clone(),
        }
    }
}

/// The answer to a registration (RFC 7591 §3.2.1, RFC 7592 §3). No member is ever null (DCR-2). It holds
/// secrets, so it has no `Debug`.
#[derive(Clone, Serialize)]
pub struct RegistrationResponse {
    client_id: String,
    client_id_issued_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    /// 0: never. Stands there whenever the secret does.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<i64>,
    registration_access_token: String,
    registration_client_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_name: Option<String>,
    redirect_uris: Vec<RedirectUri>,
    token_endpoint_auth_method: AuthMethod,
    grant_types: Vec<GrantType>,
    response_types: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<ScopeSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    software_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    software_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_uri: Option<String>,
}

impl RegistrationResponse {
    /// `secret` is shown when it was made just now; `management_token` and `management_uri` are RFC 7592's.
    #[must_use]
    pub fn new(
        client: &Client,
        metadata: &ClientMetadata,
        secret: Option<String>,
        management_token: String,
        management_uri: String,
    ) -> Self {
        let (jwks, jwks_uri) = match metadata.keys.clone() {
            Some(ClientKeys::Inline(jwks)) => (Some(jwks), None),
            Some(ClientKeys::Uri(uri)) => (None, Some(uri)),
            None => (None, None),
        };
        let metadata = metadata.clone();
        Self {
            client_id: client.id.as_str().to_owned(),
            client_id_issued_at: client.issued_at.0,
            client_secret_expires_at: secret.as_ref().map(|_| 0),
            client_secret: secret,
            registration_access_token: management_token,
            registration_client_uri: management_uri,
            client_name: metadata.client_name,
            redirect_uris: metadata.redirect_uris,
            token_endpoint_auth_method: metadata.auth_method,
            grant_types: metadata.grant_types,
            response_types: ["code"],
            scope: metadata.scope,
            application_type: metadata.application_type,
            client_uri: metadata.client_uri,
            software_id: metadata.software_id,
            software_version: metadata.software_version,
            jwks,
            jwks_uri,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{ClientId, ClientOrigin, UnixTime};

    fn catalog() -> ScopeCatalog {
        ScopeCatalog::new(&BTreeMap::from([("mcp:tools".to_owned(), vec![])]))
    }

    fn check(body: &Value) -> Result<ClientMetadata, RegistrationError> {
        RegistrationRequest::from_json(body.to_string().as_bytes())?.check(&catalog())
    }

    /// A body that passes, with `changes` on top.
    fn with(changes: Value) -> Result<ClientMetadata, RegistrationError> {
        let mut body = json!({"redirect_uris": ["https://a.example/cb"], "token_endpoint_auth_method": "none"});
        if let (Some(body), Value::Object(changes)) = (body.as_object_mut(), changes) {
            body.extend(changes);
        }
        check(&body)
    }

    fn answer(metadata: &ClientMetadata, secret: Option<&str>) -> Value {
        let client = Client {
            id: ClientId::new("dcr_1"),
            origin: ClientOrigin::Registered,
            name: metadata.client_name.clone(),
            redirect_uris: metadata.redirect_uris.clone(),
            auth_method: metadata.auth_method,
            secret_hashes: vec![],
            keys: metadata.keys.clone(),
            grant_types: metadata.grant_types.clone(),
            scopes: metadata.scope.clone(),
            routes: None,
            software_id: metadata.software_id.clone(),
            software_version: metadata.software_version.clone(),
            client_uri: metadata.client_uri.clone(),
            application_type: metadata.application_type.clone(),
            issued_at: UnixTime(1_700_000_000),
        };
        assert_eq!(ClientMetadata::of(&client), *metadata);
        let (token, uri) = ("rat_1".to_owned(), "https://gw.example/oauth/register/dcr_1".to_owned());
        serde_json::to_value(RegistrationResponse::new(&client, metadata, secret.map(str::to_owned), token, uri))
            .unwrap()
    }

    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../tests/fixtures/registration/", $name, ".json"))
        };
    }

    // DCR-1, DCR-2, DCR-4 … DCR-7
    #[rstest]
    #[case::claude(fixture!("claude"), "none", None)]
    #[case::claude_code(fixture!("claude-code"), "none", None)]
    #[case::claude_code_with_a_secret(fixture!("claude-code-secret"), "client_secret_post", None)]
    #[case::cursor(fixture!("cursor"), "none", Some("native"))]
    #[case::vscode(fixture!("vscode"), "none", Some("native"))]
    #[case::copilot_cli(fixture!("copilot-cli"), "none", Some("native"))]
    #[case::chatgpt(fixture!("chatgpt"), "none", None)]
    #[case::codex(fixture!("codex"), "none", Some("native"))]
    #[case::gemini_cli(fixture!("gemini-cli"), "none", None)]
    #[case::inspector(fixture!("inspector"), "none", Some("native"))]
    #[case::mcp_remote(fixture!("mcp-remote"), "none", Some("native"))]
    #[case::python_mcp(fixture!("python-mcp"), "client_secret_basic", Some("native"))]
    #[case::rmcp(fixture!("rmcp"), "none", Some("native"))]
    fn bodies_in_the_form_of_known_clients_are_registered_and_echoed(
        #[case] body: &str,
        #[case] method: &str,
        #[case] application_type: Option<&str>,
    ) {
        let sent: Value = serde_json::from_str(body).unwrap();
        let metadata = check(&sent).unwrap();
        let secret = metadata.auth_method.uses_secret().then_some("cs_1");
        let answer = answer(&metadata, secret);
        assert_eq!(answer["redirect_uris"], sent["redirect_uris"]);
        assert_eq!(answer["client_name"], sent["client_name"]);
        assert_eq!(answer["token_endpoint_auth_method"], method);
        assert_eq!(answer["grant_types"], json!(["authorization_code", "refresh_token"]));
        assert_eq!(answer["response_types"], json!(["code"]));
        assert_eq!(answer["application_type"].as_str(), application_type);
        assert_eq!(answer["client_secret"].as_str(), secret);
        assert_eq!(answer["client_secret_expires_at"].as_i64(), secret.map(|_| 0));
        assert!(answer.as_object().unwrap().values().all(|value| !value.is_null()));
    }

    #[rstest]
    #[case(json!({"redirect_uris": null}), "at least one")]
    #[case(json!({"redirect_uris": []}), "at least one")]
    #[case(json!({"redirect_uris": ["http://evil.example/cb"]}), "http://evil.example/cb, which uses http")]
    #[case(json!({"redirect_uris": ["https://a.example/cb", "javascript:alert(1)"]}), "javascript:alert(1)")]
    #[case(json!({"redirect_uris": ["https://a.example/cb#x"]}), "fragment")]
    fn dcr_3_an_unusable_redirect_uri_is_named(#[case] changes: Value, #[case] text: &str) {
        let error = with(changes).unwrap_err();
        assert_eq!(error.code.as_str(), "invalid_redirect_uri");
        assert!(error.description.contains(text), "{}", error.description);
    }

    #[rstest]
    #[case(json!({"client_name": ["x"]}), "client_name")]
    #[case(json!({"scope": ["mcp:tools"]}), "scope")]
    #[case(json!({"token_endpoint_auth_method": "tls_client_auth"}), "tls_client_auth")]
    #[case(json!({"token_endpoint_auth_method": "private_key_jwt"}), "jwks")]
    #[case(json!({"grant_types": ["client_credentials"]}), "grant_types")]
    #[case(json!({"response_types": ["token"]}), "response_types")]
    #[case(json!({"application_type": 1}), "application_type")]
    #[case(json!({"jwks": {"keys": [{"kty": "EC", "d": "x"}]}}), "jwks")]
    fn dcr_3_any_other_fault_is_named(#[case] changes: Value, #[case] text: &str) {
        let error = with(changes).unwrap_err();
        assert_eq!(error.code.as_str(), "invalid_client_metadata");
        assert!(error.description.contains(text), "{}", error.description);
    }

    #[test]
    fn dcr_12_a_body_has_64_kib_at_most() {
        let error = RegistrationRequest::from_json(&vec![b' '; MAX_BODY + 1]).unwrap_err();
        assert!(error.description.contains("64 KiB"));
        assert!(RegistrationRequest::from_json(format!("{{}}{}", " ".repeat(MAX_BODY - 2)).as_bytes()).is_ok());
        assert!(RegistrationRequest::from_json(b"not json").is_err());
    }

    #[test]
    fn dcr_5_the_application_type_is_made_to_fit_the_redirect_uris() {
        let effective = |kind: &str, uri: &str| {
            with(json!({"application_type": kind, "redirect_uris": [uri]})).unwrap().application_type.unwrap()
        };
        assert_eq!(effective("web", "http://localhost/cb"), "native");
        assert_eq!(effective("web", "cursor://a/cb"), "native");
        assert_eq!(effective("web", "https://a.example/cb"), "web");
        assert_eq!(effective("native", "https://a.example/cb"), "native");
        assert_eq!(effective("spaceship", "https://a.example/cb"), "web");
    }

    #[test]
    fn dcr_6_an_omitted_method_means_a_secret_and_a_grant_list_is_honoured() {
        let metadata =
            with(json!({"token_endpoint_auth_method": null, "grant_types": ["authorization_code"]})).unwrap();
        assert_eq!(metadata.auth_method, AuthMethod::ClientSecretBasic);
        assert_eq!(metadata.grant_types, [GrantType::AuthorizationCode]);
    }

    #[test]
    fn dcr_1_what_software_says_of_itself_is_kept_and_echoed() {
        let told = json!({"software_id": "s", "software_version": "1.2", "client_uri": "https://a.example"});
        let answer = answer(&with(told.clone()).unwrap(), None);
        assert!(told.as_object().unwrap().iter().all(|(name, value)| answer[name] == *value), "{answer}");
    }

    #[test]
    fn dcr_7_unknown_scopes_fall_out() {
        let scope = |text: &str| with(json!({"scope": text})).unwrap().scope.map(|scope| scope.to_string());
        assert_eq!(scope("openid mcp:tools everything").as_deref(), Some("mcp:tools"));
        assert_eq!(scope("openid everything"), None);
        assert_eq!(scope(""), None);
    }

    #[test]
    fn keys_are_kept_for_private_key_jwt_only() {
        let jwks = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}]});
        assert_eq!(with(json!({"jwks": jwks})).unwrap().keys, None);
        let metadata = with(json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks})).unwrap();
        assert_eq!(answer(&metadata, None)["jwks"], jwks);
    }
}

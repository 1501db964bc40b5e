//! OAuth clients: who asked to be let in, and how the gateway came to know them.

use serde::{Deserialize, Serialize};

use super::text_id;
use super::time::UnixTime;
use crate::crypto::SecretHash;
use crate::oauth::redirect_uri::RedirectUri;
use crate::oauth::scope::ScopeSet;
use crate::oauth::token::JWT_BEARER;

text_id!(
    /// `dcr_…`, an https URL (client-id metadata document), or a name from the configuration.
    ClientId
);

/// How the gateway knows a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientOrigin {
    /// RFC 7591: anyone may register, so nothing it says of itself is proven.
    Registered,
    /// A client-id metadata document: the host of its id is proven.
    MetadataDocument,
    /// Declared by the operator in the configuration.
    Static,
}

/// RFC 7591 `token_endpoint_auth_method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    None,
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
}

impl AuthMethod {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt]
            .into_iter()
            .find(|method| method.as_str() == text)
    }

    /// Whether the method proves possession of a shared secret.
    #[must_use]
    pub fn uses_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }
}

/// The grant types a client may use here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrantType {
    #[serde(rename = "authorization_code")]
    AuthorizationCode,
    #[serde(rename = "refresh_token")]
    RefreshToken,
    /// RFC 7523: identity assertions (EXT-2).
    #[serde(rename = "urn:ietf:params:oauth:grant-type:jwt-bearer")]
    JwtBearer,
}

impl GrantType {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::JwtBearer => JWT_BEARER,
        }
    }
}

/// Where a `private_key_jwt` client's public keys are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientKeys {
    /// A JWK set given by value.
    Inline(serde_json::Value),
    /// An https URL, fetched through the guarded client only.
    Uri(String),
}

/// A client, whatever its origin, in the form every rule works on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Client {
    pub id: ClientId,
    pub origin: ClientOrigin,
    /// For display only, never for identity. Bounded to 200 characters where it enters.
    pub name: Option<String>,
    pub redirect_uris: Vec<RedirectUri>,
    pub auth_method: AuthMethod,
    /// One, or two while a secret is being rotated. Empty for public clients.
    #[serde(default)]
    pub secret_hashes: Vec<SecretHash>,
    #[serde(default)]
    pub keys: Option<ClientKeys>,
    pub grant_types: Vec<GrantType>,
    /// What it may ask for; `None` means all grantable scopes.
    #[serde(default)]
    pub scopes: Option<ScopeSet>,
    /// Route paths a static client is limited to; `None` means all.
    #[serde(default)]
    pub routes: Option<Vec<String>>,
    #[serde(default)]
    pub software_id: Option<String>,
    #[serde(default)]
    pub software_version: Option<String>,
    #[serde(default)]
    pub client_uri: Option<String>,
    /// RFC 7591 / OIDC `application_type`, as effective after coercion (DCR-5).
    #[serde(default)]
    pub application_type: Option<String>,
    pub issued_at: UnixTime,
}

impl Client {
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.auth_method == AuthMethod::None
    }

    /// The registered redirect URI that `presented` matches (AUTHZ-2, AUTHZ-3).
    #[must_use]
    pub fn matching_redirect_uri(&self, presented: &RedirectUri) -> Option<&RedirectUri> {
        self.redirect_uris.iter().find(|registered| registered.matches(presented))
    }

    #[must_use]
    pub fn may_use(&self, grant_type: GrantType) -> bool {
        self.grant_types.contains(&grant_type)
    }

    /// A digest of everything a person consented to about this client (CONS-4): when it changes,
    /// remembered consent is void.
    #[must_use]
    pub fn identity_digest(&self) -> SecretHash {
        let mut text = format!("{:?}|{:?}|{:?}|", self.name, self.auth_method, self.keys);
        for uri in &self.redirect_uris {
            text.push_str(uri.as_str());
            text.push('\n');
        }
        SecretHash::of(text.as_bytes())
    }
}

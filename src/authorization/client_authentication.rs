//! Client authentication at the token, revocation and introspection endpoints (OAuth 2.1 §2.4, RFC 7523 and its bis draft;
//! CODE-3, CODE-4).

use std::net::IpAddr;

use base64::Engine as _;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::AuthorizationServer;
use super::token::{TokenFailure, TokenRequest, optional};
use crate::config::model::ResourceServer;
use crate::crypto::{ASYMMETRIC, SecretHash};
use crate::domain::client::{AuthMethod, ClientKeys};
use crate::domain::{Client, UnixTime};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The furthest an assertion's `exp` may lie ahead, in seconds.
const MAX_ASSERTION_LIFE: i64 = 300;
/// Clock skew granted to clients, in seconds.
const SKEW: i64 = 60;

/// How a request says who it is from.
enum Credentials<'a> {
    None { id: &'a str },
    Secret { id: String, secret: String, method: AuthMethod },
    Assertion { id: Option<&'a str>, jwt: &'a str },
}

impl Credentials<'_> {
    /// The client id they are in the name of. Proves nothing yet.
    fn claims(&self) -> String {
        match self {
            Self::None { id } | Self::Assertion { id: Some(id), .. } => (*id).to_owned(),
            Self::Secret { id, .. } => id.clone(),
            Self::Assertion { id: None, jwt } => unverified_subject(jwt).unwrap_or_default(),
        }
    }
}

#[derive(Deserialize)]
struct AssertionClaims {
    iss: String,
    sub: String,
    aud: OneOrMany,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

const FAILED: TokenFailure = TokenFailure::ClientAuthentication { basic: false };

impl AuthorizationServer {
    /// The client behind a request, proven in the way it registered for.
    pub(super) async fn authenticate_client(&self, request: &TokenRequest<'_>) -> Result<Client, TokenFailure> {
        let credentials = credentials(request)?;
        let asker = self.count_token_request(request, &credentials.claims()).await?;
        match credentials {
            Credentials::None { id } => {
                let client = self.clients.resolve_for(asker, id, self.now()).await?;
                if client.is_public() { Ok(client) } else { Err(FAILED) }
            }
            Credentials::Secret { id, secret, method } => self.by_secret(&id, &secret, method, asker).await,
            Credentials::Assertion { id, jwt } => self.by_assertion(id, jwt, request.origin, asker).await,
        }
    }

    async fn by_secret(
        &self,
        id: &str,
        secret: &str,
        method: AuthMethod,
        asker: Option<IpAddr>,
    ) -> Result<Client, TokenFailure> {
        let basic = method == AuthMethod::ClientSecretBasic;
        let failed = TokenFailure::ClientAuthentication { basic };
        let presented = SecretHash::of(secret.as_bytes());
        let client = match self.clients.resolve_for(asker, id, self.now()).await.map_err(TokenFailure::from) {
            Ok(client) => client,
            Err(TokenFailure::ClientAuthentication { .. }) => return Err(failed),
            Err(other) => return Err(other),
        };
        // Both secret methods prove the same; a client that registered one and uses the other is let in, as
        // several libraries pick by what the metadata lists first.
        // Hashes of high-entropy secrets are compared, each in constant time (SEC-7).
        let known = client.secret_hashes.contains(&presented);
        if client.auth_method.uses_secret() && known { Ok(client) } else { Err(failed) }
    }

    /// The configured resource server behind an introspection request. No client is one (RFC 7662 §2.1).
    pub(super) fn authenticate_resource_server(
        &self,
        request: &TokenRequest<'_>,
    ) -> Result<&ResourceServer, TokenFailure> {
        let failed = TokenFailure::ClientAuthentication { basic: true };
        let (id, secret) = match credentials(request) {
            Ok(Credentials::Secret { id, secret, .. }) => (id, secret),
            Ok(Credentials::None { .. } | Credentials::Assertion { .. }) | Err(TokenFailure::Missing(_)) => {
                return Err(failed);
            }
            Err(other) => return Err(other),
        };
        self.budgets.check_unproven(&id, request.peer, self.now())?;
        let presented = SecretHash::of(secret.as_bytes());
        let known = |server: &&ResourceServer| {
            server.id == id && SecretHash::of(server.secret.expose_secret().as_bytes()) == presented
        };
        if let Some(server) = self.options().resource_servers.iter().find(known) {
            return Ok(server);
        }
        self.budgets.unproven(&id, request.peer, self.now())?;
        Err(failed)
    }

    async fn by_assertion(
        &self,
        id: Option<&str>,
        jwt: &str,
        origin: &str,
        asker: Option<IpAddr>,
    ) -> Result<Client, TokenFailure> {
        let unverified = unverified_subject(jwt).ok_or(FAILED)?;
        if id.is_some_and(|id| id != unverified) {
            return Err(FAILED);
        }
        let client = self.clients.resolve_for(asker, &unverified, self.now()).await?;
        if client.auth_method != AuthMethod::PrivateKeyJwt {
            return Err(FAILED);
        }
        let claims = self.verify_assertion(&client, jwt, asker).await?;
        self.check_assertion(&claims, &client, origin)?;
        let id = SecretHash::of(format!("{}\0{}", client.id, claims.jti).as_bytes());
        if !self.store.use_once(&id, UnixTime(claims.exp + SKEW)).await? {
            return Err(FAILED);
        }
        Ok(client)
    }

    async fn verify_assertion(
        &self,
        client: &Client,
        jwt: &str,
        asker: Option<IpAddr>,
    ) -> Result<AssertionClaims, TokenFailure> {
        let header = decode_header(jwt).map_err(|_| FAILED)?;
        // RFC 7515 §4.1.11: an extension that must be understood and is not.
        if !ASYMMETRIC.contains(&header.alg) || header.crit.is_some() {
            return Err(FAILED);
        }
        match client.keys.as_ref().ok_or(FAILED)? {
            ClientKeys::Inline(keys) => {
                let keys: JwkSet = serde_json::from_value(keys.clone()).map_err(|_| FAILED)?;
                verify(jwt, header.alg, header.kid.as_deref(), &keys).ok_or(FAILED)
            }
            ClientKeys::Uri(uri) => {
                let documents = self.clients.documents().ok_or(FAILED)?;
                for refetch in [false, true] {
                    let keys = documents.client_keys(asker, uri, refetch, self.now()).await?;
                    let named = header.kid.as_deref().is_none_or(|kid| keys.find(kid).is_some());
                    if named || refetch {
                        return verify(jwt, header.alg, header.kid.as_deref(), &keys).ok_or(FAILED);
                    }
                }
                Err(FAILED)
            }
        }
    }

    /// CODE-4: `iss` = `sub` = client id, `aud` is our issuer and nothing else, a short life, a `jti`.
    fn check_assertion(&self, claims: &AssertionClaims, client: &Client, origin: &str) -> Result<(), TokenFailure> {
        let now = self.now().0;
        let audience = match &claims.aud {
            OneOrMany::One(one) => one.as_str(),
            OneOrMany::Many(many) => match many.as_slice() {
                [one] => one.as_str(),
                _ => return Err(FAILED),
            },
        };
        let ours = audience == origin
            || self.protected_routes().any(|route| audience.strip_prefix(origin) == Some(route.path.as_str()));
        let fits = claims.iss == client.id.as_str()
            && claims.sub == claims.iss
            && ours
            && claims.exp > now - SKEW
            && claims.exp <= now + MAX_ASSERTION_LIFE + SKEW
            && claims.nbf.is_none_or(|nbf| nbf <= now + SKEW)
            && !claims.jti.is_empty()
            && claims.jti.len() <= 512;
        if fits { Ok(()) } else { Err(FAILED) }
    }
}

/// Exactly one way of authentication (RFC 6749 §2.3).
fn credentials<'a>(request: &TokenRequest<'a>) -> Result<Credentials<'a>, TokenFailure> {
    let id = optional(request.form, "client_id")?;
    let secret = optional(request.form, "client_secret")?;
    let assertion = optional(request.form, "client_assertion")?;
    let ways = [request.authorization.is_some(), secret.is_some(), assertion.is_some()];
    if ways.iter().filter(|used| **used).count() > 1 {
        return Err(TokenFailure::TwoAuthentications);
    }
    if let Some(header) = request.authorization {
        let (basic_id, secret) = parse_basic(header).ok_or(TokenFailure::ClientAuthentication { basic: true })?;
        if id.is_some_and(|id| id != basic_id) {
            return Err(TokenFailure::ClientAuthentication { basic: true });
        }
        return Ok(Credentials::Secret { id: basic_id, secret, method: AuthMethod::ClientSecretBasic });
    }
    if let Some(jwt) = assertion {
        if optional(request.form, "client_assertion_type")? != Some(ASSERTION_TYPE) {
            return Err(TokenFailure::Missing("client_assertion_type"));
        }
        return Ok(Credentials::Assertion { id, jwt });
    }
    let id = id.ok_or(TokenFailure::Missing("client_id"))?;
    Ok(match secret {
        Some(secret) => {
            Credentials::Secret { id: id.to_owned(), secret: secret.to_owned(), method: AuthMethod::ClientSecretPost }
        }
        None => Credentials::None { id },
    })
}

/// The client that a request says it is from; empty when it does not say. Proves nothing.
pub(super) fn claimed_client(request: &TokenRequest<'_>) -> String {
    credentials(request).map(|credentials| credentials.claims()).unwrap_or_default()
}

/// RFC 6749 §2.3.1: id and secret are form-encoded before they are joined.
fn parse_basic(header: &str) -> Option<(String, String)> {
    let (scheme, value) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |part: &str| {
        let spaced = part.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    };
    Some((decode(id)?, decode(secret)?))
}

/// Whom an assertion claims to be from, to know whose keys to check it with. Proves nothing yet.
fn unverified_subject(jwt: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Subject {
        sub: String,
    }
    let payload = jwt.split('.').nth(1)?;
    let claims: Subject = serde_json::from_slice(&crate::crypto::base64url_decode(payload)?).ok()?;
    Some(claims.sub)
}

/// The claims, if one of the keys signed them: the one named by `kid`, else any that fits.
fn verify(jwt: &str, algorithm: Algorithm, kid: Option<&str>, keys: &JwkSet) -> Option<AssertionClaims> {
    let mut validation = Validation::new(algorithm);
    // Times and audience are checked against our own clock and issuers.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let fits = |key: &&Jwk| kid.is_none_or(|kid| key.common.key_id.as_deref() == Some(kid));
    keys.keys.iter().filter(fits).take(8).find_map(|key| {
        let key = DecodingKey::from_jwk(key).ok()?;
        decode::<AssertionClaims>(jwt, &key, &validation).ok().map(|data| data.claims)
    })
}

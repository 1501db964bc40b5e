//! How the gateway proves who asks at the token endpoint of another server (IDP-9; RFC 6749 §2.3.1, RFC 7523).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use serde_json::json;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::config::model::{ClientKey, OidcCredential, SecretWay};
use crate::domain::random::random_id;
use crate::domain::{Random, UnixTime};

/// How long a client assertion is good for, unless it is told.
const ASSERTION_LIFE: Duration = Duration::from_secs(60);

/// Our key failed to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("our client assertion could not be signed")]
pub struct NotSigned;

/// One client of ours at another server.
#[derive(Debug, Clone, Copy)]
pub struct ClientProof<'a> {
    pub client_id: &'a str,
    pub credential: &'a OidcCredential,
    /// How a secret is sent unless the credential says so.
    pub secret_way: SecretWay,
    pub token_endpoint: &'a Url,
    pub assertion: AssertionForm<'a>,
}

/// What differs between the assertions that one server and another want of a client with a key.
#[derive(Debug, Clone, Copy, Default)]
pub struct AssertionForm<'a> {
    /// `aud`; without one, the token endpoint.
    pub audience: Option<&'a str>,
    pub life: Option<Duration>,
}

impl ClientProof<'_> {
    /// Adds the proof to the form. What is returned, if anything, is the value of `Authorization`.
    ///
    /// # Errors
    /// [`NotSigned`].
    pub fn add_to(
        &self,
        form: &mut Serializer<'_, String>,
        random: &dyn Random,
        now: UnixTime,
    ) -> Result<Option<String>, NotSigned> {
        match self.credential {
            OidcCredential::Secret { secret, way } => {
                let secret = secret.expose_secret();
                if way.unwrap_or(self.secret_way) == SecretWay::Basic {
                    return Ok(Some(basic(self.client_id, secret)));
                }
                form.append_pair("client_id", self.client_id).append_pair("client_secret", secret);
            }
            OidcCredential::None => {
                form.append_pair("client_id", self.client_id);
            }
            OidcCredential::PrivateKey(key) => {
                let assertion = self.assertion(key, &random_id("", random), now)?;
                form.append_pair("client_id", self.client_id)
                    .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                    .append_pair("client_assertion", &assertion);
            }
        }
        Ok(None)
    }

    /// OpenID Connect Core §9.
    fn assertion(&self, key: &ClientKey, jti: &str, now: UnixTime) -> Result<String, NotSigned> {
        let claims = json!({
            "iss": self.client_id, "sub": self.client_id, "jti": jti,
            "aud": self.assertion.audience.unwrap_or(self.token_endpoint.as_str()),
            "iat": now.0, "exp": now.plus(self.assertion.life.unwrap_or(ASSERTION_LIFE)).0,
        });
        key.key.sign_jwt(key.id.as_deref(), &claims).ok_or(NotSigned)
    }
}

/// RFC 6749 §2.3.1: both halves are form-encoded before they are joined. A blank is written in the form that servers
/// understand as well that take the halves for parts of a URL.
fn basic(client_id: &str, secret: &str) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(client_id), encoded(secret))))
}

//! Requests to token endpoints, as their client (RFC 6749 §4.1.3 and §6, RFC 7523 §2.1, RFC 8693, RFC 8707), and to revocation
//! endpoints (RFC 7009).
//!
//! What an error means for a connection is decided here and nowhere else: only the server's own `invalid_grant` says
//! that a grant is over.

use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use url::form_urlencoded::Serializer;

use super::registration::UpstreamClient;
use crate::config::model::SecretWay;
use crate::domain::{Random, UnixTime};
use crate::identity::client_authentication::{AssertionForm, ClientProof};
use crate::oauth::token::JWT_BEARER;
pub use crate::oauth::token_answer::TokenAnswer;
use crate::oauth::token_answer::{ID_JAG, TokenKind, error_code};
use crate::outbound::{Answered, Post, Unanswered, UpstreamFetcher};

/// `grant_type` of RFC 8693 §2.1.
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// RFC 8693 §3.
pub const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// What is given for a token. It holds secrets, so it has no `Debug`.
#[derive(Clone, Copy)]
pub enum TokenGrant<'a> {
    Code {
        code: &'a str,
        redirect_uri: &'a str,
        code_verifier: &'a str,
        resource: &'a str,
    },
    Refresh {
        refresh_token: &'a SecretString,
        resource: &'a str,
        /// `None`: what was granted before.
        scope: Option<&'a str>,
    },
    JwtBearer {
        assertion: &'a SecretString,
        resource: Option<&'a str>,
        scope: Option<&'a str>,
    },
    /// For an identity assertion (id-jag) that [`JwtBearer`](Self::JwtBearer) then takes to `audience`.
    Exchange {
        subject_token: &'a SecretString,
        /// Such as [`ID_TOKEN`].
        subject_token_type: &'a str,
        audience: &'a str,
        resource: Option<&'a str>,
        scope: Option<&'a str>,
    },
}

/// Why there is no token. `Display` is for the log and the operator: no secrets, no free text of the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRequestError {
    /// The code, refresh token or assertion does not count (any more).
    #[error("the authorization server does not accept the grant (invalid_grant)")]
    InvalidGrant,
    /// The server does not know us, or not by this credential.
    #[error("the authorization server does not accept our client id or its credential (invalid_client)")]
    InvalidClient,
    /// Another error code.
    #[error("the authorization server refuses: {0}")]
    Refused(String),
    /// Network trouble, a deadline, 429 or 5xx. Says nothing of the grant.
    #[error("the authorization server is unavailable: {cause}")]
    Unavailable {
        cause: String,
        /// The server may have spent what it was given, and its answer did not arrive.
        answer_may_be_lost: bool,
    },
    /// An answer that holds no token we could use, or a request we cannot make.
    #[error("{0}")]
    Unusable(String),
}

/// A token endpoint and who we are there.
#[derive(Clone, Copy)]
pub struct TokenEndpoint<'a> {
    pub fetcher: &'a UpstreamFetcher,
    pub url: &'a Url,
    pub client: &'a UpstreamClient,
}

impl TokenEndpoint<'_> {
    /// Asks for a token, once.
    ///
    /// # Errors
    /// [`TokenRequestError`].
    pub async fn request(
        &self,
        grant: &TokenGrant<'_>,
        random: &dyn Random,
        now: UnixTime,
    ) -> Result<TokenAnswer, TokenRequestError> {
        self.request_in(AssertionForm::default(), grant, random, now).await
    }

    /// The same where the server wants assertions of a client in a form of its own.
    ///
    /// # Errors
    /// [`TokenRequestError`].
    pub async fn request_in(
        &self,
        assertion: AssertionForm<'_>,
        grant: &TokenGrant<'_>,
        random: &dyn Random,
        now: UnixTime,
    ) -> Result<TokenAnswer, TokenRequestError> {
        let post = self.signed(grant.form(), assertion, random, now)?;
        let answer = self.fetcher.post(self.url, post).await.map_err(|unanswered| unavailable(&unanswered))?;
        read(&answer, grant.kind())
    }

    /// Revokes a token at the revocation endpoint that [`url`](Self::url) is (RFC 7009 §2.1). `hint` is its
    /// `token_type_hint`.
    ///
    /// # Errors
    /// [`TokenRequestError`]; a token that is not known any more is no error (§2.2).
    pub async fn revoke(
        &self,
        token: &SecretString,
        hint: &str,
        random: &dyn Random,
        now: UnixTime,
    ) -> Result<(), TokenRequestError> {
        let post = {
            let mut form = Serializer::new(String::new());
            form.append_pair("token", token.expose_secret()).append_pair("token_type_hint", hint);
            self.signed(form, AssertionForm::default(), random, now)?
        };
        let answer = self.fetcher.post(self.url, post).await.map_err(|unanswered| unavailable(&unanswered))?;
        if answer.status.is_success() {
            Ok(())
        } else {
            Err(refusal(answer.status, error_code(&answer.body).as_deref()))
        }
    }

    fn signed(
        &self,
        mut form: Serializer<'_, String>,
        assertion: AssertionForm<'_>,
        random: &dyn Random,
        now: UnixTime,
    ) -> Result<Post, TokenRequestError> {
        let proof = ClientProof {
            client_id: &self.client.id,
            credential: &self.client.credential,
            secret_way: SecretWay::Basic,
            token_endpoint: self.url,
            assertion,
        };
        let authorization = proof
            .add_to(&mut form, random, now)
            .map_err(|not_signed| TokenRequestError::Unusable(not_signed.to_string()))?;
        Ok(Post::form(form.finish(), authorization))
    }
}

impl TokenGrant<'_> {
    fn kind(&self) -> TokenKind {
        if matches!(self, Self::Exchange { .. }) { TokenKind::IdJag } else { TokenKind::Bearer }
    }

    fn form(&self) -> Serializer<'static, String> {
        let mut form = Serializer::new(String::new());
        let (resource, scope) = match *self {
            Self::Code { code, redirect_uri, code_verifier, resource } => {
                form.append_pair("grant_type", "authorization_code")
                    .append_pair("code", code)
                    .append_pair("redirect_uri", redirect_uri)
                    .append_pair("code_verifier", code_verifier);
                (Some(resource), None)
            }
            Self::Refresh { refresh_token, resource, scope } => {
                form.append_pair("grant_type", "refresh_token")
                    .append_pair("refresh_token", refresh_token.expose_secret());
                (Some(resource), scope)
            }
            Self::JwtBearer { assertion, resource, scope } => {
                form.append_pair("grant_type", JWT_BEARER).append_pair("assertion", assertion.expose_secret());
                (resource, scope)
            }
            Self::Exchange { subject_token, subject_token_type, audience, resource, scope } => {
                form.append_pair("grant_type", TOKEN_EXCHANGE)
                    .append_pair("requested_token_type", ID_JAG)
                    .append_pair("subject_token", subject_token.expose_secret())
                    .append_pair("subject_token_type", subject_token_type)
                    .append_pair("audience", audience);
                (resource, scope)
            }
        };
        if let Some(resource) = resource {
            form.append_pair("resource", resource);
        }
        if let Some(scope) = scope.filter(|scope| !scope.is_empty()) {
            form.append_pair("scope", scope);
        }
        form
    }
}

fn unavailable(unanswered: &Unanswered) -> TokenRequestError {
    TokenRequestError::Unavailable {
        cause: format!("its token endpoint cannot be used: {}", unanswered.cause),
        answer_may_be_lost: unanswered.may_have_arrived,
    }
}

fn read(answer: &Answered, kind: TokenKind) -> Result<TokenAnswer, TokenRequestError> {
    let error = error_code(&answer.body);
    // GitHub and others send their errors with a 200.
    if !answer.status.is_success() || error.is_some() {
        return Err(refusal(answer.status, error.as_deref()));
    }
    TokenAnswer::parse(&answer.body, kind)
        .map_err(|problem| TokenRequestError::Unusable(format!("the token answer {problem}")))
}

/// RFC 6749 §5.2, with GitHub's names for the same.
fn refusal(status: StatusCode, error: Option<&str>) -> TokenRequestError {
    let number = status.as_u16();
    if status.is_server_error() || matches!(number, 408 | 425 | 429) {
        return TokenRequestError::Unavailable {
            cause: format!("HTTP {number} from its token endpoint"),
            // Of these statuses only the errors of a server, or of what stands before it, leave open how far it came.
            answer_may_be_lost: status.is_server_error() || number == 408,
        };
    }
    match error {
        Some("invalid_grant" | "bad_refresh_token" | "bad_verification_code") => TokenRequestError::InvalidGrant,
        Some("invalid_client" | "unauthorized_client" | "incorrect_client_credentials") => {
            TokenRequestError::InvalidClient
        }
        Some(code @ ("temporarily_unavailable" | "server_error" | "slow_down" | "too_many_requests")) => {
            TokenRequestError::Unavailable {
                cause: format!("its token endpoint says {code}"),
                answer_may_be_lost: code == "server_error",
            }
        }
        Some(code) => TokenRequestError::Refused(code.to_owned()),
        None if status == StatusCode::UNAUTHORIZED => TokenRequestError::InvalidClient,
        None => TokenRequestError::Refused(format!("HTTP {number} without an error code")),
    }
}

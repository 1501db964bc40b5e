//! A person's ID token anew (OpenID Connect Core §12): for vouching for them to others, when the one of their login has
//! expired.

use async_trait::async_trait;
use secrecy::SecretString;

use super::token_request::Answer;
use super::{Oidc, id_token, token_request};
use crate::domain::{SubjectId, UnixTime};
use crate::identity::{IdToken, IdTokens, LoginError, Renewal, RenewalError};

#[async_trait]
impl IdTokens for Oidc {
    async fn renew(&self, refresh_token: &SecretString, now: UnixTime) -> Result<Renewal, RenewalError> {
        let endpoints = self.in_time(self.discovery.endpoints()).await;
        let endpoints = endpoints.map_err(|error| RenewalError::unavailable(&error.to_string()))?;
        let refreshing = token_request::refresh(self, &endpoints, refresh_token, now);
        let late = || Err(RenewalError::lost("no answer in time"));
        tokio::time::timeout(self.deadline, refreshing).await.unwrap_or_else(|_| late())
    }

    async fn identify(&self, renewal: &Renewal, now: UnixTime) -> Result<(SubjectId, IdToken), LoginError> {
        // OpenID Connect Core §12.2: it may lack an ID token.
        let answer: Answer = serde_json::from_slice(&renewal.body)
            .map_err(|_| LoginError::Untrusted("the answer to the refresh token holds no ID token".to_owned()))?;
        let verified = async {
            let endpoints = self.discovery.endpoints().await?;
            id_token::verify(&answer.id_token, &self.expected(None, None, now), &endpoints.jwks).await
        };
        let claims = self.in_time(verified).await?;
        let subject = claims.get("sub").and_then(serde_json::Value::as_str);
        let subject = subject.ok_or_else(|| LoginError::Untrusted("the ID token lacks `sub`".to_owned()))?;
        let expires_at = id_token::expires_at(&claims);
        Ok((SubjectId::derive(&self.options.issuer, subject), IdToken { text: answer.id_token.into(), expires_at }))
    }
}

//! The introspection answer (RFC 7662 §2.2).
//!
//! Must not say why a token is not active: there is one answer for all of them (REV-7).

use serde::Serialize;

/// How a refresh token is named in `token_type`, so that a service which takes what is `active` for an access
/// token, without looking, can be told from one that looks.
pub const REFRESH_TOKEN: &str = "refresh_token";

/// What a resource server is told of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Introspection {
    active: bool,
    #[serde(flatten)]
    token: Option<ActiveToken>,
}

impl Introspection {
    #[must_use]
    pub fn active(token: ActiveToken) -> Self {
        Self { active: true, token: Some(token) }
    }

    #[must_use]
    pub fn inactive() -> Self {
        Self { active: false, token: None }
    }
}

/// A token that is good now. Times in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActiveToken {
    pub scope: String,
    pub client_id: String,
    /// The person's verified e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    pub sub: String,
    /// Who the token is meant for: of an access token the resource, of a refresh token this server itself.
    pub aud: String,
    pub iss: String,
    pub exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// When the person signed in (RFC 9470 §6.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// `Bearer`, or [`REFRESH_TOKEN`].
    pub token_type: &'static str,
    /// The grant.
    pub sid: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // REV-7
    #[test]
    fn an_inactive_token_has_no_other_member_and_an_active_one_none_that_is_null() {
        assert_eq!(serde_json::to_value(Introspection::inactive()).unwrap(), json!({ "active": false }));
        let token = ActiveToken {
            scope: "mcp:tools".to_owned(),
            client_id: "dcr_1".to_owned(),
            username: None,
            sub: "usr_1".to_owned(),
            aud: "https://gw.example/mcp/a".to_owned(),
            iss: "https://gw.example".to_owned(),
            exp: 2,
            iat: None,
            jti: None,
            auth_time: None,
            token_type: "Bearer",
            sid: "grt_1".to_owned(),
        };
        assert_eq!(
            serde_json::to_value(Introspection::active(token)).unwrap(),
            json!({
                "active": true, "scope": "mcp:tools", "client_id": "dcr_1", "sub": "usr_1",
                "aud": "https://gw.example/mcp/a", "iss": "https://gw.example", "exp": 2, "token_type": "Bearer",
                "sid": "grt_1",
            })
        );
    }
}

//! The resource owner: who signed in, as the identity provider describes them.

use serde::{Deserialize, Serialize};

use super::text_id;

text_id!(
    /// Our `sub`: stable per person and provider, unique across providers, never a client id (CODE-13).
    SubjectId
);

impl SubjectId {
    /// Derives the subject from the provider's issuer and its own subject, so that it survives a lost store.
    #[must_use]
    pub fn derive(provider_issuer: &str, provider_subject: &str) -> Self {
        use base64::Engine as _;
        let mut text = Vec::with_capacity(provider_issuer.len() + provider_subject.len() + 1);
        text.extend_from_slice(provider_issuer.as_bytes());
        text.push(0);
        text.extend_from_slice(provider_subject.as_bytes());
        let digest = crate::crypto::sha256(&text);
        Self::new(format!("usr_{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&digest[..16])))
    }
}

/// What the provider says of a person. `subject` is the provider's own id; [`SubjectId`] is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub id: SubjectId,
    /// The provider's issuer identifier.
    pub provider: String,
    /// The provider's `sub`.
    pub subject: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default)]
    pub email_verified: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family_name: Option<String>,
    /// What the person is called at the provider, beside the name: `preferred_username`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entitlements: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Who acts in this person's place (WOS-12): the impersonator's e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impersonator: Option<String>,
}

impl Person {
    /// How a page names the person: name and address as far as known, else the provider's id.
    #[must_use]
    pub fn display_name(&self) -> &str {
        self.name.as_deref().or(self.email.as_deref()).unwrap_or(&self.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // CONS-8
    #[test]
    fn a_person_is_shown_by_name_else_by_address_else_by_the_providers_id() {
        let mut person: Person =
            serde_json::from_str(r#"{"id": "usr_1", "provider": "https://idp.example", "subject": "user_1"}"#).unwrap();
        assert_eq!(person.display_name(), "user_1");
        person.email = Some("ada@example.com".to_owned());
        assert_eq!(person.display_name(), "ada@example.com");
        person.name = Some("Ada".to_owned());
        assert_eq!(person.display_name(), "Ada");
    }
}

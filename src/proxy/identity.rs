//! Telling an upstream who calls (gateway.md §10 `forwardIdentity`, PROX-14).

use http::{HeaderMap, HeaderName, HeaderValue};

use super::error::ProxyError;
use super::{Call, Proxy};
use crate::config::model::ForwardIdentity;
use crate::domain::Person;
use crate::domain::random::random_id;

impl Proxy {
    /// Adds the identity headers, or the assertion, that the route asks for.
    pub(super) async fn add_identity(&self, call: &Call<'_>, headers: &mut HeaderMap) -> Result<(), ProxyError> {
        let Some(token) = &call.token else { return Ok(()) };
        let form = call.to.route.proxy.forward_identity;
        if form == ForwardIdentity::None {
            return Ok(());
        }
        let person = self.person(token).await?;
        if form == ForwardIdentity::Headers {
            add_headers(&person, headers);
            return Ok(());
        }
        let assertion = self
            .assertions
            .issue(
                &person,
                token.client.as_str(),
                call.origin,
                call.to.upstream.audience(),
                random_id("", &*self.random),
                self.clock.now(),
            )
            .map_err(|_| ProxyError::PersonUnknown)?;
        insert(headers, "x-doorward-assertion", &assertion);
        Ok(())
    }
}

fn add_headers(person: &Person, headers: &mut HeaderMap) {
    insert(headers, "x-forwarded-user", person.id.as_str());
    // The list is separated by commas, so a name with one in it would pass for two groups.
    let groups: Vec<&str> = person.groups.iter().map(String::as_str).filter(|group| !group.contains(',')).collect();
    let groups = (!groups.is_empty()).then(|| groups.join(","));
    // An upstream that decides by address must be able to rely on it: anybody can sign up with another's.
    let email = person.email.as_deref().filter(|_| person.email_verified);
    for (name, value) in [
        ("x-forwarded-email", email),
        ("x-forwarded-name", person.name.as_deref()),
        ("x-forwarded-groups", groups.as_deref()),
        ("x-forwarded-organization", person.organization_id.as_deref()),
    ] {
        if let Some(value) = value {
            insert(headers, name, value);
        }
    }
}

/// A name may hold letters that a header may not: such a value goes percent-encoded, in whole.
fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'%');
    let value = if plain {
        HeaderValue::from_str(value)
    } else {
        let encoded = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string();
        HeaderValue::from_str(&encoded)
    };
    if let Ok(value) = value {
        headers.insert(HeaderName::from_static(name), value);
    }
}

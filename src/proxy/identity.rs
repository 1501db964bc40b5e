//! Telling an upstream who calls (gateway.md §10 `forwardIdentity`; PROX-14, WOS-12).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::ProxyError;
use super::{Call, Proxy};
use crate::config::model::ForwardIdentity;
use crate::domain::Person;
use crate::domain::random::random_id;
use crate::keys::AssertedCall;

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
        let about = AssertedCall {
            issuer: call.origin,
            audience: call.to.upstream.audience(),
            client: token.client(),
            scope: token.scope(),
            session: token.session(),
            jti: &random_id("", &*self.random),
        };
        let assertion =
            self.assertions.issue(&person, about, self.clock.now()).map_err(|_| ProxyError::PersonUnknown)?;
        insert(headers, "x-doorward-assertion", &assertion);
        Ok(())
    }
}

fn add_headers(person: &Person, headers: &mut HeaderMap) {
    insert(headers, "x-forwarded-user", &readable(person.id.as_str()));
    // The list is separated by commas, so a name with one in it would pass for two groups once it is decoded.
    let groups = person.groups.iter().filter(|group| !group.is_empty() && !group.contains(','));
    let groups: Vec<_> = groups.map(|group| readable(group)).collect();
    // An upstream that decides by address must be able to rely on it: anybody can sign up with another's.
    let email = person.email.as_deref().filter(|_| person.email_verified);
    for (name, value) in [
        ("x-forwarded-email", email),
        ("x-forwarded-name", person.name.as_deref()),
        ("x-forwarded-organization", person.organization_id.as_deref()),
        ("x-forwarded-impersonator", person.impersonator.as_deref()),
    ] {
        if let Some(value) = value {
            insert(headers, name, &readable(value));
        }
    }
    insert(headers, "x-forwarded-groups", &groups.join(","));
}

/// What may stand in a header as it is; else, in whole, percent-encoded UTF-8 (RFC 3986 §2.1). A `%` is always encoded,
/// so that whoever decodes every value is right. So is space at an end: parsers drop it there, and ` admin` would be `admin`.
fn readable(value: &str) -> Cow<'_, str> {
    let plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'%') && value.trim() == value;
    if plain { value.into() } else { utf8_percent_encode(value, NON_ALPHANUMERIC).into() }
}

/// A header for what is known; none is sent empty.
fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value)
        && !value.is_empty()
    {
        headers.insert(HeaderName::from_static(name), value);
    }
}

//! What verified claims say of a person (OpenID Connect Core §5.1, gateway.md §6.3).

use serde_json::{Map, Value};

use crate::config::model::{ClaimPath, PersonClaims, ProviderProfile};
use crate::domain::{Person, SubjectId};
use crate::identity::LoginError;

/// Whether userinfo may know what the ID token leaves out: the address, or a claim that was configured.
pub(super) fn is_incomplete(claims: &Map<String, Value>, paths: &PersonClaims) -> bool {
    let configured = [&paths.roles, &paths.groups, &paths.permissions].into_iter().flatten();
    !claims.contains_key("email") || configured.into_iter().any(|path| path.find(claims).is_none())
}

/// What the provider calls its session, for its sign-out page: `sid`, else the person.
pub(super) fn session(claims: &Map<String, Value>) -> Option<String> {
    text(claims, "sid").or_else(|| text(claims, "sub"))
}

/// The person whom `issuer` calls `sub`. Roles, groups and permissions stand at `paths`, and the rest where the provider's
/// `profile` says.
pub(in crate::identity) fn of_claims(
    claims: &Map<String, Value>,
    issuer: &str,
    paths: &PersonClaims,
    profile: &ProviderProfile,
) -> Result<Person, LoginError> {
    let subject = text(claims, "sub").ok_or_else(|| LoginError::Untrusted("the ID token lacks `sub`".to_owned()))?;
    let given_name = text(claims, "given_name");
    let family_name = text(claims, "family_name");
    let joined = [given_name.as_deref(), family_name.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let namespaced = profile.namespaced_claims;
    let name = text(claims, "name").or(Some(joined).filter(|name| !name.is_empty()));
    Ok(Person {
        id: SubjectId::derive(issuer, &subject),
        provider: issuer.to_owned(),
        subject,
        email: text(claims, "email"),
        email_verified: is_true(claims.get(profile.verified_email)),
        name: name.or_else(|| text(claims, "preferred_username")),
        given_name,
        family_name,
        username: text(claims, "preferred_username"),
        picture: text(claims, "picture"),
        organization_id: text(claims, profile.organization),
        roles: texts(claims, paths.roles.as_ref(), profile.roles, namespaced),
        groups: texts(claims, paths.groups.as_ref(), profile.groups, namespaced),
        permissions: texts(claims, paths.permissions.as_ref(), profile.permissions, namespaced),
        entitlements: Vec::new(),
        external_id: None,
        impersonator: None,
    })
}

/// What stands at the configured path; without one, where the provider usually has it.
fn texts(claims: &Map<String, Value>, path: Option<&ClaimPath>, usual: &[&str], namespaced: bool) -> Vec<String> {
    if let Some(path) = path {
        return path.texts(claims);
    }
    let found = usual
        .split_first()
        .and_then(|(first, inner)| inner.iter().try_fold(claims.get(*first)?, |value, name| value.get(name)));
    let namespaced_claim = || usual.last().filter(|_| namespaced).and_then(|name| claim_below_url(claims, name));
    ClaimPath::texts_of(found.or_else(namespaced_claim))
}

/// The claim `https://…/NAME`. Of several, none: which of them is meant has to be configured.
fn claim_below_url<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    let is_meant = |claim: &str| {
        let rest = claim.strip_prefix("https://").or_else(|| claim.strip_prefix("http://"));
        rest.and_then(|rest| rest.strip_suffix(name)).is_some_and(|space| space.len() > 1 && space.ends_with('/'))
    };
    let mut meant = claims.iter().filter(|(claim, _)| is_meant(claim)).map(|(_, value)| value);
    let first = meant.next();
    if meant.next().is_some() {
        tracing::warn!(event = "provider_claim_ambiguous", claim = name);
        return None;
    }
    first
}

fn text(claims: &Map<String, Value>, name: &str) -> Option<String> {
    claims.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Some providers write booleans as text or numbers.
fn is_true(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(value)) => *value,
        Some(Value::String(text)) => text == "true" || text == "1",
        Some(Value::Number(number)) => number.as_u64() == Some(1),
        _ => false,
    }
}

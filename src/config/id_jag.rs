//! `idJag`: whose identity assertions count (gateway.md §3, EXT-2).

use url::Url;

use super::diagnostic::{Place, Problems};
use super::document::Node;
use super::model::{LoginProvider, PersonClaims, ProviderProfile};
use super::{access, oidc, raw};

/// A provider that clients may bring assertions of.
#[derive(Debug, Clone)]
pub struct TrustedIssuer {
    /// Byte for byte what `iss` holds.
    pub issuer: String,
    /// `None`: as the issuer's metadata say.
    pub jwks: Option<Url>,
    /// `client_id` of the assertions that count; any when empty.
    pub expected_client_ids: Vec<String>,
    pub subject_mapping: SubjectMapping,
    /// Where its assertions say what a person may do.
    pub claims: PersonClaims,
    pub profile: ProviderProfile,
}

/// Which claims name the person of an assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectMapping {
    /// `iss` and `sub`: never somebody who signs in with a browser.
    Issuer,
    /// `iss`, `tenant` and `sub`, where `sub` alone is unique within a tenant only.
    IssuerAndTenant,
    /// `sub`, as the login's own provider gives it: the person who signs in with a browser under it.
    Login,
}

/// The trusted issuers; none when the option is off. `node` is the login policy's options. `provider` is absent after a
/// problem of its own.
pub(super) fn resolve(
    raw: &raw::IdJag,
    node: &Node,
    provider: Option<&LoginProvider>,
    clients: &[raw::StaticClient],
    problems: &mut Problems,
) -> Vec<TrustedIssuer> {
    let list = node.find(&["idJag", "trustedIssuers"]);
    if raw.enabled && raw.trusted_issuers.is_empty() {
        problems
            .add("missing", node.find(&["idJag", "enabled"]).place, "`idJag` is enabled and trusts nobody")
            .help("name a provider: `\"trustedIssuers\": [{\"issuer\": \"https://login.example.com\"}]`");
    }
    check_grant_types(raw, node, clients, problems);
    let mut issuers: Vec<TrustedIssuer> = Vec::new();
    let mut seen: Vec<(&str, Place)> = Vec::new();
    for (index, entry) in raw.trusted_issuers.iter().enumerate() {
        let node = list.find(&[&index.to_string()]);
        let issuer = oidc::issuer(entry.issuer.as_deref(), &node, problems);
        let jwks = entry
            .jwks_url
            .as_deref()
            .and_then(|url| oidc::endpoint(url, &node.find(&["jwksUrl"]), "jwksUrl", problems));
        access::check_client_ids(&entry.expected_client_ids, &node.find(&["expectedClientIds"]), clients, problems);
        let Some((issuer, _)) = issuer else { continue };
        check_duplicate(entry.issuer.as_deref().unwrap_or_default(), &node, &mut seen, problems);
        let own = provider.and_then(|provider| match provider {
            LoginProvider::Oidc(options) => Some(options).filter(|options| options.issuer == issuer),
            _ => None,
        });
        let subject_mapping = match entry.subject_mapping {
            raw::SubjectMapping::IssPrefix => SubjectMapping::Issuer,
            raw::SubjectMapping::IssTenantPrefix => SubjectMapping::IssuerAndTenant,
            raw::SubjectMapping::SubIdOnly => {
                if provider.is_some() && own.is_none() {
                    refuse_bare_subject(&node, problems);
                }
                SubjectMapping::Login
            }
        };
        issuers.push(TrustedIssuer {
            issuer,
            jwks,
            expected_client_ids: entry.expected_client_ids.clone(),
            subject_mapping,
            claims: own.map(|options| options.claims.clone()).unwrap_or_default(),
            profile: own.map_or(ProviderProfile::STANDARD, |options| options.profile),
        });
    }
    if raw.enabled { issuers } else { Vec::new() }
}

/// Two people of two providers may have one `sub`.
fn refuse_bare_subject(node: &Node, problems: &mut Problems) {
    problems
        .add(
            "conflict",
            node.find(&["subjectMapping"]).place,
            "`sub_id_only` is for the provider that people sign in with, and this is another one",
        )
        .help(
            "its `sub` may be that of somebody else here; `iss_prefix` keeps them apart. The login's own issuer is spelt as in its ID tokens",
        );
}

fn check_duplicate<'r>(issuer: &'r str, node: &Node, seen: &mut Vec<(&'r str, Place)>, problems: &mut Problems) {
    let place = node.find(&["issuer"]).place;
    if let Some((_, first)) = seen.iter().find(|(other, _)| *other == issuer) {
        let first = problems.locate(*first, place);
        problems
            .add("duplicate", place, format!("the issuer `{issuer}` is trusted twice"))
            .help(format!("the first stands {first}; keep one of them"));
    }
    seen.push((issuer, place));
}

/// A client cannot be let in by a grant type that is switched off.
fn check_grant_types(raw: &raw::IdJag, node: &Node, clients: &[raw::StaticClient], problems: &mut Problems) {
    if raw.enabled {
        return;
    }
    for (index, client) in clients.iter().enumerate() {
        if client.grant_types.as_ref().is_some_and(|types| types.contains(&raw::GrantType::JwtBearer)) {
            let at = node.find(&["gateway", "clients", &index.to_string(), "grantTypes"]);
            problems
                .add("conflict", at.place, "this client brings identity assertions, and `idJag` is not enabled")
                .help("add `\"idJag\": {\"enabled\": true, \"trustedIssuers\": […]}` to the options");
        }
    }
}

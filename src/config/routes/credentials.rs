//! Which credential goes with the calls of a route (gateway.md §8).

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use url::Url;

use super::super::model::{HeaderChange, Upstream};
use super::super::token_exchange::{self, Credential};
use super::{Operation, Policies, Problems, Rule, raw};
use crate::config::diagnostic::Place;

/// A route has one credential at most, and no other policy writes the header it stands in.
pub(super) fn check(
    operation: &Operation,
    settings: &raw::RouteSettings,
    policies: &Policies,
    problems: &mut Problems,
) {
    let inbound = operation.find(&["policies", "inbound"]);
    let named = || settings.policies.inbound.iter().enumerate();
    let mut credentials = named().filter(|(_, name)| matches!(policies.rule(name), Some(Rule::Credential(_))));
    let Some((_, first)) = credentials.next() else { return };
    if let Some((index, second)) = credentials.find(|(_, name)| *name != first) {
        problems
            .add(
                "conflict",
                inbound.find(&[&index.to_string()]).place,
                format!(
                    "`{second}` is a second token exchange policy on this route, and its server takes one credential"
                ),
            )
            .help(format!("keep `{first}` or this one; for both servers, make two routes"));
    }
    for (index, name) in named().filter(|(_, name)| policies.rule(name).is_some_and(sets_authorization)) {
        problems
            .add(
                "conflict",
                inbound.find(&[&index.to_string()]).place,
                format!("`{name}` sets `Authorization`, where the credential of `{first}` stands"),
            )
            .help("keep the one that the server wants");
    }
}

fn sets_authorization(rule: &Rule) -> bool {
    let Rule::Headers(changes) = rule else { return false };
    changes.iter().any(|change| matches!(change, HeaderChange::Set { name, .. } if *name == AUTHORIZATION))
}

/// The upstreams of the routes read so far, by their policy, and where each was first named.
#[derive(Default)]
pub(super) struct Credentials(BTreeMap<String, (Arc<Upstream>, Place)>);

impl Credentials {
    /// What the server of a route wants. A policy belongs to one server: what was given for it goes to no other.
    pub fn of_route(
        &mut self,
        operation: &Operation,
        policies: &Policies,
        url: &Url,
        problems: &mut Problems,
    ) -> Option<Arc<Upstream>> {
        let (index, name, credential) = named(operation, policies)?;
        let place = operation.find(&["policies", "inbound", &index.to_string()]).place;
        let server = token_exchange::server(url);
        let (upstream, first) = self.0.entry(name.to_owned()).or_insert_with(|| (Arc::new(credential.at(url)), place));
        if upstream.server != server {
            let first = problems.locate(*first, place);
            problems.add("conflict", place, format!("`{name}` holds the credential of another server")).help(format!(
                "the route that names it {first} has another `rewritePattern`; add a policy for this server"
            ));
        }
        Some(Arc::clone(upstream))
    }
}

fn named<'a>(operation: &'a Operation, policies: &'a Policies) -> Option<(usize, &'a str, &'a Credential)> {
    let mut inbound = operation.settings.as_ref()?.policies.inbound.iter().enumerate();
    inbound.find_map(|(index, name)| match policies.rule(name)? {
        Rule::Credential(credential) => Some((index, name.as_str(), credential.as_ref())),
        _ => None,
    })
}

//! Scopes (RFC 6749 §3.3): sets, and the catalogue of what can be granted (SCOPE-1 … SCOPE-5).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// Scopes of OpenID Connect that clients ask for out of habit. Tolerated, never granted (SCOPE-4).
const TOLERATED: &[&str] = &["openid", "profile", "email", OFFLINE_ACCESS];
/// The scope that opens a route's MCP server.
pub const MCP_TOOLS: &str = "mcp:tools";
/// Advertised for clients that look for it (SEP-2207), never granted: refresh tokens do not hang on it (REFR-1).
pub const OFFLINE_ACCESS: &str = "offline_access";

/// A set of scopes; written separated by spaces, in one order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ScopeSet(BTreeSet<String>);

impl ScopeSet {
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    #[must_use]
    pub fn contains(&self, scope: &str) -> bool {
        self.0.contains(scope)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }

    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }
}

impl FromIterator<String> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = String>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl From<String> for ScopeSet {
    fn from(text: String) -> Self {
        Self::parse(&text)
    }
}

impl From<ScopeSet> for String {
    fn from(set: ScopeSet) -> Self {
        set.to_string()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope)?;
        }
        Ok(())
    }
}

/// Nothing of what was asked for can be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("none of the requested scopes can be granted")]
pub struct InvalidScope;

/// The scopes of the gateway and what each implies.
#[derive(Debug, Clone)]
pub struct ScopeCatalog {
    implied: BTreeMap<String, Vec<String>>,
}

impl ScopeCatalog {
    #[must_use]
    pub fn new(scopes: &BTreeMap<String, Vec<String>>) -> Self {
        let mut implied = scopes.clone();
        for targets in scopes.values() {
            for target in targets {
                implied.entry(target.clone()).or_default();
            }
        }
        Self { implied }
    }

    /// All scopes that can be granted.
    #[must_use]
    pub fn grantable(&self) -> ScopeSet {
        self.implied.keys().cloned().collect()
    }

    /// What every call of a route needs: `mcp:tools`, or everything where that does not exist, and `required`.
    /// A request without a scope of ours gets it (SCOPE-1, SCOPE-4).
    #[must_use]
    pub fn needed(&self, required: &ScopeSet) -> ScopeSet {
        let base = if self.implied.contains_key(MCP_TOOLS) { ScopeSet::parse(MCP_TOOLS) } else { self.grantable() };
        base.union(required)
    }

    /// What the authorization-server metadata lists (SCOPE-2).
    #[must_use]
    pub fn advertised(&self) -> Vec<String> {
        self.implied.keys().cloned().chain([OFFLINE_ACCESS.to_owned()]).collect()
    }

    /// What a request is granted: unknown scopes are dropped, a request of none, or of tolerated ones alone,
    /// gets `default`, what its route needs (SCOPE-3, SCOPE-4). `limit` is what the client may have, with what that implies; one
    /// that names no scope of ours is a self-described client's idle wish and limits nothing (DCR-7).
    ///
    /// # Errors
    /// [`InvalidScope`] when something else was asked for and nothing of it can be granted.
    pub fn resolve(
        &self,
        requested: Option<&str>,
        limit: Option<&ScopeSet>,
        default: &ScopeSet,
    ) -> Result<ScopeSet, InvalidScope> {
        let requested = ScopeSet::parse(requested.unwrap_or_default());
        let allowed = limit.map(|limit| self.covered(limit)).filter(|allowed| !allowed.is_empty());
        let allowed = allowed.unwrap_or_else(|| self.grantable());
        let granted = requested.intersection(&allowed);
        if !granted.is_empty() {
            return Ok(granted);
        }
        if !requested.iter().all(|scope| TOLERATED.contains(&scope)) {
            return Err(InvalidScope);
        }
        let default = default.intersection(&allowed);
        Ok(if default.is_empty() { allowed } else { default })
    }

    /// What a refresh may narrow an access token to (REFR-8): never more than was granted.
    ///
    /// # Errors
    /// [`InvalidScope`] when nothing granted is left.
    pub fn narrow(&self, granted: &ScopeSet, requested: &str) -> Result<ScopeSet, InvalidScope> {
        let requested = ScopeSet::parse(requested);
        if requested.iter().all(|scope| TOLERATED.contains(&scope)) {
            return Ok(granted.clone());
        }
        let left: ScopeSet =
            requested.iter().filter(|scope| self.satisfies(granted, scope)).map(str::to_owned).collect();
        if left.is_empty() { Err(InvalidScope) } else { Ok(left) }
    }

    /// The grantable scopes that a set holds, itself or by implication.
    fn covered(&self, scopes: &ScopeSet) -> ScopeSet {
        self.implied.keys().filter(|scope| self.satisfies(scopes, scope)).cloned().collect()
    }

    /// Whether a granted set holds `needed`, itself or by implication (SCOPE-5).
    #[must_use]
    pub fn satisfies(&self, granted: &ScopeSet, needed: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = granted.iter().collect();
        while let Some(scope) = open.pop() {
            if scope == needed {
                return true;
            }
            if seen.insert(scope)
                && let Some(implied) = self.implied.get(scope)
            {
                open.extend(implied.iter().map(String::as_str));
            }
        }
        false
    }

    fn implies(&self, scope: &str, other: &str) -> bool {
        self.satisfies(&ScopeSet::parse(scope), other)
    }

    /// What a person may clear of a request (CONS-17): all but what its route needs, what brings that where nobody asked for
    /// it by name, and what comes with either anyway.
    #[must_use]
    pub fn optional(&self, requested: &ScopeSet, needed: &ScopeSet) -> ScopeSet {
        let serves =
            |scope: &str, needed: &str| scope == needed || !requested.contains(needed) && self.implies(scope, needed);
        let required: ScopeSet =
            requested.iter().filter(|scope| needed.iter().any(|one| serves(scope, one))).map(str::to_owned).collect();
        requested.iter().filter(|scope| !self.satisfies(&required, scope)).map(str::to_owned).collect()
    }

    /// What is left of a set when some scopes are cleared: nothing that implies one of them either, or it would be granted
    /// all the same (CONS-17, SCOPE-5).
    #[must_use]
    pub fn without(&self, scopes: &ScopeSet, cleared: &ScopeSet) -> ScopeSet {
        let stays = |scope: &&str| !cleared.iter().any(|cleared| self.implies(scope, cleared));
        scopes.iter().filter(stays).map(str::to_owned).collect()
    }

    /// A scope in words for the consent page (CONS-6).
    #[must_use]
    pub fn describe(&self, scope: &str) -> String {
        match scope {
            MCP_TOOLS => "Use the tools, prompts and resources of this server on your behalf".to_owned(),
            other => format!("Act with the permission “{other}” on this server"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn catalog() -> ScopeCatalog {
        let mut scopes = BTreeMap::new();
        scopes.insert("mcp:tools".to_owned(), vec![]);
        scopes.insert("admin".to_owned(), vec!["write".to_owned()]);
        scopes.insert("write".to_owned(), vec!["read".to_owned(), "admin".to_owned()]);
        ScopeCatalog::new(&scopes)
    }

    fn default() -> ScopeSet {
        catalog().needed(&ScopeSet::default())
    }

    // SCOPE-3, SCOPE-4, SCOPE-7
    #[test]
    fn unknown_scopes_are_dropped_and_openid_ones_tolerated() {
        let catalog = catalog();
        for (asked, granted) in [
            (None, Ok("mcp:tools")),
            (Some(""), Ok("mcp:tools")),
            (Some("openid profile email offline_access"), Ok("mcp:tools")),
            (Some("mcp:tools openid"), Ok("mcp:tools")),
            (Some("mcp:tools everything"), Ok("mcp:tools")),
            (Some("read write"), Ok("read write")),
            (Some("everything"), Err(InvalidScope)),
            (Some("openid everything"), Err(InvalidScope)),
        ] {
            assert_eq!(
                catalog.resolve(asked, None, &default()).map(|set| set.to_string()),
                granted.map(str::to_owned),
                "{asked:?}"
            );
        }
        let all = catalog.advertised().join(" ");
        assert_eq!(catalog.resolve(Some(&all), None, &default()).unwrap(), catalog.grantable());
        let limit = ScopeSet::parse("read");
        assert_eq!(catalog.resolve(None, Some(&limit), &default()).unwrap(), limit);
        assert_eq!(catalog.resolve(Some("write"), Some(&limit), &default()), Err(InvalidScope));
    }

    // SCOPE-1, SCOPE-4
    #[test]
    fn a_request_without_scopes_of_ours_gets_what_its_route_needs() {
        let catalog = catalog();
        let needed = catalog.needed(&ScopeSet::parse("write"));
        assert_eq!(needed, ScopeSet::parse("mcp:tools write"));
        for asked in [None, Some("openid offline_access")] {
            assert_eq!(catalog.resolve(asked, None, &needed).unwrap(), needed);
        }
        assert_eq!(catalog.resolve(Some("mcp:tools"), None, &needed).unwrap(), default());
        let without_base = ScopeCatalog::new(&BTreeMap::from([("files".to_owned(), Vec::new())]));
        assert_eq!(without_base.needed(&ScopeSet::default()), ScopeSet::parse("files"));
    }

    // DCR-7, SCOPE-5
    #[test]
    fn a_limit_covers_what_it_implies_and_one_without_scopes_of_ours_limits_nothing() {
        let catalog = catalog();
        let write = ScopeSet::parse("write");
        assert_eq!(catalog.resolve(Some("read mcp:tools"), Some(&write), &default()), Ok(ScopeSet::parse("read")));
        assert_eq!(catalog.resolve(None, Some(&write), &default()), Ok(ScopeSet::parse("admin read write")));
        for idle in ["", "openid repo:write"] {
            assert_eq!(
                catalog.resolve(None, Some(&ScopeSet::parse(idle)), &default()),
                Ok(ScopeSet::parse("mcp:tools")),
                "{idle}"
            );
        }
    }

    // CONS-3, CONS-17
    #[test]
    fn a_set_lies_within_another_only_if_every_scope_of_it_does() {
        let [read, both] = ["read", "read write"].map(ScopeSet::parse);
        assert!(read.is_subset(&both) && both.is_subset(&both));
        assert!(!both.is_subset(&read));
        assert_eq!((both.difference(&read), read.difference(&both)), (ScopeSet::parse("write"), ScopeSet::default()));
    }

    // SCOPE-5, REFR-8
    #[test]
    fn a_broad_scope_satisfies_a_narrow_one_also_round_a_cycle() {
        let catalog = catalog();
        let write = ScopeSet::parse("write");
        assert!(catalog.satisfies(&write, "read"));
        assert!(catalog.satisfies(&write, "admin"));
        assert!(!catalog.satisfies(&write, "mcp:tools"));
        assert_eq!(catalog.narrow(&write, "read").unwrap().to_string(), "read");
        assert_eq!(catalog.narrow(&write, "mcp:tools"), Err(InvalidScope));
        assert_eq!(catalog.narrow(&write, "offline_access").unwrap(), write);
    }

    // CONS-17
    #[rstest]
    #[case::beside_what_is_needed("mcp:tools read", "mcp:tools", "read")]
    #[case::nothing_beside_it("mcp:tools", "mcp:tools", "")]
    #[case::also_needed_by_the_route("mcp:tools read", "mcp:tools read", "")]
    #[case::what_brings_the_needed_one("all", "mcp:tools", "")]
    #[case::what_would_bring_what_is_there("all mcp:tools", "mcp:tools", "all")]
    #[case::what_comes_with_a_required_one("all files:write", "mcp:tools", "")]
    #[case::what_a_needed_one_implies("write read mcp:tools", "mcp:tools write", "")]
    #[case::nothing_of_use_to_the_route("read write", "mcp:tools", "read write")]
    fn a_person_may_do_without_what_the_route_does_without(
        #[case] requested: &str,
        #[case] needed: &str,
        #[case] optional: &str,
    ) {
        let scopes = [("all", &["files:write", "mcp:tools"][..]), ("write", &["read"])];
        let scopes = scopes.map(|(name, implied)| (name.to_owned(), implied.iter().map(ToString::to_string).collect()));
        let catalog = ScopeCatalog::new(&BTreeMap::from(scopes));
        let [requested, needed] = [requested, needed].map(ScopeSet::parse);
        assert_eq!(catalog.optional(&requested, &needed), ScopeSet::parse(optional));
    }

    // CONS-17, SCOPE-5
    #[test]
    fn what_was_cleared_does_not_come_back_with_what_implies_it() {
        let catalog = catalog();
        for (scopes, cleared, left) in [
            ("mcp:tools read write", "", "mcp:tools read write"),
            ("mcp:tools read write", "write", "mcp:tools read"),
            ("mcp:tools read write", "read", "mcp:tools"),
            ("mcp:tools read", "admin everything", "mcp:tools read"),
            ("read", "read", ""),
        ] {
            let [scopes, cleared] = [scopes, cleared].map(ScopeSet::parse);
            assert_eq!(catalog.without(&scopes, &cleared), ScopeSet::parse(left), "{scopes} without {cleared}");
        }
    }

    // SCOPE-3, REFR-8
    proptest::proptest! {
        #[test]
        fn whatever_is_granted_is_grantable_and_never_more_than_before(asked in "([a-z:]{1,5} |read |write |mcp:tools ){0,4}") {
            let catalog = catalog();
            if let Ok(granted) = catalog.resolve(Some(&asked), None, &default()) {
                assert!(!granted.is_empty() && granted.is_subset(&catalog.grantable()));
                if let Ok(narrowed) = catalog.narrow(&granted, &asked) {
                    assert!(narrowed.iter().all(|scope| catalog.satisfies(&granted, scope)));
                }
            }
            assert_eq!(ScopeSet::parse(&ScopeSet::parse(&asked).to_string()), ScopeSet::parse(&asked));
        }
    }
}

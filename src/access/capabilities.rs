//! What a caller may see and use of a server (`mcp-capability-filter-inbound`, gateway.md §9; STRM-12).
//!
//! In each list a `!` entry that fits hides the item. Else the entry that names it exactly decides, else the first
//! pattern that fits; what no entry fits is hidden. Several filters of a route must agree.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::config::model::{Audience, CapabilityEntry, CapabilityFilter, Demands, HeldClaim};
use crate::domain::{ClientId, Person};
use crate::mcp::capability::{Capability, Selection};
use crate::mcp::posted::Target;
use crate::oauth::scope::ScopeSet;

/// Bytes of a name or URI that patterns are compared with.
const MAX_COMPARED: usize = 8192;

/// The filters of a route as one caller meets them.
#[derive(Debug, Clone)]
pub struct Visible {
    filters: Arc<[CapabilityFilter]>,
    /// Absent on public routes, and where no filter asks who it is.
    person: Option<Arc<Person>>,
    client: Option<ClientId>,
}

/// How a URI or a name is compared with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    /// A listed item by its own key.
    Listed,
    /// A URI that a template may have made.
    Made,
}

impl Visible {
    #[must_use]
    pub fn new(filters: Arc<[CapabilityFilter]>, person: Option<Arc<Person>>, client: Option<ClientId>) -> Self {
        Self { filters, person, client }
    }

    /// What a request for an item needs beside the route's own scopes; `None` when the item is hidden.
    #[must_use]
    pub fn demands(&self, target: &Target) -> Option<Demands> {
        let mut all = Demands::default();
        for filter in self.filters.iter() {
            let demands = self.of_filter(filter, target)?;
            all.scope = all.scope.union(&demands.scope);
            all.max_age = all.max_age.into_iter().chain(demands.max_age).min();
        }
        Some(all)
    }

    fn of_filter(&self, filter: &CapabilityFilter, target: &Target) -> Option<Demands> {
        let of_one = |kind: Capability, name: &str| match list(filter, kind) {
            None => Some(Demands::default()),
            Some(entries) => self.entry(filter, entries, name, Compared::Listed).map(|entry| entry.demands.clone()),
        };
        let passes = |passes: bool| passes.then(Demands::default);
        match target {
            Target::Tool(name) => of_one(Capability::Tool, name),
            Target::Prompt(name) => of_one(Capability::Prompt, name),
            Target::Resource(uri) => passes(self.reads(filter, uri)),
            Target::Template(uri) => passes(self.completes(filter, uri)),
            Target::Unnamed(kinds) => passes(kinds.iter().all(|kind| list(filter, *kind).is_none())),
        }
    }

    /// A resource may be listed, or made of a template.
    fn reads(&self, filter: &CapabilityFilter, uri: &str) -> bool {
        if [&filter.resources, &filter.resource_templates].into_iter().flatten().any(|entries| is_hidden(entries, uri))
        {
            return false;
        }
        let Some(resources) = &filter.resources else { return true };
        let templates = filter.resource_templates.as_deref().unwrap_or_default();
        self.entry(filter, resources, uri, Compared::Listed).is_some()
            || self.entry(filter, templates, uri, Compared::Made).is_some()
    }

    /// Completions are of a template, or of the URI of a resource.
    fn completes(&self, filter: &CapabilityFilter, uri: &str) -> bool {
        if [&filter.resources, &filter.resource_templates].into_iter().flatten().any(|entries| is_hidden(entries, uri))
        {
            return false;
        }
        let Some(templates) = &filter.resource_templates else { return true };
        let resources = filter.resources.as_deref().unwrap_or_default();
        self.entry(filter, templates, uri, Compared::Listed).is_some()
            || self.entry(filter, resources, uri, Compared::Listed).is_some()
    }

    /// The entry that shows an item to the caller.
    fn entry<'f>(
        &self,
        filter: &CapabilityFilter,
        entries: &'f [CapabilityEntry],
        name: &str,
        compared: Compared,
    ) -> Option<&'f CapabilityEntry> {
        if is_hidden(entries, name) {
            return None;
        }
        let mut showing = entries.iter().filter(|entry| !entry.hides);
        let exact = showing.clone().find(|entry| entry.name == name && compared == Compared::Listed);
        let entry = exact.or_else(|| showing.find(|entry| fits(&entry.name, name, compared)))?;
        self.is_among(filter, entry).then_some(entry)
    }

    /// Whether the entry is for the caller.
    fn is_among(&self, filter: &CapabilityFilter, entry: &CapabilityEntry) -> bool {
        let through = entry.clients.as_ref().is_none_or(|clients| {
            self.client.as_ref().is_some_and(|client| clients.iter().any(|allowed| allowed == client.as_str()))
        });
        through
            && match &entry.audience {
                Audience::Everyone => true,
                Audience::Holders { roles, groups, permissions } => self.person.as_ref().is_some_and(|person| {
                    has_one(held(person, filter.role_claim), roles)
                        || has_one(held(person, filter.group_claim), groups)
                        || has_one(&person.permissions, permissions)
                }),
            }
    }
}

impl Selection for Visible {
    fn covers(&self, kind: Capability) -> bool {
        self.filters.iter().any(|filter| list(filter, kind).is_some())
    }

    fn shown(&self, kind: Capability, key: &str) -> Option<Map<String, Value>> {
        let mut replaced = Map::new();
        for filter in self.filters.iter() {
            let Some(entries) = list(filter, kind) else { continue };
            let entry = self.entry(filter, entries, key, Compared::Listed)?;
            replaced.extend(entry.replaced.clone());
        }
        Some(replaced)
    }
}

/// What a token lacks for a call. `held` tells whether it carries a scope, `signed_in` how many seconds ago the person
/// signed in, if that is known.
///
/// # Errors
/// [`StepUp`], for the first that is missing.
pub fn check_demands(demands: &Demands, held: impl Fn(&str) -> bool, signed_in: Option<u64>) -> Result<(), StepUp> {
    if !demands.scope.iter().all(held) {
        return Err(StepUp::Scope(demands.scope.clone()));
    }
    match demands.max_age {
        Some(max_age) if signed_in.is_none_or(|ago| ago > max_age.as_secs()) => Err(StepUp::Login(max_age.as_secs())),
        _ => Ok(()),
    }
}

/// What the caller has to come back with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepUp {
    #[error("the call needs the scope {0}")]
    Scope(ScopeSet),
    /// A login that is at most so many seconds old.
    #[error("the call needs a login of the last {0} seconds")]
    Login(u64),
}

fn list(filter: &CapabilityFilter, kind: Capability) -> Option<&[CapabilityEntry]> {
    let list = match kind {
        Capability::Tool => &filter.tools,
        Capability::Prompt => &filter.prompts,
        Capability::Resource => &filter.resources,
        Capability::ResourceTemplate => &filter.resource_templates,
    };
    list.as_deref()
}

fn held(person: &Person, claim: HeldClaim) -> &[String] {
    match claim {
        HeldClaim::Roles => &person.roles,
        HeldClaim::Groups => &person.groups,
        HeldClaim::Permissions => &person.permissions,
        HeldClaim::Entitlements => &person.entitlements,
    }
}

fn has_one(held: &[String], asked: &[String]) -> bool {
    held.iter().any(|value| asked.contains(value))
}

/// Whether a `!` entry fits, also in another spelling of the same URI.
fn is_hidden(entries: &[CapabilityEntry], name: &str) -> bool {
    let mut hiding = entries.iter().filter(|entry| entry.hides).peekable();
    if hiding.peek().is_none() {
        return false;
    }
    let decoded = percent_decode_str(name).decode_utf8_lossy();
    let plain = with_plain_scheme(&decoded);
    let names = [name, decoded.as_ref(), plain.as_str()];
    // What is too long to be compared is not shown.
    name.len() > MAX_COMPARED || hiding.any(|entry| names.iter().any(|name| matches(&entry.name, name, Compared::Made)))
}

/// Scheme and host in lower case, as RFC 3986 §6.2.2.1 takes them for the same.
fn with_plain_scheme(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    format!("{}://{}{path}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase())
}

/// Whether an entry with `*`, or a template, fits. A URI that climbs fits none: where it leads is not where it seems to.
fn fits(pattern: &str, name: &str, compared: Compared) -> bool {
    name.len() <= MAX_COMPARED && !climbs(name) && matches(pattern, name, compared)
}

/// Whether a URI has `.` or `..` among its segments, in whatever spelling.
fn climbs(name: &str) -> bool {
    let decoded = percent_decode_str(name).decode_utf8_lossy();
    let twice = percent_decode_str(&decoded).decode_utf8_lossy();
    twice.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."))
}

/// A piece of a pattern. What a template's expression stands for has a first character at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Letter(char),
    /// Any text.
    Any,
    /// One character within a segment of a path.
    One,
    /// Any text within a segment.
    Segment,
}

impl Piece {
    fn takes(self, letter: char) -> bool {
        match self {
            Self::Letter(own) => own == letter,
            Self::Any => true,
            Self::One | Self::Segment => !matches!(letter, '/' | '?' | '#'),
        }
    }

    /// Whether it may take any number of characters, and none.
    fn repeats(self) -> bool {
        matches!(self, Self::Any | Self::Segment)
    }
}

/// `*` is any text. In a URI that a template made, so is `{…}`, within a segment unless it says otherwise (RFC 6570 §3.2).
fn pieces(pattern: &str, compared: Compared) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        match (letter, rest.split_once('}')) {
            ('*', _) => pieces.push(Piece::Any),
            ('{', Some((expression, after))) if compared == Compared::Made => {
                rest = after;
                let within = !expression.starts_with(['+', '#', '.', '/', ';', '?', '&', '=', ',', '!', '@', '|']);
                let single = within && !expression.ends_with('*');
                pieces.extend(if single { &[Piece::One, Piece::Segment][..] } else { &[Piece::Any] });
            }
            _ => pieces.push(Piece::Letter(letter)),
        }
    }
    pieces
}

/// Whether a pattern is the whole text. Goes over the text once, with all the places of the pattern where it may be.
fn matches(pattern: &str, text: &str, compared: Compared) -> bool {
    let pieces = pieces(pattern, compared);
    let mut at = vec![false; pieces.len() + 1];
    at[0] = true;
    skip(&pieces, &mut at);
    for letter in text.chars() {
        let mut next = vec![false; at.len()];
        for (index, piece) in pieces.iter().enumerate().filter(|(index, _)| at[*index]) {
            if piece.takes(letter) {
                next[if piece.repeats() { index } else { index + 1 }] = true;
            }
        }
        skip(&pieces, &mut next);
        at = next;
    }
    at[pieces.len()]
}

/// What may take nothing may be passed over.
fn skip(pieces: &[Piece], at: &mut [bool]) {
    for (index, piece) in pieces.iter().enumerate() {
        if at[index] && piece.repeats() {
            at[index + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests;

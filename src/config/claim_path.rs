//! Where in a provider's claims something stands: `roleClaim`, `groupClaim`, `permissionClaim` (IDP-17).
//!
//! | written | read |
//! |---|---|
//! | `roles` | the claim `roles` |
//! | `realm_access.roles` | the claim of exactly that name; without one, `roles` inside `realm_access` |
//! | `https://example.com/roles` | the claim of exactly that name: dots of a host never separate |
//! | `my\.app.roles` | `roles` inside `my.app`: with an escape, every other dot separates and no whole name is tried |

use serde_json::{Map, Value};

/// A parsed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath {
    /// Tried first.
    whole: Option<String>,
    /// Names from the outside in; empty when only the whole name counts.
    steps: Vec<String>,
}

/// Why a text is not a claim path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimPathError {
    #[error("a part of the path is empty")]
    Empty,
    #[error("`\\` stands before something that needs no escape")]
    Escape,
    #[error("it is not clear which dots of this URL belong to a name and which separate names")]
    Ambiguous,
}

impl ClaimPath {
    /// # Errors
    /// [`ClaimPathError`].
    pub fn parse(text: &str) -> Result<Self, ClaimPathError> {
        let steps = steps(text)?;
        let escaped = text.contains('\\');
        let Some((_, after_scheme)) = text.split_once("://") else {
            return Ok(Self { whole: (!escaped).then(|| text.to_owned()), steps });
        };
        let (host, rest) = after_scheme.split_once('/').unwrap_or((after_scheme, ""));
        match escaped {
            // Which of `https://example.com/claims` and `https://example.com/claims.roles` is the claim's name?
            false if rest.contains('.') => Err(ClaimPathError::Ambiguous),
            false => Ok(Self { whole: Some(text.to_owned()), steps: Vec::new() }),
            true if has_separator(host) => Err(ClaimPathError::Ambiguous),
            true => Ok(Self { whole: None, steps }),
        }
    }

    /// What stands there.
    #[must_use]
    pub fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let whole = self.whole.as_ref().and_then(|name| claims.get(name));
        whole.or_else(|| {
            let (first, inner) = self.steps.split_first()?;
            inner.iter().try_fold(claims.get(first)?, |value, name| value.get(name))
        })
    }

    /// The texts that stand there.
    #[must_use]
    pub fn texts(&self, claims: &Map<String, Value>) -> Vec<String> {
        Self::texts_of(self.find(claims))
    }

    /// The texts of a list, or a single one.
    #[must_use]
    pub fn texts_of(value: Option<&Value>) -> Vec<String> {
        let entries = match value {
            Some(Value::Array(entries)) => entries.as_slice(),
            Some(single) => std::slice::from_ref(single),
            None => &[],
        };
        let texts = entries.iter().filter_map(Value::as_str).map(str::trim);
        texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
    }
}

/// The names between dots, with `\.` and `\\` taken back to what they stand for.
fn steps(text: &str) -> Result<Vec<String>, ClaimPathError> {
    let mut steps = vec![String::new()];
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let letter = match letter {
            '.' => {
                steps.push(String::new());
                continue;
            }
            '\\' => letters.next().filter(|next| matches!(next, '.' | '\\')).ok_or(ClaimPathError::Escape)?,
            other => other,
        };
        if let Some(step) = steps.last_mut() {
            step.push(letter);
        }
    }
    if steps.iter().any(|step| step.trim().is_empty()) { Err(ClaimPathError::Empty) } else { Ok(steps) }
}

/// Whether a dot stands here that no `\` makes part of a name.
fn has_separator(text: &str) -> bool {
    steps(text).is_ok_and(|steps| steps.len() > 1)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn found(path: &str, claims: &Value) -> Vec<String> {
        ClaimPath::parse(path).unwrap().texts(claims.as_object().unwrap())
    }

    // IDP-17
    #[rstest]
    #[case("roles", json!({"roles": ["a", "b"]}), &["a", "b"])]
    #[case("roles", json!({"roles": "a"}), &["a"])]
    #[case("roles", json!({"roles": ["a", 7, null, " "]}), &["a"])]
    #[case("roles", json!({}), &[])]
    #[case("realm_access.roles", json!({"realm_access": {"roles": ["a"]}}), &["a"])]
    #[case("realm_access.roles", json!({"realm_access.roles": ["b"], "realm_access": {"roles": ["a"]}}), &["b"])]
    #[case("realm_access.roles", json!({"realm_access": "roles"}), &[])]
    #[case("https://example.com/roles", json!({"https://example.com/roles": ["a"], "https://example": {"com/roles": ["b"]}}), &["a"])]
    #[case("https://example.com/roles", json!({"https://example": {"com/roles": ["b"]}}), &[])]
    #[case(r"https://example\.com/claims.roles", json!({"https://example.com/claims": {"roles": ["a"]}, "https://example.com/claims.roles": ["b"]}), &["a"])]
    #[case(r"my\.app.roles", json!({"my.app": {"roles": ["a"]}, "my.app.roles": ["b"]}), &["a"])]
    #[case(r"my\.app\.roles", json!({"my.app": {"roles": ["a"]}, "my.app.roles": ["b"]}), &["b"])]
    #[case(r"back\\slash", json!({"back\\slash": ["a"]}), &["a"])]
    fn a_path_names_one_place(#[case] path: &str, #[case] claims: Value, #[case] expected: &[&str]) {
        assert_eq!(found(path, &claims), expected);
    }

    // IDP-17
    #[rstest]
    #[case("", ClaimPathError::Empty)]
    #[case(".roles", ClaimPathError::Empty)]
    #[case("a..b", ClaimPathError::Empty)]
    #[case("roles.", ClaimPathError::Empty)]
    #[case(r"a\b", ClaimPathError::Escape)]
    #[case(r"roles\", ClaimPathError::Escape)]
    #[case("https://example.com/claims.roles", ClaimPathError::Ambiguous)]
    #[case(r"https://my\.example.com/roles", ClaimPathError::Ambiguous)]
    fn an_unclear_path_is_refused(#[case] path: &str, #[case] error: ClaimPathError) {
        assert_eq!(ClaimPath::parse(path), Err(error));
    }
}

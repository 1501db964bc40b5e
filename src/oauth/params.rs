//! `application/x-www-form-urlencoded` parameters as OAuth reads them (OAuth 2.1 §3.1, §3.2): an empty value
//! counts as absent, a repeated parameter is an error, unknown ones are ignored.

use std::fmt;

/// More pairs than any client sends; the rest is not looked at.
const MAX_PAIRS: usize = 100;

/// A parameter stands more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the parameter is repeated")]
pub struct RepeatedParameter;

/// A parsed query or form body. `Debug` shows names only: values are codes, tokens and secrets (SEC-6).
#[derive(Clone, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.pairs.iter().map(|(name, _)| name)).finish()
    }
}

impl Params {
    /// Never fails: what is no pair is ignored, broken UTF-8 is replaced, and so is NUL, which no database takes.
    #[must_use]
    pub fn parse(raw: &str) -> Self {
        let pairs = url::form_urlencoded::parse(raw.as_bytes())
            .take(MAX_PAIRS)
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.into_owned(), value.replace('\0', "\u{fffd}")))
            .collect();
        Self { pairs }
    }

    /// The one value of a parameter.
    ///
    /// # Errors
    /// [`RepeatedParameter`].
    pub fn get(&self, name: &str) -> Result<Option<&str>, RepeatedParameter> {
        let mut values = self.pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(RepeatedParameter),
            (value, None) => Ok(value),
        }
    }

    /// All values of a parameter that may be repeated (RFC 8707 `resource`).
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The first parameter that is repeated, but for those that may be.
    #[must_use]
    pub fn first_repeated(&self, may_repeat: &[&str]) -> Option<&str> {
        self.pairs.iter().enumerate().find_map(|(at, (name, _))| {
            let repeated = self.pairs[..at].iter().any(|(earlier, _)| earlier == name);
            (repeated && !may_repeat.contains(&name.as_str())).then_some(name.as_str())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // AUTHZ-7, CODE-1
    #[test]
    fn an_empty_value_counts_as_absent_and_a_repeated_one_is_an_error() {
        let params = Params::parse("a=1&b=&c=2&c=3&d=x%20y&e=a+b&resource=r1&resource=r2");
        assert_eq!(params.get("a"), Ok(Some("1")));
        assert_eq!(params.get("b"), Ok(None));
        assert_eq!(params.get("missing"), Ok(None));
        assert_eq!(params.get("c"), Err(RepeatedParameter));
        assert_eq!(params.get("d"), Ok(Some("x y")));
        assert_eq!(params.get("e"), Ok(Some("a b")));
        assert_eq!(params.all("resource"), ["r1", "r2"]);
        assert_eq!(params.first_repeated(&["resource"]), Some("c"));
        assert_eq!(Params::parse("resource=1&resource=2").first_repeated(&["resource"]), None);
        assert_eq!(Params::parse("a=1&b=1").first_repeated(&[]), None);
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(raw in ".{0,400}") {
            let params = Params::parse(&raw);
            let _ = params.get("a");
            let _ = params.first_repeated(&[]);
        }
    }
}

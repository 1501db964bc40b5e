//! `$env(NAME)` and `${env.NAME}`: variables of the environment inside the configuration (gateway.md §2).
//!
//! The only reader of the process environment below the command line.

use std::collections::BTreeMap;

use super::diagnostic::Problems;
use super::document::{Kind, Node};

/// Where variables come from.
pub trait Env {
    fn get(&self, name: &str) -> Option<String>;
}

impl Env for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).cloned()
    }
}

/// The environment of this process, then the values of a `.env` file.
#[derive(Default)]
pub struct ProcessEnv {
    file: BTreeMap<String, String>,
}

impl ProcessEnv {
    /// Adds the `NAME=value` lines of a `.env` text. Variables of the process win. Understands comments, blank
    /// lines, `export`, and values in single or double quotes; it expands nothing.
    #[must_use]
    pub fn with_dotenv(text: &str) -> Self {
        let file = text.lines().filter_map(dotenv_line).collect();
        Self { file }
    }
}

impl Env for ProcessEnv {
    fn get(&self, name: &str) -> Option<String> {
        #[allow(clippy::disallowed_methods, reason = "the one place that reads variables for the configuration")]
        let process = std::env::var(name).ok();
        process.or_else(|| self.file.get(name).cloned())
    }
}

fn dotenv_line(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    if !is_name(name) {
        return None;
    }
    let value = value.trim();
    let quoted = ['"', '\''].into_iter().find_map(|quote| {
        let inner = value.strip_prefix(quote)?;
        inner.find(quote).map(|end| &inner[..end])
    });
    let value = quoted.unwrap_or_else(|| value.split_once(" #").map_or(value, |(value, _)| value.trim_end()));
    Some((name.to_owned(), value.to_owned()))
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Replaces the variables of a whole document. `$env()` means something under `handler.options` and in
/// `corsPolicies` only; elsewhere it is a problem.
pub(super) fn substitute(document: &mut Node, env: &dyn Env, problems: &mut Problems) {
    let mut walk = Walk { env, problems };
    walk.node(document, Spot::default());
}

/// What the walk knows of where it is.
#[derive(Default, Clone, Copy)]
struct Spot {
    depth: usize,
    in_handler: bool,
    allowed: bool,
    rewrite_pattern: bool,
}

struct Walk<'a> {
    env: &'a dyn Env,
    problems: &'a mut Problems,
}

impl Walk<'_> {
    fn node(&mut self, node: &mut Node, spot: Spot) {
        let inner = Spot { depth: spot.depth + 1, in_handler: false, ..spot };
        match &mut node.kind {
            Kind::List(items) => items.iter_mut().for_each(|item| self.node(item, inner)),
            Kind::Object(members) => {
                for member in members {
                    if member.name.contains("$env(") {
                        self.problems
                            .add("environment", member.place, "`$env()` cannot stand in a key")
                            .help("it is replaced in values under `handler.options` and in `corsPolicies`");
                    }
                    let allowed = spot.allowed
                        || (spot.in_handler && member.name == "options")
                        || (spot.depth == 0 && member.name == "corsPolicies");
                    let in_handler = !spot.allowed && member.name == "handler";
                    let rewrite_pattern = allowed && member.name == "rewritePattern";
                    self.node(&mut member.value, Spot { in_handler, allowed, rewrite_pattern, ..inner });
                }
            }
            Kind::Text(_) => self.text(node, spot),
            _ => {}
        }
    }

    fn text(&mut self, node: &mut Node, spot: Spot) {
        let Some(text) = node.as_text().map(str::to_owned) else { return };
        if text.contains("$env(") && !spot.allowed {
            self.problems
                .add("environment", node.place, "`$env()` is not replaced here")
                .help("it works under `handler.options` and in `corsPolicies` only");
            node.kind = Kind::Unset(String::new());
            return;
        }
        if text.contains("${env.") && spot.allowed && !spot.rewrite_pattern {
            self.problems
                .add("environment", node.place, "`${env.…}` works in `rewritePattern` only")
                .help("write `$env(NAME)`");
            node.kind = Kind::Unset(String::new());
            return;
        }
        if let Some(name) = text.strip_prefix("$env(").and_then(|rest| rest.strip_suffix(')'))
            && is_name(name)
        {
            match self.env.get(name).filter(|value| !value.is_empty()) {
                Some(value) => {
                    node.kind = Kind::Text(value);
                    node.variable = Some(name.to_owned());
                }
                None => node.kind = Kind::Unset(name.to_owned()),
            }
            return;
        }
        if spot.allowed {
            self.embedded(node, &text, spot.rewrite_pattern);
        }
    }

    /// Variables inside longer text. A value is never looked at for further variables.
    fn embedded(&mut self, node: &mut Node, text: &str, rewrite_pattern: bool) {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut variable = None;
        let mut complete = true;
        while let Some((start, open, close)) = next_variable(rest, rewrite_pattern) {
            out.push_str(&rest[..start]);
            let after = &rest[start + open.len()..];
            let name = after.find(close).map(|end| &after[..end]).filter(|name| is_name(name));
            let Some(name) = name else {
                self.problems
                    .add(
                        "environment",
                        node.place,
                        format!("`{open}` is not followed by a variable's name and `{close}`"),
                    )
                    .help(format!("write it as `{open}NAME{close}`"));
                node.kind = Kind::Unset(String::new());
                return;
            };
            if let Some(value) = self.env.get(name) {
                out.push_str(&value);
            } else {
                complete = false;
                self.problems
                    .add("environment", node.place, format!("the environment variable {name} is not set"))
                    .help(format!("set {name}, or write the value itself"));
            }
            variable = Some(name.to_owned());
            rest = &after[name.len() + close.len_utf8()..];
        }
        if variable.is_some() {
            out.push_str(rest);
            node.kind = if complete { Kind::Text(out) } else { Kind::Unset(String::new()) };
            node.variable = variable;
        }
    }
}

fn next_variable(text: &str, rewrite_pattern: bool) -> Option<(usize, &'static str, char)> {
    let plain = text.find("$env(").map(|start| (start, "$env(", ')'));
    let braced = text.find("${env.").filter(|_| rewrite_pattern).map(|start| (start, "${env.", '}'));
    plain.into_iter().chain(braced).min_by_key(|found| found.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dotenv_text_gives_its_values_without_quotes_and_comments() {
        let env = ProcessEnv::with_dotenv("# a\nA_1=x # y\nexport B_1='p # q'\nC_1=\"\"\n1X=no\nnothing\nD_1= a=b \n");
        let values = ["A_1", "B_1", "C_1", "1X", "D_1"].map(|name| env.file.get(name).map(String::as_str));
        assert_eq!(values, [Some("x"), Some("p # q"), Some(""), None, Some("a=b")]);
    }
}

//! Problems of a configuration: where, what, and what to do; as text, JSON and SARIF.
//!
//! A line of a file that is shown has its secrets blotted out ([`secrets`]), whatever the problem is.

use std::fmt::Write as _;
use std::ops::Range;

use serde_json::{Value, json};

/// Where a value stands: bytes of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub source: usize,
    pub start: usize,
    pub end: usize,
}

impl Place {
    pub fn start_of(source: usize) -> Self {
        Self { source, start: 0, end: 0 }
    }
}

/// A file, or something without lines: a flag, a missing file.
struct Source {
    name: String,
    text: Option<String>,
}

/// One problem, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// A stable name of the kind of problem, such as `unknown-key`.
    pub rule: &'static str,
    pub message: String,
    /// The file, or the flag.
    pub origin: String,
    /// `None` for flags and for files that cannot be read.
    pub position: Option<Position>,
    pub help: Option<String>,
}

/// Where in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Characters the caret covers.
    pub width: usize,
    /// The line, secrets blotted out.
    pub text: String,
}

/// Every problem of a configuration, in the order of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    pub problems: Vec<Diagnostic>,
}

impl std::error::Error for Diagnostics {}

impl std::fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// A problem as the checks report it.
pub(super) struct Problem {
    rule: &'static str,
    place: Place,
    message: String,
    help: Option<String>,
}

impl Problem {
    pub fn help(&mut self, help: impl Into<String>) {
        self.help = Some(help.into());
    }

    /// The nearest right spelling as the help, else `otherwise`.
    pub fn nearest<'a>(&mut self, given: &str, known: impl IntoIterator<Item = &'a str>, otherwise: impl Into<String>) {
        self.help = Some(match nearest(given, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => otherwise.into(),
        });
    }
}

/// The sources and what is wrong with them.
#[derive(Default)]
pub(super) struct Problems {
    sources: Vec<Source>,
    found: Vec<Problem>,
}

impl Problems {
    /// Adds a file.
    pub fn file(&mut self, name: String, text: String) -> usize {
        self.sources.push(Source { name, text: Some(text) });
        self.sources.len() - 1
    }

    /// Adds a source without lines.
    pub fn whole(&mut self, name: String) -> Place {
        self.sources.push(Source { name, text: None });
        Place::start_of(self.sources.len() - 1)
    }

    pub fn text(&self, source: usize) -> String {
        self.sources.get(source).and_then(|source| source.text.clone()).unwrap_or_default()
    }

    pub fn add(&mut self, rule: &'static str, place: Place, message: impl Into<String>) -> &mut Problem {
        self.found.push(Problem { rule, place, message: message.into(), help: None });
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    /// `line 12`, `config/other.oas.json:12` seen from elsewhere, or the flag: for "first given in".
    pub fn locate(&self, place: Place, from: Place) -> String {
        match self.sources.get(place.source) {
            Some(Source { text: Some(_), .. }) if place.source == from.source => {
                format!("in line {}", self.line_of(place))
            }
            Some(Source { text: Some(_), name }) => format!("in {name}:{}", self.line_of(place)),
            Some(Source { name, .. }) => format!("by {name}"),
            None => "elsewhere".to_owned(),
        }
    }

    /// The last part of a file's path.
    pub fn file_name(&self, place: Place) -> &str {
        let name = self.sources.get(place.source).map_or("", |source| source.name.as_str());
        name.rsplit(['/', std::path::MAIN_SEPARATOR]).next().unwrap_or(name)
    }

    pub fn line_of(&self, place: Place) -> usize {
        let text = self.sources.get(place.source).and_then(|source| source.text.as_deref()).unwrap_or_default();
        1 + text.bytes().take(place.start).filter(|byte| *byte == b'\n').count()
    }

    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// `Ok` when nothing was found.
    pub fn finish(self) -> Result<(), Diagnostics> {
        if self.found.is_empty() { Ok(()) } else { Err(self.into_diagnostics()) }
    }

    pub fn into_diagnostics(mut self) -> Diagnostics {
        self.found.sort_by_key(|problem| problem.place);
        let blots: Vec<_> =
            self.sources.iter().map(|source| source.text.as_deref().map(secrets).unwrap_or_default()).collect();
        let problems = self
            .found
            .into_iter()
            .map(|problem| {
                let Place { source, start, end } = problem.place;
                let origin = self.sources.get(source);
                let position = origin
                    .and_then(|source| source.text.as_deref())
                    .map(|text| Position::new(text, start..end, blots.get(source).map_or(&[], Vec::as_slice)));
                Diagnostic {
                    rule: problem.rule,
                    message: problem.message,
                    origin: origin.map(|source| source.name.clone()).unwrap_or_default(),
                    position,
                    help: problem.help,
                }
            })
            .collect();
        Diagnostics { problems }
    }
}

impl Position {
    fn new(text: &str, range: Range<usize>, blots: &[Range<usize>]) -> Self {
        let start = text.floor_char_boundary(range.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let end = text.floor_char_boundary(range.end).clamp(start, line_end);
        let shown = text[line_start..line_end]
            .char_indices()
            .map(|(offset, letter)| match letter {
                _ if blots.iter().any(|blot| blot.contains(&(line_start + offset))) => '*',
                letter if letter.is_control() => ' ',
                letter => letter,
            })
            .collect::<String>();
        Self {
            line: 1 + text[..start].matches('\n').count(),
            column: 1 + text[line_start..start].chars().count(),
            width: text[start..end].chars().count().max(1),
            text: shown.trim_end().to_owned(),
        }
    }

    /// The line and its caret, cut to what fits when the line is very long (a minified file).
    fn excerpt(&self) -> (String, usize, usize) {
        const LONGEST: usize = 160;
        if self.text.chars().count() <= LONGEST {
            return (self.text.clone(), self.column, self.width);
        }
        let skipped = self.column.saturating_sub(41);
        let part: String = self.text.chars().skip(skipped).take(LONGEST).collect();
        let width = self.width.min(LONGEST.saturating_sub(self.column - 1 - skipped).max(1));
        let before = if skipped > 0 { "…" } else { "" };
        let after = if self.text.chars().count() > skipped + LONGEST { "…" } else { "" };
        (format!("{before}{part}{after}"), self.column - skipped + before.chars().count(), width)
    }
}

impl Diagnostics {
    /// For people: message, place, line, caret, help.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for problem in &self.problems {
            let _ = writeln!(out, "error: {}", problem.message);
            let Some(position) = &problem.position else {
                let _ = writeln!(out, " --> {}", problem.origin);
                if let Some(help) = &problem.help {
                    let _ = writeln!(out, "  = help: {help}");
                }
                out.push('\n');
                continue;
            };
            let gutter = position.line.to_string().len();
            let (line, column, width) = position.excerpt();
            let _ = writeln!(out, "{:gutter$}--> {}:{}:{}", "", problem.origin, position.line, position.column);
            let _ = writeln!(out, "{:gutter$} |", "");
            let _ = writeln!(out, "{} | {line}", position.line);
            let _ = writeln!(out, "{:gutter$} | {:indent$}{}", "", "", "^".repeat(width), indent = column - 1);
            if let Some(help) = &problem.help {
                let _ = writeln!(out, "{:gutter$} = help: {help}", "");
            }
            out.push('\n');
        }
        let count = self.problems.len();
        let _ = writeln!(out, "{count} problem{} in the configuration", if count == 1 { "" } else { "s" });
        out
    }

    /// For programs: `{"problems": [{rule, message, file, line, column, width, help}]}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let problems = self.problems.iter().map(|problem| {
            let position = problem.position.as_ref();
            json!({
                "rule": problem.rule,
                "message": problem.message,
                "file": problem.origin,
                "line": position.map(|position| position.line),
                "column": position.map(|position| position.column),
                "width": position.map(|position| position.width),
                "source": position.map(|position| position.text.as_str()),
                "help": problem.help,
            })
        });
        json!({ "valid": self.problems.is_empty(), "problems": problems.collect::<Vec<_>>() })
    }

    /// SARIF 2.1.0, for code-scanning services.
    #[must_use]
    pub fn to_sarif(&self) -> Value {
        let results = self.problems.iter().map(|problem| {
            let mut location = json!({ "artifactLocation": { "uri": problem.origin.replace('\\', "/") } });
            if let Some(position) = &problem.position {
                location["region"] = json!({
                    "startLine": position.line,
                    "startColumn": position.column,
                    "endColumn": position.column + position.width,
                });
            }
            let text = match &problem.help {
                Some(help) => format!("{}. Help: {help}", problem.message),
                None => problem.message.clone(),
            };
            json!({
                "ruleId": problem.rule,
                "level": "error",
                "message": { "text": text },
                "locations": [{ "physicalLocation": location }],
            })
        });
        json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "doorward",
                    "version": env!("CARGO_PKG_VERSION"),
                    "rules": self.rules(),
                }},
                "columnKind": "unicodeCodePoints",
                "results": results.collect::<Vec<_>>(),
            }],
        })
    }

    fn rules(&self) -> Vec<Value> {
        let mut rules: Vec<_> = self.problems.iter().map(|problem| problem.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        rules.into_iter().map(|rule| json!({ "id": rule })).collect()
    }
}

/// The known name a misspelt one most likely means.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&given, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// The bytes of `text` that may be secrets: string values under a key that sounds like one, values that look
/// like an API key or hold PEM, and URLs with a password. Reads tokens only, so it works on files that do not parse.
fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut under_secret_key = false;
    for literal in string_literals(text) {
        let content = &text[literal.clone()];
        let after = text.get(literal.end + 1..).unwrap_or_default().trim_start();
        if after.starts_with(':') {
            under_secret_key = names_a_secret(content);
            continue;
        }
        let reference = content.starts_with("$env(") && content.ends_with(')') && content.matches('(').count() == 1;
        let password = content.find("://").is_some_and(|scheme| content[scheme..].contains('@'));
        if (under_secret_key && !reference) || content.starts_with("sk_") || content.contains("-----BEGIN ") || password
        {
            found.push(literal);
        }
    }
    found
}

fn names_a_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    ["secret", "password", "accesstoken", "apikey", "privatekey"].iter().any(|word| key.contains(word))
        || ["clientsecret", "initialaccesstoken", "value"].iter().any(|name| strsim::jaro_winkler(&key, name) > 0.9)
        || ["d", "k", "p", "q", "dp", "dq", "qi"].contains(&key.as_str())
}

/// The insides of the string literals, comments left out.
fn string_literals(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let start = at + 1;
                at = start;
                while at < bytes.len() && bytes[at] != b'"' && bytes[at] != b'\n' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                let end = text.floor_char_boundary(at);
                found.push(start..end.max(start));
                at += 1;
            }
            b'/' if text[at..].starts_with("//") => at += text[at..].find('\n').unwrap_or(text.len() - at),
            b'/' if text[at..].starts_with("/*") => at += text[at..].find("*/").map_or(text.len() - at, |end| end + 2),
            _ => at += 1,
        }
    }
    found
}

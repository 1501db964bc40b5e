//! How events are written: for people in `dev`, as JSON lines in `serve`.
//!
//! Owns the subscriber. What may stand in an event is decided where it is written: never a token, code,
//! verifier, secret, cookie, full redirect URI or body (gateway.md §11).

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Coloured lines.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Starts writing events to standard error. `level` is a level or a filter such as `info,doorward=debug`.
///
/// # Errors
/// A text for people when the filter cannot be read.
pub fn start(format: LogFormat, level: &str) -> Result<(), String> {
    // The demo server's library names session ids at `info`. A directive for it in `level` comes later and wins.
    let filter =
        EnvFilter::try_new(format!("rmcp=warn,{level}")).map_err(|error| format!("--log-level {level}: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
        LogFormat::Pretty => builder.compact().with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    done.map_err(|error| error.to_string())
}

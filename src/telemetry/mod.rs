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

/// Libraries that write headers or bodies into their events at the lowest levels: they stay at `info`, whatever is
/// asked for (SEC-6).
const WIRE_LIBRARIES: [&str; 7] = ["h2", "hyper", "hyper_util", "reqwest", "rustls", "rmcp", "tower_http"];

/// Starts writing events to standard error. `level` is a level or a filter such as `info,doorward=debug`.
///
/// # Errors
/// A text for people when the filter cannot be read.
pub fn start(format: LogFormat, level: &str) -> Result<(), String> {
    let mut filter = EnvFilter::try_new(level).map_err(|error| format!("--log-level {level}: {error}"))?;
    for library in WIRE_LIBRARIES {
        let capped = format!("{library}=info").parse().map_err(|error| format!("{library}: {error}"))?;
        filter = filter.add_directive(capped);
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
        LogFormat::Pretty => builder.compact().with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    done.map_err(|error| error.to_string())
}

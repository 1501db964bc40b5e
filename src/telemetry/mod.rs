//! How events are written: for people in `dev`, as JSON lines in `serve`.
//!
//! Owns the subscriber, what is counted ([`metrics`]), and how a record comes into the audit trail ([`audit`]). What may stand in an event is decided where it is
//! written: never a token, code, verifier, secret, cookie, full redirect URI or body (gateway.md §11).

pub mod audit;
pub mod metrics;
pub mod request;

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that may wait to be written: some 4 MiB.
const WAITING_LINES: usize = 10_000;

/// What the one subscriber of the process had to give up.
static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// Writes what waits when it is dropped.
#[must_use = "the log ends with it"]
pub struct Log(#[expect(dead_code, reason = "held for its end")] WorkerGuard);

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Coloured lines.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Libraries that write headers, bodies or (rmcp) session ids into their events at low levels: they are capped here,
/// whatever is asked for (SEC-6).
const WIRE_LIBRARIES: [&str; 7] =
    ["h2=info", "hyper=info", "hyper_util=info", "reqwest=info", "rustls=info", "rmcp=warn", "tower_http=info"];

/// Starts writing events to standard error, from a thread of its own: whoever reads them, slowly or not at all, holds up
/// no call. `level` is a level or a filter such as `info,doorward=debug`.
///
/// # Errors
/// A text for people when the filter cannot be read.
pub fn start(format: LogFormat, level: &str) -> Result<Log, String> {
    let mut filter = EnvFilter::try_new(level).map_err(|error| format!("--log-level {level}: {error}"))?;
    for cap in WIRE_LIBRARIES {
        filter = filter.add_directive(cap.parse().map_err(|error| format!("{cap}: {error}"))?);
    }
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES).lossy(true).finish(std::io::stderr());
    let lost = writer.error_counter();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let done = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
        LogFormat::Pretty => builder.compact().with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    done.map_err(|error| error.to_string())?;
    LOST.get_or_init(|| lost);
    Ok(Log(guard))
}

/// Lines of the log that nobody read in time.
fn lost_lines() -> u64 {
    LOST.get().map_or(0, |lost| u64::try_from(lost.dropped_lines()).unwrap_or(u64::MAX))
}

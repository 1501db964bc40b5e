//! `doorward check`: everything `serve` validates, without starting.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::config::{self, Diagnostics, Env, Loaded, Mode};

/// Check the configuration and show every problem at once.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The folder with policies.json and the *.oas.json files
    #[arg(long, value_name = "DIR", env = "DOORWARD_CONFIG_DIR", default_value = "config")]
    pub config_dir: PathBuf,
    /// How to write the problems
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// For code-scanning services
    Sarif,
}

/// Writes the outcome to `stdout`; 0 when the configuration is valid, 1 when not.
///
/// # Errors
/// Only when `stdout` cannot be written.
pub fn run(args: &CheckArgs, env: &dyn Env, stdout: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match config::load(&args.config_dir, env, Mode::Check) {
        Ok(loaded) => {
            valid(args.format, &loaded, stdout)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(diagnostics) => {
            match args.format {
                Format::Text => write!(stdout, "{}", diagnostics.to_text())?,
                Format::Json => writeln!(stdout, "{:#}", diagnostics.to_json())?,
                Format::Sarif => writeln!(stdout, "{:#}", diagnostics.to_sarif())?,
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

fn valid(format: Format, loaded: &Loaded, stdout: &mut dyn Write) -> std::io::Result<()> {
    let none = Diagnostics { problems: Vec::new() };
    match format {
        Format::Text => {
            for note in &loaded.notes {
                writeln!(stdout, "note: {note}")?;
            }
            let routes = loaded.config.routes.len();
            let login = loaded.config.login_name().unwrap_or("no login");
            writeln!(
                stdout,
                "the configuration is valid: {routes} route{}, login `{login}`",
                if routes == 1 { "" } else { "s" }
            )
        }
        Format::Json => {
            let mut document = none.to_json();
            document["notes"] = json!(loaded.notes);
            writeln!(stdout, "{document:#}")
        }
        Format::Sarif => writeln!(stdout, "{:#}", none.to_sarif()),
    }
}

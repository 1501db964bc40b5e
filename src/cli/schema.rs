//! `doorward schema`: JSON Schema of the config files.

use std::io::Write;

use clap::{Args, ValueEnum};

use crate::config;

/// Print the JSON Schema of a config file, for editors and checks.
#[derive(Debug, Clone, Args)]
pub struct SchemaArgs {
    /// Which file
    #[arg(value_enum)]
    pub file: SchemaFile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaFile {
    /// config/policies.json
    Policies,
    /// config/*.oas.json
    Routes,
}

/// Writes the schema to `stdout`.
///
/// # Errors
/// When `stdout` cannot be written.
pub fn run(args: &SchemaArgs, stdout: &mut dyn Write) -> anyhow::Result<()> {
    let schema = match args.file {
        SchemaFile::Policies => config::policies_schema(),
        SchemaFile::Routes => config::routes_schema(),
    };
    writeln!(stdout, "{schema:#}")?;
    Ok(())
}

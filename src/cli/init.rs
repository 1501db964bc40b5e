//! `doorward init`: the files of a new project.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

/// Make a new project: config/, .env.example and .gitignore. Files that exist are left alone.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// Where
    #[arg(default_value = ".")]
    pub dir: PathBuf,
}

const FILES: [(&str, &str); 6] = [
    ("config/policies.json", include_str!("../../config/policies.json")),
    ("config/routes.oas.json", include_str!("../../config/routes.oas.json")),
    ("config/policies.schema.json", include_str!("../../config/policies.schema.json")),
    ("config/routes.schema.json", include_str!("../../config/routes.schema.json")),
    (".env.example", include_str!("../../config/env.example")),
    (".gitignore", "# Secrets and the local store of `doorward dev`.\n/.env\n/.doorward/\n/doorward.db*\n"),
];

/// Writes the files that are not there yet and says which.
///
/// # Errors
/// When a folder or file cannot be made.
pub fn run(dir: &Path, stdout: &mut dyn Write) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir.join("config"))
        .with_context(|| format!("cannot make {}", dir.join("config").display()))?;
    for (name, text) in FILES {
        let path = dir.join(name);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
                writeln!(stdout, "made {}", path.display())?;
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                writeln!(stdout, "left {} as it is", path.display())?;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
        }
    }
    writeln!(
        stdout,
        "\nnext: `doorward dev {}` starts it; `doorward add SLUG URL` puts an MCP server behind it",
        dir.display()
    )?;
    Ok(())
}

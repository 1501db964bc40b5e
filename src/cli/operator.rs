//! What the operator's commands share: finding the store, also beside a running gateway, and writing answers.
//!
//! These commands work on the database itself. Nothing of them can be reached through the listener (REV-5).

use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;

use super::process;
use crate::crypto::Sealer;
use crate::domain::random::random_id;
use crate::domain::{SubjectId, SystemRandom};
use crate::store::{AuditRecord, Store};

/// Where `doorward dev` keeps its store, below the project folder.
const DEV_STORE: &str = ".doorward/doorward.db";
/// Where `doorward serve` keeps it by default.
const SERVE_STORE: &str = "doorward.db";
const DEV_SECRET_KEY: &str = ".doorward/secret.key";

/// The gateway's store, and how to answer.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    /// The gateway's database; left out, `doorward.db` or `.doorward/doorward.db` in this folder
    #[arg(long, env = "DOORWARD_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
    /// Who does this, for the audit trail
    #[arg(long = "as", env = "USER", value_name = "NAME", default_value = "operator", hide_env = true)]
    pub operator: String,
}

impl StoreArgs {
    /// Opens the store without touching its schema.
    ///
    /// # Errors
    /// With a text for people.
    pub async fn open(&self) -> anyhow::Result<Store> {
        Ok(Store::open_beside(&self.url()?).await?)
    }

    fn url(&self) -> anyhow::Result<String> {
        if let Some(url) = &self.database_url {
            return Ok(url.clone());
        }
        let (serve, dev) = (Path::new(SERVE_STORE).is_file(), self.is_dev());
        match (serve, dev) {
            (true, true) => {
                bail!(
                    "there is {SERVE_STORE} and {DEV_STORE} here: name one, as in --database-url sqlite://{DEV_STORE}"
                )
            }
            (false, true) => Ok(format!("sqlite://{DEV_STORE}")),
            _ => Ok(format!("sqlite://{SERVE_STORE}")),
        }
    }

    fn is_dev(&self) -> bool {
        self.database_url.is_none() && Path::new(DEV_STORE).is_file()
    }

    /// Writes `answer` as JSON, or `text` for people.
    ///
    /// # Errors
    /// When nothing more can be written.
    pub fn answer<T: Serialize>(&self, out: &mut impl Write, answer: &T, text: &str) -> anyhow::Result<()> {
        if self.json {
            serde_json::to_writer_pretty(&mut *out, answer)?;
            writeln!(out)?;
        } else {
            write!(out, "{text}")?;
        }
        Ok(())
    }
}

/// What a command does to the store, for the audit trail (REV-6). All of one command share an id.
pub struct Acts<'a> {
    store: &'a Store,
    operator: &'a str,
    id: String,
}

impl<'a> Acts<'a> {
    #[must_use]
    pub fn new(store: &'a Store, args: &'a StoreArgs) -> Self {
        Self { store, operator: &args.operator, id: random_id("cmd_", &SystemRandom) }
    }

    /// Writes what was done. The command goes on when that fails, and says so.
    pub async fn record(&self, record: AuditRecord<'_>) {
        let record = AuditRecord { operator: Some(self.operator), request_id: Some(&self.id), ..record };
        if let Err(error) = self.store.record_soon(&record).await {
            eprintln!("not in the audit trail: {error}");
        }
    }

    /// Waits until all of it is written.
    pub async fn done(self) {
        self.store.settle_audit().await;
    }
}

/// The secret keys, for what seals.
#[derive(Debug, Clone, Args)]
pub struct SecretKeyArgs {
    /// The gateway's secret key; repeatable: the first seals, all open
    #[arg(long, env = "DOORWARD_SECRET_KEY", value_name = "KEY", value_delimiter = ',', hide_env_values = true)]
    pub secret_key: Vec<String>,
    /// A file with such keys, one a line
    #[arg(long, env = "DOORWARD_SECRET_KEY_FILE", value_name = "FILE", value_delimiter = ',')]
    pub secret_key_file: Vec<PathBuf>,
}

impl SecretKeyArgs {
    /// The sealer of a store; that of `doorward dev` has its key beside it.
    ///
    /// # Errors
    /// With a text for people.
    pub fn sealer(&self, store: &StoreArgs) -> anyhow::Result<Sealer> {
        let mut files = self.secret_key_file.clone();
        if self.secret_key.is_empty() && files.is_empty() && store.is_dev() {
            files.push(DEV_SECRET_KEY.into());
        }
        let keys = process::secret_keys(&self.secret_key, &files)?;
        Sealer::new(&keys).context("give the gateway's --secret-key or --secret-key-file")
    }
}

/// The people that `--user` means, by an e-mail address or an id; one `None` for all.
///
/// # Errors
/// When nobody has the address, or the store is away.
pub async fn subjects(user: Option<&str>, store: &Store) -> anyhow::Result<Vec<Option<SubjectId>>> {
    match user {
        None => Ok(vec![None]),
        Some(email) if email.contains('@') => {
            let people = store.people_with_email(email).await?;
            if people.is_empty() {
                bail!("nobody with the address {email} has signed in here");
            }
            Ok(people.into_iter().map(|person| Some(person.id)).collect())
        }
        Some(id) => Ok(vec![Some(SubjectId::new(id))]),
    }
}

/// A stranger's text on an operator's terminal: no control characters.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Lines of columns, each as wide as its widest cell. What may be long, such as a client id, stands last.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let lines = || std::iter::once(&head).chain(&rows);
    let width = |column: usize| {
        lines().map(|line| line.get(column).map_or(0, |cell| cell.chars().count())).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for line in lines() {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A moment as people and programs read it; `-` for none.
#[must_use]
pub fn moment(time: Option<jiff::Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

/// Runs a command to its end.
///
/// # Errors
/// The command's own.
pub fn run(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(command)
}

//! `doorward audit`: reading the audit trail, and verifying that nobody changed it (REV-6, SEC-10).

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::operator::{StoreArgs, moment};
use crate::store::{AuditEntry, CHAINS, VerifiedChain};

/// Show, export and verify the audit trail
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum AuditCommand {
    /// The last records, oldest first
    Tail {
        /// How many
        #[arg(short = 'n', long, default_value_t = 20, value_name = "COUNT")]
        lines: u32,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// All records, one JSON object a line, chain by chain
    Export {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Follow the chains from end to end; exit 1 when a record was changed, removed, added or moved
    Verify {
        #[command(flatten)]
        store: StoreArgs,
    },
}

impl AuditArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// With a text for people.
    pub async fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        match &self.command {
            AuditCommand::Tail { lines, store } => {
                let entries = store.open().await?.audit_tail(*lines).await?;
                store.answer(out, &entries, &entries.iter().map(line).collect::<String>())?;
            }
            AuditCommand::Export { store } => export(store, out).await?,
            AuditCommand::Verify { store } => return verify(store, out).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A record for people: when, what, and what applies of the rest.
fn line(entry: &AuditEntry) -> String {
    let at = moment(jiff::Timestamp::from_second(entry.at).ok());
    let mut words = vec![at, entry.event.clone(), entry.outcome.clone().unwrap_or_default()];
    let parts = [
        ("subject", &entry.subject_id),
        ("client", &entry.client_id),
        ("grant", &entry.grant_id),
        ("route", &entry.route),
        ("reason", &entry.reason),
        ("call", &entry.call),
        ("by", &entry.operator),
        ("peer", &entry.peer),
        ("request", &entry.request_id),
    ];
    for (name, value) in parts {
        if let Some(value) = value {
            words.push(format!("{name}={}", value.escape_debug()));
        }
    }
    words.join(" ") + "\n"
}

async fn export(args: &StoreArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let store = args.open().await?;
    for chain in CHAINS {
        let mut after = 0;
        loop {
            let page = store.audit_page(chain, after).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for entry in &page {
                serde_json::to_writer(&mut *out, entry)?;
                writeln!(out)?;
            }
        }
    }
    Ok(())
}

async fn verify(args: &StoreArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let chains = args.open().await?.verify_audit().await?;
    let line = |chain: &VerifiedChain| match &chain.fault {
        None => format!("{}: {} records hold, the last is {} {}\n", chain.chain, chain.records, chain.last, chain.head),
        Some(fault) => format!("{}: {fault}; the {} records before it hold\n", chain.chain, chain.records),
    };
    args.answer(out, &chains, &chains.iter().map(line).collect::<String>())?;
    let sound = chains.iter().all(|chain| chain.fault.is_none());
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

//! `doorward keys`: what keys there are, rotating them, sealing the store anew (SEC-3, DISC-19).

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::operator::{Acts, SecretKeyArgs, StoreArgs, moment, table};
use crate::domain::{Clock as _, SystemClock, SystemRandom};
use crate::keys::{self, rotation};
use crate::store::AuditRecord;

/// List, rotate and seal anew the gateway's keys
#[derive(Debug, Clone, Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum KeysCommand {
    /// The keys, where each stands, and which secret key seals it
    List {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Put the next keys in force; what the present ones signed stays good
    Rotate {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        secret_keys: SecretKeyArgs,
    },
    /// Seal everything in the store anew with the first --secret-key
    Reseal {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        secret_keys: SecretKeyArgs,
    },
}

impl KeysArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// With a text for people.
    pub async fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        match &self.command {
            KeysCommand::List { store } => list(store, out).await,
            KeysCommand::Rotate { store, secret_keys } => rotate(store, secret_keys, out).await,
            KeysCommand::Reseal { store, secret_keys } => reseal(store, secret_keys, out).await,
        }
    }
}

async fn list(args: &StoreArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let listed = rotation::list(&args.open().await?, SystemClock.now()).await?;
    let name = |value: serde_json::Result<serde_json::Value>| match value {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    };
    let row = |key: &rotation::ListedKey| {
        let id: String = key.id.chars().take(12).collect();
        let sealed_with = key.sealed_with.clone().unwrap_or_else(|| "?".to_owned());
        vec![
            name(serde_json::to_value(key.kind)),
            key.algorithm.clone(),
            name(serde_json::to_value(key.state)),
            id,
            moment(key.in_force_at),
            moment(key.retired_at),
            sealed_with,
        ]
    };
    let rows: Vec<_> = listed.iter().map(row).collect();
    let head = ["KIND", "ALGORITHM", "STATE", "ID", "IN FORCE", "RETIRED", "SEALED WITH"];
    args.answer(out, &listed, &table(&head, &rows))?;
    Ok(ExitCode::SUCCESS)
}

async fn rotate(args: &StoreArgs, keys: &SecretKeyArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let sealer = keys.sealer(args)?;
    let store = args.open().await?;
    let now = SystemClock.now();
    let rotated = rotation::rotate(&store, &sealer, &SystemRandom, now).await?;
    let acts = Acts::new(&store, args);
    for key in &rotated {
        acts.record(AuditRecord { reason: Some(&key.id), ..AuditRecord::new("admin_key_rotated", now) }).await;
    }
    acts.done().await;
    let line =
        |key: &rotation::Rotated| format!("{} key {} takes over at {}\n", key.algorithm, key.id, key.in_force_at);
    args.answer(out, &rotated, &rotated.iter().map(line).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

/// Fails when something is left that the given keys do not open: the old key must not be thrown away then.
async fn reseal(args: &StoreArgs, keys: &SecretKeyArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let sealer = keys.sealer(args)?;
    let store = args.open().await?;
    let tables =
        keys::reseal(&store, &sealer, &SystemRandom).await.context("sealing anew stopped half-way; run it again")?;
    let acts = Acts::new(&store, args);
    acts.record(AuditRecord::new("admin_store_resealed", SystemClock.now())).await;
    acts.done().await;
    let line = |table: &keys::Resealed| {
        let unreadable = match table.unreadable {
            0 => String::new(),
            count => format!(", {count} that no given key opens"),
        };
        format!("{}: {} sealed anew, {} left as they were{unreadable}\n", table.table, table.resealed, table.untouched)
    };
    args.answer(out, &tables, &tables.iter().map(line).collect::<String>())?;
    let complete = tables.iter().all(|table| table.unreadable == 0);
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

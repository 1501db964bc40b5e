//! `doorward clients`: which clients there are, what is known of one, and taking one away (REV-5).

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::grants::all_grants;
use super::operator::{Acts, StoreArgs, moment, printable, table};
use crate::domain::{ClientId, Clock as _, GrantId, SystemClock, UnixTime};
use crate::oauth::redirect_uri::RedirectUri;
use crate::store::{AuditRecord, GrantFilter, ListedClient, RevocationReason, Store};

/// List, show and delete clients
#[derive(Debug, Clone, Args)]
pub struct ClientsArgs {
    #[command(subcommand)]
    command: ClientsCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum ClientsCommand {
    /// Clients that registered themselves, and others that hold grants
    List {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// What a client registered, and its grants
    Show {
        id: String,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Take a registration out and end all grants of the client
    Delete {
        id: String,
        #[command(flatten)]
        store: StoreArgs,
    },
}

impl ClientsArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// With a text for people.
    pub async fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        match &self.command {
            ClientsCommand::List { store } => list(store, out).await,
            ClientsCommand::Show { id, store } => show(id, store, out).await,
            ClientsCommand::Delete { id, store } => delete(id, store, out).await,
        }
    }
}

/// What may be shown of a client: no hash of its secret.
fn described(listed: &ListedClient, grants: usize) -> Value {
    let client = &listed.client;
    json!({
        "id": client.id,
        "name": client.name,
        "redirectHosts": client.redirect_uris.iter().map(RedirectUri::display_host).collect::<Vec<_>>(),
        "authMethod": client.auth_method.as_str(),
        "registeredAt": time(listed.created_at),
        "lastUsedAt": time(listed.last_used_at),
        "liveGrants": grants,
    })
}

fn time(at: UnixTime) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_second(at.0).ok()
}

async fn list(args: &StoreArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let store = args.open().await?;
    let live = GrantFilter { live_at: Some(SystemClock.now()), ..GrantFilter::default() };
    let mut grants = std::collections::BTreeMap::<String, usize>::new();
    for grant in all_grants(&store, &live).await? {
        *grants.entry(grant.client_id).or_default() += 1;
    }
    let (mut answer, mut rows, mut after) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = store.list_clients(&after).await?;
        let Some(last) = page.last() else { break };
        last.client.id.as_str().clone_into(&mut after);
        for listed in &page {
            let count = grants.remove(listed.client.id.as_str()).unwrap_or_default();
            let name = listed.client.name.clone().unwrap_or_else(|| "-".to_owned());
            let used = moment(time(listed.last_used_at));
            rows.push(vec![name, count.to_string(), used, listed.client.id.to_string()]);
            answer.push(described(listed, count));
        }
    }
    // Metadata documents and static clients are in no table of ours.
    for (id, count) in grants {
        rows.push(vec!["-".to_owned(), count.to_string(), "-".to_owned(), id.clone()]);
        answer.push(json!({ "id": id, "liveGrants": count }));
    }
    args.answer(out, &answer, &table(&["NAME", "GRANTS", "LAST USED", "ID"], &rows))?;
    Ok(ExitCode::SUCCESS)
}

async fn show(id: &str, args: &StoreArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let store = args.open().await?;
    let client = ClientId::new(id);
    let live = GrantFilter { client: Some(client.clone()), live_at: Some(SystemClock.now()), ..GrantFilter::default() };
    let grants = all_grants(&store, &live).await?;
    let mut answer = match find(&store, &client).await? {
        Some(listed) => described(&listed, grants.len()),
        None if grants.is_empty() => bail!("no client {id} registered here, and none holds a grant"),
        None => json!({ "id": id, "liveGrants": grants.len() }),
    };
    answer["grants"] = serde_json::to_value(&grants)?;
    let members = answer.as_object().into_iter().flatten().filter(|(name, _)| *name != "grants");
    let lines: Vec<String> =
        members.map(|(name, value)| format!("{name}: {}", printable(&value.to_string()))).collect();
    let text = lines.join("\n") + "\n";
    args.answer(out, &answer, &text)?;
    Ok(ExitCode::SUCCESS)
}

async fn find(store: &Store, id: &ClientId) -> anyhow::Result<Option<ListedClient>> {
    // The page that begins just below the id.
    let mut below = id.as_str().to_owned();
    below.pop();
    loop {
        let page = store.list_clients(&below).await?;
        let Some(last) = page.last() else { return Ok(None) };
        last.client.id.as_str().clone_into(&mut below);
        let past = below.as_str() >= id.as_str();
        if let Some(found) = page.into_iter().find(|listed| listed.client.id == *id) {
            return Ok(Some(found));
        }
        if past {
            return Ok(None);
        }
    }
}

async fn delete(id: &str, args: &StoreArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let store = args.open().await?;
    let (client, now) = (ClientId::new(id), SystemClock.now());
    let live = GrantFilter { client: Some(client.clone()), live_at: Some(now), ..GrantFilter::default() };
    let grants = all_grants(&store, &live).await?;
    if store.registered_client(&client).await?.is_some() {
        store.delete_client(&client, now).await?;
    } else if grants.is_empty() {
        bail!("no client {id} registered here, and none holds a grant");
    } else {
        store.revoke_client_grants(&client, RevocationReason::Operator, now).await?;
    }
    let acts = Acts::new(&store, args);
    acts.record(AuditRecord { client: Some(&client), ..AuditRecord::new("admin_client_deleted", now) }).await;
    for grant in &grants {
        let (id, subject) = (GrantId::new(&grant.id), crate::domain::SubjectId::new(&grant.subject_id));
        let record = AuditRecord::new("admin_grant_revoked", now);
        let (client, route) = (Some(&client), Some(grant.route.as_str()));
        acts.record(AuditRecord { subject: Some(&subject), client, grant: Some(&id), route, ..record }).await;
    }
    acts.done().await;
    let answer = json!({ "deleted": id, "grantsRevoked": grants.len() });
    args.answer(out, &answer, &format!("deleted {id}; {} grants ended\n", grants.len()))?;
    Ok(ExitCode::SUCCESS)
}

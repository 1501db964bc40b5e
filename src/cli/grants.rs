//! `doorward grants`: who granted which client what, and ending it (REV-5, REFR-12).

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::operator::{Acts, StoreArgs, moment, subjects, table};
use crate::domain::{ClientId, Clock as _, GrantId, SubjectId, SystemClock, UnixTime};
use crate::store::{AuditRecord, GrantFilter, ListedGrant, RevocationReason, Store};

/// List and revoke what people granted to clients
#[derive(Debug, Clone, Args)]
pub struct GrantsArgs {
    #[command(subcommand)]
    command: GrantsCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum GrantsCommand {
    /// Grants that live, and whether their tokens are used
    List {
        #[command(flatten)]
        which: Which,
        /// Also those that were revoked or have expired, while they are remembered
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// End grants, with every token of theirs; what is given must all fit
    Revoke {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// Which grants; what is left out does not matter.
#[derive(Debug, Clone, Args)]
struct Which {
    /// Of this person: an e-mail address, or an id such as `usr_…`
    #[arg(long, value_name = "WHO")]
    user: Option<String>,
    /// Of this client
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// For /mcp/SLUG, or a route's whole path
    #[arg(long)]
    slug: Option<String>,
    /// Made before this moment, such as 2026-07-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    before: Option<jiff::Timestamp>,
    /// These alone
    #[arg(value_name = "GRANT")]
    grants: Vec<String>,
}

impl GrantsArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// With a text for people.
    pub async fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        match &self.command {
            GrantsCommand::List { which, all, store } => list(which, *all, store, out).await,
            GrantsCommand::Revoke { which, store } => revoke(which, store, out).await,
        }
    }
}

impl Which {
    fn is_empty(&self) -> bool {
        let given = [self.user.is_some(), self.client.is_some(), self.slug.is_some(), self.before.is_some()];
        !given.contains(&true) && self.grants.is_empty()
    }

    async fn find(&self, store: &Store, live_at: Option<UnixTime>) -> anyhow::Result<Vec<ListedGrant>> {
        let route = |slug: &String| if slug.starts_with('/') { slug.clone() } else { format!("/mcp/{slug}") };
        let filter = GrantFilter {
            subject: None,
            client: self.client.as_ref().map(ClientId::new),
            route: self.slug.as_ref().map(route),
            before: self.before.map(|before| UnixTime(before.as_second())),
            live_at,
        };
        let mut found = Vec::new();
        for subject in subjects(self.user.as_deref(), store).await? {
            found.extend(all_grants(store, &GrantFilter { subject, ..filter.clone() }).await?);
        }
        found.retain(|grant| self.grants.is_empty() || self.grants.contains(&grant.id));
        Ok(found)
    }
}

/// Every grant of a filter.
///
/// # Errors
/// When the store is away.
pub(super) async fn all_grants(store: &Store, filter: &GrantFilter) -> anyhow::Result<Vec<ListedGrant>> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = store.list_grants(filter, &after).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after.clone_from(&last.id);
        all.extend(page);
    }
}

async fn list(which: &Which, all: bool, args: &StoreArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let store = args.open().await?;
    let grants = which.find(&store, (!all).then(|| SystemClock.now())).await?;
    let (mut answer, mut rows) = (Vec::new(), Vec::new());
    for grant in &grants {
        let person = store.person(&SubjectId::new(&grant.subject_id)).await?;
        let who = person.and_then(|person| person.email).unwrap_or_else(|| grant.subject_id.clone());
        let mut shown = serde_json::to_value(grant)?;
        shown["user"] = who.clone().into();
        shown["unused"] = grant.is_unused().into();
        answer.push(shown);
        let state = match (&grant.revoked_because, grant.issued_at) {
            (Some(because), _) => format!("revoked: {because}"),
            (None, None) => "code not redeemed".to_owned(),
            (None, Some(_)) if grant.is_unused() => "token issued, never used since".to_owned(),
            (None, Some(_)) => "in use".to_owned(),
        };
        let made = moment(jiff::Timestamp::from_second(grant.created_at).ok());
        rows.push(vec![grant.id.clone(), who, grant.route.clone(), made, state, grant.client_id.clone()]);
    }
    args.answer(out, &answer, &table(&["ID", "USER", "ROUTE", "SINCE", "STATE", "CLIENT"], &rows))?;
    Ok(ExitCode::SUCCESS)
}

async fn revoke(which: &Which, args: &StoreArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    if which.is_empty() {
        bail!("say which: --user, --client, --slug, --before, or the ids of grants");
    }
    let store = args.open().await?;
    let now = SystemClock.now();
    let acts = Acts::new(&store, args);
    let mut revoked = Vec::new();
    for grant in which.find(&store, Some(now)).await? {
        let id = GrantId::new(&grant.id);
        if store.revoke_grant(&id, RevocationReason::Operator, now).await.context("stopped half-way; run it again")? {
            let (subject, client) = (SubjectId::new(&grant.subject_id), ClientId::new(&grant.client_id));
            acts.record(AuditRecord {
                subject: Some(&subject),
                client: Some(&client),
                grant: Some(&id),
                route: Some(&grant.route),
                ..AuditRecord::new("admin_grant_revoked", now)
            })
            .await;
            revoked.push(grant.id);
        }
    }
    acts.done().await;
    let text = format!("{} grants ended\n", revoked.len());
    args.answer(out, &json!({ "revoked": revoked }), &text)?;
    Ok(ExitCode::SUCCESS)
}

fn timestamp(text: &str) -> Result<jiff::Timestamp, String> {
    text.parse().map_err(|_| "must be a moment such as 2026-07-01T00:00:00Z".to_owned())
}

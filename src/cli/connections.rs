//! `doorward connections`: who has connected which server behind, and the one-time link that connects one for all
//! (gateway.md §8).

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::json;

use super::operator::{Acts, SecretKeyArgs, StoreArgs, moment, subjects, table};
use crate::domain::connection::ConsentNeeded;
use crate::domain::{Clock as _, Connection, ConnectionId, SubjectId, SystemClock, SystemRandom, UnixTime};
use crate::store::{AuditRecord, Store};
use crate::upstream::{Ticket, connect_link};
use crate::web::Origins;

/// List and remove connections to the servers behind, and connect one for everyone
#[derive(Debug, Clone, Args)]
pub struct ConnectionsArgs {
    #[command(subcommand)]
    command: ConnectionsCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum ConnectionsCommand {
    /// Connections, whose they are, and whether they serve
    List {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Make a link that connects a shared server for everyone, once
    Connect {
        /// The server's id: `id` of its `mcp-token-exchange-inbound` policy
        #[arg(value_name = "UPSTREAM")]
        upstream: String,
        /// Where the gateway is reached by a browser
        #[arg(long, env = "DOORWARD_PUBLIC_URL", value_name = "URL", value_delimiter = ',', required = true)]
        public_url: Vec<String>,
        /// As the gateway's own
        #[arg(long, env = "DOORWARD_BASE_PATH", value_name = "PATH", default_value = "/")]
        base_path: String,
        /// For how many minutes the link works
        #[arg(long, value_name = "MINUTES", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=1440))]
        minutes: u64,
        #[command(flatten)]
        keys: SecretKeyArgs,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Forget the credentials of connections; what is given must all fit
    Delete {
        #[command(flatten)]
        which: Which,
        /// Also forget what the gateway registered itself as at the server's authorization server, for one that does not
        /// know it any more: the next person who connects makes it register anew
        #[arg(long, requires = "upstream", conflicts_with_all = ["user", "shared", "connections"])]
        registration: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// Which connections; what is left out does not matter.
#[derive(Debug, Clone, Args)]
struct Which {
    /// To this server
    #[arg(long, value_name = "ID")]
    upstream: Option<String>,
    /// Of this person: an e-mail address, or an id such as `usr_…`
    #[arg(long, value_name = "WHO", conflicts_with = "shared")]
    user: Option<String>,
    /// Those that everyone shares
    #[arg(long)]
    shared: bool,
    /// These alone
    #[arg(value_name = "CONNECTION")]
    connections: Vec<String>,
}

impl ConnectionsArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// With a text for people.
    pub async fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        match &self.command {
            ConnectionsCommand::List { which, store } => list(which, store, out).await,
            ConnectionsCommand::Connect { upstream, public_url, base_path, minutes, keys, store } => {
                let life = Duration::from_secs(minutes * 60);
                connect(upstream, public_url, base_path, life, keys, store, out).await
            }
            ConnectionsCommand::Delete { which, registration, store } => delete(which, *registration, store, out).await,
        }
    }
}

impl Which {
    fn is_empty(&self) -> bool {
        self.upstream.is_none() && self.user.is_none() && !self.shared && self.connections.is_empty()
    }

    async fn find(&self, store: &Store) -> anyhow::Result<Vec<Connection>> {
        let mut found = Vec::new();
        for person in subjects(self.user.as_deref(), store).await? {
            found.extend(all(store, person.as_ref()).await?);
        }
        found.retain(|connection| self.fits(connection));
        Ok(found)
    }

    fn fits(&self, connection: &Connection) -> bool {
        self.upstream.as_ref().is_none_or(|upstream| connection.upstream == *upstream)
            && (!self.shared || connection.owner.subject().is_none())
            && (self.connections.is_empty() || self.connections.iter().any(|id| id == connection.id.as_str()))
    }
}

/// Every connection of a person, or all.
async fn all(store: &Store, of: Option<&SubjectId>) -> anyhow::Result<Vec<Connection>> {
    let (mut all, mut after) = (Vec::new(), ConnectionId::new(""));
    loop {
        let page = store.connections(of, after.as_str()).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = last.id.clone();
        all.extend(page);
    }
}

/// Who a connection belongs to, as operators know them.
async fn owner(store: &Store, connection: &Connection) -> anyhow::Result<String> {
    let Some(subject) = connection.owner.subject() else { return Ok("everyone".to_owned()) };
    let person = store.person(subject).await?;
    Ok(person.and_then(|person| person.email).unwrap_or_else(|| subject.to_string()))
}

fn state(connection: &Connection, now: UnixTime) -> &'static str {
    match connection.needs_consent {
        Some(ConsentNeeded::Refused) => "refused: connect again",
        Some(ConsentNeeded::Expired) => "expired: connect again",
        Some(ConsentNeeded::Scope) => "more scopes needed: connect again",
        None if !connection.missing_scope.is_empty() => "more scopes needed: connect again",
        None if connection.consent_needed("", now).is_some() => "expired: connect again",
        None => "connected",
    }
}

async fn list(which: &Which, args: &StoreArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let store = args.open().await?;
    let now = SystemClock.now();
    let (mut answer, mut rows) = (Vec::new(), Vec::new());
    for connection in which.find(&store).await? {
        let (who, state) = (owner(&store, &connection).await?, state(&connection, now));
        answer.push(json!({
            "id": connection.id,
            "upstream": connection.upstream,
            "user": who,
            "subjectId": connection.owner.subject(),
            "shared": connection.owner.subject().is_none(),
            "server": connection.server,
            "scope": connection.scope,
            "connectedAt": connection.connected_at,
            "usedAt": connection.used_at,
            "state": state,
        }));
        let since = moment(jiff::Timestamp::from_second(connection.connected_at.0).ok());
        rows.push(vec![connection.id.to_string(), connection.upstream, who, since, state.to_owned()]);
    }
    args.answer(out, &answer, &table(&["ID", "UPSTREAM", "USER", "SINCE", "STATE"], &rows))?;
    Ok(ExitCode::SUCCESS)
}

async fn connect(
    upstream: &str,
    public_urls: &[String],
    base_path: &str,
    life: Duration,
    keys: &SecretKeyArgs,
    args: &StoreArgs,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let store = args.open().await?;
    let sealer = keys.sealer(args)?;
    let origins = Origins::new(public_urls)?;
    let Some(origin) = origins.first() else { bail!("give the gateway's --public-url") };
    let base_path = super::process::base_path(base_path)?;
    let ticket = Ticket::new(upstream, None, life, &SystemRandom, SystemClock.now());
    let link = connect_link(origin, &base_path, upstream, &ticket.seal(&sealer, &SystemRandom));
    let acts = Acts::new(&store, args);
    acts.record(AuditRecord {
        reason: Some(upstream),
        ..AuditRecord::new("admin_connect_link_made", SystemClock.now())
    })
    .await;
    acts.done().await;
    let text = format!(
        "{link}\n\nOpen it in a browser within {} minutes: it connects `{upstream}` for everyone, and works once.\n",
        life.as_secs() / 60
    );
    args.answer(out, &json!({ "link": link, "expiresAt": ticket.expires_at }), &text)?;
    Ok(ExitCode::SUCCESS)
}

async fn delete(which: &Which, registration: bool, args: &StoreArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    if which.is_empty() {
        bail!("say which: --upstream, --user, --shared, or the ids of connections");
    }
    let store = args.open().await?;
    let acts = Acts::new(&store, args);
    let mut deleted = Vec::new();
    for connection in which.find(&store).await? {
        if store.disconnect(&connection.id).await?.is_some() {
            acts.record(AuditRecord {
                subject: connection.owner.subject(),
                reason: Some(&connection.upstream),
                ..AuditRecord::new("admin_connection_deleted", SystemClock.now())
            })
            .await;
            deleted.push(connection.id.to_string());
        }
    }
    let mut text = vec![format!("{} connections deleted\n", deleted.len())];
    let mut answer = json!({ "deleted": deleted });
    if let Some(upstream) = which.upstream.as_deref().filter(|_| registration) {
        let forgotten = store.forget_upstream_registrations(upstream).await?;
        if forgotten > 0 {
            let record = AuditRecord::new("admin_upstream_registration_deleted", SystemClock.now());
            acts.record(AuditRecord { reason: Some(upstream), ..record }).await;
        }
        text.push(format!("{forgotten} registrations deleted\n"));
        answer["registrations"] = forgotten.into();
    }
    acts.done().await;
    args.answer(out, &answer, &text.concat())?;
    Ok(ExitCode::SUCCESS)
}

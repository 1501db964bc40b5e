//! Work that goes on beside the requests: taking out expired rows, learning of revocations, noticing changed
//! configuration files.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::Watcher as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::assemble::Assembly;
use crate::domain::{Clock, UnixTime};
use crate::keys::{REMEMBERED, Revocations};
use crate::store::{Store, StoreError};

/// How often the store is asked for grants that another process revoked. With it a revocation holds on every
/// replica within a second (REV-3).
const REVOCATION_POLL: Duration = Duration::from_millis(500);
/// How far back each question reaches, so that a commit that became visible late is not missed.
const REVOCATION_OVERLAP: Duration = Duration::from_secs(30);
const PURGE_EVERY: Duration = Duration::from_secs(60);
/// Rows of each table per batch.
const PURGE_BATCH: u32 = 500;
/// Pause between two batches of one purge, so that requests are not held up.
const PURGE_PAUSE: Duration = Duration::from_millis(100);
/// Editors write a file in several steps; a reload waits for them to be done.
const SETTLE: Duration = Duration::from_millis(200);

/// Brings the list of ended grants up to date with the store: those revoked since, and those that reached the end of
/// their life, whose streams end with them (STRM-8).
///
/// # Errors
/// [`StoreError`]; the list stays as it was.
pub async fn learn_revocations(
    store: &Store,
    revocations: &Revocations,
    since: UnixTime,
    now: UnixTime,
) -> Result<(), StoreError> {
    for grant in store.ended_grants(since, now).await? {
        revocations.revoke(grant, now.plus(REMEMBERED));
    }
    revocations.purge(now);
    Ok(())
}

/// Keeps the list of ended grants up to date until shutdown.
pub async fn follow_revocations(
    store: Store,
    revocations: Arc<Revocations>,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) {
    let mut since = clock.now().minus(REMEMBERED);
    let mut tick = tokio::time::interval(REVOCATION_POLL);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = clock.now();
        match learn_revocations(&store, &revocations, since, now).await {
            Ok(()) => {
                since = now.minus(REVOCATION_OVERLAP);
                revocations.known(now);
            }
            Err(error) => tracing::warn!(event = "revocations_unknown", %error),
        }
    }
}

/// Takes out expired rows until shutdown.
pub async fn purge(assembly: Arc<Assembly>, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(PURGE_EVERY);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        let idle = assembly.client_idle();
        loop {
            match assembly.store.purge(assembly.clock.now(), idle, PURGE_BATCH).await {
                Ok(purged) if purged.more => tokio::time::sleep(PURGE_PAUSE).await,
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(event = "purge_failed", %error);
                    break;
                }
            }
        }
    }
}

/// Sends a message whenever a file of the folder has changed, once it has settled.
///
/// # Errors
/// When the system cannot watch the folder.
pub fn watch(folder: &Path, changed: mpsc::Sender<()>) -> notify::Result<notify::RecommendedWatcher> {
    let (raw, mut events) = mpsc::channel::<()>(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // Full means that a reload is due anyway.
            let _ = raw.try_send(());
        }
    })?;
    watcher.watch(folder, notify::RecursiveMode::NonRecursive)?;
    tokio::spawn(async move {
        while events.recv().await.is_some() {
            tokio::time::sleep(SETTLE).await;
            while events.try_recv().is_ok() {}
            if changed.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(watcher)
}

//! Work that goes on beside the requests: taking out expired rows, learning of revocations, noticing changed
//! configuration files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::Watcher as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::assemble::Assembly;
use crate::domain::{Clock, UnixTime};
use crate::keys::{REMEMBERED, Revocations};
use crate::store::{KeysVersion, Store, StoreError};

/// How often the store is asked for grants that another process revoked. With it a revocation holds on every
/// replica within a second (REV-3).
const REVOCATION_POLL: Duration = Duration::from_millis(500);
/// How far back each question reaches, so that a commit that became visible late is not missed.
const REVOCATION_OVERLAP: Duration = Duration::from_secs(30);
/// How often the store is asked whether its keys have changed.
const KEYS_POLL: Duration = Duration::from_millis(500);
/// How often the use of grants is written down.
const USE_EVERY: Duration = Duration::from_secs(5);
/// How long after consent a token should have come back.
const UNUSED_AFTER: Duration = Duration::from_secs(120);
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

/// Keeps the keys up to date until shutdown: a rotation is known long before the moment it names (SEC-3).
pub async fn follow_keys(assembly: Arc<Assembly>, shutdown: CancellationToken) {
    let mut known = KeysVersion::default();
    let mut tick = tokio::time::interval(KEYS_POLL);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        match assembly.store.keys_version().await {
            Ok(version) if version != known => {
                if let Err(error) = assembly.reload_keys().await {
                    tracing::error!(event = "keys_unreadable", %error);
                }
                known = version;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(event = "keys_unknown", %error),
        }
    }
}

/// Notes which grants are used, and says of new ones whose token never came back, until shutdown (REFR-12).
pub async fn follow_use(assembly: Arc<Assembly>, shutdown: CancellationToken) {
    let mut since = assembly.clock.now().minus(UNUSED_AFTER);
    let mut tick = tokio::time::interval(USE_EVERY);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        let until = assembly.clock.now().minus(UNUSED_AFTER);
        let noted = assembly.note_used_grants().await;
        match (noted, assembly.store.never_used_grants(since, until).await) {
            (Ok(()), Ok(unused)) => {
                for grant in unused {
                    tracing::warn!(event = "mcp_auth_token_never_used", grantId = %grant);
                }
                since = until;
            }
            (Err(error), _) | (_, Err(error)) => tracing::warn!(event = "use_unknown", %error),
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
        if let Err(error) = assembly.store.purge_keys(assembly.clock.now().minus(assembly.key_afterlife())).await {
            tracing::warn!(event = "purge_failed", %error);
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

/// Sends a message whenever one of `paths`, or a file in one that is a folder, has changed, and has settled. A
/// path need not be there yet: its parent is watched too, so that a folder made later counts from then on.
///
/// # Errors
/// When the system cannot watch them.
pub fn watch(paths: &[PathBuf], changed: mpsc::Sender<()>) -> notify::Result<()> {
    let paths = paths.iter().map(|path| real_path(path)).collect::<std::io::Result<Vec<_>>>()?;
    let ours = paths.clone();
    let (raw, mut events) = mpsc::channel::<()>(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let is_ours = |path: &PathBuf| ours.iter().any(|our| path.starts_with(our));
        if event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(is_ours)) {
            // Full means that a reload is due anyway.
            let _ = raw.try_send(());
        }
    })?;
    for parent in paths.iter().filter_map(|path| path.parent()) {
        watcher.watch(parent, notify::RecursiveMode::NonRecursive)?;
    }
    let mut watch_folders = move || -> notify::Result<()> {
        let mut folders = paths.iter().filter(|path| path.is_dir());
        folders.try_for_each(|folder| watcher.watch(folder, notify::RecursiveMode::NonRecursive))
    };
    watch_folders()?;
    tokio::spawn(async move {
        while events.recv().await.is_some() {
            tokio::time::sleep(SETTLE).await;
            while events.try_recv().is_ok() {}
            if let Err(error) = watch_folders() {
                tracing::warn!(event = "config_not_watched", %error);
            }
            if changed.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The path as the system reports it, links resolved. Only the last part may be missing.
fn real_path(path: &Path) -> std::io::Result<PathBuf> {
    path.canonicalize().or_else(|error| {
        let path = std::path::absolute(path)?;
        let (parent, name) = path.parent().zip(path.file_name()).ok_or(error)?;
        Ok(parent.canonicalize()?.join(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_told(changes: &mut mpsc::Receiver<()>) -> bool {
        tokio::time::timeout(Duration::from_mins(1), changes.recv()).await.is_ok_and(|told| told.is_some())
    }

    // OPS-6
    #[tokio::test]
    async fn a_config_folder_made_later_and_the_env_file_beside_it_are_watched() {
        let project = tempfile::tempdir().expect("a temporary folder");
        let (folder, dotenv) = (project.path().join("config"), project.path().join(".env"));
        let (changed, mut changes) = mpsc::channel(1);
        watch(&[folder.clone(), dotenv.clone()], changed).expect("a watched folder");

        std::fs::write(project.path().join("notes.txt"), "").expect("a file");
        tokio::time::sleep(SETTLE * 2).await;
        assert!(changes.try_recv().is_err(), "another file of the project is none of ours");
        std::fs::create_dir(&folder).expect("a folder");
        assert!(is_told(&mut changes).await, "the folder appeared");
        std::fs::write(folder.join("policies.json"), "{}").expect("a file");
        assert!(is_told(&mut changes).await, "a file in it was written");
        std::fs::write(&dotenv, "WORKOS_CLIENT_ID=\n").expect("a file");
        assert!(is_told(&mut changes).await, "the environment file was written");
    }
}

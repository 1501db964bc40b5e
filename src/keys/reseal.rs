//! Sealing the whole store anew with the first secret key, beside running gateways (SEC-3).

use super::rotation::KeysError;
use crate::crypto::Sealer;
use crate::domain::Random;
use crate::store::{SEALED, Store};

const BATCH: u32 = 200;

/// What became of the sealed values of a table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resealed {
    pub table: &'static str,
    /// Sealed anew.
    pub resealed: u64,
    /// Sealed with the first key already, or by somebody else while this ran.
    pub untouched: u64,
    /// No key at hand opens them. They stay as they are.
    pub unreadable: u64,
}

/// Seals every value anew that another key than the sealer's first has sealed. Each is replaced only if it is still
/// the one that was read, so that a gateway's own write is never undone.
///
/// # Errors
/// [`KeysError`] when the store is away; what was done so far holds.
pub async fn reseal(store: &Store, sealer: &Sealer, random: &dyn Random) -> Result<Vec<Resealed>, KeysError> {
    let mut tables = Vec::new();
    for column in SEALED {
        let mut counts = Resealed { table: column.table, resealed: 0, untouched: 0, unreadable: 0 };
        let mut after = String::new();
        loop {
            let rows = store.sealed_values(column, &after, BATCH).await?;
            let Some((last, _)) = rows.last() else { break };
            after.clone_from(last);
            for (id, old) in rows {
                if sealer.is_newest(&old) {
                    counts.untouched += 1;
                    continue;
                }
                let place = format!("{}{id}", column.place);
                let Ok(plain) = sealer.open(&place, &old) else {
                    counts.unreadable += 1;
                    continue;
                };
                if store.reseal_value(column, &id, &old, &sealer.seal(&place, &plain, random)).await? {
                    counts.resealed += 1;
                } else {
                    counts.untouched += 1;
                }
            }
        }
        tables.push(counts);
    }
    Ok(tables)
}

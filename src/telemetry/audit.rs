//! Audit records with their log events. Trouble with the audit table is logged and stops nobody (REV-6).

use super::request::RequestScope;
use crate::store::{AuditRecord, Store, StoreError};

/// Writes a record and the matching log event.
pub async fn record(store: &Store, record: AuditRecord<'_>) {
    log(&record);
    with_request(record, async |record| store.record(&record).await).await;
}

/// The same for what happens often: nobody waits for the record.
pub async fn record_soon(store: &Store, record: AuditRecord<'_>) {
    log(&record);
    with_request(record, async |record| store.record_soon(&record).await).await;
}

/// Completes a record with the request it happened in, and notes when it cannot be written.
async fn with_request(record: AuditRecord<'_>, write: impl AsyncFnOnce(AuditRecord<'_>) -> Result<(), StoreError>) {
    let scope = RequestScope::present();
    let peer = scope.as_ref().and_then(|scope| scope.client_ip).map(|ip| ip.to_string());
    let record = AuditRecord {
        request_id: record.request_id.or(scope.as_ref().map(|scope| &*scope.id)),
        peer: record.peer.or(peer.as_deref()),
        ..record
    };
    if let Err(error) = write(record).await {
        tracing::warn!(event = "audit_write_failed", %error);
    }
}

fn log(record: &AuditRecord<'_>) {
    tracing::info!(
        event = record.event,
        outcome = record.outcome.as_str(),
        subjectId = record.subject.map(tracing::field::display),
        clientId = record.client.map(tracing::field::display),
        grantId = record.grant.map(tracing::field::display),
        route = record.route,
        reasonCode = record.reason,
    );
}

//! Finding the snapshot to serve, or building it.

use std::time::Duration;

use karute_engine::{Guard, Index, Store, StoreError};
use karute_sync::embed::Embedder;
use karute_sync::job::{self, Outcome, Progress, Publishing, SyncError};
use karute_sync::source::Source;
use karute_sync::workbook::Workbook;
use time::OffsetDateTime;

use crate::config::Settings;

/// How long, and how often, to wait for another process that is publishing: half a minute in all.
const LOCK_WAIT: Duration = Duration::from_millis(500);
const LOCK_TRIES: u32 = 60;

/// A snapshot that can be served.
#[derive(Debug)]
pub struct Prepared {
    /// The opened snapshot.
    pub index: Index,
    /// What an operator should know: why it is not the one that was hoped for. Empty when all is well.
    pub problems: Vec<String>,
}

/// The workbook that the settings name.
pub fn workbook(settings: &Settings) -> Workbook {
    match &settings.workbook {
        Some(path) => Workbook::at(path, settings.sheets.clone()),
        None => Workbook::sample(),
    }
}

/// Publishing with the guard that the settings describe.
pub fn guarded(settings: &Settings) -> Publishing {
    let Settings { max_lost, max_quarantine_growth, .. } = *settings;
    Publishing::Guarded(Guard { max_lost, max_quarantine_growth })
}

/// Runs a sync. Blocks for as long as it takes: never call it from a request.
///
/// # Errors
/// As [`job::run`].
pub fn sync(
    source: &dyn Source,
    embedder: &dyn Embedder,
    store: &Store,
    publishing: Publishing,
    progress: &dyn Progress,
) -> Result<Outcome, SyncError> {
    let outcome = tokio::runtime::Handle::current().block_on(job::run(
        source,
        embedder,
        store,
        // A snapshot is built at a second; what is finer is noise in every listing.
        OffsetDateTime::now_utc().truncate_to_second(),
        publishing,
        progress,
    ))?;
    let report = &outcome.report;
    tracing::info!(
        snapshot = outcome.index.id().short(),
        rows = report.used,
        quarantined = report.quarantined,
        vectors_computed = report.vectors_computed,
        "snapshot published"
    );
    Ok(outcome)
}

/// The snapshot to serve: the current one if it is what a sync would build again, else a new one. When the source
/// cannot be synced but the store holds an earlier snapshot of that same source, that one is served and the problem
/// is told.
///
/// # Errors
/// A sync that fails when there is nothing else to serve.
pub fn prepare(
    settings: &Settings,
    store: &Store,
    embedder: &dyn Embedder,
    progress: &dyn Progress,
) -> Result<Prepared, SyncError> {
    prepare_patiently(settings, store, embedder, progress, LOCK_TRIES)
}

fn prepare_patiently(
    settings: &Settings,
    store: &Store,
    embedder: &dyn Embedder,
    progress: &dyn Progress,
    patience: u32,
) -> Result<Prepared, SyncError> {
    let source = workbook(settings);
    let (current, mut problems) = match store.current() {
        Ok(opened) => {
            let skipped = opened.skipped.iter();
            let problems =
                skipped.map(|s| format!("{} was passed over: {}", s.path.display(), s.reason)).collect();
            (Some(opened.index), problems)
        }
        Err(StoreError::Empty { .. }) => (None, Vec::new()),
        Err(error @ StoreError::NoneUsable { .. }) => {
            tracing::warn!(%error, "rebuilding from the source");
            (None, Vec::new())
        }
        Err(error) => return Err(error.into()),
    };
    let up_to_date = match &current {
        Some(index) => job::is_up_to_date(index, store, &source, embedder),
        None => Ok(false),
    };
    let failure = match up_to_date {
        Ok(true) => None,
        Ok(false) => match sync(&source, embedder, store, guarded(settings), progress) {
            Ok(outcome) => return Ok(Prepared { index: outcome.index, problems: Vec::new() }),
            // Another process is building, most likely the same snapshot: wait for it, then look again.
            Err(SyncError::Store(StoreError::Locked { .. })) if patience > 0 => {
                std::thread::sleep(LOCK_WAIT);
                return prepare_patiently(settings, store, embedder, progress, patience - 1);
            }
            Err(error) => Some(error),
        },
        Err(error) => Some(error.into()),
    };
    let (index, failure) = match (current, failure) {
        (Some(index), None) => return Ok(Prepared { index, problems }),
        (Some(index), Some(failure)) => (index, failure),
        // Without a snapshot the sync was tried, and a sync that succeeds has returned above.
        (None, failure) => {
            return Err(
                failure.unwrap_or_else(|| StoreError::Empty { path: store.directory().into() }.into())
            );
        }
    };
    let servable = index.provenance().place == source.place() && index.identity() == embedder.identity();
    if !servable {
        return Err(failure);
    }
    problems
        .push(format!("the source could not be synced, so an earlier snapshot of it is served: {failure}"));
    Ok(Prepared { index, problems })
}

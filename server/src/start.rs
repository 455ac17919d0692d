//! Finding the snapshot to serve: in the bucket, in the store, or by building it.

use std::time::Duration;

use karute_engine::{Guard, Identity, Index, Opened, Skipped, Store, StoreError};
use karute_sync::bucket::{Bucket, BucketError};
use karute_sync::cache::Cached;
use karute_sync::embed::Embedder;
use karute_sync::forget::{self, ForgetError};
use karute_sync::job::{self, How, Outcome, Progress, Publishing, SyncError};
use karute_sync::source::Source;
use time::OffsetDateTime;

use crate::config::Settings;
use crate::setup::{self, SetupError};

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

/// There is nothing to serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The sync failed.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// Somebody who is forgotten could not be kept out.
    #[error(transparent)]
    Forget(#[from] ForgetError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The settings do not go together.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Neither the bucket nor the store gave a snapshot.
    #[error("nothing can be served: {bucket}; and {store}")]
    Nothing {
        /// What is wrong with the store.
        store: StoreError,
        /// What is wrong with the bucket.
        bucket: Box<BucketError>,
    },
    /// The snapshot was embedded by a model that this program does not have.
    #[error(
        "snapshot {id} was embedded as {found}, but questions are embedded as {expected}: \
         push a snapshot that was built with the same model"
    )]
    Identity {
        /// The snapshot.
        id: String,
        /// Its identity.
        found: Box<Identity>,
        /// The identity of the embedder.
        expected: Box<Identity>,
    },
}

/// Publishing with the guard that the settings describe.
pub fn guarded(settings: &Settings) -> Publishing {
    let Settings { max_lost, max_quarantine_growth, .. } = *settings;
    Publishing::Guarded(Guard { max_lost, max_quarantine_growth, ..Guard::default() })
}

/// Whether somebody chose what is served, by going back to it: as long as it can be served, only an order ends that.
pub(crate) fn is_chosen(store: &Store) -> bool {
    store.is_rolled_back() && store.current().is_ok_and(|opened| opened.skipped.is_empty())
}

/// Runs a sync. Blocks for as long as it takes: never call it from a request.
///
/// # Errors
/// As [`job::run`].
pub fn sync(
    source: &dyn Source,
    embedder: &dyn Embedder,
    store: &Store,
    how: How,
    progress: &dyn Progress,
) -> Result<Outcome, SyncError> {
    let embedder = Cached::new(embedder, &setup::embedding_cache(store));
    let outcome = tokio::runtime::Handle::current().block_on(job::run(
        source,
        &embedder,
        store,
        // A snapshot is built at a second; what is finer is noise in every listing.
        OffsetDateTime::now_utc().truncate_to_second(),
        how,
        progress,
    ))?;
    if outcome.run.unchanged {
        tracing::info!(snapshot = outcome.index.id().short(), calls = outcome.run.usage.calls, "unchanged");
        return Ok(outcome);
    }
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

/// The snapshot to serve. With a bucket, its current one is pulled first; when that fails, what the store holds is
/// served and the reason is told, and no workbook is synced unless one is named.
///
/// # Errors
/// Nothing to serve: neither from the bucket, nor in the store, nor by a sync.
pub fn prepare(
    settings: &Settings,
    store: &Store,
    embedder: &dyn Embedder,
    progress: &dyn Progress,
) -> Result<Prepared, StartError> {
    // All are written in one form, so that their texts compare as their times.
    let before = store.current().ok().map(|opened| opened.index.provenance().built_at.clone());
    // Whoever was forgotten stays so, whatever was put into the store meanwhile, here or from elsewhere.
    let pulled = match settings.bucket.is_some() && is_chosen(store) {
        true => {
            tracing::warn!("the store was rolled back: nothing is pulled until `karute snapshot pull`");
            Some(Ok(()))
        }
        // Who reads the source, and follows no bucket, has what is newest.
        false if has_source(settings) && settings.pull_every == 0 && before.is_some() => {
            settings.bucket.is_some().then_some(Ok(()))
        }
        false => pull(settings, store, progress),
    };
    let kept_out = forget::keep_out(store);
    let mut prepared = choose(settings, store, embedder, progress, pulled)?;
    if settings.bucket.is_some() && before.is_some_and(|before| prepared.index.provenance().built_at < before)
    {
        tracing::warn!("the bucket's snapshot, which is older than the one that was here, is served");
    }
    if setup::is_sample(settings) {
        let problem = "the sample that the program carries is served, whose clients are made up: VECTOR_DB_SPREADSHEET_ID names \
                       the records";
        tracing::warn!("{problem}");
        prepared.problems.push(problem.into());
    }
    if let Err(error) = kept_out {
        // What stands in the way of that is no reason to serve nothing, as long as nobody is served who is forgotten.
        if !forget::is_free_of_forgotten(store.directory(), &prepared.index)? {
            return Err(error.into());
        }
        prepared.problems.push(format!("somebody who is forgotten may be in a snapshot yet: {error}"));
    }
    Ok(prepared)
}

/// Whether a source of records is named.
fn has_source(settings: &Settings) -> bool {
    settings.workbook.is_some() || setup::from_sheets(settings)
}

/// What was `pulled`, what the store holds, or what a sync gives.
fn choose(
    settings: &Settings,
    store: &Store,
    embedder: &dyn Embedder,
    progress: &dyn Progress,
    pulled: Option<Result<(), BucketError>>,
) -> Result<Prepared, StartError> {
    let Some(pulled) = pulled else {
        return from_source(settings, store, embedder, progress, LOCK_TRIES);
    };
    let named = has_source(settings);
    let (mut prepared, pulled) = match (named, store.current(), pulled) {
        (true, _, pulled) => (from_source(settings, store, embedder, progress, LOCK_TRIES)?, pulled),
        (false, Err(store), Err(bucket)) => {
            return Err(StartError::Nothing { store, bucket: Box::new(bucket) });
        }
        (false, opened, pulled) => (servable(opened?, embedder)?, pulled),
    };
    // Whoever reads the source may be the first to push.
    if let Err(error) = pulled
        && !(named && matches!(error, BucketError::Empty { .. }))
    {
        // The page that tells of it is open, and where the bucket is is not for everybody.
        tracing::error!(%error, "the bucket was not reached, so the local copy is served");
        prepared
            .problems
            .push("the bucket was not reached, so the local copy is served: the log says why".into());
    }
    Ok(prepared)
}

/// Pulls from the bucket of the settings; `None` if there is none.
fn pull(settings: &Settings, store: &Store, progress: &dyn Progress) -> Option<Result<(), BucketError>> {
    let url = settings.bucket.as_ref()?;
    // Without a local copy there is nothing to turn to, so the download may take as long as it moves on at all.
    let deadline = match store.current() {
        Ok(_) => Duration::from_secs(settings.bucket_deadline),
        Err(_) => Duration::MAX,
    };
    let pulled = tokio::runtime::Handle::current().block_on(async {
        let bucket = Bucket::open(url, settings.bucket_endpoint.as_ref())?;
        let pulling = async {
            let pulled = bucket.pull(store, progress).await?;
            take_note(&bucket, store).await;
            Ok(pulled)
        };
        tokio::time::timeout(deadline, pulling).await.unwrap_or_else(|_| {
            let reason = format!("it did not end within {} s (KARUTE_BUCKET_DEADLINE)", deadline.as_secs());
            Err(BucketError::Request { action: "pull from", object: url.to_string(), reason })
        })
    });
    Some(pulled.map(|pulled| {
        let (snapshot, bytes) = (pulled.id.short(), pulled.downloaded);
        tracing::info!(snapshot, bytes, moved = pulled.moved, "pulled from the bucket");
    }))
}

/// When the job last looked at the source is told in the bucket; nothing else depends on it.
pub(crate) async fn take_note(bucket: &Bucket, store: &Store) {
    let told = async {
        if let Some(note) = bucket.noted().await? {
            store.note(note.trim_end())?;
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    if let Err(error) = told.await {
        tracing::debug!(%error, "when the source was last looked at is not known");
    }
}

/// What the store holds, without a look at any workbook.
fn servable(opened: Opened, embedder: &dyn Embedder) -> Result<Prepared, StartError> {
    let index = opened.index;
    if index.identity() != embedder.identity() {
        let (found, expected) = (index.identity().clone(), embedder.identity().clone());
        return Err(StartError::Identity {
            id: index.id().short(),
            found: Box::new(found),
            expected: Box::new(expected),
        });
    }
    Ok(Prepared { index, problems: passed_over(&opened.skipped) })
}

fn passed_over(skipped: &[Skipped]) -> Vec<String> {
    let told = |skipped: &Skipped| {
        let name = skipped.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{name} was passed over: {}", skipped.reason)
    };
    skipped.iter().map(told).collect()
}

/// The current snapshot if it is what a sync would build again, else a new one. When the source
/// cannot be synced but the store holds an earlier snapshot of that same source, that one is served and the problem
/// is told.
///
/// # Errors
/// A sync that fails when there is nothing else to serve.
fn from_source(
    settings: &Settings,
    store: &Store,
    embedder: &dyn Embedder,
    progress: &dyn Progress,
    patience: u32,
) -> Result<Prepared, StartError> {
    let source = setup::source(settings)?;
    let source = source.as_ref();
    let (current, mut problems) = match store.current() {
        Ok(opened) => {
            let problems = passed_over(&opened.skipped);
            (Some(opened.index), problems)
        }
        Err(StoreError::Empty { .. }) => (None, Vec::new()),
        Err(error @ StoreError::NoneUsable { .. }) => {
            tracing::warn!(%error, "rebuilding from the source");
            (None, Vec::new())
        }
        Err(error) => return Err(error.into()),
    };
    let wanted = How { precision: settings.vectors, lexical: settings.words, ..How::default() };
    let up_to_date = match &current {
        // A live spreadsheet is synced by a job of its own: a start must depend on nobody.
        Some(index)
            if setup::from_sheets(settings)
                && index.provenance().place == source.place()
                && index.identity() == embedder.identity() =>
        {
            Ok(true)
        }
        // Nobody named a workbook, but the store holds one: the built-in sample must not take its place.
        Some(index)
            if settings.workbook.is_none()
                && !setup::from_sheets(settings)
                && index.provenance().place != source.place()
                && index.identity() == embedder.identity() =>
        {
            tracing::warn!(
                source = index.provenance().source,
                "KARUTE_WORKBOOK is not set: serving what the store holds"
            );
            Ok(true)
        }
        Some(index) if is_chosen(store) && index.identity() == embedder.identity() => {
            tracing::warn!("the store was rolled back: serving that snapshot until the next `karute sync`");
            Ok(true)
        }
        Some(index) => tokio::runtime::Handle::current()
            .block_on(job::is_up_to_date(index, store, source, embedder, &wanted)),
        None => Ok(false),
    };
    let failure = match up_to_date {
        Ok(true) => None,
        Ok(false) => {
            match sync(source, embedder, store, setup::how(settings, guarded(settings))?, progress) {
                Ok(outcome) => return Ok(Prepared { index: outcome.index, problems: Vec::new() }),
                // Another process is building, most likely the same snapshot: wait for it, then look again.
                Err(SyncError::Store(StoreError::Locked { .. } | StoreError::Overtaken { .. }))
                    if patience > 0 =>
                {
                    std::thread::sleep(LOCK_WAIT);
                    return from_source(settings, store, embedder, progress, patience - 1);
                }
                Err(error) => Some(error),
            }
        }
        Err(error) => Some(error.into()),
    };
    let (index, failure) = match (current, failure) {
        (Some(index), None) => return Ok(Prepared { index, problems }),
        (Some(index), Some(failure)) => (index, failure),
        // Without a snapshot the sync was tried, and a sync that succeeds has returned above.
        (None, failure) => {
            let empty = || StoreError::Empty { path: store.directory().into() }.into();
            return Err(failure.unwrap_or_else(empty).into());
        }
    };
    let servable = index.provenance().place == source.place() && index.identity() == embedder.identity();
    if !servable {
        return Err(failure.into());
    }
    problems
        .push(format!("the source could not be synced, so an earlier snapshot of it is served: {failure}"));
    Ok(Prepared { index, problems })
}

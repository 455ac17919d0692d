//! The steps of a sync in their order: look, read, judge, embed, build, publish.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use karute_engine::{
    BuildError, GraphBuilder, Guard, Index, LexicalSettings, OpenError, Precision, Provenance, Store,
    StoreError,
};
use time::OffsetDateTime;

use crate::embed::{EmbedError, Embedder};
use crate::forget;
use crate::gather::{Parent, Stored};
use crate::google::Usage;
use crate::prepare::prepare;
use crate::report::{QualityReport, Reason};
pub use crate::seen::looked_at;
use crate::seen::{Seen, note, rfc3339};
use crate::sound::{is_sound, remember};
use crate::source::{Sheet, Source, SourceError};

/// Name and version of what builds snapshots. A snapshot of another version is rebuilt.
pub const BUILDER: &str = concat!("karute ", env!("CARGO_PKG_VERSION"));

/// A stage of the work, for progress. The units are rows unless the stage says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Rows are read from the source.
    Reading,
    /// Vectors are read from the source.
    Vectors,
    /// Rows without a vector are embedded.
    Embedding,
    /// The snapshot and its index are built.
    Building,
    /// The snapshot is written, verified and made current.
    Publishing,
    /// A snapshot is read whole and checked.
    Verifying,
    /// A snapshot goes to a bucket; the units are bytes.
    Uploading,
    /// A snapshot comes from a bucket; the units are bytes.
    Downloading,
}

/// Is told how far a sync has come.
pub trait Progress: Send + Sync {
    /// A stage begins, with `total` units of work where that is known.
    fn begin(&self, stage: Stage, total: Option<u64>);
    /// `units` more are done.
    fn advance(&self, units: u64);
    /// The stage is done.
    fn finish(&self);
}

/// A [`Progress`] that tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _stage: Stage, _total: Option<u64>) {}
    fn advance(&self, _units: u64) {}
    fn finish(&self) {}
}

/// Whether the publish guard is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Publishing {
    /// The guard may refuse a snapshot that looks like an accident.
    Guarded(Guard),
    /// The snapshot is published whatever the guard says, and its provenance says that it was forced.
    Forced,
}

impl Publishing {
    /// The guard to publish with.
    pub fn guard(self) -> Guard {
        match self {
            Self::Guarded(guard) => guard,
            Self::Forced => Guard::open(),
        }
    }
}

impl Default for Publishing {
    fn default() -> Self {
        Self::Guarded(Guard::default())
    }
}

/// How a sync is done.
#[derive(Clone, Debug, PartialEq)]
pub struct How {
    /// Whether the guard is asked.
    pub publishing: Publishing,
    /// How much is read.
    pub pass: Pass,
    /// What becomes of rows without a usable vector.
    pub missing: Missing,
    /// Whether vectors that were computed are appended to the source, once the snapshot is published.
    pub write_back: bool,
    /// In how many bits the snapshot keeps each number of its vectors.
    pub precision: Precision,
    /// How words are weighed.
    pub lexical: LexicalSettings,
    /// Who builds the graph, if there is to be one whatever the number of rows; the engine decides otherwise.
    pub builder: Option<GraphBuilder>,
    /// Questions on which the recall that a graph promises is measured besides the rows themselves. A model that is paid
    /// embeds them only where [`Missing::Embed`] lets it.
    pub questions: Vec<String>,
}

impl Default for How {
    fn default() -> Self {
        let (publishing, pass) = (Publishing::default(), Pass::Full);
        let precision = Precision::default();
        Self {
            publishing,
            pass,
            missing: Missing::Leave,
            write_back: false,
            precision,
            lexical: LexicalSettings::default(),
            builder: None,
            questions: Vec::new(),
        }
    }
}

/// What becomes of rows without a usable vector. An embedder that costs nothing always makes one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Missing {
    /// They keep only their words, and the report says so.
    Leave,
    /// They are embedded, if all of them together cost no more than this.
    Embed {
        /// Most yen of one run.
        most_yen: f64,
        /// Yen of a US dollar.
        yen_per_usd: f64,
    },
}

/// How much of a source a sync reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Everything.
    Full,
    /// Nothing of a source that did not change, and only the changed vectors of one that did; everything if the last
    /// full pass is longer ago than this.
    Changes {
        /// Longest time between two full passes.
        full_every: Duration,
    },
}

/// A sync that came to its end.
#[derive(Debug)]
pub struct Outcome {
    /// The published snapshot, opened.
    pub index: Index,
    /// What could be used and what could not.
    pub report: QualityReport,
    /// What this run did.
    pub run: Run,
    /// Why computed vectors were not appended to the source, where they should have been. The snapshot holds them: the next run
    /// that may write tries again with those that were paid for.
    pub not_written: Option<SourceError>,
}

/// What a run did. Two runs over the same source differ here, never in the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Run {
    /// Nothing had changed, so nothing was published, and nothing read but what a write-back needs.
    pub unchanged: bool,
    /// Rows whose vector cells were read.
    pub vectors_read: u64,
    /// Records whose vector came from the snapshot before.
    pub vectors_reused: u64,
    /// Vectors that were appended to the source.
    pub vectors_written: u64,
    /// When everything was last read, RFC 3339.
    pub full_pass: String,
    /// What was asked of the source.
    pub usage: Usage,
}

/// A sync did not come to its end. The store serves what it served before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The list of clients who are to be forgotten.
    #[error(transparent)]
    Forget(forget::ForgetError),
    /// The embedder.
    #[error("embedding failed: {0}")]
    Embed(#[from] EmbedError),
    /// Vectors could not be kept on the disk on their way.
    #[error(
        "vectors cannot be kept in the data directory on their way: {0}. Free some space, then sync again"
    )]
    Spool(io::Error),
    /// The snapshot could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The snapshot could not be published.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Every row was quarantined.
    #[error(
        "no row of {name} can be used: all {records} are quarantined ({reasons}). Mend the source, sync again"
    )]
    NothingUsable {
        /// The source.
        name: String,
        /// Rows that it holds.
        records: u64,
        /// Why, with how many rows for each reason.
        reasons: String,
    },
}

impl From<forget::ForgetError> for SyncError {
    fn from(error: forget::ForgetError) -> Self {
        match error {
            forget::ForgetError::Store(error) => Self::Store(error),
            error => Self::Forget(error),
        }
    }
}

/// Whether `index` is what a sync of `source` with `embedder` would build again: of `how`, precision and words count.
///
/// # Errors
/// A source that cannot be reached.
pub async fn is_up_to_date(
    index: &Index,
    store: &Store,
    source: &dyn Source,
    embedder: &dyn Embedder,
    how: &How,
) -> Result<bool, SourceError> {
    let as_wanted = index.identity() == embedder.identity()
        && index.precision() == how.precision
        // Damage is none of this question's.
        && index.lexical_settings().ok().flatten().is_none_or(|words| words == how.lexical);
    if index.provenance().builder != BUILDER || !as_wanted {
        return Ok(false);
    }
    let version = source.version().await?;
    Ok(Seen::of(index, store, source).is_some_and(|seen| seen.version == version))
}

/// Appends to `source` what `index` computed and the sheet lacks; `index` is what the source holds otherwise.
async fn write_owed(
    index: &Index,
    report: &QualityReport,
    source: &dyn Source,
    embedder: &dyn Embedder,
    how: &How,
    now: OffsetDateTime,
) -> Result<u64, SourceError> {
    let different = report.findings.iter().filter(|finding| finding.reason == Reason::DuplicateDifferent);
    let ambiguous = different.map(|finding| finding.id.as_str()).collect();
    let parent = Parent::of(Some(index), embedder, how.precision, &source.place());
    let damaged = |error: OpenError| SourceError::Unreadable {
        name: "the current snapshot".into(),
        detail: error.to_string(),
    };
    let mut owed = match parent {
        Some(parent) => parent.owed(&ambiguous).map_err(damaged)?,
        None => Vec::new(),
    };
    if owed.is_empty() {
        return Ok(0);
    }
    index.verify().map_err(damaged)?;
    // What an earlier answer that was lost has written, or somebody else, is not written again.
    let sheets = source.read(&|_| {}).await?;
    let column = |sheet: &Sheet, name: &str| -> HashSet<String> {
        let at = sheet.column(name);
        let cells = sheet.rows.iter().filter_map(|row| row.cells.get(at?));
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    let (records, vectors) = (column(&sheets.knowledge_base, "id"), column(&sheets.embeddings, "kb_id"));
    owed.retain(|(id, _)| records.contains(id) && !vectors.contains(id));
    source.append_vectors(&sheets, &owed, &embedder.identity().model, &rfc3339(now)).await
}

/// How many were written, and why not all.
fn unzipped(written: Result<u64, SourceError>) -> (u64, Option<SourceError>) {
    match written {
        Ok(written) => (written, None),
        Err(error) => (0, Some(error)),
    }
}

/// The report that a snapshot was built with, if this version can read it.
pub fn told_of(index: &Index) -> Option<QualityReport> {
    Some(serde_json::from_str::<Stored<QualityReport>>(index.report().ok()?).ok()?.report)
}

/// Reads `source`, embeds what has no usable vector, and publishes the snapshot to `store`. `now` goes into the
/// provenance. Blocks while it builds and writes: run it where blocking is fine.
///
/// # Errors
/// A source that cannot be read, an embedder that fails, a store that cannot be written. Faults in rows are no
/// errors: they are in the report.
pub async fn run(
    source: &dyn Source,
    embedder: &dyn Embedder,
    store: &Store,
    now: OffsetDateTime,
    how: How,
    progress: &dyn Progress,
) -> Result<Outcome, SyncError> {
    // A sync that ended between publishing and this may have left somebody in who was forgotten meanwhile.
    if let Err(error) = forget::keep_out(store) {
        tracing::warn!(%error, "somebody who is to be forgotten may still be in a snapshot");
    }
    let (begun, spent) = (store.current_id(), embedder.usage());
    let opened = store.current().ok().map(|opened| opened.index);
    let seen = opened.as_ref().and_then(|index| Seen::of(index, store, source));
    // Another version may judge vector cells otherwise.
    let other_builder = opened.as_ref().is_some_and(|index| index.provenance().builder != BUILDER);
    let full = match (how.pass, &seen) {
        _ if other_builder => true,
        (Pass::Changes { full_every }, Some(seen)) => {
            source.leaves_vectors_out() && seen.is_due(now, full_every)
        }
        _ => true,
    };
    let current = opened.filter(|index| is_sound(store, index, full));
    if let (false, Some(index), Some(seen)) = (full, &current, &seen)
        && !store.is_rolled_back()
        && how.builder.is_none()
        && let Some(report) = told_of(index)
        && (how.missing == Missing::Leave || !report.has(Reason::NoVector))
        && is_up_to_date(index, store, source, embedder, &how).await?
    {
        let (vectors_written, not_written) = match how.write_back {
            true => unzipped(write_owed(index, &report, source, embedder, &how, now).await),
            false => (0, None),
        };
        // When somebody last looked is worth knowing; nothing depends on it.
        if let Err(error) = store.note(&note(index, source, seen, now)) {
            tracing::debug!(%error, "when the source was looked at could not be noted");
        }
        let run = Run {
            unchanged: true,
            vectors_written,
            full_pass: seen.full_pass.clone(),
            usage: source.usage() + (embedder.usage() - spent),
            ..Run::default()
        };
        return Ok(Outcome { index: store.find(&index.id().to_string())?, report, run, not_written });
    }
    // Nothing is taken over from a damaged snapshot: it would be signed anew, damage and all.
    let current = current.filter(|index| full || is_sound(store, index, true));
    let prepared = prepare(source, embedder, store, current.as_ref(), full, &how, progress).await?;
    let full_pass = match (source.leaves_vectors_out(), full, &seen) {
        (false, ..) => String::new(),
        (true, false, Some(seen)) => seen.full_pass.clone(),
        (true, ..) => rfc3339(now),
    };
    let seen = Seen { version: prepared.gathered.version.clone(), full_pass };

    let provenance = Provenance {
        parent: current.as_ref().map(|index| index.id().to_string()).unwrap_or_default(),
        forced: how.publishing == Publishing::Forced,
        ..prepared.provenance(source, &seen, now)
    };
    let sealed = prepared.build(embedder, store, &how, provenance, progress)?;
    progress.begin(Stage::Publishing, None);
    // Somebody may have been forgotten since the rows were read.
    let guard = Guard { after: begun.into(), ..how.publishing.guard() };
    let id = forget::publish(store, &sealed, &prepared.forgotten, &guard)?;
    remember(store, id);
    progress.finish();
    let index = store.find(&id.to_string())?;
    if let Err(error) = store.note(&note(&index, source, &seen, now)) {
        tracing::warn!(%error, "the snapshot is published, but the next start will sync once more");
    }
    let (vectors_written, not_written) = match how.write_back {
        true => unzipped(prepared.write_back(source, embedder, now).await),
        false => (0, None),
    };
    Ok(Outcome {
        index,
        not_written,
        run: Run {
            unchanged: false,
            vectors_written,
            vectors_read: prepared.gathered.vectors_read,
            vectors_reused: prepared.gathered.vectors_reused,
            full_pass: seen.full_pass,
            usage: source.usage() + (embedder.usage() - spent),
        },
        report: prepared.report,
    })
}

/// Reads all of `source`, embeds every row with `embedder`, and adds the snapshot to the store: another model is looked at
/// before it is taken. Of `how`, only what it says of missing vectors, precision, words and graph counts. With `switch` it is
/// published at once, as far as the guard lets it.
///
/// # Errors
/// As [`run`].
pub async fn beside(
    source: &dyn Source,
    embedder: &dyn Embedder,
    store: &Store,
    now: OffsetDateTime,
    how: How,
    switch: Option<Publishing>,
    progress: &dyn Progress,
) -> Result<Outcome, SyncError> {
    let (begun, spent) = (store.current_id(), embedder.usage());
    let prepared = prepare(source, embedder, store, None, true, &how, progress).await?;
    let full_pass = if source.leaves_vectors_out() { rfc3339(now) } else { String::new() };
    let seen = Seen { version: prepared.gathered.version.clone(), full_pass: full_pass.clone() };
    let parent = begun.map(|id| id.to_string()).unwrap_or_default();
    let forced = switch == Some(Publishing::Forced);
    let provenance = Provenance { parent, forced, ..prepared.provenance(source, &seen, now) };
    let sealed = prepared.build(embedder, store, &how, provenance, progress)?;
    progress.begin(Stage::Publishing, None);
    let id = match switch {
        Some(publishing) => {
            let guard = Guard { after: begun.into(), ..publishing.guard() };
            forget::publish(store, &sealed, &prepared.forgotten, &guard)?
        }
        None => forget::add(store, &sealed, &prepared.forgotten)?,
    };
    progress.finish();
    let usage = source.usage() + (embedder.usage() - spent);
    let run = Run { full_pass, usage, ..Run::default() };
    Ok(Outcome { index: store.find(&id.to_string())?, report: prepared.report, run, not_written: None })
}

/// Reads and judges all of `source`, publishes nothing.
///
/// # Errors
/// As [`run`].
pub async fn check(
    source: &dyn Source,
    embedder: &dyn Embedder,
    store: &Store,
    progress: &dyn Progress,
) -> Result<(QualityReport, Run), SyncError> {
    // What is known of the source from before decides, as in a sync, which vectors are stale and which are there.
    let current = store.current().ok().map(|opened| opened.index);
    let current = current.filter(|index| is_sound(store, index, true));
    let prepared =
        prepare(source, embedder, store, current.as_ref(), true, &How::default(), progress).await?;
    let run = Run { vectors_read: prepared.gathered.vectors_read, usage: source.usage(), ..Run::default() };
    Ok((prepared.report, run))
}

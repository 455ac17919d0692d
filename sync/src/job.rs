//! The steps of a sync in their order: look, read, judge, embed, build, publish.

use std::collections::HashSet;

use karute_engine::{
    BuildError, Draft, Embedding, Guard, Index, Passage, Provenance, Row, Sealed, Store, StoreError, Term,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::embed::{EmbedError, Embedder, Task, document_text};
use crate::judge;
use crate::report::{Action, Finding, QualityReport, Reason};
use crate::source::{Source, SourceError};
use crate::{terms, vectors};

/// Name and version of what builds snapshots. A snapshot of another version is rebuilt.
pub const BUILDER: &str = concat!("karute ", env!("CARGO_PKG_VERSION"));

/// A stage of the work, for progress. The units are rows unless the stage says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Rows are read from the source.
    Reading,
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

/// A sync that came to its end.
#[derive(Debug)]
pub struct Outcome {
    /// The published snapshot, opened.
    pub index: Index,
    /// What could be used and what could not.
    pub report: QualityReport,
}

/// A sync did not come to its end. The store serves what it served before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The embedder.
    #[error("embedding failed: {0}")]
    Embed(#[from] EmbedError),
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

/// Whether `index` is what a sync of `source` with `embedder` would build again.
///
/// # Errors
/// A source that cannot be reached.
pub fn is_up_to_date(
    index: &Index,
    store: &Store,
    source: &dyn Source,
    embedder: &dyn Embedder,
) -> Result<bool, SourceError> {
    let provenance = index.provenance();
    if provenance.builder != BUILDER || index.identity() != embedder.identity() {
        return Ok(false);
    }
    let version = source.version()?;
    let built_from_it = provenance.place == source.place() && provenance.source_version == version;
    Ok(built_from_it || store.noted().as_deref() == Some(note(index, source, &version).as_str()))
}

/// What is noted in the store when a sync has found that a source still gives the snapshot that is there: the file of
/// that snapshot is immutable, so its own provenance cannot say so.
fn note(index: &Index, source: &dyn Source, version: &str) -> String {
    format!("{} {version} {}", index.id(), source.place())
}

/// Reads `source`, embeds what has no usable vector, and publishes the snapshot to `store`. `now` goes into the
/// provenance. Blocks while it reads, builds and writes: run it where blocking is fine.
///
/// # Errors
/// A source that cannot be read, an embedder that fails, a store that cannot be written. Faults in rows are no
/// errors: they are in the report.
pub async fn run(
    source: &dyn Source,
    embedder: &dyn Embedder,
    store: &Store,
    now: OffsetDateTime,
    publishing: Publishing,
    progress: &dyn Progress,
) -> Result<Outcome, SyncError> {
    let version = source.version()?;
    progress.begin(Stage::Reading, None);
    let sheets = source.read(&|rows| progress.advance(rows))?;
    progress.finish();

    let name = source.name();
    let judged = judge::records(&sheets.knowledge_base, &name)?;
    let known: HashSet<&str> = judged.rows.iter().map(|row| row.id.as_str()).collect();
    let found = vectors::judge(&sheets.embeddings, &name, embedder.identity(), &known, &judged.ambiguous)?;
    let (terms, term_findings) = terms::judge(&sheets.medical_terms, &name)?;
    let mut report = QualityReport {
        records: sheets.knowledge_base.rows.len() as u64,
        used: judged.rows.len() as u64,
        repaired: judged.repaired,
        quarantined: judged.quarantined,
        vectors: sheets.embeddings.rows.len() as u64,
        vectors_used: found.by_id.len() as u64,
        vectors_quarantined: found.quarantined,
        vectors_computed: 0,
        terms: terms.len() as u64,
        findings: judged.findings,
    };
    if judged.rows.is_empty() {
        let reasons =
            report.by_reason().into_iter().filter(|((action, _), _)| *action == Action::Quarantined);
        let reasons = reasons.map(|((_, reason), count)| format!("{count} {}", reason.code()));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        return Err(SyncError::NothingUsable { name, records: report.records, reasons });
    }

    let mut embeddings: Vec<Option<Vec<f32>>> =
        judged.rows.iter().map(|row| found.by_id.get(&row.id).cloned()).collect();
    report.vectors_computed = fill(&judged.rows, &mut embeddings, embedder, progress).await?;
    note_wordless(&judged.rows, &embeddings, &sheets.knowledge_base.name, &mut report.findings);
    report.findings.sort_by_key(|finding| finding.row);
    report.findings.extend(found.findings);
    report.findings.extend(term_findings);

    progress.begin(Stage::Building, Some(report.used));
    let provenance = Provenance {
        source: name,
        place: source.place(),
        source_version: version.clone(),
        rows_read: report.records,
        rows_quarantined: report.quarantined,
        parent: store.current().map(|opened| opened.index.id().to_string()).unwrap_or_default(),
        builder: BUILDER.into(),
        forced: publishing == Publishing::Forced,
        built_at: now.to_offset(time::UtcOffset::UTC).format(&Rfc3339).unwrap_or_default(),
    };
    let sealed = build(&judged.rows, &embeddings, terms, &report, embedder, provenance, progress)?;
    progress.finish();

    progress.begin(Stage::Publishing, None);
    store.publish(&sealed, &publishing.guard())?;
    progress.finish();
    let index = store.find(&sealed.id().to_string())?;
    if let Err(error) = store.note(&note(&index, source, &version)) {
        tracing::warn!(%error, "the snapshot is published, but the next start will sync once more");
    }
    Ok(Outcome { index, report })
}

/// Embeds the rows that have no vector yet. Returns how many got one.
async fn fill(
    rows: &[Row],
    embeddings: &mut [Option<Vec<f32>>],
    embedder: &dyn Embedder,
    progress: &dyn Progress,
) -> Result<u64, EmbedError> {
    let missing: Vec<usize> = (0..rows.len()).filter(|&at| embeddings[at].is_none()).collect();
    progress.begin(Stage::Embedding, Some(missing.len() as u64));
    let mut computed = 0;
    for batch in missing.chunks(embedder.batch_size().max(1)) {
        let texts: Vec<String> = batch.iter().map(|&at| document_text(&rows[at])).collect();
        let made = embedder.embed(&texts, Task::Document).await?;
        for (&at, embedding) in batch.iter().zip(made) {
            embeddings[at] = embedding.map(Embedding::into_vector);
            computed += u64::from(embeddings[at].is_some());
        }
        progress.advance(batch.len() as u64);
    }
    progress.finish();
    Ok(computed)
}

fn note_wordless(rows: &[Row], embeddings: &[Option<Vec<f32>>], sheet: &str, findings: &mut Vec<Finding>) {
    let wordless = rows.iter().zip(embeddings).filter(|(_, embedding)| embedding.is_none());
    findings.extend(wordless.map(|(row, _)| Finding {
        action: Action::Noted,
        reason: Reason::NoWords,
        sheet: sheet.to_owned(),
        row: row.origin.row_number,
        id: row.id.clone(),
    }));
}

fn build(
    rows: &[Row],
    embeddings: &[Option<Vec<f32>>],
    terms: Vec<Term>,
    report: &QualityReport,
    embedder: &dyn Embedder,
    provenance: Provenance,
    progress: &dyn Progress,
) -> Result<Sealed, BuildError> {
    let mut draft = Draft::new(embedder.identity().clone());
    draft.set_terms(terms);
    draft.set_report(
        serde_json::to_string(report)
            .map_err(|error| BuildError::Archive { id: "report".into(), detail: error.to_string() })?,
    );
    for (row, embedding) in rows.iter().zip(embeddings) {
        let passages: Vec<Passage<'_>> = embedding.iter().map(|vector| Passage::whole(row, vector)).collect();
        draft.push(row, &passages)?;
        progress.advance(1);
    }
    draft.finish(provenance)
}

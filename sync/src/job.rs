//! The steps of a sync in their order: look, read, judge, embed, build, publish.

use std::io;
use std::time::Duration;

use karute_engine::words::sentences;
use karute_engine::{
    BuildError, Draft, Embedding, Guard, Index, Passage, Provenance, Row, Sealed, Store, StoreError, Term,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::embed::{EmbedError, Embedder, Task, document_text};
use crate::gather::{self, Gathered, Parent, Place, Stored};
use crate::google::Usage;
use crate::report::{Action, Finding, QualityReport, Reason};
use crate::source::{Source, SourceError};
use crate::spool::Spool;
use crate::terms;

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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct How {
    /// Whether the guard is asked.
    pub publishing: Publishing,
    /// How much is read.
    pub pass: Pass,
    /// What becomes of rows without a usable vector.
    pub missing: Missing,
    /// Whether vectors that were computed are appended to the source, once the snapshot is published.
    pub write_back: bool,
}

impl Default for How {
    fn default() -> Self {
        let (publishing, pass) = (Publishing::default(), Pass::Full);
        Self { publishing, pass, missing: Missing::Leave, write_back: false }
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
}

/// What a run did. Two runs over the same source differ here, never in the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Run {
    /// Nothing had changed, so nothing was read and nothing published.
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
    /// The embedder.
    #[error("embedding failed: {0}")]
    Embed(#[from] EmbedError),
    /// Vectors could not be kept on the disk on their way.
    #[error(
        "vectors cannot be kept in the data directory on their way: {0}. Free some space, then sync again"
    )]
    Spool(io::Error),
    /// The snapshot is published, but its vectors are not in the source.
    #[error("the snapshot is published, but computed vectors could not be written back: {0}")]
    WriteBack(#[source] SourceError),
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

/// What a source was like when it was last found to give a snapshot: its version, and when all of it was last read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    version: String,
    full_pass: String,
}

impl Seen {
    /// `version` alone where the source is always read whole.
    fn written(&self) -> String {
        match self.full_pass.is_empty() {
            true => self.version.clone(),
            false => format!("{} full-pass={}", self.version, self.full_pass),
        }
    }

    fn read(text: &str) -> Self {
        let (version, full_pass) = text.split_once(" full-pass=").unwrap_or((text, ""));
        Self { version: version.to_owned(), full_pass: full_pass.to_owned() }
    }

    /// The last time that `source` was found to give `index`: when it was built, or since.
    fn of(index: &Index, store: &Store, source: &dyn Source) -> Option<Self> {
        let (id, place) = (index.id().to_string(), source.place());
        let noted = store.noted();
        let noted = noted.as_deref().and_then(|note| note.strip_prefix(&id)?.strip_suffix(&place));
        let provenance = index.provenance();
        let built = (provenance.place == place).then_some(provenance.source_version.as_str());
        noted.map(str::trim).or(built).map(Self::read)
    }

    /// Whether another full pass is due at `now`.
    fn is_due(&self, now: OffsetDateTime, every: Duration) -> bool {
        match OffsetDateTime::parse(&self.full_pass, &Rfc3339) {
            Ok(then) => now - then >= every,
            Err(_) => true,
        }
    }
}

/// Whether `index` is what a sync of `source` with `embedder` would build again.
///
/// # Errors
/// A source that cannot be reached.
pub async fn is_up_to_date(
    index: &Index,
    store: &Store,
    source: &dyn Source,
    embedder: &dyn Embedder,
) -> Result<bool, SourceError> {
    if index.provenance().builder != BUILDER || index.identity() != embedder.identity() {
        return Ok(false);
    }
    let version = source.version().await?;
    Ok(Seen::of(index, store, source).is_some_and(|seen| seen.version == version))
}

/// What is noted in the store when a sync has found that a source still gives the snapshot that is there: the file of
/// that snapshot is immutable, so its own provenance cannot say so.
fn note(index: &Index, source: &dyn Source, seen: &Seen) -> String {
    format!("{} {} {}", index.id(), seen.written(), source.place())
}

/// The report that a snapshot was built with, if this version can read it.
fn told_of(index: &Index) -> Option<QualityReport> {
    Some(serde_json::from_str::<Stored<QualityReport>>(index.report().ok()?).ok()?.report)
}

fn rfc3339(moment: OffsetDateTime) -> String {
    moment.to_offset(time::UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
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
    let current = store.current().ok().map(|opened| opened.index);
    let seen = current.as_ref().and_then(|index| Seen::of(index, store, source));
    let full = match (how.pass, &seen) {
        (Pass::Changes { full_every }, Some(seen)) => {
            source.leaves_vectors_out() && seen.is_due(now, full_every)
        }
        _ => true,
    };
    if let (false, Some(index), Some(seen)) = (full, &current, &seen)
        && !store.is_rolled_back()
        && let Some(report) = told_of(index)
        && (how.missing == Missing::Leave || !report.has(Reason::NoVector))
        && is_up_to_date(index, store, source, embedder).await?
    {
        let run = Run {
            unchanged: true,
            full_pass: seen.full_pass.clone(),
            usage: source.usage(),
            ..Run::default()
        };
        return Ok(Outcome { index: store.find(&index.id().to_string())?, report, run });
    }
    let prepared = prepare(source, embedder, store, current.as_ref(), full, how.missing, progress).await?;
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
    let sealed = prepared.build(embedder, store, provenance, progress)?;
    progress.begin(Stage::Publishing, None);
    store.publish(&sealed, &how.publishing.guard())?;
    progress.finish();
    let index = store.find(&sealed.id().to_string())?;
    if let Err(error) = store.note(&note(&index, source, &seen)) {
        tracing::warn!(%error, "the snapshot is published, but the next start will sync once more");
    }
    let vectors_written = match how.write_back {
        true => prepared.write_back(source, embedder, now).await?,
        false => 0,
    };
    Ok(Outcome {
        index,
        run: Run {
            unchanged: false,
            vectors_written,
            vectors_read: prepared.gathered.vectors_read,
            vectors_reused: prepared.gathered.vectors_reused,
            full_pass: seen.full_pass,
            usage: source.usage(),
        },
        report: prepared.report,
    })
}

/// Reads all of `source`, embeds every row with `embedder`, and adds the snapshot to the store without making it
/// current: another model is looked at before it is taken.
///
/// # Errors
/// As [`run`].
pub async fn beside(
    source: &dyn Source,
    embedder: &dyn Embedder,
    store: &Store,
    now: OffsetDateTime,
    missing: Missing,
    progress: &dyn Progress,
) -> Result<Outcome, SyncError> {
    let prepared = prepare(source, embedder, store, None, true, missing, progress).await?;
    let full_pass = if source.leaves_vectors_out() { rfc3339(now) } else { String::new() };
    let seen = Seen { version: prepared.gathered.version.clone(), full_pass: full_pass.clone() };
    let provenance = prepared.provenance(source, &seen, now);
    let sealed = prepared.build(embedder, store, provenance, progress)?;
    progress.begin(Stage::Publishing, None);
    let id = store.add(&sealed)?;
    progress.finish();
    let run = Run { full_pass, usage: source.usage(), ..Run::default() };
    Ok(Outcome { index: store.find(&id.to_string())?, report: prepared.report, run })
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
    let prepared = prepare(source, embedder, store, None, true, Missing::Leave, progress).await?;
    let run = Run { vectors_read: prepared.gathered.vectors_read, usage: source.usage(), ..Run::default() };
    Ok((prepared.report, run))
}

/// Everything that a snapshot is built of.
struct Prepared<'a> {
    gathered: Gathered,
    parent: Option<Parent<'a>>,
    /// Vectors that were computed in this run, by position of the record.
    computed: Vec<Option<Place>>,
    made: Spool,
    terms: Vec<Term>,
    report: QualityReport,
}

async fn prepare<'a>(
    source: &dyn Source,
    embedder: &dyn Embedder,
    store: &Store,
    current: Option<&'a Index>,
    full: bool,
    missing: Missing,
    progress: &dyn Progress,
) -> Result<Prepared<'a>, SyncError> {
    let identity = embedder.identity();
    let parent = Parent::of(current, identity, &source.place());
    let gathered =
        gather::gather(source, identity, parent.as_ref(), full, store.directory(), progress).await?;
    let (terms, term_findings) = terms::judge(&gathered.sheets.medical_terms, &source.name())?;
    let mut made =
        Spool::create(store.directory(), identity.dimensions as usize).map_err(SyncError::Spool)?;
    let rows = &gathered.judged.rows;
    let mut computed = vec![None; rows.len()];
    let (mut vectors_computed, mut cut) = (0, Vec::new());
    let embedded = embedder.is_free() || missing != Missing::Leave;
    let bare = (0..rows.len()).filter(|&at| !gathered.places.contains_key(&rows[at].id));
    let texts = bare.map(|at| (at, cut_to(&document_text(&rows[at]), embedder.most_characters())));
    // What was paid for once is used without being asked for.
    let texts = texts.filter(|(_, (text, _))| embedded || embedder.holds(text));
    let texts: Vec<(usize, String)> = texts
        .map(|(at, (text, whole))| {
            cut.extend((!whole).then_some(at));
            (at, text)
        })
        .collect();
    if !texts.is_empty() {
        afford(&texts, missing, embedder)?;
        vectors_computed = fill(&texts, &mut computed, &mut made, embedder, progress).await?;
    }
    let judged = &gathered.judged;
    let mut report = QualityReport {
        records: gathered.sheets.knowledge_base.rows.len() as u64,
        used: judged.rows.len() as u64,
        repaired: judged.repaired,
        quarantined: judged.quarantined,
        vectors: gathered.sheets.embeddings.rows.len() as u64,
        vectors_used: gathered.places.len() as u64,
        vectors_quarantined: 0,
        vectors_computed,
        terms: terms.len() as u64,
        findings: judged.findings.clone(),
    };
    let note = |row: &Row, reason| Finding {
        action: Action::Noted,
        reason,
        sheet: gathered.sheets.knowledge_base.name.clone(),
        row: row.origin.row_number,
        id: row.id.clone(),
    };
    let without = rows
        .iter()
        .zip(&computed)
        .filter(|(row, computed)| computed.is_none() && !gathered.places.contains_key(&row.id));
    let reason = if embedded { Reason::NoWords } else { Reason::NoVector };
    report.findings.extend(without.map(|(row, _)| note(row, reason)));
    report.findings.extend(cut.into_iter().map(|at| note(&rows[at], Reason::TextCut)));
    report.findings.sort_by_key(|finding| finding.row);
    let quarantined = gathered.vector_findings.iter().filter(|finding| finding.action == Action::Quarantined);
    report.vectors_quarantined = quarantined.count() as u64;
    report.findings.extend(gathered.vector_findings.iter().cloned());
    report.findings.extend(term_findings);
    Ok(Prepared { gathered, parent, computed, made, terms, report })
}

/// The beginning of `text` in at most so many characters, up to the end of a sentence where there is one, and whether
/// that is all of it.
fn cut_to(text: &str, characters: usize) -> (String, bool) {
    let Some((end, _)) = text.char_indices().nth(characters) else { return (text.to_owned(), true) };
    let whole =
        sentences(text).into_iter().map(|sentence| sentence.end).take_while(|&last| last <= end).last();
    (text[..whole.unwrap_or(end)].to_owned(), false)
}

/// Whether embedding the texts may be paid for.
fn afford(texts: &[(usize, String)], missing: Missing, embedder: &dyn Embedder) -> Result<(), EmbedError> {
    let Missing::Embed { most_yen, yen_per_usd } = missing else { return Ok(()) };
    let (mut count, mut characters) = (0, 0);
    for (_, text) in texts.iter().filter(|(_, text)| !embedder.holds(text)) {
        count += 1;
        characters += text.chars().count() as u64;
    }
    let yen = embedder.usd(characters) * yen_per_usd;
    if yen > most_yen {
        return Err(EmbedError::TooDear { texts: count, yen, cap: most_yen });
    }
    if count > 0 && yen > 0.0 {
        tracing::info!(rows = count, at_most_yen = format!("{yen:.2}"), "rows without a vector are embedded");
    }
    Ok(())
}

/// Embeds texts. Returns how many got a vector.
async fn fill(
    texts: &[(usize, String)],
    computed: &mut [Option<Place>],
    made: &mut Spool,
    embedder: &dyn Embedder,
    progress: &dyn Progress,
) -> Result<u64, SyncError> {
    progress.begin(Stage::Embedding, Some(texts.len() as u64));
    let mut count = 0;
    for batch in texts.chunks(embedder.batch_size().max(1)) {
        let asked: Vec<String> = batch.iter().map(|(_, text)| text.clone()).collect();
        let vectors = embedder.embed(&asked, Task::Document).await?;
        for (&(at, _), embedding) in batch.iter().zip(vectors) {
            let slot = embedding.map(Embedding::into_vector).map(|vector| made.push(&vector));
            computed[at] = slot.transpose().map_err(SyncError::Spool)?.map(Place::Fetched);
            count += u64::from(computed[at].is_some());
        }
        progress.advance(batch.len() as u64);
    }
    progress.finish();
    Ok(count)
}

impl Prepared<'_> {
    fn provenance(&self, source: &dyn Source, seen: &Seen, now: OffsetDateTime) -> Provenance {
        Provenance {
            source: source.name(),
            place: source.place(),
            source_version: seen.written(),
            rows_read: self.report.records,
            rows_quarantined: self.report.quarantined,
            builder: BUILDER.into(),
            built_at: rfc3339(now),
            ..Provenance::default()
        }
    }

    /// Appends what was computed to the source.
    async fn write_back(
        &self,
        source: &dyn Source,
        embedder: &dyn Embedder,
        now: OffsetDateTime,
    ) -> Result<u64, SyncError> {
        let mut vectors = Vec::new();
        for (row, place) in self.gathered.judged.rows.iter().zip(&self.computed) {
            if let Some(Place::Fetched(slot)) = place {
                vectors.push((row.id.clone(), self.made.read(*slot).map_err(SyncError::Spool)?));
            }
        }
        let (model, moment) = (&embedder.identity().model, rfc3339(now));
        let written = source.append_vectors(&self.gathered.sheets, &vectors, model, &moment);
        written.await.map_err(SyncError::WriteBack)
    }

    fn build(
        &self,
        embedder: &dyn Embedder,
        store: &Store,
        provenance: Provenance,
        progress: &dyn Progress,
    ) -> Result<Sealed, SyncError> {
        let rows = &self.gathered.judged.rows;
        progress.begin(Stage::Building, Some(rows.len() as u64));
        let mut draft =
            Draft::spooled(embedder.identity().clone(), store.directory()).map_err(SyncError::Spool)?;
        draft.set_terms(self.terms.clone());
        let stored = Stored { report: &self.report, known_vectors: self.gathered.known.clone() };
        draft.set_report(
            serde_json::to_string(&stored)
                .map_err(|error| BuildError::Archive { id: "report".into(), detail: error.to_string() })?,
        );
        for (row, computed) in rows.iter().zip(&self.computed) {
            let vector = match (self.gathered.places.get(&row.id), computed) {
                (Some(&place), _) => Some(self.gathered.vector(place, &row.id, self.parent.as_ref())),
                (None, Some(Place::Fetched(slot))) => Some(self.made.read(*slot)),
                (None, _) => None,
            };
            let vector = vector.transpose().map_err(SyncError::Spool)?;
            let passages: Vec<Passage<'_>> =
                vector.iter().map(|vector| Passage::whole(row, vector)).collect();
            draft.push(row, &passages)?;
            progress.advance(1);
        }
        let sealed = draft.finish(provenance)?;
        progress.finish();
        Ok(sealed)
    }
}

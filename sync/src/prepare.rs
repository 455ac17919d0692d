//! From a source to everything that a snapshot is built of: gathered, embedded where something is missing, reported.

use std::collections::HashSet;

use karute_engine::words::sentences;
use karute_engine::{BuildError, Draft, Embedding, Index, Passage, Provenance, Row, Sealed, Store, Term};
use time::OffsetDateTime;

use crate::embed::{EmbedError, Embedder, Task, document_text};
use crate::gather::{self, Gathered, Parent, Place, Stored};
use crate::job::{BUILDER, Missing, Progress, Stage, SyncError};
use crate::report::{Action, Finding, QualityReport, Reason};
use crate::seen::{Seen, rfc3339};
use crate::source::Source;
use crate::spool::Spool;
use crate::terms;
use crate::vectors::Digest;

/// Everything that a snapshot is built of.
pub(crate) struct Prepared<'a> {
    pub(crate) gathered: Gathered,
    parent: Option<Parent<'a>>,
    /// Vectors that were computed in this run, by position of the record.
    computed: Vec<Option<Place>>,
    made: Spool,
    /// What was paid for, for the next sync.
    paid: Vec<Digest>,
    terms: Vec<Term>,
    pub(crate) report: QualityReport,
}

pub(crate) async fn prepare<'a>(
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
    let mut texts: Vec<(usize, String)> = texts
        .map(|(at, (text, whole))| {
            cut.extend((!whole).then_some(at));
            (at, text)
        })
        .collect();
    // What was paid for once is used without being asked for: from the snapshot before, or from what is kept here.
    let mut paid = Vec::new();
    if !embedder.is_free() {
        for (at, text) in &texts {
            if let Some(vector) = parent.as_ref().and_then(|parent| parent.computed(&rows[*at].id, text)) {
                computed[*at] = Some(Place::Fetched(made.push(vector).map_err(SyncError::Spool)?));
                paid.push(gather::computed_from(&rows[*at].id, text));
                vectors_computed += 1;
            }
        }
        texts.retain(|(at, text)| computed[*at].is_none() && (embedded || embedder.holds(text)));
        let asked: HashSet<usize> = texts.iter().map(|(at, _)| *at).collect();
        cut.retain(|at| computed[*at].is_some() || asked.contains(at));
    }
    if !texts.is_empty() {
        afford(&texts, missing, embedder)?;
        vectors_computed += fill(&texts, &mut computed, &mut made, embedder, progress).await?;
        let made = texts.iter().filter(|(at, _)| !embedder.is_free() && computed[*at].is_some());
        paid.extend(made.map(|(at, text)| gather::computed_from(&rows[*at].id, text)));
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
    Ok(Prepared { gathered, parent, computed, made, paid, terms, report })
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
    let (mut count, mut bytes) = (0, 0);
    for (_, text) in texts.iter().filter(|(_, text)| !embedder.holds(text)) {
        count += 1;
        bytes += text.len() as u64;
    }
    let yen = embedder.usd(count, bytes) * yen_per_usd;
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
    pub(crate) fn provenance(&self, source: &dyn Source, seen: &Seen, now: OffsetDateTime) -> Provenance {
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
    pub(crate) async fn write_back(
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

    pub(crate) fn build(
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
        let stored = Stored {
            report: &self.report,
            known_vectors: self.gathered.known.clone(),
            computed_vectors: self.paid.clone(),
        };
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

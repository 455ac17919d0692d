//! From a source to everything that a snapshot is built of: gathered, embedded where something is missing, reported.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use karute_engine::{
    BuildError, ClientName, Draft, Embedding, GraphSettings, Index, Passage, Provenance, Row, Sealed, Store,
    Term,
};
use time::OffsetDateTime;

use crate::clients;
use crate::embed::{EmbedError, Embedder, Task, embed_questions};
use crate::forget;
use crate::gather::{self, Gathered, Parent, Stored, made_from, most_of_title};
use crate::job::{BUILDER, How, Missing, Progress, Stage, SyncError};
use crate::passages::passages;
use crate::report::{Action, Finding, QualityReport, Reason};
use crate::seen::{Seen, rfc3339};
use crate::source::{Source, SourceError};
use crate::spool::{Slot, Spool};
use crate::terms;
use crate::vectors::Digest;

/// Everything that a snapshot is built of.
pub(crate) struct Prepared<'a> {
    pub(crate) gathered: Gathered,
    /// Clients of whom nothing was taken in.
    pub(crate) forgotten: BTreeSet<String>,
    parent: Option<Parent<'a>>,
    /// Passages whose vectors were computed in this run, by position of the record.
    computed: Vec<Vec<Made>>,
    made: Spool,
    /// What was paid for, for the next sync.
    paid: Vec<Digest>,
    /// Questions that the recall is measured on.
    questions: Vec<Embedding>,
    terms: Vec<Term>,
    clients: Vec<ClientName>,
    pub(crate) report: QualityReport,
}

/// A passage with a vector of its own.
struct Made {
    range: Range<usize>,
    slot: Slot,
}

/// A passage that has no vector yet.
struct Bare {
    /// Position of the record.
    at: usize,
    range: Range<usize>,
    /// What its vector is made from.
    text: String,
}

pub(crate) async fn prepare<'a>(
    source: &dyn Source,
    embedder: &dyn Embedder,
    store: &Store,
    current: Option<&'a Index>,
    full: bool,
    how: &How,
    progress: &dyn Progress,
) -> Result<Prepared<'a>, SyncError> {
    let How { missing, precision, .. } = *how;
    let identity = embedder.identity();
    let place = source.place();
    let parent = Parent::of(current, embedder, precision, &place);
    let newest = store.current().ok().map(|opened| opened.index);
    let remembered = match &parent {
        Some(_) => HashMap::new(),
        None => gather::remembered(newest.as_ref(), &place),
    };
    let forgotten = forget::known(store.directory(), newest.as_ref())?;
    let directory = store.directory();
    let parent_of = parent.as_ref();
    let gathering =
        gather::gather(source, identity, parent_of, remembered, forgotten.clone(), full, directory, progress);
    let gathered = gathering.await?;
    let (terms, term_findings) = terms::judge(&gathered.sheets.medical_terms, &source.name())?;
    let (clients, client_findings) =
        gathered.sheets.clients.as_ref().map(|sheet| clients::judge(sheet, &forgotten)).unwrap_or_default();
    let mut made =
        Spool::create(store.directory(), identity.dimensions as usize).map_err(SyncError::Spool)?;
    let rows = &gathered.judged.rows;
    let mut computed: Vec<Vec<Made>> = rows.iter().map(|_| Vec::new()).collect();
    let embedded = embedder.is_free() || missing != Missing::Leave;
    let without = (0..rows.len()).filter(|&at| !gathered.places.contains_key(&rows[at].id));
    let mut bare: Vec<Bare> =
        without.flat_map(|at| bare(at, &rows[at], embedder.passage_characters())).collect();
    // What was paid for once is used without being asked for: from the snapshot before, or from what is kept here.
    let mut paid = Vec::new();
    if !embedder.is_free() {
        let mut wanting = Vec::new();
        for Bare { at, range, text } in bare {
            match parent.as_ref().and_then(|parent| parent.computed(&rows[at].id, &text)) {
                Some(vector) => {
                    let slot = made.push(&vector).map_err(SyncError::Spool)?;
                    paid.push(gather::computed_from(&rows[at].id, &text));
                    computed[at].push(Made { range, slot });
                }
                None if embedded || embedder.holds(&text) => wanting.push(Bare { at, range, text }),
                None => {}
            }
        }
        bare = wanting;
    }
    let passages = gathered.places.len() + bare.len();
    let mut questions = if passages < Draft::GRAPH_FROM { &[] } else { how.questions.as_slice() };
    if !questions.is_empty() && !embedded {
        let reason = "nothing may be spent on embedding them";
        tracing::warn!(
            questions = questions.len(),
            reason,
            "the recall is measured without the questions given for it"
        );
        questions = &[];
    }
    afford(&bare, questions, missing, embedder)?;
    let questions = embed_questions(questions, embedder).await?;
    if !bare.is_empty() {
        let embedded = fill(&bare, &mut computed, &mut made, embedder, progress).await?;
        if !embedder.is_free() {
            let known =
                |number: usize| bare.get(number).map(|b| gather::computed_from(&rows[b.at].id, &b.text));
            paid.extend(embedded.into_iter().filter_map(known));
        }
    }
    computed.iter_mut().for_each(|passages| passages.sort_by_key(|made| made.range.start));
    let vectors_computed = computed.iter().filter(|passages| !passages.is_empty()).count() as u64;
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
        gid: gathered.sheets.knowledge_base.gid,
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
        .filter(|(row, computed)| computed.is_empty() && !gathered.places.contains_key(&row.id));
    let reason = if embedded { Reason::NoWords } else { Reason::NoVector };
    report.findings.extend(without.map(|(row, _)| note(row, reason)));
    let cut = rows.iter().zip(&computed).filter(|(row, computed)| {
        !computed.is_empty() && row.title.chars().count() > most_of_title(embedder.passage_characters())
    });
    report.findings.extend(cut.map(|(row, _)| note(row, Reason::TextCut)));
    report.findings.sort_by_key(|finding| finding.row);
    let quarantined = gathered.vector_findings.iter().filter(|finding| finding.action == Action::Quarantined);
    report.vectors_quarantined = quarantined.count() as u64;
    report.findings.extend(gathered.vector_findings.iter().cloned());
    report.findings.extend(term_findings);
    report.findings.extend(client_findings);
    Ok(Prepared { gathered, forgotten, parent, computed, made, paid, questions, terms, clients, report })
}

/// The passages of a record, each with its text: the title, then the passage, together at most `most` characters.
fn bare(at: usize, row: &Row, most: usize) -> Vec<Bare> {
    // One for the line break between them.
    let room = most.saturating_sub(row.title.chars().take(most_of_title(most)).count() + 1);
    let text = |range: &Range<usize>| made_from(row, &row.content[range.clone()], most);
    passages(&row.content, room).into_iter().map(|range| Bare { at, text: text(&range), range }).collect()
}

/// Whether embedding the texts and the questions may be paid for.
fn afford(
    bare: &[Bare],
    questions: &[String],
    missing: Missing,
    embedder: &dyn Embedder,
) -> Result<(), EmbedError> {
    let Missing::Embed { most_yen, yen_per_usd } = missing else { return Ok(()) };
    let (mut count, mut bytes) = (0, 0);
    let texts = bare.iter().map(|bare| &bare.text).filter(|text| !embedder.holds(text));
    for text in texts.chain(questions) {
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

/// Embeds passages. Returns the numbers of those that got a vector.
async fn fill(
    bare: &[Bare],
    computed: &mut [Vec<Made>],
    made: &mut Spool,
    embedder: &dyn Embedder,
    progress: &dyn Progress,
) -> Result<Vec<usize>, SyncError> {
    progress.begin(Stage::Embedding, Some(bare.len() as u64));
    let mut embedded = Vec::with_capacity(bare.len());
    let size = embedder.batch_size().max(1);
    for (first, batch) in (0..).step_by(size).zip(bare.chunks(size)) {
        let asked: Vec<String> = batch.iter().map(|bare| bare.text.clone()).collect();
        let vectors = embedder.embed(&asked, Task::Document).await?;
        for (number, (bare, embedding)) in (first..).zip(batch.iter().zip(vectors)) {
            let Some(vector) = embedding.map(Embedding::into_vector) else { continue };
            let slot = made.push(&vector).map_err(SyncError::Spool)?;
            computed[bare.at].push(Made { range: bare.range.clone(), slot });
            embedded.push(number);
        }
        progress.advance(batch.len() as u64);
    }
    progress.finish();
    Ok(embedded)
}

impl Prepared<'_> {
    pub(crate) fn provenance(&self, source: &dyn Source, seen: &Seen, now: OffsetDateTime) -> Provenance {
        Provenance {
            source: source.name(),
            place: source.place(),
            source_version: seen.written(),
            rows_read: self.report.records,
            // Who is forgotten is left out on purpose: that is no accident of which the guard should warn.
            rows_quarantined: self.report.quarantined.saturating_sub(self.report.count(Reason::Forgotten)),
            builder: BUILDER.into(),
            built_at: rfc3339(now),
            ..Provenance::default()
        }
    }

    /// Appends what was computed to the source: of records that one vector stands for, since a sheet has one a record, and
    /// whose id is theirs alone, since a vector of any other is not believed when it is read again.
    pub(crate) async fn write_back(
        &self,
        source: &dyn Source,
        embedder: &dyn Embedder,
        now: OffsetDateTime,
    ) -> Result<u64, SourceError> {
        let mut vectors = Vec::new();
        for (row, passages) in self.gathered.judged.rows.iter().zip(&self.computed) {
            if let [Made { range, slot }] = passages.as_slice()
                && *range == (0..row.content.len())
                && !self.gathered.judged.ambiguous.contains(&row.id)
            {
                let made = self.made.read(*slot).map_err(|error| SourceError::Spool { source: error })?;
                vectors.push((row.id.clone(), made));
            }
        }
        let (model, moment) = (&embedder.identity().model, rfc3339(now));
        source.append_vectors(&self.gathered.sheets, &vectors, model, &moment).await
    }

    pub(crate) fn build(
        &self,
        embedder: &dyn Embedder,
        store: &Store,
        how: &How,
        provenance: Provenance,
        progress: &dyn Progress,
    ) -> Result<Sealed, SyncError> {
        let rows = &self.gathered.judged.rows;
        progress.begin(Stage::Building, Some(rows.len() as u64));
        let mut draft =
            Draft::spooled(embedder.identity().clone(), store.directory()).map_err(SyncError::Spool)?;
        draft.set_precision(how.precision)?;
        draft.set_lexical(how.lexical);
        if let Some(builder) = how.builder {
            draft.set_graph(Some(GraphSettings { builder, ..GraphSettings::default() }));
        }
        draft.set_questions(&self.questions)?;
        draft.set_terms(self.terms.clone());
        draft.set_clients(self.clients.clone());
        let stored = Stored {
            report: &self.report,
            known_vectors: self.gathered.known.clone(),
            computed_vectors: self.paid.clone(),
            forgotten: self.forgotten.clone(),
        };
        draft.set_report(
            serde_json::to_string(&stored)
                .map_err(|error| BuildError::Archive { id: "report".into(), detail: error.to_string() })?,
        );
        for (row, computed) in rows.iter().zip(&self.computed) {
            let vectors: Vec<(Range<usize>, Vec<f32>)> = match self.gathered.places.get(&row.id) {
                Some(&place) => self
                    .gathered
                    .vector(place, &row.id, self.parent.as_ref())
                    .map(|vector| vec![(0..row.content.len(), vector)]),
                None => {
                    computed.iter().map(|made| Ok((made.range.clone(), self.made.read(made.slot)?))).collect()
                }
            }
            .map_err(SyncError::Spool)?;
            let passages: Vec<Passage<'_>> = vectors
                .iter()
                .map(|(range, vector)| Passage::part(range.clone(), vector.as_slice()))
                .collect();
            draft.push(row, &passages)?;
            progress.advance(1);
        }
        let sealed = draft.finish(provenance)?;
        progress.finish();
        Ok(sealed)
    }
}

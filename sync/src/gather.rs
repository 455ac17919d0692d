//! Reading a source until it holds still, and reading no vector that the snapshot before already has.
//!
//! A round reads the narrow columns, plans which vectors are needed, fetches those that are neither in the parent nor
//! fetched already, and then asks for the source's version again. A round during which nothing moved ends it.
//!
//! What makes the reuse safe is stored with each snapshot, as [`Known`] in its report section: for every record whose
//! vector cells were read, a digest of the narrow cells of its Embeddings rows, and what was found out about them.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use karute_engine::kernel::Kernel;
use karute_engine::{Identity, Index, OpenError, Passage, Precision, Row};
use serde::{Deserialize, Serialize};

use crate::embed::{Embedder, document_text, passage_text};
use crate::google::GoogleError;
use crate::job::{Progress, Stage, SyncError};
use crate::judge::{self, Judged};
use crate::report::{Action, Finding, QualityReport, Reason};
use crate::source::{Sheets, Source, SourceError};
use crate::spool::{Slot, Spool};
use crate::vectors::{self, Digest, Group, Mark, Planned, Verdict};

/// How often a source is read again because it moved.
const ROUNDS: u32 = 6;

/// From this cosine on two vectors of a record are one, rounded to half precision or not.
const SAME: f32 = 1.0 - 1e-6;

/// What a snapshot remembers of the Embeddings rows of one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Of the narrow cells.
    cells: Digest,
    /// The record; empty in what earlier versions stored.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    id: String,
    /// Of the record's text when this vector was first seen.
    text: Digest,
    /// Whether none of the rows gave a vector.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unusable: bool,
    /// What was found out about the vector cells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    marks: Vec<Mark>,
}

/// What stands in a snapshot's report section.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stored<R> {
    #[serde(flatten)]
    pub(crate) report: R,
    /// Empty for sources whose vectors are at hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) known_vectors: Vec<Known>,
    /// Clients of whom nothing is taken in: the list goes where the snapshot goes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) forgotten: BTreeSet<String>,
    /// Of id and text of each record whose vector was computed for money.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) computed_vectors: Vec<Digest>,
}

/// Where the vector of a record is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// In the parent, at the record of the same id.
    Parent,
    /// Fetched in this run.
    Fetched(Slot),
}

/// Everything of a source that held still.
pub(crate) struct Gathered {
    /// The source's version before its last reading.
    pub(crate) version: String,
    pub(crate) sheets: Sheets,
    pub(crate) judged: Judged,
    /// The place of the vector of each record that has one, by id.
    pub(crate) places: HashMap<String, Place>,
    pub(crate) vector_findings: Vec<Finding>,
    pub(crate) known: Vec<Known>,
    pub(crate) fetched: Spool,
    /// Rows whose vector cells were read.
    pub(crate) vectors_read: u64,
    /// Records whose vector came from the parent.
    pub(crate) vectors_reused: u64,
}

/// What the snapshot before can give.
pub(crate) struct Parent<'a> {
    index: &'a Index,
    known: HashMap<Digest, Known>,
    /// The text that the vector of each record is known to be made from.
    texts: HashMap<String, Digest>,
    computed: HashSet<Digest>,
    rows: HashMap<&'a str, u32>,
    /// Most characters of a passage, title and all.
    most: usize,
}

impl<'a> Parent<'a> {
    /// What `index` knows, if its vectors are those of `embedder`, not rounded further than `precision`, and came from `place`. A
    /// snapshot that cannot be read gives nothing: everything is then read anew.
    pub(crate) fn of(
        index: Option<&'a Index>,
        embedder: &dyn Embedder,
        precision: Precision,
        place: &str,
    ) -> Option<Self> {
        let index = index.filter(|index| {
            let fine_enough = index.precision() == Precision::F32 || index.precision() == precision;
            fine_enough && index.identity() == embedder.identity() && index.provenance().place == place
        })?;
        let stored = stored(index)?;
        if stored.known_vectors.is_empty() && stored.computed_vectors.is_empty() {
            return None;
        }
        let texts = stored.known_vectors.iter().filter(|known| !known.unusable);
        let texts = texts.map(|known| (known.id.clone(), known.text.clone())).collect();
        let known = stored.known_vectors.into_iter().map(|known| (known.cells.clone(), known)).collect();
        let rows = index.ids().zip(0..).map(|(id, number)| Ok((id?, number)));
        let rows = rows.collect::<Result<_, OpenError>>().ok()?;
        let computed = stored.computed_vectors.into_iter().collect();
        Some(Self { index, known, texts, computed, rows, most: embedder.passage_characters() })
    }

    /// The vector that was computed for a passage of record `id` with this text.
    pub(crate) fn computed(&self, id: &str, text: &str) -> Option<Cow<'a, [f32]>> {
        if !self.computed.contains(&computed_from(id, text)) {
            return None;
        }
        let number = *self.rows.get(id)?;
        let (row, passages) = (self.index.row(number).ok()?, self.index.passages_of(number).ok()?);
        let same = |passage: &Passage<'_>| {
            row.content.get(passage.range()).is_some_and(|own| made_from(&row, own, self.most) == text)
        };
        passages.into_iter().find(same).map(Passage::into_vector)
    }

    /// The vectors that were computed and could stand in the sheet, but do not: writing them back was not asked for, or failed.
    /// What is `ambiguous` is never written.
    pub(crate) fn owed(&self, ambiguous: &HashSet<&str>) -> Result<Vec<(String, Vec<f32>)>, OpenError> {
        let mut owed = Vec::new();
        for (id, &number) in self.rows.iter().filter(|_| !self.computed.is_empty()) {
            let (row, passages) = (self.index.row(number)?, self.index.passages_of(number)?);
            if let Ok([whole]) = <[Passage<'_>; 1]>::try_from(passages)
                && whole.range() == (0..row.content.len())
                && self.is_computed_whole(id, &row)
                && !ambiguous.contains(id)
            {
                owed.push(((*id).to_owned(), whole.into_vector().into_owned()));
            }
        }
        owed.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(owed)
    }

    /// Whether the vector of all of a record was computed for money.
    fn is_computed_whole(&self, id: &str, row: &Row) -> bool {
        self.computed.contains(&computed_from(id, &made_from(row, &row.content, self.most)))
    }

    /// The text that the vector of record `id` is known to be made from: noted when it was first seen, or the record's own,
    /// where it was computed.
    fn text(&self, id: &str) -> Option<Digest> {
        if let Some(text) = self.texts.get(id) {
            return Some(text.clone());
        }
        let row = self.index.row(*self.rows.get(id)?).ok()?;
        self.is_computed_whole(id, &row).then(|| Digest::of_text(&document_text(&row)))
    }

    /// The vector of record `id`.
    fn vector(&self, id: &str) -> Option<Cow<'a, [f32]>> {
        let number = self.rows.get(id)?;
        Some(self.index.passages_of(*number).ok()?.into_iter().next()?.into_vector())
    }
}

/// What a snapshot stores beside its report.
fn stored(index: &Index) -> Option<Stored<serde::de::IgnoredAny>> {
    serde_json::from_str(index.report().ok()?).ok()
}

/// The text of a passage of `row`: at most half of what a passage may have is the title's.
pub(crate) fn made_from(row: &Row, passage: &str, most: usize) -> String {
    let title: String = row.title.chars().take(most_of_title(most)).collect();
    passage_text(&title, passage)
}

/// Characters of a title that stand before each passage of `most` characters.
pub(crate) fn most_of_title(most: usize) -> usize {
    most / 2
}

/// What the vector of a passage that was computed is known by.
pub(crate) fn computed_from(id: &str, text: &str) -> Digest {
    Digest::of_text(&format!("{id}\n{text}"))
}

/// The texts that `index`, whoever made its vectors, noted of the Embeddings rows in `place`, by narrow cells.
pub(crate) fn remembered(index: Option<&Index>, place: &str) -> HashMap<Digest, Digest> {
    let stored = index.filter(|index| index.provenance().place == place).and_then(stored);
    let known = stored.into_iter().flat_map(|stored| stored.known_vectors);
    known.map(|known| (known.cells, known.text)).collect()
}

/// Reads `source`. Vectors are taken from `parent` where its narrow cells did not change, unless `full`.
#[expect(clippy::too_many_arguments, reason = "each is another thing that is known beforehand")]
pub(crate) async fn gather(
    source: &dyn Source,
    identity: &Identity,
    parent: Option<&Parent<'_>>,
    remembered: HashMap<Digest, Digest>,
    forgotten: BTreeSet<String>,
    full: bool,
    directory: &Path,
    progress: &dyn Progress,
) -> Result<Gathered, SyncError> {
    let fetched = Spool::create(directory, identity.dimensions as usize).map_err(SyncError::Spool)?;
    let mut gathering = Gathering {
        source,
        identity,
        parent,
        full,
        fetched,
        remembered,
        forgotten,
        seen: HashMap::new(),
        read: 0,
    };
    let (mut last, mut refused) = (None, false);
    for _ in 0..ROUNDS {
        let version = source.version().await?;
        progress.begin(Stage::Reading, None);
        let sheets = source.read(&|rows| progress.advance(rows)).await;
        progress.finish();
        let round = match sheets {
            Ok(sheets) => gathering.round(sheets, progress).await,
            Err(error) => Err(error.into()),
        };
        let round = match round {
            // A tab that was renamed or cut short between two pages: the next round sees it as it is now.
            Err(SyncError::Source(SourceError::Google(GoogleError::Refused { .. }))) if !refused => {
                refused = true;
                None
            }
            round => round?,
        };
        let Some(round) = round else { continue };
        if source.version().await? == version {
            return Ok(gathering.finish(version, round));
        }
        // The same cells twice: whatever made the version grow was none of them.
        let digest = round.sheets.digest();
        if last.replace(digest) == Some(digest) {
            return Ok(gathering.finish(version, round));
        }
    }
    Err(SourceError::Moving { name: source.name(), rounds: ROUNDS }.into())
}

struct Gathering<'a> {
    source: &'a dyn Source,
    identity: &'a Identity,
    parent: Option<&'a Parent<'a>>,
    full: bool,
    fetched: Spool,
    /// Where there is no parent: the texts that a snapshot of other vectors noted, by narrow cells.
    remembered: HashMap<Digest, Digest>,
    /// Clients of whom nothing is taken in.
    forgotten: BTreeSet<String>,
    /// What was found out in this run, by the narrow cells.
    seen: HashMap<Digest, (Known, Option<Slot>)>,
    read: u64,
}

/// One reading of the narrow columns, with all vectors that it needs.
struct Round {
    sheets: Sheets,
    judged: Judged,
    planned: Planned,
}

impl Gathering<'_> {
    /// Judges `sheets` and fetches what is missing; `None` if a row moved meanwhile.
    async fn round(&mut self, sheets: Sheets, progress: &dyn Progress) -> Result<Option<Round>, SyncError> {
        let name = self.source.name();
        let judged = judge::records(&sheets.knowledge_base, &name, &self.forgotten)?;
        if judged.rows.is_empty() {
            return Err(nothing_usable(name, &sheets, judged));
        }
        let ids: HashSet<&str> = judged.rows.iter().map(|row| row.id.as_str()).collect();
        let planned = vectors::plan(&sheets.embeddings, &name, &ids, &judged.ambiguous)?;
        let unknown: Vec<&Group> = planned.groups.iter().filter(|group| !self.knows(group)).collect();
        let rows = &sheets.embeddings.rows;
        let mut wanted: Vec<usize> = unknown.iter().flat_map(|group| group.rows.iter().copied()).collect();
        wanted.retain(|&at| planned.columns.wants(&rows[at].cells, self.identity));
        wanted.sort_unstable();

        progress.begin(Stage::Vectors, Some(wanted.len() as u64));
        let mut verdicts: HashMap<usize, Verdict<Slot>> = HashMap::with_capacity(wanted.len());
        let (mut moved, mut failed) = (false, None);
        let mut take = |at: usize, cells: &[&str]| {
            progress.advance(1);
            if planned.columns.moved(&rows[at].cells, cells) {
                moved = true;
                return ControlFlow::Continue(());
            }
            let verdict = match planned.columns.read(cells, self.identity) {
                Err(reason) => Err(reason),
                Ok((vector, repaired)) => match self.fetched.push(&vector) {
                    Ok(slot) => Ok((slot, repaired)),
                    Err(error) => {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                },
            };
            verdicts.insert(at, verdict);
            ControlFlow::Continue(())
        };
        let done = match wanted.is_empty() {
            true => Ok(()),
            false => self.source.vectors(&sheets, &wanted, &mut take).await,
        };
        progress.finish();
        if let Some(error) = failed {
            return Err(SyncError::Spool(error));
        }
        done?;
        self.read += verdicts.len() as u64;

        // A group is known once all of its rows are; what moved is read again in the next round.
        let texts = texts(&judged);
        let mut complete = !moved;
        let mut found = Vec::with_capacity(unknown.len());
        for group in unknown {
            let verdict = |&at: &usize| match planned.columns.wants(&rows[at].cells, self.identity) {
                false => Some(Err(Reason::VectorOtherModel)),
                true => verdicts.get(&at).cloned(),
            };
            let Some(verdicts) = group.rows.iter().map(verdict).collect::<Option<Vec<_>>>() else {
                complete = false;
                continue;
            };
            let (slot, marks) = Group::settle(verdicts.into_iter());
            let text = self.text_of(group, slot)?.unwrap_or_else(|| texts[group.id.as_str()].clone());
            found.push((
                group.digest.clone(),
                (
                    Known {
                        cells: group.digest.clone(),
                        id: group.id.clone(),
                        text,
                        unusable: slot.is_none(),
                        marks,
                    },
                    slot,
                ),
            ));
        }
        self.seen.extend(found);
        Ok(complete.then_some(Round { sheets, judged, planned }))
    }

    fn knows(&self, group: &Group) -> bool {
        let from_parent = || {
            let parent = self.parent.filter(|_| !self.full)?;
            let known = parent.known.get(&group.digest)?;
            Some(known.unusable || parent.vector(&group.id).is_some())
        };
        self.seen.contains_key(&group.digest) || from_parent() == Some(true)
    }

    /// The text that a vector was made from, where the snapshot before knows that: it has the same vector for the record, under
    /// the same narrow cells or others. A sheet may hold it rounded to half precision, and so may the snapshot.
    fn text_of(&self, group: &Group, slot: Option<Slot>) -> Result<Option<Digest>, SyncError> {
        let Some(slot) = slot else { return Ok(None) };
        let Some(parent) = self.parent else { return Ok(self.remembered.get(&group.digest).cloned()) };
        let noted = parent.known.get(&group.digest).map(|known| known.text.clone());
        let (Some(before), Some(text)) = (parent.vector(&group.id), noted.or_else(|| parent.text(&group.id)))
        else {
            return Ok(None);
        };
        let vector = self.fetched.read(slot).map_err(SyncError::Spool)?;
        // Rounding changes lengths, too.
        let dot = Kernel::detect().dot;
        let cosine = dot(&vector, &before) / (dot(&vector, &vector) * dot(&before, &before)).sqrt();
        Ok((cosine > SAME).then_some(text))
    }

    fn finish(self, version: String, round: Round) -> Gathered {
        let Round { sheets, judged, planned } = round;
        let texts = texts(&judged);
        let (mut places, mut findings) = (HashMap::new(), planned.findings);
        let (mut kept, mut reused) = (Vec::with_capacity(planned.groups.len()), 0);
        for group in &planned.groups {
            let (known, place) = match self.seen.get(&group.digest) {
                Some((known, slot)) => (known, slot.map(Place::Fetched)),
                None => match self.parent.and_then(|parent| parent.known.get(&group.digest)) {
                    Some(known) => (known, (!known.unusable).then_some(Place::Parent)),
                    None => continue,
                },
            };
            reused += u64::from(matches!(place, Some(Place::Parent)));
            findings.extend(group.findings(&sheets.embeddings, &known.marks));
            if place.is_some() && texts.get(group.id.as_str()) != Some(&known.text) {
                findings.extend(
                    group.findings(&sheets.embeddings, &[Mark(0, Action::Noted, Reason::VectorStale)]),
                );
            }
            places.extend(place.map(|place| (group.id.clone(), place)));
            kept.push(known.clone());
        }
        findings.sort_by_key(|finding| finding.row);
        Gathered {
            version,
            judged,
            places,
            vector_findings: findings,
            known: if self.source.leaves_vectors_out() { kept } else { Vec::new() },
            fetched: self.fetched,
            vectors_read: self.read,
            vectors_reused: reused,
            sheets,
        }
    }
}

/// The digest of the text that each record's vector is made from, by id.
fn texts(judged: &Judged) -> HashMap<&str, Digest> {
    judged.rows.iter().map(|row| (row.id.as_str(), Digest::of_text(&document_text(row)))).collect()
}

fn nothing_usable(name: String, sheets: &Sheets, judged: Judged) -> SyncError {
    let report = QualityReport { findings: judged.findings, ..QualityReport::default() };
    let reasons = report.by_reason().into_iter().filter(|((action, _), _)| *action == Action::Quarantined);
    let reasons = reasons.map(|((_, reason), count)| format!("{count} {}", reason.code()));
    let reasons = reasons.collect::<Vec<_>>().join(", ");
    SyncError::NothingUsable { name, records: sheets.knowledge_base.rows.len() as u64, reasons }
}

impl Gathered {
    /// The vector at `place` of record `id`.
    pub(crate) fn vector(&self, place: Place, id: &str, parent: Option<&Parent<'_>>) -> io::Result<Vec<f32>> {
        let lost = || io::Error::other("the snapshot before lost a vector while it was read");
        match place {
            Place::Fetched(slot) => self.fetched.read(slot),
            Place::Parent => Ok(parent.and_then(|parent| parent.vector(id)).ok_or_else(lost)?.to_vec()),
        }
    }
}

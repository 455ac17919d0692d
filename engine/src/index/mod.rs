//! An opened snapshot: the one public door to search.

mod plan;

use std::sync::OnceLock;

use self::plan::Planned;
use crate::error::{OpenError, QueryError};
use crate::filter::{self, Facet, Filter};
use crate::graph::recall::{self, Promise};
use crate::graph::search::Counters;
use crate::identity::{Embedding, Identity};
use crate::kernel::Kernel;
use crate::lexical::{self, LexicalSettings, search::KeywordHit};
use crate::originals::{Originals, Precision};
use crate::query::Query;
use crate::row::{ClientName, Provenance, Row, Term};
use crate::scan::{self, Vectors};
use crate::search::{self, Explained, Scratch, Search};
use crate::snapshot::build::Passage;
use crate::snapshot::header::{Entry, Section};
use crate::snapshot::id::SnapshotId;
use crate::snapshot::verify::{self, Verified};
use crate::snapshot::{Bytes, PassageEntry, Snapshot};
use crate::topk::Scored;
use crate::watch::{Stage, Unwatched, Watch};
use crate::words::{TermMatch, Terms};

/// A row that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Row number in the snapshot, for [`Index::row`].
    pub row: u32,
    /// Passage number whose vector was nearest, for [`Index::passage_range`].
    pub passage: u32,
    /// Cosine of question and passage, -1 to 1.
    pub score: f32,
}

/// An opened snapshot: immutable, `Send + Sync`, shared by threads without locks, searched in place.
#[derive(Debug)]
pub struct Index {
    snapshot: Snapshot,
    /// Compiled when a text is first looked through.
    terms: OnceLock<Option<Terms>>,
}

impl Index {
    /// Opens the bytes of a snapshot. Header, section table and small sections are checked; the cost does not depend
    /// on the number of rows. [`Index::verify`] checks the rest.
    ///
    /// # Errors
    /// Any bytes that are not a sound snapshot of a format that this build reads.
    pub fn open(bytes: Bytes) -> Result<Self, OpenError> {
        Ok(Self { snapshot: Snapshot::open(bytes)?, terms: OnceLock::new() })
    }

    /// Opens a copy of `bytes`, for snapshots that are not files.
    ///
    /// # Errors
    /// As [`Index::open`].
    pub fn from_slice(bytes: &[u8]) -> Result<Self, OpenError> {
        Self::open(Bytes::copied(bytes))
    }

    /// The rows nearest to the query, best first; equal scores in row order. Snapshots without a graph, and queries
    /// with [`Plan::Exact`](crate::Plan::Exact), are searched exactly: no row that the filter allows is passed over.
    ///
    /// # Errors
    /// A query of another identity, of no direction, or with numbers that are not finite; a snapshot that turns out
    /// to be damaged.
    pub fn search(&self, query: &Query<'_>) -> Result<Vec<Hit>, QueryError> {
        let mut hits = Vec::new();
        self.search_into(query, &mut Scratch::default(), &mut hits)?;
        Ok(hits)
    }

    /// As [`Index::search`], but into the caller's `hits`, and says how it went. With a `scratch` that has served such
    /// queries before, and without a filter, nothing is allocated.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn search_into(
        &self,
        query: &Query<'_>,
        scratch: &mut Scratch,
        hits: &mut Vec<Hit>,
    ) -> Result<Explained, QueryError> {
        self.search_watched(query, scratch, hits, &mut Unwatched)
    }

    /// As [`Index::search_into`], under the eyes of `watch`, who may end it and learns when each part of it ends.
    ///
    /// # Errors
    /// As [`Index::search`]; [`QueryError::Cancelled`] once `watch` does not want it any more, with no hits.
    pub fn search_watched(
        &self,
        query: &Query<'_>,
        scratch: &mut Scratch,
        hits: &mut Vec<Hit>,
        watch: &mut dyn Watch,
    ) -> Result<Explained, QueryError> {
        hits.clear();
        self.prepare(query, &mut scratch.vector)?;
        let allowed = match query.filter {
            Some(filter) => filter.compile(&self.snapshot)?,
            None => None,
        };
        watch.ended(Stage::Prepare);
        if !watch.is_wanted() {
            return Err(QueryError::Cancelled);
        }
        let allowed = allowed.as_ref();
        let of = self.vectors()?;
        let top = query.top.min(self.len() as usize);
        if top == 0 {
            return Ok(Explained::new("no rows are asked for"));
        }
        let Some(codes) = self.snapshot.codes()? else {
            let is_allowed = |row| allowed.is_none_or(|allowed| allowed.contains(row));
            let found = scan::plain(&of, &scratch.vector, top, is_allowed, || watch.is_wanted());
            scratch.found = found.ok_or(QueryError::Cancelled)?;
            watch.ended(Stage::Rescore);
            self.hand_out(&scratch.found, hits)?;
            let rescored = of.passages.len() as u64;
            let counters = Counters { rescored, bytes: rescored * of.vector_bytes(), ..Counters::default() };
            return Ok(Explained { counters, ..Explained::new("exact: the snapshot has no codes") });
        };
        scratch.coded.set(&scratch.vector, &codes);
        let (kernel, among, threads) = (Kernel::detect(), self.among(allowed), query.threads);
        let mut at = Search { kernel, of, codes, top, allowed, among, share: 1.0, threads };
        let explained = match self.plan(query.plan, top, allowed)? {
            Planned::Exact(why) => at.exact(scratch, why, watch)?,
            Planned::Graph { graph, ef_search, share, why } => {
                at.share = share;
                match at.graph(scratch, &graph, ef_search, why, watch)? {
                    Some(explained) => explained,
                    None => {
                        let walked = scratch.walked();
                        let why = "exact: a walk over the graph came first, and met too few rows";
                        let exact = at.exact(scratch, why, watch)?;
                        Explained { counters: exact.counters + walked, ..exact }
                    }
                }
            }
        };
        self.hand_out(&scratch.found, hits)?;
        Ok(explained)
    }

    /// Several questions at once, each answered as [`Index::search`] would. Exact searches without a filter share one
    /// pass over the codes: many cost little more than one where memory is what one waits for.
    ///
    /// # Errors
    /// As [`Index::search`], for the first query that has one.
    pub fn search_batch(&self, queries: &[Query<'_>]) -> Result<Vec<Vec<Hit>>, QueryError> {
        let (of, codes) = (self.vectors()?, self.snapshot.codes()?);
        let mut found = vec![Vec::new(); queries.len()];
        let mut shared: Vec<(usize, usize, Scratch)> = Vec::new();
        for (number, query) in queries.iter().enumerate() {
            let top = query.top.min(self.len() as usize);
            let exact =
                query.filter.is_none() && matches!(self.plan(query.plan, top, None)?, Planned::Exact(_));
            let mut scratch = Scratch::default();
            match codes {
                Some(codes) if exact && top > 0 => {
                    self.prepare(query, &mut scratch.vector)?;
                    scratch.coded.set(&scratch.vector, &codes);
                    shared.push((number, top, scratch));
                }
                _ => drop(self.search_into(query, &mut scratch, &mut found[number])?),
            }
        }
        if let Some(codes) = codes {
            search::exact_together(Kernel::detect(), &of, &codes, &mut shared);
            for (number, _, scratch) in &shared {
                self.hand_out(&scratch.found, &mut found[*number])?;
            }
        }
        Ok(found)
    }

    /// The rows that hold the words of `tokens` best, best first, equal scores in row order; each token is a hash of
    /// [`tokens`](crate::lexical::tokens::tokens) with what it is worth. `None` if the snapshot has no words, as those of
    /// earlier builds.
    ///
    /// # Errors
    /// A snapshot that turns out to be damaged.
    pub fn keyword_search(
        &self,
        tokens: &[(u64, f32)],
        top: usize,
        filter: Option<&Filter>,
    ) -> Result<Option<Vec<KeywordHit>>, OpenError> {
        let Some(lexical) = self.snapshot.lexical()? else { return Ok(None) };
        let allowed = match filter {
            Some(filter) => filter.compile(&self.snapshot)?,
            None => None,
        };
        let top = top.min(self.len() as usize);
        Ok(Some(match top {
            0 => Vec::new(),
            top => lexical::search::search(&lexical, tokens, top, allowed.as_ref()),
        }))
    }

    /// How its words are weighed; `None` if it has none, as those of earlier builds.
    ///
    /// # Errors
    /// A snapshot that turns out to be damaged.
    pub fn lexical_settings(&self) -> Result<Option<LexicalSettings>, OpenError> {
        Ok(self.snapshot.lexical()?.map(|lexical| lexical.settings()))
    }

    /// The query's vector at unit length, once it is known to belong to this snapshot.
    fn prepare(&self, query: &Query<'_>, unit: &mut Vec<f32>) -> Result<(), QueryError> {
        query.embedding.unit_into(self.identity(), unit)
    }

    fn hand_out(&self, found: &[Scored], hits: &mut Vec<Hit>) -> Result<(), OpenError> {
        for scored in found {
            let Scored { score, row, passage } = *scored;
            if row >= self.len() {
                let detail = format!("passage {passage} belongs to row {row}, which does not exist");
                let at = u64::from(passage) * size_of::<PassageEntry>() as u64;
                return Err(self.snapshot.corrupt(Section::Passages, at, detail));
            }
            hits.push(Hit { row, passage, score });
        }
        Ok(())
    }

    /// Row `number`, 0 to [`Index::len`].
    ///
    /// # Errors
    /// A number that is out of range, or a row whose bytes are damaged.
    pub fn row(&self, number: u32) -> Result<Row, OpenError> {
        self.snapshot.row(number)
    }

    /// The id of each row, in the order of the rows.
    ///
    /// # Errors
    /// Each item, a damaged row.
    pub fn ids(&self) -> impl Iterator<Item = Result<&str, OpenError>> {
        (0..self.len()).map(|number| Ok(self.snapshot.archived_row(number)?.id.as_str()))
    }

    /// The bytes of its row's content that passage `number` covers.
    ///
    /// # Errors
    /// A number that is out of range.
    pub fn passage_range(&self, number: u32) -> Result<std::ops::Range<usize>, OpenError> {
        let passages: &[PassageEntry] = self.snapshot.array(Section::Passages)?;
        match passages.get(number as usize) {
            Some(&[_, start, end]) => Ok(start as usize..end as usize),
            None => {
                let detail = format!("passage {number} of {} was asked for", passages.len());
                Err(self.snapshot.corrupt(Section::Passages, 0, detail))
            }
        }
    }

    /// Row numbers and rows, ascending by id.
    ///
    /// # Errors
    /// A damaged row order; each item, a damaged row.
    pub fn rows_by_id(&self) -> Result<impl Iterator<Item = Result<(u32, Row), OpenError>>, OpenError> {
        let order: &[u32] = self.snapshot.array(Section::RowOrder)?;
        Ok(order.iter().map(|&number| Ok((number, self.row(number)?))))
    }

    /// The row with this id, if there is one.
    ///
    /// # Errors
    /// A damaged row order or row.
    pub fn row_with_id(&self, id: &str) -> Result<Option<Row>, OpenError> {
        filter::row_with_id(&self.snapshot, id)?.map(|number| self.row(number)).transpose()
    }

    /// The passages of row `number`, in order.
    ///
    /// # Errors
    /// A damaged passage table.
    pub fn passages_of(&self, number: u32) -> Result<Vec<Passage<'_>>, OpenError> {
        let passages: &[PassageEntry] = self.snapshot.array(Section::Passages)?;
        let (vectors, dimensions) = (self.snapshot.vectors()?, self.identity().dimensions as usize);
        // Passages stand in the order of their rows.
        let first = passages.partition_point(|[row, ..]| *row < number);
        let own = passages[first..].iter().take_while(|[row, ..]| *row == number).zip(first..);
        Ok(own
            .map(|([_, start, end], at)| {
                let vector = vectors.owned(Originals::place(at, dimensions));
                Passage::part(*start as usize..*end as usize, vector)
            })
            .collect())
    }

    /// Every value that some row has of `facet`, with the number of rows, in byte order.
    pub fn facet_values(&self, facet: Facet) -> impl Iterator<Item = (&str, u32)> {
        self.snapshot
            .meta()
            .facet_values
            .iter()
            .filter(move |value| value.facet == facet)
            .map(|value| (value.value.as_str(), value.length))
    }

    /// Numbers of the rows that have `value` of `facet`, ascending.
    ///
    /// # Errors
    /// A damaged facet dictionary.
    pub fn rows_with(&self, facet: Facet, value: &str) -> Result<&[u32], OpenError> {
        filter::rows_of(&self.snapshot, facet, value)
    }

    /// The recall that the snapshot promises, measured when it was built; `None` where it has no graph.
    ///
    /// # Errors
    /// A damaged graph.
    pub fn promise(&self) -> Result<Option<Promise>, OpenError> {
        Ok(self.snapshot.graph()?.map(|graph| Promise::of(graph.header)))
    }

    /// Measures the recall again, as the build did; with the `questions` that the build was given, the result is what
    /// [`Index::promise`] says, or the graph is not the one that was measured. Takes seconds for large snapshots.
    ///
    /// # Errors
    /// A damaged snapshot, or questions that no query may ask.
    pub fn measure_recall(&self, questions: &[Embedding]) -> Result<Option<Promise>, QueryError> {
        let unit = |question: &Embedding| question.unit(self.identity());
        let questions = questions.iter().map(unit).collect::<Result<Vec<_>, _>>()?;
        let (Some(graph), Some(codes)) = (self.snapshot.graph()?, self.snapshot.codes()?) else {
            return Ok(None);
        };
        Ok(Some(Promise::of(&recall::measure(self.vectors()?, codes, &graph, &questions))))
    }

    fn vectors(&self) -> Result<Vectors<'_>, OpenError> {
        Ok(Vectors {
            passages: self.snapshot.array(Section::Passages)?,
            vectors: self.snapshot.vectors()?,
            dimensions: self.identity().dimensions as usize,
        })
    }

    /// Number of rows.
    pub fn len(&self) -> u32 {
        self.snapshot.meta().rows
    }

    /// Whether there are no rows at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of passages, each with a vector of its own.
    pub fn passages(&self) -> u32 {
        self.snapshot.meta().passages
    }

    /// The snapshot's id.
    pub fn id(&self) -> SnapshotId {
        self.snapshot.id()
    }

    /// Who made its vectors.
    pub fn identity(&self) -> &Identity {
        &self.snapshot.meta().identity
    }

    /// In how many bits it keeps each number of its vectors.
    pub fn precision(&self) -> Precision {
        self.snapshot.precision()
    }

    /// Name and version of the engine that sealed it.
    pub fn builder(&self) -> &str {
        &self.snapshot.meta().builder
    }

    /// How it came to be.
    pub fn provenance(&self) -> &Provenance {
        self.snapshot.provenance()
    }

    /// The medical terms of `text`, by any of their forms.
    ///
    /// # Errors
    /// More forms than can be looked for at once.
    pub fn terms_in(&self, text: &str) -> Result<Vec<TermMatch<'_>>, OpenError> {
        match self.terms.get_or_init(|| Terms::new(self.terms()).ok()) {
            Some(terms) => Ok(terms.find(text)),
            None => Err(self.snapshot.corrupt(Section::Terms, 0, "it has too many forms of terms".into())),
        }
    }

    /// What clients are called, where the source lists them.
    pub fn clients(&self) -> &[ClientName] {
        self.snapshot.clients()
    }

    /// Medical terms and their synonyms.
    pub fn terms(&self) -> &[Term] {
        self.snapshot.terms()
    }

    /// The data-quality report of the run that built it: JSON text.
    ///
    /// # Errors
    /// A damaged report.
    pub fn report(&self) -> Result<&str, OpenError> {
        self.snapshot.report()
    }

    /// Length of the file in bytes.
    pub fn file_length(&self) -> u64 {
        self.snapshot.file_length()
    }

    /// The section table.
    pub fn sections(&self) -> &[Entry] {
        self.snapshot.entries()
    }

    /// Reads and checks every byte: digests, rows, passages, vectors, facets.
    ///
    /// # Errors
    /// The first contradiction found, with its section and offset.
    pub fn verify(&self) -> Result<Verified, OpenError> {
        verify::everything(&self.snapshot)
    }
}

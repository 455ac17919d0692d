//! From rows and vectors to the bytes of a snapshot.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rkyv::rancor;

use super::column::{Column, Finished, Payload, VectorColumn};
use super::header::{Header, Section};
use super::id::SnapshotId;
use super::map::Spool;
use super::{Meta, ROW_ALIGNMENT};
use crate::codes::{Codes, Encoder};
use crate::day::Day;
use crate::error::{BuildError, OpenError, VectorFault};
use crate::filter::FacetBuilder;
use crate::graph::build as graph;
use crate::graph::recall;
use crate::graph::search::MAX_NODES;
use crate::graph::settings::GraphSettings;
use crate::identity::{Embedding, Identity};
use crate::index::Index;
use crate::lexical::build::{self as lexical, Occurrence};
use crate::lexical::{FIELDS, LexicalSettings};
use crate::originals::Precision;
use crate::row::{ClientName, Provenance, Row, Term};
use crate::scan::Vectors;
use crate::vector::{is_unit, norm};

/// A stretch of a row's content with the vector that was made from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Passage<'a> {
    range: Range<usize>,
    vector: Cow<'a, [f32]>,
}

impl<'a> Passage<'a> {
    /// One vector for the whole row.
    pub fn whole(row: &Row, vector: &'a [f32]) -> Self {
        Self::part(0..row.content.len(), vector)
    }

    /// A vector for the bytes `range` of a row's content; both ends must be character boundaries.
    pub fn part(range: Range<usize>, vector: impl Into<Cow<'a, [f32]>>) -> Self {
        Self { range, vector: vector.into() }
    }

    /// The bytes of the row's content that it covers.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Its vector.
    pub fn vector(&self) -> &[f32] {
        &self.vector
    }

    /// Its vector, given away.
    pub fn into_vector(self) -> Cow<'a, [f32]> {
        self.vector
    }
}

/// A snapshot being built. Rows keep the order in which they are pushed.
#[derive(Debug)]
pub struct Draft {
    identity: Identity,
    positions: HashMap<String, u32>,
    rows: Column<u8>,
    rows_length: usize,
    row_ends: Vec<u64>,
    passages: Vec<u32>,
    vectors: VectorColumn,
    occurrences: Column<Occurrence>,
    /// Where files without names are made; `None` keeps everything in memory.
    spool: Option<PathBuf>,
    lengths: Vec<[u32; FIELDS]>,
    lexical: LexicalSettings,
    facets: FacetBuilder,
    days: Vec<u32>,
    terms: Vec<Term>,
    clients: Vec<ClientName>,
    report: String,
    graph: Option<GraphSettings>,
    graph_from: usize,
    questions: Vec<Vec<f32>>,
}

impl Draft {
    /// Passages from which a graph is built, unless [`Draft::set_graph`] says otherwise: fewer are searched exactly in
    /// well under a millisecond.
    pub const GRAPH_FROM: usize = 10_000;

    /// An empty draft for vectors of `identity`.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            positions: HashMap::new(),
            rows: Column::Memory(Vec::new()),
            rows_length: 0,
            spool: None,
            row_ends: Vec::new(),
            passages: Vec::new(),
            vectors: VectorColumn::F32(Column::Memory(Vec::new())),
            occurrences: Column::Memory(Vec::new()),
            lengths: Vec::new(),
            lexical: LexicalSettings::default(),
            facets: FacetBuilder::default(),
            days: Vec::new(),
            terms: Vec::new(),
            clients: Vec::new(),
            report: "{}".into(),
            graph: Some(GraphSettings::default()),
            graph_from: Self::GRAPH_FROM,
            questions: Vec::new(),
        }
    }

    /// As [`Draft::new`], but rows, vectors and words go to files without names on the file system of `directory`, which is the
    /// one that the snapshot will be written to: memory then holds none of them, however many there are.
    ///
    /// # Errors
    /// A directory in which no file can be made.
    pub fn spooled(identity: Identity, directory: &Path) -> io::Result<Self> {
        Ok(Self {
            rows: Column::File(Spool::create(directory)?),
            vectors: VectorColumn::F32(Column::File(Spool::create(directory)?)),
            occurrences: Column::File(Spool::create(directory)?),
            spool: Some(directory.to_owned()),
            ..Self::new(identity)
        })
    }

    /// Adds a row with the vectors of its passages; a row without passages is kept but cannot be found by vector.
    /// A row that is refused leaves the draft as it was; after a disk that refuses, the draft is of no more use.
    ///
    /// # Errors
    /// An empty or repeated id, a vector of another size, of no direction, not of unit length or not finite, a range
    /// outside the content; a disk that refuses the vectors of a spooled draft.
    pub fn push(&mut self, row: &Row, passages: &[Passage<'_>]) -> Result<(), BuildError> {
        let number = self.row_ends.len();
        if row.id.is_empty() {
            return Err(BuildError::EmptyId { position: number });
        }
        if self.positions.contains_key(&row.id) {
            return Err(BuildError::DuplicateId { id: row.id.clone() });
        }
        let number = counted(number, "rows")?;
        counted(self.passages.len() / 3 + passages.len(), "passages")?;
        let precision = self.vectors.precision();
        let vectors: Vec<_> = passages.iter().map(|passage| precision.rounded(&passage.vector)).collect();
        for (passage, vector) in passages.iter().zip(&vectors) {
            self.check(row, passage, vector)?;
        }
        let archive = rkyv::to_bytes::<rancor::Error>(row)
            .map_err(|error| BuildError::Archive { id: row.id.clone(), detail: error.to_string() })?;
        let spooled = |source| BuildError::Spool { id: row.id.clone(), source };
        for vector in vectors {
            self.vectors.push(&vector).map_err(spooled)?;
        }
        let (occurrences, lengths) = lexical::occurrences(number, row);
        self.occurrences.push(&occurrences).map_err(spooled)?;
        self.lengths.push(lengths);
        let padding = self.rows_length.next_multiple_of(ROW_ALIGNMENT as usize) - self.rows_length;
        self.rows
            .push(&[0; ROW_ALIGNMENT as usize][..padding])
            .and_then(|()| self.rows.push(&archive))
            .map_err(spooled)?;
        self.rows_length += padding + archive.len();
        self.row_ends.push(self.rows_length as u64);
        for Passage { range, .. } in passages {
            self.passages.extend([number, range.start as u32, range.end as u32]);
        }
        self.facets.push(number, row);
        self.days.push(Day::stored(&row.date));
        self.positions.insert(row.id.clone(), number);
        Ok(())
    }

    fn check(&self, row: &Row, passage: &Passage<'_>, vector: &[f32]) -> Result<(), BuildError> {
        let fault = |fault| BuildError::Vector { id: row.id.clone(), fault };
        let (found, expected) = (vector.len(), self.identity.dimensions as usize);
        if found != expected {
            return Err(fault(VectorFault::Dimensions { found, expected }));
        }
        let norm = norm(vector).map_err(fault)?;
        if !is_unit(norm) {
            return Err(fault(VectorFault::NotUnit { norm: norm as f32 }));
        }
        counted(row.content.len(), "bytes in one content")?;
        if row.content.get(passage.range.clone()).is_none() {
            let Range { start, end } = passage.range;
            return Err(BuildError::Passage { id: row.id.clone(), start, end, length: row.content.len() });
        }
        Ok(())
    }

    /// Keeps vectors in `precision`, which is [`Precision::F32`] unless this is called before the first row.
    ///
    /// # Errors
    /// A draft that has rows already, or a disk that refuses the file of a spooled one.
    pub fn set_precision(&mut self, precision: Precision) -> Result<(), BuildError> {
        if !self.is_empty() {
            return Err(BuildError::Precision { rows: self.len() });
        }
        self.vectors = VectorColumn::create(self.spool.as_deref(), precision)
            .map_err(|source| BuildError::Spool { id: "the first".into(), source })?;
        Ok(())
    }

    /// Sets the medical terms, replacing earlier ones.
    pub fn set_terms(&mut self, terms: Vec<Term>) {
        self.terms = terms;
    }

    /// Sets what clients are called, replacing earlier names.
    pub fn set_clients(&mut self, clients: Vec<ClientName>) {
        self.clients = clients;
    }

    /// Sets the data-quality report, JSON text. It is part of the snapshot's id, so it must not hold times.
    pub fn set_report(&mut self, report: String) {
        self.report = report;
    }

    /// Sets how the graph is built, whatever the number of passages; `None` builds none.
    pub fn set_graph(&mut self, settings: Option<GraphSettings>) {
        (self.graph, self.graph_from) = (settings, 2);
    }

    /// Sets questions, of any length, on which the recall that a graph promises is measured besides the rows themselves. They are
    /// not kept; measuring again needs the same ones.
    ///
    /// # Errors
    /// A question that no query may ask: of another identity, of another size, or of no direction.
    pub fn set_questions(&mut self, questions: &[Embedding]) -> Result<(), BuildError> {
        let unit = |(position, question): (usize, &Embedding)| {
            question.unit(&self.identity).map_err(|source| BuildError::Question { position, source })
        };
        self.questions = questions.iter().enumerate().map(unit).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Sets how words are weighed.
    pub fn set_lexical(&mut self, settings: LexicalSettings) {
        self.lexical = settings;
    }

    /// Number of rows so far.
    pub fn len(&self) -> usize {
        self.row_ends.len()
    }

    /// Whether no row was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Seals the draft: computes every digest and the id. Equal drafts give equal ids whatever the `provenance`.
    ///
    /// # Errors
    /// An identity that the format cannot hold, or more facets than it can count.
    pub fn finish(self, provenance: Provenance) -> Result<Sealed, BuildError> {
        let dimensions = self.identity.dimensions;
        if dimensions == 0 || dimensions > Identity::MAX_DIMENSIONS {
            return Err(BuildError::Dimensions { dimensions });
        }
        let rows = counted(self.len(), "rows")?;
        let passages = counted(self.passages.len() / 3, "passages")?;
        let mut order: Vec<(String, u32)> = self.positions.into_iter().collect();
        order.sort_unstable();
        let row_order: Vec<u32> = order.into_iter().map(|(_, number)| number).collect();
        let (facet_values, facets) = self
            .facets
            .finish()
            .ok_or(BuildError::TooLarge { what: "facet entries", limit: u64::from(u32::MAX) })?;
        let builder = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned();
        let meta = Meta { identity: self.identity, builder, rows, passages, facet_values };
        let spooled = |source| BuildError::Spool { id: "the last".into(), source };
        if let Some(detail) = self.lexical.fault() {
            return Err(BuildError::LexicalSettings { detail });
        }
        let precision = self.vectors.precision();
        let all = self.vectors.finish().map_err(spooled)?;
        let vectors = all.as_originals();
        let codes = Encoder::fit(vectors, dimensions as usize).section(vectors);
        if let Some(detail) = self.graph.and_then(|settings| settings.fault()) {
            return Err(BuildError::GraphSettings { detail });
        }
        let graph = self.graph.filter(|_| passages as usize >= self.graph_from && passages < MAX_NODES);
        let graph = graph.and_then(|settings| {
            let parsed = Codes::parse(&codes, passages as usize, dimensions as usize)?;
            let of =
                Vectors { passages: self.passages.as_chunks().0, vectors, dimensions: dimensions as usize };
            let mut graph = graph::build(parsed, &of, settings);
            recall::promise(of, parsed, &self.questions, &mut graph);
            Some(graph)
        });
        let words = lexical_section(self.occurrences, &self.lengths, &self.lexical, self.spool.as_deref())
            .map_err(spooled)?
            .ok_or(BuildError::TooLarge { what: "words", limit: u64::from(u32::MAX) })?;
        let mut sections = vec![
            (Section::Meta, archived("meta", &meta)?),
            (Section::Provenance, archived("provenance", &provenance)?),
            (Section::Terms, archived("terms", &self.terms)?),
        ];
        if !self.clients.is_empty() {
            sections.push((Section::Clients, archived("clients", &self.clients)?));
        }
        sections.extend([
            (Section::Facets, Payload::U32(facets)),
            (Section::Days, Payload::U32(self.days)),
            (Section::Passages, Payload::U32(self.passages)),
            (Section::RowOrder, Payload::U32(row_order)),
            (Section::RowEnds, Payload::U64(self.row_ends)),
            (Section::Report, Payload::Bytes(self.report.into_bytes())),
        ]);
        sections.extend(graph.map(|graph| (Section::Graph, Payload::Bytes(graph))));
        sections.push((Section::Lexical, words.into_payload()));
        sections.push((Section::Codes, Payload::Bytes(codes)));
        sections.push((Section::Rows, self.rows.finish().map_err(spooled)?.into_payload()));
        sections.push((Section::Vectors, all.into_payload()));
        Sealed::new(sections, precision)
    }
}

/// The format counts rows, passages and bytes of a content in 32 bits.
fn counted(count: usize, what: &'static str) -> Result<u32, BuildError> {
    u32::try_from(count)
        .ok()
        .filter(|&count| count < u32::MAX)
        .ok_or(BuildError::TooLarge { what, limit: u64::from(u32::MAX) - 1 })
}

fn archived<T>(what: &'static str, value: &T) -> Result<Payload, BuildError>
where
    T: for<'a> rkyv::Serialize<
            rkyv::api::high::HighSerializer<
                rkyv::util::AlignedVec,
                rkyv::ser::allocator::ArenaHandle<'a>,
                rancor::Error,
            >,
        >,
{
    rkyv::to_bytes::<rancor::Error>(value)
        .map(|bytes| Payload::Bytes(bytes.into_vec()))
        .map_err(|error| BuildError::Archive { id: what.into(), detail: error.to_string() })
}

/// Postings on their way: rows and shares apart, as the section has them.
struct Postings {
    rows: Column<u32>,
    shares: Column<u16>,
}

impl lexical::Sink for Postings {
    fn posting(&mut self, row: u32, share: u16) -> io::Result<()> {
        self.rows.push(&[row])?;
        self.shares.push(&[share])
    }
}

/// The lexical section, built in files of `directory` if there is one; `None` if it has more words than the format counts.
fn lexical_section(
    occurrences: Column<Occurrence>,
    lengths: &[[u32; FIELDS]],
    settings: &LexicalSettings,
    directory: Option<&Path>,
) -> io::Result<Option<Finished<u8>>> {
    let occurrences = occurrences.finish()?;
    let mut postings = Postings { rows: Column::create(directory)?, shares: Column::create(directory)? };
    let Some(front) = lexical::front(occurrences.as_slice(), lengths, settings, &mut postings)? else {
        return Ok(None);
    };
    let mut section = Column::<u8>::create(directory)?;
    section.push(&front)?;
    section.push(bytemuck::cast_slice(postings.rows.finish()?.as_slice()))?;
    section.push(bytemuck::cast_slice(postings.shares.finish()?.as_slice()))?;
    section.finish().map(Some)
}

/// A finished snapshot in memory: its id is known, nothing of it can change.
#[derive(Debug)]
pub struct Sealed {
    header: Header,
    payloads: Vec<Payload>,
}

impl Sealed {
    fn new(sections: Vec<(Section, Payload)>, precision: Precision) -> Result<Self, BuildError> {
        let described: Vec<_> = sections
            .iter()
            .map(|(section, payload)| {
                let bytes = payload.as_bytes();
                let digest = *blake3::Hasher::new().update_rayon(bytes).finalize().as_bytes();
                (*section, bytes.len() as u64, digest)
            })
            .collect();
        let header = Header::lay_out(&described, precision)
            .ok_or(BuildError::TooLarge { what: "bytes in the file", limit: u64::MAX })?;
        Ok(Self { header, payloads: sections.into_iter().map(|(_, payload)| payload).collect() })
    }

    /// The snapshot's id.
    pub fn id(&self) -> SnapshotId {
        self.header.id
    }

    /// Length of the file that [`Sealed::write_to`] writes.
    pub fn file_length(&self) -> u64 {
        self.header.file_length
    }

    /// Opens it from a file without a name on the file system of `directory`, so that it can be read before it is in any store.
    ///
    /// # Errors
    /// A disk that refuses it.
    pub fn open_in(&self, directory: &Path) -> Result<Index, OpenError> {
        let io = |source| OpenError::Io { path: directory.to_owned(), source };
        let mut spool = Spool::create(directory).map_err(io)?;
        self.write_to(spool.writer()).map_err(io)?;
        Index::open(spool.finish().map_err(io)?)
    }

    /// Writes the file from front to back.
    ///
    /// # Errors
    /// The first error of `out`.
    pub fn write_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let front = self.header.encode();
        out.write_all(&front)?;
        let mut written = front.len() as u64;
        for (entry, payload) in self.header.entries.iter().zip(&self.payloads) {
            let padding = entry.offset - written;
            io::copy(&mut io::Read::take(io::repeat(0), padding), out)?;
            out.write_all(payload.as_bytes())?;
            written = entry.offset + entry.length;
        }
        Ok(())
    }

    /// The whole file in memory.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.file_length() as usize);
        #[expect(clippy::expect_used, reason = "writing to a Vec cannot fail")]
        self.write_to(&mut bytes).expect("a Vec takes every write");
        bytes
    }
}

//! An opened snapshot: the one public door to search.

use crate::error::{OpenError, QueryError, VectorFault};
use crate::filter::{self, Facet};
use crate::identity::Identity;
use crate::query::Query;
use crate::row::{Provenance, Row, Term};
use crate::scan;
use crate::snapshot::build::Passage;
use crate::snapshot::header::{Entry, Section};
use crate::snapshot::id::SnapshotId;
use crate::snapshot::verify::{self, Verified};
use crate::snapshot::{Bytes, PassageEntry, Snapshot};
use crate::vector::{norm, scaled};

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
}

impl Index {
    /// Opens the bytes of a snapshot. Header, section table and small sections are checked; the cost does not depend
    /// on the number of rows. [`Index::verify`] checks the rest.
    ///
    /// # Errors
    /// Any bytes that are not a sound snapshot of a format that this build reads.
    pub fn open(bytes: Bytes) -> Result<Self, OpenError> {
        Ok(Self { snapshot: Snapshot::open(bytes)? })
    }

    /// Opens a copy of `bytes`, for snapshots that are not files.
    ///
    /// # Errors
    /// As [`Index::open`].
    pub fn from_slice(bytes: &[u8]) -> Result<Self, OpenError> {
        Self::open(Bytes::copied(bytes))
    }

    /// The rows nearest to the query, best first; equal scores in row order. Exact: no row that the filter allows is
    /// passed over.
    ///
    /// # Errors
    /// A query of another identity, of no direction, or with numbers that are not finite; a snapshot that turns out
    /// to be damaged.
    pub fn search(&self, query: &Query<'_>) -> Result<Vec<Hit>, QueryError> {
        let identity = self.identity();
        if query.embedding.identity() != identity {
            return Err(QueryError::Identity {
                query: Box::new(query.embedding.identity().clone()),
                snapshot: Box::new(identity.clone()),
            });
        }
        let vector = unit(query.embedding.vector(), identity.dimensions as usize)?;
        let allowed = match query.filter {
            Some(filter) => filter.compile(&self.snapshot)?,
            None => None,
        };
        let found = scan::exact(&self.snapshot, &vector, query.top, allowed.as_ref())?;
        Ok(found.into_iter().map(|s| Hit { row: s.row, passage: s.passage, score: s.score }).collect())
    }

    /// Row `number`, 0 to [`Index::len`].
    ///
    /// # Errors
    /// A number that is out of range, or a row whose bytes are damaged.
    pub fn row(&self, number: u32) -> Result<Row, OpenError> {
        self.snapshot.row(number)
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

    /// The passages of row `number`, in order.
    ///
    /// # Errors
    /// A damaged passage table.
    pub fn passages_of(&self, number: u32) -> Result<Vec<Passage<'_>>, OpenError> {
        let passages: &[PassageEntry] = self.snapshot.array(Section::Passages)?;
        let vectors: &[f32] = self.snapshot.array(Section::Vectors)?;
        let dimensions = self.identity().dimensions as usize;
        // Passages stand in the order of their rows.
        let first = passages.partition_point(|[row, ..]| *row < number);
        let own = passages[first..].iter().zip(vectors.chunks_exact(dimensions).skip(first));
        let own = own.take_while(|([row, ..], _)| *row == number);
        Ok(own
            .map(|([_, start, end], vector)| Passage::part(*start as usize..*end as usize, vector))
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

    /// Name and version of the engine that sealed it.
    pub fn builder(&self) -> &str {
        &self.snapshot.meta().builder
    }

    /// How it came to be.
    pub fn provenance(&self) -> &Provenance {
        self.snapshot.provenance()
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

/// A query's vector, scaled to unit length.
fn unit(vector: &[f32], dimensions: usize) -> Result<Vec<f32>, VectorFault> {
    if vector.len() != dimensions {
        return Err(VectorFault::Dimensions { found: vector.len(), expected: dimensions });
    }
    Ok(scaled(vector, norm(vector)?))
}

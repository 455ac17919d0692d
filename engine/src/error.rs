//! What can go wrong: one type for each thing that can be attempted.

use std::io;
use std::path::PathBuf;

use crate::identity::Identity;
use crate::snapshot::id::SnapshotId;

/// A row or a vector cannot become part of a draft.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The identity states no dimension, or more than the format allows.
    #[error("{dimensions} dimensions: a snapshot holds vectors of 1 to {max}", max = Identity::MAX_DIMENSIONS)]
    Dimensions {
        /// What the identity states.
        dimensions: u32,
    },
    /// A row has no id.
    #[error("row {position} of the draft has an empty id: give each row an id of its own")]
    EmptyId {
        /// Position in the draft, from 0.
        position: usize,
    },
    /// Two rows share an id.
    #[error("two rows of the draft have the id {id:?}: keep one of them")]
    DuplicateId {
        /// The id.
        id: String,
    },
    /// A vector is not one that the snapshot can search.
    #[error("the vector of row {id:?} is unusable: {fault}")]
    Vector {
        /// The row.
        id: String,
        /// What is wrong.
        fault: VectorFault,
    },
    /// A passage points outside its row's content.
    #[error("a passage of row {id:?} covers bytes {start}..{end}, but its content has {length}")]
    Passage {
        /// The row.
        id: String,
        /// First byte.
        start: usize,
        /// Byte after the last.
        end: usize,
        /// Bytes in the content.
        length: usize,
    },
    /// The draft outgrew what the format can count.
    #[error("the draft has more than {limit} {what}, which is the format's limit: split the source")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The format's limit.
        limit: u64,
    },
    /// A question that recall cannot be measured with.
    #[error("question {position} for the recall is unusable: {source}")]
    Question {
        /// Position among the questions, from 0.
        position: usize,
        /// What is wrong.
        source: QueryError,
    },
    /// The settings of the graph are out of range.
    #[error("no graph can be built so: {detail}")]
    GraphSettings {
        /// Every setting that is out of range.
        detail: String,
    },
    /// The settings of keyword search are out of range.
    #[error("words cannot be weighed so: {detail}")]
    LexicalSettings {
        /// What is out of range.
        detail: String,
    },
    /// The precision of vectors was set too late.
    #[error("the draft has {rows} rows already: set the precision of its vectors before the first")]
    Precision {
        /// Rows so far.
        rows: usize,
    },
    /// The disk refused a vector.
    #[error(
        "the vector of row {id:?} cannot be kept on the disk: {source}. Free some space, then build again"
    )]
    Spool {
        /// The row.
        id: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A record could not be archived.
    #[error("row {id:?} cannot be archived: {detail}")]
    Archive {
        /// The row, or the part of the snapshot.
        id: String,
        /// The archiver's words.
        detail: String,
    },
}

/// Why a vector is unusable, as a part of a draft or as a query.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VectorFault {
    /// Another number of dimensions than the identity states.
    #[error("it has {found} numbers where {expected} are needed")]
    Dimensions {
        /// Numbers in the vector.
        found: usize,
        /// Numbers that the identity states.
        expected: usize,
    },
    /// A number is infinite or not a number.
    #[error("number {position} is not finite")]
    NotFinite {
        /// Position from 0.
        position: usize,
    },
    /// The vector has no direction.
    #[error("all its numbers are zero, so it has no direction")]
    Zero,
    /// The vector is not of unit length.
    #[error("its length is {norm:.6} where unit vectors (1 ± 0.001) are needed")]
    NotUnit {
        /// Its Euclidean length.
        norm: f32,
    },
}

/// A file is not a snapshot that this build can serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file could not be read.
    #[error("cannot read the snapshot {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file does not begin like a snapshot.
    #[error("not a karute snapshot: {detail}")]
    NotASnapshot {
        /// What was seen instead.
        detail: String,
    },
    /// The file is a snapshot of a format that this build does not read.
    #[error(
        "snapshot format {found} cannot be read by this build, which reads {oldest} to {newest}: \
         run `karute sync` to rebuild it from its source, or use the build that wrote it"
    )]
    Version {
        /// The file's format.
        found: u32,
        /// Oldest format that this build reads.
        oldest: u32,
        /// Newest format that this build reads.
        newest: u32,
    },
    /// The bytes contradict the format or their digest.
    #[error("the snapshot is damaged in its {section} section at byte {offset}: {detail}")]
    Corrupt {
        /// Section, or `header`, or `section table`.
        section: &'static str,
        /// Byte offset in the file where the contradiction lies.
        offset: u64,
        /// What was found and what was expected.
        detail: String,
    },
}

/// A query cannot be answered by this index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The query's vector lives in another space than the snapshot's.
    #[error(
        "the question was embedded as {query}, but the snapshot holds {snapshot}: embed it with that model"
    )]
    Identity {
        /// The query's identity.
        query: Box<Identity>,
        /// The snapshot's identity.
        snapshot: Box<Identity>,
    },
    /// The query's vector has no meaning.
    #[error("the query vector is unusable: {0}")]
    Vector(#[from] VectorFault),
    /// The snapshot turned out to be damaged where the query read it.
    #[error(transparent)]
    Snapshot(#[from] OpenError),
    /// Whoever watched the search wanted it no more.
    #[error("the search was cancelled")]
    Cancelled,
}

/// The store could not do what was asked. What it held before is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}. The store's directory must exist, be writable and have room", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another process is writing.
    #[error("another process is writing to the store {}: wait for it to end, then try again", path.display())]
    Locked {
        /// The store.
        path: PathBuf,
    },
    /// Nothing has been published yet.
    #[error("the store {} holds no snapshot yet: run `karute sync`", path.display())]
    Empty {
        /// The store.
        path: PathBuf,
    },
    /// No snapshot in the store can be served.
    #[error("no snapshot in the store {} can be served; {reasons}", path.display())]
    NoneUsable {
        /// The store.
        path: PathBuf,
        /// What is wrong with each.
        reasons: String,
    },
    /// What is served cannot be removed.
    #[error("snapshot {id} is the current one: make another one current first")]
    Current {
        /// The snapshot.
        id: SnapshotId,
    },
    /// A snapshot was asked for that the store does not hold.
    #[error("the store holds no snapshot {wanted}: `karute snapshot list` shows what it holds")]
    Unknown {
        /// The id, or its beginning, as it was given.
        wanted: String,
    },
    /// The beginning of an id fits several snapshots.
    #[error("{wanted} fits {count} snapshots: give more of the id")]
    Ambiguous {
        /// The beginning as it was given.
        wanted: String,
        /// How many it fits.
        count: usize,
    },
    /// The publish guard refuses a snapshot.
    #[error(
        "snapshot {id} is not published: {reason}. Look at the source; if it is right, `karute sync --force`"
    )]
    Refused {
        /// The snapshot.
        id: SnapshotId,
        /// What looks like an accident.
        reason: String,
    },
    /// Another writer was quicker.
    #[error("snapshot {id} is not published: {by} became current while it was being built. Do it again")]
    Overtaken {
        /// The snapshot.
        id: SnapshotId,
        /// The one that is current now.
        by: SnapshotId,
    },
    /// There is nothing to go back to.
    #[error("the store {} holds no earlier snapshot to go back to", path.display())]
    NoEarlier {
        /// The store.
        path: PathBuf,
    },
    /// One certain snapshot cannot be opened.
    #[error("snapshot {id}: {source}")]
    Open {
        /// The snapshot.
        id: SnapshotId,
        /// Why.
        source: OpenError,
    },
}

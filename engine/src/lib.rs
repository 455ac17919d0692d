//! # karute-engine
//!
//! Records and their embeddings in one immutable, verified, memory-mapped file, and the search over it.
//!
//! The engine knows bytes, vectors and words. It knows no network, no clock, no environment and no async:
//! whoever calls it brings the rows, the vectors and the time.
//!
//! * [`Draft`] takes rows and their vectors and seals them into the bytes of a snapshot.
//! * [`Store`] is a directory of snapshots: publishing is durable, then visible; readers never wait.
//! * [`Index`] is an opened snapshot: immutable, `Send + Sync`, searched in place.
//!
//! ```
//! use karute_engine::{Draft, Embedding, Guard, Identity, Index, Passage, Provenance, Query, Row, Store};
//!
//! let identity = Identity::new("example", "two-axes", 2);
//! let mut draft = Draft::new(identity.clone());
//! let row = Row { id: "KB_1".into(), content: "体温は38.5℃。".into(), ..Row::default() };
//! draft.push(&row, &[Passage::whole(&row, &[1.0, 0.0])])?;
//!
//! let directory = std::env::temp_dir().join(format!("karute-doc-{}", std::process::id()));
//! let store = Store::open(&directory)?;
//! store.publish(&draft.finish(Provenance::default())?, &Guard::default())?;
//!
//! let index: Index = store.current()?.index;
//! let question = Embedding::new(identity, vec![0.6, 0.8]);
//! let hits = index.search(&Query::new(&question).top(10))?;
//! assert_eq!(index.row(hits[0].row)?.id, "KB_1");
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The bytes of a snapshot are described in one place only: [`mod@format`].

#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("karute maps little-endian snapshots and needs a 64-bit little-endian target");

mod codes;
mod day;
mod diff;
mod error;
mod filter;
pub mod fusion;
mod graph;
mod identity;
mod index;
pub mod kernel;
pub mod lexical;
mod originals;
mod query;
mod row;
mod scan;
mod search;
pub mod snapshot;
mod storage;
mod store;
mod topk;
pub mod vector;
mod watch;
pub mod words;

pub use day::{Day, NotADay};
pub use diff::{Changed, Diff, diff};
pub use error::{BuildError, OpenError, QueryError, StoreError, VectorFault};
pub use filter::{Facet, Filter};
pub use graph::{
    recall::Promise,
    search::Counters,
    settings::{GraphBuilder, GraphSettings},
};
pub use identity::{Embedding, Identity};
pub use index::{Hit, Index};
pub use lexical::{LexicalSettings, search::KeywordHit};
pub use originals::Precision;
pub use query::{Plan, Query};
pub use row::{ClientName, Origin, Provenance, Row, Term};
pub use search::{Explained, Scratch};
pub use snapshot::{
    build::{Draft, Passage, Sealed},
    front::{Front, Passing},
    id::SnapshotId,
    verify::Verified,
};
pub use storage::{Disk, Storage, WriteFile};
pub use store::{After, Guard, Listed, Opened, Skipped, Store};
pub use watch::{Stage, Watch};

/// The snapshot file, byte by byte (this is `engine/FORMAT.md`).
#[doc = include_str!("../FORMAT.md")]
pub mod format {}

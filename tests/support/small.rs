//! A small spreadsheet with vectors of four numbers, the emulator that holds it, and a store to sync it to.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use karute_engine::{Embedding, Identity, Index, Row, Store};
use karute_sync::embed::{EmbedError, Embedder, Task};
use karute_sync::google::{Client, Credentials, Limits, scope};
use karute_sync::job::{self, How, Outcome, Pass, Publishing, Silent, SyncError};
use karute_sync::layout::KNOWLEDGE_BASE;
use karute_sync::source::SheetNames;
use karute_sync::spreadsheet::Spreadsheet;
use time::OffsetDateTime;
use time::macros::datetime;

use crate::google::workbook::{Cell, Tab, Workbook};
use crate::google::{Emulator, SPREADSHEET};

/// When the first sync happens.
pub const NOW: OffsetDateTime = datetime!(2026-11-25 09:00 UTC);
/// The header of the vectors, in two parts of two numbers.
pub const VECTORS: [&str; 6] =
    ["kb_id", "model", "dimension", "embedding_part1", "embedding_part2", "created_at"];

/// A row of cells.
pub fn cells(texts: &[&str]) -> Vec<Cell> {
    texts.iter().map(|text| Cell::from(*text)).collect()
}

/// Record number `number` with this content.
pub fn record(number: usize, content: &str) -> Vec<Cell> {
    let (id, source) = (format!("KB_{number:03}"), format!("r{number}"));
    let day = "2026-11-01";
    cells(&[
        &id,
        "nursing",
        "care_record",
        "Care_Records",
        &source,
        "CL-00001",
        "訪問",
        content,
        "",
        "",
        "a",
        "",
        day,
        day,
        day,
    ])
}

/// The vector of record `id`, made at `moment`; `seed` chooses its direction.
pub fn vector(id: &str, seed: u64, moment: &str) -> Vec<Cell> {
    let number =
        |at: u64| ((seed.wrapping_mul(2_654_435_761).wrapping_add(at * 97)) % 199) as f64 / 100.0 - 0.99;
    let numbers: Vec<f64> = (0..4).map(number).collect();
    let norm = numbers.iter().map(|x| x * x).sum::<f64>().sqrt();
    let part = |numbers: &[f64]| {
        let numbers: Vec<String> = numbers.iter().map(|x| (x / norm).to_string()).collect();
        format!("[{}]", numbers.join(", "))
    };
    let mut row = cells(&[id, "m", "", &part(&numbers[..2]), &part(&numbers[2..]), moment]);
    row[2] = Cell::Number(4.0);
    row
}

/// A spreadsheet of `rows` sound records with their vectors.
pub fn workbook(rows: usize) -> Workbook {
    let records = (1..=rows).map(|number| record(number, &format!("記録{number}。体温36.5℃。")));
    let vectors =
        (1..=rows).map(|number| vector(&format!("KB_{number:03}"), number as u64, "2026-11-01 10:00:00"));
    let terms = ["term_id", "canonical", "synonyms", "category"];
    let chats = ["session_id", "message"];
    Workbook {
        tabs: vec![
            Tab::new("KnowledgeBase", 0, std::iter::once(cells(KNOWLEDGE_BASE)).chain(records).collect()),
            Tab::new("Embeddings", 11, std::iter::once(cells(&VECTORS)).chain(vectors).collect()),
            Tab::new("MedicalTerms", 12, vec![cells(&terms), cells(&["T1", "発熱", "[\"熱発\"]", "症状"])]),
            Tab::new("ChatHistory", 13, vec![cells(&chats)]),
        ],
    }
}

/// A model that nobody may ask: the spreadsheet has its vectors.
#[derive(Debug)]
pub struct Unasked(pub Identity);

impl Default for Unasked {
    fn default() -> Self {
        Self(Identity::new("test", "m", 4))
    }
}

#[async_trait]
impl Embedder for Unasked {
    fn identity(&self) -> &Identity {
        &self.0
    }
    fn batch_size(&self) -> usize {
        1
    }
    async fn embed(&self, texts: &[String], _: Task) -> Result<Vec<Option<Embedding>>, EmbedError> {
        Err(EmbedError::BatchTooLarge { found: texts.len(), limit: 0 })
    }
}

/// Limits that make a test quick.
pub fn limits() -> Limits {
    Limits {
        reads_per_minute: 1_000_000,
        max_calls: 200,
        deadline: Duration::from_secs(60),
        attempts: 4,
        retries_per_minute: 1_000_000,
        first_pause: Duration::from_millis(1),
    }
}

/// Runs a future to its end.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// The emulator's spreadsheet as a source, with calls as `credentials` and within `limits`.
pub fn source(emulator: &Emulator, credentials: Credentials, limits: Limits, payload: usize) -> Spreadsheet {
    let host = emulator.url().parse().expect("an address");
    let client = Client::new(host, credentials, scope::READ, limits).expect("a client");
    Spreadsheet::new(client, SPREADSHEET, SheetNames::default(), payload)
}

/// How a pass over the changes is done, a full one each day.
pub fn changes() -> How {
    let pass = Pass::Changes { full_every: Duration::from_secs(24 * 3_600) };
    How { pass, publishing: Publishing::Forced, ..How::default() }
}

/// A full pass.
pub fn full() -> How {
    How { pass: Pass::Full, ..changes() }
}

/// A directory that is gone with the test, in memory where there is such a file system: thousands of stores are made
/// here, and what a disk does to them is the fear of other tests.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

/// An emulator with a spreadsheet, and a store.
#[derive(Debug)]
pub struct Small {
    /// The emulator.
    pub emulator: Emulator,
    /// The store.
    pub store: Store,
    /// What time it is.
    pub now: OffsetDateTime,
    /// Bytes of an answer.
    pub payload: usize,
    home: tempfile::TempDir,
}

impl Small {
    /// With this spreadsheet.
    pub fn new(workbook: Workbook) -> Self {
        let home = directory();
        let emulator = Emulator::start(([127, 0, 0, 1], 0).into(), workbook).expect("a port");
        let store = Store::open(home.path().join("store")).expect("a store");
        Self { emulator, store, now: NOW, payload: 2_000_000, home }
    }

    /// Where it keeps its files.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Syncs.
    ///
    /// # Errors
    /// As [`job::run`].
    pub fn sync(&self, how: How) -> Result<Outcome, SyncError> {
        self.sync_within(how, limits())
    }

    /// Syncs within other limits.
    ///
    /// # Errors
    /// As [`job::run`].
    pub fn sync_within(&self, how: How, limits: Limits) -> Result<Outcome, SyncError> {
        block_on(async {
            let source = source(&self.emulator, Credentials::nobody(), limits, self.payload);
            job::run(&source, &Unasked::default(), &self.store, self.now, how, &Silent).await
        })
    }

    /// What a store that never saw this spreadsheet makes of it now.
    pub fn anew(&self) -> Index {
        let home = directory();
        let store = Store::open(home.path()).expect("a store");
        let made = block_on(async {
            let source = source(&self.emulator, Credentials::nobody(), limits(), 2_000_000);
            job::run(&source, &Unasked::default(), &store, self.now, full(), &Silent).await
        });
        made.expect("a sound spreadsheet").index
    }
}

/// Every row of a snapshot with its vectors.
pub fn contents(index: &Index) -> Vec<(Row, Vec<Vec<f32>>)> {
    let row = |number| {
        let passages = index.passages_of(number).expect("passages");
        let vectors = passages.iter().map(|passage| passage.vector().to_vec()).collect();
        (index.row(number).expect("a row"), vectors)
    };
    (0..index.len()).map(row).collect()
}

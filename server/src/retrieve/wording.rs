//! The pieces of rows' wording, taken apart once: what every question that meets a row compares itself with.

use std::sync::Arc;

use karute_engine::words::{each_feature, sentences};
use karute_engine::{Row, SnapshotId};
use moka::sync::Cache;

/// Sentences of a row that are looked at, so that one endless row cannot make every question slow.
const SENTENCES: usize = 200;

/// Hashes of the pieces of a text, ascending.
type Pieces = Box<[u64]>;

/// The pieces of each part of a row. No piece reaches over the end of a sentence.
#[derive(Debug)]
pub struct Wording {
    pub(super) title: Pieces,
    /// Title, tags and keywords.
    pub(super) beside: Pieces,
    pub(super) sentences: Box<[Pieces]>,
}

fn pieces(text: &str) -> Pieces {
    let mut found = Vec::new();
    each_feature(text, |piece| found.push(piece.hash));
    found.sort_unstable();
    found.dedup();
    found.into()
}

impl Wording {
    /// Takes a row apart.
    pub fn of(row: &Row) -> Self {
        let ranges = sentences(&row.content).into_iter().take(SENTENCES);
        Self {
            title: pieces(&row.title),
            beside: pieces(&beside(row)),
            sentences: ranges.map(|range| pieces(&row.content[range])).collect(),
        }
    }

    /// Bytes that it takes in memory, about.
    fn bytes(&self) -> usize {
        let pieces = self.sentences.iter().map(|sentence| sentence.len() + 2).sum::<usize>();
        (self.title.len() + self.beside.len() + pieces) * size_of::<u64>() + 128
    }
}

/// What stands beside a row's content.
pub(crate) fn beside(row: &Row) -> String {
    format!("{}\n{}\n{}", row.title, row.tags.join(" "), row.keywords.join(" "))
}

/// The wordings of the rows that questions have met lately: nothing but hashes, within a number of bytes.
#[derive(Debug)]
pub struct Wordings(Cache<(SnapshotId, u32), Arc<Wording>>);

impl Wordings {
    /// Keeps at most so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let weight = |_: &_, wording: &Arc<Wording>| u32::try_from(wording.bytes()).unwrap_or(u32::MAX);
        Self(Cache::builder().max_capacity(bytes).weigher(weight).build())
    }

    /// Forgets them all.
    pub(crate) fn clear(&self) {
        self.0.invalidate_all();
    }

    /// The wording of row `number` of `snapshot`.
    pub(super) fn of(&self, snapshot: SnapshotId, number: u32, row: &Row) -> Arc<Wording> {
        self.0.get_with((snapshot, number), || Arc::new(Wording::of(row)))
    }
}

//! Exact search: every row's codes are read, and the vector of every row that its codes cannot exclude. So the result
//! is the exact one, whatever the codes lost.

use std::ops::Range;

use crate::codes::{Bound, CodedQuery, Codes};
use crate::filter::RowSet;
use crate::kernel::{Kernel, dot};
use crate::originals::Originals;
use crate::snapshot::PassageEntry;
use crate::topk::{Scored, TopK};

/// What a search reads of a snapshot.
#[derive(Clone, Copy)]
pub(crate) struct Vectors<'a> {
    pub(crate) passages: &'a [PassageEntry],
    pub(crate) vectors: Originals<'a>,
    pub(crate) dimensions: usize,
}

impl<'a> Vectors<'a> {
    /// The vector of a passage, in `room` where it is not kept as f32; nothing past the end.
    pub(crate) fn vector<'b>(&self, passage: u32, room: &'b mut Vec<f32>) -> &'b [f32]
    where
        'a: 'b,
    {
        self.vectors.numbers(Originals::place(passage as usize, self.dimensions), room)
    }

    /// Bytes that a vector takes.
    pub(crate) fn vector_bytes(&self) -> u64 {
        (self.dimensions * self.vectors.precision().bytes()) as u64
    }

    /// The row of a passage; a number past all rows for a passage that does not exist.
    pub(crate) fn row(&self, passage: u32) -> u32 {
        self.passages.get(passage as usize).map_or(u32::MAX, |[row, ..]| *row)
    }

    /// The passages of some rows, ascending.
    pub(crate) fn passages_of(&self, rows: &RowSet) -> impl Iterator<Item = u32> {
        rows.iter().flat_map(|row| self.passages_of_row(row))
    }

    /// The passages of a row, ascending.
    pub(crate) fn passages_of_row(&self, row: u32) -> impl Iterator<Item = u32> {
        // Where each row has one passage, it stands at the row's own number.
        let guess = row as usize;
        let is_first =
            self.row(row) == row && guess.checked_sub(1).is_none_or(|before| self.row(before as u32) < row);
        let first = if is_first { guess } else { self.passages.partition_point(|[of, ..]| *of < row) };
        let own =
            self.passages.get(first..).unwrap_or_default().iter().take_while(move |[of, ..]| *of == row);
        (first as u32..).zip(own).map(|(passage, _)| passage)
    }

    fn scored(&self, query: &[f32], passage: u32, room: &mut Vec<f32>) -> Scored {
        Scored { score: dot(query, self.vector(passage, room)), row: self.row(passage), passage }
    }

    /// Appends what `passages` score in full precision. `false` if it is not wanted any more, which is asked every
    /// [`ASK_EVERY`] vectors.
    pub(crate) fn score(
        &self,
        query: &[f32],
        passages: impl Iterator<Item = u32>,
        room: &mut Vec<f32>,
        found: &mut Vec<Scored>,
        mut is_wanted: impl FnMut() -> bool,
    ) -> bool {
        for passage in passages {
            found.push(self.scored(query, passage, room));
            if found.len().is_multiple_of(ASK_EVERY) && !is_wanted() {
                return false;
            }
        }
        true
    }
}

/// Vectors that are compared in full precision before it is asked whether they are still wanted.
const ASK_EVERY: usize = 32;
/// Rows of codes that are compared at a time.
pub(crate) const BLOCK_ROWS: usize = 256;

/// What an exact search needs and keeps for the next one.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    sums: Vec<i32>,
    /// What each row of a block may score at most.
    reach: Vec<f32>,
    ids: Vec<u32>,
    /// Passages that may belong to the result, with the score of their codes.
    candidates: Vec<(f32, u32)>,
    least: TopK,
    found: Vec<Scored>,
    /// A vector that is being compared.
    room: Vec<f32>,
    pub(crate) distances: u64,
    pub(crate) rescored: u64,
}

impl Scan {
    /// Begins the search of the `top` best rows.
    pub(crate) fn begin(&mut self, top: usize) {
        self.candidates.clear();
        self.least.reset(top);
        self.found.clear();
        (self.distances, self.rescored) = (0, 0);
    }

    /// Scores below this cannot belong to the result: `top` rows are known to reach it.
    fn threshold(&self) -> f32 {
        self.least.threshold()
    }

    /// Takes in the scores of one block: `ids` are the passages, ascending, and `errors` what their codes lost.
    #[inline(always)]
    fn take(
        &mut self,
        of: &Vectors<'_>,
        query: &CodedQuery,
        bound: Bound,
        errors: impl Iterator<Item = f32>,
        ids: impl Fn(usize) -> u32,
    ) {
        self.reach.clear();
        self.reach
            .extend(self.sums.iter().zip(errors).map(|(&sum, error)| query.score(sum) + bound.of(error)));
        let mut threshold = self.threshold();
        for (at, (&reach, &sum)) in self.reach.iter().zip(&self.sums).enumerate() {
            if reach < threshold {
                continue;
            }
            let (passage, score) = (ids(at), query.score(sum));
            self.candidates.push((score, passage));
            // Passages of one row stand side by side: the row counts once, with its best.
            let least = Scored { score: score - (reach - score), row: of.row(passage), passage };
            if least.score > threshold || threshold == f32::NEG_INFINITY {
                self.least.offer_row(least);
                threshold = self.least.threshold();
            }
        }
    }

    /// Compares passages with a query, a block at a time as long as `is_wanted` says so.
    pub(crate) fn range(
        &mut self,
        kernel: &Kernel,
        of: &Vectors<'_>,
        codes: &Codes<'_>,
        query: &CodedQuery,
        passages: Range<usize>,
        mut is_wanted: impl FnMut() -> bool,
    ) -> bool {
        let bound = query.bound(of.dimensions);
        passages.clone().step_by(BLOCK_ROWS).all(|block| {
            self.block(kernel, of, codes, query, bound, block..(block + BLOCK_ROWS).min(passages.end));
            is_wanted()
        })
    }

    /// Takes over what a scan of later passages, all of other rows, has found.
    pub(crate) fn absorb(&mut self, part: &mut Self) {
        self.candidates.append(&mut part.candidates);
        self.least.absorb(&mut part.least);
        self.distances += part.distances;
    }

    /// One block of [`Scan::range`], so that several queries can share a pass.
    pub(crate) fn block(
        &mut self,
        kernel: &Kernel,
        of: &Vectors<'_>,
        codes: &Codes<'_>,
        query: &CodedQuery,
        bound: Bound,
        block: Range<usize>,
    ) {
        let rows = codes.rows.get(block.start * codes.stride..block.end * codes.stride).unwrap_or_default();
        self.sums.resize(block.len(), 0);
        (kernel.scores)(&query.codes, rows, &mut self.sums);
        self.distances += self.sums.len() as u64;
        let errors = codes.errors.iter().skip(block.start).copied();
        self.take(of, query, bound, errors, |at| (block.start + at) as u32);
    }

    /// Compares the passages of `allowed`, ascending, with a query, a block at a time as long as `is_wanted` says so.
    pub(crate) fn among(
        &mut self,
        kernel: &Kernel,
        of: &Vectors<'_>,
        codes: &Codes<'_>,
        query: &CodedQuery,
        mut allowed: impl Iterator<Item = u32>,
        mut is_wanted: impl FnMut() -> bool,
    ) -> bool {
        let bound = query.bound(of.dimensions);
        let mut ids = std::mem::take(&mut self.ids);
        let mut wanted = true;
        while wanted {
            ids.clear();
            ids.extend(allowed.by_ref().take(BLOCK_ROWS));
            if ids.is_empty() {
                break;
            }
            self.sums.resize(ids.len(), 0);
            (kernel.gather)(&query.codes, codes.rows, &ids, &mut self.sums);
            self.distances += ids.len() as u64;
            let errors = ids.iter().map(|&id| codes.errors.get(id as usize).copied().unwrap_or_default());
            self.take(of, query, bound, errors, |at| ids[at]);
            wanted = is_wanted();
        }
        self.ids = ids;
        wanted
    }

    /// Compares the vectors of what is left, in full precision; gives the best rows, best first, or `None` if it is not wanted
    /// any more.
    pub(crate) fn finish(
        &mut self,
        of: &Vectors<'_>,
        codes: &Codes<'_>,
        coded: &CodedQuery,
        query: &[f32],
        top: usize,
        mut is_wanted: impl FnMut() -> bool,
    ) -> Option<&[Scored]> {
        let bound = coded.bound(of.dimensions);
        let threshold = self.threshold();
        let errors = codes.errors;
        let reach = |&(score, passage): &(f32, u32)| {
            score + bound.of(errors.get(passage as usize).copied().unwrap_or_default())
        };
        self.candidates.retain(|candidate| reach(candidate) >= threshold);
        // The likeliest first: what they truly score excludes most of the others.
        self.candidates.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let likely = top.saturating_mul(2).min(self.candidates.len());
        let (likeliest, rest) = self.candidates.split_at(likely);
        let likeliest = likeliest.iter().map(|&(_, passage)| passage);
        if !of.score(query, likeliest, &mut self.room, &mut self.found, &mut is_wanted) {
            return None;
        }
        fold(&mut self.found);
        let certain = match top.checked_sub(1).and_then(|last| self.found.get(last)) {
            Some(last) => last.score,
            None => f32::NEG_INFINITY,
        };
        let rest = rest.iter().filter(|candidate| reach(candidate) >= certain).map(|&(_, passage)| passage);
        let before = self.found.len();
        if !of.score(query, rest, &mut self.room, &mut self.found, is_wanted) {
            return None;
        }
        self.rescored += (likely + self.found.len() - before) as u64;
        fold(&mut self.found);
        self.found.truncate(top);
        Some(&self.found)
    }
}

/// Keeps the best passage of each row, best row first.
pub(crate) fn fold(found: &mut Vec<Scored>) {
    found.sort_unstable_by(|a, b| {
        a.row.cmp(&b.row).then(b.score.total_cmp(&a.score)).then(a.passage.cmp(&b.passage))
    });
    found.dedup_by_key(|scored| scored.row);
    found.sort_unstable_by(|a, b| b.cmp(a));
}

/// Exact search over vectors alone, for snapshots without codes. `None` if it is not wanted any more.
pub(crate) fn plain(
    of: &Vectors<'_>,
    query: &[f32],
    top: usize,
    allowed: impl Fn(u32) -> bool,
    mut is_wanted: impl FnMut() -> bool,
) -> Option<Vec<Scored>> {
    let mut best = TopK::default();
    best.reset(top);
    let (mut pending, mut room) = (None::<Scored>, Vec::new());
    for passage in 0..of.passages.len() as u32 {
        if (passage as usize).is_multiple_of(BLOCK_ROWS) && !is_wanted() {
            return None;
        }
        if !allowed(of.row(passage)) {
            continue;
        }
        let scored = of.scored(query, passage, &mut room);
        // Passages stand in the order of their rows, so a row is complete when the next one begins.
        pending = match pending {
            Some(before) if before.row == scored.row => {
                Some(if scored.score > before.score { scored } else { before })
            }
            Some(before) => {
                best.offer(before);
                Some(scored)
            }
            None => Some(scored),
        };
    }
    if let Some(last) = pending {
        best.offer(last);
    }
    Some(best.into_sorted())
}

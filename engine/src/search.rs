//! One search over a snapshot with codes: exact or over the graph, then in full precision.

use rayon::prelude::*;

use crate::codes::{CodedQuery, Codes};
use crate::error::QueryError;
use crate::filter::RowSet;
use crate::graph::Graph;
use crate::graph::search::{Counters, Filtered, Ground, Walk};
use crate::kernel::Kernel;
use crate::scan::{self, BLOCK_ROWS, Scan, Vectors};
use crate::topk::Scored;
use crate::watch::{Shared, Stage, Watch};

/// How a search went: for `explain`, and for counting what it cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Explained {
    /// The plan, and why it was chosen.
    pub why: &'static str,
    /// Candidates that a walk over the graph kept; `None` for an exact search.
    pub ef_search: Option<u32>,
    /// What was compared and read.
    pub counters: Counters,
}

impl Explained {
    pub(crate) fn new(why: &'static str) -> Self {
        Self { why, ef_search: None, counters: Counters::default() }
    }
}

/// Room that searches work in. One thread uses it for one search after the other, over any index; once it has served
/// a few, they allocate nothing.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) vector: Vec<f32>,
    pub(crate) coded: CodedQuery,
    walk: Walk,
    scan: Scan,
    /// Where a search on several threads has a scan each.
    parts: Vec<Scan>,
    /// A vector that is being compared.
    room: Vec<f32>,
    pub(crate) found: Vec<Scored>,
}

impl Scratch {
    /// What the last walk over a graph cost.
    pub(crate) fn walked(&self) -> Counters {
        self.walk.counters
    }
}

/// Rows that a filter allows, spread over the snapshot, where a walk begins besides the graph's own entry.
const SEEDS: usize = 16;

/// One search over a snapshot with codes.
pub(crate) struct Search<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) of: Vectors<'a>,
    pub(crate) codes: Codes<'a>,
    pub(crate) top: usize,
    pub(crate) allowed: Option<&'a RowSet>,
    /// About how many passages the filter lets through.
    pub(crate) among: u64,
    /// About which share of the graph's nodes, 0 to 1.
    pub(crate) share: f64,
    /// Whether an exact search may use every thread.
    pub(crate) threads: bool,
}

impl Search<'_> {
    pub(crate) fn exact(
        &self,
        scratch: &mut Scratch,
        why: &'static str,
        watch: &mut dyn Watch,
    ) -> Result<Explained, QueryError> {
        let Scratch { vector, coded, scan, parts, found, .. } = scratch;
        scan.begin(self.top);
        let (kernel, of, codes) = (self.kernel, &self.of, &self.codes);
        let whole = match self.allowed {
            None if self.threads => self.on_all_threads(scan, parts, coded, watch),
            None => scan.range(kernel, of, codes, coded, 0..codes.len(), || watch.is_wanted()),
            Some(allowed) => {
                scan.among(kernel, of, codes, coded, of.passages_of(allowed), || watch.is_wanted())
            }
        };
        if !whole {
            return Err(QueryError::Cancelled);
        }
        watch.ended(Stage::Scan);
        found.clear();
        let best = scan.finish(&self.of, &self.codes, coded, vector, self.top, || watch.is_wanted());
        found.extend_from_slice(best.ok_or(QueryError::Cancelled)?);
        let (distances, rescored) = (scan.distances, scan.rescored);
        let bytes = distances * (self.codes.stride as u64 + 4) + rescored * self.of.vector_bytes();
        watch.ended(Stage::Rescore);
        Ok(Explained { counters: Counters { distances, hops: 0, rescored, bytes }, ..Explained::new(why) })
    }

    /// Scans a stretch of the passages on each thread; no row lies on both sides of a cut.
    fn on_all_threads(
        &self,
        scan: &mut Scan,
        parts: &mut Vec<Scan>,
        coded: &CodedQuery,
        watch: &mut dyn Watch,
    ) -> bool {
        let (of, passages, count) = (&self.of, self.codes.len(), rayon::current_num_threads());
        let cut = |part: usize| {
            let even = passages * part / count;
            let same_row = |at: &usize| *at > 0 && of.row(*at as u32) == of.row(*at as u32 - 1);
            (even..passages).find(|at| !same_row(at)).unwrap_or(passages)
        };
        parts.resize_with(parts.len().max(count), Scan::default);
        let watch = Shared::new(watch);
        let whole = parts[..count].par_iter_mut().enumerate().map(|(part, scan)| {
            scan.begin(self.top);
            let passages = cut(part)..cut(part + 1);
            scan.range(self.kernel, of, &self.codes, coded, passages, || watch.is_wanted())
        });
        let whole = whole.reduce(|| true, |one, other| one && other);
        parts[..count].iter_mut().for_each(|part| scan.absorb(part));
        whole
    }

    /// Walks over the graph. `Ok(None)` where the graph does not give as many rows as there are, or not cheaper than an exact
    /// search would; what it cost is in the counters of the walk all the same.
    pub(crate) fn graph(
        &self,
        scratch: &mut Scratch,
        graph: &Graph<'_>,
        ef_search: usize,
        why: &'static str,
        watch: &mut dyn Watch,
    ) -> Result<Option<Explained>, QueryError> {
        let Scratch { coded, walk, .. } = &mut *scratch;
        walk.counters = Counters::default();
        let ground = Ground { kernel: self.kernel, codes: self.codes };
        let is_allowed = |passage| self.allowed.is_none_or(|allowed| allowed.contains(self.of.row(passage)));
        let ended = match self.allowed {
            None => {
                if !walk.search(&ground, coded, graph, ef_search, || watch.is_wanted()) {
                    return Err(QueryError::Cancelled);
                }
                true
            }
            Some(rows) => {
                // A node is worth keeping for any of its copies.
                let allowed = |node| {
                    is_allowed(node) || graph.copies_of(node).iter().any(|&[_, copy]| is_allowed(copy))
                };
                let seeds = rows.sample(SEEDS).filter_map(|row| self.of.passages_of_row(row).next());
                let seeds = seeds.map(|passage| graph.stands_for(passage));
                let Self { among, share, top, .. } = *self;
                let filtered = Filtered { allowed, seeds, top, share, budget: among };
                let mut wanted = true;
                let mut is_wanted = || {
                    wanted = watch.is_wanted();
                    wanted
                };
                let ended = walk.search_within(&ground, coded, graph, ef_search, filtered, &mut is_wanted);
                if !wanted {
                    return Err(QueryError::Cancelled);
                }
                ended
            }
        };
        watch.ended(Stage::Walk);
        // The codes order all but the closest calls; those are decided in full precision.
        let close = self.top + self.top / 2 + 4;
        if ended && !self.rescore(scratch, graph, close, is_allowed, watch)? && scratch.found.len() < self.top
        {
            self.rescore(scratch, graph, usize::MAX, is_allowed, watch)?;
        }
        let Scratch { walk, found, .. } = scratch;
        let Counters { distances, hops, rescored, .. } = walk.counters;
        walk.counters.bytes = distances * self.codes.stride as u64
            + hops * u64::from(graph.header.degree) * 4
            + rescored * self.of.vector_bytes();
        let there = self.allowed.map_or(usize::MAX, |allowed| allowed.len() as usize);
        if !ended || found.len() < self.top.min(there) {
            return Ok(None);
        }
        found.truncate(self.top);
        watch.ended(Stage::Rescore);
        let ef_search = Some(u32::try_from(walk.ef).unwrap_or(u32::MAX));
        Ok(Some(Explained { why, ef_search, counters: walk.counters }))
    }

    /// Compares what a walk found with the query in full precision, the likeliest first and each with its copies, until `close`
    /// passages are there and the next one's codes score less. Whether that was all.
    fn rescore(
        &self,
        scratch: &mut Scratch,
        graph: &Graph<'_>,
        close: usize,
        is_allowed: impl Fn(u32) -> bool,
        watch: &mut dyn Watch,
    ) -> Result<bool, QueryError> {
        let Scratch { vector, walk, found, room, .. } = scratch;
        found.clear();
        let (mut whole, mut least) = (true, i32::MIN);
        for near in &walk.found {
            if found.len() >= close && near.score() < least {
                whole = false;
                break;
            }
            least = near.score();
            let copies = graph.copies_of(near.node()).iter().map(|&[_, copy]| copy);
            let own = std::iter::once(near.node()).chain(copies).filter(|&passage| is_allowed(passage));
            // All of them score the same, so no more rows than are asked for can matter, and of each its first passage.
            let mut last = None;
            let first_of_row =
                |passage: &u32| last.replace(self.of.row(*passage)) != Some(self.of.row(*passage));
            let own = own.filter(first_of_row).take(self.top);
            if !self.of.score(vector, own, room, found, || watch.is_wanted()) {
                return Err(QueryError::Cancelled);
            }
        }
        walk.counters.rescored += found.len() as u64;
        scan::fold(found);
        Ok(whole)
    }
}

/// Exact searches, each with how many rows it wants, over one pass of the codes. A block of rows stays in the nearest
/// cache while every query is compared with it.
pub(crate) fn exact_together(
    kernel: &Kernel,
    of: &Vectors<'_>,
    codes: &Codes<'_>,
    searches: &mut [(usize, usize, Scratch)],
) {
    for (_, top, scratch) in &mut *searches {
        scratch.scan.begin(*top);
    }
    for block in (0..codes.len()).step_by(BLOCK_ROWS) {
        let block = block..(block + BLOCK_ROWS).min(codes.len());
        for (_, _, Scratch { coded, scan, .. }) in &mut *searches {
            scan.block(kernel, of, codes, coded, coded.bound(of.dimensions), block.clone());
        }
    }
    for (_, top, Scratch { vector, coded, scan, found, .. }) in searches {
        // Nobody can cancel it.
        found.extend_from_slice(scan.finish(of, codes, coded, vector, *top, || true).unwrap_or_default());
    }
}

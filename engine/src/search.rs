//! One search over a snapshot with codes: exact or over the graph, then in full precision.

use crate::codes::{CodedQuery, Codes};
use crate::filter::RowSet;
use crate::graph::Graph;
use crate::graph::search::{Counters, Ground, Walk};
use crate::kernel::Kernel;
use crate::scan::{self, BLOCK_ROWS, Scan, Vectors};
use crate::topk::Scored;

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
    /// A vector that is being compared.
    room: Vec<f32>,
    pub(crate) found: Vec<Scored>,
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
}

impl Search<'_> {
    pub(crate) fn exact(&self, scratch: &mut Scratch, why: &'static str) -> Explained {
        let Scratch { vector, coded, scan, found, .. } = scratch;
        scan.begin(self.top);
        match self.allowed {
            None => scan.all(self.kernel, &self.of, &self.codes, coded),
            Some(allowed) => {
                scan.among(self.kernel, &self.of, &self.codes, coded, self.of.passages_of(allowed))
            }
        }
        found.clear();
        found.extend_from_slice(scan.finish(&self.of, &self.codes, coded, vector, self.top));
        let (distances, rescored) = (scan.distances, scan.rescored);
        let bytes = distances * (self.codes.stride as u64 + 4) + rescored * self.of.vector_bytes();
        Explained { counters: Counters { distances, hops: 0, rescored, bytes }, ..Explained::new(why) }
    }

    /// `None` where the graph does not give as many rows as there are, or not cheaper than an exact search would.
    pub(crate) fn graph(
        &self,
        scratch: &mut Scratch,
        graph: &Graph<'_>,
        ef_search: usize,
    ) -> Option<Counters> {
        let Scratch { vector, coded, walk, found, room, .. } = scratch;
        walk.counters = Counters::default();
        let ground = Ground { kernel: self.kernel, codes: self.codes };
        match self.allowed {
            None => walk.search(&ground, coded, graph, ef_search),
            Some(allowed) => {
                let is_allowed = |node| allowed.contains(self.of.row(node));
                let seeds = allowed.sample(SEEDS).filter_map(|row| self.of.passages_of_row(row).next());
                let budget = allowed.len();
                if !walk.search_within(&ground, coded, graph, ef_search, is_allowed, seeds, budget) {
                    return None;
                }
            }
        }
        // The codes order all but the closest calls; those are decided in full precision.
        let close = self.top + self.top / 2 + 4;
        found.clear();
        found.extend(walk.found.iter().take(close).map(|near| self.of.scored(vector, near.node(), room)));
        walk.counters.rescored = found.len() as u64;
        scan::fold(found);
        if found.len() < self.top && walk.found.len() > close {
            found.clear();
            found.extend(walk.found.iter().map(|near| self.of.scored(vector, near.node(), room)));
            walk.counters.rescored += found.len() as u64;
            scan::fold(found);
        }
        let there = self.allowed.map_or(usize::MAX, |allowed| allowed.len() as usize);
        if found.len() < self.top.min(there) {
            return None;
        }
        found.truncate(self.top);
        let Counters { distances, hops, rescored, .. } = walk.counters;
        let bytes = distances * self.codes.stride as u64
            + hops * u64::from(graph.header.degree) * 4
            + rescored * self.of.vector_bytes();
        Some(Counters { bytes, ..walk.counters })
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
        for (_, _, Scratch { coded, scan, .. }) in &mut *searches {
            scan.block(kernel, of, codes, coded, coded.bound(of.dimensions), block);
        }
    }
    for (_, top, Scratch { vector, coded, scan, found, .. }) in searches {
        found.extend_from_slice(scan.finish(of, codes, coded, vector, *top));
    }
}

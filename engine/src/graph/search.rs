//! Beam search: the nearest nodes to a query, found by walking from neighbour to neighbour.

use super::{Graph, NOBODY};
use crate::codes::{CodedQuery, Codes};
use crate::kernel::Kernel;

/// What a search did, in numbers that do not depend on the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// Rows of codes that were compared with the query.
    pub distances: u64,
    /// Nodes whose neighbours were looked at.
    pub hops: u64,
    /// Vectors that were compared in full precision.
    pub rescored: u64,
    /// Bytes of codes, neighbours and vectors that were read.
    pub bytes: u64,
}

impl std::ops::Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            distances: self.distances + other.distances,
            hops: self.hops + other.hops,
            rescored: self.rescored + other.rescored,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// Which nodes a search has seen: a stamp each, so that a new search begins without clearing them.
#[derive(Debug, Default)]
struct Visited {
    stamps: Vec<u8>,
    now: u8,
}

impl Visited {
    fn begin(&mut self, nodes: usize) {
        if self.stamps.len() != nodes {
            self.stamps.clear();
            self.stamps.resize(nodes, 0);
            self.now = 0;
        }
        self.now = match self.now.checked_add(1) {
            Some(now) => now,
            None => {
                self.stamps.fill(0);
                1
            }
        };
    }

    /// Whether `node` is seen for the first time; a node that does not exist never is.
    #[inline(always)]
    fn insert(&mut self, node: u32) -> bool {
        match self.stamps.get_mut(node as usize) {
            Some(stamp) if *stamp != self.now => {
                *stamp = self.now;
                true
            }
            _ => false,
        }
    }
}

/// A node with its score in one number, so that comparing two is one instruction: the score above, then the node (of equal
/// ones the lower counts as better, as in exact search), and in the lowest bit whether its neighbours were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found(u64);

impl Found {
    #[inline(always)]
    fn new(score: i32, node: u32) -> Self {
        let ordered = (score as u32) ^ (1 << 31);
        Self(u64::from(ordered) << 32 | u64::from(node ^ (MAX_NODES - 1)) << 1)
    }
    #[inline(always)]
    pub(crate) fn node(self) -> u32 {
        ((self.0 as u32) >> 1) ^ (MAX_NODES - 1)
    }
    #[inline(always)]
    pub(crate) fn score(self) -> i32 {
        ((self.0 >> 32) as u32 ^ (1 << 31)) as i32
    }
    #[inline(always)]
    fn is_expanded(self) -> bool {
        self.0 & 1 == 1
    }
}

/// The largest number of nodes that [`Found`] can name.
pub(crate) const MAX_NODES: u32 = 1 << 31;

/// Hops after which a walk asks whether it is still wanted.
const ASK_EVERY: u64 = 16;

/// What a walk under a filter may give, and where it begins.
pub(crate) struct Filtered<A, S> {
    /// Whether a node is let through.
    pub(crate) allowed: A,
    /// Some such nodes.
    pub(crate) seeds: S,
    /// How many of the best are asked for.
    pub(crate) top: usize,
    /// How much of everything it lets through, 0 to 1.
    pub(crate) share: f64,
    /// Comparisons after which it gives up.
    pub(crate) budget: u64,
}

/// What a walk needs and keeps for the next one, so that it allocates nothing once it is warm.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    visited: Visited,
    /// The best `ef` so far, best first.
    pub(crate) found: Vec<Found>,
    /// Under a filter: what is still to be looked at.
    waiting: std::collections::BinaryHeap<Found>,
    /// Nodes that were walked over, but not let through, until opposition shows.
    passed: Vec<Found>,
    ids: Vec<u32>,
    sums: Vec<i32>,
    pub(crate) counters: Counters,
    /// How many nodes the last walk over the graph kept at most.
    pub(crate) ef: usize,
}

/// What every walk over one snapshot shares.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) codes: Codes<'a>,
}

impl Walk {
    /// Compares the nodes in `self.ids` with the query; their scores are in `self.sums` then.
    #[inline(always)]
    fn compare(&mut self, ground: &Ground<'_>, query: &CodedQuery) {
        self.sums.resize(self.ids.len(), 0);
        (ground.kernel.gather)(&query.codes, ground.codes.rows, &self.ids, &mut self.sums);
        self.counters.distances += self.ids.len() as u64;
    }

    /// Puts a node into `found`, which holds at most `ef`; gives its place, or `None` where `ef` are better.
    #[inline(always)]
    fn offer(&mut self, found: Found, ef: usize) -> Option<usize> {
        if self.found.len() >= ef {
            match self.found.last() {
                Some(worst) if found > *worst => self.found.pop(),
                _ => return None,
            };
        }
        // The lowest bit of one that was looked at cannot reorder two nodes: no node is in the list twice.
        let place = self.found.partition_point(|other| *other > found);
        self.found.insert(place, found);
        Some(place)
    }

    /// The best `ef` nodes that can be reached from `entries` over `neighbours`; they are in `self.found`, best first.
    /// `false` if it is not wanted any more, which is asked every [`ASK_EVERY`] hops.
    pub(crate) fn beam<'g>(
        &mut self,
        ground: &Ground<'_>,
        query: &CodedQuery,
        entries: &[u32],
        ef: usize,
        neighbours: impl Fn(u32) -> &'g [u32],
        mut is_wanted: impl FnMut() -> bool,
    ) -> bool {
        self.visited.begin(ground.codes.len());
        self.found.clear();
        self.ids.clear();
        self.ids.extend(entries.iter().filter(|&&node| self.visited.insert(node)));
        self.compare(ground, query);
        for at in 0..self.ids.len() {
            self.offer(Found::new(query.freed(self.sums[at]), self.ids[at]), ef);
        }
        let mut next = 0;
        while let Some(best) = self.found.get_mut(next) {
            if best.is_expanded() {
                next += 1;
                continue;
            }
            best.0 |= 1;
            let node = best.node();
            self.counters.hops += 1;
            if self.counters.hops.is_multiple_of(ASK_EVERY) && !is_wanted() {
                return false;
            }
            self.gather_unseen(neighbours(node));
            self.compare(ground, query);
            next += 1;
            for at in 0..self.ids.len() {
                let found = Found::new(query.freed(self.sums[at]), self.ids[at]);
                if let Some(place) = self.offer(found, ef) {
                    next = next.min(place);
                }
            }
        }
        true
    }

    #[inline(always)]
    fn gather_unseen(&mut self, neighbours: &[u32]) {
        self.ids.clear();
        for &id in neighbours {
            if id == NOBODY {
                break;
            }
            if self.visited.insert(id) {
                self.ids.push(id);
            }
        }
    }

    /// As [`Walk::search`], but keeps only nodes that `allowed` lets through. The walk begins at `seeds` as well, some
    /// such nodes, and crosses at most one other node between two of them (as ACORN does: Patel et al., SIGMOD 2024), but for
    /// those that are nearer than any that is wanted: so it does not lose itself among nodes that are near the query but not
    /// wanted. Where there are many of those, the filter leaves out what is nearest, and it keeps more. Gives up with `false` after `budget`
    /// comparisons: then reading every allowed node is cheaper; and when it is not wanted any more.
    pub(crate) fn search_within(
        &mut self,
        ground: &Ground<'_>,
        query: &CodedQuery,
        graph: &Graph<'_>,
        ef: usize,
        filtered: Filtered<impl Fn(u32) -> bool, impl Iterator<Item = u32>>,
        mut is_wanted: impl FnMut() -> bool,
    ) -> bool {
        /// How many times more nodes than a filter at random passes over are taken for opposition.
        const OPPOSED: f64 = 2.0;
        /// What is kept then at least; and no less than without a filter.
        const KEPT: usize = 64;
        /// About what a walk compares then for each node that it keeps.
        const COMPARED: u64 = 120;
        let Filtered { allowed, seeds, top, share, budget } = filtered;
        let entry = self.descend(ground, query, graph);
        let near = graph.neighbours(entry).iter().take_while(|&&node| node != NOBODY);
        let (near, wanted) = (near.clone().count(), near.filter(|&&node| allowed(node)).count());
        // A walk that passes over nodes sees more of them for each that it keeps, so fewer need to be kept: measured in
        // `benches`, with no loss of recall. Where all that is near is allowed, it passes over nothing.
        let thinned = 0.5 + wanted as f64 / near.max(1) as f64 / 2.0;
        let more = ef.max(KEPT);
        let mut ef = top.max((ef as f64 * thinned).ceil() as usize);
        let mut is_opposed = false;
        self.visited.begin(ground.codes.len());
        self.found.clear();
        self.waiting.clear();
        self.passed.clear();
        self.ids.clear();
        self.ids.extend(std::iter::once(entry).chain(seeds).filter(|&node| self.visited.insert(node)));
        let end = self.counters.distances + budget;
        loop {
            self.compare(ground, query);
            for at in 0..self.ids.len() {
                let found = Found::new(query.freed(self.sums[at]), self.ids[at]);
                let wanted = self.found.len() < ef || self.found.last().is_some_and(|worst| found > *worst);
                if wanted {
                    self.waiting.push(found);
                    if allowed(found.node()) {
                        self.offer(found, ef);
                    }
                }
            }
            self.ef = ef;
            // Where it comes to an end before it has kept as many as it may, there may be others that it cannot get to.
            let Some(best) = self.waiting.pop() else { return self.found.len() >= ef };
            if self.found.len() >= ef && self.found.last().is_some_and(|worst| best < *worst) {
                return true;
            }
            self.counters.hops += 1;
            let asked = self.counters.hops.is_multiple_of(ASK_EVERY);
            if self.counters.distances > end || (asked && !is_wanted()) {
                return false;
            }
            let node = best.node();
            let mut crosses = allowed(node);
            if !crosses && !is_opposed {
                // As long as nothing wanted was met so near, what lies around is looked at whole.
                self.passed.push(best);
                let nearest = self.found.first().copied();
                crosses = nearest.is_none_or(|nearest| best > nearest);
                let nearer =
                    || self.passed.iter().filter(|&&passed| nearest.is_none_or(|nearest| passed > nearest));
                if crosses && nearer().count() as f64 * share > OPPOSED {
                    is_opposed = true;
                    ef = more;
                    if (ef as u64).saturating_mul(COMPARED) > budget {
                        return false;
                    }
                }
            }
            self.ids.clear();
            for &id in graph.neighbours(node).iter().take_while(|&&id| id != NOBODY) {
                if (crosses || allowed(id)) && self.visited.insert(id) {
                    self.ids.push(id);
                }
            }
        }
    }

    /// Walks down from the top to the node of layer 0 where the search of that layer begins.
    pub(crate) fn descend(&mut self, ground: &Ground<'_>, query: &CodedQuery, graph: &Graph<'_>) -> u32 {
        let degree = graph.header.upper_degree as usize;
        let mut slot = graph.header.entry;
        let mut best = i32::MIN;
        for layer in graph.layers() {
            // Scores only rise, so this ends; a damaged file may name slots that do not exist, which are passed over.
            loop {
                let start = slot as usize * degree;
                let own = layer.neighbours.get(start..start + degree).unwrap_or_default();
                let own = &own[..own.iter().position(|&slot| slot == NOBODY).unwrap_or(own.len())];
                self.ids.clear();
                self.ids.extend(
                    own.iter().map(|&slot| layer.nodes.get(slot as usize).copied().unwrap_or(NOBODY)),
                );
                if best == i32::MIN {
                    self.ids.push(layer.nodes.get(slot as usize).copied().unwrap_or(NOBODY));
                }
                self.compare(ground, query);
                self.counters.hops += 1;
                let sums = self.sums.iter().enumerate();
                let Some((at, score)) = sums.max_by_key(|(at, score)| (**score, std::cmp::Reverse(*at)))
                else {
                    break;
                };
                if *score <= best {
                    break;
                }
                best = *score;
                match own.get(at) {
                    Some(&nearer) => slot = nearer,
                    None => break,
                }
            }
            slot = layer.down.get(slot as usize).copied().unwrap_or(0);
        }
        slot
    }

    /// The best `ef` nodes of the graph; they are in `self.found`, best first. `false` if it is not wanted any more.
    pub(crate) fn search(
        &mut self,
        ground: &Ground<'_>,
        query: &CodedQuery,
        graph: &Graph<'_>,
        ef: usize,
        is_wanted: impl FnMut() -> bool,
    ) -> bool {
        self.ef = ef;
        let entry = self.descend(ground, query, graph);
        self.beam(ground, query, &[entry], ef, |node| graph.neighbours(node), is_wanted)
    }
}

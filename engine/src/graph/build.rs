//! Building the graph: batches that double, each searched in what stands already and then joined to it without locks
//! (ParlayANN: Manohar et al., PPoPP 2024). So the graph does not depend on the number of threads.
//!
//! Layers are built from the top down. A node's neighbours are chosen by relative distance (Vamana: Subramanya et al.,
//! NeurIPS 2019; with `alpha` 1 the heuristic of HNSW).

use rayon::prelude::*;

use super::layer::{Edge, Growing, Layers, Returning, Tree, frozen};
use super::search::{Ground, Walk};
use super::settings::{GraphBuilder, GraphSettings, UPPER_DEGREE};
use super::{MAX_LAYERS, copies};
use crate::codes::{CodedQuery, Codes};
use crate::kernel::{Kernel, NO_ROW};
use crate::scan::Vectors;

/// One node in this many stands in the layer above as well.
const NODES_PER_UPPER_NODE: u64 = 16;
/// While a graph grows, nodes may have this many times their neighbours, so that few choices must be made twice.
const SLACK: f32 = 1.5;
/// Largest batch, as a share of the layer: nodes of one batch do not see each other.
const BATCH_SHARE: usize = 50;

/// A finite mix of a number's bits (splitmix64), for levels and the order of insertion.
fn mixed(number: u32) -> u64 {
    let mut z = u64::from(number).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The topmost layer in which a node stands.
fn level(node: u32) -> usize {
    let mut bits = mixed(node ^ 0x5555_5555);
    let mut level = 0;
    while level < MAX_LAYERS && bits.is_multiple_of(NODES_PER_UPPER_NODE) {
        bits /= NODES_PER_UPPER_NODE;
        level += 1;
    }
    level
}

/// What one thread needs while it builds.
#[derive(Default)]
struct Worker {
    walk: Walk,
    query: CodedQuery,
    other: CodedQuery,
    sums: Vec<i32>,
    ids: Vec<u32>,
}

struct Builder<'a> {
    ground: Ground<'a>,
    settings: GraphSettings,
    /// The score of a unit vector with itself, in units of sums.
    one: f32,
    /// Which passages are copies of earlier ones, and stay out of the graph.
    is_copy: Vec<bool>,
}

/// Builds the graph over `codes`, as the bytes of its section without the recall curve. `vectors` are the originals.
pub(crate) fn build(codes: Codes<'_>, vectors: &Vectors<'_>, settings: GraphSettings) -> Vec<u8> {
    let copies = match settings.builder {
        GraphBuilder::Native => copies::find(vectors, &codes),
        // It is measured as it is.
        #[cfg(feature = "hnsw_rs")]
        GraphBuilder::HnswRs => Vec::new(),
    };
    let builder = Builder {
        ground: Ground { kernel: Kernel::detect(), codes },
        settings,
        one: (1.0 / (f64::from(codes.scale) * f64::from(codes.scale))) as f32,
        is_copy: copies::marked(&copies, codes.len()),
    };
    let mut layers = match settings.builder {
        GraphBuilder::Native => builder.layers(),
        #[cfg(feature = "hnsw_rs")]
        GraphBuilder::HnswRs => super::reference::layers(vectors, &settings),
    };
    builder.connect(&mut layers.base, layers.first);
    frozen(&layers, &settings, &copies)
}

impl Builder<'_> {
    fn layers(&self) -> Layers {
        let nodes = self.ground.codes.len() as u32;
        let mut order: Vec<u32> = (0..nodes).filter(|&node| !self.is_copy[node as usize]).collect();
        order.par_sort_unstable_by_key(|&node| (std::cmp::Reverse(level(node)), mixed(node), node));
        let first = order.first().copied().unwrap_or(0);
        // Layers with a single node would say nothing.
        let count_at = |layer: usize| order.partition_point(|&node| level(node) >= layer);
        let top = (1..=level(first)).rev().find(|&layer| count_at(layer) > 1).unwrap_or(0);

        let mut starts: Vec<u32> = vec![first; nodes as usize];
        let mut upper: Vec<(Vec<u32>, Growing)> = Vec::new();
        for layer in (1..=top).rev() {
            let members = &order[..count_at(layer)];
            let grown = self.layer(members, UPPER_DEGREE as usize, &starts);
            self.find_starts(&order, members, &grown, &mut starts);
            upper.push((members.to_vec(), grown));
        }
        let base = self.layer(&order, self.settings.degree as usize, &starts);
        Layers { upper, base, first }
    }

    /// Builds one layer over `members`, most prominent first. Neighbours are named by node.
    fn layer(&self, members: &[u32], degree: usize, starts: &[u32]) -> Growing {
        let nodes = self.ground.codes.len();
        let places = (degree as f32 * SLACK) as usize;
        let mut grown = Growing::new(nodes, places);
        let mut done = 1;
        while done < members.len() {
            let size = done.min((members.len() / BATCH_SHARE).max(1)).min(members.len() - done);
            let batch = &members[done..done + size];
            let chosen: Vec<Vec<Edge>> = batch
                .par_iter()
                .map_init(Worker::default, |worker, &node| {
                    self.choose_for(node, &grown, starts[node as usize], members[0], degree, worker)
                })
                .collect();
            let mut backward: Vec<(u32, Edge)> = Vec::new();
            for (&node, edges) in batch.iter().zip(chosen) {
                backward.extend(edges.iter().map(|edge| (edge.node, Edge { node, score: edge.score })));
                grown.set(node, edges);
            }
            backward.par_sort_unstable_by_key(|(target, edge)| (*target, edge.node));
            let groups: Vec<&[(u32, Edge)]> = backward.chunk_by(|a, b| a.0 == b.0).collect();
            let joined: Vec<(u32, Vec<Edge>)> = groups
                .into_par_iter()
                .map_init(Worker::default, |worker, group| {
                    let target = group[0].0;
                    let mut edges = grown.edges[target as usize].clone();
                    edges.extend(group.iter().map(|(_, edge)| *edge));
                    if edges.len() > grown.places {
                        edges = self.prune(edges, degree, worker);
                    }
                    (target, edges)
                })
                .collect();
            for (target, edges) in joined {
                grown.set(target, edges);
            }
            done += size;
        }
        let pruned: Vec<(u32, Vec<Edge>)> = members
            .par_iter()
            .filter(|&&node| grown.edges[node as usize].len() > degree)
            .map_init(Worker::default, |worker, &node| {
                (node, self.prune(grown.edges[node as usize].clone(), degree, worker))
            })
            .collect();
        for (node, edges) in pruned {
            grown.set(node, edges);
        }
        grown
    }

    fn choose_for(
        &self,
        node: u32,
        grown: &Growing,
        start: u32,
        first: u32,
        degree: usize,
        worker: &mut Worker,
    ) -> Vec<Edge> {
        worker.query.set_row(self.ground.codes.row(node));
        // A node of the layer above is its own start there, and does not stand here yet.
        let start = if start == node || grown.edges[start as usize].is_empty() { first } else { start };
        let ef = self.settings.ef_construction as usize;
        worker.walk.beam(&self.ground, &worker.query, &[start], ef, |node| grown.neighbours(node), || true);
        let candidates =
            worker.walk.found.iter().map(|found| Edge { node: found.node(), score: found.score() }).collect();
        self.prune(candidates, degree, worker)
    }

    /// Chooses at most `degree` neighbours: the nearest candidate first, and each chosen one makes those dispensable
    /// that are nearer to it than to the node itself.
    fn prune(&self, mut candidates: Vec<Edge>, degree: usize, worker: &mut Worker) -> Vec<Edge> {
        candidates.sort_unstable_by_key(|edge| (std::cmp::Reverse(edge.score), edge.node));
        candidates.dedup_by_key(|edge| edge.node);
        let alpha = self.settings.alpha;
        let mut chosen = Vec::with_capacity(degree);
        let mut rest = candidates;
        while !rest.is_empty() && chosen.len() < degree {
            let nearest = rest.remove(0);
            chosen.push(nearest);
            worker.other.set_row(self.ground.codes.row(nearest.node));
            worker.ids.clear();
            worker.ids.extend(rest.iter().map(|edge| edge.node));
            worker.sums.clear();
            worker.sums.resize(rest.len(), NO_ROW);
            (self.ground.kernel.gather)(
                &worker.other.codes,
                self.ground.codes.rows,
                &worker.ids,
                &mut worker.sums,
            );
            let mut at = 0;
            rest.retain(|edge| {
                let between = self.one - worker.other.freed(worker.sums[at]) as f32;
                at += 1;
                alpha * between > self.one - edge.score as f32
            });
        }
        chosen
    }

    /// For each node the nearest member of a finished layer, where its search of the layer below begins.
    fn find_starts(&self, order: &[u32], members: &[u32], grown: &Growing, starts: &mut [u32]) {
        let found: Vec<(u32, u32)> = order
            .par_iter()
            .map_init(Worker::default, |worker, &node| {
                worker.query.set_row(self.ground.codes.row(node));
                let start = starts[node as usize];
                let start = if grown.edges[start as usize].is_empty() { members[0] } else { start };
                worker.walk.beam(
                    &self.ground,
                    &worker.query,
                    &[start],
                    4,
                    |node| grown.neighbours(node),
                    || true,
                );
                (node, worker.walk.found.first().map_or(start, |found| found.node()))
            })
            .collect();
        for (node, start) in found {
            starts[node as usize] = start;
        }
    }

    /// Gives every node that cannot be reached from `entry` an edge from one that can: from the nearest with a free
    /// place, or with an edge that nothing hangs on. Nothing that was reached is lost, so this ends. Then every node from which
    /// `entry` cannot be reached gets an edge to the nearest from which it can be: so wherever a search enters layer 0, it can
    /// get to every node.
    fn connect(&self, base: &mut Growing, entry: u32) {
        let nodes = 0..self.ground.codes.len() as u32;
        let nodes = || nodes.clone().filter(|&node| !self.is_copy[node as usize]);
        let degree = self.settings.degree as usize;
        let mut tree = Tree::new(base, entry);
        let mut worker = Worker::default();
        for stray in nodes() {
            if tree.reaches(stray) {
                continue;
            }
            let near = self.near(stray, base, entry, &mut worker);
            let anywhere = nodes().filter(|&node| tree.reaches(node));
            let Some((host, place)) =
                near.chain(anywhere).find_map(|host| Some((host, tree.place(base, host, degree)?)))
            else {
                // Every reached node would have to hold up `degree` others, more than there are.
                return;
            };
            self.put(base, host, place, stray);
            tree.grow(base, stray, host);
        }
        let mut returning = Returning::new(base, entry);
        for stray in nodes() {
            if returning.holds(stray) {
                continue;
            }
            // Where each edge holds up another node, one of those that it leads to has a place: the tree has an end.
            let Some(place) = tree.place(base, stray, degree) else { continue };
            let near = self.near(stray, base, entry, &mut worker).find(|&node| returning.holds(node));
            self.put(base, stray, place, near.unwrap_or(entry));
            returning.grow(stray);
        }
    }

    /// Nodes near `node` that can be reached from `entry`, the nearest first.
    fn near<'w>(
        &self,
        node: u32,
        base: &Growing,
        entry: u32,
        worker: &'w mut Worker,
    ) -> impl Iterator<Item = u32> + use<'w> {
        worker.query.set_row(self.ground.codes.row(node));
        let ef = self.settings.ef_construction as usize;
        worker.walk.beam(&self.ground, &worker.query, &[entry], ef, |node| base.neighbours(node), || true);
        worker.walk.found.iter().map(|found| found.node())
    }

    /// Makes `to` a neighbour of `from`, at `place`.
    fn put(&self, base: &mut Growing, from: u32, place: usize, to: u32) {
        let mut edges = base.edges[from as usize].clone();
        edges.truncate(self.settings.degree as usize);
        let edge = Edge { node: to, score: 0 };
        match edges.get_mut(place) {
            Some(spare) => *spare = edge,
            None => edges.push(edge),
        }
        base.set(from, edges);
    }
}

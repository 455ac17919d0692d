//! Building the graph: batches that double, each searched in what stands already and then joined to it without locks
//! (ParlayANN: Manohar et al., PPoPP 2024). So the graph does not depend on the number of threads.
//!
//! Layers are built from the top down. A node's neighbours are chosen by relative distance (Vamana: Subramanya et al.,
//! NeurIPS 2019; with `alpha` 1 the heuristic of HNSW).

use rayon::prelude::*;

use super::search::{Ground, Walk};
use super::{GraphHeader, MAX_LAYERS, NOBODY};
use crate::codes::{CodedQuery, Codes};
use crate::kernel::{Kernel, NO_ROW};

/// How a graph is built. The same settings give the same graph for the same vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GraphSettings {
    /// Neighbours that a node may have in layer 0, 2 to 1024; a multiple of 16 fills whole cache lines.
    pub degree: u32,
    /// Candidates that are kept for each node while its neighbours are looked for, 1 to 65,536.
    pub ef_construction: u32,
    /// How much nearer a chosen neighbour must be to a candidate than the node is, to make the candidate dispensable:
    /// a ratio of squared distances, 1 or more. Larger values keep more long edges.
    pub alpha: f32,
    /// Recall@10 that the snapshot's own `ef_search` is chosen for.
    pub target_recall: f32,
}

impl Default for GraphSettings {
    fn default() -> Self {
        Self { degree: 32, ef_construction: 100, alpha: 1.1, target_recall: 0.99 }
    }
}

impl GraphSettings {
    /// What is out of range, in words.
    pub(crate) fn fault(&self) -> Option<String> {
        let Self { degree, ef_construction, alpha, target_recall } = *self;
        let faults = [
            (!(2..=1024).contains(&degree)).then(|| format!("degree {degree} is not within 2 to 1024")),
            (!(1..=65_536).contains(&ef_construction))
                .then(|| format!("ef_construction {ef_construction} is not within 1 to 65536")),
            (!(alpha.is_finite() && alpha >= 1.0)).then(|| format!("alpha {alpha} is less than 1")),
            (!(0.0..=1.0).contains(&target_recall))
                .then(|| format!("target_recall {target_recall} is not within 0 to 1")),
        ];
        let faults: Vec<String> = faults.into_iter().flatten().collect();
        (!faults.is_empty()).then(|| faults.join(", "))
    }
}

/// Neighbours that a node may have in the layers above.
const UPPER_DEGREE: u32 = 16;
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

/// An edge with the score of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edge {
    node: u32,
    score: i32,
}

/// A layer while it grows.
struct Growing {
    /// Neighbours of each node, by slot; nodes that are not in the layer have none.
    edges: Vec<Vec<Edge>>,
    /// The same without scores, as searches read them: `places` a slot.
    ids: Vec<u32>,
    places: usize,
}

impl Growing {
    fn neighbours(&self, slot: u32) -> &[u32] {
        let start = slot as usize * self.places;
        self.ids.get(start..start + self.places).unwrap_or_default()
    }

    fn set(&mut self, slot: u32, edges: Vec<Edge>) {
        let start = slot as usize * self.places;
        let places = &mut self.ids[start..start + self.places];
        places.fill(NOBODY);
        for (place, edge) in places.iter_mut().zip(&edges) {
            *place = edge.node;
        }
        self.edges[slot as usize] = edges;
    }
}

/// How each node was reached first: the edges that nothing may take away.
struct Tree {
    parent: Vec<u32>,
}

impl Tree {
    fn reaches(&self, node: u32) -> bool {
        self.parent.get(node as usize).is_some_and(|&parent| parent != NOBODY)
    }

    /// Reaches `node` from `parent`, and all that can be reached from there.
    fn grow(&mut self, base: &Growing, node: u32, parent: u32) {
        let mut waiting = vec![(node, parent)];
        while let Some((node, parent)) = waiting.pop() {
            if !self.reaches(node) {
                self.parent[node as usize] = parent;
                let own = base.neighbours(node).iter().take_while(|&&id| id != NOBODY);
                waiting.extend(own.map(|&id| (id, node)));
            }
        }
    }

    /// Where `host` can take another neighbour: behind its last one, or in place of one that is reached otherwise.
    fn place(&self, base: &Growing, host: u32, degree: usize) -> Option<usize> {
        let edges = &base.edges[host as usize];
        if edges.len() < degree {
            return Some(edges.len());
        }
        edges.iter().take(degree).rposition(|edge| self.parent[edge.node as usize] != host)
    }
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
}

/// Builds the graph over `codes`, as the bytes of its section without the recall curve.
pub(crate) fn build(codes: Codes<'_>, settings: GraphSettings) -> Vec<u8> {
    let nodes = codes.len() as u32;
    let builder = Builder {
        ground: Ground { kernel: Kernel::detect(), codes },
        settings,
        one: (1.0 / (f64::from(codes.scale) * f64::from(codes.scale))) as f32,
    };
    let mut order: Vec<u32> = (0..nodes).collect();
    order.par_sort_unstable_by_key(|&node| (std::cmp::Reverse(level(node)), mixed(node), node));
    let top = order.first().map_or(0, |&node| level(node));
    // Layers with a single node would say nothing.
    let count_at = |layer: usize| order.partition_point(|&node| level(node) >= layer);
    let top = (1..=top).rev().find(|&layer| count_at(layer) > 1).unwrap_or(0);

    let mut starts: Vec<u32> = vec![order.first().copied().unwrap_or(0); nodes as usize];
    let mut upper: Vec<(Vec<u32>, Growing)> = Vec::new();
    for layer in (1..=top).rev() {
        let members = &order[..count_at(layer)];
        let grown = builder.layer(members, UPPER_DEGREE as usize, &starts);
        builder.find_starts(&order, members, &grown, &mut starts);
        upper.push((members.to_vec(), grown));
    }
    let mut base = builder.layer(&order, settings.degree as usize, &starts);
    let first = order.first().copied().unwrap_or(0);
    builder.connect(&mut base, first);
    builder.frozen(upper, &base, first)
}

impl Builder<'_> {
    /// Builds one layer over `members`, most prominent first. Neighbours are named by node.
    fn layer(&self, members: &[u32], degree: usize, starts: &[u32]) -> Growing {
        let nodes = self.ground.codes.len();
        let places = (degree as f32 * SLACK) as usize;
        let mut grown = Growing { edges: vec![Vec::new(); nodes], ids: vec![NOBODY; nodes * places], places };
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
        worker.walk.beam(&self.ground, &worker.query, &[start], ef, |node| grown.neighbours(node));
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
                worker.walk.beam(&self.ground, &worker.query, &[start], 4, |node| grown.neighbours(node));
                (node, worker.walk.found.first().map_or(start, |found| found.node()))
            })
            .collect();
        for (node, start) in found {
            starts[node as usize] = start;
        }
    }

    /// Gives every node that cannot be reached from `entry` an edge from one that can: from the nearest with a free
    /// place, or with an edge that nothing hangs on. Nothing that was reached is lost, so this ends.
    fn connect(&self, base: &mut Growing, entry: u32) {
        let nodes = self.ground.codes.len() as u32;
        let degree = self.settings.degree as usize;
        let mut tree = Tree { parent: vec![NOBODY; nodes as usize] };
        tree.grow(base, entry, entry);
        let mut worker = Worker::default();
        for stray in 0..nodes {
            if tree.reaches(stray) {
                continue;
            }
            worker.query.set_row(self.ground.codes.row(stray));
            let ef = self.settings.ef_construction as usize;
            worker.walk.beam(&self.ground, &worker.query, &[entry], ef, |node| base.neighbours(node));
            let near = worker.walk.found.iter().map(|found| found.node());
            let anywhere = (0..nodes).filter(|&node| tree.reaches(node));
            let Some((host, place)) =
                near.chain(anywhere).find_map(|host| Some((host, tree.place(base, host, degree)?)))
            else {
                // Every reached node would have to hold up `degree` others, more than there are.
                return;
            };
            let mut edges = base.edges[host as usize].clone();
            edges.truncate(degree);
            let edge = Edge { node: stray, score: 0 };
            match edges.get_mut(place) {
                Some(spare) => *spare = edge,
                None => edges.push(edge),
            }
            base.set(host, edges);
            tree.grow(base, stray, host);
        }
    }

    /// The section: layers in flat arrays.
    fn frozen(&self, upper: Vec<(Vec<u32>, Growing)>, base: &Growing, first: u32) -> Vec<u8> {
        let nodes = self.ground.codes.len();
        let degree = self.settings.degree as usize;
        let mut header: GraphHeader = bytemuck::Zeroable::zeroed();
        header.nodes = nodes as u32;
        header.degree = degree as u32;
        header.upper_degree = UPPER_DEGREE;
        header.layers = upper.len() as u32;
        header.ef_construction = self.settings.ef_construction;
        header.target_recall = self.settings.target_recall;
        header.entry = if upper.is_empty() { first } else { 0 };
        let mut arrays: Vec<u32> = Vec::with_capacity(nodes * degree);
        for node in 0..nodes as u32 {
            arrays.extend(base.neighbours(node).iter().take(degree));
        }
        let mut below: Option<Vec<u32>> = None;
        for (layer, (members, grown)) in upper.into_iter().rev().enumerate() {
            let mut slot_of = vec![NOBODY; nodes];
            for (slot, &node) in (0..).zip(&members) {
                slot_of[node as usize] = slot;
            }
            let slot = |node: u32| slot_of.get(node as usize).copied().unwrap_or(NOBODY);
            header.layer_nodes[layer] = members.len() as u32;
            arrays.extend(&members);
            match &below {
                Some(below) => arrays.extend(members.iter().map(|&node| below[node as usize])),
                None => arrays.extend(&members),
            }
            for &node in &members {
                arrays.extend(
                    grown.neighbours(node).iter().take(UPPER_DEGREE as usize).map(|&node| slot(node)),
                );
            }
            below = Some(slot_of);
        }
        let mut section = bytemuck::bytes_of(&header).to_vec();
        section.extend_from_slice(bytemuck::must_cast_slice(&arrays));
        section
    }
}

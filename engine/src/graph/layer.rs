//! Layers while they grow, the tree that keeps every node within reach, and the flat arrays that become of them.

use super::copies::Copied;
use super::settings::{GraphSettings, UPPER_DEGREE};
use super::{GraphHeader, NOBODY};

/// An edge with the score of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) node: u32,
    pub(super) score: i32,
}

/// A layer while it grows.
pub(super) struct Growing {
    /// Neighbours of each node; nodes that are not in the layer have none.
    pub(super) edges: Vec<Vec<Edge>>,
    /// The same without scores, as searches read them: `places` a node.
    ids: Vec<u32>,
    pub(super) places: usize,
}

impl Growing {
    /// A layer without edges, for a graph of `nodes`.
    pub(super) fn new(nodes: usize, places: usize) -> Self {
        Self { edges: vec![Vec::new(); nodes], ids: vec![NOBODY; nodes * places], places }
    }

    pub(super) fn neighbours(&self, node: u32) -> &[u32] {
        let start = node as usize * self.places;
        self.ids.get(start..start + self.places).unwrap_or_default()
    }

    pub(super) fn set(&mut self, node: u32, edges: Vec<Edge>) {
        let start = node as usize * self.places;
        let places = &mut self.ids[start..start + self.places];
        places.fill(NOBODY);
        for (place, edge) in places.iter_mut().zip(&edges) {
            *place = edge.node;
        }
        self.edges[node as usize] = edges;
    }
}

/// How each node was reached first: the edges that nothing may take away.
pub(super) struct Tree {
    parent: Vec<u32>,
}

impl Tree {
    /// All that can be reached from `entry`.
    pub(super) fn new(base: &Growing, entry: u32) -> Self {
        let mut tree = Self { parent: vec![NOBODY; base.edges.len()] };
        tree.grow(base, entry, entry);
        tree
    }

    pub(super) fn reaches(&self, node: u32) -> bool {
        self.parent.get(node as usize).is_some_and(|&parent| parent != NOBODY)
    }

    /// Reaches `node` from `parent`, and all that can be reached from there.
    pub(super) fn grow(&mut self, base: &Growing, node: u32, parent: u32) {
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
    pub(super) fn place(&self, base: &Growing, host: u32, degree: usize) -> Option<usize> {
        let edges = &base.edges[host as usize];
        if edges.len() < degree {
            return Some(edges.len());
        }
        edges.iter().take(degree).rposition(|edge| self.parent[edge.node as usize] != host)
    }
}

/// From which nodes a given one can be reached.
pub(super) struct Returning {
    returns: Vec<bool>,
    /// Where the nodes that lead to each node begin in `sources`.
    starts: Vec<u64>,
    sources: Vec<u32>,
}

impl Returning {
    pub(super) fn new(base: &Growing, entry: u32) -> Self {
        let nodes = base.edges.len();
        let edges = || {
            (0..nodes as u32).flat_map(|node| {
                base.neighbours(node)
                    .iter()
                    .take_while(|&&id| id != NOBODY)
                    .map(move |&to| (node, to as usize))
            })
        };
        let mut starts = vec![0u64; nodes + 1];
        edges().for_each(|(_, to)| starts[to + 1] += 1);
        for to in 0..nodes {
            starts[to + 1] += starts[to];
        }
        let (mut next, mut sources) = (starts.clone(), vec![0; starts[nodes] as usize]);
        for (from, to) in edges() {
            sources[next[to] as usize] = from;
            next[to] += 1;
        }
        let mut returning = Self { returns: vec![false; nodes], starts, sources };
        returning.grow(entry);
        returning
    }

    pub(super) fn holds(&self, node: u32) -> bool {
        self.returns.get(node as usize).is_some_and(|&returns| returns)
    }

    /// From `node` it can be reached now, and so it can from all that lead there.
    pub(super) fn grow(&mut self, node: u32) {
        let mut waiting = vec![node];
        self.returns[node as usize] = true;
        while let Some(node) = waiting.pop() {
            let own = self.starts[node as usize] as usize..self.starts[node as usize + 1] as usize;
            for &source in &self.sources[own] {
                if !std::mem::replace(&mut self.returns[source as usize], true) {
                    waiting.push(source);
                }
            }
        }
    }
}

/// A finished graph.
pub(super) struct Layers {
    /// Layers above layer 0, the topmost first: members, and the neighbours of each by node.
    pub(super) upper: Vec<(Vec<u32>, Growing)>,
    /// Layer 0.
    pub(super) base: Growing,
    /// The node where searches begin; the first member of the topmost layer.
    pub(super) first: u32,
}

/// The section: layers in flat arrays.
pub(super) fn frozen(layers: &Layers, settings: &GraphSettings, copies: &[Copied]) -> Vec<u8> {
    let Layers { upper, base, first } = layers;
    let nodes = base.edges.len();
    let degree = settings.degree as usize;
    let mut header: GraphHeader = bytemuck::Zeroable::zeroed();
    header.nodes = nodes as u32;
    header.degree = degree as u32;
    header.upper_degree = UPPER_DEGREE;
    header.layers = upper.len() as u32;
    header.ef_construction = settings.ef_construction;
    header.target_recall = settings.target_recall;
    header.copies = copies.len() as u32;
    header.entry = if upper.is_empty() { *first } else { 0 };
    let mut arrays: Vec<u32> = Vec::with_capacity(nodes * degree);
    for node in 0..nodes as u32 {
        arrays.extend(base.neighbours(node).iter().take(degree));
    }
    for &[node, copy] in copies {
        arrays[copy as usize * degree] = node;
    }
    let mut below: Option<Vec<u32>> = None;
    for (layer, (members, grown)) in upper.iter().rev().enumerate() {
        let mut slot_of = vec![NOBODY; nodes];
        for (slot, &node) in (0..).zip(members) {
            slot_of[node as usize] = slot;
        }
        let slot = |node: u32| slot_of.get(node as usize).copied().unwrap_or(NOBODY);
        header.layer_nodes[layer] = members.len() as u32;
        arrays.extend(members);
        match &below {
            Some(below) => arrays.extend(members.iter().map(|&node| below[node as usize])),
            None => arrays.extend(members),
        }
        for &node in members {
            arrays.extend(grown.neighbours(node).iter().take(UPPER_DEGREE as usize).map(|&node| slot(node)));
        }
        below = Some(slot_of);
    }
    arrays.extend(copies.as_flattened());
    let mut section = bytemuck::bytes_of(&header).to_vec();
    section.extend_from_slice(bytemuck::must_cast_slice(&arrays));
    section
}

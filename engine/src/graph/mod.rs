//! The graph of a snapshot: Hierarchical Navigable Small World (Malkov and Yashunin, 2016), frozen into flat arrays
//! that are searched in place.
//!
//! Layer 0 has a fixed number of places a node, so that a node's neighbours lie in whole cache lines at a place that
//! follows from its number. The layers above hold few nodes; there, neighbours are named by their slot in the layer.

pub(crate) mod build;
pub(crate) mod copies;
mod layer;
pub(crate) mod recall;
#[cfg(feature = "hnsw_rs")]
mod reference;
pub(crate) mod search;
pub(crate) mod settings;

use bytemuck::{Pod, Zeroable};

use copies::Copied;

/// A place without a neighbour; the ones behind it are empty too.
pub(crate) const NOBODY: u32 = u32::MAX;
/// Most layers above layer 0.
pub(crate) const MAX_LAYERS: usize = 16;
/// Most points of a recall curve.
pub(crate) const CURVE_POINTS: usize = 16;

/// First bytes of the graph section.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct GraphHeader {
    /// Nodes in layer 0: one a passage.
    pub(crate) nodes: u32,
    /// Places a node in layer 0.
    pub(crate) degree: u32,
    /// Places a node in the layers above.
    pub(crate) upper_degree: u32,
    /// Layers above layer 0.
    pub(crate) layers: u32,
    /// Where a search begins: a slot of the topmost layer, or a node where there is only layer 0.
    pub(crate) entry: u32,
    /// Candidates that were kept for each node while building.
    pub(crate) ef_construction: u32,
    /// The smallest `ef_search` that met the target, or 0 where none was found.
    pub(crate) ef_search: u32,
    /// Recall@10 that was aimed at.
    pub(crate) target_recall: f32,
    /// Points of the curve that are set.
    pub(crate) curve_points: u32,
    /// Rows of the snapshot that the curve was measured on.
    pub(crate) curve_queries: u32,
    /// Questions from outside that it was measured on besides.
    pub(crate) curve_questions: u32,
    /// Passages that are not in the graph, since an earlier one has the same vector.
    pub(crate) copies: u32,
    /// Zero.
    pub(crate) zero: [u32; 4],
    /// `ef_search` of each point of the curve.
    pub(crate) curve_ef: [u32; CURVE_POINTS],
    /// Recall@10 at each point.
    pub(crate) curve_recall: [f32; CURVE_POINTS],
    /// Nodes of each layer above layer 0, the lowest first.
    pub(crate) layer_nodes: [u32; MAX_LAYERS],
}

/// One layer above layer 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layer<'a> {
    /// The node of each slot.
    pub(crate) nodes: &'a [u32],
    /// The slot (in layer 0: the node) that each slot has in the layer below.
    pub(crate) down: &'a [u32],
    /// Neighbours of each slot, as slots of this layer.
    pub(crate) neighbours: &'a [u32],
}

/// A graph, read in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Graph<'a> {
    pub(crate) header: &'a GraphHeader,
    /// Neighbours of each node in layer 0.
    pub(crate) base: &'a [u32],
    /// What lies behind layer 0.
    upper: &'a [u32],
    /// Copies, each behind the node that stands for it; ascending.
    copies: &'a [Copied],
}

impl<'a> Graph<'a> {
    /// Takes a section apart; `None` where its sizes contradict the counts. Costs nothing that grows with the rows.
    pub(crate) fn parse(section: &'a [u8], passages: u32) -> Option<Self> {
        let (header, rest) = section.split_at_checked(size_of::<GraphHeader>())?;
        let header: &GraphHeader = bytemuck::try_from_bytes(header).ok()?;
        let rest: &[u32] = bytemuck::try_cast_slice(rest).ok()?;
        if header.nodes != passages || header.layers as usize > MAX_LAYERS || header.zero != [0; 4] {
            return None;
        }
        let (base, rest) =
            rest.split_at_checked((header.nodes as usize).checked_mul(header.degree as usize)?)?;
        let per_node = header.upper_degree as usize + 2;
        let nodes: usize = header.layer_nodes.iter().map(|&nodes| nodes as usize).sum();
        let beyond = header.layer_nodes.get(header.layers as usize..).unwrap_or_default();
        let (upper, copies) = rest.split_at_checked(nodes.checked_mul(per_node)?)?;
        let (copies, rest) = copies.as_chunks();
        let sized = copies.len() == header.copies as usize
            && rest.is_empty()
            && beyond.iter().all(|&nodes| nodes == 0)
            && header.curve_points as usize <= CURVE_POINTS;
        sized.then_some(Self { header, base, upper, copies })
    }

    /// Neighbours of `node` in layer 0, empty places included; nothing for a node that does not exist.
    #[inline(always)]
    pub(crate) fn neighbours(&self, node: u32) -> &'a [u32] {
        let degree = self.header.degree as usize;
        let start = node as usize * degree;
        self.base.get(start..start + degree).unwrap_or_default()
    }

    /// The points of the recall curve: `ef_search` and recall@10.
    pub(crate) fn curve(&self) -> impl Iterator<Item = (u32, f32)> {
        let header = self.header;
        header.curve_ef.into_iter().zip(header.curve_recall).take(header.curve_points as usize)
    }

    /// About which share of its nodes a filter lets through, 0 to 1, that lets through `among` passages, `some` of them: many
    /// may be copies of a few.
    pub(crate) fn share(&self, among: u64, some: impl Iterator<Item = u32>) -> f64 {
        let nodes = f64::from(self.header.nodes.saturating_sub(self.header.copies).max(1));
        let own = match self.copies.is_empty() {
            true => 1.0,
            false => {
                let mut some: Vec<u32> = some.map(|passage| self.stands_for(passage)).collect();
                let passages = some.len().max(1) as f64;
                some.sort_unstable();
                some.dedup();
                some.len() as f64 / passages
            }
        };
        (among as f64 * own / nodes).min(1.0)
    }

    /// All copies, ascending.
    pub(crate) fn copies(&self) -> &'a [Copied] {
        self.copies
    }

    /// The copies of `node`, ascending.
    #[inline]
    pub(crate) fn copies_of(&self, node: u32) -> &'a [Copied] {
        if self.copies.is_empty() {
            return &[];
        }
        let start = self.copies.partition_point(|&[of, _]| of < node);
        let own = self.copies.get(start..).unwrap_or_default();
        &own[..own.partition_point(|&[of, _]| of == node)]
    }

    /// The node that stands for passage `node` in the graph: itself, unless it is a copy.
    pub(crate) fn stands_for(&self, node: u32) -> u32 {
        match *self.neighbours(node) {
            // A copy names it in its first place, where a node names a neighbour.
            [first, NOBODY, ..] | [first]
                if self.copies_of(first).binary_search_by_key(&node, |&[_, copy]| copy).is_ok() =>
            {
                first
            }
            _ => node,
        }
    }

    /// The layers above layer 0, the topmost first.
    pub(crate) fn layers(&self) -> impl Iterator<Item = Layer<'a>> {
        let per_node = self.header.upper_degree as usize + 2;
        let count = self.header.layers as usize;
        let mut end = self.upper.len();
        let upper = self.upper;
        self.header.layer_nodes.iter().take(count).rev().map(move |&nodes| {
            let nodes = nodes as usize;
            let start = end.saturating_sub(nodes * per_node);
            let layer = upper.get(start..end).unwrap_or_default();
            end = start;
            let (own, rest) = layer.split_at(nodes.min(layer.len()));
            let (down, neighbours) = rest.split_at(nodes.min(rest.len()));
            Layer { nodes: own, down, neighbours }
        })
    }

    /// Reads all of the graph: `Err` says what contradicts what. Every node must be reachable from where a search
    /// begins, or some row could never be found.
    pub(crate) fn check(&self) -> Result<(), String> {
        let header = self.header;
        let nodes = header.nodes;
        if nodes == 0 {
            return Err("a graph without nodes".into());
        }
        self.check_places(self.base, header.degree as usize, nodes, "layer 0")?;
        let layers: Vec<Layer<'_>> = self.layers().collect();
        let mut below = nodes;
        for (number, layer) in layers.iter().rev().enumerate() {
            let name = format!("layer {}", number + 1);
            let slots = layer.nodes.len() as u32;
            self.check_places(layer.neighbours, header.upper_degree as usize, slots, &name)?;
            let lower = number.checked_sub(1).and_then(|lower| layers.iter().rev().nth(lower));
            for (&node, &down) in layer.nodes.iter().zip(layer.down) {
                let there = lower.map_or(Some(down), |lower| lower.nodes.get(down as usize).copied());
                if node >= nodes || down >= below || there != Some(node) {
                    return Err(format!("{name} says that node {node} stands at {down} in the layer below"));
                }
            }
            below = slots;
        }
        if header.entry >= below {
            return Err(format!("a search would begin at {} of {below}", header.entry));
        }
        if let Some(fault) = copies::fault(self.copies, nodes) {
            return Err(fault);
        }
        let entry = layers.first().and_then(|top| top.nodes.get(header.entry as usize)).copied();
        let reached = reachable(nodes, entry.unwrap_or(header.entry), |node| self.neighbours(node));
        let is_copy = copies::marked(self.copies, nodes as usize);
        for (node, (reached, is_copy)) in (0..).zip(reached.into_iter().zip(is_copy)) {
            // Whoever reaches a node has its copies; nothing leads to them besides.
            if reached == is_copy || (is_copy && self.stands_for(node) == node) {
                return Err(format!("node {node} cannot be reached, or is a copy and can"));
            }
        }
        Ok(())
    }

    fn check_places(&self, places: &[u32], degree: usize, nodes: u32, name: &str) -> Result<(), String> {
        if degree == 0 {
            return if places.is_empty() { Ok(()) } else { Err(format!("{name} has no places a node")) };
        }
        for (node, places) in places.chunks_exact(degree).enumerate() {
            let filled = places.iter().position(|&id| id == NOBODY).unwrap_or(degree);
            let (own, rest) = places.split_at(filled);
            let sound = own.iter().all(|&id| id < nodes && id as usize != node)
                && rest.iter().all(|&id| id == NOBODY);
            if !sound {
                return Err(format!("{name}: a neighbour of node {node} does not exist"));
            }
        }
        Ok(())
    }
}

/// Which of `nodes` nodes can be reached from `entry`.
pub(crate) fn reachable<'a>(nodes: u32, entry: u32, neighbours: impl Fn(u32) -> &'a [u32]) -> Vec<bool> {
    let mut reached = vec![false; nodes as usize];
    let mut waiting = Vec::new();
    let mut meet = |waiting: &mut Vec<u32>, node: u32| {
        if let Some(seen) = reached.get_mut(node as usize)
            && !std::mem::replace(seen, true)
        {
            waiting.push(node);
        }
    };
    meet(&mut waiting, entry);
    while let Some(node) = waiting.pop() {
        for &node in neighbours(node).iter().take_while(|&&id| id != NOBODY) {
            meet(&mut waiting, node);
        }
    }
    reached
}

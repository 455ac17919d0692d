//! The graph as the crate `hnsw_rs` builds it: the reference that the native builder must beat. The only file that names
//! it. Its own search, dump and map are not used: edges are copied out, and what it leaves unreachable is connected.

use hnsw_rs::anndists::dist::Distance;
use hnsw_rs::hnsw::Hnsw;
use rayon::prelude::*;

use super::MAX_LAYERS;
use super::layer::{Edge, Growing, Layers};
use super::settings::{GraphSettings, UPPER_DEGREE};
use crate::kernel::dot;
use crate::scan::Vectors;

/// One minus the cosine of unit vectors.
struct Cosine;

impl Distance<f32> for Cosine {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        (1.0 - dot(a, b)).max(0.0)
    }
}

pub(super) fn layers(of: &Vectors<'_>, settings: &GraphSettings) -> Layers {
    let all = of.vectors.owned(0..of.vectors.len());
    let rows: Vec<(&[f32], usize)> = all.chunks_exact(of.dimensions).zip(0..).collect();
    let nodes = rows.len();
    let degree = settings.degree as usize;
    // Its layer 0 has twice as many connections as it is told; more than 256 of them it does not take.
    let connections = (degree / 2).clamp(1, 256);
    let graph = Hnsw::new(connections, nodes, MAX_LAYERS, settings.ef_construction as usize, Cosine);
    // Its parallel insertion can leave the first points without each other, so they go one by one.
    let (first, rest) = rows.split_at(nodes.min(1_000));
    first.iter().for_each(|&row| graph.insert_slice(row));
    rest.par_iter().for_each(|&row| graph.insert_slice(row));

    let points: Vec<_> = (0..=usize::from(graph.get_max_level_observed()))
        .flat_map(|layer| graph.get_point_indexation().get_layer_iterator(layer))
        .collect();
    let mut levels = vec![0u8; nodes];
    for point in &points {
        levels[point.get_origin_id()] = point.get_point_id().0;
    }
    let top = usize::from(levels.iter().copied().max().unwrap_or(0));
    let mut order: Vec<u32> = (0..nodes as u32).collect();
    order.sort_by_key(|&node| (std::cmp::Reverse(levels[node as usize]), node));
    let grown = |layer: usize, places: usize| {
        let mut grown = Growing::new(nodes, places);
        for point in &points {
            let (node, neighbours) = (point.get_origin_id(), point.get_neighborhood_id());
            let own = neighbours.get(layer).map(Vec::as_slice).unwrap_or_default();
            // It also links points into layers in which they do not stand.
            let own = own.iter().filter(|other| {
                other.d_id != node && usize::from(levels[other.d_id].min(levels[node])) >= layer
            });
            let edges: Vec<Edge> =
                own.take(places).map(|other| Edge { node: other.d_id as u32, score: 0 }).collect();
            grown.set(node as u32, edges);
        }
        grown
    };
    let members = |layer: usize| -> Vec<u32> {
        order.iter().copied().take_while(|&node| usize::from(levels[node as usize]) >= layer).collect()
    };
    let upper = (1..=top).rev().map(|layer| (members(layer), grown(layer, UPPER_DEGREE as usize)));
    let upper = upper.filter(|(members, _)| members.len() > 1).collect();
    Layers { upper, base: grown(0, degree), first: order.first().copied().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::super::settings::{GraphBuilder, GraphSettings};
    use crate::{Draft, Embedding, Identity, Index, Passage, Plan, Provenance, Query, Row};

    #[test]
    fn what_hnsw_rs_built_is_searched_in_place_and_every_row_can_be_reached() {
        let identity = || Identity::new("test", "waves", 16);
        let vector = |number: usize| -> Vec<f32> {
            let wave = |at: usize| {
                ((number * (at + 3)) as f32 * 0.37).sin() + if at == number % 16 { 2.0 } else { 0.0 }
            };
            let vector: Vec<f32> = (0..16).map(wave).collect();
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            vector.into_iter().map(|x| x / length).collect()
        };
        let mut draft = Draft::new(identity());
        draft.set_graph(Some(GraphSettings { builder: GraphBuilder::HnswRs, ..GraphSettings::default() }));
        for number in 0..2_000 {
            let row = Row { id: number.to_string(), ..Row::default() };
            draft.push(&row, &[Passage::whole(&row, &vector(number))]).expect("a sound row");
        }
        let bytes = draft.finish(Provenance::default()).expect("a draft").to_bytes();
        let index = Index::from_slice(&bytes).expect("a snapshot");
        index.verify().expect("sound: every row can be reached");
        let found = |number: usize, plan| -> Vec<u32> {
            let question = Embedding::new(identity(), vector(number));
            let hits = index.search(&Query::new(&question).plan(plan)).expect("a search");
            hits.iter().map(|hit| hit.row).collect()
        };
        let met: usize = (0..2_000)
            .step_by(40)
            .map(|number| {
                let truth = found(number, Plan::Exact);
                let walked = found(number, Plan::Graph { ef_search: 200 });
                walked.iter().filter(|row| truth.contains(row)).count()
            })
            .sum();
        assert!(met > 475, "{met} of 500");
    }
}

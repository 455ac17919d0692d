//! The recall that a snapshot promises: measured on the snapshot itself when it is built, against exact search.

use rayon::prelude::*;

use super::{CURVE_POINTS, Graph, GraphHeader};
use crate::codes::Codes;
use crate::kernel::Kernel;
use crate::scan::Vectors;
use crate::search::{Scratch, Search};
use crate::vector::{norm, scale_into};

/// Neighbours that count: recall@10.
const TOP: usize = 10;
/// Questions that are asked.
const QUERIES: usize = 400;
/// Values of `ef_search` that are tried, ascending.
const EF_SEARCH: [u32; CURVE_POINTS] = [10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384, 512];
/// How far a question lies from the row that it is made of, as a share of the row's length.
const STRAY: f32 = 0.5;
/// Real questions lie where no row does, and are harder than any made of rows: this much of the recall is held back.
const HELD_BACK: f32 = 0.002;

/// What a snapshot says about its own recall.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Promise {
    /// Recall@10 that was aimed at.
    pub target: f32,
    /// The smallest `ef_search` that met it; `None` where none that was tried did.
    pub ef_search: Option<u32>,
    /// `ef_search` and the recall@10 that is promised for it.
    pub curve: Vec<(u32, f32)>,
    /// Questions that it was measured on: rows of the snapshot, mixed with others and shaken.
    pub queries: u32,
}

impl Promise {
    pub(crate) fn of(header: &GraphHeader) -> Self {
        let points = header.curve_ef.iter().copied().zip(header.curve_recall);
        Self {
            target: header.target_recall,
            ef_search: (header.ef_search != 0).then_some(header.ef_search),
            curve: points.take(header.curve_points as usize).collect(),
            queries: header.curve_queries,
        }
    }
}

/// Measures the curve and writes it, with the choice that follows from it, into the header of a finished graph.
pub(crate) fn promise(of: Vectors<'_>, codes: Codes<'_>, section: &mut [u8]) {
    let Some(graph) = Graph::parse(section, codes.len() as u32) else { return };
    let header = measure(of, codes, &graph);
    section[..size_of::<GraphHeader>()].copy_from_slice(bytemuck::bytes_of(&header));
}

/// The header of `graph` with the curve and the choice as they are measured now: the same each time.
pub(crate) fn measure(of: Vectors<'_>, codes: Codes<'_>, graph: &Graph<'_>) -> GraphHeader {
    let questions = QUERIES.min(codes.len());
    let hits: Vec<[u32; CURVE_POINTS]> = (0..questions)
        .into_par_iter()
        .map_init(Scratch::default, |scratch, number| ask(&of, codes, graph, number, questions, scratch))
        .collect();
    let asked = (questions * TOP.min(codes.len())).max(1) as f32;
    let mut header = GraphHeader {
        ef_search: 0,
        curve_points: 0,
        curve_queries: questions as u32,
        curve_ef: [0; CURVE_POINTS],
        curve_recall: [0.0; CURVE_POINTS],
        ..*graph.header
    };
    for (point, &ef_search) in EF_SEARCH.iter().enumerate() {
        let met: u32 = hits.iter().map(|hits| hits[point]).sum();
        let recall = (met as f32 / asked - HELD_BACK).max(0.0);
        header.curve_ef[point] = ef_search;
        header.curve_recall[point] = recall;
        header.curve_points = point as u32 + 1;
        if recall >= header.target_recall {
            header.ef_search = ef_search;
            break;
        }
    }
    header
}

/// How many of the true neighbours of question `number` each `ef_search` finds.
fn ask(
    of: &Vectors<'_>,
    codes: Codes<'_>,
    graph: &Graph<'_>,
    number: usize,
    questions: usize,
    scratch: &mut Scratch,
) -> [u32; CURVE_POINTS] {
    // Rows spread over the whole snapshot; the other one comes from somewhere else.
    let row = number * codes.len() / questions;
    let other = (row + codes.len() / 2 + number * 7 + 1) % codes.len();
    let (row, other) = (of.vector(row as u32), of.vector(other as u32));
    let question: Vec<f32> = row.iter().zip(other).map(|(row, other)| row + STRAY * other).collect();
    let Ok(length) = norm(&question) else { return [TOP.min(codes.len()) as u32; CURVE_POINTS] };
    scale_into(&question, length, &mut scratch.vector);
    let Scratch { vector, coded, .. } = scratch;
    coded.set(vector, &codes);
    let search = Search { kernel: Kernel::detect(), of: *of, codes, top: TOP, allowed: None };
    search.exact(scratch, "the truth");
    let truth: Vec<u32> = scratch.found.iter().map(|scored| scored.row).collect();
    EF_SEARCH.map(|ef_search| {
        search.graph(scratch, graph, ef_search as usize);
        scratch.found.iter().filter(|scored| truth.contains(&scored.row)).count() as u32
    })
}

//! The recall that a snapshot promises: measured on the snapshot itself when it is built, against exact search.

use rayon::prelude::*;

use super::{CURVE_POINTS, Graph, GraphHeader};
use crate::codes::Codes;
use crate::kernel::Kernel;
use crate::scan::Vectors;
use crate::search::{Scratch, Search, exact_together};
use crate::topk::Scored;
use crate::vector::{norm, scaled};
use crate::watch::Unwatched;

/// Neighbours that count: recall@10.
const TOP: usize = 10;
/// Stands for the row that a given question was made of: none.
const NO_ROW: usize = usize::MAX;
/// Questions that are asked.
const QUERIES: usize = 400;
/// Questions whose truth is found in one pass.
const SHARED: usize = 25;
/// Values of `ef_search` that are tried, ascending.
const EF_SEARCH: [u32; CURVE_POINTS] = [10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384, 512];
/// How far a question lies from the row that it is made of, as a share of the row's length. So far that real questions are
/// found a little more often: at .5 the promise would exceed what they have by .012 at small `ef_search` (`benches`, 3072).
const STRAY: f32 = 0.55;

/// What a snapshot says about its own recall.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Promise {
    /// Recall@10 that was aimed at.
    pub target: f32,
    /// The smallest `ef_search` that met it; `None` where none that was tried did.
    pub ef_search: Option<u32>,
    /// `ef_search` and the recall@10 that is promised for it.
    pub curve: Vec<(u32, f32)>,
    /// Rows of the snapshot, each mixed with another and left out of its own answer, that it was measured on.
    pub queries: u32,
    /// Questions that were given for it ([`crate::Draft::set_questions`]): of both recalls, the smaller one is promised.
    pub questions: u32,
}

impl Promise {
    /// The recall@10 that searches have: at the `ef_search` that met the target, or the best that was measured.
    pub fn recall(&self) -> f32 {
        self.curve.iter().map(|point| point.1).fold(0.0, f32::max)
    }

    pub(crate) fn of(header: &GraphHeader) -> Self {
        let points = header.curve_ef.iter().copied().zip(header.curve_recall);
        Self {
            target: header.target_recall,
            ef_search: (header.ef_search != 0).then_some(header.ef_search),
            curve: points.take(header.curve_points as usize).collect(),
            queries: header.curve_queries,
            questions: header.curve_questions,
        }
    }
}

/// Measures the curve and writes it, with the choice that follows from it, into the header of a finished graph.
pub(crate) fn promise(of: Vectors<'_>, codes: Codes<'_>, questions: &[Vec<f32>], section: &mut [u8]) {
    let Some(graph) = Graph::parse(section, codes.len() as u32) else { return };
    let header = measure(of, codes, &graph, questions);
    section[..size_of::<GraphHeader>()].copy_from_slice(bytemuck::bytes_of(&header));
}

/// The header of `graph` with the curve and the choice as they are measured now: the same each time for the same unit vectors
/// `questions`.
pub(crate) fn measure(
    of: Vectors<'_>,
    codes: Codes<'_>,
    graph: &Graph<'_>,
    questions: &[Vec<f32>],
) -> GraphHeader {
    let kernel = Kernel::detect();
    let rows = QUERIES.min(codes.len());
    let rows = (0..rows).filter_map(|number| mixed(&of, &codes, number, rows));
    let truths = |asked: Vec<(usize, Vec<f32>)>| {
        let scratch = |vector: Vec<f32>| {
            let mut scratch = Scratch::default();
            scratch.coded.set(&vector, &codes);
            scratch.vector = vector;
            scratch
        };
        let mut asked: Vec<_> =
            asked.into_iter().map(|(left_out, vector)| (left_out, TOP + 1, scratch(vector))).collect();
        asked.par_chunks_mut(SHARED).for_each(|asked| exact_together(kernel, &of, &codes, asked));
        asked
    };
    let questions = questions.iter().map(|question| (NO_ROW, question.clone()));
    let (rows, questions) = (truths(rows.collect()), truths(questions.collect()));
    let among = codes.len() as u64;
    let search = Search { kernel, of, codes, top: TOP + 1, allowed: None, among, share: 1.0, threads: false };
    let mut header = GraphHeader {
        ef_search: 0,
        curve_points: 0,
        curve_queries: rows.len() as u32,
        curve_questions: questions.len() as u32,
        curve_ef: [0; CURVE_POINTS],
        curve_recall: [0.0; CURVE_POINTS],
        ..*graph.header
    };
    for (point, &ef_search) in EF_SEARCH.iter().enumerate() {
        let met = |scratch: &mut Scratch, (left_out, _, asked): &(usize, usize, Scratch)| {
            scratch.vector.clone_from(&asked.vector);
            scratch.coded.set(&asked.vector, &codes);
            // Nobody can cancel it, and without a filter the graph always answers.
            let _ = search.graph(scratch, graph, ef_search as usize, "graph", &mut Unwatched);
            let is_true = |row: u32| counted(&asked.found, *left_out).any(|scored| scored.row == row);
            counted(&scratch.found, *left_out).filter(|scored| is_true(scored.row)).count()
        };
        let recall = |asked: &[(usize, usize, Scratch)]| {
            let wanted: usize =
                asked.iter().map(|(left_out, _, asked)| counted(&asked.found, *left_out).count()).sum();
            let met: usize = asked.par_iter().map_init(Scratch::default, met).sum();
            met as f32 / wanted as f32
        };
        // Without questions that is no number, which `min` passes over.
        let recall = recall(&rows).min(recall(&questions)).max(0.0);
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

/// The best ten without the row that the question was made of: no question is answered by itself.
fn counted(found: &[Scored], left_out: usize) -> impl Iterator<Item = &Scored> {
    found.iter().filter(move |scored| scored.row as usize != left_out).take(TOP)
}

/// A row, and its vector mixed with another's from somewhere else; `None` where the two cancel out.
fn mixed(of: &Vectors<'_>, codes: &Codes<'_>, number: usize, count: usize) -> Option<(usize, Vec<f32>)> {
    let passage = number * codes.len() / count;
    let other = (passage + codes.len() / 2 + number * 7 + 1) % codes.len();
    let (mut one, mut two) = (Vec::new(), Vec::new());
    let (own, other) = (of.vector(passage as u32, &mut one), of.vector(other as u32, &mut two));
    let mixed: Vec<f32> = own.iter().zip(other).map(|(own, other)| own + STRAY * other).collect();
    Some((of.row(passage as u32) as usize, scaled(&mixed, norm(&mixed).ok()?)))
}

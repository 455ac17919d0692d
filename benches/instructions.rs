//! Instructions of the hot paths, counted under valgrind and held against a budget. The count is the same on a busy
//! machine; `benches/README.md` says how to read and to update it. Valgrind shows a program an AVX2 machine.
//!
//! ```text
//! cargo bench -p karute-benches --bench instructions --features instructions
//! ```

#![expect(clippy::expect_used, reason = "a bench that cannot go on should say where")]
#![expect(missing_docs, reason = "the macros of gungraun write items without them")]

use std::hint::black_box;

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use karute_engine::{
    Draft, Embedding, Facet, Filter, GraphSettings, Hit, Identity, Index, Passage, Plan, Provenance, Query,
    Row, Scratch,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const ROWS: usize = 4_000;
const DIMENSIONS: usize = 128;

/// What each path may cost: measured, and three in a hundred more.
const EXACT: u64 = 272_600;
const BATCH: u64 = 4_507_457;
const GRAPH: u64 = 124_241;
const FILTERED: u64 = 229_211;
const OPEN: u64 = 468_866;

struct Prepared {
    bytes: Vec<u8>,
    index: Index,
    questions: Vec<Embedding>,
    filter: Filter,
    scratch: Scratch,
    hits: Vec<Hit>,
}

/// A snapshot of clustered rows with a graph, and a scratch that has served such a query before.
fn prepare(plan: Plan) -> Prepared {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut direction =
        || -> Vec<f32> { (0..DIMENSIONS).map(|_| random.random_range(-1.0f32..1.0)).collect() };
    let centres: Vec<Vec<f32>> = (0..ROWS / 50).map(|_| direction()).collect();
    let mut near = |number: usize| -> Vec<f32> {
        let vector: Vec<f32> = centres[number % centres.len()]
            .iter()
            .zip(direction())
            .map(|(centre, stray)| centre + 0.6 * stray)
            .collect();
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.into_iter().map(|x| x / norm).collect()
    };
    let identity = Identity::new("bench", "clustered", DIMENSIONS as u32);
    let mut draft = Draft::new(identity.clone());
    draft.set_graph(Some(GraphSettings { ef_construction: 40, ..GraphSettings::default() }));
    for number in 0..ROWS {
        let row = Row { id: number.to_string(), client_id: format!("CL-{}", number % 3), ..Row::default() };
        draft.push(&row, &[Passage::whole(&row, &near(number))]).expect("a sound row");
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    let bytes = pool.install(|| draft.finish(Provenance::default())).expect("a draft").to_bytes();
    let index = Index::from_slice(&bytes).expect("a snapshot");
    let questions: Vec<Embedding> =
        (0..16).map(|number| Embedding::new(identity.clone(), near(number * 7))).collect();
    let filter = Filter::everything().only(Facet::Client, ["CL-1", "CL-2"]);
    let (mut scratch, mut hits) = (Scratch::default(), Vec::new());
    for question in &questions {
        index.search_into(&Query::new(question).plan(plan), &mut scratch, &mut hits).expect("a search");
    }
    Prepared { bytes, index, questions, filter, scratch, hits }
}

fn budget(instructions: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions + instructions * 3 / 100)]));
    config
}

const WALK: Plan = Plan::Graph { ef_search: 64 };

fn ask(prepared: &mut Prepared, plan: Plan, filtered: bool) -> usize {
    let Prepared { index, questions, filter, scratch, hits, .. } = prepared;
    let mut query = Query::new(&questions[3]).plan(plan);
    if filtered {
        query = query.within(filter);
    }
    index.search_into(black_box(&query), scratch, hits).expect("a search");
    hits.len()
}

#[library_benchmark(config = budget(EXACT))]
#[bench::rows_4000(prepare(Plan::Exact))]
fn exact(mut prepared: Prepared) -> (usize, Prepared) {
    (ask(&mut prepared, Plan::Exact, false), prepared)
}

#[library_benchmark(config = budget(BATCH))]
#[bench::questions_16(prepare(Plan::Exact))]
fn exact_batch(prepared: Prepared) -> (usize, Prepared) {
    let queries: Vec<Query<'_>> =
        prepared.questions.iter().map(|question| Query::new(question).plan(Plan::Exact)).collect();
    let found = prepared.index.search_batch(black_box(&queries)).expect("searches").len();
    (found, prepared)
}

#[library_benchmark(config = budget(GRAPH))]
#[bench::ef_64(prepare(WALK))]
fn graph(mut prepared: Prepared) -> (usize, Prepared) {
    (ask(&mut prepared, WALK, false), prepared)
}

#[library_benchmark(config = budget(FILTERED))]
#[bench::two_of_three(prepare(WALK))]
fn filtered(mut prepared: Prepared) -> (usize, Prepared) {
    (ask(&mut prepared, WALK, true), prepared)
}

#[library_benchmark(config = budget(OPEN))]
#[bench::rows_4000(prepare(Plan::Exact))]
fn open(prepared: Prepared) -> (u32, Prepared) {
    (Index::from_slice(black_box(&prepared.bytes)).expect("a snapshot").len(), prepared)
}

library_benchmark_group!(name = engine, benchmarks = [exact, exact_batch, graph, filtered, open]);
main!(library_benchmark_groups = engine);

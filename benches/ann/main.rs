//! karute on a folder of vectors, as `benches/peers` measures other engines: recall@10 against queries a second, time to
//! build, time to open and answer, size.
//!
//! ```text
//! cargo run --release -p karute-benches --bin ann -- FOLDER --threads 2 --json FILE
//! ```
//!
//! `FOLDER` holds `base.npy` (N x D f32, unit rows), `query.npy` (Q x D) and `gt.npy` (Q x at least 10, i32: the exact
//! neighbours by inner product). Searches run on one thread; queries a second are the best of three passes.

#![expect(clippy::expect_used, reason = "a bench that cannot go on should say where")]

mod baseline;
#[path = "../cosine.rs"]
mod cosine;
mod filters;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use karute_engine::{
    Counters, Draft, Embedding, GraphBuilder, GraphSettings, Guard, Hit, Identity, Index, Passage, Plan,
    Provenance, Query, Row, Scratch, Sealed, Store,
};
use serde_json::{Value, json};

/// Neighbours that count.
const TOP: usize = 10;
/// Values of `ef_search` that are measured.
const EF_SEARCH: [usize; 13] = [10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384];
const PASSES: usize = 3;
/// Queries that share a pass.
const BATCH: usize = 64;

#[derive(Parser)]
struct Arguments {
    /// Folder with base.npy, query.npy and gt.npy.
    folder: PathBuf,
    /// Threads that build.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Leave out hnsw_rs, whose build takes many times as long.
    #[arg(long)]
    native_only: bool,
    /// Measure filters from 90 % to 0.01 % of the rows as well.
    #[arg(long)]
    filters: bool,
    /// Where the figures go as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Neighbours a node in layer 0.
    #[arg(long, default_value_t = GraphSettings::default().degree)]
    degree: u32,
    /// Candidates while building.
    #[arg(long, default_value_t = GraphSettings::default().ef_construction)]
    ef_construction: u32,
    /// Ratio of squared distances by which a neighbour makes others dispensable.
    #[arg(long, default_value_t = GraphSettings::default().alpha)]
    alpha: f32,
}

/// A matrix as NumPy writes it: little-endian, in rows.
struct Matrix<T> {
    columns: usize,
    values: Vec<T>,
}

impl<T: Copy> Matrix<T> {
    fn read(path: &Path, kind: &str, value: impl Fn([u8; 4]) -> T) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let header_length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = std::str::from_utf8(&bytes[10..10 + header_length]).expect("a NumPy header");
        assert!(header.contains(kind) && header.contains("'fortran_order': False"), "{header}");
        let shape = header.split(['(', ')']).nth(1).expect("a shape");
        let columns = shape.split(',').nth(1).expect("two axes").trim().parse().expect("a number");
        let values = bytes[10 + header_length..].as_chunks().0.iter().map(|&bytes| value(bytes)).collect();
        Self { columns, values }
    }

    fn rows(&self) -> std::slice::ChunksExact<'_, T> {
        self.values.chunks_exact(self.columns)
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// One pass of all queries; gives their seconds, recall and what they cost.
fn pass(index: &Index, queries: &[Embedding], truth: &Matrix<i32>, plan: Plan) -> (f64, f64, Counters) {
    let (mut scratch, mut hits): (Scratch, Vec<Hit>) = Default::default();
    let (mut found, mut counters) = (0usize, Counters::default());
    let mut seconds = 0.0;
    for (query, truth) in queries.iter().zip(truth.rows()) {
        let began = Instant::now();
        let explained = index
            .search_into(&Query::new(query).top(TOP).plan(plan), &mut scratch, &mut hits)
            .expect("a sound query");
        seconds += began.elapsed().as_secs_f64();
        found += hits.iter().filter(|hit| truth[..TOP].contains(&(hit.row as i32))).count();
        counters.distances += explained.counters.distances;
        counters.hops += explained.counters.hops;
        counters.rescored += explained.counters.rescored;
        counters.bytes += explained.counters.bytes;
    }
    (seconds, found as f64 / (queries.len() * TOP) as f64, counters)
}

/// Queries a second on `threads` threads, each with its share.
fn throughput(index: &Index, queries: &[Embedding], plan: Plan, threads: usize) -> f64 {
    let work = |share: &[Embedding]| {
        let (mut scratch, mut hits) = (Scratch::default(), Vec::new());
        for query in share {
            index
                .search_into(&Query::new(query).top(TOP).plan(plan), &mut scratch, &mut hits)
                .expect("a sound query");
        }
    };
    let once = || {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for share in queries.chunks(queries.len().div_ceil(threads)) {
                scope.spawn(move || work(share));
            }
        });
        queries.len() as f64 / began.elapsed().as_secs_f64()
    };
    (0..PASSES).map(|_| once()).fold(0.0, f64::max)
}

/// What is measured on: vectors, questions, and the truth.
struct Data {
    base: Matrix<f32>,
    queries: Vec<Embedding>,
    truth: Matrix<i32>,
}

impl Data {
    fn read(folder: &Path) -> Self {
        let base = Matrix::read(&folder.join("base.npy"), "<f4", f32::from_le_bytes);
        let queries = Matrix::read(&folder.join("query.npy"), "<f4", f32::from_le_bytes);
        let truth = Matrix::read(&folder.join("gt.npy"), "<i4", i32::from_le_bytes);
        let identity = identity(base.columns);
        let queries = queries.rows().map(|query| Embedding::new(identity.clone(), query.to_vec())).collect();
        Self { base, queries, truth }
    }

    fn sealed(&self, settings: GraphSettings, threads: usize, tags: impl Fn(usize) -> Vec<String>) -> Sealed {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let mut draft = Draft::new(identity(self.base.columns));
        draft.set_graph(Some(settings));
        for (number, vector) in self.base.rows().enumerate() {
            let row = Row { id: number.to_string(), tags: tags(number), ..Row::default() };
            draft.push(&row, &[Passage::whole(&row, vector)]).expect("a unit vector");
        }
        pool.install(|| draft.finish(Provenance::default())).expect("a draft")
    }
}

fn identity(dimensions: usize) -> Identity {
    Identity::new("bench", "folder", dimensions as u32)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed().as_secs_f64())
}

/// Builds, publishes, opens and searches with one builder; prints the figures and gives them as JSON.
fn measure(data: &Data, settings: GraphSettings, threads: usize) -> Value {
    let Data { base, queries, truth } = data;
    let (sealed, build_s) = timed(|| data.sealed(settings, threads, |_| Vec::new()));
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path().join("store")).expect("a store");
    store.publish(&sealed, &Guard::default()).expect("published");
    drop(sealed);
    let first_answer = |query: &Embedding| {
        let index = store.current().expect("a snapshot").index;
        index.search(&Query::new(query).top(TOP)).expect("a sound query");
    };
    let opened = median(queries.iter().take(5).map(|query| timed(|| first_answer(query)).1).collect());
    let index = store.current().expect("a snapshot").index;
    println!("built in {build_s:.2} s; opened and answered in {:.3} ms", opened * 1e3);
    println!("promised: {:?}", index.promise().expect("a graph"));

    let best = |name: &str, plan: Plan| {
        let passes = (0..PASSES).map(|_| pass(&index, queries, truth, plan));
        let (seconds, recall, counters) = passes.min_by(|a, b| a.0.total_cmp(&b.0)).expect("passes");
        let per = |count: u64| count as f64 / queries.len() as f64;
        let qps = queries.len() as f64 / seconds;
        println!(
            "{name:>10}: recall@10 {recall:.4}  {qps:>8.0} queries/s  a query: {:.0} distances, {:.0} hops, {:.1} \
             rescored, {:.0} KB",
            per(counters.distances),
            per(counters.hops),
            per(counters.rescored),
            per(counters.bytes) / 1e3
        );
        (qps, recall, counters)
    };
    let point = |&ef_search: &usize| {
        let (qps, recall, counters) = best(&format!("ef {ef_search}"), Plan::Graph { ef_search });
        let (distances, bytes) =
            (counters.distances / queries.len() as u64, counters.bytes / queries.len() as u64);
        json!({ "param": ef_search, "recall": recall, "qps": qps, "distances": distances, "bytes": bytes })
    };
    let points: Vec<Value> = EF_SEARCH.iter().map(point).collect();
    let (exact_qps, exact_recall, _) = best("exact", Plan::Exact);
    let asked: Vec<Query<'_>> =
        queries.iter().map(|query| Query::new(query).top(TOP).plan(Plan::Exact)).collect();
    let spread = || {
        for query in &asked {
            index.search(&query.clone().on_all_threads()).expect("a sound query");
        }
    };
    let spread_qps = (0..PASSES).map(|_| asked.len() as f64 / timed(spread).1).fold(0.0, f64::max);
    println!("exact, each query on all threads: {spread_qps:.0} queries/s");
    let batch = || {
        for batch in asked.chunks(BATCH) {
            index.search_batch(batch).expect("sound queries");
        }
    };
    let batch_qps = (0..PASSES).map(|_| asked.len() as f64 / timed(batch).1).fold(0.0, f64::max);
    println!("exact, batches of {BATCH}: {batch_qps:.0} queries/s");
    let plan = Plan::Graph { ef_search: 64 };
    let scaling = throughput(&index, queries, plan, 2) / throughput(&index, queries, plan, 1);
    println!("two threads / one, at ef 64: {scaling:.2}");
    let sections: HashMap<&str, u64> =
        index.sections().iter().filter_map(|entry| Some((entry.section()?.name(), entry.length))).collect();
    let searched = sections.get("codes").unwrap_or(&0) + sections.get("graph").unwrap_or(&0);
    let searched = searched as f64 / f64::from(index.passages());
    println!("codes and graph: {searched:.1} bytes a vector of {} numbers", base.columns);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "build_s": build_s,
        "open_and_first_query_s": opened,
        "bytes": index.file_length(),
        "bytes_searched_per_vector": searched,
        "exact_qps": exact_qps,
        "exact_recall": exact_recall,
        "exact_all_threads_qps": spread_qps,
        "exact_batch_qps": batch_qps,
        "two_threads": scaling,
        "points": points,
    })
}

fn main() {
    let arguments = Arguments::parse();
    let data = Data::read(&arguments.folder);
    let settings = GraphSettings {
        degree: arguments.degree,
        ef_construction: arguments.ef_construction,
        alpha: arguments.alpha,
        ..GraphSettings::default()
    };
    let mut figures = serde_json::Map::new();
    println!("karute");
    figures.insert("karute".into(), measure(&data, settings, arguments.threads));
    if arguments.filters {
        println!("\nkarute under filters");
        figures.insert("karute-filters".into(), filters::measure(&data, settings, arguments.threads));
    }
    if !arguments.native_only {
        // As it is recommended: 16 connections, 200 candidates.
        let reference =
            GraphSettings { degree: 32, ef_construction: 200, builder: GraphBuilder::HnswRs, ..settings };
        println!("\nkarute over a graph that hnsw_rs built");
        figures.insert("karute-hnsw_rs".into(), measure(&data, reference, arguments.threads));
        println!("\nhnsw_rs itself");
        figures.insert("karute-none-hnsw_rs-itself".into(), baseline::measure(&data, arguments.threads));
    }
    if let Some(file) = arguments.json {
        std::fs::write(&file, Value::Object(figures).to_string()).expect("the file can be written");
    }
}

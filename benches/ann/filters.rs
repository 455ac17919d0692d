//! Filters of every selectivity: rows picked at random, rows that lie where the questions are, and rows that do not.

use karute_engine::{Facet, Filter, GraphSettings, Index, Plan, Provenance, Query, Scratch};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};

use super::{Data, TOP, median, timed};

/// Shares of the rows that a filter lets through.
const SHARES: [f64; 10] = [0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.01, 0.001, 0.0001];
const QUESTIONS: usize = 200;

pub(crate) fn measure(data: &Data, settings: GraphSettings, threads: usize) -> Value {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let rows = data.base.rows().len();
    let drawn: Vec<f64> = (0..rows).map(|_| random.random()).collect();
    // How near each row lies to what is asked on the whole.
    let mut middle = vec![0.0f32; data.base.columns];
    for query in &data.queries {
        middle.iter_mut().zip(query.vector()).for_each(|(sum, x)| *sum += x);
    }
    let mut by_nearness: Vec<(f32, usize)> = data
        .base
        .rows()
        .map(|row| row.iter().zip(&middle).map(|(a, b)| a * b).sum::<f32>())
        .zip(0..)
        .collect();
    by_nearness.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut place = vec![0; rows];
    for (at, (_, row)) in by_nearness.iter().enumerate() {
        place[*row] = at;
    }
    let tags = |row: usize| {
        let place = place[row] as f64 / rows as f64;
        let kinds = [("random", drawn[row]), ("near", place), ("far", 1.0 - place)];
        let mut tags = Vec::new();
        for (kind, at) in kinds {
            tags.extend(SHARES.iter().filter(|&&share| at < share).map(|share| format!("{kind} {share}")));
        }
        tags
    };
    let sealed = data.sealed(settings, threads, tags);
    let index = Index::from_slice(&sealed.to_bytes()).expect("a snapshot");
    assert_eq!(index.provenance(), &Provenance::default());
    let (plain, _, _) = ask(data, &index, &Filter::everything());
    println!("no filter: {:.0} microseconds", plain * 1e6);
    let mut figures = Vec::new();
    for kind in ["random", "near", "far"] {
        for share in SHARES {
            let filter = Filter::everything().only(Facet::Tag, [format!("{kind} {share}")]);
            let (seconds, recall, walked) = ask(data, &index, &filter);
            println!(
                "{kind:>6} {:>6.2} %: recall@10 {recall:.4}  {:>5.0} microseconds = {:.2} x  {:.0} % over the graph",
                share * 100.0,
                seconds * 1e6,
                seconds / plain,
                walked * 100.0
            );
            figures.push(json!({ "kind": kind, "share": share, "recall": recall, "seconds": seconds, "unfiltered": plain }));
        }
    }
    Value::Array(figures)
}

/// Median seconds of a question, recall@10 against exact search, and the share that walked the graph.
fn ask(data: &Data, index: &Index, filter: &Filter) -> (f64, f64, f64) {
    let (mut scratch, mut hits, mut truth) = (Scratch::default(), Vec::new(), Vec::new());
    let (mut times, mut met, mut wanted, mut walked) = (Vec::new(), 0, 0, 0);
    for question in data.queries.iter().take(QUESTIONS) {
        let query = Query::new(question).top(TOP).within(filter);
        let exact = query.clone().plan(Plan::Exact);
        index.search_into(&exact, &mut scratch, &mut truth).expect("a search");
        let mut answer = || index.search_into(&query, &mut scratch, &mut hits).expect("a search");
        walked += usize::from(answer().ef_search.is_some());
        times.push((0..3).map(|_| timed(&mut answer).1).fold(f64::INFINITY, f64::min));
        assert_eq!(hits.len(), truth.len(), "fewer rows than there are");
        met += hits.iter().filter(|hit| truth.iter().any(|true_hit| true_hit.row == hit.row)).count();
        wanted += truth.len();
    }
    (median(times), met as f64 / wanted as f64, walked as f64 / QUESTIONS as f64)
}

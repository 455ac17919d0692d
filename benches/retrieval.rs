//! How well questions find their passages, by words, by vectors and by both, on sets of one's own:
//!
//! ```text
//! cargo run --release -p karute-benches --bin retrieval -- --passages P.jsonl.gz --questions Q.jsonl.gz \
//!     [--vectors P.f16.npy --queries Q.f16.npy]
//! ```
//!
//! Passages: `{"id", "title"?, "text"}`, one a line; questions: `{"text", "relevant": [ids]}`. Without vectors the local
//! embedder makes them. Even questions are for tuning, odd ones for measuring. Definitions are those of trec_eval.

#![expect(clippy::expect_used, reason = "a bench that cannot go on should say where")]

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use flate2::read::MultiGzDecoder;
use karute_engine::fusion::{Fused, Fusion};
use karute_engine::lexical::tokens::counted;
use karute_engine::{
    Draft, Embedding, Identity, Index, LexicalSettings, Passage, Plan, Provenance, Query, Row, Scratch,
};
use karute_server::eval::metrics::{Measures, interval};
use karute_server::retrieve::rerank::Local;
use karute_server::retrieve::signals::{Candidate, Signals, signals};
use karute_server::retrieve::wording::Wording;
use karute_sync::lexical::Lexical;
use rayon::prelude::*;
use serde_json::Value;

#[derive(Parser)]
struct Arguments {
    /// Passages, JSON lines, perhaps packed.
    #[arg(long)]
    passages: PathBuf,
    /// Questions, JSON lines, perhaps packed.
    #[arg(long)]
    questions: PathBuf,
    /// Vectors of the passages, float16 or float32, .npy.
    #[arg(long, requires = "queries")]
    vectors: Option<PathBuf>,
    /// Vectors of the questions.
    #[arg(long)]
    queries: Option<PathBuf>,
    /// Try many settings of a part on the tuning half.
    #[arg(long)]
    tune: Option<Part>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Part {
    /// How words are weighed.
    Words,
    /// How much vectors are worth beside words.
    Mix,
    /// What the local reranker looks at.
    Rerank,
}

struct Question {
    text: String,
    relevant: HashMap<u32, f64>,
    vector: Option<Embedding>,
}

fn main() {
    let arguments = Arguments::parse();
    let passages = lines(&arguments.passages);
    let questions = lines(&arguments.questions);
    let (identity, vectors, queries) = embeddings(&arguments, &passages, &questions);
    let mut questions: Vec<Question> = questions
        .iter()
        .zip(queries)
        .map(|(line, vector)| {
            let text = line["text"].as_str().expect("a text").to_owned();
            let relevant = line["relevant"].as_array().expect("ids");
            Question {
                relevant: relevant.iter().map(|id| (id.as_u64().expect("an id") as u32, 1.0)).collect(),
                vector: vector.map(|vector| Embedding::new(identity.clone(), vector)),
                text,
            }
        })
        .collect();
    let begun = Instant::now();
    let index = build(&identity, &passages, &vectors, LexicalSettings::default());
    let section = index.sections().iter().find(|entry| entry.kind == 14).map_or(0, |entry| entry.length);
    println!(
        "{} passages, {} questions, {}; built in {:.1} s, words {:.1} MB",
        passages.len(),
        questions.len(),
        identity.model,
        begun.elapsed().as_secs_f64(),
        section as f64 / 1e6
    );
    let half: Vec<&Question> = questions.iter().step_by(2).collect();
    match arguments.tune {
        Some(Part::Words) => tune_words(&identity, &passages, &half),
        Some(Part::Mix) => tune_mix(&index, &half),
        Some(Part::Rerank) => tune_reranker(&index, &half),
        None => {}
    }
    questions = questions.into_iter().enumerate().filter(|(at, _)| at % 2 == 1).map(|(_, q)| q).collect();
    report(&index, &questions);
}

/// Rows of the mix that are reranked.
const RERANKED: usize = 50;

/// The candidates of a question with what is known of each.
fn candidates(index: &Index, question: &Question, mixed: &[Fused]) -> Vec<(u32, Signals)> {
    let rows: Vec<(u32, Row, f32)> = mixed
        .iter()
        .take(RERANKED)
        .map(|fused| (fused.row, index.row(fused.row).expect("a row"), fused.score))
        .collect();
    let known: Vec<Candidate<'_>> =
        rows.iter().map(|(_, row, score)| (row, Arc::new(Wording::of(row)), *score)).collect();
    rows.iter().map(|(row, ..)| *row).zip(signals(&question.text, &[], &known)).collect()
}

/// The rows in the order of the local reranker.
fn reranked(local: Local, candidates: &[(u32, Signals)]) -> Vec<u32> {
    let mut rows: Vec<(f32, u32)> =
        candidates.iter().map(|(row, signals)| (local.score(signals), *row)).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Every weight of the local reranker.
fn tune_reranker(index: &Index, half: &[&Question]) {
    let mix = |q: &Question| Fusion::default().mix(&dense(index, q), &words(index, q));
    let all: Vec<_> = half.par_iter().map(|q| candidates(index, q, &mix(q))).collect();
    for wording in [0.0, 0.2, 0.4, 0.6, 0.8] {
        for title in [0.0, 0.1, 0.2, 0.3] {
            for near in [0.0, 0.1, 0.2, 0.3] {
                let local = Local { wording, title, near };
                let runs: Vec<Vec<u32>> = all.par_iter().map(|known| reranked(local, known)).collect();
                let scores = Measures::mean(&measured(&runs, half));
                println!(
                    "tune rerank wording {wording} title {title} near {near}: MRR {:.4} nDCG {:.4}",
                    scores.mrr_10, scores.ndcg_10
                );
            }
        }
    }
}

/// Every setting of the words.
fn tune_words(identity: &Identity, passages: &[Value], half: &[&Question]) {
    for k1 in [0.6, 0.9, 1.2, 1.5] {
        for (title_b, b) in [(0.3, 0.5), (0.3, 0.75), (0.75, 0.5), (0.75, 0.75)] {
            for title in [1.5, 2.5, 4.0] {
                let settings =
                    LexicalSettings { k1, b: [title_b, b, 0.3, 0.3], weight: [title, 1.0, 1.0, 1.0] };
                let bare: Vec<Option<Vec<f32>>> = vec![None; passages.len()];
                let index = build(identity, passages, &bare, settings);
                let runs: Vec<Vec<u32>> = half.par_iter().map(|q| rows(&words(&index, q))).collect();
                let scores = Measures::mean(&measured(&runs, half));
                println!(
                    "tune words k1 {k1} b {title_b}/{b} title {title}: MRR {:.4} nDCG {:.4}",
                    scores.mrr_10, scores.ndcg_10
                );
            }
        }
    }
}

/// Every mix.
fn tune_mix(index: &Index, half: &[&Question]) {
    let arms: Vec<_> = half.par_iter().map(|q| (dense(index, q), words(index, q))).collect();
    for vectors in [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0] {
        let fusion = Fusion { vectors, ..Fusion::default() };
        let runs: Vec<Vec<u32>> =
            arms.iter().map(|(v, w)| fusion.mix(v, w).iter().map(|f| f.row).collect()).collect();
        let scores = Measures::mean(&measured(&runs, half));
        println!("tune mix {vectors}: MRR {:.4} nDCG {:.4}", scores.mrr_10, scores.ndcg_10);
    }
}

fn report(index: &Index, questions: &[Question]) {
    let half: Vec<&Question> = questions.iter().collect();
    let arms: Vec<_> = half.par_iter().map(|q| (dense(index, q), words(index, q))).collect();
    let fusion = Fusion::default();
    let mixed = |(v, w): &(Hits, Hits)| fusion.mix(v, w).iter().map(|f| f.row).collect();
    let ranked = |((v, w), q): (&(Hits, Hits), &&Question)| {
        reranked(Local::default(), &candidates(index, q, &fusion.mix(v, w)))
    };
    let runs: [(&str, Vec<Vec<u32>>); 4] = [
        ("words", arms.iter().map(|(_, w)| rows(w)).collect()),
        ("vectors", arms.iter().map(|(v, _)| rows(v)).collect()),
        ("both", arms.iter().map(mixed).collect()),
        ("reranked", arms.par_iter().zip(half.par_iter()).map(ranked).collect()),
    ];
    println!("| arm | hit@1 | hit@10 | MRR@10 | nDCG@10 | 95 % of MRR |\n|---|---|---|---|---|---|");
    for (name, runs) in runs {
        let each = measured(&runs, &half);
        let Measures { hit_1, mrr_10, ndcg_10, .. } = Measures::mean(&each);
        let hit_10 = each.iter().filter(|measures| measures.mrr_10 > 0.0).count() as f64 / each.len() as f64;
        let (low, high) = interval(&each.iter().map(|measures| measures.mrr_10).collect::<Vec<_>>());
        println!("| {name} | {hit_1:.3} | {hit_10:.3} | {mrr_10:.4} | {ndcg_10:.4} | {low:.4}-{high:.4} |");
    }
    // One thread, each question once, as a caller would ask.
    let median = |ask: &mut dyn FnMut(&Question)| {
        let mut times: Vec<Duration> = half
            .iter()
            .take(1_000)
            .map(|question| {
                let begun = Instant::now();
                ask(question);
                begun.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    };
    let by_words = median(&mut |q| drop(words(index, q)));
    let by_both = median(&mut |q| drop(fusion.mix(&dense(index, q), &words(index, q))));
    let by_all = median(&mut |q| {
        let mixed = fusion.mix(&dense(index, q), &words(index, q));
        drop(reranked(Local::default(), &candidates(index, q, &mixed)));
    });
    println!(
        "\nmedian of one question on one thread: words {by_words:.3} ms, both arms and the mix {by_both:.3} ms, \
         reranked {by_all:.3} ms"
    );
}

fn words(index: &Index, question: &Question) -> Hits {
    let tokens = counted(&question.text);
    let hits = index.keyword_search(&tokens, 200, None).expect("sound").expect("words");
    hits.into_iter().map(|hit| (hit.row, hit.score)).collect()
}

thread_local! {
    static SCRATCH: std::cell::RefCell<Scratch> = std::cell::RefCell::new(Scratch::default());
}

fn dense(index: &Index, question: &Question) -> Hits {
    let Some(vector) = &question.vector else { return Vec::new() };
    let mut hits = Vec::new();
    let query = Query::new(vector).top(200).plan(Plan::Exact);
    SCRATCH.with_borrow_mut(|scratch| index.search_into(&query, scratch, &mut hits)).expect("a search");
    hits.into_iter().map(|hit| (hit.row, hit.score)).collect()
}

fn rows(hits: &[(u32, f32)]) -> Vec<u32> {
    hits.iter().map(|(row, _)| *row).collect()
}

/// What each question's ranking is worth.
fn measured(runs: &[Vec<u32>], questions: &[&Question]) -> Vec<Measures> {
    runs.iter().zip(questions).map(|(run, question)| Measures::of(run, &question.relevant)).collect()
}

fn build(
    identity: &Identity,
    passages: &[Value],
    vectors: &[Option<Vec<f32>>],
    lexical: LexicalSettings,
) -> Index {
    let mut draft = Draft::new(identity.clone());
    draft.set_graph(None);
    draft.set_lexical(lexical);
    for ((number, line), vector) in passages.iter().enumerate().zip(vectors) {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let row =
            Row { id: format!("{number:08}"), title: text("title"), content: text("text"), ..Row::default() };
        let passages: Vec<Passage<'_>> = vector.iter().map(|vector| Passage::whole(&row, vector)).collect();
        draft.push(&row, &passages).expect("a sound row");
    }
    Index::from_slice(&draft.finish(Provenance::default()).expect("a draft").to_bytes()).expect("a snapshot")
}

type Vectors = Vec<Option<Vec<f32>>>;

/// Rows with their scores, best first.
type Hits = Vec<(u32, f32)>;

fn embeddings(
    arguments: &Arguments,
    passages: &[Value],
    questions: &[Value],
) -> (Identity, Vectors, Vectors) {
    if let (Some(vectors), Some(queries)) = (&arguments.vectors, &arguments.queries) {
        let (vectors, queries) = (npy(vectors), npy(queries));
        let dimensions = vectors[0].as_ref().map_or(0, Vec::len) as u32;
        return (Identity::new("given", "given", dimensions), vectors, queries);
    }
    let lexical = Lexical::default();
    let texts = |line: &Value| match line["title"].as_str() {
        Some(title) => format!("{title}\n{}", line["text"].as_str().unwrap_or_default()),
        None => line["text"].as_str().unwrap_or_default().to_owned(),
    };
    let made =
        |lines: &[Value]| lines.par_iter().map(|line| lexical.vector(&texts(line))).collect::<Vectors>();
    let identity = karute_sync::embed::Embedder::identity(&lexical).clone();
    (identity, made(passages), made(questions))
}

fn lines(path: &Path) -> Vec<Value> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader: Box<dyn Read> = match path.extension().is_some_and(|extension| extension == "gz") {
        true => Box::new(MultiGzDecoder::new(file)),
        false => Box::new(file),
    };
    BufReader::new(reader)
        .lines()
        .map(|line| serde_json::from_str(&line.expect("text")).expect("JSON"))
        .collect()
}

/// Rows of an array in NumPy's format, scaled to unit length.
fn npy(path: &Path) -> Vectors {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let header = String::from_utf8_lossy(&bytes[10..10 + length]).into_owned();
    let shape = header.split_once("'shape': (").expect("a shape").1;
    let width: usize =
        shape.split(',').nth(1).expect("two axes").trim().trim_end_matches(')').parse().expect("a number");
    let data = &bytes[10 + length..];
    let numbers: Vec<f32> = if header.contains("<f2") {
        data.as_chunks().0.iter().map(|bytes| half::f16::from_le_bytes(*bytes).to_f32()).collect()
    } else {
        data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let unit = |row: &[f32]| {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        Some(row.iter().map(|x| x / norm).collect())
    };
    numbers.chunks_exact(width).map(unit).collect()
}

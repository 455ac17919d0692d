//! Karute's keyword search beside tantivy over the same tokens, and those tokens as a file for other engines:
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/tantivy/Cargo.toml -- \
//!     --passages P.jsonl.gz --questions Q.jsonl.gz [--tokens FOLDER]
//! ```
//!
//! Passages: `{"id", "title"?, "text"}`, one a line; questions: `{"text", "relevant": [ids]}`. One thread, ten best; times are
//! medians over all questions, of a search alone: the tokens of the question are made before.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use flate2::read::GzDecoder;
use karute_engine::lexical::tokens::{counted, tokens};
use karute_engine::{Draft, Identity, Index, Provenance, Row};
use karute_tantivy::Tantivy;
use serde_json::Value;

#[derive(Parser)]
struct Arguments {
    /// Passages, JSON lines, packed by gzip.
    #[arg(long)]
    passages: PathBuf,
    /// Questions, the same way.
    #[arg(long)]
    questions: PathBuf,
    /// Where to write the tokens: passages.txt and questions.txt, a line each, and relevant.json.
    #[arg(long)]
    tokens: Option<PathBuf>,
}

const TOP: usize = 10;

fn lines(path: &Path) -> Result<Vec<Value>, Box<dyn Error>> {
    let reader = BufReader::new(GzDecoder::new(File::open(path)?));
    reader.lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

struct Question {
    asked: Vec<(u64, f32)>,
    relevant: Vec<u32>,
}

/// Asks everything; prints the median time and MRR@10.
fn measure(name: &str, questions: &[Question], search: impl Fn(&[(u64, f32)]) -> Vec<u32>) {
    let mut best = f64::INFINITY;
    let mut reciprocal = 0.0;
    for _ in 0..3 {
        reciprocal = 0.0;
        let mut times = Vec::with_capacity(questions.len());
        for question in questions {
            let begun = Instant::now();
            let found = search(&question.asked);
            times.push(begun.elapsed().as_secs_f64());
            let place = found.iter().position(|row| question.relevant.contains(row));
            reciprocal += place.map_or(0.0, |place| 1.0 / (place + 1) as f64);
        }
        best = best.min(median(times));
    }
    println!(
        "{name:>10}: {:7.1} microseconds, MRR@10 {:.3}",
        best * 1e6,
        reciprocal / questions.len() as f64
    );
}

fn write(folder: &Path, texts: &[Vec<u64>], questions: &[Question]) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let mut file = BufWriter::new(File::create(folder.join("passages.txt"))?);
    for text in texts {
        writeln!(file, "{}", text.iter().map(|token| format!("{token:x}")).collect::<Vec<_>>().join(" "))?;
    }
    let mut file = BufWriter::new(File::create(folder.join("questions.txt"))?);
    for question in questions {
        let repeated = question
            .asked
            .iter()
            .flat_map(|&(token, count)| (0..count as usize).map(move |_| format!("{token:x}")));
        writeln!(file, "{}", repeated.collect::<Vec<_>>().join(" "))?;
    }
    let relevant: Vec<&[u32]> = questions.iter().map(|question| question.relevant.as_slice()).collect();
    serde_json::to_writer(File::create(folder.join("relevant.json"))?, &relevant)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut draft = Draft::new(Identity::new("none", "none", 4));
    let mut texts = Vec::new();
    for (number, line) in lines(&arguments.passages)?.iter().enumerate() {
        let [title, text] = ["title", "text"].map(|key| line[key].as_str().unwrap_or_default());
        // Tantivy's plain index has one field: the title is part of the text for both.
        let content = format!("{title}\n{text}");
        texts.push(tokens(&content));
        draft.push(&Row { id: number.to_string(), content, ..Row::default() }, &[])?;
    }
    let mut questions = Vec::new();
    for line in lines(&arguments.questions)? {
        let relevant = line["relevant"].as_array().into_iter().flatten();
        questions.push(Question {
            asked: counted(line["text"].as_str().unwrap_or_default()),
            relevant: relevant.filter_map(Value::as_u64).map(|id| id as u32).collect(),
        });
    }
    if let Some(folder) = &arguments.tokens {
        write(folder, &texts, &questions)?;
    }
    let begun = Instant::now();
    let index = Index::from_slice(&draft.finish(Provenance::default())?.to_bytes())?;
    println!("{} passages; karute sealed in {:.1} s", texts.len(), begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let tantivy = Tantivy::of(&texts)?;
    println!("tantivy indexed in {:.1} s", begun.elapsed().as_secs_f64());
    measure("karute", &questions, |asked| {
        let found = index.keyword_search(asked, TOP, None).ok().flatten().unwrap_or_default();
        found.into_iter().map(|hit| hit.row).collect()
    });
    measure("tantivy", &questions, |asked| {
        tantivy.search(asked, TOP).unwrap_or_default().into_iter().map(|(row, _)| row).collect()
    });
    Ok(())
}

//! `karute eval`: how well questions find their records.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{asking, prepare, print_json};
use crate::config::Settings;
use crate::eval::metrics::Measures;
use crate::eval::{self, Evaluation, Judged, chart};
use crate::setup;

/// Exit code of a run that is worse than the one that it is held against.
const WORSE: u8 = 1;
/// Least questions of each kind that a gate is fitted on.
const LEAST: usize = 10;
/// A fall that counts.
const TOLERANCE: f64 = 0.01;

/// What to measure with.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Judged questions, one JSON object a line: question, relevant (ids, or ids with grades), client_id?, domain?,
    /// unanswerable?
    questions: PathBuf,
    /// An earlier run, as --json printed it: exit with 1 if nDCG@10 or the F1 of refusals fell by more than 0.01.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Fit the gate, which tells questions with an answer from those without, on these questions, and use it from now on:
    /// it is kept in the data directory.
    #[arg(long)]
    calibrate: bool,
    /// Write the rankings of an arm as a run of trec_eval, and the judgments beside it as FILE.qrels.
    #[arg(long, value_name = "FILE")]
    trec: Option<PathBuf>,
    /// Draw the measures as a page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(super) async fn run(
    settings: Settings,
    options: Options,
    json: bool,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let questions = eval::read(&options.questions)?;
    let before: Option<Evaluation> = match &options.against {
        Some(file) => {
            let text =
                std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            Some(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?)
        }
        None => None,
    };
    let app = asking(settings).await?;
    app.serve(prepare(&app).await?);
    let (found, run) = eval::evaluate(&app, &questions).await?;
    if let Some(file) = &options.trec {
        write_trec(file, &questions, &run)?;
    }
    if let Some(file) = &options.html {
        std::fs::write(file, chart::page(&found))?;
    }
    let mut fitted = None;
    if options.calibrate {
        if found.answerable.min(found.unanswerable) < LEAST {
            return Err(format!(
                "a gate is fitted on at least {LEAST} questions with an answer and {LEAST} without; these are {} and {}",
                found.answerable, found.unanswerable
            )
            .into());
        }
        let name = options.questions.file_name().unwrap_or_default().to_string_lossy();
        let origin = format!("fitted on {} questions of {name}", questions.len());
        let fit = |cosine| eval::calibrate::fit(&run.examples, &found.embedder, cosine, origin.clone());
        let gate = fit(true);
        setup::keep_gate(&app.settings, &gate)?;
        // The second looks at no cosine, for whoever ships gates for other embedders: `retrieve/gates.json`.
        fitted = Some([gate, fit(false)]);
        if !json {
            say!("{}", serde_json::to_string(&fitted)?)?;
        }
    }
    let change = before.as_ref().map(|before| found.against(before));
    if json {
        let mut told = serde_json::to_value(&found)?;
        if let Some((ndcg_10, refusal_f1)) = change {
            told["against"] = json!({"ndcg_10": ndcg_10, "refusal_f1": refusal_f1});
        }
        if let Some(gates) = &fitted {
            told["gates"] = json!(gates);
        }
        print_json(&told)?;
    } else {
        say!(
            "{} questions with an answer, {} without; {}",
            found.answerable,
            found.unanswerable,
            found.embedder
        )?;
        say!("arm      nDCG@5  nDCG@10  recall@5  recall@10  recall@20  MRR@10  hit@1")?;
        for (arm, measures) in &found.arms {
            let Measures { ndcg_5, ndcg_10, recall_5, recall_10, recall_20, mrr_10, hit_1 } = measures;
            say!(
                "{arm:<8} {ndcg_5:>6.3}  {ndcg_10:>7.3}  {recall_5:>8.3}  {recall_10:>9.3}  {recall_20:>9.3}  {mrr_10:>6.3}  {hit_1:>5.3}"
            )?;
        }
        for (name, measures) in &found.without {
            say!("{name:<18} nDCG@10 {:.3}", measures.ndcg_10)?;
        }
        let (low, high) = found.ndcg_10_interval;
        say!("nDCG@10 of what answers rest on lies between {low:.3} and {high:.3} (95 %)")?;
        let refusals = found.refusals;
        say!(
            "refusals: precision {:.3}, recall {:.3}, F1 {:.3}; the gate is {}",
            refusals.precision,
            refusals.recall,
            refusals.f1,
            found.gate
        )?;
        say!(
            "a retrieval takes {:.1} ms (median), {:.1} ms (99th percentile)",
            found.milliseconds.0,
            found.milliseconds.1
        )?;
        let [understand, embed, search, rank] = found.stages.map(|stage| stage / 1e3);
        say!(
            "of it: understanding {understand:.2} ms, embedding {embed:.2}, both arms {search:.2}, ranking {rank:.2}"
        )?;
        if let Some((ndcg_10, refusal_f1)) = change {
            say!("against the earlier run: nDCG@10 {ndcg_10:+.4}, F1 of refusals {refusal_f1:+.4}")?;
        }
    }
    let worse = change.is_some_and(|(ndcg_10, refusal_f1)| ndcg_10 < -TOLERANCE || refusal_f1 < -TOLERANCE);
    Ok(if worse { ExitCode::from(WORSE) } else { ExitCode::SUCCESS })
}

/// The run and the judgments in the form of trec_eval.
fn write_trec(file: &Path, questions: &[Judged], run: &eval::Run) -> std::io::Result<()> {
    let judged = || questions.iter().filter(|judged| !judged.unanswerable).enumerate();
    let (mut rankings, mut grades) = (String::new(), String::new());
    for ((number, judged), ranking) in judged().zip(run.rankings.get("ranked").into_iter().flatten()) {
        for (rank, id) in (1..).zip(ranking) {
            rankings += &format!("q{number} Q0 {id} {rank} {} karute\n", 1.0 / f64::from(rank));
        }
        for (id, grade) in judged.relevant.grades() {
            grades += &format!("q{number} 0 {id} {grade}\n");
        }
    }
    std::fs::write(file, rankings)?;
    let mut beside = file.as_os_str().to_owned();
    beside.push(".qrels");
    std::fs::write(beside, grades)
}

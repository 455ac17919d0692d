//! `karute eval`: how well questions find their records.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{app, prepare, print_json};
use crate::config::Settings;
use crate::eval::metrics::Measures;
use crate::eval::{self, Evaluation};

/// Exit code of a run that is worse than the one that it is held against.
const WORSE: u8 = 1;
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
    let app = app(settings)?;
    app.serve(prepare(&app).await?);
    let found = eval::evaluate(&app, &questions).await?;
    let change = before.as_ref().map(|before| found.against(before));
    if json {
        let mut told = serde_json::to_value(&found)?;
        if let Some((ndcg_10, refusal_f1)) = change {
            told["against"] = json!({"ndcg_10": ndcg_10, "refusal_f1": refusal_f1});
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
        let (low, high) = found.ndcg_10_interval;
        say!("nDCG@10 of what answers rest on lies between {low:.3} and {high:.3} (95 %)")?;
        let refusals = found.refusals;
        say!(
            "refusals: precision {:.3}, recall {:.3}, F1 {:.3}",
            refusals.precision,
            refusals.recall,
            refusals.f1
        )?;
        say!(
            "a retrieval takes {:.1} ms (median), {:.1} ms (99th percentile)",
            found.milliseconds.0,
            found.milliseconds.1
        )?;
        if let Some((ndcg_10, refusal_f1)) = change {
            say!("against the earlier run: nDCG@10 {ndcg_10:+.4}, F1 of refusals {refusal_f1:+.4}")?;
        }
    }
    let worse = change.is_some_and(|(ndcg_10, refusal_f1)| ndcg_10 < -TOLERANCE || refusal_f1 < -TOLERANCE);
    Ok(if worse { ExitCode::from(WORSE) } else { ExitCode::SUCCESS })
}

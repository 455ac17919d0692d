//! `karute ask`: a question and its cited answer.

use std::io::Write;

use clap::Args;
use futures_util::StreamExt;
use karute_engine::Row;
use serde_json::json;

use super::search::Scope;
use super::{Outcome, asking, plain, prepare, print_json};
use crate::answer::{self, Step};
use crate::config::Settings;

/// Rows that are shown where there is no answer.
const NEAREST: usize = 3;
/// Rows that an answer may rest on.
const CONTEXT: usize = 20;

/// What to ask.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The question.
    question: String,
    #[command(flatten)]
    scope: Scope,
}

pub(super) async fn run(settings: Settings, options: Options, json: bool) -> Outcome {
    let app = asking(settings).await?;
    app.serve(prepare(&app).await?);
    let question = options.scope.question(options.question, CONTEXT)?;
    let mut steps = std::pin::pin!(answer::run(app, question, Vec::new()));
    let (mut text, mut nearest) = (String::new(), Vec::<Row>::new());
    while let Some(step) = steps.next().await {
        match step.map_err(|failure| format!("the question was not answered: {failure:?}"))? {
            Step::Text(piece) if json => text.push_str(&piece),
            Step::Text(piece) => {
                write!(std::io::stdout(), "{}", plain(&piece))?;
                std::io::stdout().flush()?;
            }
            Step::Found(retrieved) => {
                nearest = retrieved.evidence.iter().take(NEAREST).map(|found| found.row.clone()).collect();
            }
            Step::Done(summary) if json => {
                let id = |row: &Row| json!({ "id": row.id, "title": row.title, "date": row.date });
                return print_json(&json!({
                    "answer": text,
                    "suggested_terms": summary.suggested_terms,
                    "nearest": nearest.iter().map(id).collect::<Vec<_>>(),
                    "metadata": summary,
                }));
            }
            Step::Done(summary) => {
                say!("\n")?;
                for citation in &summary.citations {
                    let answer::Citation { number, id, title, spreadsheet, sheet, row, .. } = citation;
                    say!(
                        "[{number}] {} ({id}, {spreadsheet} / {sheet} 行 {row})",
                        plain(title),
                        id = plain(id),
                        sheet = plain(sheet),
                        spreadsheet = plain(spreadsheet)
                    )?;
                }
                if !summary.answered {
                    for Row { id, title, date, .. } in &nearest {
                        say!("近い記録: {} {date} ({})", plain(title), plain(id))?;
                    }
                    if !summary.suggested_terms.is_empty() {
                        say!("別の言葉: {}", plain(&summary.suggested_terms.join("、")))?;
                    }
                }
                let who = [summary.model, summary.embedder].into_iter().filter(|who| !who.is_empty());
                say!("({})", who.collect::<Vec<_>>().join(", "))?;
            }
            Step::Searching | Step::Generating => {}
        }
    }
    Ok(())
}

//! `karute replay`: an answer that was given, and what its question finds today.

use clap::Args;
use karute_engine::Store;
use serde_json::json;

use super::{Outcome, asking, plain, prepare, print_json};
use crate::answer::converse::{Difference, Replay};
use crate::audit::Seen;
use crate::config::Settings;
use crate::retrieve::caller::Caller;
use crate::retrieve::retrieve;
use crate::state::Database;

/// Which answer.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Id of the answer, as `metadata.message_id` named it.
    id: String,
    /// Search the snapshot of then, if the store still has it, instead of the one that is served today.
    #[arg(long)]
    then: bool,
}

pub(super) async fn run(settings: Settings, options: Options, json: bool) -> Outcome {
    let store = Store::open(&settings.data_dir)?;
    let state = Database::open(&settings.database, &settings.data_dir).await?;
    // Whoever runs the program can read the state itself.
    let found = state.answer(&options.id, None).await?;
    let found = found.ok_or_else(|| format!("no answer {} is kept in {}", options.id, state.place()))?;
    let replay: Replay = serde_json::from_value(found.record.clone())
        .map_err(|error| format!("the answer was recorded by another version: {error}"))?;
    let app = asking(settings).await?;
    match options.then {
        true => app
            .serve(crate::start::Prepared { index: store.find(&replay.snapshot_id)?, problems: Vec::new() }),
        false => app.serve(prepare(&app).await?),
    }
    let question = replay.question.clone().question(Caller::operator());
    let now = retrieve(&app, &question).await.map_err(|failure| format!("the search failed: {failure:?}"))?;
    let clients = found.shown.clients().into_iter().collect();
    let seen = Seen { action: "replay", answer_id: Some(&found.id), clients, ..Seen::default() };
    let rows = now.evidence.iter().map(|evidence| &evidence.row);
    app.seen(&question.caller, seen, rows).await.map_err(|failure| format!("not shown: {failure:?}"))?;
    let difference = Difference::between(&replay, &now.evidence, now.snapshot);
    if json {
        return print_json(&json!({
            "message_id": found.id,
            "asked_at": found.asked_at.to_string(),
            "question": found.question,
            "answer": found.answer,
            "record": found.record,
            "difference": difference,
        }));
    }
    say!("{}\n\n{}\n", plain(&found.question), plain(&found.answer))?;
    say!("snapshot then  {}\nsnapshot now   {}", difference.snapshot_then, difference.snapshot_now)?;
    say!("rows at the same rank: {} of {}", difference.same, replay.candidates.len())?;
    let shown = |rank: Option<usize>| rank.map_or_else(|| "-".to_owned(), |rank| rank.to_string());
    for moved in &difference.moved {
        say!("{:>4} -> {:<4} {}", shown(moved.then), shown(moved.now), plain(&moved.id))?;
    }
    Ok(())
}

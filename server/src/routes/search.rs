//! `POST /search`: the rows nearest to a question.

use axum::Json;
use axum::extract::State;
use karute_engine::Plan;
use serde_json::{Value, json};

use super::item::items;
use crate::answer::{Question, milliseconds, retrieve};
use crate::error::Failure;
use crate::request::Fields;
use crate::state::App;

/// Most characters of a query.
const LONGEST_QUERY: usize = 500;
/// Most rows that a caller may ask for.
const MOST_ROWS: usize = 50;

/// Searches.
pub(super) async fn search(State(app): State<App>, mut fields: Fields) -> Result<Json<Value>, Failure> {
    let default = app.settings.search_top_k;
    let question = Question {
        text: fields.required_text("query", LONGEST_QUERY),
        client_id: fields.optional_text("client_id"),
        domain: fields.optional_text("domain"),
        top: fields.number("top_k", 1, MOST_ROWS, default, default),
        plan: Plan::Auto,
    };
    fields.optional_text("user_id");
    fields.check_bool("include_embeddings");
    fields.finish()?;

    let retrieved = retrieve(&app, &question).await?;
    Ok(Json(json!({
        "query": question.text,
        "results": items(&retrieved.evidence),
        "total_count": retrieved.evidence.len(),
        "processing_time_ms": milliseconds(retrieved.took),
        "reranked": true,
        "suggested_terms": [],
        "metadata": {
            "mode": "search",
            "model": null,
            "embedder": app.embedder.identity().model,
            "snapshot_id": retrieved.snapshot.to_string(),
            "degraded": retrieved.degraded,
        },
    })))
}

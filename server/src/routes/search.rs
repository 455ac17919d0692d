//! `POST /search`: the rows nearest to a question.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::item::items;
use crate::answer::milliseconds;
use crate::error::Failure;
use crate::request::Fields;
use crate::retrieve::caller::Caller;
use crate::retrieve::explain::explain;
use crate::retrieve::understand::Part;
use crate::retrieve::{Question, retrieve};
use crate::state::App;

/// Most characters of a query.
const LONGEST_QUERY: usize = 500;
/// Most rows that a caller may ask for.
const MOST_ROWS: usize = 50;

/// Searches.
pub(super) async fn search(State(app): State<App>, mut fields: Fields) -> Result<Json<Value>, Failure> {
    let default = app.settings.search_top_k;
    let text = fields.required_text("query", LONGEST_QUERY);
    let question = Question {
        client_id: fields.optional_text("client_id"),
        domain: fields.optional_text("domain"),
        top: fields.number("top_k", 1, MOST_ROWS, default, default),
        without: fields.names("without", Part::KNOWN),
        ..Question::new(text, Caller::everything())
    };
    let wants_explanation = fields.flag("explain", false);
    fields.optional_text("user_id");
    fields.flag("include_embeddings", false);
    fields.finish()?;

    let retrieved = retrieve(&app, &question).await?;
    let explain = match wants_explanation {
        true => Some(explain(&question, &retrieved, &app.gate, app.index()?.as_ref())?),
        false => None,
    };
    Ok(Json(json!({
        "query": question.text,
        "results": items(&retrieved.evidence),
        "total_count": retrieved.evidence.len(),
        "processing_time_ms": milliseconds(retrieved.took),
        "reranked": retrieved.reranked_by.is_some(),
        "suggested_terms": retrieved.suggested,
        "metadata": {
            "mode": "search",
            "model": null,
            "embedder": app.embedder.identity().model,
            "snapshot_id": retrieved.snapshot.to_string(),
            "degraded": retrieved.degraded(),
            "reranked_by": retrieved.reranked_by,
            "answerable": retrieved.verdict.answerable,
            "expanded_terms": retrieved.understood.terms,
            "explain": explain,
        },
    })))
}

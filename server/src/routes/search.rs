//! `POST /search`: the rows nearest to a question.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::item::{KnowledgeItem, items};
use crate::answer::milliseconds;
use crate::app::App;
use crate::audit::Seen;
use crate::error::{Failure, Problems};
use crate::request::Fields;
use crate::retrieve::caller::Caller;
use crate::retrieve::explain::{Explanation, explain};
use crate::retrieve::understand::{ExpandedTerm, Part};
use crate::retrieve::{Question, retrieve};

/// Most characters of a query.
const LONGEST_QUERY: usize = 500;
/// Most rows that a caller may ask for.
pub(super) const MOST_ROWS: usize = 50;

/// What to search for.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of what `search` takes, for the OpenAPI document")]
pub(super) struct SearchRequest {
    #[schema(min_length = 1, max_length = 500, example = "膀胱留置カテーテルの交換")]
    query: String,
    /// Only records of this domain: nursing, clients, calls, sales.
    domain: Option<String>,
    /// Only records of this client.
    client_id: Option<String>,
    /// Only records of this kind, such as care_record.
    source_type: Option<String>,
    /// Only records with one of these tags.
    tags: Option<Vec<String>>,
    /// Only records of this day or later ones, YYYY-MM-DD.
    date_from: Option<String>,
    /// Only records of this day or earlier ones, YYYY-MM-DD.
    date_to: Option<String>,
    /// Not used: who asks follows from who is signed in.
    user_id: Option<String>,
    /// Rows; SEARCH_FINAL_TOP_K if it is not there.
    #[schema(minimum = 1, maximum = 50)]
    top_k: Option<u8>,
    /// Not used: vectors are never sent.
    #[schema(default = false)]
    include_embeddings: Option<bool>,
    /// Whether to say how each row was found.
    #[schema(default = false)]
    explain: Option<bool>,
    /// Parts of the understanding of the question to switch off.
    without: Option<Vec<Part>>,
}

/// What was found.
#[derive(Serialize, ToSchema)]
pub(super) struct SearchResponse {
    query: String,
    /// Rows, best first.
    results: Vec<KnowledgeItem>,
    total_count: usize,
    processing_time_ms: u64,
    /// Whether something put the rows in another order than the mix of both arms.
    reranked: bool,
    /// Words to try, where the rows hold no answer.
    suggested_terms: Vec<String>,
    metadata: SearchMetadata,
}

/// How it was found.
#[derive(Serialize, ToSchema)]
pub(super) struct SearchMetadata {
    /// `search`.
    mode: &'static str,
    /// No model answers a search.
    model: Option<String>,
    embedder: String,
    snapshot_id: String,
    /// What had to be left out.
    degraded: Option<String>,
    reranked_by: Option<String>,
    /// Whether the rows are taken to hold an answer.
    answerable: bool,
    /// Whether it was found before, and is given again.
    cached: bool,
    expanded_terms: Vec<ExpandedTerm>,
    #[schema(value_type = Option<Object>)]
    explain: Option<Explanation>,
}

/// Searches.
#[utoipa::path(post, path = "/search", tag = "questions", request_body = SearchRequest,
    responses((status = 200, description = "Rows, best first", body = SearchResponse), Problems))]
pub(super) async fn search(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Json<SearchResponse>, Failure> {
    let default = app.settings.search_top_k;
    let text = fields.required_text("query", LONGEST_QUERY);
    let question = Question {
        limits: fields.limits(),
        top: fields.number("top_k", 1, MOST_ROWS, default, default),
        without: fields.names("without", Part::KNOWN),
        ..Question::new(text, caller)
    };
    let wants_explanation = fields.flag("explain", false);
    fields.optional_text("user_id");
    fields.flag("include_embeddings", false);
    fields.finish()?;

    let retrieved = app.unless_ending(retrieve(&app, &question)).await?;
    let snapshot = Some(retrieved.snapshot.to_string());
    let seen = Seen { action: "search", question: Some(&question.text), snapshot, ..Seen::default() };
    app.seen(&question.caller, seen, retrieved.evidence.iter().map(|found| &found.row)).await?;
    let explain = match wants_explanation {
        true => Some(explain(&question, &retrieved, &app.gate, app.index()?.as_ref())?),
        false => None,
    };
    Ok(Json(SearchResponse {
        results: items(&retrieved.evidence),
        total_count: retrieved.evidence.len(),
        processing_time_ms: milliseconds(retrieved.took),
        reranked: retrieved.reranked_by.is_some(),
        metadata: SearchMetadata {
            mode: "search",
            model: None,
            embedder: app.embedder.identity().model.clone(),
            snapshot_id: retrieved.snapshot.to_string(),
            degraded: retrieved.degraded(),
            reranked_by: retrieved.reranked_by,
            answerable: retrieved.verdict.answerable,
            cached: retrieved.cached,
            expanded_terms: retrieved.understood.terms,
            explain,
        },
        suggested_terms: retrieved.suggested,
        query: question.text,
    }))
}

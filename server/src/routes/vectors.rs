//! `POST /search/vectors`: the rows nearest to a vector, for programs that embed by themselves. Nothing is embedded, ranked or
//! read besides: rights and filters hold, and the audit is kept, as for every search.

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use karute_engine::{Embedding, Row};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::search::MOST_ROWS;
use crate::app::App;
use crate::audit::Seen;
use crate::error::{Failure, Problems};
use crate::request::Fields;
use crate::retrieve::caller::Caller;
use crate::retrieve::nearest;

/// What to search for.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of what `vectors` takes, for the OpenAPI document")]
pub(super) struct VectorRequest {
    /// A vector of the snapshot's model (`/v1/embeddings` makes them), of any length but 0: its numbers, or, as base64, their bytes
    /// as little-endian f32.
    #[schema(value_type = serde_json::Value)]
    embedding: Value,
    /// Rows.
    #[schema(minimum = 1, maximum = 50, default = 10)]
    top_k: Option<u8>,
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
}

/// A row and how near it is. `GET /rows/{id}` has all of it.
#[derive(Serialize, ToSchema)]
pub(super) struct Near {
    id: String,
    /// Cosine, -1 to 1.
    similarity: f32,
}

/// What was found.
#[derive(Serialize, ToSchema)]
pub(super) struct VectorResponse {
    /// The nearest first.
    results: Vec<Near>,
    /// The snapshot that was searched.
    snapshot_id: String,
}

/// The numbers of a vector, however it was sent.
fn numbers(value: &Value) -> Option<Vec<f32>> {
    match value {
        Value::String(packed) => {
            let bytes = STANDARD.decode(packed).ok()?;
            let (numbers, []) = bytes.as_chunks::<4>() else { return None };
            Some(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        }
        Value::Array(numbers) => numbers.iter().map(|number| Some(number.as_f64()? as f32)).collect(),
        _ => None,
    }
}

/// Searches by a vector.
#[utoipa::path(post, path = "/search/vectors", tag = "questions", request_body = VectorRequest,
    responses((status = 200, description = "Rows, the nearest first", body = VectorResponse), Problems))]
pub(super) async fn vectors(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Json<VectorResponse>, Failure> {
    let index = app.index()?;
    let dimensions = index.identity().dimensions as usize;
    fields.must("embedding");
    let given: Value = fields.optional("embedding", "numbers, or base64");
    let vector = numbers(&given).unwrap_or_default();
    let length: f64 = vector.iter().map(|number| f64::from(*number).powi(2)).sum();
    // A square of the length that a number of 32 bits can hold.
    let is_one =
        vector.len() == dimensions && length > f64::from(f32::MIN_POSITIVE) && length < f64::from(f32::MAX);
    fields.check(
        "embedding",
        is_one,
        &format!(
            "{dimensions} finite numbers that are not all 0, or their bytes as base64 of little-endian f32"
        ),
    );
    let top = fields.number("top_k", 1, MOST_ROWS, 10, 10);
    let limits = fields.limits();
    fields.finish()?;

    let snapshot_id = index.id().to_string();
    let (embedding, seer) = (Embedding::new(index.identity().clone(), vector), caller.clone());
    let searching = app.on_pool(move || nearest(&index, &embedding, &seer, &limits, top));
    let found: Vec<(Row, f32)> = app.unless_ending(searching).await??;
    let seen = Seen { action: "search", snapshot: Some(snapshot_id.clone()), ..Seen::default() };
    app.seen(&caller, seen, found.iter().map(|(row, _)| row)).await?;
    let results = found.into_iter().map(|(row, similarity)| Near { id: row.id, similarity }).collect();
    Ok(Json(VectorResponse { results, snapshot_id }))
}

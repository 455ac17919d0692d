//! `POST /feedback`: what a reader says of an answer.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::{Failure, Missing, Problems};
use crate::request::Fields;
use crate::retrieve::caller::Caller;
use crate::state::Feedback;

/// Most characters of a comment.
const LONGEST: usize = 1000;

/// What a reader says of an answer. Said again, it takes the place of what was said before.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of what `feedback` takes, for the OpenAPI document")]
pub(super) struct FeedbackRequest {
    /// Not used: the answer knows its conversation.
    session_id: Option<String>,
    /// The answer, as `metadata.message_id` named it.
    message_id: String,
    /// 1, of no use, to 5.
    #[schema(minimum = 1, maximum = 5)]
    rating: u8,
    /// In the reader's own words.
    #[schema(max_length = 1000)]
    feedback_text: Option<String>,
    /// Words that the reader misses.
    suggested_terms: Option<Vec<String>>,
    /// Whether each suggested word was of use.
    term_feedback: Option<BTreeMap<String, bool>>,
}

/// It was kept.
#[derive(Serialize, ToSchema)]
pub(super) struct Kept {
    /// `kept`.
    status: &'static str,
    message_id: String,
}

/// Keeps feedback.
#[utoipa::path(post, path = "/feedback", tag = "conversations", request_body = FeedbackRequest,
    responses((status = 200, description = "It was kept", body = Kept), Missing, Problems))]
pub(super) async fn feedback(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Json<Kept>, Failure> {
    fields.optional_id("session_id");
    fields.must("message_id");
    fields.must("rating");
    let feedback = Feedback {
        message_id: fields.optional_id("message_id").unwrap_or_default(),
        rating: fields.number("rating", 1, 5, 1, 1) as i64,
        comment: fields.short_text("feedback_text", LONGEST),
        suggested_terms: fields.optional("suggested_terms", "a list of texts"),
        term_feedback: fields.optional("term_feedback", "an object of true and false"),
    };
    fields.finish()?;
    match app.kept()?.rate(&caller.name, &feedback, (app.now)()).await? {
        true => Ok(Json(Kept { status: "kept", message_id: feedback.message_id })),
        false => Err(Failure::NotFound),
    }
}

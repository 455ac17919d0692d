//! `GET /answers/{id}`: how an answer came about. `GET /rows/{id}`: a row that it cites.

use axum::Json;
use axum::extract::State;
use karute_engine::{Row, Store, StoreError};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::chat::rfc3339;
use super::item::RowItem;
use crate::answer::cite::{self, Citation};
use crate::app::App;
use crate::audit::Seen;
use crate::error::{Failure, Missing, Problem, Problems};
use crate::request::{Id, Parameters};
use crate::retrieve::caller::Caller;

/// An answer and how it came about.
#[derive(Serialize, ToSchema)]
pub(super) struct Answer {
    message_id: String,
    session_id: String,
    question: String,
    answer: String,
    /// RFC 3339.
    asked_at: String,
    /// RFC 3339.
    answered_at: String,
    /// The snapshot, the question as it was searched for, the candidates with each arm's rank and score, the model, its
    /// usage, the digest of its prompt, citations, verdicts.
    #[schema(value_type = Object)]
    record: Value,
    /// What it cites, each with what the newest snapshot has of the row.
    citations: Vec<Citation>,
}

/// How an answer came about.
#[utoipa::path(get, path = "/answers/{message_id}", tag = "conversations", params(("message_id" = String, Path)),
    responses((status = 200, description = "How the answer came about", body = Answer), Missing, Problems))]
pub(super) async fn answer(
    State(app): State<App>,
    caller: Caller,
    Id(message_id): Id,
) -> Result<Json<Answer>, Failure> {
    let found = app.kept()?.answer(&message_id, Some(&caller)).await?.ok_or(Failure::NotFound)?;
    let seen = Seen {
        action: "answer",
        answer_id: Some(&found.id),
        clients: found.shown.clients().into_iter().collect(),
        ..Seen::default()
    };
    app.seen(&caller, seen, std::iter::empty()).await?;
    let newest = app.index()?;
    let cited = found.record.pointer("/summary/citations").cloned().unwrap_or_default();
    let mut citations: Vec<Citation> = serde_json::from_value(cited)
        .map_err(|_| Failure::Internal("an answer with odd citations".into()))?;
    let reader = app.clone();
    let citations = app.on_pool(move || {
        cite::locate(&mut citations, reader.catalogue(&newest)?.as_ref(), &newest)?;
        Ok::<_, Failure>(citations)
    });
    Ok(Json(Answer {
        message_id: found.id,
        session_id: found.conversation,
        question: found.question,
        answer: found.answer,
        asked_at: rfc3339(found.asked_at),
        answered_at: rfc3339(found.answered_at),
        record: found.record,
        citations: citations.await??,
    }))
}

/// A row, as a citation names it, if the caller may see it.
#[utoipa::path(get, path = "/rows/{id}", tag = "records",
    params(("id" = String, Path), ("snapshot" = Option<String>, Query, description = "Id of the snapshot, or its beginning; the one that is served")),
    responses((status = 200, description = "The row", body = RowItem),
        (status = 404, description = "There is no such row or snapshot, or it is not for the caller", body = Problem), Problems))]
pub(super) async fn row(
    State(app): State<App>,
    caller: Caller,
    Id(id): Id,
    Parameters(mut fields): Parameters,
) -> Result<Json<RowItem>, Failure> {
    let wanted = fields.optional_text("snapshot");
    fields.finish()?;
    let served = app.index()?;
    let directory = app.settings.data_dir.clone();
    let (reader, looker) = (app.clone(), caller.clone());
    let found = app.on_pool(move || -> Result<(Row, RowItem), Failure> {
        let other = match wanted.filter(|wanted| !served.id().to_string().starts_with(wanted.as_str())) {
            None => None,
            Some(wanted) => {
                Some(Store::open(directory).and_then(|store| store.find(&wanted)).map_err(absent)?)
            }
        };
        let index = other.as_ref().unwrap_or(served.as_ref());
        // What may be seen is asked of the row itself: no other word of it leaves before.
        let visible = |row: &Row| caller.may_see(&row.client_id, &row.domain);
        let row = index.row_with_id(&id)?.filter(visible).ok_or(Failure::NotFound)?;
        // Where it is now, if it is anywhere: rows move when others are put in or taken out.
        let link = match served.row_with_id(&id)?.filter(visible) {
            Some(newest) => reader.catalogue(&served)?.link(&newest.origin),
            None => None,
        };
        Ok((row.clone(), RowItem::new(row, index.id(), link)))
    });
    let (row, item) = found.await??;
    app.seen(&looker, Seen { action: "row", ..Seen::default() }, std::iter::once(&row)).await?;
    Ok(Json(item))
}

/// A snapshot that is not there is no fault of the server.
fn absent(error: StoreError) -> Failure {
    match error {
        StoreError::Unknown { .. } | StoreError::Ambiguous { .. } => Failure::NotFound,
        error => Failure::Internal(error.to_string()),
    }
}

//! `/chat/sessions`: conversations that were kept. Whoever asks sees his own.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::chat::rfc3339;
use crate::app::App;
use crate::audit::Seen;
use crate::error::{Failure, Missing, Problems};
use crate::request::{Fields, Id, Parameters};
use crate::retrieve::caller::Caller;
use crate::setup;
use crate::state::Message;

/// Conversations in a list, and messages of one: how many if the request does not say, and at most.
const SESSIONS: usize = 20;
const MESSAGES: usize = 100;
const MOST: usize = 1000;

/// A conversation in a list.
#[derive(Serialize, ToSchema)]
pub(super) struct Session {
    session_id: String,
    /// Whose it is.
    user_id: String,
    /// The beginning of its first question.
    title: String,
    /// The beginning of its last answer.
    preview: String,
    /// Questions and answers in it.
    message_count: i64,
    /// RFC 3339.
    created_at: String,
    /// When it was last answered, RFC 3339.
    updated_at: String,
}

/// Conversations, the latest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Sessions {
    sessions: Vec<Session>,
    /// How many there are in all.
    total: i64,
}

/// A question or an answer.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionMessage {
    id: String,
    /// `user` or `assistant`.
    role: &'static str,
    content: String,
    /// Ids of the rows that an answer was made from.
    context_ids: Vec<String>,
    suggested_terms: Vec<String>,
    /// What its reader said of the suggested words.
    #[schema(value_type = Object)]
    term_feedback: Value,
    /// Its reader's rating, 1 to 5.
    rating: Option<i64>,
    /// RFC 3339.
    timestamp: String,
}

/// Messages of a conversation, the latest last.
#[derive(Serialize, ToSchema)]
pub(super) struct Messages {
    session_id: String,
    messages: Vec<SessionMessage>,
    /// How many there are in all.
    total: i64,
}

/// How many rows went to a sheet.
#[derive(Serialize, ToSchema)]
pub(super) struct Exported {
    session_id: String,
    /// Rows that were appended to the sheet.
    rows: usize,
}

/// A number of rows, as the database takes it.
fn limit(fields: &mut Fields, otherwise: usize) -> i64 {
    fields.number("limit", 1, MOST, otherwise, otherwise) as i64
}

/// Lists conversations.
#[utoipa::path(get, path = "/chat/sessions", tag = "conversations",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many; 20")),
    responses((status = 200, description = "Conversations, the latest first", body = Sessions),
        (status = 501, description = "Conversations are not kept here", body = crate::error::Problem), Problems))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Parameters(mut fields): Parameters,
) -> Result<Json<Sessions>, Failure> {
    let most = limit(&mut fields, SESSIONS);
    fields.finish()?;
    let (conversations, total) = app.kept()?.conversations(&caller, most).await?;
    let clients = conversations.iter().flat_map(|found| found.shown.clients()).collect();
    app.seen(&caller, Seen { action: "conversations", clients, ..Seen::default() }, std::iter::empty())
        .await?;
    let session = |found: crate::state::Conversation| Session {
        session_id: found.id,
        user_id: caller.name.clone(),
        title: found.title,
        preview: found.preview,
        message_count: found.messages,
        created_at: rfc3339(found.created_at),
        updated_at: rfc3339(found.updated_at),
    };
    Ok(Json(Sessions { sessions: conversations.into_iter().map(session).collect(), total }))
}

/// The latest messages of a conversation and how many there are, once it is in the audit whose records they show again.
async fn seen(
    app: &App,
    caller: &Caller,
    session_id: &str,
    most: i64,
    action: &'static str,
) -> Result<(Vec<Message>, i64), Failure> {
    let found = app.kept()?.messages(caller, session_id, most).await?;
    let (messages, shown, total) = found.ok_or(Failure::NotFound)?;
    let clients = shown.clients().into_iter().collect();
    app.seen(caller, Seen { action, clients, ..Seen::default() }, std::iter::empty()).await?;
    Ok((messages, total))
}

/// Shows a conversation.
#[utoipa::path(get, path = "/chat/sessions/{session_id}/messages", tag = "conversations",
    params(("session_id" = String, Path), ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many, the latest; 100")),
    responses((status = 200, description = "Its messages, the latest last", body = Messages), Missing, Problems))]
pub(super) async fn messages(
    State(app): State<App>,
    caller: Caller,
    Id(session_id): Id,
    Parameters(mut fields): Parameters,
) -> Result<Json<Messages>, Failure> {
    let most = limit(&mut fields, MESSAGES);
    fields.finish()?;
    let (messages, total) = seen(&app, &caller, &session_id, most, "conversation").await?;
    let message = |message: Message| SessionMessage {
        id: message.id,
        role: message.role,
        content: message.content,
        context_ids: message.context_ids,
        suggested_terms: message.suggested_terms,
        term_feedback: message.term_feedback,
        rating: message.rating,
        timestamp: rfc3339(message.timestamp),
    };
    Ok(Json(Messages { session_id, messages: messages.into_iter().map(message).collect(), total }))
}

/// Removes a conversation with all that belongs to it: messages, feedback, how answers came about.
#[utoipa::path(delete, path = "/chat/sessions/{session_id}", tag = "conversations", params(("session_id" = String, Path)),
    responses((status = 204, description = "It is gone"), Missing, Problems))]
pub(super) async fn remove(
    State(app): State<App>,
    caller: Caller,
    Id(session_id): Id,
) -> Result<StatusCode, Failure> {
    match app.kept()?.remove(&caller.name, &session_id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Failure::NotFound),
    }
}

/// Appends a conversation to the ChatHistory sheet.
#[utoipa::path(post, path = "/chat/sessions/{session_id}/export", tag = "conversations", params(("session_id" = String, Path)),
    responses((status = 200, description = "It stands in the sheet", body = Exported),
        (status = 409, description = "Records do not come from a spreadsheet", body = crate::error::Problem), Missing, Problems))]
pub(super) async fn export(
    State(app): State<App>,
    caller: Caller,
    Id(session_id): Id,
) -> Result<Json<Exported>, Failure> {
    let (messages, _) = seen(&app, &caller, &session_id, i64::MAX, "export").await?;
    let row = |message: Message| -> Vec<String> {
        vec![
            session_id.clone(),
            caller.name.clone(),
            message.role.to_owned(),
            message.content,
            serde_json::json!(message.context_ids).to_string(),
            serde_json::json!(message.suggested_terms).to_string(),
            message.term_feedback.to_string(),
            rfc3339(message.timestamp),
        ]
    };
    let rows: Vec<Vec<String>> = messages.into_iter().map(row).collect();
    let exported = setup::export(&app.settings, &rows);
    tokio::time::timeout(app.deadline(), exported).await.map_err(|_| Failure::TimedOut)??;
    Ok(Json(Exported { session_id, rows: rows.len() }))
}

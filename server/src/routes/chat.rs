//! `POST /chat` and `POST /chat/stream`: a question and its cited answer, whole or as it comes.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use serde::Serialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use super::item::{KnowledgeItem, items};
use crate::answer::converse::{Turn, Whole, converse, whole};
use crate::answer::{self, Step, Summary};
use crate::app::App;
use crate::error::{Failure, Problems};
use crate::request::Fields;
use crate::retrieve::Question;
use crate::retrieve::caller::Caller;
use crate::retrieve::understand::Part;

/// Most characters of a message.
pub(super) const LONGEST_MESSAGE: usize = 2000;
/// Most rows of context that a caller may ask for, and how many there are if the request does not say.
pub(super) const MOST_CONTEXT: usize = 20;
/// Rows of context if the request says null.
const NULL_CONTEXT: usize = 5;
/// How often a silent stream shows that it is alive.
const PING_EVERY: Duration = Duration::from_secs(15);

/// A question.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of what `read` takes, for the OpenAPI document")]
pub(super) struct ChatRequest {
    /// The question.
    #[schema(min_length = 1, max_length = 2000, example = "久保田さんのバルーンの交換はいつですか")]
    message: String,
    /// The conversation that it belongs to; begun with it if there is none. The answer says its id.
    session_id: Option<String>,
    /// Not used: whose conversation it is follows from who is signed in.
    user_id: Option<String>,
    /// Only records of this client.
    client_id: Option<String>,
    /// Only records of this domain: nursing, clients, calls, sales.
    domain: Option<String>,
    /// Only records of this kind, such as care_record.
    source_type: Option<String>,
    /// Only records with one of these tags.
    tags: Option<Vec<String>>,
    /// Only records of this day or later ones, YYYY-MM-DD.
    date_from: Option<String>,
    /// Only records of this day or earlier ones, YYYY-MM-DD.
    date_to: Option<String>,
    /// Not used.
    context_ids: Option<Vec<String>>,
    /// Records that the answer may rest on.
    #[schema(minimum = 1, maximum = 20, default = 20)]
    context_size: Option<u8>,
    /// Not used: the address says whether the answer is streamed.
    #[schema(default = true)]
    stream: Option<bool>,
    /// Parts of the understanding of the question to switch off.
    without: Option<Vec<Part>>,
}

fn read(mut fields: Fields, caller: Caller) -> Result<Turn, Failure> {
    let text = fields.required_text("message", LONGEST_MESSAGE);
    let question = Question {
        limits: fields.limits(),
        top: fields.number("context_size", 1, MOST_CONTEXT, MOST_CONTEXT, NULL_CONTEXT),
        without: fields.names("without", Part::KNOWN),
        ..Question::new(text, caller)
    };
    let session_id = fields.optional_id("session_id");
    fields.optional_text("user_id");
    fields.check_texts("context_ids");
    fields.flag("stream", true);
    fields.finish()?;
    Ok(Turn::new(question, session_id))
}

/// The ids of a turn and how its answer came about.
#[derive(Serialize, ToSchema)]
pub(super) struct Metadata {
    /// The conversation; send it with the next question.
    session_id: String,
    /// The answer, for `/feedback` and `/answers`.
    message_id: String,
    #[serde(flatten)]
    summary: Summary,
}

/// What an assistant says.
#[derive(Serialize, ToSchema)]
pub(super) struct Said {
    /// `assistant`.
    role: &'static str,
    /// The answer, Markdown with marks `[1]` that number the rows of `context`.
    content: String,
    /// RFC 3339.
    timestamp: String,
}

/// An answer.
#[derive(Serialize, ToSchema)]
pub(super) struct ChatResponse {
    /// The conversation.
    session_id: String,
    message: Said,
    /// The rows that were found, best first.
    context: Vec<KnowledgeItem>,
    /// Words to try, where the rows hold no answer.
    suggested_terms: Vec<String>,
    processing_time_ms: u64,
    metadata: Metadata,
}

/// A moment as clients read it.
pub(super) fn rfc3339(moment: OffsetDateTime) -> String {
    moment.format(&Rfc3339).unwrap_or_default()
}

/// Answers in one piece.
#[utoipa::path(post, path = "/chat", tag = "questions", request_body = ChatRequest,
    responses((status = 200, description = "The answer", body = ChatResponse), Problems))]
pub(super) async fn chat(
    State(app): State<App>,
    caller: Caller,
    fields: Fields,
) -> Result<Json<ChatResponse>, Failure> {
    let mut turn = read(fields, caller)?;
    turn.question.at_once = true;
    let now = app.now;
    let Turn { session_id, message_id, .. } = turn.clone();
    let Whole { text, evidence, mut summary } = whole(converse(app, turn)).await?;
    Ok(Json(ChatResponse {
        session_id: session_id.clone(),
        message: Said { role: "assistant", content: text, timestamp: rfc3339(now()) },
        context: items(&evidence),
        suggested_terms: std::mem::take(&mut summary.suggested_terms),
        processing_time_ms: summary.total_time_ms,
        metadata: Metadata { session_id, message_id, summary: *summary },
    }))
}

/// One event. All seven keys are always there; what is new in karute sits inside `metadata`.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Chunk {
    /// `status`, `context`, `text`, `done` or `error`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Of `text`: a piece of the answer.
    content: Option<String>,
    /// Of `context`: the rows that were found.
    context: Option<Vec<KnowledgeItem>>,
    /// Of `done`.
    suggested_terms: Option<Vec<String>>,
    /// Of `error`: what happened.
    error: Option<String>,
    /// Of `status`: `searching`, `reranking` or `generating`.
    status: Option<&'static str>,
    metadata: Option<Map<String, Value>>,
}

impl Chunk {
    fn status(status: &'static str, message: impl Into<String>, mut metadata: Map<String, Value>) -> Self {
        metadata.insert("message".into(), Value::String(message.into()));
        Self { kind: "status", status: Some(status), metadata: Some(metadata), ..Self::default() }
    }

    fn event(&self) -> Event {
        let name = if self.kind == "error" { "error" } else { "message" };
        // Texts, numbers and lists of them: there is nothing in a chunk that JSON cannot say.
        Event::default().event(name).data(serde_json::to_string(self).unwrap_or_default())
    }
}

/// A server-sent event.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of an event, for the OpenAPI document")]
pub(super) struct ServerEvent {
    /// `message`, or `error` for the last event of a stream that broke off.
    event: String,
    /// A `Chunk` as JSON.
    data: String,
}

/// Answers as the answer comes: status, context, status, text..., done; an error event ends a stream that broke off.
#[utoipa::path(post, path = "/chat/stream", tag = "questions", request_body = ChatRequest,
    responses((status = 200, description = "Server-sent events", content_type = "text/event-stream", body = ServerEvent), Problems))]
pub(super) async fn stream(
    State(app): State<App>,
    caller: Caller,
    fields: Fields,
) -> Result<Response, Failure> {
    let turn = read(fields, caller)?;
    let ids = (turn.session_id.clone(), turn.message_id.clone());
    let served = app.clone();
    let steps = begun(converse(app, turn)).await?;
    let events = steps.flat_map(move |step| {
        let chunks = match step {
            Ok(step) => chunks(&ids, step),
            Err(failure) => vec![failed(&served, &ids, &failure)],
        };
        futures_util::stream::iter(chunks.into_iter().map(|chunk| Ok::<Event, Infallible>(chunk.event())))
    });
    Ok(sse(events))
}

/// How long a stream keeps its status back.
const EARLY: Duration = Duration::from_millis(300);

/// `steps`, of which the search is over or takes its time: before the first byte an honest status can still be sent.
///
/// # Errors
/// The first failure, if it comes soon.
pub(super) async fn begun(
    steps: impl Stream<Item = Result<Step, Failure>> + Send + 'static,
) -> Result<impl Stream<Item = Result<Step, Failure>> + Send + 'static, Failure> {
    let mut steps = Box::pin(steps);
    let until = tokio::time::Instant::now() + EARLY;
    let mut first = Vec::new();
    while !matches!(first.last(), Some(Ok(Step::Found(_)))) {
        match tokio::time::timeout_at(until, steps.next()).await {
            Ok(Some(Err(failure))) => return Err(failure),
            Ok(Some(step)) => first.push(step),
            Ok(None) | Err(_) => break,
        }
    }
    Ok(futures_util::stream::iter(first).chain(steps))
}

/// A stream of events that proxies hand on as they come.
pub(super) fn sse(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(PING_EVERY).text("ping"));
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    ([unbuffered], sse).into_response()
}

/// Ids of the conversation and of the answer, as the first and the last event of a stream tell them.
type Ids = (String, String);

fn told((session_id, message_id): &Ids) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("session_id".into(), json!(session_id));
    metadata.insert("message_id".into(), json!(message_id));
    metadata
}

/// The events of a step, in the order that clients know.
fn chunks(ids: &Ids, step: Step) -> Vec<Chunk> {
    match step {
        Step::Searching => vec![Chunk::status("searching", "記録を検索しています。", told(ids))],
        Step::Found(retrieved) => {
            let mut metadata = Map::new();
            metadata.insert("search_time_ms".into(), json!(answer::milliseconds(retrieved.took)));
            if let Some(degraded) = retrieved.degraded() {
                metadata.insert("degraded".into(), json!(degraded));
            }
            let message = format!("{}件の記録が見つかりました。", retrieved.evidence.len());
            let context = Some(items(&retrieved.evidence));
            vec![
                Chunk::status("reranking", message, metadata),
                Chunk { kind: "context", context, ..Chunk::default() },
            ]
        }
        Step::Generating => vec![Chunk::status("generating", "回答を作成しています。", Map::new())],
        Step::Text(text) => vec![Chunk { kind: "text", content: Some(text), ..Chunk::default() }],
        Step::Done(mut summary) => {
            let suggested_terms = Some(std::mem::take(&mut summary.suggested_terms));
            let mut metadata = told(ids);
            if let Ok(Value::Object(fields)) = serde_json::to_value(summary) {
                metadata.extend(fields);
            }
            vec![Chunk { kind: "done", suggested_terms, metadata: Some(metadata), ..Chunk::default() }]
        }
    }
}

/// The last event of a stream that failed.
fn failed(app: &App, ids: &Ids, failure: &Failure) -> Chunk {
    failure.log();
    app.metrics.failed(failure.code());
    let mut metadata = told(ids);
    metadata.insert("code".into(), json!(failure.code()));
    Chunk { kind: "error", error: Some(failure.message()), metadata: Some(metadata), ..Chunk::default() }
}

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
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::item::{KnowledgeItem, items};
use crate::answer::{self, Step, Summary};
use crate::error::Failure;
use crate::request::Fields;
use crate::retrieve::caller::Caller;
use crate::retrieve::understand::Part;
use crate::retrieve::{Evidence, Question};
use crate::state::App;

/// Most characters of a message.
const LONGEST_MESSAGE: usize = 2000;
/// Most rows of context that a caller may ask for, and how many there are if the request does not say.
const MOST_CONTEXT: usize = 20;
/// Rows of context if the request says null.
const NULL_CONTEXT: usize = 5;
/// How often a silent stream shows that it is alive.
const PING_EVERY: Duration = Duration::from_secs(15);

/// A question with the ids of its conversation.
struct Asked {
    question: Question,
    session_id: String,
    message_id: String,
}

impl Asked {
    fn read(mut fields: Fields) -> Result<Self, Failure> {
        let text = fields.required_text("message", LONGEST_MESSAGE);
        let question = Question {
            client_id: fields.optional_text("client_id"),
            domain: fields.optional_text("domain"),
            top: fields.number("context_size", 1, MOST_CONTEXT, MOST_CONTEXT, NULL_CONTEXT),
            without: fields.names("without", Part::KNOWN),
            ..Question::new(text, Caller::everything())
        };
        let session_id = fields.optional_text("session_id");
        fields.optional_text("user_id");
        fields.check_texts("context_ids");
        fields.flag("stream", true);
        fields.finish()?;
        Ok(Self {
            question,
            session_id: session_id.unwrap_or_else(|| Uuid::new_v4().to_string()),
            message_id: Uuid::new_v4().to_string(),
        })
    }

    /// What the first and the last event of a stream, and the metadata of a whole answer, say about it.
    fn metadata(&self) -> Map<String, Value> {
        let mut metadata = Map::new();
        metadata.insert("session_id".into(), json!(self.session_id));
        metadata.insert("message_id".into(), json!(self.message_id));
        metadata
    }
}

/// Adds the fields of `value`, an object, to `metadata`.
fn extend(metadata: &mut Map<String, Value>, value: &impl Serialize) {
    if let Ok(Value::Object(fields)) = serde_json::to_value(value) {
        metadata.extend(fields);
    }
}

/// Answers in one piece.
pub(super) async fn chat(State(app): State<App>, fields: Fields) -> Result<Json<Value>, Failure> {
    let asked = Asked::read(fields)?;
    let (now, deadline) = (app.now, app.deadline());
    let steps = answer::run(app, asked.question.clone(), Vec::new());
    let (text, evidence, summary) =
        tokio::time::timeout(deadline, collect(steps)).await.map_err(|_| Failure::TimedOut)??;
    let mut metadata = asked.metadata();
    extend(&mut metadata, &summary);
    Ok(Json(json!({
        "session_id": asked.session_id,
        "message": {
            "role": "assistant",
            "content": text,
            "timestamp": now().format(&Rfc3339).unwrap_or_default(),
        },
        "context": items(&evidence),
        "suggested_terms": summary.suggested_terms,
        "processing_time_ms": summary.total_time_ms,
        "metadata": metadata,
    })))
}

/// Gathers the steps of an answer.
async fn collect(
    steps: impl Stream<Item = Result<Step, Failure>>,
) -> Result<(String, std::sync::Arc<[Evidence]>, Box<Summary>), Failure> {
    let mut steps = std::pin::pin!(steps);
    let (mut text, mut evidence) = (String::new(), std::sync::Arc::default());
    while let Some(step) = steps.next().await {
        match step? {
            Step::Found(retrieved) => evidence = retrieved.evidence,
            Step::Text(piece) => text.push_str(&piece),
            Step::Done(summary) => return Ok((text, evidence, summary)),
            Step::Searching | Step::Generating => {}
        }
    }
    Err(Failure::Internal("the answer ended without its last step".into()))
}

/// One event. All seven keys are always there; what is new in karute sits inside `metadata`.
#[derive(Debug, Default, Serialize)]
struct Chunk {
    #[serde(rename = "type")]
    kind: &'static str,
    content: Option<String>,
    context: Option<Vec<KnowledgeItem>>,
    suggested_terms: Option<Vec<String>>,
    error: Option<String>,
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

/// Answers as the answer comes.
pub(super) async fn stream(State(app): State<App>, fields: Fields) -> Result<Response, Failure> {
    let asked = Asked::read(fields)?;
    // Before the first byte an honest status can still be sent.
    app.index()?;
    let steps = answer::run(app, asked.question.clone(), Vec::new());
    let events = steps.flat_map(move |step| {
        let chunks = match step {
            Ok(step) => chunks(&asked, step),
            Err(failure) => vec![failed(&asked, &failure)],
        };
        futures_util::stream::iter(chunks.into_iter().map(|chunk| Ok::<Event, Infallible>(chunk.event())))
    });
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(PING_EVERY).text("ping"));
    // Proxies must hand each event on as it comes.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(([unbuffered], sse).into_response())
}

/// The events of a step, in the order that clients know.
fn chunks(asked: &Asked, step: Step) -> Vec<Chunk> {
    match step {
        Step::Searching => vec![Chunk::status("searching", "記録を検索しています。", asked.metadata())],
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
        Step::Done(summary) => {
            let mut metadata = asked.metadata();
            extend(&mut metadata, &summary);
            let suggested_terms = Some(summary.suggested_terms);
            vec![Chunk { kind: "done", suggested_terms, metadata: Some(metadata), ..Chunk::default() }]
        }
    }
}

/// The last event of a stream that failed.
fn failed(asked: &Asked, failure: &Failure) -> Chunk {
    failure.log();
    let mut metadata = asked.metadata();
    metadata.insert("code".into(), json!(failure.code()));
    Chunk { kind: "error", error: Some(failure.message()), metadata: Some(metadata), ..Chunk::default() }
}

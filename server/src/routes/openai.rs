//! `/v1`: the same answers for programs that speak OpenAI's interface. Where an answer comes from stands in the field
//! `karute`, which other programs pass over.
//!
//! Shapes: OpenAI's API reference, "Chat", "Embeddings" and "Models", as its Python client 2.x reads them.

use std::convert::Infallible;

use axum::Json;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use karute_sync::embed::Task;
use karute_sync::generate::Finish;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoResponses, ToSchema};

use super::chat::{LONGEST_MESSAGE, MOST_CONTEXT, begun, sse};
use super::item::{KnowledgeItem, items};
use crate::answer::converse::{Whole, whole};
use crate::answer::{self, Exchange, Step, Summary};
use crate::app::App;
use crate::error::Failure;
use crate::money::Payer;
use crate::request::{Fields, Id};
use crate::retrieve::Question;
use crate::retrieve::caller::Caller;
use crate::shutdown::until_the_end;

/// The model that answers: retrieval and whatever KARUTE_ANSWERERS names.
const MODEL: &str = "karute";
/// Most messages of a conversation that are looked at, the latest; and most texts to embed at once.
const MESSAGES: usize = 200;
const TEXTS: usize = 32;
/// Most characters of a text to embed.
const LONGEST_TEXT: usize = 8192;

/// A message of a conversation.
#[derive(Clone, Deserialize, ToSchema)]
pub(super) struct ChatMessage {
    /// `system`, `developer`, `user` or `assistant`. What a system says is not used: karute has its own rules.
    role: String,
    /// A text, or a list of parts `{"type": "text", "text": ...}`.
    #[serde(default)]
    #[schema(value_type = serde_json::Value)]
    content: Value,
}

impl ChatMessage {
    fn text(&self) -> String {
        match &self.content {
            Value::String(text) => text.clone(),
            Value::Array(parts) => {
                parts.iter().filter_map(|part| part.get("text")?.as_str()).collect::<Vec<_>>().join("\n")
            }
            _ => String::new(),
        }
    }
}

/// A conversation whose last message is the question. Whoever sends it keeps it: nothing of it is kept here. How a model writes
/// is set here: `temperature`, `max_tokens`, `stop` and the like are passed over.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of what `completions` takes, for the OpenAPI document")]
pub(super) struct CompletionRequest {
    /// Any: `/v1/models` names what answers.
    model: String,
    /// The last one is the question, of the role user.
    messages: Vec<ChatMessage>,
    /// Whether to stream.
    stream: Option<bool>,
    /// `include_usage`: whether a streamed answer ends with an event of its usage.
    #[schema(value_type = Option<Object>)]
    stream_options: Option<Value>,
    /// Only records of this client; a field of karute's own.
    client_id: Option<String>,
    /// Only records of this domain; a field of karute's own.
    domain: Option<String>,
    /// Only records of this kind; a field of karute's own.
    source_type: Option<String>,
    /// Only records with one of these tags; a field of karute's own.
    tags: Option<Vec<String>>,
    /// Only records of this day or later ones, YYYY-MM-DD; a field of karute's own.
    date_from: Option<String>,
    /// Only records of this day or earlier ones, YYYY-MM-DD; a field of karute's own.
    date_to: Option<String>,
}

/// A failure in the shape of OpenAI's errors.
#[derive(Debug)]
pub(super) struct Refused(Failure);

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        self.0.log();
        self.0.response(json!({ "error": ErrorBody::of(&self.0) }))
    }
}

/// What failed.
#[derive(Serialize, ToSchema)]
struct ErrorBody {
    message: String,
    /// `invalid_request_error` or `karute`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The first field that is wrong.
    param: Option<String>,
    code: &'static str,
}

impl ErrorBody {
    fn of(failure: &Failure) -> Self {
        let fault = match failure {
            Failure::Invalid(faults) => faults.first(),
            _ => None,
        };
        let param = fault.and_then(|fault| Some(fault.loc.last()?.as_str()?.to_owned()));
        let kind = if failure.status().is_client_error() { "invalid_request_error" } else { "karute" };
        let message = fault.map_or_else(|| failure.message(), |fault| fault.msg.clone());
        Self { message, kind, param, code: failure.code() }
    }
}

/// The body of a failed request.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of what `Refused` writes, for the OpenAPI document")]
pub(super) struct ErrorAnswer {
    error: ErrorBody,
}

/// How requests fail, for the OpenAPI document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "as above")]
enum Refusals {
    /// No credential, or one that is none.
    #[response(status = 401)]
    Unauthorised(ErrorAnswer),
    /// The caller may not do this.
    #[response(status = 403)]
    Forbidden(ErrorAnswer),
    /// The caller asks too much.
    #[response(status = 429)]
    TooMany(ErrorAnswer),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorAnswer),
    /// The body is not said to be JSON.
    #[response(status = 415)]
    NotJson(ErrorAnswer),
    /// The request's fields are wrong.
    #[response(status = 422)]
    Invalid(ErrorAnswer),
    /// Something failed inside.
    #[response(status = 500)]
    Internal(ErrorAnswer),
    /// A service elsewhere did not do its part.
    #[response(status = 502)]
    Elsewhere(ErrorAnswer),
    /// No snapshot is served yet.
    #[response(status = 503)]
    NotReady(ErrorAnswer),
    /// It took too long.
    #[response(status = 504)]
    TimedOut(ErrorAnswer),
}

/// Where an answer comes from.
#[derive(Serialize, ToSchema)]
pub(super) struct Extension {
    /// The rows that were found, best first; the marks `[1]` number them.
    context: Vec<KnowledgeItem>,
    /// Words to try, where the rows hold no answer.
    suggested_terms: Vec<String>,
    #[serde(flatten)]
    summary: Summary,
}

/// How the answer is to come.
struct Delivery {
    streamed: bool,
    with_usage: bool,
}

fn read(mut fields: Fields, caller: Caller) -> Result<(Question, Vec<Exchange>, Delivery), Failure> {
    fields.must("messages");
    fields.optional_text("model");
    let messages: Vec<ChatMessage> = fields.optional("messages", "a list of objects with role and content");
    let options: serde_json::Map<String, Value> = fields.optional("stream_options", "an object");
    let delivery = Delivery {
        streamed: fields.optional::<Option<bool>>("stream", "true or false").unwrap_or(false),
        with_usage: options.get("include_usage") == Some(&Value::Bool(true)),
    };
    let format: serde_json::Map<String, Value> = fields.optional("response_format", "an object");
    let is_text = format.get("type").is_none_or(|kind| kind == "text");
    fields.check("response_format", is_text, "of the type text: answers are texts");
    let limits = fields.limits();
    let text = messages.last().filter(|last| last.role == "user").map(ChatMessage::text).unwrap_or_default();
    fields.check(
        "messages",
        (1..=LONGEST_MESSAGE).contains(&text.chars().count()),
        "a conversation whose last message is a question of the role user, 1 to 2000 characters",
    );
    fields.finish()?;
    let earlier = exchanges(&messages[messages.len().saturating_sub(MESSAGES)..]);
    let question = Question {
        limits,
        top: MOST_CONTEXT,
        earlier: earlier.iter().map(|exchange| exchange.question.clone()).collect(),
        ..Question::new(text, caller)
    };
    Ok((question, earlier, delivery))
}

/// Questions with the answers that follow them; the last message, which is not answered yet, is none.
fn exchanges(messages: &[ChatMessage]) -> Vec<Exchange> {
    let mut found = Vec::new();
    let mut question: Option<String> = None;
    for message in messages {
        match (message.role.as_str(), question.take()) {
            ("user", _) => question = Some(message.text()),
            ("assistant", Some(asked)) => found.push(Exchange { question: asked, answer: message.text() }),
            (_, asked) => question = asked,
        }
    }
    found
}

/// Why an answer ended, in OpenAI's words.
fn finish_reason(summary: &Summary) -> &'static str {
    match summary.finish {
        None | Some(Finish::Stop) => "stop",
        // Whatever ended it, it is not all of it.
        Some(_) => "length",
    }
}

fn usage(summary: &Summary) -> Value {
    let usage = summary.usage.unwrap_or_default();
    let completion = usage.output_tokens + usage.thought_tokens;
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": completion,
        "total_tokens": usage.input_tokens + completion,
    })
}

/// A question and its answer.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "OpenAI", request_body = CompletionRequest,
    responses((status = 200, description = "The answer as a `chat.completion`, or, streamed, `chat.completion.chunk` events and `[DONE]`; \
    the field `karute` says where it comes from", content((Object = "application/json"), (String = "text/event-stream"))), Refusals))]
pub(super) async fn completions(
    State(app): State<App>,
    caller: Caller,
    fields: Result<Fields, Failure>,
) -> Result<Response, Refused> {
    let (question, earlier, delivery) = read(fields?, caller)?;
    let id = format!("chatcmpl-{}", uuid::Uuid::new_v4().simple());
    let question = Question { answer_id: id.clone(), ..question };
    let created = (app.now)().unix_timestamp();
    if delivery.streamed {
        let steps = begun(until_the_end(app.clone(), answer::run(app.clone(), question, earlier))).await?;
        return Ok(chunks(&app, steps, delivery, id, created));
    }
    let question = Question { at_once: true, ..question };
    let Whole { text, evidence, mut summary } =
        whole(until_the_end(app.clone(), answer::run(app, question, earlier))).await?;
    let (finish_reason, usage) = (finish_reason(&summary), usage(&summary));
    let suggested_terms = std::mem::take(&mut summary.suggested_terms);
    Ok(Json(json!({
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": MODEL,
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": text, "refusal": null },
            "logprobs": null,
            "finish_reason": finish_reason,
        }],
        "usage": usage,
        "karute": Extension { context: items(&evidence), suggested_terms, summary: *summary },
    }))
    .into_response())
}

/// The answer as it comes.
fn chunks(
    app: &App,
    steps: impl Stream<Item = Result<Step, Failure>> + Send + 'static,
    delivery: Delivery,
    id: String,
    created: i64,
) -> Response {
    let bare = move |choices: Value| {
        json!({
            "id": id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": MODEL,
            "choices": choices,
        })
    };
    let with_usage = delivery.with_usage;
    let last = bare.clone();
    let chunk = move |delta: Value, finish_reason: Value, karute: Value| {
        let mut chunk =
            bare(json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason }]));
        if !karute.is_null() {
            chunk["karute"] = karute;
        }
        Event::default().data(chunk.to_string())
    };
    let metrics = app.metrics.clone();
    let events = steps.flat_map(move |step| {
        let events = match step {
            Ok(Step::Searching) => {
                vec![chunk(json!({ "role": "assistant", "content": "" }), Value::Null, Value::Null)]
            }
            Ok(Step::Found(retrieved)) => {
                let karute = json!({ "context": items(&retrieved.evidence) });
                vec![chunk(json!({}), Value::Null, karute)]
            }
            Ok(Step::Generating) => Vec::new(),
            Ok(Step::Text(text)) => vec![chunk(json!({ "content": text }), Value::Null, Value::Null)],
            Ok(Step::Done(summary)) => {
                let mut karute = json!(summary);
                karute["suggested_terms"] = json!(summary.suggested_terms);
                let mut events = vec![chunk(json!({}), json!(finish_reason(&summary)), karute)];
                if with_usage {
                    let mut counted = last(json!([]));
                    counted["usage"] = usage(&summary);
                    events.push(Event::default().data(counted.to_string()));
                }
                events.push(Event::default().data("[DONE]"));
                events
            }
            // OpenAI's client raises what stands in `error`.
            Err(failure) => {
                failure.log();
                metrics.failed(failure.code());
                vec![Event::default().data(json!({ "error": ErrorBody::of(&failure) }).to_string())]
            }
        };
        futures_util::stream::iter(events.into_iter().map(Ok::<Event, Infallible>))
    });
    sse(events)
}

/// Texts to embed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of what `embeddings` takes, for the OpenAPI document")]
pub(super) struct EmbeddingRequest {
    /// Any: the embedder of the snapshot embeds.
    model: String,
    /// A text, or a list of 1 to 32 texts of 1 to 8192 characters, as far as they fit into a body (KARUTE_MAX_BODY_BYTES).
    #[schema(value_type = serde_json::Value)]
    input: Value,
    /// Must be that of the embedder, if it is there: vectors are not cut.
    dimensions: Option<u32>,
    /// `float` or `base64` (little-endian f32).
    encoding_format: Option<String>,
}

/// Embeds texts as questions are embedded. A text without a word gets a vector of zeros.
#[utoipa::path(post, path = "/v1/embeddings", tag = "OpenAI", request_body = EmbeddingRequest,
    responses((status = 200, description = "A list of `embedding` objects", body = Embeddings), Refusals))]
pub(super) async fn embeddings(
    State(app): State<App>,
    caller: Caller,
    fields: Result<Fields, Failure>,
) -> Result<Json<Embeddings>, Refused> {
    let mut fields = fields?;
    fields.must("input");
    fields.optional_text("model");
    let input: Value = fields.optional("input", "a text or a list of texts");
    let texts: Vec<String> = match input {
        Value::String(text) => vec![text],
        other => serde_json::from_value(other).unwrap_or_default(),
    };
    let each = |text: &String| (1..=LONGEST_TEXT).contains(&text.chars().count());
    fields.check(
        "input",
        (1..=TEXTS).contains(&texts.len()) && texts.iter().all(each),
        "a text or a list of 1 to 32 texts of 1 to 8192 characters",
    );
    let format = fields.optional_text("encoding_format").unwrap_or_else(|| "float".into());
    let dimensions = app.embedder.identity().dimensions as usize;
    let wanted: Option<usize> = fields.optional("dimensions", "a whole number");
    fields.check(
        "dimensions",
        wanted.is_none_or(|wanted| wanted == dimensions),
        &format!("{dimensions}, which is what the embedder gives"),
    );
    fields.check("encoding_format", ["float", "base64"].contains(&format.as_str()), "float or base64");
    fields.finish()?;
    let till = app.till(Payer { caller: caller.name, answer_id: String::new() });
    let mut data = Vec::with_capacity(texts.len());
    let until = tokio::time::Instant::now() + app.deadline();
    let embed = async {
        for batch in texts.chunks(app.embedder.batch_size().max(1)) {
            let usd = app.embedder.usd(batch.len() as u64, batch.iter().map(|text| text.len() as u64).sum());
            let call = app.embedder.embed(batch, Task::Query);
            for embedding in till.pay(&app.upstreams.embedder, "embed", usd, until, call).await? {
                let vector = embedding.map_or_else(|| vec![0.0; dimensions], |found| found.vector().to_vec());
                let embedding = match format.as_str() {
                    "base64" => Numbers::Packed(base64(&vector)),
                    _ => Numbers::Plain(vector),
                };
                data.push(EmbeddingItem { object: "embedding", index: data.len(), embedding });
            }
        }
        Ok::<(), Failure>(())
    };
    app.unless_ending(embed).await?;
    till.settled().await;
    // A token is at least one byte of text.
    let tokens: usize = texts.iter().map(String::len).sum();
    Ok(Json(Embeddings {
        object: "list",
        data,
        model: app.embedder.identity().model.clone(),
        usage: json!({ "prompt_tokens": tokens, "total_tokens": tokens }),
    }))
}

/// Vectors of texts.
#[derive(Serialize, ToSchema)]
pub(super) struct Embeddings {
    /// `list`.
    object: &'static str,
    data: Vec<EmbeddingItem>,
    model: String,
    #[schema(value_type = Object)]
    usage: Value,
}

/// A vector of a text.
#[derive(Serialize, ToSchema)]
pub(super) struct EmbeddingItem {
    /// `embedding`.
    object: &'static str,
    index: usize,
    embedding: Numbers,
}

/// The numbers of a vector. Written as they are, of 32 bits: as JSON values they would be twice as long.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Numbers {
    Plain(Vec<f32>),
    Packed(String),
}

fn base64(vector: &[f32]) -> String {
    use base64::Engine;
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A model.
#[derive(Serialize, ToSchema)]
pub(super) struct Model {
    id: String,
    /// `model`.
    object: &'static str,
    /// When the snapshot in force was built, seconds since 1970.
    created: i64,
    owned_by: &'static str,
}

/// What answers and what embeds.
#[derive(Serialize, ToSchema)]
pub(super) struct Models {
    /// `list`.
    object: &'static str,
    data: Vec<Model>,
}

/// Lists what answers and what embeds.
#[utoipa::path(get, path = "/v1/models", tag = "OpenAI",
    responses((status = 200, description = "Models", body = Models), Refusals))]
pub(super) async fn models(State(app): State<App>, _caller: Caller) -> Result<Json<Models>, Refused> {
    Ok(Json(Models { object: "list", data: known(&app)? }))
}

/// One of them.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "OpenAI", params(("id" = String, Path)),
    responses((status = 200, description = "The model", body = Model),
        (status = 404, description = "There is no such model", body = ErrorAnswer), Refusals))]
pub(super) async fn model(
    State(app): State<App>,
    _caller: Caller,
    id: Result<Id, Failure>,
) -> Result<Json<Model>, Refused> {
    let Id(id) = id?;
    Ok(Json(known(&app)?.into_iter().find(|model| model.id == id).ok_or(Failure::NotFound)?))
}

fn known(app: &App) -> Result<Vec<Model>, Failure> {
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;
    let built_at = OffsetDateTime::parse(&app.index()?.provenance().built_at, &Rfc3339).ok();
    let created = built_at.map_or(0, OffsetDateTime::unix_timestamp);
    let model = |id: &str| Model { id: id.to_owned(), object: "model", created, owned_by: "karute" };
    Ok(vec![model(MODEL), model(&app.embedder.identity().model)])
}

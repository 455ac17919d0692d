//! A question of a conversation: understood from what went before, answered, and kept.

use std::sync::Arc;
use std::time::Duration;

use async_stream::try_stream;
use futures_util::StreamExt;
use futures_util::stream::Stream;
use karute_engine::SnapshotId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Exchange, Step, Summary, run};
use crate::app::App;
use crate::error::Failure;
use crate::retrieve::caller::{Caller, Scope};
use crate::retrieve::limits::Limits;
use crate::retrieve::understand::Part;
use crate::retrieve::{Evidence, Question, Retrieved};
use crate::shutdown::until_the_end;
use crate::state::{Entry, Shown};

/// How long a database is waited for at the beginning and at the end of an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is said when the conversation could not be read.
const NOT_REMEMBERED: &str = "会話の履歴を読めなかったため、この質問だけから答えました。";
/// What is said when the answer could not be kept.
const NOT_KEPT: &str = "この回答を履歴に保存できませんでした。";

/// A question and the ids under which it and its answer are kept.
#[derive(Clone, Debug)]
pub struct Turn {
    /// The question.
    pub question: Question,
    /// The conversation.
    pub session_id: String,
    /// Whether it begins with this question.
    pub is_new: bool,
    /// The answer.
    pub message_id: String,
}

impl Turn {
    /// A question of this conversation, or of a new one.
    pub fn new(question: Question, session_id: Option<String>) -> Self {
        let fresh = || Uuid::new_v4().to_string();
        let message_id = fresh();
        let question = Question { answer_id: message_id.clone(), ..question };
        let is_new = session_id.is_none();
        Self { question, session_id: session_id.unwrap_or_else(fresh), is_new, message_id }
    }
}

/// What a retrieval can be made again from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replayable {
    /// The question.
    pub text: String,
    /// Questions before it.
    pub earlier: Vec<String>,
    /// The rows that it was limited to.
    #[serde(flatten)]
    pub limits: Limits,
    /// Rows that were wanted.
    pub top: usize,
    /// Parts of the understanding that were switched off.
    pub without: Vec<Part>,
    /// When it was asked, seconds since 1970.
    pub asked_at: i64,
    /// Whose rows could be seen by whoever asked: clients, domains, and whether rows of nobody; records of earlier versions do not
    /// say it.
    #[serde(default)]
    pub seeing: Option<(Scope, Scope, bool)>,
}

impl Replayable {
    fn of(question: &Question, asked_at: OffsetDateTime) -> Self {
        let Question { text, earlier, limits, top, without, caller, .. } = question.clone();
        let seeing = Some((caller.clients, caller.domains, caller.unowned));
        Self { text, earlier, limits, top, without, asked_at: asked_at.unix_timestamp(), seeing }
    }

    /// The question again, of `caller`, who sees no more of the rows than whoever asked it.
    pub fn question(self, mut caller: Caller) -> Question {
        let Self { text, earlier, limits, top, without, asked_at, seeing } = self;
        if let Some(seeing) = seeing {
            (caller.clients, caller.domains, caller.unowned) = seeing;
        }
        let asked_at = OffsetDateTime::from_unix_timestamp(asked_at).ok();
        Question { earlier, limits, top, without, asked_at, ..Question::new(text, caller) }
    }
}

/// A row that was found, and why it stands where it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The row's id.
    pub id: String,
    /// What it is ranked by.
    pub score: f32,
    /// Its rank among the rows that vectors brought up, from 1.
    pub rank_by_vector: Option<usize>,
    /// Cosine.
    pub similarity: f32,
    /// Its rank among the rows that words brought up, from 1.
    pub rank_by_words: Option<usize>,
    /// BM25F score.
    pub keywords: f32,
    /// Its rank in the mix of both, from 1.
    pub rank_mixed: usize,
}

impl From<&Evidence> for Candidate {
    fn from(evidence: &Evidence) -> Self {
        Self {
            id: evidence.row.id.clone(),
            score: evidence.score,
            rank_by_vector: evidence.by_vector,
            similarity: evidence.similarity,
            rank_by_words: evidence.by_words,
            keywords: evidence.keywords,
            rank_mixed: evidence.mixed,
        }
    }
}

/// Answers a question in its conversation and keeps both. The stream is that of [`run`]; what could not be read or kept is
/// said in the last step. Of an answer that broke off, what was handed over is kept.
pub fn converse(app: App, turn: Turn) -> impl Stream<Item = Result<Step, Failure>> + Send {
    try_stream! {
        let asked_at = (app.now)();
        let Turn { mut question, session_id, is_new, message_id } = turn;
        let ((earlier, mut shown), forgotten) = match is_new {
            true => Default::default(),
            false => remembered(&app, &question.caller, &session_id).await,
        };
        question.earlier = earlier.iter().map(|exchange| exchange.question.clone()).collect();
        let begins = earlier.is_empty();
        let (replayable, owner) = (Replayable::of(&question, asked_at), question.caller.name.clone());
        let mut found: Option<Box<Retrieved>> = None;
        let mut answer = String::new();
        // If the program ends meanwhile, what was shown until then is kept, too.
        let mut steps = std::pin::pin!(until_the_end(app.clone(), run(app.clone(), question, earlier)));
        let mut entry = |retrieved: &Retrieved, answer: String, summary: &Summary| {
            // What earlier answers told may be told in this one.
            shown.0.extend(pairs(&retrieved.evidence));
            Entry {
                id: message_id.clone(),
                owner: owner.clone(),
                conversation: session_id.clone(),
                begins,
                question_id: Uuid::new_v4().to_string(),
                question: replayable.text.clone(),
                answer,
                context_ids: retrieved.evidence.iter().map(|found| found.row.id.clone()).collect(),
                shown: shown.clone(),
                suggested_terms: summary.suggested_terms.clone(),
                record: record(&replayable, retrieved, summary),
                asked_at,
                answered_at: (app.now)(),
            }
        };
        while let Some(step) = steps.next().await {
            match step {
                Ok(Step::Done(mut summary)) => {
                    if let Some(forgotten) = forgotten {
                        summary.also(forgotten);
                    }
                    if let Some(retrieved) = &found
                        && !kept(&app, &entry(retrieved, std::mem::take(&mut answer), &summary)).await
                    {
                        summary.also(NOT_KEPT);
                    }
                    yield Step::Done(summary);
                }
                Err(failure) => {
                    // Whoever asks on has read what there was of it.
                    if let Some(retrieved) = found.as_ref().filter(|_| !answer.is_empty()) {
                        let summary = broken_off(&app, retrieved, &failure);
                        kept(&app, &entry(retrieved, std::mem::take(&mut answer), &summary)).await;
                    }
                    Err(failure)?;
                }
                Ok(step) => {
                    match &step {
                        Step::Found(retrieved) => found = Some(retrieved.clone()),
                        Step::Text(text) => answer.push_str(text),
                        _ => {}
                    }
                    yield step;
                }
            }
        }
    }
}

/// How an answer came about that broke off when part of it had been handed over.
fn broken_off(app: &App, retrieved: &Retrieved, failure: &Failure) -> Summary {
    Summary {
        evidence_score: retrieved.verdict.score,
        mode: "broken_off",
        embedder: app.embedder.identity().model.clone(),
        degraded: Some(failure.message()),
        reason: Some(failure.code()),
        snapshot_id: retrieved.snapshot.to_string(),
        expanded_terms: retrieved.understood.terms.clone(),
        ..Summary::default()
    }
}

/// The conversation so far, and what to say if it could not be read.
async fn remembered(
    app: &App,
    caller: &Caller,
    conversation: &str,
) -> ((Vec<Exchange>, Shown), Option<&'static str>) {
    let nothing = (Vec::new(), Shown::default());
    let most = i64::try_from(app.settings.history_exchanges).unwrap_or(i64::MAX);
    if most == 0 || !app.settings.history {
        return (nothing, None);
    }
    let Some(state) = app.state() else { return (nothing, Some(NOT_REMEMBERED)) };
    let reading =
        tokio::time::timeout(PATIENCE.min(app.deadline() / 3), state.exchanges(caller, conversation, most));
    match reading.await {
        Ok(Ok(exchanges)) => (exchanges, None),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a question is answered without its conversation");
            (nothing, Some(NOT_REMEMBERED))
        }
        Err(_) => {
            tracing::warn!("the conversation was not read in time");
            (nothing, Some(NOT_REMEMBERED))
        }
    }
}

/// Whether the exchange was kept, or need not be.
async fn kept(app: &App, entry: &Entry) -> bool {
    if !app.settings.history {
        return true;
    }
    let Some(state) = app.state() else { return false };
    match tokio::time::timeout(PATIENCE.min(app.deadline() / 3), state.keep(entry)).await {
        Ok(Ok(kept)) => kept,
        Ok(Err(error)) => {
            tracing::error!(%error, "an answer was not kept");
            false
        }
        Err(_) => {
            tracing::error!("an answer was not kept in time");
            false
        }
    }
}

/// Whose rows these are.
fn pairs(evidence: &[Evidence]) -> impl Iterator<Item = (String, String)> {
    evidence.iter().map(|found| (found.row.client_id.clone(), found.row.domain.clone()))
}

/// How an answer came about.
fn record(question: &Replayable, retrieved: &Retrieved, summary: &Summary) -> serde_json::Value {
    let candidates: Vec<Candidate> = retrieved.evidence.iter().map(Candidate::from).collect();
    json!({
        "snapshot_id": retrieved.snapshot.to_string(),
        "question": question,
        "candidates": candidates,
        "reranked_by": retrieved.reranked_by,
        "summary": summary,
    })
}

/// What a recorded answer says of its retrieval.
#[derive(Clone, Debug, Deserialize)]
pub struct Replay {
    /// The snapshot that was searched.
    pub snapshot_id: String,
    /// The question.
    pub question: Replayable,
    /// The rows that were found.
    pub candidates: Vec<Candidate>,
}

/// A row whose place is another one now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moved {
    /// The row's id.
    pub id: String,
    /// Its rank then, from 1; `None` if it was not found.
    pub then: Option<usize>,
    /// Its rank now, from 1; `None` if it is not found.
    pub now: Option<usize>,
}

/// What two retrievals of the same question have in common.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The snapshot of then.
    pub snapshot_then: String,
    /// The snapshot of now.
    pub snapshot_now: String,
    /// Rows that both found at the same rank.
    pub same: usize,
    /// Rows that stand elsewhere, in the order of then, new ones last.
    pub moved: Vec<Moved>,
}

impl Difference {
    /// Between what was found then and what is found now.
    pub fn between(then: &Replay, found: &[Evidence], snapshot: SnapshotId) -> Self {
        let rank = |ids: &[&String], id: &String| ids.iter().position(|own| *own == id).map(|at| at + 1);
        let before: Vec<&String> = then.candidates.iter().map(|candidate| &candidate.id).collect();
        let after: Vec<&String> = found.iter().map(|evidence| &evidence.row.id).collect();
        let new = after.iter().filter(|id| rank(&before, id).is_none());
        let mut difference = Self {
            snapshot_then: then.snapshot_id.clone(),
            snapshot_now: snapshot.to_string(),
            same: 0,
            moved: Vec::new(),
        };
        for &id in before.iter().chain(new) {
            let (then, now) = (rank(&before, id), rank(&after, id));
            match then == now {
                true => difference.same += 1,
                false => difference.moved.push(Moved { id: id.clone(), then, now }),
            }
        }
        difference
    }
}

/// A whole answer.
pub struct Whole {
    /// Its text.
    pub text: String,
    /// The rows that were found.
    pub evidence: Arc<[Evidence]>,
    /// How it came about.
    pub summary: Box<Summary>,
}

/// Gathers the steps of an answer.
///
/// # Errors
/// The first failure.
pub async fn whole(steps: impl Stream<Item = Result<Step, Failure>>) -> Result<Whole, Failure> {
    let mut steps = std::pin::pin!(steps);
    let (mut text, mut evidence) = (String::new(), Arc::default());
    while let Some(step) = steps.next().await {
        match step? {
            Step::Found(retrieved) => evidence = retrieved.evidence,
            Step::Text(piece) => text.push_str(&piece),
            Step::Done(summary) => return Ok(Whole { text, evidence, summary }),
            Step::Searching | Step::Generating => {}
        }
    }
    Err(Failure::Internal("the answer ended without its last step".into()))
}

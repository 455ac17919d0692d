//! From a question to a cited answer, without HTTP: retrieve, decide whether the records answer it, answer.

mod extract;

use std::time::{Duration, Instant};

use async_stream::try_stream;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, Stream};
use serde::Serialize;

use crate::error::Failure;
use crate::retrieve::gate::NOTHING_FOUND;
use crate::retrieve::understand::ExpandedTerm;
use crate::retrieve::{Evidence, Question, Retrieved, retrieve};
use crate::state::App;
pub use extract::Extractive;

/// A sentence of an answer rests on these bytes of a row's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Citation {
    /// The number in the answer's `[n]`: the row's rank in the context, from 1.
    pub number: usize,
    /// The row's id.
    pub id: String,
    /// The row's heading.
    pub title: String,
    /// The day that the row is about, `YYYY-MM-DD`, or empty.
    pub date: String,
    /// Spreadsheet that the row stands in.
    pub spreadsheet: String,
    /// Sheet that the row stands in.
    pub sheet: String,
    /// Row number in the sheet as a person sees it.
    pub row: u32,
    /// First byte of the quoted sentence in the row's content.
    pub start: usize,
    /// Byte after its last.
    pub end: usize,
}

/// A piece of an answer as it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text to show.
    Text(String),
    /// What the text before it rests on.
    Cited(Citation),
}

/// Turns evidence into an answer, piece by piece. Dropping the stream cancels the work.
pub trait Answerer: Send + Sync {
    /// How it answers: `extractive` quotes records word for word.
    fn mode(&self) -> &'static str;

    /// Name and version of what answers.
    fn model(&self) -> &str;

    /// Answers `question` from `evidence`, which the gate has found sufficient.
    fn answer<'a>(
        &'a self,
        question: &'a str,
        evidence: &'a [Evidence],
    ) -> BoxStream<'a, Result<Piece, Failure>>;
}

/// How an answer came about.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Whether the records held an answer. If not, the text is [`NOTHING_FOUND`].
    pub answered: bool,
    /// The probability that the records answer the question, 0 to 1, by the gate.
    pub evidence_score: f32,
    /// How the answerer works.
    pub mode: &'static str,
    /// Name and version of the answerer.
    pub model: String,
    /// Name and version of the embedder.
    pub embedder: String,
    /// What the search had to leave out; absent when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<String>,
    /// Id of the snapshot that was searched.
    pub snapshot_id: String,
    /// Terms of the question that were looked for under other names too.
    pub expanded_terms: Vec<ExpandedTerm>,
    /// Words to try, where the records hold no answer.
    #[serde(skip)]
    pub suggested_terms: Vec<String>,
    /// What the answer rests on, in the order of its sentences.
    pub citations: Vec<Citation>,
    /// Milliseconds for all of it.
    pub total_time_ms: u64,
    /// Milliseconds until the rows were found.
    pub search_time_ms: u64,
    /// Milliseconds for the answer.
    pub generation_time_ms: u64,
}

/// What happens while a question is answered, in this order.
#[derive(Clone, Debug)]
pub enum Step {
    /// The search begins.
    Searching,
    /// The rows are there.
    Found(Box<Retrieved>),
    /// The answer begins.
    Generating,
    /// A piece of it.
    Text(String),
    /// It is complete.
    Done(Box<Summary>),
}

/// Answers a question. The stream ends behind [`Step::Done`] or the first failure.
pub fn run(app: App, question: Question) -> impl Stream<Item = Result<Step, Failure>> + Send {
    try_stream! {
        let began = Instant::now();
        yield Step::Searching;
        let retrieved = retrieve(&app, &question).await?;
        let evidence = retrieved.evidence.clone();
        let (snapshot_id, search_time) = (retrieved.snapshot.to_string(), retrieved.took);
        let (degraded, verdict) = (retrieved.degraded(), retrieved.verdict);
        let (expanded_terms, suggested_terms) = (retrieved.understood.terms.clone(), retrieved.suggested.clone());
        yield Step::Found(Box::new(retrieved));
        yield Step::Generating;

        let generating = Instant::now();
        let mut citations = Vec::new();
        if verdict.answerable {
            let mut pieces = app.answerer.answer(&question.text, &evidence);
            while let Some(piece) = pieces.next().await {
                match piece? {
                    Piece::Text(text) => yield Step::Text(text),
                    Piece::Cited(citation) => citations.push(citation),
                }
            }
        } else {
            yield Step::Text(NOTHING_FOUND.to_owned());
        }
        yield Step::Done(Box::new(Summary {
            answered: verdict.answerable,
            evidence_score: verdict.score,
            mode: app.answerer.mode(),
            model: app.answerer.model().to_owned(),
            embedder: app.embedder.identity().model.clone(),
            degraded,
            snapshot_id,
            expanded_terms,
            suggested_terms,
            citations,
            total_time_ms: milliseconds(began.elapsed()),
            search_time_ms: milliseconds(search_time),
            generation_time_ms: milliseconds(generating.elapsed()),
        }));
    }
}

/// Whole milliseconds.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

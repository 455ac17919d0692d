//! How rows were found, for those who ask: what was understood, what each arm said, where a row says it, what it took.

use std::ops::Range;

use karute_engine::{Index, Origin, Promise};
use serde::Serialize;

use super::highlight::Highlighter;
use super::limits::Limits;
use super::signals::Signals;
use super::understand::Understood;
use super::{Evidence, Planned, Question, Retrieved, Stages, gate};

/// How a retrieval went.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// What was understood of the question.
    pub understood: Understood,
    /// What the caller limited the search to.
    pub filter: Limits,
    /// How vectors were searched; `None` for a question without a vector.
    pub plan: Option<Planned>,
    /// The recall that the snapshot promises; `None` where every search is exact.
    pub recall: Option<Promise>,
    /// Whether there is an answer, and why.
    pub gate: Judged,
    /// The snapshot.
    pub snapshot_id: String,
    /// Microseconds by stage.
    pub microseconds: Stages,
    /// Every row, in the order of the results.
    pub hits: Vec<Hit>,
}

/// The gate's decision with what it looked at.
#[derive(Debug, Serialize)]
pub struct Judged {
    /// Whether there is an answer.
    pub answerable: bool,
    /// The probability of one.
    pub probability: f32,
    /// The least that counts as an answer.
    pub threshold: f32,
    /// Where the gate's numbers come from.
    pub origin: String,
}

/// A row and why it stands where it does.
#[derive(Debug, Serialize)]
pub struct Hit {
    /// The row's id.
    pub id: String,
    /// What it is ranked by.
    pub score: f32,
    /// Its rank in the mix of both arms, from 1.
    pub rank_mixed: usize,
    /// Its rank and cosine among the rows that vectors brought up.
    pub vector: Option<Arm>,
    /// Its rank and BM25F score among the rows that words brought up.
    pub words: Option<Arm>,
    /// What the reranker saw.
    pub signals: Signals,
    /// Whether it speaks of whom the question names.
    pub about: bool,
    /// Byte ranges of the title and the content that hold words of the question or other names of its terms.
    pub matched: Matched,
    /// Rows that say the same, each with its place.
    pub same: Vec<Same>,
}

/// A row that says the same.
#[derive(Debug, Serialize)]
pub struct Same {
    /// The row's id.
    pub id: String,
    /// The sheet that it stands in.
    pub sheet: String,
    /// Its number there.
    pub row: u32,
}

impl Same {
    /// Of a row's id and place.
    pub fn of((id, origin): &(String, Origin)) -> Self {
        Self { id: id.clone(), sheet: origin.sheet.clone(), row: origin.row_number }
    }
}

/// What an arm said of a row.
#[derive(Debug, Serialize)]
pub struct Arm {
    /// From 1.
    pub rank: usize,
    /// Cosine, or BM25F score.
    pub score: f32,
}

/// Where a row says what the question asks.
#[derive(Debug, Serialize)]
pub struct Matched {
    /// Byte ranges of the title.
    pub title: Vec<Range<usize>>,
    /// Byte ranges of the content.
    pub content: Vec<Range<usize>>,
}

/// Explains `retrieved`, found for `question` in `index`.
///
/// # Errors
/// A snapshot that turns out to be damaged.
pub fn explain(
    question: &Question,
    retrieved: &Retrieved,
    gate: &gate::Gate,
    index: &Index,
) -> Result<Explanation, karute_engine::OpenError> {
    let marks = Highlighter::new(&retrieved.understood);
    let hit = |evidence: &Evidence| Hit {
        id: evidence.row.id.clone(),
        score: evidence.score,
        rank_mixed: evidence.mixed,
        vector: evidence.by_vector.map(|rank| Arm { rank, score: evidence.similarity }),
        words: evidence.by_words.map(|rank| Arm { rank, score: evidence.keywords }),
        signals: evidence.signals,
        about: evidence.about,
        matched: Matched {
            title: marks.find(&evidence.row.title),
            content: marks.find(&evidence.row.content),
        },
        same: evidence.same.iter().map(Same::of).collect(),
    };
    Ok(Explanation {
        understood: retrieved.understood.clone(),
        filter: question.limits.clone(),
        plan: retrieved.explained.clone().map(|planned| planned.for_whom(&question.caller)),
        recall: index.promise()?,
        gate: Judged {
            answerable: retrieved.verdict.answerable,
            probability: retrieved.verdict.score,
            threshold: gate.threshold,
            origin: gate.origin.clone(),
        },
        snapshot_id: retrieved.snapshot.to_string(),
        microseconds: retrieved.stages,
        hits: retrieved.evidence.iter().map(hit).collect(),
    })
}

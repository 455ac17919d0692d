//! Measuring retrieval on judged questions: by each arm, by both, and as the answers see it.
//!
//! A file of questions holds one JSON object a line: `question`, `relevant` (a list of row ids, or an object of ids with
//! grades), and optionally `client_id`, `domain`, `unanswerable: true`.

pub mod metrics;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::answer::{self, Evidence, Question};
use crate::state::App;
use metrics::{Measures, Refusals, interval};

/// Rows that each question retrieves: more than any measure looks at.
const DEPTH: usize = 100;

/// A question whose relevant rows are known.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    /// The question.
    pub question: String,
    /// Relevant rows, with grades where some are more relevant than others.
    #[serde(default)]
    pub relevant: Relevant,
    /// Only rows of this client.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Only rows of this domain.
    #[serde(default)]
    pub domain: Option<String>,
    /// Whether no record answers it.
    #[serde(default)]
    pub unanswerable: bool,
}

/// Relevant rows as they may be written.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Relevant {
    /// All alike.
    Ids(Vec<String>),
    /// Each with a grade.
    Grades(HashMap<String, f64>),
}

impl Default for Relevant {
    fn default() -> Self {
        Self::Ids(Vec::new())
    }
}

impl Relevant {
    fn grades(&self) -> HashMap<String, f64> {
        match self {
            Self::Ids(ids) => ids.iter().map(|id| (id.clone(), 1.0)).collect(),
            Self::Grades(grades) => grades.clone(),
        }
    }
}

/// Questions that cannot be measured with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A line is no judged question.
    #[error("line {line} of {path} is no judged question: {detail}")]
    Line {
        /// The file.
        path: String,
        /// The line's number.
        line: usize,
        /// What is wrong.
        detail: String,
    },
    /// A retrieval failed.
    #[error("question {number} could not be searched: {detail}")]
    Search {
        /// The question's number, from 1.
        number: usize,
        /// What failed.
        detail: String,
    },
}

/// Reads a file of judged questions.
///
/// # Errors
/// A file that cannot be read, or a line that is none, with its number.
pub fn read(path: &Path) -> Result<Vec<Judged>, EvalError> {
    let name = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|source| EvalError::Io { path: name.clone(), source })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let questions = lines.map(|(at, line)| {
        let fault = |detail: String| EvalError::Line { path: name.clone(), line: at + 1, detail };
        let judged: Judged = serde_json::from_str(line).map_err(|error| fault(error.to_string()))?;
        match judged.unanswerable == judged.relevant.grades().values().any(|grade| *grade > 0.0) {
            true => Err(fault("either some row is relevant, or it is unanswerable".into())),
            false => Ok(judged),
        }
    });
    questions.collect()
}

/// What was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// The snapshot that was searched.
    pub snapshot_id: String,
    /// What embeds.
    pub embedder: String,
    /// Questions with relevant rows.
    pub answerable: usize,
    /// Questions without.
    pub unanswerable: usize,
    /// Mean measures by arm: `vectors`, `words`, `mixed`, and `ranked`, which is what answers rest on.
    pub arms: BTreeMap<String, Measures>,
    /// The middle 95 % of nDCG@10 of `ranked` over samples of the questions.
    pub ndcg_10_interval: (f64, f64),
    /// How unanswerable questions are refused.
    pub refusals: Refusals,
    /// Median and 99th percentile of a retrieval, milliseconds.
    pub milliseconds: (f64, f64),
}

/// Asks every question and measures.
///
/// # Errors
/// A retrieval that fails.
pub async fn evaluate(app: &App, questions: &[Judged]) -> Result<Evaluation, EvalError> {
    let mut by_arm: BTreeMap<&str, Vec<Measures>> = BTreeMap::new();
    let (mut refused, mut times) = (Vec::new(), Vec::new());
    let mut snapshot_id = String::new();
    for (number, judged) in (1..).zip(questions) {
        let question = Question {
            text: judged.question.clone(),
            client_id: judged.client_id.clone(),
            domain: judged.domain.clone(),
            top: DEPTH,
            ..Question::default()
        };
        let retrieved = answer::retrieve(app, &question).await;
        let retrieved =
            retrieved.map_err(|failure| EvalError::Search { number, detail: format!("{failure:?}") })?;
        snapshot_id = retrieved.snapshot.to_string();
        times.push(retrieved.took);
        refused.push((judged.unanswerable, !answer::is_answerable(&retrieved.evidence)));
        if judged.unanswerable {
            continue;
        }
        let grades = judged.relevant.grades();
        for (arm, ranking) in rankings(&retrieved.evidence) {
            by_arm.entry(arm).or_default().push(Measures::of(&ranking, &grades));
        }
    }
    let ranked: Vec<f64> =
        by_arm.get("ranked").into_iter().flatten().map(|measures| measures.ndcg_10).collect();
    Ok(Evaluation {
        snapshot_id,
        embedder: app.embedder.identity().model.clone(),
        answerable: ranked.len(),
        unanswerable: questions.len() - ranked.len(),
        arms: by_arm.iter().map(|(arm, all)| ((*arm).to_owned(), Measures::mean(all))).collect(),
        ndcg_10_interval: interval(&ranked),
        refusals: Refusals::of(&refused),
        milliseconds: percentiles(times),
    })
}

/// The order in which each arm puts the rows.
fn rankings(evidence: &[Evidence]) -> [(&'static str, Vec<String>); 4] {
    let by = |rank: fn(&Evidence) -> Option<usize>| {
        let mut rows: Vec<(usize, &str)> = evidence
            .iter()
            .filter_map(|evidence| Some((rank(evidence)?, evidence.row.id.as_str())))
            .collect();
        rows.sort_unstable();
        rows.into_iter().map(|(_, id)| id.to_owned()).collect()
    };
    [
        ("vectors", by(|evidence| evidence.by_vector)),
        ("words", by(|evidence| evidence.by_words)),
        ("mixed", by(|evidence| Some(evidence.mixed))),
        ("ranked", evidence.iter().map(|evidence| evidence.row.id.clone()).collect()),
    ]
}

fn percentiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: f64| {
        let place = ((times.len() as f64 - 1.0).max(0.0) * share).round() as usize;
        times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    (at(0.5), at(0.99))
}

impl Evaluation {
    /// By how much this one is better than `other`: nDCG@10 of what answers rest on, and F1 of refusals.
    pub fn against(&self, other: &Self) -> (f64, f64) {
        let ndcg = |evaluation: &Self| evaluation.arms.get("ranked").map_or(0.0, |measures| measures.ndcg_10);
        (ndcg(self) - ndcg(other), self.refusals.f1 - other.refusals.f1)
    }
}

//! Measuring retrieval on judged questions: by each arm, by both, and as the answers see it.
//!
//! A file of questions holds one JSON object a line: `question`, `relevant` (a list of row ids, or an object of ids with
//! grades), and optionally `client_id`, `domain`, `earlier` questions of the same conversation, `asked_on` a day,
//! `unanswerable: true`.

pub mod calibrate;
pub mod chart;
pub mod metrics;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use karute_engine::lexical::tokens::counted;
use karute_engine::{Filter, Query};
use karute_sync::embed::Task;
use serde::{Deserialize, Serialize};
use time::macros::{date, format_description, offset, time};
use time::{Date, OffsetDateTime};

use crate::app::App;
use crate::error::Failure;
use crate::money::Payer;
use crate::retrieve::caller::{ANONYMOUS, Caller};
use crate::retrieve::gate::features;
use crate::retrieve::limits::Limits;
use crate::retrieve::understand::Part;
use crate::retrieve::{Evidence, Question, Retrieved, Stages, retrieve};
use calibrate::Example;
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
    /// Questions of the same conversation before it, the latest last.
    #[serde(default)]
    pub earlier: Vec<String>,
    /// The day on which it is asked, `YYYY-MM-DD` in Japan; 2026-11-25 if none is named, so that no figure changes with the
    /// calendar.
    #[serde(default)]
    pub asked_on: Option<String>,
    /// Whether no record answers it.
    #[serde(default)]
    pub unanswerable: bool,
}

/// The day on which questions are asked that name none: some weeks after the last record of the sample.
const ASKED_ON: Date = date!(2026 - 11 - 25);

impl Judged {
    fn limits(&self) -> Limits {
        Limits { client_id: self.client_id.clone(), domain: self.domain.clone(), ..Limits::default() }
    }

    /// Noon of the day on which it is asked; `None` for a text that is no day.
    fn asked_at(&self) -> Option<OffsetDateTime> {
        let written = format_description!("[year]-[month]-[day]");
        let day = match &self.asked_on {
            None => ASKED_ON,
            Some(day) => Date::parse(day, written).ok()?,
        };
        Some(day.with_time(time!(12:00)).assume_offset(offset!(+9)))
    }
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
    /// The grade of each row.
    pub fn grades(&self) -> HashMap<String, f64> {
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
        if judged.asked_at().is_none() {
            return Err(fault("asked_on is no day written YYYY-MM-DD".into()));
        }
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
    /// Where the numbers of the gate come from.
    pub gate: String,
    /// Questions with relevant rows.
    pub answerable: usize,
    /// Questions without.
    pub unanswerable: usize,
    /// Mean measures by arm: `vectors` and `words`, each alone on the bare question; `mixed`; and `ranked`, which is what
    /// answers rest on.
    pub arms: BTreeMap<String, Measures>,
    /// Mean measures of `ranked` with one part of the understanding switched off.
    pub without: BTreeMap<String, Measures>,
    /// The middle 95 % of nDCG@10 of `ranked` over samples of the questions.
    pub ndcg_10_interval: (f64, f64),
    /// How unanswerable questions are refused.
    pub refusals: Refusals,
    /// Median and 99th percentile of a retrieval, milliseconds.
    pub milliseconds: (f64, f64),
    /// Median of each stage, microseconds: understanding, embedding, searching, ranking.
    pub stages: [f64; 4],
}

/// What each question gave: for measuring, for fitting the gate, and for other programs to measure.
#[derive(Debug, Default)]
pub struct Run {
    /// By arm, the ids in order, of every question with relevant rows.
    pub rankings: BTreeMap<String, Vec<Vec<String>>>,
    /// What the gate saw of every question, and whether it has an answer.
    pub examples: Vec<Example>,
}

/// Asks every question and measures.
///
/// # Errors
/// A retrieval that fails.
pub async fn evaluate(app: &App, questions: &[Judged]) -> Result<(Evaluation, Run), EvalError> {
    let (mut run, mut refused, mut took) = (Run::default(), Vec::new(), Vec::new());
    let mut snapshot_id = String::new();
    for (number, judged) in (1..).zip(questions) {
        let retrieved = ask(app, judged, number, &[]).await?;
        snapshot_id = retrieved.snapshot.to_string();
        took.push((retrieved.took, retrieved.stages));
        refused.push((judged.unanswerable, !retrieved.verdict.answerable));
        run.examples.push((features(&retrieved.evidence), !judged.unanswerable));
        if judged.unanswerable {
            continue;
        }
        for (arm, ranking) in rankings(&retrieved.evidence) {
            run.rankings.entry(arm.to_owned()).or_default().push(ranking);
        }
        for (arm, ranking) in alone(app, judged, number).await? {
            run.rankings.entry(arm.to_owned()).or_default().push(ranking);
        }
        for part in Part::ALL {
            let without = ask(app, judged, number, &[part]).await?;
            let [_, (_, ranking)] = rankings(&without.evidence);
            run.rankings.entry(without_name(part)).or_default().push(ranking);
        }
    }
    let grades: Vec<HashMap<String, f64>> = questions
        .iter()
        .filter(|judged| !judged.unanswerable)
        .map(|judged| judged.relevant.grades())
        .collect();
    let measured = |rankings: &Vec<Vec<String>>| -> Vec<Measures> {
        rankings.iter().zip(&grades).map(|(ranking, grades)| Measures::of(ranking, grades)).collect()
    };
    let mean =
        |(arm, rankings): (&String, &Vec<Vec<String>>)| (arm.clone(), Measures::mean(&measured(rankings)));
    let all: BTreeMap<String, Measures> = run.rankings.iter().map(mean).collect();
    let (without, arms) = all.into_iter().partition(|(arm, _)| arm.starts_with(WITHOUT));
    let ranked = run.rankings.get("ranked").map(measured).unwrap_or_default();
    let ranked: Vec<f64> = ranked.iter().map(|measures| measures.ndcg_10).collect();
    let evaluation = Evaluation {
        snapshot_id,
        embedder: app.embedder.identity().model.clone(),
        gate: app.gate.origin.clone(),
        answerable: ranked.len(),
        unanswerable: questions.len() - ranked.len(),
        arms,
        without,
        ndcg_10_interval: interval(&ranked),
        refusals: Refusals::of(&refused),
        milliseconds: {
            let times: Vec<f64> = took.iter().map(|(took, _)| took.as_secs_f64() * 1e3).collect();
            (percentile(&times, 0.5), percentile(&times, 0.99))
        },
        stages: [
            |stages: &Stages| stages.understand,
            |stages: &Stages| stages.embed,
            |stages: &Stages| stages.search,
            |stages: &Stages| stages.rank,
        ]
        .map(|of| percentile(&took.iter().map(|(_, stages)| of(stages) as f64).collect::<Vec<_>>(), 0.5)),
    };
    Ok((evaluation, run))
}

const WITHOUT: &str = "without ";

/// What a run with one part of the understanding switched off is called.
fn without_name(part: Part) -> String {
    let name = serde_json::to_value(part).ok();
    format!("{WITHOUT}{}", name.as_ref().and_then(|name| name.as_str()).unwrap_or_default())
}

async fn ask(app: &App, judged: &Judged, number: usize, without: &[Part]) -> Result<Retrieved, EvalError> {
    let question = Question {
        limits: judged.limits(),
        earlier: judged.earlier.clone(),
        asked_at: judged.asked_at(),
        top: DEPTH,
        without: without.to_vec(),
        ..Question::new(judged.question.clone(), Caller::operator())
    };
    let retrieved = retrieve(app, &question).await;
    retrieved.map_err(|failure| EvalError::Search { number, detail: format!("{failure:?}") })
}

/// The order in which each arm puts the rows. Rows that say the same stand one behind the other.
fn rankings(evidence: &[Evidence]) -> [(&'static str, Vec<String>); 2] {
    let ids = |evidence: &Evidence| {
        let same: Vec<String> = evidence.same.iter().map(|(id, _)| id.clone()).collect();
        std::iter::once(evidence.row.id.clone()).chain(same)
    };
    let by = |rank: fn(&Evidence) -> Option<usize>| {
        let mut rows: Vec<(usize, &Evidence)> =
            evidence.iter().filter_map(|evidence| Some((rank(evidence)?, evidence))).collect();
        rows.sort_by_key(|(rank, _)| *rank);
        rows.into_iter().flat_map(|(_, evidence)| ids(evidence)).collect()
    };
    [("mixed", by(|evidence| Some(evidence.mixed))), ("ranked", evidence.iter().flat_map(ids).collect())]
}

/// The order in which each arm alone puts the rows, of the bare question and nothing that was understood of it.
async fn alone(
    app: &App,
    judged: &Judged,
    number: usize,
) -> Result<[(&'static str, Vec<String>); 2], EvalError> {
    let failed = |detail: String| EvalError::Search { number, detail };
    let told = |failure: Failure| failed(format!("{failure:?}"));
    let index = app.index().map_err(told)?;
    let usd = app.embedder.usd(1, judged.question.len() as u64);
    let call = app.embedder.embed(std::slice::from_ref(&judged.question), Task::Query);
    let till = app.till(Payer { caller: ANONYMOUS.into(), answer_id: String::new() });
    let until = tokio::time::Instant::now() + app.deadline();
    let embedded = till.pay(&app.upstreams.embedder, "embed", usd, until, call).await;
    till.settled().await;
    let embedding = embedded.map_err(told)?.into_iter().next().flatten();
    let filter = judged.limits().narrow(Filter::everything());
    let of_rows = |rows: Vec<u32>| -> Result<Vec<String>, EvalError> {
        rows.into_iter()
            .map(|row| index.row(row).map(|row| row.id).map_err(|e| failed(e.to_string())))
            .collect()
    };
    let vectors = match &embedding {
        Some(embedding) => index.search(&Query::new(embedding).top(DEPTH).within(&filter)),
        None => Ok(Vec::new()),
    };
    let vectors = vectors.map_err(|error| failed(error.to_string()))?;
    let words = index.keyword_search(&counted(&judged.question), DEPTH, Some(&filter));
    let words = words.map_err(|error| failed(error.to_string()))?.unwrap_or_default();
    Ok([
        ("vectors", of_rows(vectors.iter().map(|hit| hit.row).collect())?),
        ("words", of_rows(words.iter().map(|hit| hit.row).collect())?),
    ])
}

/// The value below which a share of all lies; 0 of none.
fn percentile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let place = ((values.len() as f64 - 1.0).max(0.0) * share).round() as usize;
    values.get(place).copied().unwrap_or(0.0)
}

impl Evaluation {
    /// By how much this one is better than `other`: nDCG@10 of what answers rest on, and F1 of refusals.
    pub fn against(&self, other: &Self) -> (f64, f64) {
        let ndcg = |evaluation: &Self| evaluation.arms.get("ranked").map_or(0.0, |measures| measures.ndcg_10);
        (ndcg(self) - ndcg(other), self.refusals.f1 - other.refusals.f1)
    }
}

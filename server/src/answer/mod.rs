//! From a question to a cited answer, without HTTP: retrieve, decide whether the records answer it, answer.

pub mod check;
pub mod cite;
pub mod converse;
mod extract;
mod generated;
pub mod prompt;
pub mod remembered;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_stream::try_stream;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, Stream};
use karute_engine::Row;
use karute_sync::generate::{Finish, Finished, Usage};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::audit::Seen;
use crate::error::Failure;
use crate::money::Till;
use crate::retrieve::gate::NOTHING_FOUND;
use crate::retrieve::highlight::Highlighter;
use crate::retrieve::relevance::Vocabulary;
use crate::retrieve::understand::{ExpandedTerm, Understood};
use crate::retrieve::{Evidence, Question, Retrieved, retrieve};
use crate::upstream::Pass;
use check::{Checker, Verdict};
pub use cite::Citation;
pub use extract::Extractive;
pub use generated::Generated;
use remembered::{Remembered, answer_key};

/// A question and its answer, earlier in the same conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What was asked.
    pub question: String,
    /// What was answered.
    pub answer: String,
}

/// What an answerer is given.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The question.
    pub question: String,
    /// The conversation before it, the latest exchange last.
    pub earlier: Vec<Exchange>,
    /// The rows, best first, which the gate has found sufficient.
    pub evidence: Arc<[Evidence]>,
    /// What was understood of the question.
    pub understood: Understood,
    /// Where a call that costs something is reserved.
    pub till: Till,
}

impl Asked {
    /// What is looked for in the rows: the question as it was understood, with what it takes from those before it, its terms under
    /// their other names too, without whom it is about, who stands in every row.
    fn vocabulary(&self) -> Vocabulary {
        let Understood { text, terms, people, .. } = &self.understood;
        let mut text = if text.is_empty() { &self.question } else { text }.clone();
        for part in
            people.names.iter().flat_map(|name| std::iter::once(name.as_str()).chain(name.split_whitespace()))
        {
            text = text.replace(part, " ");
        }
        Vocabulary::new(&text, terms)
    }
}

/// A piece of an answer as it comes.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text to show.
    Text(String),
    /// What the text before it rests on.
    Cited(Citation),
    /// A model has said all that it will.
    Done {
        /// How it ended, and what it took.
        finished: Finished,
        /// What it cost, US dollars.
        usd: f64,
        /// Version of the rules that it was given.
        template: String,
        /// BLAKE3 of the prompt, without the mark that is another one each time; hexadecimal.
        prompt_digest: String,
        /// The bytes of each row's content that it was shown; `None` for a row that it was not.
        shown: Vec<Shown>,
        /// Whether it said, as its rules tell it to, that the rows hold no answer.
        found_nothing: bool,
    },
}

/// The bytes of a row's content that a model was shown, if it was shown the row.
pub type Shown = Option<Range<usize>>;

/// Turns evidence into an answer, piece by piece. Dropping the stream cancels the work.
pub trait Answerer: Send + Sync {
    /// How it answers: `extractive` quotes records word for word, `generated` lets a model write.
    fn mode(&self) -> &'static str;

    /// Name and version of what answers.
    fn model(&self) -> &str;

    /// What its answer to this question depends on besides the question and its evidence: the model, its rules.
    fn fingerprint(&self, _question: &str) -> String {
        self.model().to_owned()
    }

    /// Answers. A failure before the first piece lets another answerer try.
    fn answer<'a>(&'a self, asked: &'a Asked) -> BoxStream<'a, Result<Piece, Failure>>;
}

/// How an answer came about.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Summary {
    /// Whether the records held an answer. If not, the text is [`NOTHING_FOUND`].
    pub answered: bool,
    /// The probability that the records answer the question, 0 to 1, by the gate.
    pub evidence_score: f32,
    /// How the answerer works: `extractive`, `generated`, `search_only` where no answerer answered, `refused` where none was
    /// asked, since the records hold no answer; in what is kept also `broken_off`, of which `reason` is the failure's code.
    pub mode: &'static str,
    /// Name and version of what answered, by its own word.
    pub model: String,
    /// Name and version of the embedder.
    pub embedder: String,
    /// Version of the rules that a model was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// BLAKE3 of the prompt that a model was given, without the mark that is another one each time; hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_digest: Option<String>,
    /// Whether this answer was given before and is given again; absent if not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// What had to be left out; absent when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<String>,
    /// Why no answerer answered, for programs: `model_failed`, `model_timed_out`, `model_found_nothing`, `model_declined`, `budget_used_up`,
    /// `ledger_unreachable`; `ambiguous_person` where the question names several clients by one name; of what a model wrote,
    /// `cut_short` where it stopped before it was done, and `model_cited_nothing` where it rests on no record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Id of the snapshot that was searched.
    pub snapshot_id: String,
    /// Terms of the question that were looked for under other names too.
    pub expanded_terms: Vec<ExpandedTerm>,
    /// Words to try, where the records hold no answer.
    #[serde(skip)]
    pub suggested_terms: Vec<String>,
    /// Of each row that is shown in the place of an answer, the bytes of its content that hold words of the question.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Vec<Object>>)]
    pub highlights: Vec<Vec<Range<usize>>>,
    /// What the answer rests on, in the order of its sentences.
    pub citations: Vec<Citation>,
    /// What became of each sentence that a model wrote.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Verdict>,
    /// Why a model stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub finish: Option<Finish>,
    /// Tokens that a model took.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub usage: Option<Usage>,
    /// What the model cost, yen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_cost_jpy: Option<f64>,
    /// Milliseconds for all of it.
    pub total_time_ms: u64,
    /// Milliseconds until the rows were found.
    pub search_time_ms: u64,
    /// Milliseconds for the answer.
    pub generation_time_ms: u64,
}

impl Summary {
    /// Says that this was left out, too.
    fn also(&mut self, left_out: &str) {
        self.degraded.get_or_insert_default().push_str(left_out);
    }
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

/// What is said where not the first answerer answered, behind why it did not.
const ANOTHER_ANSWERED: &str = "別のものが答えました。";
/// What is said where no answerer answered, behind why.
const SEARCH_ONLY: &str = "見つかった記録をそのまま示します。";
/// What is said where what a model wrote could not be held against the rows.
const NOT_CHECKED: &str = "回答を記録と照合できませんでした。";
/// What is said where a model stopped before it was done.
const CUT_SHORT: &str = "回答は途中で終わっています。";
/// Rows that are shown then.
const SHOWN: usize = 5;

/// Answers a question that follows `earlier` exchanges. The stream ends behind [`Step::Done`] or the first failure. Until the
/// first piece of an answer every answerer may fail; then what was found is shown instead. Where answers are kept, one that
/// was given before is given again.
pub fn run(
    app: App,
    question: Question,
    earlier: Vec<Exchange>,
) -> impl Stream<Item = Result<Step, Failure>> + Send {
    try_stream! {
        let began = tokio::time::Instant::now();
        let Some(key) = answer_key(&app, &question, &earlier) else {
            let mut steps = std::pin::pin!(fresh(app, question, earlier, began));
            while let Some(step) = steps.next().await {
                yield step?;
            }
            return;
        };
        // Of several who ask the same at once, one asks the model and the others wait for his answer, but not so long that
        // none would be left of the time for their own.
        yield Step::Searching;
        let flight = app.flights.get_with(key, async { Arc::default() }).await;
        let _flight = tokio::time::timeout(app.deadline() / 2, flight.lock()).await;
        if let Some(known) = app.caches.answers.look(&key).await {
            Box::pin(see(&app, &question, &known.retrieved)).await?;
            let yen = known.yen();
            if yen > 0.0 {
                app.till(question.payer()).saved("answer", &known.summary.model, yen).await;
            }
            yield Step::Found(known.retrieved.clone());
            yield Step::Generating;
            yield Step::Text(known.text.clone());
            let mut summary = Box::new(known.summary.clone());
            summary.cached = true;
            summary.usage = None;
            summary.total_cost_jpy = summary.total_cost_jpy.map(|_| 0.0);
            summary.total_time_ms = milliseconds(began.elapsed());
            (summary.search_time_ms, summary.generation_time_ms) = (0, 0);
            app.metrics.answered(&summary);
            yield Step::Done(summary);
            return;
        }
        let (mut found, mut text) = (None, String::new());
        let mut steps = std::pin::pin!(fresh(app.clone(), question, earlier, began));
        while let Some(step) = steps.next().await {
            let step = step?;
            match &step {
                Step::Found(retrieved) => found = Some(retrieved.clone()),
                Step::Text(piece) => text.push_str(piece),
                Step::Done(summary) => {
                    let keep = found.take().and_then(|found| Remembered::keep(found, std::mem::take(&mut text), summary));
                    if let Some(keep) = keep {
                        app.caches.answers.put(key, (app.now)(), keep).await;
                    }
                }
                // That was said before.
                Step::Searching => continue,
                Step::Generating => {}
            }
            yield step;
        }
    }
}

/// Answers a question anew.
fn fresh(
    app: App,
    question: Question,
    earlier: Vec<Exchange>,
    began: tokio::time::Instant,
) -> impl Stream<Item = Result<Step, Failure>> + Send {
    try_stream! {
        yield Step::Searching;
        let retrieved = retrieve(&app, &question).await?;
        let mut summary = Summary {
            answered: retrieved.verdict.answerable,
            evidence_score: retrieved.verdict.score,
            embedder: app.embedder.identity().model.clone(),
            degraded: retrieved.degraded(),
            snapshot_id: retrieved.snapshot.to_string(),
            expanded_terms: retrieved.understood.terms.clone(),
            suggested_terms: retrieved.suggested.clone(),
            search_time_ms: milliseconds(retrieved.took),
            ..Summary::default()
        };
        let (till, evidence) = (app.till(question.payer()), retrieved.evidence.clone());
        let understood = retrieved.understood.clone();
        let asked = Asked { question: question.text.clone(), earlier, evidence, understood, till };
        Box::pin(see(&app, &question, &retrieved)).await?;
        yield Step::Found(Box::new(retrieved));
        yield Step::Generating;

        let generating = Instant::now();
        let mut text = String::new();
        if summary.answered {
            // What is handed over in one piece has one deadline; what streams has one for the first word, and one for all.
            let until = began + if question.at_once { app.deadline() } else { app.stream_deadline() };
            let answering = first_to_answer(&app, &asked, began, &mut summary).await;
            let (mut seen, mut found_nothing) = (Vec::new(), false);
            let mut is_answered = answering.is_some();
            if let Some((first, mut pieces, pass)) = answering {
                let mut next = Some(Ok::<Piece, Failure>(first));
                while let Some(piece) = next {
                    if let Err(failure) = &piece {
                        blame(&pass, failure);
                    }
                    let piece = match piece {
                        // Nothing of it has been handed over yet, so that something better can be.
                        Err(failure) if question.at_once => {
                            tracing::warn!(model = summary.model, reason = failure.detail(), "an answer broke off");
                            summary.reason = Some(reason_of(&failure));
                            is_answered = false;
                            break;
                        }
                        piece => piece?,
                    };
                    match piece {
                        Piece::Text(piece) => {
                            text.push_str(&piece);
                            if !question.at_once {
                                yield Step::Text(piece);
                            }
                        }
                        Piece::Cited(citation) => summary.citations.push(citation),
                        Piece::Done { finished, usd, template, prompt_digest, shown, found_nothing: nothing } => {
                            (seen, found_nothing) = (shown, nothing);
                            if finished.finish != Finish::Stop {
                                summary.reason = Some("cut_short");
                                summary.also(CUT_SHORT);
                            }
                            summary.model = finished.model;
                            summary.finish = Some(finished.finish);
                            summary.usage = finished.usage;
                            summary.total_cost_jpy = Some(usd * app.settings.usd_jpy);
                            summary.template = Some(template);
                            summary.prompt_digest = Some(prompt_digest);
                        }
                    }
                    next = match tokio::time::timeout_at(until, pieces.next()).await {
                        Ok(next) => next,
                        Err(_) => Some(Err(Failure::TimedOut)),
                    };
                }
                if is_answered {
                    pass.answered();
                }
            }
            if is_answered && question.at_once {
                yield Step::Text(text.clone());
            } else if !is_answered {
                summary.mode = "search_only";
                summary.model = String::new();
                summary.also(because(summary.reason));
                summary.also(SEARCH_ONLY);
                (text, summary.citations) = Default::default();
                for (piece, citation) in shown(&asked) {
                    text.push_str(&piece);
                    yield Step::Text(piece);
                    summary.citations.push(citation);
                }
                summary.highlights = highlights(&asked.understood, &asked.evidence);
            }
            // A model that found nothing in the rows has said so, and has nothing to cite.
            if found_nothing {
                summary.answered = false;
                summary.reason = Some("model_found_nothing");
            }
            let wrote = summary.mode == "generated" && summary.answered;
            let (evidence, mut citations, newest) = (asked.evidence.clone(), summary.citations, app.index()?);
            let catalogue = app.catalogue(&newest)?;
            // Not on the pool: what is paid for is not sent away at its last step because others wait to begin.
            let last = tokio::task::spawn_blocking(move || {
                let mut verdicts = Vec::new();
                if wrote {
                    (citations, verdicts) = checked(&text, &evidence, &seen);
                }
                cite::locate(&mut citations, &catalogue, &newest)?;
                Ok::<_, Failure>((citations, verdicts))
            });
            match last.await.map_err(|error| Failure::Internal(error.to_string())).flatten() {
                Ok(last) => {
                    (summary.citations, summary.verdicts) = last;
                    // Whatever it is, it rests on no record.
                    if wrote && summary.citations.is_empty() {
                        summary.answered = false;
                        summary.reason.get_or_insert("model_cited_nothing");
                    }
                }
                Err(failure) => {
                    tracing::error!(reason = failure.detail(), "an answer was not held against its rows");
                    (summary.citations, summary.verdicts) = Default::default();
                    summary.also(NOT_CHECKED);
                }
            }
        } else {
            summary.mode = "refused";
            let ambiguous = &asked.understood.people.ambiguous;
            if ambiguous.is_empty() {
                yield Step::Text(NOTHING_FOUND.to_owned());
            } else {
                summary.reason = Some("ambiguous_person");
                let names = ambiguous.join("、");
                yield Step::Text(format!("同じ名前の利用者が複数います（{names}）。姓名で質問してください。"));
            }
        }
        summary.total_time_ms = milliseconds(began.elapsed());
        summary.generation_time_ms = milliseconds(generating.elapsed());
        app.metrics.answered(&summary);
        yield Step::Done(Box::new(summary));
    }
}

/// Keeps in the audit what is about to be shown.
async fn see(app: &App, question: &Question, retrieved: &Retrieved) -> Result<(), Failure> {
    let seen = Seen {
        action: "ask",
        question: Some(&question.text),
        snapshot: Some(retrieved.snapshot.to_string()),
        answer_id: Some(question.answer_id.as_str()).filter(|id| !id.is_empty()),
        ..Seen::default()
    };
    app.seen(&question.caller, seen, retrieved.evidence.iter().map(|evidence| &evidence.row)).await
}

/// The first piece of the first answerer that gives one in time, with those behind it and the place that is held while they
/// come. `summary` says who it is, and why if it
/// is nobody.
async fn first_to_answer<'a>(
    app: &'a App,
    asked: &'a Asked,
    began: tokio::time::Instant,
    summary: &mut Summary,
) -> Option<(Piece, BoxStream<'a, Result<Piece, Failure>>, Pass<'a>)> {
    for (at, answerer) in app.answerers.iter().enumerate() {
        summary.mode = answerer.mode();
        summary.model = answerer.model().to_owned();
        // Who is asked first leaves time for those behind him.
        let now = tokio::time::Instant::now();
        let left = (began + app.deadline()).saturating_duration_since(now);
        let until = now + left / u32::try_from(app.answerers.len() - at).unwrap_or(1);
        let Some(upstream) = app.upstreams.answerers.get(at) else { continue };
        let pass = match tokio::time::timeout_at(until, upstream.enter()).await {
            Ok(Ok(pass)) => pass,
            Ok(Err(failure)) => {
                tracing::warn!(model = answerer.model(), reason = failure.detail(), "no answer");
                summary.reason.get_or_insert("model_failed");
                continue;
            }
            Err(_) => {
                summary.reason.get_or_insert("model_timed_out");
                continue;
            }
        };
        let mut pieces = answerer.answer(asked);
        match tokio::time::timeout_at(until, pieces.next()).await {
            Ok(Some(Ok(piece))) => {
                pass.begins();
                if at > 0 {
                    let why = summary.reason.take();
                    summary.also(because(why));
                    summary.also(ANOTHER_ANSWERED);
                }
                return Some((piece, pieces, pass));
            }
            Ok(Some(Err(failure))) => {
                tracing::warn!(model = answerer.model(), reason = failure.detail(), "no answer");
                blame(&pass, &failure);
                summary.reason.get_or_insert(reason_of(&failure));
            }
            Ok(None) => {
                pass.failed();
                summary.reason.get_or_insert("model_failed");
            }
            Err(_) => {
                // Whoever had no time to answer is not to be blamed for it.
                if !left.is_zero() {
                    pass.timed_out();
                }
                tracing::warn!(model = answerer.model(), "no answer in time");
                summary.reason.get_or_insert("model_timed_out");
            }
        }
    }
    None
}

/// Why somebody did not answer, for programs.
fn reason_of(failure: &Failure) -> &'static str {
    match failure {
        Failure::Budget(_) => "budget_used_up",
        Failure::State(_) => "ledger_unreachable",
        Failure::Declined(_) => "model_declined",
        Failure::TimedOut => "model_timed_out",
        _ => "model_failed",
    }
}

/// Why somebody did not answer, for people.
fn because(reason: Option<&'static str>) -> &'static str {
    match reason {
        Some("budget_used_up") => "モデルの利用料金が上限に達したため、",
        Some("ledger_unreachable") => "利用料金を記録できずモデルに尋ねられないため、",
        Some("model_declined") => "回答モデルがこの質問に答えなかったため、",
        _ => "回答モデルが応答しないため、",
    }
}

/// Says of a service what a failure says of it, if anything.
fn blame(pass: &Pass<'_>, failure: &Failure) {
    match failure {
        Failure::Budget(_) | Failure::State(_) => {}
        Failure::Declined(_) => pass.declined(),
        Failure::TimedOut => pass.timed_out(),
        _ => pass.failed(),
    }
}

/// What a model wrote, held against what it was `shown` of the rows that it cites. What it was not shown it cannot cite.
fn checked(text: &str, evidence: &[Evidence], shown: &[Shown]) -> (Vec<Citation>, Vec<Verdict>) {
    let seen = |(evidence, shown): (&Evidence, &Shown)| {
        let content = evidence.row.content.get(shown.clone()?)?.to_owned();
        Some(Row { content, ..evidence.row.clone() })
    };
    let rows: Vec<Option<Row>> = evidence.iter().zip(shown).map(seen).collect();
    let rows: Vec<Option<&Row>> = rows.iter().map(Option::as_ref).collect();
    let verdicts = check::Local.check(text, &rows);
    let cited = verdicts.iter().flat_map(|verdict| cite::citations(&verdict.sentence, evidence, shown));
    (cited.collect(), verdicts)
}

/// The best rows, each by its sentence that says most of the question.
fn shown(asked: &Asked) -> Vec<(String, Citation)> {
    let about = (1..).zip(asked.evidence.iter()).filter(|(_, evidence)| evidence.about).take(SHOWN);
    let vocabulary = asked.vocabulary();
    let line = |(number, evidence): (usize, &Evidence)| {
        let Row { title, date, content, .. } = &evidence.row;
        let citation = cite::best_sentence(number, evidence, 0..content.len(), &vocabulary);
        let said = content.get(citation.start..citation.end)?;
        let date = if date.is_empty() { String::new() } else { format!("（{date}）") };
        Some((format!("{title}{date}: {said} [{number}]\n"), citation))
    };
    about.filter_map(line).collect()
}

/// Where the rows that are shown say what was asked.
fn highlights(understood: &Understood, evidence: &[Evidence]) -> Vec<Vec<Range<usize>>> {
    let marks = Highlighter::new(understood);
    let about = evidence.iter().filter(|evidence| evidence.about).take(SHOWN);
    about.map(|evidence| marks.find(&evidence.row.content)).collect()
}

/// Whole milliseconds.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

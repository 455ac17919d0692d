//! Finding the rows that a question is about: understand it, search by vectors and by words within what the caller may
//! see, mix, collapse what is said twice, put in order, and judge whether there is an answer.

mod arms;
pub mod caller;
mod duplicates;
pub mod explain;
pub mod gate;
pub mod highlight;
pub mod limits;
pub(crate) mod relevance;
pub mod rerank;
pub mod signals;
pub mod understand;
pub mod wording;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use karute_engine::{Embedding, Filter, Index, Origin, Plan, Row, SnapshotId};
use karute_sync::embed::Task;
use serde::Serialize;
use time::OffsetDateTime;

use crate::app::App;
use crate::cache::{Fresh, Key, key};
use crate::config::RerankerKind;
use crate::error::Failure;
use crate::money::{Payer, Till};
pub use arms::{Lap, Planned, Silence};
use caller::Caller;
use gate::Verdict;
use limits::Limits;
use rerank::{Local, Reranker};
use signals::{Candidate, Signals, signals};
use understand::{Asked, Part, Understood, suggest, understand};
use wording::{Wording, Wordings};

/// Rows that each arm is asked for.
const CANDIDATES: usize = 100;

/// The share of a question's time that a model elsewhere may take: one in so many.
const SHARE: u32 = 3;

/// What is said when the embedder did not answer.
const WORDS_ALONE: &str = "埋め込みモデルが応答しないため、語だけで検索しました。";

/// What is said when the reranker did not answer.
const NOT_RERANKED: &str = "並べ替えモデルが応答しないため、この端末での順に並べました。";

/// What is left of the score of a row that does not speak of whom the question names.
const ABOUT_ANOTHER: f32 = 0.3;

/// What the newest row gains where the question asks for the newest, and the oldest does not.
const NEWEST: f32 = 0.3;

/// A question and what may be searched for its answer.
#[derive(Clone, Debug)]
pub struct Question {
    /// The question, as it was asked.
    pub text: String,
    /// Questions of the same conversation before it, the latest last.
    pub earlier: Vec<String>,
    /// Which rows it is limited to.
    pub limits: Limits,
    /// Rows to retrieve.
    pub top: usize,
    /// How the nearest rows are looked for.
    pub plan: Plan,
    /// Parts of the understanding that are switched off.
    pub without: Vec<Part>,
    /// Whether the answer is handed over in one piece, so that one that breaks off can still be replaced.
    pub at_once: bool,
    /// When it is asked, if not now: 昨日 is another day then.
    pub asked_at: Option<OffsetDateTime>,
    /// Id of the answer that it is asked for; empty for none.
    pub answer_id: String,
    /// Who asks.
    pub caller: Caller,
}

impl Question {
    /// A question of `caller` over all that he may see.
    pub fn new(text: impl Into<String>, caller: Caller) -> Self {
        Self {
            text: text.into(),
            earlier: Vec::new(),
            limits: Limits::default(),
            top: 10,
            plan: Plan::Auto,
            without: Vec::new(),
            at_once: false,
            asked_at: None,
            answer_id: String::new(),
            caller,
        }
    }

    /// Who pays for it.
    pub fn payer(&self) -> Payer {
        Payer { caller: self.caller.name.clone(), answer_id: self.answer_id.clone() }
    }

    fn filter(&self) -> Filter {
        self.limits.narrow(self.caller.narrow(Filter::everything()))
    }
}

/// A row that was retrieved.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The row.
    pub row: Row,
    /// Its number in the snapshot.
    pub number: u32,
    /// Cosine of its vector with the question's, -1 to 1; 0 for a row that words alone brought up.
    pub similarity: f32,
    /// BM25F score, 0 to 1; 0 for a row that vectors alone brought up.
    pub keywords: f32,
    /// Its rank among the rows that vectors brought up, from 1.
    pub by_vector: Option<usize>,
    /// Its rank among the rows that words brought up, from 1.
    pub by_words: Option<usize>,
    /// Its rank in the mix of both, from 1.
    pub mixed: usize,
    /// What is known of it besides.
    pub signals: Signals,
    /// What it is ranked by, 0 to about 1.
    pub score: f32,
    /// Whether it speaks of somebody whom the question names, or the question names nobody.
    pub about: bool,
    /// Ids and places of rows that say word for word the same of the same client.
    pub same: Vec<(String, Origin)>,
}

/// Microseconds that each stage of a retrieval took.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Stages {
    /// Turning the question into a vector.
    pub embed: u64,
    /// Understanding it.
    pub understand: u64,
    /// Both arms and their mix.
    pub search: u64,
    /// Reading rows, collapsing and reranking them.
    pub rank: u64,
    /// Waiting for a reranker elsewhere.
    pub rerank: u64,
}

/// What a retrieval found.
#[derive(Clone, Debug)]
pub struct Retrieved {
    /// Rows, best first.
    pub evidence: Arc<[Evidence]>,
    /// What was understood of the question.
    pub understood: Understood,
    /// Whether the rows are taken to hold an answer.
    pub verdict: Verdict,
    /// Words to try, where the rows hold no answer.
    pub suggested: Vec<String>,
    /// The snapshot that they are from.
    pub snapshot: SnapshotId,
    /// How the nearest rows were found; `None` where the question has no word to search by.
    pub explained: Option<Planned>,
    /// What was left out, for the caller; empty when all is well.
    pub degraded: Vec<&'static str>,
    /// What put the rows in their order; `None` where the mix of both arms stayed.
    pub reranked_by: Option<String>,
    /// What embedding and ranking cost at most, yen; 0 for what was found before.
    pub yen: f64,
    /// How long each stage took.
    pub stages: Stages,
    /// How long it took.
    pub took: Duration,
    /// Whether it was found before, and is given again.
    pub cached: bool,
}

impl Retrieved {
    /// What was left out, as one text; `None` when all is well.
    pub fn degraded(&self) -> Option<String> {
        (!self.degraded.is_empty()).then(|| self.degraded.concat())
    }
}

/// What the rows found for `question` in `index` depend on. The day is part of it, since questions speak of 昨日.
pub(crate) fn question_key(app: &App, question: &Question, index: &Index) -> Key {
    let Question { text, earlier, limits, top, plan, without, at_once: _, asked_at, answer_id: _, caller } =
        question;
    let Caller { name: _, role: _, permissions: _, clients, domains, unowned } = caller;
    let today = understand::japan(asked_at.unwrap_or_else(app.now)).date();
    let asked = format!(
        "{text:?} {earlier:?} {limits:?} {top} {plan:?} {without:?} {clients:?} {domains:?} {unowned} {today}"
    );
    let reranker = app.reranker.as_ref().map_or("", |reranker| reranker.model());
    key([b"question".as_slice(), index.id().as_bytes(), asked.as_bytes(), reranker.as_bytes()])
}

/// Bytes that a row takes in memory, about.
pub(crate) fn bytes(evidence: &Evidence) -> usize {
    let Row { title, content, structured_data, metadata, .. } = &evidence.row;
    size_of::<Evidence>() + 256 + title.len() + content.len() + structured_data.len() + metadata.len()
}

/// A retrieval that is not kept: one that failed, or left something out.
#[derive(Clone)]
enum NotKept {
    Failed(Failure),
    Degraded(Arc<Retrieved>),
    /// Whoever made it had spent his share.
    Refused,
}

/// Retrieves the rows that answer the question best among those that vectors and words bring up. A question without a
/// single word finds nothing. An embedder that does not answer leaves the words. What was found before over the same
/// snapshot, for somebody with the same rights, is given again.
///
/// # Errors
/// [`Failure::NotReady`] before a snapshot is served; what the engine could not do.
pub async fn retrieve(app: &App, question: &Question) -> Result<Retrieved, Failure> {
    let began = Instant::now();
    let index = app.index()?;
    let now = question.asked_at.unwrap_or_else(app.now);
    let key = question_key(app, question, &index);
    // Of two who ask the same one may have spent his share: that is no reason to leave the other with less.
    let mut own = None;
    let make = async {
        let refused = AtomicBool::new(false);
        let made = Box::pin(fresh(app, question, index.clone(), now, &refused));
        let retrieved = made.await.map_err(NotKept::Failed)?;
        if refused.into_inner() {
            own = Some(retrieved);
            return Err(NotKept::Refused);
        }
        if !retrieved.degraded.is_empty() {
            return Err(NotKept::Degraded(Arc::new(retrieved)));
        }
        let (kept, yen) = (retrieved.evidence.iter().map(bytes).sum::<usize>() + 1024, retrieved.yen);
        Ok(Fresh { value: Arc::new(retrieved), bytes: kept, yen })
    };
    let (retrieved, cached) = match app.caches.search_results.get(key, (app.now)(), make).await {
        Ok(found) => found,
        Err(NotKept::Refused) => match own {
            Some(own) => (Arc::new(own), false),
            None => {
                let refused = AtomicBool::new(false);
                (Arc::new(Box::pin(fresh(app, question, index, now, &refused)).await?), false)
            }
        },
        Err(NotKept::Degraded(found)) => (found, false),
        Err(NotKept::Failed(failure)) => return Err(failure),
    };
    let mut retrieved = Arc::unwrap_or_clone(retrieved);
    if !cached {
        app.metrics.retrieved(&retrieved);
    } else {
        retrieved.cached = true;
        retrieved.yen = 0.0;
        retrieved.took = began.elapsed();
        retrieved.stages = Stages::default();
    }
    Ok(retrieved)
}

/// What turning a question into a vector costs at most, yen.
fn price(app: &App, text: &str) -> f64 {
    app.embedder.usd(1, text.len() as u64) * app.settings.usd_jpy
}

/// Retrieves anew, and notes whether a paid call was `refused` because too much is spent.
async fn fresh(
    app: &App,
    question: &Question,
    index: Arc<Index>,
    now: OffsetDateTime,
    refused: &AtomicBool,
) -> Result<Retrieved, Failure> {
    let began = Instant::now();
    let understood = {
        let (index, question, reader) = (index.clone(), question.clone(), app.clone());
        app.on_pool(move || understand_question(&reader, &question, now, &index)).await??
    };
    let understanding = began.elapsed();
    let mut yen = price(app, &understood.text);
    let till = app.till(question.payer());
    let (embedding, mut degraded) = embed(app, question, &till, &understood.text, refused).await;
    let embedded = began.elapsed();
    let snapshot = index.id();
    let (asked, text) = (question.clone(), understood.text.clone());
    let locally = app.settings.reranker != RerankerKind::None;
    let (gate, silence, wordings) = (app.gate.clone(), app.silence.clone(), app.wordings.clone());
    let searching = app.on_pool(move || {
        let began = Instant::now();
        let found = search(&index, embedding.as_ref(), &understood, &asked, &wordings, locally)?;
        silence.note(&found.evidence);
        let mut verdict = gate.judge(&found.evidence);
        // Of two who bear one name neither may stand for the other: which of them is meant must be said first.
        let open = !understood.people.ambiguous.is_empty();
        verdict.answerable &= !open;
        let suggested = match (verdict.answerable, open) {
            (true, _) => Vec::new(),
            (false, true) => understood.people.ambiguous.clone(),
            (false, false) => suggest(&understood, &index),
        };
        Ok::<_, Failure>((found, understood, verdict, suggested, began.elapsed()))
    });
    let (found, understood, verdict, suggested, searched) = searching.await??;
    let mut stages = Stages {
        understand: microseconds(understanding),
        embed: microseconds(embedded - understanding),
        search: microseconds(found.searched),
        rank: microseconds(searched - found.searched),
        rerank: 0,
    };
    let Found { mut evidence, explained, .. } = found;
    let mut reranked_by = (locally && !evidence.is_empty()).then(|| Local::NAME.to_owned());
    if let Some(reranker) = app.reranker.as_ref().filter(|_| !evidence.is_empty()) {
        let began = Instant::now();
        let rows = reranker.most_rows().min(evidence.len());
        match reranked(app, &till, reranker.as_ref(), (&text, &understood), &mut evidence, refused).await {
            Some(failed) => degraded.push(failed),
            None => {
                yen += reranker.usd(rows) * app.settings.usd_jpy;
                reranked_by = Some(reranker.model().to_owned());
            }
        }
        stages.rerank = microseconds(began.elapsed());
    }
    // Whoever asks for few rows gets one that can answer, if there is one, however well others fit.
    if let Some(first) =
        evidence.iter().position(|evidence| evidence.about).filter(|first| *first >= question.top)
    {
        evidence[question.top.saturating_sub(1)..=first].rotate_right(1);
    }
    let evidence = evidence.into_iter().take(question.top).collect();
    // While the rows were looked for the ledger was told what the vector cost.
    till.settled().await;
    let took = began.elapsed();
    Ok(Retrieved {
        evidence,
        understood,
        verdict,
        suggested,
        snapshot,
        explained,
        degraded,
        reranked_by,
        yen,
        stages,
        took,
        cached: false,
    })
}

/// The `top` rows nearest to `embedding` among those that `caller` may see within `limits`, each with its cosine.
///
/// # Errors
/// A vector of another space, a damaged snapshot.
pub(crate) fn nearest(
    index: &Index,
    embedding: &Embedding,
    caller: &Caller,
    limits: &Limits,
    top: usize,
) -> Result<Vec<(Row, f32)>, Failure> {
    let filter = limits.narrow(caller.narrow(Filter::everything()));
    let (found, _) = arms::by_vector(index, embedding, &filter, Plan::Auto, top)?;
    found.into_iter().map(|(number, score)| Ok((index.row(number)?, score))).collect()
}

fn understand_question(
    app: &App,
    question: &Question,
    now: OffsetDateTime,
    index: &Index,
) -> Result<Understood, Failure> {
    let catalogue = app.catalogue(index)?;
    let client = question.limits.client_id.as_deref();
    let asked = Asked { now, index, catalogue: &catalogue, caller: &question.caller, client };
    Ok(understand(&question.text, &question.earlier, &question.without, asked)?)
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The question's vector, if it has a word and the embedder answers in time; else why it has none. Words find without it.
async fn embed(
    app: &App,
    question: &Question,
    till: &Till,
    text: &str,
    refused: &AtomicBool,
) -> (Option<Embedding>, Vec<&'static str>) {
    let until = tokio::time::Instant::now() + app.deadline() / SHARE;
    let identity = format!("{:?}", app.embedder.identity());
    // The same for a question that others ask in other words around it.
    let was_mine = AtomicBool::new(false);
    let make = || async {
        was_mine.store(true, Ordering::Relaxed);
        let texts = [text.to_owned()];
        let usd = app.embedder.usd(1, text.len() as u64);
        let call = app.embedder.embed(&texts, Task::Query);
        let embeddings = till.pay(&app.upstreams.embedder, "embed", usd, until, call).await?;
        let embedding: Option<Embedding> = embeddings.into_iter().next().flatten();
        let bytes = size_of::<f32>() * app.embedder.identity().dimensions as usize + identity.len();
        Ok::<_, Failure>(Fresh { value: embedding, bytes, yen: price(app, text) })
    };
    // What is kept for those who may see the same tells nobody else that it was asked.
    let Caller { clients, domains, unowned, .. } = &question.caller;
    let scope = format!("{clients:?} {domains:?} {unowned}");
    let key = key([b"embedding".as_slice(), identity.as_bytes(), scope.as_bytes(), text.as_bytes()]);
    let mut made = app.caches.embeddings.get(key, (app.now)(), make()).await;
    if matches!(made, Err(Failure::Budget(_))) && !was_mine.load(Ordering::Relaxed) {
        made = app.caches.embeddings.get(key, (app.now)(), make()).await;
    }
    match made {
        Ok((embedding, _)) => (embedding, Vec::new()),
        Err(failure) => {
            refused.fetch_or(matches!(failure, Failure::Budget(_)), Ordering::Relaxed);
            tracing::warn!(
                reason = failure.detail(),
                "a question was not embedded, so words alone were searched"
            );
            (None, vec![WORDS_ALONE])
        }
    }
}

/// Puts the rows in the order of `reranker`; rows of one score, and those beyond what it takes, keep their order. What to
/// tell the caller, if it did not answer.
async fn reranked(
    app: &App,
    till: &Till,
    reranker: &dyn Reranker,
    (text, understood): (&str, &Understood),
    evidence: &mut [Evidence],
    refused: &AtomicBool,
) -> Option<&'static str> {
    let most = reranker.most_rows().min(evidence.len());
    let taken = evidence.get_mut(..most).unwrap_or_default();
    let rows: Vec<&Row> = taken.iter().map(|evidence| &evidence.row).collect();
    let usd = reranker.usd(rows.len());
    let until = tokio::time::Instant::now() + app.deadline() / SHARE;
    let scores = till.pay(&app.upstreams.reranker, "rank", usd, until, reranker.scores(text, &rows));
    let scores = match scores.await {
        Ok(scores) => scores,
        Err(failure) => {
            refused.fetch_or(matches!(failure, Failure::Budget(_)), Ordering::Relaxed);
            tracing::warn!(reason = failure.detail(), "rows keep the order of this machine");
            return Some(NOT_RERANKED);
        }
    };
    let newer = newer(understood, taken);
    for ((evidence, score), newer) in taken.iter_mut().zip(scores).zip(newer) {
        evidence.score = if evidence.about { score } else { score * ABOUT_ANOTHER } + newer;
    }
    taken.sort_by(|a, b| b.score.total_cmp(&a.score));
    None
}

struct Found {
    evidence: Vec<Evidence>,
    explained: Option<Planned>,
    searched: Duration,
}

/// Both arms, then one order: what covers the question, speaks of its people, and is of its days.
fn search(
    index: &Index,
    embedding: Option<&Embedding>,
    understood: &Understood,
    question: &Question,
    wordings: &Wordings,
    locally: bool,
) -> Result<Found, Failure> {
    let began = Instant::now();
    let depth = CANDIDATES.max(question.top);
    let arms::Found { rows, explained } =
        arms::search(index, embedding, understood, &question.filter(), question.plan, depth)?;
    let searched = began.elapsed();
    let mut found = Vec::with_capacity(rows.len());
    for (mixed, fused) in (1..).zip(arms::deepest(rows, depth)) {
        found.push(Evidence {
            mixed,
            row: index.row(fused.row)?,
            number: fused.row,
            similarity: fused.by_vector.map_or(0.0, |(_, score)| score),
            keywords: fused.by_words.map_or(0.0, |(_, score)| score),
            by_vector: fused.by_vector.map(|(rank, _)| rank + 1),
            by_words: fused.by_words.map(|(rank, _)| rank + 1),
            score: fused.score,
            ..Evidence::default()
        });
    }
    duplicates::collapse(&mut found, &understood.days);
    rank(&mut found, understood, locally, |number, row| wordings.of(index.id(), number, row));
    Ok(Found { evidence: found, explained, searched })
}

/// Scores candidates, by what they say if `locally` and else by the mix alone, and puts the best first.
fn rank(
    found: &mut [Evidence],
    understood: &Understood,
    locally: bool,
    wording: impl Fn(u32, &Row) -> Arc<Wording>,
) {
    let rows: Vec<Candidate<'_>> = found
        .iter()
        .map(|evidence| (&evidence.row, wording(evidence.number, &evidence.row), evidence.score))
        .collect();
    let known = signals(&understood.text, &understood.terms, &rows);
    let local = Local::default();
    let newer = newer(understood, found);
    for ((evidence, signals), newer) in found.iter_mut().zip(known).zip(newer) {
        evidence.signals = signals;
        // A row about somebody else answers nothing, however well its words fit; it stays in sight as a near miss.
        // Nor does one of other days, unless it speaks of those that are asked for.
        let row = &evidence.row;
        let days = &understood.days;
        evidence.about = understood.people.any_in(row)
            && (days.is_empty() || understand::dates::any_in(days, &row.content, &row.date));
        let score = if locally { local.score(&signals) } else { signals.mixed };
        let score = score * if evidence.about { 1.0 } else { ABOUT_ANOTHER };
        evidence.score = score + newer;
    }
    // Stable: rows of one score keep the order that both arms gave them.
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
}

/// What each row gains by being new, where the question asks for the newest.
fn newer(understood: &Understood, found: &[Evidence]) -> Vec<f32> {
    match understood.newest {
        Some(_) => by_age(found).into_iter().map(|age| NEWEST * age).collect(),
        None => vec![0.0; found.len()],
    }
}

/// How new each row is among all: 1 for the newest, 0 for the oldest and for rows without a day.
fn by_age(found: &[Evidence]) -> Vec<f32> {
    let mut days: Vec<&str> = found.iter().map(|evidence| evidence.row.date.as_str()).collect();
    days.sort_unstable();
    days.dedup();
    let last = days.len().saturating_sub(1).max(1) as f32;
    let age = |evidence: &Evidence| match evidence.row.date.as_str() {
        "" => 0.0,
        date => days.binary_search(&date).map_or(0.0, |at| at as f32 / last),
    };
    found.iter().map(age).collect()
}

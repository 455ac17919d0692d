//! What takes time to find out of the program's health: a search, a write. It is measured every few seconds, so that nobody
//! who asks has to wait; none of it costs anything.

use std::time::{Duration, Instant};

use karute_engine::lexical::tokens::counted;
use karute_engine::{Embedding, Query};

use crate::app::App;
use crate::error::Failure;
use crate::state::Database;

/// Words that may stand in a record; what they find does not matter.
const PROBE: &str = "体温";
/// How often what takes time is measured while the program runs.
const EVERY: Duration = Duration::from_secs(3);
/// How long a check may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long what was measured holds. Only an instance that was frozen meanwhile lets anybody wait for a new measurement.
const FOR: Duration = Duration::from_secs(6);

/// What takes time to find out.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    at: Instant,
    /// What a test search ended with, unless it found what it should.
    pub(crate) searched: Result<(), &'static str>,
    /// Whether the database keeps what it is told, where one is open.
    pub(crate) keeps: bool,
    /// Limits of spending that are used up, or nearly.
    pub(crate) used_up: Vec<String>,
}

/// Measures until the program ends, so that nobody who asks has to wait.
pub(crate) async fn watch(app: App) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        // Before there is a snapshot nothing can be told of it.
        if app.index().is_err() {
            continue;
        }
        let found = measure(&app).await;
        *app.health.lock().await = Some(found);
    }
}

/// What was measured lately. Of many who find nothing one measures, and the others read what it found.
pub(crate) async fn measured(app: &App) -> Measured {
    let mut held = app.health.lock().await;
    match held.as_ref().filter(|found| found.at.elapsed() < FOR) {
        Some(found) => found.clone(),
        None => {
            let found = measure(app).await;
            // Before there is a snapshot nothing can be told of it, and there will be one soon.
            *held = app.index().is_ok().then(|| found.clone());
            found
        }
    }
}

async fn measure(app: &App) -> Measured {
    let keeps = async {
        let state = app.state()?;
        tokio::time::timeout(PATIENCE, state.ping()).await.ok()?.ok()?;
        Some(state)
    };
    let (searched, keeps) = tokio::join!(probe(app), keeps);
    // Slow sums are no reason to say that nothing is kept.
    let used_up = match keeps {
        Some(state) => tokio::time::timeout(PATIENCE, used_up(app, state)).await.unwrap_or_default(),
        None => Vec::new(),
    };
    Measured {
        at: Instant::now(),
        searched: searched.map_err(|failure| failure.code()),
        keeps: keeps.is_some(),
        used_up,
    }
}

/// Limits of spending that are used up, or nearly.
async fn used_up(app: &App, state: &Database) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(limit) = app.money.refused((app.now)()) {
        problems.push(format!(
            "a model was not asked: the limit of spending of {limit} leaves no room for a call"
        ));
    }
    // A database that does not answer has been told of.
    for (limit, spent, calls) in app.money.standing(state, (app.now)()).await.unwrap_or_default() {
        let share = spent as f64 / (limit.most as f64).max(1.0);
        if limit.is_of_calls() {
            if limit.calls > 0 && calls as f64 >= 0.9 * limit.calls as f64 {
                problems.push(format!(
                    "the limit of spending of {}: {calls} of {} calls were made",
                    limit.name, limit.calls
                ));
            }
        } else if share >= 0.9 && spent > 0 {
            let percent = (share * 100.0).round();
            problems.push(format!("the limit of spending of {} is used up by {percent} %", limit.name));
        }
    }
    problems
}

/// A real search by words and by the vector of a row, down to reading what was found. The embedder is not asked: it may
/// cost money, and without it questions are still answered from their words. It does not wait behind the questions that
/// are being worked on, so a busy server is not taken for a broken one.
async fn probe(app: &App) -> Result<(), Failure> {
    let index = app.index()?;
    let search = tokio::task::spawn_blocking(move || -> Result<(), Failure> {
        for hit in index.keyword_search(&counted(PROBE), 1, None)?.unwrap_or_default() {
            index.row(hit.row)?;
        }
        if let Some(passage) = index.passages_of(0)?.first() {
            let question = Embedding::new(index.identity().clone(), passage.vector().to_vec());
            for hit in index.search(&Query::new(&question).top(1))? {
                index.row(hit.row)?;
            }
        }
        Ok(())
    });
    let search = async { search.await.map_err(|error| Failure::Internal(error.to_string()))? };
    tokio::time::timeout(PATIENCE, search).await.unwrap_or(Err(Failure::TimedOut))
}

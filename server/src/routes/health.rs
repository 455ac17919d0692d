//! `GET /health` and its two short forms. Every check is measured.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use karute_engine::lexical::tokens::counted;
use karute_engine::{Embedding, Query};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::app::{App, Serving};
use crate::error::{Failure, Problem};
use crate::setup;
use crate::state::Database;

/// Words that may stand in a record; what they find does not matter.
const PROBE: &str = "体温";
/// How long what was measured holds.
const FOR: Duration = Duration::from_secs(1);
/// How long the test search may take before the check counts as failed.
const PATIENCE: Duration = Duration::from_secs(2);

/// The whole truth: every check is made when it is asked for, at most once a second, and none of them costs anything.
#[utoipa::path(get, path = "/health", tag = "operation", responses(
    (status = 200, description = "`healthy`, or `degraded` with what is wrong in `details.problems`", body = Object),
    (status = 503, description = "`unhealthy`", body = Object)))]
pub(super) async fn health(State(app): State<App>) -> Response {
    // Of many who ask at once one measures, and the others read what it found.
    let mut measured = app.health.lock().await;
    let held = measured.as_ref().filter(|(when, _)| when.elapsed() < FOR);
    let (code, body) = match held {
        Some((_, known)) => known.clone(),
        None => {
            let found = measure(&app).await;
            *measured = Some((Instant::now(), found.clone()));
            found
        }
    };
    (code, Json(body)).into_response()
}

async fn measure(app: &App) -> (StatusCode, Value) {
    let (mut details, mut problems): (Value, Vec<String>) = match app.serving() {
        Serving::Starting => (json!({}), vec!["no snapshot is served yet".into()]),
        Serving::Ready { index, problems } => {
            let provenance = index.provenance();
            let built_at = OffsetDateTime::parse(&provenance.built_at, &Rfc3339).ok();
            let details = json!({
                "snapshot_id": index.id().to_string(),
                "rows": index.len(),
                "passages": index.passages(),
                "recall": index.promise().ok().flatten(),
                "source": provenance.source,
                "rows_quarantined": provenance.rows_quarantined,
                "built_at": provenance.built_at,
                "age_seconds": built_at.map(|built_at| ((app.now)() - built_at).whole_seconds()),
            });
            (details, problems.to_vec())
        }
    };
    let searched = probe(app).await;
    let vector_db = searched.is_ok();
    if let Err(failure) = &searched
        && !matches!(failure, Failure::NotReady)
    {
        problems.push(format!("Vector DB connection failed: a test search ended with {}", failure.code()));
    }
    details["embedder"] = json!(app.embedder.identity().model);
    details["answerers"] = json!(app.answerers.iter().map(|answerer| answerer.model()).collect::<Vec<_>>());
    // What is configured, and whether it failed when it was last asked, is all that can be told without a paid call.
    let mut vertex_ai = !app.embedder.is_free() || setup::is_paid(&app.settings);
    for service in app.upstreams.all().filter(|service| service.is_troubled()) {
        vertex_ai = false;
        let standing = if service.is_open() { "it is left alone for a while" } else { "it is asked again" };
        let (name, how) = (
            service.name(),
            if service.is_late() { "Vertex AI API timeout" } else { "Vertex AI API failed" },
        );
        problems.push(format!("{how}: {name} did not answer when it was last asked; {standing}"));
    }
    if app.access.is_required() && app.settings.admin_endpoints && !app.access.has_admin_key() {
        problems.push("ADMIN_API_KEY not configured: /admin and the caches need a token of an admin".into());
    }
    details["vertex_ai"] = json!(match (!app.embedder.is_free(), setup::is_paid(&app.settings)) {
        (true, true) => "embeds questions and answers them",
        (true, false) => "embeds questions",
        (false, true) => "answers questions",
        (false, false) => "not configured",
    });
    details["state"] = match app.state() {
        None if !app.settings.history => json!("conversations are not kept"),
        None => {
            problems.push("conversations are not kept: the database has not been reached yet".into());
            json!("not reached yet")
        }
        Some(state) => {
            let ephemeral = !app.settings.cloud_run.is_empty() && app.settings.database.reveal().is_none();
            if ephemeral {
                problems.push("conversations end with this instance of Cloud Run: set DATABASE_URL".into());
            }
            match tokio::time::timeout(PATIENCE, state.ping()).await {
                Ok(Ok(())) => problems.extend(used_up(app, state).await),
                Ok(Err(_)) | Err(_) => {
                    problems.push("conversations cannot be kept: the database does not answer".into())
                }
            }
            json!(if app.settings.database.reveal().is_some() { "postgresql" } else { "sqlite" })
        }
    };
    details["problems"] = json!(problems);
    let status = match (vector_db, problems.is_empty()) {
        (true, true) => "healthy",
        (true, false) => "degraded",
        (false, _) => "unhealthy",
    };
    let body = json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "timestamp": (app.now)().format(&Rfc3339).unwrap_or_default(),
        "checks": { "api": true, "vertex_ai": vertex_ai, "vector_db": vector_db },
        "details": details,
    });
    let code = if vector_db { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, body)
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
        if (share >= 0.9 && spent > 0) || calls >= limit.calls {
            let percent = (share * 100.0).round();
            problems.push(format!(
                "the limit of spending of {} is used up by {percent} %, {calls} calls",
                limit.name
            ));
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

/// Whether questions are answered.
#[utoipa::path(get, path = "/health/ready", tag = "operation", responses(
    (status = 200, description = "They are", body = Object), (status = 503, description = "Not yet", body = Problem)))]
pub(super) async fn ready(State(app): State<App>) -> Result<Json<Value>, Failure> {
    app.index()?;
    Ok(Json(json!({ "status": "ready" })))
}

/// Whether the program runs.
#[utoipa::path(get, path = "/health/live", tag = "operation",
    responses((status = 200, description = "It does", body = Object)))]
pub(super) async fn live() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

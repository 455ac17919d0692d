//! `GET /health` and its two short forms. Every check is measured when it is asked for.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use karute_engine::Query;
use karute_sync::embed::Task;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::Failure;
use crate::state::{App, Serving};

/// A question that any embedder can embed; what it finds does not matter.
const PROBE: &str = "体温";
/// How long the test search may take before the check counts as failed.
const PATIENCE: Duration = Duration::from_secs(2);

/// The whole truth.
pub(super) async fn health(State(app): State<App>) -> Response {
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
    let searched = probe(&app).await;
    let vector_db = searched.is_ok();
    if let Err(failure) = &searched
        && !matches!(failure, Failure::NotReady)
    {
        problems.push(format!("Vector DB connection failed: a test search ended with {}", failure.code()));
    }
    details["embedder"] = json!(app.embedder.identity().model);
    details["answerer"] = json!(app.answerer.model());
    details["vertex_ai"] = json!("not configured");
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
        "checks": { "api": true, "vertex_ai": false, "vector_db": vector_db },
        "details": details,
    });
    let code = if vector_db { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(body)).into_response()
}

/// A real search, end to end: embed, scan, read the row. It does not wait behind the questions that are being worked
/// on, so a busy server is not taken for a broken one.
async fn probe(app: &App) -> Result<(), Failure> {
    let index = app.index()?;
    let texts = [PROBE.to_owned()];
    let search = async {
        let embedding = app.embedder.embed(&texts, Task::Query).await?.into_iter().next().flatten();
        let embedding = embedding.ok_or_else(|| Failure::Internal("the probe was not embedded".into()))?;
        let search = tokio::task::spawn_blocking(move || -> Result<(), Failure> {
            for hit in index.search(&Query::new(&embedding).top(1))? {
                index.row(hit.row)?;
            }
            Ok(())
        });
        search.await.map_err(|error| Failure::Internal(error.to_string()))?
    };
    tokio::time::timeout(PATIENCE, search).await.unwrap_or(Err(Failure::TimedOut))
}

/// Whether questions are answered.
pub(super) async fn ready(State(app): State<App>) -> Result<Json<Value>, Failure> {
    app.index()?;
    Ok(Json(json!({ "status": "ready" })))
}

/// Whether the program runs.
pub(super) async fn live() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

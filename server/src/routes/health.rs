//! `GET /health` and its two short forms.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::app::{App, Serving};
use crate::error::{Failure, Problem};
use crate::health::{Measured, measured};
use crate::setup;

/// The whole truth: what takes time is measured every few seconds, the rest when it is asked for, and nothing of it costs
/// anything.
#[utoipa::path(get, path = "/health", tag = "operation", responses(
    (status = 200, description = "`healthy`, or `degraded` with what is wrong in `details.problems`", body = Object),
    (status = 503, description = "`unhealthy`", body = Object)))]
pub(super) async fn health(State(app): State<App>) -> Response {
    let found = measured(&app).await;
    let (code, body) = told(&app, found);
    (code, Json(body)).into_response()
}

fn told(app: &App, found: Measured) -> (StatusCode, Value) {
    let serving = app.serving();
    let is_served = matches!(serving, Serving::Ready { .. });
    let (mut details, mut problems): (Value, Vec<String>) = match serving {
        Serving::Starting => (json!({}), vec!["no snapshot is served yet".into()]),
        Serving::Ready { index, problems } => {
            let provenance = index.provenance();
            // Nor is it for everybody how many records there are, where not everybody may see them.
            let counted = |count: u32| (!app.access.is_required()).then_some(count);
            let details = json!({
                "snapshot_id": index.id().to_string(),
                "rows": counted(index.len()),
                "passages": counted(index.passages()),
                "recall": index.promise().ok().flatten(),
                // The page is open, and a spreadsheet's id is not for everybody.
                "source": if setup::from_sheets(&app.settings) { "a spreadsheet" } else { provenance.source.as_str() },
                "rows_quarantined": provenance.rows_quarantined,
                "built_at": provenance.built_at,
                "age_seconds": app.age(&index).map(time::Duration::whole_seconds),
            });
            (details, problems.to_vec())
        }
    };
    if app.lags.load(Ordering::Relaxed) {
        problems.push("the bucket could not be followed when it was last looked at: the log says why".into());
    }
    let vector_db = is_served && found.searched.is_ok();
    if let (true, Err(code)) = (is_served, found.searched) {
        problems.push(format!("Vector DB connection failed: a test search ended with {code}"));
    }
    details["embedder"] = json!(app.embedder.identity().model);
    details["answerers"] = json!(app.answerers.iter().map(|answerer| answerer.model()).collect::<Vec<_>>());
    // What is configured, and whether it failed when it was last asked, is all that can be told without a paid call.
    let mut vertex_ai = !app.embedder.is_free() || setup::is_paid(&app.settings);
    for service in app.upstreams.all().filter(|service| service.is_troubled()) {
        let is_google = service.name() != app.settings.openai_model;
        vertex_ai &= !is_google;
        let standing = if service.is_open() { "it is left alone for a while" } else { "it is asked again" };
        let (name, how) = (
            service.name(),
            match (is_google, service.is_late()) {
                (true, true) => "Vertex AI API timeout",
                (true, false) => "Vertex AI API failed",
                (false, true) => "model server timeout",
                (false, false) => "model server failed",
            },
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
        // Without sign-in nothing has to be kept then.
        None if !app.settings.history && !app.access.is_required() => json!("conversations are not kept"),
        None => {
            problems.push("conversations are not kept: the database has not been reached yet".into());
            json!("not reached yet")
        }
        Some(_) => {
            let ephemeral = !app.settings.cloud_run.is_empty() && app.settings.database.reveal().is_none();
            if ephemeral {
                problems.push("conversations end with this instance of Cloud Run: set DATABASE_URL".into());
            }
            if !found.keeps {
                problems.push("conversations cannot be kept: the database does not answer".into());
            }
            problems.extend(found.used_up);
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

/// Whether questions are answered. Where sign-in is required nothing is shown that the audit cannot keep, so a database that
/// does not answer counts.
#[utoipa::path(get, path = "/health/ready", tag = "operation", responses(
    (status = 200, description = "They are", body = Object), (status = 503, description = "Not yet", body = Problem)))]
pub(super) async fn ready(State(app): State<App>) -> Result<Json<Value>, Failure> {
    app.index()?;
    if app.access.is_required() && !measured(&app).await.keeps {
        return Err(Failure::State("nothing is shown while the audit cannot be kept".into()));
    }
    Ok(Json(json!({ "status": "ready" })))
}

/// Whether the program runs.
#[utoipa::path(get, path = "/health/live", tag = "operation",
    responses((status = 200, description = "It does", body = Object)))]
pub(super) async fn live() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

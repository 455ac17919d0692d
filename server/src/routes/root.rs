//! `GET /`: what this is.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::app::App;

/// Name, version and the ways in.
#[utoipa::path(get, path = "/", tag = "operation",
    responses((status = 200, description = "Name, version and the ways in", body = Object)))]
pub(super) async fn root(State(app): State<App>) -> Json<Value> {
    Json(json!({
        "name": app.settings.app_name,
        "version": env!("CARGO_PKG_VERSION"),
        "description": app.settings.app_description,
        "status": "running",
        "docs_url": "/docs",
        "endpoints": {
            "health": "/health",
            "search": "/search",
            "chat": "/chat/stream",
            "clients": "/clients",
            "sessions": "/chat/sessions",
            "openai": "/v1",
            "openapi": "/openapi.json",
        },
    }))
}

//! `GET /`: what this is.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::state::App;

/// Name, version and the ways in.
pub(super) async fn root(State(app): State<App>) -> Json<Value> {
    Json(json!({
        "name": app.settings.app_name,
        "version": env!("CARGO_PKG_VERSION"),
        "description": app.settings.app_description,
        "status": "running",
        "docs_url": null,
        "endpoints": {
            "health": "/health",
            "search": "/search",
            "chat": "/chat/stream",
        },
    }))
}

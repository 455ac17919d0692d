//! All routes and layers on one screen.

mod answers;
mod cache;
mod chat;
mod clients;
mod feedback;
mod health;
mod item;
mod openai;
pub mod openapi;
mod root;
mod search;
mod sessions;
mod terms;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{delete, get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::app::App;
use crate::config::Settings;
use crate::error::Failure;

/// The whole HTTP interface.
pub fn app(state: App) -> Router {
    let cors = cors(&state.settings);
    Router::new()
        .route("/", get(root::root))
        .route("/search", post(search::search))
        .route("/chat", post(chat::chat))
        .route("/chat/stream", post(chat::stream))
        .route("/chat/sessions", get(sessions::list))
        .route("/chat/sessions/{session_id}", delete(sessions::remove))
        .route("/chat/sessions/{session_id}/messages", get(sessions::messages))
        .route("/chat/sessions/{session_id}/export", post(sessions::export))
        .route("/feedback", post(feedback::feedback))
        .route("/answers/{message_id}", get(answers::answer))
        .route("/rows/{id}", get(answers::row))
        .route("/clients", get(clients::list))
        .route("/clients/{client_id}", get(clients::one))
        .route("/terms/suggest", post(terms::suggest_terms))
        .route("/terms/confirm", post(terms::confirm))
        .route("/v1/chat/completions", post(openai::completions))
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/v1/models", get(openai::models))
        .route("/health", get(health::health))
        .route("/health/ready", get(health::ready))
        .route("/health/live", get(health::live))
        .route("/health/cache/metrics", get(cache::metrics))
        .route("/health/cache/info", get(cache::info))
        .route("/health/cache/clear", post(cache::clear))
        .merge(openapi::page())
        .fallback(async || Failure::NotFound)
        .method_not_allowed_fallback(async || Failure::MethodNotAllowed)
        .layer(middleware::from_fn(log))
        .layer(CatchPanicLayer::custom(|_| {
            axum::response::IntoResponse::into_response(Failure::Internal("a handler panicked".into()))
        }))
        .layer(cors)
        .layer(SetResponseHeaderLayer::if_not_present(
            HeaderName::from_static("x-content-type-options"),
            HeaderValue::from_static("nosniff"),
        ))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        ))
        .with_state(state)
}

/// Only the configured origins, with the methods and headers that the API has.
fn cors(settings: &Settings) -> CorsLayer {
    let origins = settings.allowed_origins.0.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(origins.collect::<Vec<_>>())
        .allow_methods([Method::GET, Method::POST, Method::DELETE, Method::OPTIONS])
        .allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION, header::ACCEPT])
        .allow_credentials(settings.cors_credentials)
}

/// One line for each request: what was called, never what was asked.
async fn log(request: Request, next: Next) -> Response {
    let began = std::time::Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<axum::extract::MatchedPath>().cloned();
    let response = next.run(request).await;
    // Unknown paths are the caller's text, so they are not logged.
    let route = route.as_ref().map_or("unknown", |route| route.as_str());
    let elapsed_ms = began.elapsed().as_millis() as u64;
    tracing::info!(%method, route, status = response.status().as_u16(), elapsed_ms, "request");
    response
}

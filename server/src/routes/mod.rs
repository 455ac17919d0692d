//! All routes and layers on one screen.

mod chat;
mod health;
mod item;
mod root;
mod search;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::config::Settings;
use crate::error::Failure;
use crate::state::App;

/// The whole HTTP interface.
pub fn app(state: App) -> Router {
    let cors = cors(&state.settings);
    Router::new()
        .route("/", get(root::root))
        .route("/search", post(search::search))
        .route("/chat", post(chat::chat))
        .route("/chat/stream", post(chat::stream))
        .route("/health", get(health::health))
        .route("/health/ready", get(health::ready))
        .route("/health/live", get(health::live))
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
        .allow_methods([Method::GET, Method::POST, Method::OPTIONS])
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

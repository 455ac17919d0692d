//! All routes and layers on one screen.

mod admin;
mod admit;
mod answers;
mod cache;
mod chat;
mod clients;
mod feedback;
mod guarded;
mod health;
mod item;
mod metrics;
mod observe;
mod openai;
pub mod openapi;
mod root;
mod search;
mod sessions;
mod terms;
mod vectors;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::access::KEY_HEADER;
use crate::access::pace::Kind;
use crate::access::role::Permission;
use crate::app::App;
use crate::config::Settings;
use crate::error::Failure;
use admit::Door;
pub use admit::Need;

/// A route, and what it needs of whoever calls it.
pub struct Route {
    /// GET, POST, DELETE.
    pub method: Method,
    /// Its path, with `{names}` for what varies.
    pub path: &'static str,
    /// Who may call it.
    pub need: Need,
    /// What a call counts as.
    pub kind: Kind,
    handler: MethodRouter<App>,
}

impl Route {
    fn new(method: Method, path: &'static str, need: Need, kind: Kind, handler: MethodRouter<App>) -> Self {
        Self { method, path, need, kind, handler }
    }
}

/// Every route. There is no other way to add one, so that none is without a rule.
pub fn table() -> Vec<Route> {
    use Kind::{Chat, Free, Search as Look};
    use Need::{Admin, May, Nothing};
    use Permission::{Ask, History, Metrics, Read, Search};
    let (get_, post_, delete_) = (Method::GET, Method::POST, Method::DELETE);
    let route =
        |method: &Method, path, need, kind, handler| Route::new(method.clone(), path, need, kind, handler);
    vec![
        route(&get_, "/", Nothing, Free, get(root::root)),
        route(&post_, "/search", May(Search), Look, post(search::search)),
        route(&post_, "/search/vectors", May(Search), Look, post(vectors::vectors)),
        route(&post_, "/chat", May(Ask), Chat, post(chat::chat)),
        route(&post_, "/chat/stream", May(Ask), Chat, post(chat::stream)),
        route(&get_, "/chat/sessions", May(History), Look, get(sessions::list)),
        route(&delete_, "/chat/sessions/{session_id}", May(History), Free, delete(sessions::remove)),
        route(&get_, "/chat/sessions/{session_id}/messages", May(History), Look, get(sessions::messages)),
        route(&post_, "/chat/sessions/{session_id}/export", May(History), Look, post(sessions::export)),
        route(&post_, "/feedback", May(Ask), Look, post(feedback::feedback)),
        route(&get_, "/answers/{message_id}", May(History), Look, get(answers::answer)),
        route(&get_, "/rows/{id}", May(Read), Look, get(answers::row)),
        route(&get_, "/clients", May(Read), Look, get(clients::list)),
        route(&get_, "/clients/{client_id}", May(Read), Look, get(clients::one)),
        route(&post_, "/terms/suggest", May(Search), Look, post(terms::suggest_terms)),
        route(&post_, "/terms/confirm", May(Ask), Look, post(terms::confirm)),
        route(&post_, "/v1/chat/completions", May(Ask), Chat, post(openai::completions)),
        route(&post_, "/v1/embeddings", May(Search), Look, post(openai::embeddings)),
        route(&get_, "/v1/models", May(Search), Free, get(openai::models)),
        route(&get_, "/v1/models/{id}", May(Search), Free, get(openai::model)),
        route(&get_, "/health", Nothing, Free, get(health::health)),
        route(&get_, "/health/ready", Nothing, Free, get(health::ready)),
        route(&get_, "/health/live", Nothing, Free, get(health::live)),
        route(&get_, "/health/cache/metrics", Nothing, Free, get(cache::metrics)),
        route(&get_, "/health/cache/info", Admin, Free, get(cache::info)),
        route(&post_, "/health/cache/clear", Admin, Free, post(cache::clear)),
        route(&get_, "/metrics", May(Metrics), Free, get(metrics::metrics)),
        route(&get_, "/admin/costs", Admin, Free, get(admin::costs)),
        route(&get_, "/admin/audit", Admin, Free, get(admin::audit)),
    ]
}

/// The routes that these settings leave.
fn routes(settings: &Settings) -> impl Iterator<Item = Route> {
    let admin_endpoints = settings.admin_endpoints;
    table().into_iter().filter(move |route| route.need != Need::Admin || admin_endpoints)
}

/// A failure as clients of that part of the interface read it.
fn refused(uri: &Uri, failure: Failure) -> Response {
    match uri.path().starts_with("/v1/") {
        true => openai::Refused::from(failure).into_response(),
        false => failure.into_response(),
    }
}

/// The whole HTTP interface.
pub fn app(state: App) -> Router {
    let cors = cors(&state.settings);
    let mut router = Router::new();
    for Route { path, need, kind, handler, .. } in routes(&state.settings) {
        let door = Door { app: state.clone(), need, kind };
        router = router.route(path, handler.route_layer(middleware::from_fn_with_state(door, admit::admit)));
    }
    let header = |name: &'static str, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    router
        .merge(openapi::page(routes(&state.settings).map(|route| route.path)))
        .fallback(async |uri: Uri| refused(&uri, Failure::NotFound))
        .method_not_allowed_fallback(async |uri: Uri| refused(&uri, Failure::MethodNotAllowed))
        .layer(CatchPanicLayer::custom(|_| Failure::Internal("a handler panicked".into()).into_response()))
        .layer(middleware::from_fn_with_state(state.clone(), observe::observe))
        .layer(cors)
        .layer(header("x-content-type-options", "nosniff"))
        .layer(header("x-frame-options", "DENY"))
        .layer(header("referrer-policy", "no-referrer"))
        .layer(header("strict-transport-security", "max-age=31536000"))
        .layer(header("content-security-policy", PAGES))
        .layer(header("cache-control", "no-store"))
        .with_state(state)
}

/// What a page from here may do: the one of `/docs` runs its own scripts and styles and asks this server.
const PAGES: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; \
    base-uri 'none'; form-action 'none'";

/// Only the configured origins, with the methods and headers that the API has.
fn cors(settings: &Settings) -> CorsLayer {
    let origins = settings.allowed_origins.0.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(origins.collect::<Vec<_>>())
        .allow_methods([Method::GET, Method::POST, Method::DELETE, Method::OPTIONS])
        .allow_headers([
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
            header::ACCEPT,
            HeaderName::from_static(KEY_HEADER),
            observe::REQUEST_ID,
        ])
        .expose_headers([header::RETRY_AFTER, observe::REQUEST_ID])
        .allow_credentials(settings.cors_credentials)
}

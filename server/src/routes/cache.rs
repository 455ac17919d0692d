//! `/health/cache`: what is kept in memory, and what that saved.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::cache::{CacheEntry, Caches, Metrics};
use crate::error::{Failure, Problems};
use crate::request::Parameters;

/// Most entries that are listed.
const MOST_ENTRIES: usize = 1000;

/// What became of the uses of the caches.
#[derive(Serialize, ToSchema)]
pub(super) struct CacheMetrics {
    cache_enabled: bool,
    /// All of them together.
    metrics: Metrics,
    /// Each by its name.
    #[schema(value_type = Object)]
    namespaces: BTreeMap<&'static str, Metrics>,
    config: CacheConfig,
}

/// The settings in force.
#[derive(Serialize, ToSchema)]
pub(super) struct CacheConfig {
    /// Seconds that answers are kept.
    default_ttl: u64,
    /// Seconds that vectors of questions are kept.
    embeddings_ttl: u64,
    /// 0: the snapshot is mapped, not cached.
    vector_db_ttl: u64,
    /// Seconds that search results are kept.
    search_results_ttl: u64,
    /// Entries of each cache.
    max_size: u64,
    /// Bytes of each cache.
    max_bytes: u64,
    /// Whether answers are kept.
    answers: bool,
}

/// Hits, misses, bytes, and the yen that hits saved.
#[utoipa::path(get, path = "/health/cache/metrics", tag = "operation",
    responses((status = 200, description = "Since the start", body = CacheMetrics), Problems))]
pub(super) async fn metrics(State(app): State<App>) -> Json<CacheMetrics> {
    let (all, each) = app.caches.metrics().await;
    let settings = &app.settings;
    Json(CacheMetrics {
        cache_enabled: settings.cache,
        metrics: all,
        namespaces: each.into_iter().collect(),
        config: CacheConfig {
            default_ttl: settings.cache_answers_ttl,
            embeddings_ttl: settings.cache_embeddings_ttl,
            vector_db_ttl: 0,
            search_results_ttl: settings.cache_search_ttl,
            max_size: settings.cache_entries,
            max_bytes: settings.cache_bytes,
            answers: app.caches.answers.is_on(),
        },
    })
}

/// The entries, without what they hold.
#[derive(Serialize, ToSchema)]
pub(super) struct CacheInfo {
    namespace_filter: Option<String>,
    total_entries: usize,
    /// The most used first, at most 1,000.
    entries: Vec<CacheEntry>,
}

/// A cache of the service before karute, which scripts still name: the snapshot is mapped, so that it is always empty.
const EMPTY: &str = "vector_db";

/// Which cache is meant: none of a wrong name.
fn namespace(Parameters(mut fields): Parameters) -> Result<Option<String>, Failure> {
    let namespace = fields.optional_text("namespace");
    let known = namespace.as_deref().is_none_or(|name| name == EMPTY || Caches::NAMES.contains(&name));
    fields.check("namespace", known, &format!("one of {}", Caches::NAMES.join(", ")));
    fields.finish()?;
    Ok(namespace)
}

/// Lists entries.
#[utoipa::path(get, path = "/health/cache/info", tag = "operation",
    params(("namespace" = Option<String>, Query, description = "embeddings, search_results or answers; all if it is not there")),
    responses((status = 200, description = "The entries", body = CacheInfo), Problems))]
pub(super) async fn info(State(app): State<App>, parameters: Parameters) -> Result<Json<CacheInfo>, Failure> {
    let namespace = namespace(parameters)?;
    let mut entries = app.caches.entries(namespace.as_deref(), (app.now)());
    let total_entries = entries.len();
    entries.truncate(MOST_ENTRIES);
    Ok(Json(CacheInfo { namespace_filter: namespace, total_entries, entries }))
}

/// What was emptied.
#[derive(Serialize, ToSchema)]
pub(super) struct Cleared {
    cleared_entries: u64,
    remaining_entries: u64,
    /// The cache, or `all`.
    namespace: String,
}

/// Empties one cache, or all.
#[utoipa::path(post, path = "/health/cache/clear", tag = "operation",
    params(("namespace" = Option<String>, Query, description = "embeddings, search_results or answers; all if it is not there")),
    responses((status = 200, description = "It is empty", body = Cleared), Problems))]
pub(super) async fn clear(State(app): State<App>, parameters: Parameters) -> Result<Json<Cleared>, Failure> {
    let namespace = namespace(parameters)?;
    let cleared_entries = app.caches.clear(namespace.as_deref()).await;
    let (left, _) = app.caches.metrics().await;
    Ok(Json(Cleared {
        cleared_entries,
        remaining_entries: left.cache_size,
        namespace: namespace.unwrap_or_else(|| "all".into()),
    }))
}

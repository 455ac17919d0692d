//! `GET /metrics`: every figure that an operator watches.

use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::app::{App, Serving};
use crate::error::Problems;
use crate::metrics::Looked;
use crate::state::yen;

/// How long the database is waited for: Prometheus waits ten seconds in all.
const PATIENCE: Duration = Duration::from_secs(1);
/// OpenMetrics 1.0.
const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Figures since the start, and as they are now.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "OpenMetrics, as Prometheus reads it", body = String, content_type = "application/openmetrics-text"), Problems))]
pub(super) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let (_, caches) = app.caches.metrics().await;
    let mut looked = Looked {
        caches: caches.into_iter().map(|(name, m)| (name, m.hits, m.misses, m.bytes, m.saved_jpy)).collect(),
        silent: app.silence.silent().collect(),
        google: karute_sync::google::client::totals(),
        counted: app.money.counted.clone(),
        ..Looked::default()
    };
    let services = app.upstreams.all();
    looked.open = services.map(|service| (service.name().to_owned(), service.is_open())).collect();
    // A database that does not answer shows in `karute_failures`; the figures that can be had are still given.
    if let Some(state) = app.state()
        && let Ok(Ok(standing)) = tokio::time::timeout(PATIENCE, app.money.standing(state, (app.now)())).await
    {
        for (name, (limit, spent, calls)) in ["day", "month", "calls"].into_iter().zip(standing) {
            match limit.is_of_calls() {
                true => looked.calls = Some((calls, limit.calls)),
                false => looked.limits.push((name, yen(spent), yen(limit.most))),
            }
        }
    }
    if let Serving::Ready { index, .. } = app.serving() {
        let provenance = index.provenance();
        let age = app.age(&index).map_or(0.0, time::Duration::as_seconds_f64);
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        looked.snapshot = Some((age, i64::from(index.len()), whole(provenance.rows_quarantined)));
    }
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], app.metrics.text(&looked))
}

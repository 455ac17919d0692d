//! Around every request: its id, its trace, its span, its metrics, and one line in the log: what was called, never what was
//! asked.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use karute_sync::google::trace::Trace;
use tracing::{Instrument, Span};
use uuid::Uuid;

use super::admit::Place;
use super::guarded::Guarded;
use crate::app::App;
use crate::error::Code;
use crate::metrics::Metrics;

/// The header of a request's id, which the answer repeats.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A request that is being answered. Its end is noted with the last byte, or when whoever asked has gone.
struct UnderWay {
    metrics: Arc<Metrics>,
    route: String,
    method: String,
    status: u16,
    began: Instant,
    span: Span,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let _in = self.span.enter();
        let took = self.began.elapsed();
        self.metrics.ended(&self.route, &self.method, self.status, took);
        let (method, route, status) = (&self.method, &self.route, self.status);
        tracing::info!(method, route, status, elapsed_ms = took.as_millis() as u64, "request");
    }
}

/// The id that a caller gave its request, if it is one that a log may hold: a UUID, in any of its spellings. Anything else
/// may be a name or a number of somebody.
fn given_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(&REQUEST_ID)?.to_str().ok()?;
    Uuid::try_parse(id).ok().map(|_| id.to_owned())
}

/// The trace that a request belongs to, or a new one.
fn trace(headers: &HeaderMap) -> Trace {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let given = header("traceparent").and_then(Trace::from_traceparent);
    given.or_else(|| header("x-cloud-trace-context").and_then(Trace::from_cloud)).unwrap_or_else(|| Trace {
        id: Uuid::new_v4().simple().to_string(),
        parent: Uuid::new_v4().simple().to_string()[..16].to_owned(),
        sampled: false,
    })
}

/// Observes one request.
pub(super) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = given_id(request.headers()).unwrap_or_else(|| Uuid::new_v4().to_string());
    let trace = trace(request.headers());
    // Unknown paths are the caller's text, so neither log nor metrics hold them; nor methods of somebody's invention.
    let route =
        request.extensions().get::<MatchedPath>().map_or("unknown", |route| route.as_str()).to_owned();
    let method = match request.method().as_str() {
        known @ ("GET" | "POST" | "DELETE" | "HEAD" | "OPTIONS" | "PUT" | "PATCH") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let span = tracing::info_span!(
        "request",
        request_id = id,
        trace_id = trace.id,
        parent_id = trace.parent,
        sampled = trace.sampled
    );
    app.metrics.begun();
    let mut under_way = UnderWay {
        metrics: app.metrics.clone(),
        route,
        method,
        status: 0,
        began: Instant::now(),
        span: span.clone(),
    };
    let mut response = trace.clone().scope(next.run(request).instrument(span.clone())).await;
    if let Some(Code(code)) = response.extensions().get() {
        app.metrics.failed(code);
    }
    under_way.status = response.status().as_u16();
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let held = (under_way, response.extensions_mut().remove::<Place>());
    response.map(|inner| Guarded { inner, span, trace, _held: held }.into_body())
}

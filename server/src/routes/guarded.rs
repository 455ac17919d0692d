//! A body that holds something until its last byte, and is made within the span and the trace of its request.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::combinators::UnsyncBoxBody;
use karute_sync::google::trace::Trace;
use tracing::Span;

/// A body and what it holds.
pub(super) struct Guarded<G> {
    pub(super) inner: Body,
    pub(super) span: Span,
    pub(super) trace: Trace,
    pub(super) _held: G,
}

impl<G: Send + Unpin + 'static> Guarded<G> {
    /// As a body.
    pub(super) fn into_body(self) -> Body {
        Body::new(UnsyncBoxBody::new(self))
    }
}

impl<G: Unpin> HttpBody for Guarded<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let Self { inner, span, trace, .. } = &mut *self;
        span.in_scope(|| trace.enter(|| Pin::new(inner).poll_frame(context)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}

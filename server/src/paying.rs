//! An embedder whose every call stands in the ledger, and within its limits: for records, which are embedded by thousands.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use karute_engine::{Embedding, Identity};
use karute_sync::embed::{EmbedError, Embedder, Task};
use karute_sync::google::Usage;
use tokio::time::Instant;

use crate::money::Till;
use crate::upstream::Upstream;

/// How long a call may take, repetitions by the client among it.
const PATIENCE: Duration = Duration::from_secs(600);

/// An embedder and where its calls are reserved.
pub(crate) struct Paying {
    inner: Arc<dyn Embedder>,
    till: Till,
    upstream: Upstream,
}

impl Paying {
    /// `inner`, paid for at `till`.
    pub(crate) fn new(inner: Arc<dyn Embedder>, till: Till) -> Self {
        let upstream = Upstream::new(&inner.identity().model);
        Self { inner, till, upstream }
    }
}

#[async_trait]
impl Embedder for Paying {
    fn identity(&self) -> &Identity {
        self.inner.identity()
    }

    fn is_free(&self) -> bool {
        self.inner.is_free()
    }

    fn batch_size(&self) -> usize {
        self.inner.batch_size()
    }

    fn passage_characters(&self) -> usize {
        self.inner.passage_characters()
    }

    fn usd(&self, texts: u64, bytes: u64) -> f64 {
        self.inner.usd(texts, bytes)
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn holds(&self, text: &str) -> bool {
        self.inner.holds(text)
    }

    async fn embed(&self, texts: &[String], task: Task) -> Result<Vec<Option<Embedding>>, EmbedError> {
        let usd = self.usd(texts.len() as u64, texts.iter().map(|text| text.len() as u64).sum());
        let paid = self
            .till
            .pay(&self.upstream, "embed", usd, Instant::now() + PATIENCE, self.inner.embed(texts, task))
            .await;
        self.till.settled().await;
        paid.map_err(|failure| EmbedError::NotMade(failure.detail()))
    }
}

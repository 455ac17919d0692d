//! Putting candidates in their last order.

use async_trait::async_trait;
use karute_engine::Row;
use karute_sync::google::rank::{MOST_RECORDS, Ranker, Record};

use super::signals::Signals;

/// A model that says how well rows answer a question.
#[async_trait]
pub trait Reranker: Send + Sync {
    /// Name and version.
    fn model(&self) -> &str;

    /// Most rows that one call takes.
    fn most_rows(&self) -> usize;

    /// What a call with so many rows costs at most, US dollars.
    fn usd(&self, _rows: usize) -> f64 {
        0.0
    }

    /// A score for each of `rows`, higher for what answers better. Dropping the future cancels the call.
    ///
    /// # Errors
    /// Why there are none, for the log; the order of before stays.
    async fn scores(&self, question: &str, rows: &[&Row]) -> Result<Vec<f32>, RerankError>;
}

#[async_trait]
impl Reranker for Ranker {
    fn model(&self) -> &str {
        Ranker::model(self)
    }

    fn most_rows(&self) -> usize {
        MOST_RECORDS
    }

    fn usd(&self, rows: usize) -> f64 {
        Ranker::usd(self, rows)
    }

    async fn scores(&self, question: &str, rows: &[&Row]) -> Result<Vec<f32>, RerankError> {
        let records: Vec<Record<'_>> =
            rows.iter().map(|row| Record { title: &row.title, content: &row.content }).collect();
        let scores = Ranker::scores(self, question, &records).await;
        scores.map_err(|error| RerankError {
            model: self.model().to_owned(),
            refused: error.refused(),
            detail: error.to_string(),
        })
    }
}

/// A reranker did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the reranker {model} did not answer: {detail}")]
pub struct RerankError {
    /// Which.
    pub model: String,
    /// Why.
    pub detail: String,
    /// Whether it refused before it did anything, so that nothing is billed.
    pub refused: bool,
}

/// Reranks on this machine: by how much of the question the row, its best sentence and its title cover, and whether its
/// neighbouring words stand together, beside what both arms said. Chosen on halves of three sets (see
/// `benches/README.md`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Local {
    /// What the share of the question that the row covers is worth beside the mixed score of both arms, and what the
    /// share that its best sentence covers. It counts as far as the question is in Japanese: pieces of words tell rows
    /// apart there, while whole words of a language with spaces say no more than both arms did.
    pub wording: f32,
    /// What the share that its title covers is worth.
    pub title: f32,
    /// What neighbouring words that stand together are worth.
    pub near: f32,
}

impl Default for Local {
    fn default() -> Self {
        Self { wording: 0.6, title: 0.3, near: 0.1 }
    }
}

impl Local {
    /// Its name.
    pub const NAME: &str = "karute-local";

    /// The score of a candidate, 0 to 1.
    pub fn score(&self, signals: &Signals) -> f32 {
        let wording = self.wording * signals.japanese;
        let near = self.near * (1.0 - signals.japanese);
        let sum = signals.mixed
            + wording * (signals.row + signals.sentence)
            + self.title * signals.title
            + near * signals.near;
        sum / (1.0 + 2.0 * wording + self.title + near)
    }
}

//! Text to vectors.

use std::future::Future;
use std::pin::Pin;

use karute_engine::{Embedding, Identity, Row};

/// What a text is embedded for. Some models place questions and documents differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A record that will be searched.
    Document,
    /// A question.
    Query,
}

/// The vectors of a batch, in order; `None` for a text that says nothing to the model.
pub type Embeddings<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<Option<Embedding>>, EmbedError>> + Send + 'a>>;

/// A model that turns texts into unit vectors of one [`Identity`].
pub trait Embedder: Send + Sync {
    /// Who makes the vectors.
    fn identity(&self) -> &Identity;

    /// How many texts one call may hold.
    fn batch_size(&self) -> usize;

    /// Embeds up to [`Embedder::batch_size`] texts. Dropping the future cancels the call.
    fn embed<'a>(&'a self, texts: &'a [String], task: Task) -> Embeddings<'a>;
}

/// A text could not be embedded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// More texts than the model takes at once: a fault of the caller.
    #[error("{found} texts in one call, the embedder takes {limit}")]
    BatchTooLarge {
        /// Texts in the call.
        found: usize,
        /// Texts that it takes.
        limit: usize,
    },
}

/// The text of a row that its vector is made from.
pub fn document_text(row: &Row) -> String {
    format!("{}\n{}", row.title, row.content)
}

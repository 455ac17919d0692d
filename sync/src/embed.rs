//! Text to vectors.

use std::io;

use async_trait::async_trait;
use karute_engine::{Embedding, Identity, Row};

use crate::google::{GoogleError, Usage};

/// What a text is embedded for. Some models place questions and documents differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A record that will be searched.
    Document,
    /// A question.
    Query,
}

/// A model that turns texts into unit vectors of one [`Identity`].
#[async_trait]
pub trait Embedder: Send + Sync {
    /// Who makes the vectors.
    fn identity(&self) -> &Identity;

    /// Whether embedding costs nothing, so that nobody need be asked.
    fn is_free(&self) -> bool {
        false
    }

    /// How many texts one call may hold.
    fn batch_size(&self) -> usize;

    /// Most characters of a record, heading and content, that one vector stands for; a longer one gets several.
    fn passage_characters(&self) -> usize {
        usize::MAX
    }

    /// What embedding texts of so many bytes in so many calls costs at most, US dollars.
    fn usd(&self, _texts: u64, _bytes: u64) -> f64 {
        0.0
    }

    /// Whether the vector of a document's text is at hand, so that it costs nothing.
    fn holds(&self, _text: &str) -> bool {
        self.is_free()
    }

    /// What was asked of a metered service so far.
    fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Embeds up to [`Embedder::batch_size`] texts: their vectors in order, `None` for a text that says nothing to the
    /// model. Dropping the future cancels the call.
    ///
    /// # Errors
    /// A model that does not answer, or not with vectors.
    async fn embed(&self, texts: &[String], task: Task) -> Result<Vec<Option<Embedding>>, EmbedError>;
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
    /// The model cannot be reached, or refuses.
    #[error(transparent)]
    Google(#[from] GoogleError),
    /// The call was not made, or failed, for this reason.
    #[error("a paid call to the embedding model was not made, or failed: {0}")]
    NotMade(String),
    /// The model's answer is no vector that can be searched.
    #[error("{model} gave an unusable vector: {detail}")]
    Unusable {
        /// The model.
        model: String,
        /// What is wrong.
        detail: String,
    },
    /// A vector that was paid for cannot be kept.
    #[error("a vector that was paid for cannot be kept: {0}. Free some space, then sync again")]
    Cache(io::Error),
    /// It would cost more than is allowed.
    #[error(
        "embedding {texts} rows would cost up to {yen:.2} yen, more than the {cap:.2} allowed (KARUTE_EMBED_MAX_YEN); \
         nothing was spent"
    )]
    TooDear {
        /// Rows to embed.
        texts: u64,
        /// What they cost at most.
        yen: f64,
        /// What may be spent.
        cap: f64,
    },
}

impl EmbedError {
    /// Whether the model refused before it did anything, so that nothing is billed.
    pub fn refused(&self) -> bool {
        match self {
            Self::Google(error) => error.refused(),
            Self::BatchTooLarge { .. } | Self::TooDear { .. } => true,
            _ => false,
        }
    }
}

/// Questions as vectors, but for those that say nothing to the model.
///
/// # Errors
/// As [`Embedder::embed`].
pub async fn embed_questions(
    texts: &[String],
    embedder: &dyn Embedder,
) -> Result<Vec<Embedding>, EmbedError> {
    let mut questions = Vec::new();
    for batch in texts.chunks(embedder.batch_size().max(1)) {
        questions.extend(embedder.embed(batch, Task::Query).await?.into_iter().flatten());
    }
    Ok(questions)
}

/// The text of a row that its vector is made from.
pub fn document_text(row: &Row) -> String {
    passage_text(&row.title, &row.content)
}

/// The text that the vector of a passage is made from.
pub fn passage_text(title: &str, passage: &str) -> String {
    format!("{title}\n{passage}")
}

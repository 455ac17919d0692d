//! What is asked of an index.

use crate::filter::Filter;
use crate::identity::Embedding;

/// A question: a vector, how many rows are wanted, and which rows may be seen.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    pub(crate) embedding: &'a Embedding,
    pub(crate) top: usize,
    pub(crate) filter: Option<&'a Filter>,
}

impl<'a> Query<'a> {
    /// How many rows a query asks for unless it says otherwise.
    pub const DEFAULT_TOP: usize = 10;

    /// The [`Query::DEFAULT_TOP`] rows nearest to `embedding`, which may be of any length but zero.
    pub fn new(embedding: &'a Embedding) -> Self {
        Self { embedding, top: Self::DEFAULT_TOP, filter: None }
    }

    /// Asks for `top` rows; zero and more than there are rows are both fine.
    #[must_use]
    pub fn top(self, top: usize) -> Self {
        Self { top, ..self }
    }

    /// Sees only the rows that `filter` lets through.
    #[must_use]
    pub fn within(self, filter: &'a Filter) -> Self {
        Self { filter: Some(filter), ..self }
    }
}

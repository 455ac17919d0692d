//! What is asked of an index.

use crate::filter::Filter;
use crate::identity::Embedding;

/// A question: a vector, how many rows are wanted, and which rows may be seen.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    pub(crate) embedding: &'a Embedding,
    pub(crate) top: usize,
    pub(crate) filter: Option<&'a Filter>,
    pub(crate) plan: Plan,
    pub(crate) threads: bool,
}

/// How the nearest rows are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plan {
    /// Exact where that is fast enough, over the graph otherwise.
    #[default]
    Auto,
    /// Exact: no row that the filter allows is passed over.
    Exact,
    /// Over the graph, keeping this many candidates (at least as many as rows are asked for). Exact where the snapshot
    /// has no graph.
    Graph {
        /// Candidates that the search keeps: more find more, and take longer.
        ef_search: usize,
    },
}

impl<'a> Query<'a> {
    /// How many rows a query asks for unless it says otherwise.
    pub const DEFAULT_TOP: usize = 10;

    /// The [`Query::DEFAULT_TOP`] rows nearest to `embedding`, which may be of any length but zero.
    pub fn new(embedding: &'a Embedding) -> Self {
        Self { embedding, top: Self::DEFAULT_TOP, filter: None, plan: Plan::Auto, threads: false }
    }

    /// Asks for `top` rows; zero and more than there are rows are both fine.
    #[must_use]
    pub fn top(self, top: usize) -> Self {
        Self { top, ..self }
    }

    /// Looks for the rows in a certain way.
    #[must_use]
    pub fn plan(self, plan: Plan) -> Self {
        Self { plan, ..self }
    }

    /// Lets an exact search without a filter use every thread of rayon's current pool. What is found is the same.
    #[must_use]
    pub fn on_all_threads(self) -> Self {
        Self { threads: true, ..self }
    }

    /// Sees only the rows that `filter` lets through.
    #[must_use]
    pub fn within(self, filter: &'a Filter) -> Self {
        Self { filter: Some(filter), ..self }
    }
}

//! How a caller watches a search: whether it is still wanted, and how long each part takes. The engine has no clock.

use std::sync::{Mutex, PoisonError};

/// A part of a search. They end in this order; one that is not needed does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The query is checked and its filter compiled.
    Prepare,
    /// The graph is walked.
    Walk,
    /// Codes are read, all or those that the filter allows.
    Scan,
    /// What is close is compared in full precision.
    Rescore,
}

/// Is told how a search goes, and may end it.
pub trait Watch: Send {
    /// Whether the search is still wanted. Asked every few microseconds while codes are read, the graph is walked, or more than
    /// a few vectors are compared in full precision; after `false` the search ends with
    /// [`QueryError::Cancelled`](crate::QueryError::Cancelled). Where a search uses several threads, one asks at a time: it
    /// must not wait for work on rayon's threads.
    fn is_wanted(&mut self) -> bool {
        true
    }

    /// A part has ended.
    fn ended(&mut self, stage: Stage) {
        let _ = stage;
    }
}

/// A [`Watch`] that looks away.
pub(crate) struct Unwatched;

impl Watch for Unwatched {}

/// One watch for several threads, who ask one after the other; all hear of a `false`.
pub(crate) struct Shared<'a>(Mutex<(&'a mut dyn Watch, bool)>);

impl<'a> Shared<'a> {
    pub(crate) fn new(watch: &'a mut dyn Watch) -> Self {
        Self(Mutex::new((watch, true)))
    }

    pub(crate) fn is_wanted(&self) -> bool {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (watch, wanted) = &mut *shared;
        *wanted = *wanted && watch.is_wanted();
        *wanted
    }
}

//! Words: one text normaliser for the index, for queries and for the local embedder, and what is built on it.

mod features;
mod normalise;
mod sentences;

pub use features::{Feature, features};
pub use normalise::{Script, Symbol, normalise};
pub use sentences::sentences;

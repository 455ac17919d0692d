//! Words: one text normaliser for the index, for queries and for the local embedder, and what is built on it.

mod features;
mod normalise;
mod sentences;
mod terms;

pub use features::{Feature, each_feature, features};
pub use normalise::{Script, Symbol, half_width, hiragana, is_han, nfkc, normalise, normalise_with_spans};
pub use sentences::sentences;
pub use terms::{TermMatch, Terms};

//! Who made a vector: the property that two vectors must share before a dot product of theirs means anything.

use std::fmt;

use rkyv::{Archive, Deserialize, Serialize};

use crate::error::{QueryError, VectorFault};
use crate::vector::{norm, scale_into};

/// The embedding identity of a vector: provider, model, size, task, normalisation and text prefix.
///
/// Vectors of two different identities live in two different spaces. A snapshot has exactly one identity, and a
/// query of any other is refused with [`QueryError::Identity`].
#[derive(
    Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize,
)]
pub struct Identity {
    /// Who computes the vectors, such as `karute` or `vertex-ai`.
    pub provider: String,
    /// The model's full name; a model that changes its output must change this name.
    pub model: String,
    /// How many numbers a vector has, 1 to [`Identity::MAX_DIMENSIONS`].
    pub dimensions: u32,
    /// The pair of tasks that the vectors were made for, such as `retrieval` (a document and a query that meet).
    pub task: String,
    /// How vectors are scaled: `l2` (unit length) is the only one that the engine searches.
    pub normalisation: String,
    /// The text put before each text ahead of embedding; empty for none.
    pub text_prefix: String,
}

impl Identity {
    /// The largest number of dimensions that a snapshot holds.
    pub const MAX_DIMENSIONS: u32 = 16_384;

    /// An identity for unit vectors made for retrieval, without a text prefix.
    pub fn new(provider: impl Into<String>, model: impl Into<String>, dimensions: u32) -> Self {
        Self {
            provider: provider.into(),
            model: model.into(),
            dimensions,
            task: "retrieval".into(),
            normalisation: "l2".into(),
            text_prefix: String::new(),
        }
    }
}

impl fmt::Display for Identity {
    /// `provider/model@dimensions (task, normalisation)`, with the prefix where there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { provider, model, dimensions, task, normalisation, text_prefix } = self;
        write!(f, "{provider}/{model}@{dimensions} ({task}, {normalisation}")?;
        if !text_prefix.is_empty() {
            write!(f, ", prefix {text_prefix:?}")?;
        }
        write!(f, ")")
    }
}

/// A vector together with its identity, so that it cannot be compared with a stranger by mistake.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    identity: Identity,
    vector: Vec<f32>,
}

impl Embedding {
    /// Binds `vector` to the identity of the model that made it. Nothing is checked here: whoever takes the
    /// embedding (a draft, a query) checks size and values, and says what is wrong with them.
    pub fn new(identity: Identity, vector: Vec<f32>) -> Self {
        Self { identity, vector }
    }

    /// Who made it.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its numbers.
    pub fn vector(&self) -> &[f32] {
        &self.vector
    }

    /// Its numbers at unit length, as a question to vectors of `identity`.
    pub(crate) fn unit(&self, identity: &Identity) -> Result<Vec<f32>, QueryError> {
        let mut unit = Vec::new();
        self.unit_into(identity, &mut unit)?;
        Ok(unit)
    }

    /// As [`Embedding::unit`], into `unit`.
    pub(crate) fn unit_into(&self, identity: &Identity, unit: &mut Vec<f32>) -> Result<(), QueryError> {
        if self.identity != *identity {
            return Err(QueryError::Identity {
                query: Box::new(self.identity.clone()),
                snapshot: Box::new(identity.clone()),
            });
        }
        let (found, expected) = (self.vector.len(), identity.dimensions as usize);
        if found != expected {
            return Err(VectorFault::Dimensions { found, expected }.into());
        }
        scale_into(&self.vector, norm(&self.vector)?, unit);
        Ok(())
    }

    /// Its numbers, given away.
    pub fn into_vector(self) -> Vec<f32> {
        self.vector
    }
}

//! The table of models: what each can do and what it costs, dated, in a data file that an operator can replace.

use std::path::Path;

use serde::Deserialize;

use crate::generate::{Cost, Usage};

/// The table that comes with the program.
const BUILT_IN: &str = include_str!("../models.toml");

/// A table of models.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Models {
    /// The day on which prices and limits were read, `YYYY-MM-DD`.
    pub as_of: String,
    /// Models that turn texts into vectors.
    pub embedding: Vec<EmbeddingModel>,
    /// Models that write.
    #[serde(default)]
    pub generation: Vec<GenerationModel>,
    /// Models that rank.
    #[serde(default)]
    pub ranking: Vec<RankingModel>,
}

/// A model that ranks.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankingModel {
    /// Its name at Google.
    pub name: String,
    /// Price of a call, US dollars.
    pub usd_per_call: f64,
}

/// A model that writes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationModel {
    /// Its name at Google.
    pub name: String,
    /// The temperature that it is asked with; newer models take none.
    pub temperature: Option<f64>,
    /// How it is told how long to think.
    pub thinking: Thinking,
    /// Price of a million tokens of the prompt, US dollars.
    pub usd_per_million_input: f64,
    /// Price of a million tokens of the prompt that the model had in its cache.
    pub usd_per_million_cached: f64,
    /// Price of a million tokens of the answer, thoughts among them.
    pub usd_per_million_output: f64,
    /// The day on which Google takes it away, `YYYY-MM-DD`, if that is known.
    pub retires: Option<String>,
}

/// How a model is told how long to think.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thinking {
    /// It does not think.
    None,
    /// In so many tokens; 0 for none, -1 for as many as it likes.
    Budget(i64),
    /// In a level: MINIMAL, LOW, MEDIUM, HIGH.
    Level(String),
}

/// A model that turns texts into vectors.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingModel {
    /// Its name at Google.
    pub name: String,
    /// Which verb of the API it answers to.
    pub verb: Verb,
    /// Most numbers of a vector.
    pub most_dimensions: u32,
    /// Tokens that are read of one text.
    pub most_tokens: usize,
    /// Texts that one call may hold.
    pub texts_per_call: usize,
    /// Whether it takes a task type.
    pub task_type: bool,
    /// What a question is put into, where the text says the task; `{}` stands for it.
    #[serde(default = "bare")]
    pub query: String,
    /// What a document is put into.
    #[serde(default = "bare")]
    pub document: String,
    /// Price of a million tokens, US dollars.
    pub usd_per_million_tokens: f64,
}

fn bare() -> String {
    "{}".into()
}

/// Verbs of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Verb {
    /// `:predict`: instances and parameters.
    #[serde(rename = "predict")]
    Predict,
    /// `:embedContent`: one content.
    #[serde(rename = "embedContent")]
    EmbedContent,
}

/// A table of models that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelsError {
    /// The file cannot be read.
    #[error("the table of models {path} (KARUTE_MODELS) cannot be read: {detail}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        detail: String,
    },
    /// The model is not in the table.
    #[error("{wanted} is not in the table of models of {as_of}, which has {known}: add it by KARUTE_MODELS")]
    Unknown {
        /// The model.
        wanted: String,
        /// The table's day.
        as_of: String,
        /// Its models.
        known: String,
    },
}

impl Models {
    /// The table in `file`, else the one that comes with the program.
    ///
    /// # Errors
    /// A file that cannot be read, or is no such table.
    pub fn load(file: Option<&Path>) -> Result<Self, ModelsError> {
        let path = file.map_or_else(|| "of the program".into(), |path| path.display().to_string());
        let unreadable = |detail: String| ModelsError::Unreadable { path: path.clone(), detail };
        let text = match file {
            Some(file) => std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?,
            None => BUILT_IN.to_owned(),
        };
        let models: Self = toml::from_str(&text).map_err(|error| unreadable(error.message().to_owned()))?;
        let wrong = models.embedding.iter().find(|model| {
            model.texts_per_call == 0
                || model.most_dimensions == 0
                || !model.query.contains("{}")
                || !model.document.contains("{}")
        });
        match wrong {
            Some(model) => {
                Err(unreadable(format!("{} has a limit of zero, or a template without {{}}", model.name)))
            }
            None => Ok(models),
        }
    }

    /// The embedding model of this name.
    ///
    /// # Errors
    /// A model that is not in the table.
    pub fn embedding(&self, name: &str) -> Result<&EmbeddingModel, ModelsError> {
        self.find(name, &self.embedding, |model| &model.name)
    }

    /// The model of this name that writes.
    ///
    /// # Errors
    /// A model that is not in the table.
    pub fn generation(&self, name: &str) -> Result<&GenerationModel, ModelsError> {
        self.find(name, &self.generation, |model| &model.name)
    }

    /// The ranking model of this name.
    ///
    /// # Errors
    /// A model that is not in the table.
    pub fn ranking(&self, name: &str) -> Result<&RankingModel, ModelsError> {
        self.find(name, &self.ranking, |model| &model.name)
    }

    fn find<'a, M>(&self, name: &str, all: &'a [M], named: fn(&M) -> &str) -> Result<&'a M, ModelsError> {
        all.iter().find(|model| named(model) == name).ok_or_else(|| ModelsError::Unknown {
            wanted: name.to_owned(),
            as_of: self.as_of.clone(),
            known: all.iter().map(named).collect::<Vec<_>>().join(", "),
        })
    }
}

impl GenerationModel {
    /// What an answer that took so much costs.
    pub fn cost(&self, usage: &Usage) -> Cost {
        let fresh = usage.input_tokens.saturating_sub(usage.cached_tokens);
        let output = usage.output_tokens + usage.thought_tokens;
        let of = |tokens: u64, price: f64| tokens as f64 / 1e6 * price;
        Cost {
            input_usd: of(fresh, self.usd_per_million_input)
                + of(usage.cached_tokens, self.usd_per_million_cached),
            output_usd: of(output, self.usd_per_million_output),
        }
    }
}

impl EmbeddingModel {
    /// What embedding so many texts of so many bytes costs at most, US dollars: a token is at least one byte, and of each text
    /// the model reads no more than its limit.
    pub fn usd(&self, texts: u64, bytes: u64) -> f64 {
        let tokens = bytes.min(texts.saturating_mul(self.most_tokens as u64));
        tokens as f64 / 1e6 * self.usd_per_million_tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_program_can_be_read_and_is_dated() {
        let models = Models::load(None).expect("readable");
        assert!(models.as_of.starts_with("20"));
        assert_eq!(models.embedding("gemini-embedding-001").expect("listed").verb, Verb::Predict);
        let model = models.generation("gemini-3.5-flash-lite").expect("listed");
        let usage = Usage {
            input_tokens: 1_000_000,
            cached_tokens: 500_000,
            output_tokens: 90_000,
            thought_tokens: 10_000,
        };
        let expected = 0.5 * model.usd_per_million_input
            + 0.5 * model.usd_per_million_cached
            + 0.1 * model.usd_per_million_output;
        assert!((model.cost(&usage).usd() - expected).abs() < 1e-12);
        let error = models.embedding("gemini-embedding-9").expect_err("unknown").to_string();
        assert!(error.contains("gemini-embedding-001") && error.contains("KARUTE_MODELS"), "{error}");
    }
}

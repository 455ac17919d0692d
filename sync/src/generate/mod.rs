//! Text from a language model, as it comes.

pub mod gemini;
pub mod openai;
pub mod sse;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::Serialize;

use crate::google::GoogleError;

/// Who says something in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The person who asks.
    User,
    /// The model.
    Model,
}

/// What somebody said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Who.
    pub role: Role,
    /// What.
    pub text: String,
}

/// What a model is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// How it is to work; never anything from a record.
    pub system: String,
    /// The conversation, the question last.
    pub turns: Vec<Turn>,
    /// Most tokens of the answer.
    pub max_output_tokens: u32,
    /// What the bill is to call it, where the service can: letters, digits, `-` and `_`, at most 63. Empty for nothing.
    pub label: String,
}

/// Tokens that an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Of the prompt, cached ones among them.
    pub input_tokens: u64,
    /// Of those, the ones that the model had in its cache.
    pub cached_tokens: u64,
    /// Of the answer, without thoughts.
    pub output_tokens: u64,
    /// Of thoughts, which cost as much as the answer.
    pub thought_tokens: u64,
}

/// Tokens that a turn may have beside its text.
const TURN: usize = 64;

/// What an answer costs, US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// For what the model read.
    pub input_usd: f64,
    /// For what it wrote, thoughts among it.
    pub output_usd: f64,
}

impl Cost {
    /// Altogether.
    pub fn usd(&self) -> f64 {
        self.input_usd + self.output_usd
    }
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It is complete.
    Stop,
    /// It reached the most tokens that were allowed.
    MaxTokens,
    /// A reason that this build does not know.
    Other(String),
}

/// The end of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Why it ended.
    pub finish: Finish,
    /// What it took.
    /// `None` where the service did not say.
    pub usage: Option<Usage>,
    /// The model that answered, by its own name, which may be more exact than the one that was asked.
    pub model: String,
}

/// A part of an answer as it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// Text; never empty.
    Text(String),
    /// The end. Nothing comes after it.
    Done(Finished),
}

/// The parts of an answer. It ends behind [`Delta::Done`] or the first error; dropping it ends the call.
pub type Deltas = BoxStream<'static, Result<Delta, GenerateError>>;

/// A language model.
#[async_trait]
pub trait Generator: Send + Sync {
    /// The model that is asked.
    fn model(&self) -> &str;

    /// What an answer that took so much costs.
    fn cost(&self, usage: &Usage) -> Cost;

    /// The most that an answer to `prompt` can take: a token is at least one byte, and thoughts count against the answer's
    /// limit.
    fn most(&self, prompt: &Prompt) -> Usage {
        let bytes: usize = prompt.turns.iter().map(|turn| turn.text.len() + TURN).sum();
        Usage {
            input_tokens: (prompt.system.len() + TURN + bytes) as u64,
            output_tokens: u64::from(prompt.max_output_tokens),
            ..Usage::default()
        }
    }

    /// Answers `prompt`. A call that failed is made again only before anything of an answer came.
    ///
    /// # Errors
    /// A model that cannot be reached, or refuses.
    async fn generate(&self, prompt: &Prompt) -> Result<Deltas, GenerateError>;
}

/// An answer that did not come, or broke off.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// Google refuses, or cannot be reached.
    #[error(transparent)]
    Google(#[from] GoogleError),
    /// Another service refuses, or cannot be reached.
    #[error("{model} at {place} did not answer: {detail}")]
    Unavailable {
        /// The model.
        model: String,
        /// The address.
        place: String,
        /// Why.
        detail: String,
    },
    /// The service is there and will not take this request, as one that is too long for the model.
    #[error("{model} at {place} refuses the request: {detail}")]
    Refused {
        /// The model.
        model: String,
        /// The address.
        place: String,
        /// Its status.
        detail: String,
    },
    /// The model will not answer this question, or may not say what it was saying.
    #[error("{model} blocked the answer ({reason})")]
    Blocked {
        /// The model.
        model: String,
        /// SAFETY, PROHIBITED_CONTENT, ...
        reason: String,
        /// What it took until then, as far as the service said so.
        usage: Option<Usage>,
    },
    /// The service ended the answer with an error of its own.
    #[error("{model} ended its answer with an error: {detail}")]
    Failed {
        /// The model.
        model: String,
        /// What it said.
        detail: String,
    },
    /// The answer ended without saying so.
    #[error("the answer of {model} broke off")]
    BrokenOff {
        /// The model.
        model: String,
    },
    /// What came is no answer.
    #[error("{model} sent what is no answer: {detail}")]
    Malformed {
        /// The model.
        model: String,
        /// What is wrong.
        detail: String,
    },
}

impl GenerateError {
    /// Whether the service refused before it did anything, so that nothing is billed.
    pub fn refused(&self) -> bool {
        matches!(self, Self::Google(error) if error.refused())
    }

    /// How long the service wants to be left alone before it is asked once more, where it said no for the moment; `None` where
    /// asking again is of no use.
    pub fn passes_after(&self) -> Option<Duration> {
        match self {
            Self::Google(GoogleError::Unavailable { refused: true, after, .. }) => {
                Some(after.unwrap_or_default())
            }
            _ => None,
        }
    }

    /// Whether it is this question that the service will not answer: another one may be answered.
    pub fn is_of_the_question(&self) -> bool {
        matches!(
            self,
            Self::Blocked { .. } | Self::Refused { .. } | Self::Google(GoogleError::Refused { .. })
        )
    }
}

//! Embeddings of Vertex AI, by REST, in both of its shapes.
//!
//! Vectors are scaled to unit length here: shortened vectors of these models are not.

use async_trait::async_trait;
use karute_engine::{Embedding, Identity, vector};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::embed::{EmbedError, Embedder, Task};
use crate::google::client::{Call, Effect};
use crate::google::drive::built;
use crate::google::error::place;
use crate::google::{Client, GoogleError, Usage, vertex_host};
use crate::models::{EmbeddingModel, Verb};

const SERVICE: &str = "Vertex AI";
/// Most characters of a passage: a vector of more says too little of each part.
const PASSAGE: usize = 1_200;

/// An embedding model of Vertex AI.
#[derive(Debug)]
pub struct Vertex {
    client: Client,
    project: String,
    location: String,
    model: EmbeddingModel,
    identity: Identity,
}

/// Asks for something that costs nothing, how many tokens a word has: whether the API is on, the account may ask, and the model is
/// there. `embeds` says which kind of model it is.
///
/// # Errors
/// As [`Client::call`].
pub async fn count_tokens(
    client: &Client,
    project: &str,
    location: &str,
    model: &str,
    embeds: bool,
) -> Result<(), GoogleError> {
    let verb = format!("{model}:countTokens");
    let path = ["v1", "projects", project, "locations", location, "publishers", "google", "models", &verb];
    let body = match embeds {
        true => json!({"instances": [{"content": "karute"}]}),
        false => json!({"contents": [{"role": "user", "parts": [{"text": "karute"}]}]}),
    };
    let call = Call {
        service: SERVICE,
        api: "aiplatform.googleapis.com",
        what: format!("{model} in {location} of project {project}"),
        method: Method::POST,
        url: built(&vertex_host(client.host(), location), &path)?,
        body: Some(&body),
        effect: Effect::Read,
    };
    client.call(&call).await.map(drop)
}

#[derive(Deserialize)]
struct Predicted {
    predictions: Vec<Prediction>,
}

#[derive(Deserialize)]
struct Prediction {
    embeddings: Values,
}

#[derive(Deserialize)]
struct Embedded {
    embedding: Values,
    #[serde(default)]
    truncated: bool,
}

#[derive(Deserialize)]
struct Values {
    values: Vec<f32>,
    #[serde(default)]
    statistics: Statistics,
}

#[derive(Deserialize, Default)]
struct Statistics {
    #[serde(default)]
    truncated: bool,
}

impl Vertex {
    /// `model` in a Google Cloud project, `location` such as `asia-northeast1`, with vectors of `dimensions` numbers.
    pub fn new(
        client: Client,
        project: &str,
        location: &str,
        model: EmbeddingModel,
        dimensions: u32,
    ) -> Self {
        let identity = Identity {
            text_prefix: model.document.replace("{}", ""),
            ..Identity::new("vertex-ai", model.name.clone(), dimensions)
        };
        Self { client, project: project.to_owned(), location: location.to_owned(), model, identity }
    }

    async fn call(&self, body: &Value, effect: Effect) -> Result<bytes::Bytes, GoogleError> {
        let verb = match self.model.verb {
            Verb::Predict => "predict",
            Verb::EmbedContent => "embedContent",
        };
        let model = format!("{}:{verb}", self.model.name);
        let parts =
            ["v1", "projects", &self.project, "locations", &self.location, "publishers", "google", "models"];
        let url = built(&vertex_host(self.client.host(), &self.location), &[&parts[..], &[&model]].concat())?;
        let call = Call {
            service: SERVICE,
            api: "aiplatform.googleapis.com",
            what: format!("{model} in {} of project {}", self.location, self.project),
            method: Method::POST,
            url,
            body: Some(body),
            effect,
        };
        self.client.call(&call).await
    }

    /// The vectors of texts that are all put into their templates.
    async fn vectors(&self, texts: &[String], task: Task) -> Result<Vec<Vec<f32>>, GoogleError> {
        let (task, effect) = match task {
            // A sync of thousands is not given up because Google is busy; what was paid for before is kept.
            Task::Document => ("RETRIEVAL_DOCUMENT", Effect::PaidAlong),
            // A question's call stands in the ledger, once.
            Task::Query => ("RETRIEVAL_QUERY", Effect::Paid),
        };
        let malformed = |error: serde_json::Error| GoogleError::Malformed {
            service: SERVICE,
            what: self.model.name.clone(),
            detail: place(&error),
        };
        match self.model.verb {
            Verb::Predict => {
                let instance = |text: &String| match self.model.task_type {
                    true => json!({"content": text, "task_type": task}),
                    false => json!({"content": text}),
                };
                let body = json!({
                    "instances": texts.iter().map(instance).collect::<Vec<_>>(),
                    "parameters": {"outputDimensionality": self.identity.dimensions},
                });
                let found: Predicted =
                    serde_json::from_slice(&self.call(&body, effect).await?).map_err(malformed)?;
                let take = |prediction: Prediction| {
                    warn_if(prediction.embeddings.statistics.truncated);
                    prediction.embeddings.values
                };
                Ok(found.predictions.into_iter().map(take).collect())
            }
            Verb::EmbedContent => {
                let mut vectors = Vec::with_capacity(texts.len());
                for text in texts {
                    let mut config = json!({"outputDimensionality": self.identity.dimensions});
                    if self.model.task_type {
                        config["taskType"] = json!(task);
                    }
                    let body = json!({
                        "content": {"role": "user", "parts": [{"text": text}]}, "embedContentConfig": config,
                    });
                    let found: Embedded =
                        serde_json::from_slice(&self.call(&body, effect).await?).map_err(malformed)?;
                    warn_if(found.truncated);
                    vectors.push(found.embedding.values);
                }
                Ok(vectors)
            }
        }
    }
}

#[async_trait]
impl Embedder for Vertex {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn usage(&self) -> Usage {
        self.client.usage()
    }

    fn batch_size(&self) -> usize {
        self.model.texts_per_call
    }

    fn passage_characters(&self) -> usize {
        // A Japanese token is a character or more; where rare signs take several tokens each, the model says that it cut.
        self.model.most_tokens.min(PASSAGE)
    }

    fn usd(&self, texts: u64, bytes: u64) -> f64 {
        self.model.usd(texts, bytes + texts * self.model.document.len() as u64)
    }

    async fn embed(&self, texts: &[String], task: Task) -> Result<Vec<Option<Embedding>>, EmbedError> {
        if texts.len() > self.batch_size() {
            return Err(EmbedError::BatchTooLarge { found: texts.len(), limit: self.batch_size() });
        }
        let template = match task {
            Task::Document => &self.model.document,
            Task::Query => &self.model.query,
        };
        // The model refuses an empty text; a text without a word says nothing to it.
        let says = |text: &String| text.chars().any(char::is_alphanumeric);
        let spoken = texts.iter().filter(|text| says(text)).map(|text| template.replacen("{}", text, 1));
        let spoken: Vec<String> = spoken.collect();
        let made = if spoken.is_empty() { Vec::new() } else { self.vectors(&spoken, task).await? };
        if made.len() != spoken.len() {
            return Err(EmbedError::Unusable {
                model: self.model.name.clone(),
                detail: format!("{} vectors for {} texts", made.len(), spoken.len()),
            });
        }
        let mut made = made.into_iter();
        texts
            .iter()
            .map(
                |text| {
                    if says(text) {
                        made.next().map(|vector| self.unit(vector)).transpose()
                    } else {
                        Ok(None)
                    }
                },
            )
            .collect()
    }
}

/// The model cuts what it does not read without an error.
fn warn_if(truncated: bool) {
    if truncated {
        tracing::warn!("a text was longer than the model reads; its vector is made from the beginning");
    }
}

impl Vertex {
    fn unit(&self, numbers: Vec<f32>) -> Result<Embedding, EmbedError> {
        let unusable = |detail: String| EmbedError::Unusable { model: self.model.name.clone(), detail };
        if numbers.len() != self.identity.dimensions as usize {
            let (found, expected) = (numbers.len(), self.identity.dimensions);
            return Err(unusable(format!("{found} numbers in a vector, {expected} were asked for")));
        }
        let norm = vector::norm(&numbers).map_err(|fault| unusable(fault.to_string()))?;
        let unit = if vector::is_unit(norm) { numbers } else { vector::scaled(&numbers, norm) };
        Ok(Embedding::new(self.identity.clone(), unit))
    }
}

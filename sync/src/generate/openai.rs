//! Models behind OpenAI's chat interface: Ollama, vLLM, llama.cpp and others, in a house without a cloud.

use std::time::Duration;

use async_stream::try_stream;
use async_trait::async_trait;
use futures_util::StreamExt;
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::sse::{Event, Parser};
use super::{Cost, Delta, Deltas, Finish, Finished, GenerateError, Generator, Prompt, Role, Usage};
use crate::google::error::place;

/// A model behind `{base}/chat/completions`.
pub struct OpenAi {
    http: reqwest::Client,
    url: Url,
    key: Option<String>,
    model: String,
}

impl std::fmt::Debug for OpenAi {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenAi({} at {})", self.model, self.url)
    }
}

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Counted>,
    model: Option<String>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Said>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Said {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

impl OpenAi {
    /// `model` behind `base`, an address such as `http://127.0.0.1:11434/v1`; `key` is sent as a bearer token.
    ///
    /// # Errors
    /// An address that is none; an HTTP client that cannot be set up.
    pub fn new(base: &str, key: Option<String>, model: &str) -> Result<Self, GenerateError> {
        let unusable = |detail: String| GenerateError::Unavailable {
            model: model.to_owned(),
            place: base.to_owned(),
            detail,
        };
        crate::tls::choose();
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        let url = Url::parse(&format!("{}/chat/completions", base.trim_end_matches('/')))
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self { http, url, key, model: model.to_owned() })
    }

    fn failed(&self, detail: impl Into<String>) -> GenerateError {
        let place = self.url.origin().ascii_serialization();
        GenerateError::Unavailable { model: self.model.clone(), place, detail: detail.into() }
    }
}

#[async_trait]
impl Generator for OpenAi {
    fn model(&self) -> &str {
        &self.model
    }

    /// A house's own machine sends no bill.
    fn cost(&self, _usage: &Usage) -> Cost {
        Cost::default()
    }

    async fn generate(&self, prompt: &Prompt) -> Result<Deltas, GenerateError> {
        let system = json!({"role": "system", "content": prompt.system});
        let turns = prompt.turns.iter().map(|turn| {
            let role = match turn.role {
                Role::User => "user",
                Role::Model => "assistant",
            };
            json!({"role": role, "content": turn.text})
        });
        let body = json!({
            "model": self.model,
            "messages": std::iter::once(system).chain(turns).collect::<Vec<_>>(),
            "max_tokens": prompt.max_output_tokens,
            "temperature": 0,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        let mut request = self.http.post(self.url.clone()).json(&body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.map_err(|error| self.failed(error.without_url().to_string()))?;
        if response.status() != StatusCode::OK {
            // What a service says of a refusal may quote the prompt, which holds records: only its status is told.
            let status = response.status();
            return Err(match status {
                StatusCode::BAD_REQUEST
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::UNPROCESSABLE_ENTITY => {
                    let place = self.url.origin().ascii_serialization();
                    GenerateError::Refused { model: self.model.clone(), place, detail: status.to_string() }
                }
                _ => self.failed(status.to_string()),
            });
        }
        let mut pieces = response.bytes_stream();
        let model = self.model.clone();
        let deltas = try_stream! {
            let (mut parser, mut finish, mut usage, mut named) = (Parser::default(), None, None::<Usage>, None);
            let malformed = |detail: String| GenerateError::Malformed { model: model.clone(), detail };
            let mut ended = false;
            while !ended {
                let events = match pieces.next().await {
                    Some(Ok(piece)) => parser.feed(&piece).map_err(|error| malformed(error.to_string()))?,
                    Some(Err(_)) => Err(GenerateError::BrokenOff { model: model.clone() })?,
                    None => {
                        ended = true;
                        std::mem::take(&mut parser).finish()
                    }
                };
                for event in events {
                    let (Event::Data(text) | Event::Bare(text)) = event;
                    if text.trim() == "[DONE]" {
                        // Some services leave the connection open behind it.
                        ended = true;
                        continue;
                    }
                    let chunk: Chunk = serde_json::from_str(&text).map_err(|error| malformed(place(&error)))?;
                    if let Some(error) = chunk.error {
                        // Its message may quote the prompt, which holds records.
                        let detail = format!("{} {}", error["type"].as_str().unwrap_or("error"), error["code"]);
                        Err(GenerateError::Failed { model: model.clone(), detail })?;
                    }
                    named = chunk.model.or(named);
                    if let Some(counted) = chunk.usage {
                        usage = Some(Usage {
                            input_tokens: counted.prompt_tokens,
                            output_tokens: counted.completion_tokens,
                            ..Usage::default()
                        });
                    }
                    for choice in chunk.choices.unwrap_or_default() {
                        if let Some(text) = choice.delta.unwrap_or_default().content.filter(|text| !text.is_empty()) {
                            yield Delta::Text(text);
                        }
                        finish = match choice.finish_reason.as_deref() {
                            None => finish,
                            Some("stop") => Some(Finish::Stop),
                            Some("length") => Some(Finish::MaxTokens),
                            Some("content_filter") => {
                                let reason = "content_filter".to_owned();
                                Err(GenerateError::Blocked { model: model.clone(), reason, usage })?
                            }
                            Some(other) => Some(Finish::Other(other.to_owned())),
                        };
                    }
                }
            }
            let finish = finish.ok_or_else(|| GenerateError::BrokenOff { model: model.clone() })?;
            yield Delta::Done(Finished { finish, usage, model: named.unwrap_or_else(|| model.clone()) });
        };
        Ok(deltas.boxed())
    }
}

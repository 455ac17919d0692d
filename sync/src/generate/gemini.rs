//! Gemini on Vertex AI: `streamGenerateContent` with server-sent events (`aiplatform.v1`).

use async_stream::try_stream;
use async_trait::async_trait;
use futures_util::StreamExt;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::sse::{Event, Parser};
use super::{Cost, Delta, Deltas, Finish, Finished, GenerateError, Generator, Prompt, Role, Usage};
use crate::google::client::{Call, Effect};
use crate::google::drive::built;
use crate::google::error::place;
use crate::google::{Client, vertex_host};
use crate::models::{GenerationModel, Thinking};

/// A Gemini model in a project and a location.
#[derive(Debug)]
pub struct Gemini {
    client: Client,
    project: String,
    location: String,
    model: GenerationModel,
}

impl Gemini {
    /// `model` in a Google Cloud project, `location` such as `asia-northeast1`.
    pub fn new(client: Client, project: &str, location: &str, model: GenerationModel) -> Self {
        Self { client, project: project.to_owned(), location: location.to_owned(), model }
    }

    /// The request's body, with those parameters that the model takes.
    fn body(&self, prompt: &Prompt) -> Value {
        let turn = |turn: &super::Turn| {
            let role = match turn.role {
                Role::User => "user",
                Role::Model => "model",
            };
            json!({"role": role, "parts": [{"text": turn.text}]})
        };
        let mut config = json!({"maxOutputTokens": prompt.max_output_tokens});
        if let Some(temperature) = self.model.temperature {
            config["temperature"] = json!(temperature);
        }
        match &self.model.thinking {
            Thinking::None => {}
            Thinking::Budget(tokens) => config["thinkingConfig"] = json!({"thinkingBudget": tokens}),
            Thinking::Level(level) => config["thinkingConfig"] = json!({"thinkingLevel": level}),
        }
        let mut body = json!({
            "systemInstruction": {"parts": [{"text": prompt.system}]},
            "contents": prompt.turns.iter().map(turn).collect::<Vec<_>>(),
            "generationConfig": config,
        });
        if !prompt.label.is_empty() {
            // Google's bill can be exported by label, and then be held against the ledger call by call.
            body["labels"] = json!({"karute_call": prompt.label});
        }
        body
    }
}

/// A piece of the stream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk {
    candidates: Option<Vec<Candidate>>,
    prompt_feedback: Option<Feedback>,
    usage_metadata: Option<Counted>,
    model_version: Option<String>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    content: Option<Content>,
    finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Content {
    parts: Option<Vec<Part>>,
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
    #[serde(default)]
    thought: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    block_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Counted {
    prompt_token_count: u64,
    candidates_token_count: u64,
    thoughts_token_count: u64,
    cached_content_token_count: u64,
}

impl From<Counted> for Usage {
    fn from(counted: Counted) -> Self {
        Self {
            input_tokens: counted.prompt_token_count,
            cached_tokens: counted.cached_content_token_count,
            output_tokens: counted.candidates_token_count,
            thought_tokens: counted.thoughts_token_count,
        }
    }
}

/// What a stream has said so far besides text.
#[derive(Debug)]
pub struct Reading {
    model: String,
    version: Option<String>,
    /// Of the whole answer; `None` until the service has counted to its end.
    usage: Option<Usage>,
    finish: Option<Finish>,
}

impl Reading {
    /// Of a stream of `model`.
    pub fn new(model: &str) -> Self {
        Self { model: model.to_owned(), version: None, usage: None, finish: None }
    }

    /// Takes an event and returns the text in it.
    ///
    /// # Errors
    /// An answer that was blocked; an error of the service; what is no piece of an answer.
    pub fn take(&mut self, event: &Event) -> Result<String, GenerateError> {
        let text = match event {
            Event::Data(text) | Event::Bare(text) => text,
        };
        let malformed = |detail: String| GenerateError::Malformed { model: self.model.clone(), detail };
        let value: Value = serde_json::from_str(text).map_err(|error| malformed(place(&error)))?;
        // A service that answers with a list wraps each piece, or its only error, in one.
        let value = match value {
            Value::Array(mut list) if list.len() == 1 => list.remove(0),
            other => other,
        };
        let chunk: Chunk =
            serde_json::from_value(value).map_err(|_| malformed("it has another shape".into()))?;
        if let Some(error) = chunk.error {
            return Err(GenerateError::Failed { model: self.model.clone(), detail: told(&error) });
        }
        self.version = chunk.model_version.or(self.version.take());
        // What was counted before the end is not the whole: only a count that comes with the end, or behind it, is.
        self.usage = chunk.usage_metadata.map(Usage::from).or(self.usage.filter(|_| self.finish.is_some()));
        if let Some(reason) = chunk.prompt_feedback.and_then(|feedback| feedback.block_reason) {
            return Err(GenerateError::Blocked { model: self.model.clone(), reason, usage: self.usage });
        }
        let mut said = String::new();
        for candidate in chunk.candidates.unwrap_or_default() {
            let spoken = candidate
                .content
                .unwrap_or_default()
                .parts
                .unwrap_or_default()
                .into_iter()
                .filter(|part| !part.thought);
            spoken.for_each(|part| said.push_str(&part.text));
            if let Some(reason) = candidate.finish_reason {
                self.finish = Some(self.finish(reason)?);
            }
        }
        Ok(said)
    }

    /// What a reason to end means.
    fn finish(&self, reason: String) -> Result<Finish, GenerateError> {
        match reason.as_str() {
            "STOP" => Ok(Finish::Stop),
            "MAX_TOKENS" => Ok(Finish::MaxTokens),
            "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "MODEL_ARMOR" => {
                Err(GenerateError::Blocked { model: self.model.clone(), reason, usage: self.usage })
            }
            _ => Ok(Finish::Other(reason)),
        }
    }

    /// The end of the stream.
    ///
    /// # Errors
    /// A stream that ended without a reason, which is one that broke off.
    pub fn end(self) -> Result<Finished, GenerateError> {
        match self.finish {
            Some(finish) => {
                Ok(Finished { finish, usage: self.usage, model: self.version.unwrap_or(self.model) })
            }
            None => Err(GenerateError::BrokenOff { model: self.model }),
        }
    }
}

/// What an error object says.
fn told(error: &Value) -> String {
    // Its message may quote the prompt, which holds records.
    format!("{} {}", error["code"], error["status"].as_str().unwrap_or_default()).trim().to_owned()
}

#[async_trait]
impl Generator for Gemini {
    fn model(&self) -> &str {
        &self.model.name
    }

    fn cost(&self, usage: &Usage) -> Cost {
        self.model.cost(usage)
    }

    async fn generate(&self, prompt: &Prompt) -> Result<Deltas, GenerateError> {
        let model = format!("{}:streamGenerateContent", self.model.name);
        let path = [
            "v1",
            "projects",
            &self.project,
            "locations",
            &self.location,
            "publishers",
            "google",
            "models",
            &model,
        ];
        let mut url = built(&vertex_host(self.client.host(), &self.location), &path)?;
        url.set_query(Some("alt=sse"));
        let body = self.body(prompt);
        let call = Call {
            service: "Vertex AI",
            api: "aiplatform.googleapis.com",
            what: format!("{} in {} of project {}", self.model.name, self.location, self.project),
            method: Method::POST,
            url,
            body: Some(&body),
            effect: Effect::Paid,
        };
        let mut pieces = self.client.open(&call).await?;
        let name = self.model.name.clone();
        let deltas = try_stream! {
            let (mut parser, mut reading) = (Parser::default(), Reading::new(&name));
            let too_long = |error: super::sse::TooLong| {
                GenerateError::Malformed { model: name.clone(), detail: error.to_string() }
            };
            while let Some(piece) = pieces.next().await {
                for event in parser.feed(&piece?).map_err(too_long)? {
                    let text = reading.take(&event)?;
                    if !text.is_empty() {
                        yield Delta::Text(text);
                    }
                }
            }
            for event in parser.finish() {
                let text = reading.take(&event)?;
                if !text.is_empty() {
                    yield Delta::Text(text);
                }
            }
            yield Delta::Done(reading.end()?);
        };
        Ok(deltas.boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &[Value]) -> Result<(String, Finished), GenerateError> {
        let mut reading = Reading::new("m");
        let mut text = String::new();
        for event in events {
            text += &reading.take(&Event::Data(event.to_string()))?;
        }
        Ok((text, reading.end()?))
    }

    fn says(text: &str) -> Value {
        json!({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}}]})
    }

    fn ends(reason: &str) -> Value {
        json!({
            "candidates": [{"finishReason": reason}],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 14},
            "modelVersion": "m-001",
        })
    }

    #[test]
    fn text_without_thoughts_usage_and_version_are_read() {
        let thought = json!({"candidates": [{"content": {"parts": [{"text": "考え中", "thought": true}]}}]});
        let (text, finished) =
            read(&[thought, says("体温は"), says("38.5℃"), ends("STOP")]).expect("an answer");
        assert_eq!(text, "体温は38.5℃");
        let usage = Usage { input_tokens: 9, cached_tokens: 0, output_tokens: 3, thought_tokens: 2 };
        assert_eq!(finished, Finished { finish: Finish::Stop, usage: Some(usage), model: "m-001".into() });
    }

    #[test]
    fn an_answer_that_was_not_counted_to_its_end_has_no_usage() {
        let mut early = says("体温は");
        early["usageMetadata"] = json!({"promptTokenCount": 10});
        let bare_end = json!({"candidates": [{"finishReason": "STOP"}]});
        assert_eq!(read(&[early.clone(), bare_end.clone()]).expect("an answer").1.usage, None);
        let late = json!({"usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 2}});
        let counted = read(&[early.clone(), bare_end, late]).expect("an answer").1.usage.expect("counted");
        assert_eq!((counted.input_tokens, counted.output_tokens), (10, 2));
        let blocked = json!({"candidates": [{"finishReason": "SAFETY"}]});
        assert!(matches!(read(&[early, blocked]), Err(GenerateError::Blocked { usage: None, .. })));
    }

    #[test]
    fn every_way_to_end_is_told_apart() {
        assert_eq!(read(&[says("a"), ends("MAX_TOKENS")]).expect("cut").1.finish, Finish::MaxTokens);
        assert_eq!(
            read(&[says("a"), ends("A_REASON_OF_TOMORROW")]).expect("an answer").1.finish,
            Finish::Other("A_REASON_OF_TOMORROW".into())
        );
        assert!(matches!(read(&[says("a")]), Err(GenerateError::BrokenOff { .. })));
        assert!(matches!(read(&[says("a"), ends("SAFETY")]), Err(GenerateError::Blocked { .. })));
        let blocked = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}});
        assert!(matches!(read(&[blocked]), Err(GenerateError::Blocked { .. })));
        let failed = json!({"error": {"code": 503, "status": "UNAVAILABLE", "message": "busy"}});
        for event in [failed.clone(), json!([failed])] {
            let error = read(&[says("a"), event]).expect_err("an error").to_string();
            assert!(error.contains("503 UNAVAILABLE") && !error.contains("busy"), "{error}");
        }
        assert!(matches!(read(&[json!("text")]), Err(GenerateError::Malformed { .. })));
    }
}

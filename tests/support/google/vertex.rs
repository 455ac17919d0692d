//! Embeddings of Vertex AI, in both shapes: unit vectors that depend on the text alone.

use std::collections::VecDeque;

use axum::http::Method;
use serde_json::{Value, json};

use super::{Call, Refusal, gemini};

/// Dimensions of the models at full size.
const FULL: usize = 3_072;

/// What the models did so far.
#[derive(Debug, Default)]
pub(super) struct Models {
    pub(super) embedded: u64,
    /// Bodies of the requests for an answer.
    pub(super) prompts: Vec<Value>,
    /// What the bill would call each answer.
    pub(super) labels: Vec<String>,
    /// Answers that a test has written, each in pieces, for the requests to come.
    pub(super) written: VecDeque<Vec<Value>>,
    /// Whether the last answer was one of those: it may be malformed on purpose.
    pub(super) by_hand: bool,
}

pub(super) fn answer(models: &mut Models, call: &Call, model: &str) -> Result<Value, Refusal> {
    let (model, verb) = model.split_once(':').ok_or_else(|| Refusal::of(404))?;
    if call.method != Method::POST {
        return Err(Refusal::of(404));
    }
    let body = call.json()?;
    match (model, verb) {
        (model, "streamGenerateContent") => gemini::pieces(models, call, model).map(Value::Array),
        (_, "countTokens") => Ok(json!({"totalTokens": 3, "totalBillableCharacters": 6})),
        (model, "generateContent") => Ok(gemini::whole(&gemini::pieces(models, call, model)?)),
        ("gemini-embedding-001" | "text-multilingual-embedding-002", "predict") => {
            let instances = body["instances"].as_array().cloned().unwrap_or_default();
            let most = if model == "gemini-embedding-001" { 1 } else { 250 };
            if instances.is_empty() || instances.len() > most {
                return Err(Refusal::invalid(format!("{} instances, at most {most}", instances.len())));
            }
            let full = if model == "gemini-embedding-001" { FULL } else { 768 };
            let dimensions = body["parameters"]["outputDimensionality"].as_u64().map_or(full, |d| d as usize);
            if dimensions > full {
                return Err(Refusal::invalid(format!("outputDimensionality must be at most {full}")));
            }
            let mut characters = 0;
            let mut predictions = Vec::new();
            for instance in &instances {
                let text = instance["content"].as_str().unwrap_or_default();
                if text.is_empty() {
                    return Err(Refusal::invalid("The text content is empty."));
                }
                characters += text.chars().count();
                models.embedded += 1;
                predictions.push(json!({"embeddings": {
                    "values": vector(text, dimensions),
                    "statistics": {"truncated": false, "token_count": text.chars().count()},
                }}));
            }
            Ok(json!({"predictions": predictions, "metadata": {"billableCharacterCount": characters}}))
        }
        // Google's client of 2026-11 asks the older model by either verb.
        ("gemini-embedding-2" | "gemini-embedding-001", "embedContent") => {
            let text = body["content"]["parts"][0]["text"].as_str().unwrap_or_default();
            if text.is_empty() {
                return Err(Refusal::invalid("The text content is empty."));
            }
            let dimensions =
                body["embedContentConfig"]["outputDimensionality"].as_u64().unwrap_or(FULL as u64);
            models.embedded += 1;
            Ok(json!({
                "embedding": {"values": vector(text, dimensions as usize)},
                "usageMetadata": {"promptTokenCount": text.chars().count()},
                "truncated": false,
            }))
        }
        _ => Err(Refusal::new(404, "NOT_FOUND", format!("Publisher Model `{model}` was not found."))),
    }
}

/// Ranking: the share of the query's characters that a record holds, to hundredths, best first; equal ones as they came.
pub(super) fn rank(call: &Call) -> Result<Value, Refusal> {
    let body = call.json()?;
    let records = body["records"].as_array().cloned().unwrap_or_default();
    if records.is_empty() || records.len() > 200 {
        return Err(Refusal::invalid(format!("{} records, 1 to 200 are taken", records.len())));
    }
    let query = body["query"].as_str().unwrap_or_default();
    if query.is_empty() {
        return Err(Refusal::invalid("The query is empty."));
    }
    let mut scored = Vec::with_capacity(records.len());
    for record in &records {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let (title, content) = (text("title"), text("content"));
        if title.is_empty() && content.is_empty() {
            return Err(Refusal::invalid("A record needs a title or a content."));
        }
        let read: String = format!("{title}\n{content}").chars().take(1_024).collect();
        let held = query.chars().filter(|character| read.contains(*character)).count();
        scored.push(((held * 100 / query.chars().count()) as f64 / 100.0, record["id"].clone()));
    }
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let most = body["topN"].as_u64().map_or(scored.len(), |most| most as usize);
    let ranked = scored.into_iter().take(most).map(|(score, id)| json!({"id": id, "score": score}));
    Ok(json!({"records": ranked.collect::<Vec<_>>()}))
}

/// The sum of a pseudo-random direction for each pair of characters, so that like texts lie near each other. Shorter
/// vectors are the beginnings of longer ones and are not of unit length, as those of the real models.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let characters: Vec<char> = text.chars().collect();
    let mut sums = vec![0f32; FULL];
    for pair in characters.windows(2.min(characters.len())) {
        let key: String = pair.iter().collect();
        let mut digest = blake3::Hasher::new().update(key.as_bytes()).finalize_xof();
        let mut bytes = [0u8; FULL];
        digest.fill(&mut bytes);
        for (sum, byte) in sums.iter_mut().zip(bytes) {
            *sum += f32::from(byte) - 127.5;
        }
    }
    let norm = sums.iter().map(|x| x * x).sum::<f32>().sqrt();
    sums.truncate(dimensions);
    sums.into_iter().map(|x| x / norm).collect()
}

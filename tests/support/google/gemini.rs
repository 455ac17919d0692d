//! Gemini's `streamGenerateContent` and `generateContent`: an answer that quotes the first row of the prompt and cites it, in
//! pieces, or what a test has written for it.

use serde_json::{Value, json};

use super::vertex::Models;
use super::{Call, Refusal};

/// Requests that are kept whole: a load run makes many.
const MOST_PROMPTS: usize = 10_000;

/// Characters of a piece.
const PIECE: usize = 7;

/// The pieces of an answer, in order.
pub(super) fn pieces(models: &mut Models, call: &Call, model: &str) -> Result<Vec<Value>, Refusal> {
    if !model.starts_with("gemini-") {
        return Err(Refusal::new(404, "NOT_FOUND", format!("Publisher Model `{model}` was not found.")));
    }
    let body = call.json()?;
    let contents = body["contents"].as_array().cloned().unwrap_or_default();
    let Some(last) = contents.last().filter(|last| last["role"] != "model") else {
        return Err(Refusal::invalid("Please ensure that the last turn is of the user."));
    };
    // Models of the third generation take neither.
    let config = &body["generationConfig"];
    if model.starts_with("gemini-3")
        && ["temperature", "topP", "topK"].iter().any(|name| !config[name].is_null())
    {
        return Err(Refusal::invalid("temperature, topP and topK are not supported by this model."));
    }
    let prompt = last["parts"][0]["text"].as_str().unwrap_or_default();
    models.labels.push(body["labels"]["karute_call"].as_str().unwrap_or_default().to_owned());
    if models.prompts.len() < MOST_PROMPTS {
        models.prompts.push(body.clone());
    }
    let written = models.written.pop_front();
    models.by_hand = written.is_some();
    if let Some(written) = written {
        return Ok(written);
    }
    let answer = quote(prompt);
    let characters: Vec<char> = answer.chars().collect();
    let part = |text: &str, thought: bool| {
        json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text, "thought": thought}]}}],
               "modelVersion": model})
    };
    let mut pieces = vec![part("どの記録に書かれているかを探す。", true)];
    pieces.extend(characters.chunks(PIECE).map(|piece| part(&piece.iter().collect::<String>(), false)));
    pieces.push(json!({
        "candidates": [{"index": 0, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": prompt.chars().count(), "candidatesTokenCount": characters.len(), "thoughtsTokenCount": 16,
            "totalTokenCount": prompt.chars().count() + characters.len() + 16, "trafficType": "ON_DEMAND",
        },
        "modelVersion": model,
        "responseId": format!("response-{}", models.prompts.len()),
    }));
    Ok(pieces)
}

/// The first sentence of the first row that stands between the fences of `prompt`, cited.
fn quote(prompt: &str) -> String {
    let mut lines = prompt.lines().skip_while(|line| !line.starts_with("--- [1]")).skip(2);
    let content = lines.next().unwrap_or_default();
    let end = content.find('。').map_or(content.len(), |end| end);
    format!("{} [1]。", &content[..end])
}

/// The pieces as one answer, as `generateContent` gives it.
pub(super) fn whole(pieces: &[Value]) -> Value {
    let texts =
        pieces.iter().filter(|piece| piece["candidates"][0]["content"]["parts"][0]["thought"] != true);
    let text: String =
        texts.filter_map(|piece| piece["candidates"][0]["content"]["parts"][0]["text"].as_str()).collect();
    let mut last = pieces.last().cloned().unwrap_or_default();
    last["candidates"][0]["content"] = json!({"role": "model", "parts": [{"text": text}]});
    last
}

/// The pieces as server-sent events.
pub(super) fn events(pieces: &Value) -> String {
    let pieces = pieces.as_array().cloned().unwrap_or_default();
    pieces.iter().map(|piece| format!("data: {piece}\r\n\r\n")).collect()
}

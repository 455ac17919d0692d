//! Every exchange as a line of JSON, for a check against Google's discovery documents.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::Call;

/// Writes an exchange as a line of JSON, as the call would have been made to Google.
pub(super) fn record(file: &Path, call: &Call, status: u16, response: &Value, malformed: bool) {
    let host = match call.path.first().map(String::as_str) {
        Some("v4") => "sheets.googleapis.com",
        Some("drive") => "www.googleapis.com",
        Some("v3") => "monitoring.googleapis.com",
        Some("v1") if call.path.iter().any(|part| part == "rankingConfigs") => {
            "discoveryengine.googleapis.com"
        }
        Some("v1") => "asia-northeast1-aiplatform.googleapis.com",
        _ => "oauth2.googleapis.com",
    };
    let path = call.path.iter().map(|part| encoded(part)).collect::<Vec<_>>().join("/");
    let query = call.query.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    let query = query.collect::<Vec<_>>().join("&");
    let request: Option<Value> = serde_json::from_slice(&call.body).ok();
    let line = json!({
        "method": call.method.as_str(),
        "url": format!("https://{host}/{path}?{query}"),
        "request": request,
        "status": status,
        "response": response,
        "malformed": malformed,
    });
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
    // One write a line, so that emulators of several tests can share the file.
    let written = opened.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    if let Err(error) = written {
        panic!("the exchange cannot be recorded in {}: {error}", file.display());
    }
}

/// A text as a part of an address.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~:'!(),".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

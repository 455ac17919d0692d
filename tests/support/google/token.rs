//! The token endpoint: a signed assertion for an access token that remembers its scopes.

use std::io;
use std::path::{Path, PathBuf};

use axum::http::header;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Call, Refusal, State};
use crate::serve::decoded;

/// The key of nobody: it opens nothing but this emulator.
const KEY: &str = include_str!("test-key.pem");
const SCOPE: &str = "https://www.googleapis.com/auth/";

pub(super) fn key_file(directory: &Path, url: &str) -> io::Result<PathBuf> {
    let key = json!({
        "type": "service_account", "project_id": "emulated-project", "private_key_id": "1", "private_key": KEY,
        "client_email": "karute@emulated-project.iam.gserviceaccount.com", "client_id": "1",
        "token_uri": format!("{url}/token"),
    });
    let path = directory.join("emulated-key.json");
    std::fs::write(&path, key.to_string())?;
    Ok(path)
}

/// A token in which the scopes of the assertion stand.
pub(super) fn issue(call: &Call) -> Result<Value, Refusal> {
    let form = String::from_utf8_lossy(&call.body).into_owned();
    let fields = form.split('&').filter_map(|pair| pair.split_once('='));
    let assertion = fields.filter(|(name, _)| *name == "assertion").map(|(_, value)| decoded(value)).next();
    let claims = assertion.as_deref().and_then(|assertion| assertion.split('.').nth(1).map(str::to_owned));
    let claims = claims.and_then(|text| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok());
    let claims: Option<Value> = claims.and_then(|claims| serde_json::from_slice(&claims).ok());
    let scopes = claims.as_ref().and_then(|claims| claims["scope"].as_str());
    let scopes = scopes.ok_or_else(|| Refusal::invalid("invalid_grant"))?;
    Ok(token(scopes))
}

/// What the metadata server of Cloud Run says: who names no scopes gets that of Google Cloud alone.
pub(super) fn of_the_machine(call: &Call, path: &[&str]) -> Result<Value, Refusal> {
    if call.headers.get("metadata-flavor").is_none_or(|flavor| flavor != "Google") {
        return Err(Refusal::of(403));
    }
    match path {
        ["project", "project-id"] => Ok("emulated-project".into()),
        ["instance", "service-accounts", "default", "token"] => {
            let cloud = format!("{SCOPE}cloud-platform");
            let scopes = call.query("scopes").unwrap_or(&cloud).replace(',', " ");
            Ok(token(&scopes))
        }
        _ => Err(Refusal::of(404)),
    }
}

fn token(scopes: &str) -> Value {
    json!({
        "access_token": format!("emulated.{}", STANDARD_NO_PAD.encode(scopes)), "expires_in": 3599, "token_type": "Bearer",
    })
}

/// Whether the call's token covers one of `scopes`.
pub(super) fn check(state: &State, call: &Call, scopes: &[&str]) -> Result<(), Refusal> {
    if !state.guarded {
        return Ok(());
    }
    let bearer = call.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let granted = bearer.and_then(|value| value.strip_prefix("Bearer emulated."));
    let granted = granted.and_then(|token| STANDARD_NO_PAD.decode(token).ok());
    let granted = granted.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| Refusal::of(401))?;
    let covers = |scope: &&str| granted.split(' ').any(|found| found.strip_prefix(SCOPE) == Some(scope));
    match scopes.iter().any(covers) {
        true => Ok(()),
        false => Err(Refusal { reason: Some("ACCESS_TOKEN_SCOPE_INSUFFICIENT"), ..Refusal::of(403) }),
    }
}

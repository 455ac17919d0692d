//! Drive v3: files, copies, listings.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Call, File, Refusal, State};

pub(super) fn answer(state: &mut State, call: &Call, parts: &[&str]) -> Result<Value, Refusal> {
    match (call.method.as_str(), parts) {
        ("GET", ["files", id]) => {
            let file = state.file(id)?;
            Ok(masked(described(id, file), call.query("fields").unwrap_or("kind,id,name,mimeType")))
        }
        ("GET", ["files"]) => {
            let query = call.query("q").unwrap_or_default();
            // Its own ` and ` is none between clauses.
            let query = query.replace("' and value='", "' value='");
            let clauses: Vec<&str> = query.split(" and ").map(str::trim).collect();
            let quoted = |before: &str, behind: &str| {
                let found =
                    clauses.iter().find_map(|clause| clause.strip_prefix(before)?.strip_suffix(behind));
                found.map(str::to_owned)
            };
            let (name, parent) = (quoted("name contains '", "'"), quoted("'", "' in parents"));
            let copy_of = quoted("appProperties has { key='karuteCopyOf' value='", "' }");
            let fits = |file: &File| {
                name.as_ref().is_none_or(|name| file.name.starts_with(name.as_str()))
                    && parent.as_ref().is_none_or(|parent| file.parent == *parent)
                    && copy_of.as_ref().is_none_or(|id| file.copy_of == *id)
                    && !file.trashed
            };
            let files = state
                .files
                .iter()
                .filter(|(_, file)| fits(file))
                .map(|(id, file)| masked(described(id, file), "id,name,createdTime,version"));
            Ok(json!({"files": files.collect::<Vec<_>>()}))
        }
        ("POST", ["files", id, "copy"]) => {
            let body = call.json()?;
            let source = state.file(id)?.clone();
            let parent = body["parents"][0].as_str().unwrap_or_default().to_owned();
            if parent.is_empty() {
                let message = "The user's Drive storage quota has been exceeded.";
                let refusal = Refusal::new(403, "PERMISSION_DENIED", message);
                return Err(Refusal { reason: Some("storageQuotaExceeded"), ..refusal });
            }
            let copy = format!("emulated-copy-{:08}", state.files.len());
            let name = body["name"].as_str().unwrap_or(&source.name).to_owned();
            let created = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
            let copy_of = body["appProperties"]["karuteCopyOf"].as_str().unwrap_or_default().to_owned();
            state.files.insert(copy.clone(), File { name, parent, created, copy_of, version: 1, ..source });
            let made = described(&copy, &state.files[&copy]);
            Ok(masked(made, call.query("fields").unwrap_or("kind,id,name,mimeType")))
        }
        ("PATCH", ["files", id]) => {
            let body = call.json()?;
            let file = state.file(id)?;
            file.trashed = body["trashed"].as_bool().unwrap_or(file.trashed);
            file.version += 1;
            Ok(masked(described(id, file), call.query("fields").unwrap_or("kind,id,name,mimeType")))
        }
        _ => Err(Refusal::of(404)),
    }
}

fn described(id: &str, file: &File) -> Value {
    json!({
        "kind": "drive#file", "id": id, "name": file.name, "mimeType": "application/vnd.google-apps.spreadsheet",
        "version": file.version.to_string(), "trashed": file.trashed, "createdTime": file.created,
        "modifiedTime": file.created,
    })
}

/// Only the fields that were asked for.
fn masked(mut file: Value, fields: &str) -> Value {
    if let Some(file) = file.as_object_mut()
        && fields != "*"
    {
        file.retain(|name, _| fields.split(',').any(|field| field == name));
    }
    file
}

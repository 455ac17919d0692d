//! The JSON API: what Google's own clients speak.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::objects::{Object, Objects, Refused};
use super::{Call, Done, decoded, download};

/// Whether a path belongs to this API.
pub(super) fn is_json(path: &str) -> bool {
    ["storage/v1/", "upload/storage/v1/", "download/storage/v1/"].iter().any(|front| path.starts_with(front))
}

pub(super) fn answer(objects: &mut Objects, call: &Call) -> Done {
    let condition = match call.query("ifGenerationMatch").map(str::parse::<u64>) {
        None => None,
        Some(Ok(generation)) => Some(generation),
        Some(Err(_)) => return error(StatusCode::BAD_REQUEST, "Invalid value for ifGenerationMatch"),
    };
    let parts: Vec<String> = call.path.split('/').map(decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match (call.method.as_str(), &*parts) {
        ("POST", ["storage", "v1", "b"]) => create_bucket(objects, call),
        ("GET", ["storage", "v1", "b", bucket]) if objects.buckets.contains(*bucket) => {
            reply(&json!({ "kind": "storage#bucket", "id": bucket, "name": bucket }))
        }
        (_, [.., "b", bucket] | [.., "b", bucket, "o"] | [.., "b", bucket, "o", _])
            if !objects.buckets.contains(*bucket) =>
        {
            error(StatusCode::NOT_FOUND, "The specified bucket does not exist.")
        }
        ("GET", ["storage", "v1", "b", bucket, "o"]) => list(objects, call, bucket),
        ("GET", ["download", "storage", "v1", "b", bucket, "o", name])
        | ("GET", ["storage", "v1", "b", bucket, "o", name]) => {
            match (objects.find(bucket, name), objects.check(bucket, name, condition)) {
                (None, _) => error(StatusCode::NOT_FOUND, &format!("No such object: {bucket}/{name}")),
                (_, Err(Refused)) => precondition(),
                (Some(object), Ok(())) if call.query("alt") == Some("media") => download(object, call),
                (Some(object), Ok(())) => reply(&resource(object, bucket, name)),
            }
        }
        ("DELETE", ["storage", "v1", "b", bucket, "o", name]) => {
            if objects.check(bucket, name, condition).is_err() {
                return precondition();
            }
            match objects.all.remove(&((*bucket).to_owned(), (*name).to_owned())) {
                Some(_) => Done {
                    response: super::status(StatusCode::NO_CONTENT, String::new()),
                    body: Bytes::new(),
                },
                None => error(StatusCode::NOT_FOUND, &format!("No such object: {bucket}/{name}")),
            }
        }
        ("POST" | "PUT", ["upload", "storage", "v1", "b", bucket, "o"]) => {
            upload(objects, call, bucket, condition)
        }
        _ => error(StatusCode::NOT_FOUND, "Not Found"),
    }
}

fn create_bucket(objects: &mut Objects, call: &Call) -> Done {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    match body["name"].as_str() {
        Some(name) if objects.buckets.insert(name.to_owned()) => {
            reply(&json!({ "kind": "storage#bucket", "id": name, "name": name }))
        }
        Some(_) => error(StatusCode::CONFLICT, "You already own this bucket."),
        None => error(StatusCode::BAD_REQUEST, "A bucket needs a name."),
    }
}

fn list(objects: &Objects, call: &Call, bucket: &str) -> Done {
    let prefix = call.query("prefix").unwrap_or_default();
    let fits = |(found, name): &(String, String)| found == bucket && name.starts_with(prefix);
    let items = objects.all.iter().filter(|(key, _)| fits(key));
    let items: Vec<Value> = items.map(|((_, name), object)| resource(object, bucket, name)).collect();
    reply(&json!({ "kind": "storage#objects", "items": items }))
}

/// The three ways to upload: at once, at once with metadata, and in a session.
fn upload(objects: &mut Objects, call: &Call, bucket: &str, condition: Option<u64>) -> Done {
    let name = call.query("name").map(str::to_owned);
    match (call.query("uploadType"), call.query("upload_id")) {
        (_, Some(session)) => resume(objects, call, bucket, session),
        (Some("media"), None) => match name {
            Some(name) => stored(objects, bucket, &name, call.body.clone(), condition),
            None => error(StatusCode::BAD_REQUEST, "Required parameter: name"),
        },
        (Some("multipart"), None) => match related(call) {
            Some((metadata, bytes)) => {
                let name = name.or_else(|| metadata["name"].as_str().map(str::to_owned));
                stored(objects, bucket, &name.unwrap_or_default(), bytes, condition)
            }
            None => error(StatusCode::BAD_REQUEST, "The body is not multipart/related."),
        },
        (Some("resumable"), None) => {
            let metadata: Value = serde_json::from_slice(&call.body).unwrap_or_default();
            let name = name.or_else(|| metadata["name"].as_str().map(str::to_owned)).unwrap_or_default();
            let session = objects.begin(bucket, &name, condition);
            let place = format!(
                "http://{}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={session}",
                call.host
            );
            let response = Response::builder().header(header::LOCATION, place).body(Body::empty());
            Done { response: response.unwrap_or_default(), body: Bytes::new() }
        }
        _ => error(StatusCode::BAD_REQUEST, "Unknown uploadType"),
    }
}

/// One piece of a session; the last one says how long the whole is.
fn resume(objects: &mut Objects, call: &Call, bucket: &str, session: &str) -> Done {
    let Some(upload) = objects.uploads.get_mut(session) else {
        return error(StatusCode::NOT_FOUND, "No such session");
    };
    let number = upload.parts.len() as u32;
    upload.parts.insert(number, call.body.clone());
    let so_far: usize = upload.parts.values().map(Bytes::len).sum();
    let total =
        call.header("content-range").and_then(|range| range.rsplit('/').next()?.parse::<usize>().ok());
    if total.is_some_and(|total| total != so_far)
        || call.header("content-range").is_some_and(|r| r.ends_with('*'))
    {
        let response = Response::builder()
            .status(StatusCode::PERMANENT_REDIRECT)
            .header(header::RANGE, format!("bytes=0-{}", so_far.saturating_sub(1)))
            .body(Body::empty());
        return Done { response: response.unwrap_or_default(), body: Bytes::new() };
    }
    let name = upload.name.clone();
    match objects.complete(session) {
        Some(Ok(object)) => reply(&resource(&object, bucket, &name)),
        _ => precondition(),
    }
}

/// Metadata and bytes of a `multipart/related` body.
fn related(call: &Call) -> Option<(Value, Bytes)> {
    let (_, boundary) = call.header("content-type")?.split_once("boundary=")?;
    let boundary = format!("--{}", boundary.trim_matches(['"', '\'']));
    let find =
        |haystack: &[u8], needle: &[u8]| haystack.windows(needle.len()).position(|part| part == needle);
    let body = &call.body[..];
    let first = find(body, boundary.as_bytes())? + boundary.len();
    let second = first + find(&body[first..], format!("\r\n{boundary}").as_bytes())?;
    let head = first + find(&body[first..second], b"\r\n\r\n")? + 4;
    let metadata = serde_json::from_slice(&body[head..second]).ok()?;
    let rest = second + boundary.len() + 2;
    let start = rest + find(&body[rest..], b"\r\n\r\n")? + 4;
    // The last boundary is looked for from the end: the bytes before it may hold anything.
    let end = body.len() - 200.min(body.len() - start);
    let end = end + find(&body[end..], format!("\r\n{boundary}--").as_bytes())?;
    Some((metadata, call.body.slice(start..end)))
}

fn stored(objects: &mut Objects, bucket: &str, name: &str, bytes: Bytes, condition: Option<u64>) -> Done {
    match objects.put(bucket, name, bytes, condition) {
        Ok(object) => reply(&resource(&object, bucket, name)),
        Err(Refused) => precondition(),
    }
}

fn resource(object: &Object, bucket: &str, name: &str) -> Value {
    let updated = object.updated.format(&Rfc3339).unwrap_or_default();
    json!({
        "kind": "storage#object", "id": format!("{bucket}/{name}/{}", object.generation), "name": name,
        "bucket": bucket, "generation": object.generation.to_string(), "metageneration": "1",
        "size": object.bytes.len().to_string(), "crc32c": object.crc32c, "etag": object.etag(),
        "contentType": "application/octet-stream", "storageClass": "STANDARD",
        "timeCreated": updated, "updated": updated,
    })
}

fn reply(value: &Value) -> Done {
    let response = Response::builder().header(header::CONTENT_TYPE, "application/json");
    Done { response: response.body(Body::from(value.to_string())).unwrap_or_default(), body: Bytes::new() }
}

fn precondition() -> Done {
    error(StatusCode::PRECONDITION_FAILED, "At least one of the pre-conditions you specified did not hold.")
}

fn error(code: StatusCode, message: &str) -> Done {
    let errors = [json!({ "message": message, "domain": "global", "reason": "emulated" })];
    let mut done =
        reply(&json!({ "error": { "code": code.as_u16(), "message": message, "errors": errors } }));
    *done.response.status_mut() = code;
    done
}

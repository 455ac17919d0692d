//! The XML API: what `object_store` speaks.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use time::format_description::well_known::Rfc3339;

use super::objects::{Object, Objects, Refused};
use super::{Call, Done, decoded, described, download};

/// Objects on a page. Google gives a thousand; a few show in a test whether the next page is asked for.
const PAGE: usize = 3;

pub(super) fn answer(objects: &mut Objects, call: &Call) -> Done {
    let (bucket, name) = call.path.split_once('/').unwrap_or((call.path.as_str(), ""));
    let (bucket, name) = (decoded(bucket), decoded(name));
    if !objects.buckets.contains(&bucket) {
        return error(StatusCode::NOT_FOUND, "NoSuchBucket");
    }
    let generation = call.header("x-goog-if-generation-match");
    let condition = match generation.map(str::parse::<u64>) {
        None => None,
        Some(Ok(generation)) => Some(generation),
        Some(Err(_)) => return error(StatusCode::BAD_REQUEST, "InvalidArgument"),
    };
    let upload = call.query("uploadId");
    match (&call.method, upload) {
        (&Method::GET, None) if name.is_empty() => list(objects, call, &bucket),
        (&Method::GET | &Method::HEAD, None) => read(objects, call, &bucket, &name, condition),
        (&Method::PUT, None) => stored(objects.put(&bucket, &name, call.body.clone(), condition)),
        (&Method::PUT, Some(upload)) => put_part(objects, call, upload),
        (&Method::POST, None) if call.query("uploads").is_some() => {
            let id = objects.begin(&bucket, &name, condition);
            xml(format!(
                "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            ))
        }
        (&Method::POST, Some(upload)) => complete(objects, call, upload),
        (&Method::DELETE, Some(upload)) => {
            objects.uploads.remove(upload);
            empty(StatusCode::NO_CONTENT)
        }
        (&Method::DELETE, None) => match objects.all.remove(&(bucket, name)) {
            Some(_) => empty(StatusCode::NO_CONTENT),
            None => error(StatusCode::NOT_FOUND, "NoSuchKey"),
        },
        _ => error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    }
}

fn read(objects: &Objects, call: &Call, bucket: &str, name: &str, condition: Option<u64>) -> Done {
    let Some(object) = objects.find(bucket, name) else { return error(StatusCode::NOT_FOUND, "NoSuchKey") };
    let wanted = call.query("generation").is_none_or(|wanted| wanted == object.generation.to_string());
    let matches = call.header("if-match").is_none_or(|etag| etag == "*" || etag == object.etag());
    match (wanted, matches && objects.check(bucket, name, condition).is_ok()) {
        (false, _) => error(StatusCode::NOT_FOUND, "NoSuchKey"),
        (true, false) => error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
        (true, true) => download(object, call),
    }
}

/// A page of the objects of a bucket, by name; the token of the next one is the last name of this one.
fn list(objects: &Objects, call: &Call, bucket: &str) -> Done {
    let (prefix, after) =
        (call.query("prefix").unwrap_or_default(), call.query("continuation-token").unwrap_or_default());
    let fits = |(found, name): &(String, String)| {
        found == bucket && name.starts_with(prefix) && name.as_str() > after
    };
    let fitting: Vec<_> = objects.all.iter().filter(|(key, _)| fits(key)).collect();
    let page = &fitting[..fitting.len().min(PAGE)];
    let contents = page.iter().map(|((_, name), object)| {
        let (etag, size) = (object.etag(), object.bytes.len());
        let updated = object.updated.format(&Rfc3339).unwrap_or_default();
        format!(
            "<Contents><Key>{name}</Key><LastModified>{updated}</LastModified><ETag>{etag}</ETag><Size>{size}</Size></Contents>"
        )
    });
    let next =
        page.last().filter(|_| page.len() < fitting.len()).map_or_else(String::new, |((_, last), _)| {
            format!("<NextContinuationToken>{last}</NextContinuationToken>")
        });
    let contents: String = contents.collect();
    xml(format!("<ListBucketResult><Name>{bucket}</Name>{contents}{next}</ListBucketResult>"))
}

fn put_part(objects: &mut Objects, call: &Call, upload: &str) -> Done {
    let number = call.query("partNumber").and_then(|number| number.parse().ok());
    match (objects.uploads.get_mut(upload), number) {
        (None, _) => error(StatusCode::NOT_FOUND, "NoSuchUpload"),
        (_, None) => error(StatusCode::BAD_REQUEST, "InvalidArgument"),
        (Some(upload), Some(number)) => {
            upload.parts.insert(number, call.body.clone());
            let response = Response::builder().header(header::ETAG, format!("\"part{number}\""));
            Done { response: response.body(Body::empty()).unwrap_or_default(), body: Bytes::new() }
        }
    }
}

/// The list of parts that the client sends must name exactly those that came.
fn complete(objects: &mut Objects, call: &Call, upload: &str) -> Done {
    let listed = String::from_utf8_lossy(&call.body).matches("<PartNumber>").count();
    match objects.uploads.get(upload) {
        None => return error(StatusCode::NOT_FOUND, "NoSuchUpload"),
        Some(upload) if upload.parts.len() != listed => {
            return error(StatusCode::BAD_REQUEST, "InvalidPart");
        }
        Some(_) => {}
    }
    match objects.complete(upload) {
        Some(Ok(object)) => {
            let etag = object.etag().replace('"', "&quot;");
            let body =
                format!("<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>");
            let response = described(Response::builder(), &object).body(Body::from(body));
            Done { response: response.unwrap_or_default(), body: Bytes::new() }
        }
        Some(Err(Refused)) => error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
        None => error(StatusCode::NOT_FOUND, "NoSuchUpload"),
    }
}

fn stored(put: Result<Object, Refused>) -> Done {
    match put {
        Ok(object) => {
            let response = described(Response::builder(), &object).body(Body::empty());
            Done { response: response.unwrap_or_default(), body: Bytes::new() }
        }
        Err(Refused) => error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
    }
}

fn xml(body: String) -> Done {
    Done { response: super::status(StatusCode::OK, body), body: Bytes::new() }
}

fn empty(code: StatusCode) -> Done {
    Done { response: super::status(code, String::new()), body: Bytes::new() }
}

fn error(code: StatusCode, name: &str) -> Done {
    let body = format!("<?xml version='1.0'?><Error><Code>{name}</Code></Error>");
    Done { response: super::status(code, body), body: Bytes::new() }
}

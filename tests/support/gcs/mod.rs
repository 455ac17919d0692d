//! Google Cloud Storage on this machine: the XML API that `object_store` speaks and the JSON API that Google's own
//! clients speak, with generations, preconditions, ranges, checksums, and faults on demand.
//!
//! It keeps everything in memory and asks nobody who they are.

mod json;
mod objects;
mod xml;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use crate::serve::{self, Faults, Server, decoded};
pub use crate::serve::{Effect, Fault};
use objects::{Object, Objects};

/// Largest request that is taken.
const BODY_LIMIT: usize = 1 << 30;

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Its method.
    pub method: String,
    /// Its path, decoded.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
}

#[derive(Debug, Default)]
struct State {
    objects: Objects,
    faults: Faults,
    answered: Vec<Answered>,
    sent: u64,
}

type Shared = Arc<Mutex<State>>;

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A request that was read whole.
struct Call {
    method: Method,
    /// Path, still encoded, without the slash at its front.
    path: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
    host: String,
}

impl Call {
    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The emulator, on a thread of its own; it ends when this is dropped.
#[derive(Debug)]
pub struct Emulator {
    state: Shared,
    server: Server,
}

impl Emulator {
    /// Starts on `address` (port 0 for any free one) with one empty bucket.
    ///
    /// # Errors
    /// A port that is in use.
    pub fn start(address: SocketAddr, bucket: &str) -> io::Result<Self> {
        let state = Shared::default();
        lock(&state).objects.buckets.insert(bucket.to_owned());
        let shared = state.clone();
        let app = Router::new().fallback(move |request| answer(shared.clone(), request));
        Ok(Self { state, server: Server::start(address, app)? })
    }

    /// Its address as an endpoint.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Adds a fault. Of several that fit a request, the first acts.
    pub fn fault(&self, method: &'static str, path: &'static str, times: usize, effect: Effect) {
        lock(&self.state).faults.add(Fault { method, path, times, effect });
    }

    /// Takes all faults back.
    pub fn heal(&self) {
        lock(&self.state).faults.clear();
    }

    /// Puts an object, as another client would.
    pub fn put(&self, bucket: &str, name: &str, bytes: impl Into<Bytes>) {
        // Without a condition nothing refuses.
        let _ = lock(&self.state).objects.put(bucket, name, bytes.into(), None);
    }

    /// Removes an object.
    pub fn remove(&self, bucket: &str, name: &str) {
        lock(&self.state).objects.all.remove(&(bucket.to_owned(), name.to_owned()));
    }

    /// The bytes of an object.
    pub fn object(&self, bucket: &str, name: &str) -> Option<Bytes> {
        lock(&self.state).objects.find(bucket, name).map(|object| object.bytes.clone())
    }

    /// Bytes of bodies that were sent so far.
    pub fn sent(&self) -> u64 {
        lock(&self.state).sent
    }

    /// Every request so far.
    pub fn answered(&self) -> Vec<Answered> {
        lock(&self.state).answered.clone()
    }
}

async fn answer(state: Shared, request: axum::extract::Request) -> Result<Response, Infallible> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        return Ok(status(StatusCode::BAD_REQUEST, String::new()));
    };
    let pairs = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let query = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let query = query.map(|(name, value)| (decoded(name), decoded(&value.replace('+', " "))));
    let call = Call {
        method: parts.method,
        path: parts.uri.path().trim_start_matches('/').to_owned(),
        query: query.collect(),
        host: parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().into(),
        headers: parts.headers,
        body,
    };
    let path = decoded(&call.path);
    let effect = lock(&state).faults.due(call.method.as_str(), &path);
    if let Some(Effect::Wait(pause)) = effect {
        tokio::time::sleep(pause).await;
    }
    let answer = match effect {
        Some(Effect::Status(code) | Effect::Reason(code, _)) => refused(code),
        Some(Effect::RetryAfter(_)) => refused(429),
        Some(Effect::Body(text)) => status(StatusCode::OK, text.into()),
        effect => {
            let done = match json::is_json(&call.path) {
                true => json::answer(&mut lock(&state).objects, &call),
                false => xml::answer(&mut lock(&state).objects, &call),
            };
            match effect {
                Some(Effect::AnswerLost) => refused(503),
                effect => sending(&state, done, effect),
            }
        }
    };
    let answered = Answered { method: call.method.to_string(), path, status: answer.status().as_u16() };
    lock(&state).answered.push(answered);
    Ok(answer)
}

fn refused(code: u16) -> Response {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    status(code, "<Error><Code>Injected</Code><Message>s3cret</Message></Error>".into())
}

fn status(code: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    response
}

/// What an API answered, with a body that is still to be sent.
struct Done {
    response: Response,
    /// The body; empty where the response has its own.
    body: Bytes,
}

/// Sends the body so that what leaves is counted, and that it suffers the effect.
fn sending(state: &Shared, done: Done, effect: Option<Effect>) -> Response {
    let Done { response, body } = done;
    if body.is_empty() {
        return response;
    }
    let state = state.clone();
    let count = move |bytes: usize| lock(&state).sent += bytes as u64;
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, serve::body(body, effect, serve::CHUNK_BYTES, count))
}

/// The answer to a download: the whole object or a range of it.
fn download(object: &Object, call: &Call) -> Done {
    let length = object.bytes.len();
    let (code, range) = match call.header("range").and_then(|header| objects::range(header, length)) {
        None => (StatusCode::OK, 0..length),
        Some(Ok(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(Err(_)) => {
            return Done {
                response: status(StatusCode::RANGE_NOT_SATISFIABLE, String::new()),
                body: Bytes::new(),
            };
        }
    };
    let mut response = Response::builder()
        .status(code)
        .header(header::CONTENT_LENGTH, range.len())
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::ACCEPT_RANGES, "bytes")
        .header("x-goog-stored-content-length", length);
    if code == StatusCode::PARTIAL_CONTENT {
        let (first, last) = (range.start, range.end - 1);
        response = response.header(header::CONTENT_RANGE, format!("bytes {first}-{last}/{length}"));
    }
    let response = described(response, object).body(Body::empty()).unwrap_or_default();
    let body = if call.method == Method::HEAD { Bytes::new() } else { object.bytes.slice(range) };
    Done { response, body }
}

/// The headers that say which version of an object this is.
fn described(response: axum::http::response::Builder, object: &Object) -> axum::http::response::Builder {
    let format = &time::format_description::well_known::Rfc2822;
    let modified = object.updated.format(format).unwrap_or_default().replace("+0000", "GMT");
    response
        .header(header::ETAG, object.etag())
        .header(header::LAST_MODIFIED, modified)
        .header("x-goog-generation", object.generation)
        .header("x-goog-metageneration", 1)
        .header("x-goog-hash", format!("crc32c={}", object.crc32c))
}

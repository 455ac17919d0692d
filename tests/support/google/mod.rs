//! Google on this machine: Sheets v4, Drive v3, embeddings of Vertex AI and the token endpoint, as Google's documents
//! describe them, with quotas, faults on demand, and edits that happen while somebody reads.
//!
//! Every exchange is kept, and written as JSON lines to the file that `KARUTE_EXCHANGES` names, with the host that the
//! call would have gone to: that is what a check against Google's discovery documents reads.

mod drive;
mod exchanges;
mod gemini;
mod sheets;
mod token;
mod vertex;
pub mod workbook;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::serve::{self, Faults, Server, decoded};
pub use crate::serve::{Effect, Fault};
use workbook::Workbook;

/// The spreadsheet that an emulator begins with.
pub const SPREADSHEET: &str = "emulated-spreadsheet-0001";
/// Bytes of a stream that are sent at once: less than an event, and no multiple of a character.
const STREAM_CHUNK: usize = 101;
/// Largest request that is taken.
const BODY_LIMIT: usize = 64 << 20;

/// A file in the emulated Drive.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Grows with every change.
    pub version: u64,
    /// Whether it lies in the bin.
    pub trashed: bool,
    /// The folder that it lies in; empty for the owner's own space.
    pub parent: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The file that karute made it of; empty for none.
    pub copy_of: String,
    /// Its cells.
    pub workbook: Workbook,
}

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Its method.
    pub method: String,
    /// Its path, decoded.
    pub path: String,
    /// Its query, decoded.
    pub query: Vec<(String, String)>,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of the answer's body before it is packed.
    pub bytes: usize,
}

/// Something that somebody else does while a request is answered.
type Edit = Box<dyn FnOnce(&mut Files) + Send>;

/// Files by id.
pub type Files = BTreeMap<String, File>;

/// What the emulator keeps.
#[derive(Default)]
struct State {
    files: Files,
    faults: Faults,
    answered: Vec<Answered>,
    /// Edits that wait for a request whose path contains a text.
    edits: Vec<(&'static str, Edit)>,
    /// What happens to requests by their number from now on, and when each is due.
    plan: BTreeMap<usize, Effect>,
    requests: usize,
    sent: u64,
    /// Read requests in any minute, and how long a minute is.
    quota: Option<(usize, Duration)>,
    reads: VecDeque<Instant>,
    /// Only tokens of the token endpoint are taken.
    guarded: bool,
    alerts: Vec<String>,
    exchanges: Option<PathBuf>,
    models: vertex::Models,
}

impl State {
    /// A file that somebody may see.
    fn file(&mut self, id: &str) -> Result<&mut File, Refusal> {
        let gone = || Refusal::new(404, "NOT_FOUND", "Requested entity was not found.");
        self.files.get_mut(id).ok_or_else(gone)
    }
}

type Shared = Arc<Mutex<State>>;

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A request that was read whole.
struct Call {
    method: Method,
    path: Vec<String>,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Result<Value, Refusal> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Refusal::invalid(format!("Invalid JSON payload received. {error}")))
    }
}

/// A refusal in Google's form.
#[derive(Debug)]
struct Refusal {
    code: u16,
    status: &'static str,
    message: String,
    reason: Option<&'static str>,
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(code: u16, status: &'static str, message: impl Into<String>) -> Self {
        Self { code, status, message: message.into(), reason: None, retry_after: None }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "INVALID_ARGUMENT", message)
    }

    fn quota() -> Self {
        let message = "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute per user' of \
                       service 'sheets.googleapis.com' for consumer 'project_number:1'.";
        Self { reason: Some("RATE_LIMIT_EXCEEDED"), ..Self::new(429, "RESOURCE_EXHAUSTED", message) }
    }

    fn of(code: u16) -> Self {
        match code {
            400 => Self::invalid("Invalid argument."),
            401 => Self::new(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
            403 => Self::new(403, "PERMISSION_DENIED", "The caller does not have permission"),
            404 => Self::new(404, "NOT_FOUND", "Requested entity was not found."),
            429 => Self::quota(),
            500 => Self::new(500, "INTERNAL", "Internal error encountered."),
            503 => Self::new(503, "UNAVAILABLE", "The service is currently unavailable."),
            504 => Self::new(504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
            code => Self::new(code, "UNKNOWN", "Unknown error."),
        }
    }

    fn body(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message, "status": self.status});
        if let Some(reason) = self.reason {
            error["details"] = json!([{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com",
                "metadata": {"service": "sheets.googleapis.com", "consumer": "projects/1"},
            }]);
            error["errors"] = json!([{"message": self.message, "domain": "global", "reason": reason}]);
        }
        json!({"error": error})
    }
}

/// The emulator, on a thread of its own; it ends when this is dropped.
pub struct Emulator {
    state: Shared,
    server: Server,
}

impl std::fmt::Debug for Emulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Emulator")
    }
}

impl Emulator {
    /// Starts on `address` (port 0 for any free one) with one spreadsheet, [`SPREADSHEET`].
    ///
    /// # Errors
    /// A port that is in use.
    pub fn start(address: SocketAddr, workbook: Workbook) -> io::Result<Self> {
        let state = Shared::default();
        {
            let mut state = lock(&state);
            state.files.insert(
                SPREADSHEET.to_owned(),
                File {
                    name: "RAG_VectorDB".into(),
                    version: 1,
                    trashed: false,
                    parent: String::new(),
                    created: "2026-11-01T00:00:00.000Z".into(),
                    copy_of: String::new(),
                    workbook,
                },
            );
            state.exchanges = std::env::var_os("KARUTE_EXCHANGES").map(PathBuf::from);
        }
        let shared = state.clone();
        let app = Router::new().fallback(move |request| answer(shared.clone(), request));
        Ok(Self { state, server: Server::start(address, app)? })
    }

    /// Its address, which stands for all of Google's hosts.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Adds a fault. Of several that fit a request, the first acts.
    pub fn fault(&self, method: &'static str, path: &'static str, times: usize, effect: Effect) {
        lock(&self.state).faults.add(Fault { method, path, times, effect });
    }

    /// The request with this number, counted from 0 and from now, suffers `effect`; those for tokens are not counted.
    pub fn fault_at(&self, numbers: impl IntoIterator<Item = usize>, effect: Effect) {
        let mut state = lock(&self.state);
        state.requests = 0;
        state.plan = numbers.into_iter().map(|number| (number, effect)).collect();
    }

    /// From now on the effect of each request is `of` its number, the first one 0.
    pub fn plan(&self, requests: usize, of: impl Fn(usize) -> Option<Effect>) {
        let mut state = lock(&self.state);
        state.requests = 0;
        state.plan = (0..requests).filter_map(|number| Some((number, of(number)?))).collect();
    }

    /// Takes all faults back.
    pub fn heal(&self) {
        let mut state = lock(&self.state);
        state.faults.clear();
        state.plan.clear();
        state.edits.clear();
    }

    /// Somebody edits the spreadsheet now.
    pub fn edit(&self, edit: impl FnOnce(&mut Workbook)) {
        let mut state = lock(&self.state);
        if let Some(file) = state.files.get_mut(SPREADSHEET) {
            edit(&mut file.workbook);
            file.workbook.tabs.iter_mut().for_each(workbook::Tab::grow);
            file.version += 1;
        }
    }

    /// Somebody edits the spreadsheet right before the next request whose path contains `path` is answered; the second
    /// such edit before the request behind that one, and so on.
    pub fn edit_before(&self, path: &'static str, edit: impl FnOnce(&mut Workbook) + Send + 'static) {
        let edit = move |files: &mut Files| {
            if let Some(file) = files.get_mut(SPREADSHEET) {
                edit(&mut file.workbook);
                file.workbook.tabs.iter_mut().for_each(workbook::Tab::grow);
                file.version += 1;
            }
        };
        lock(&self.state).edits.push((path, Box::new(edit)));
    }

    /// The version grows although no cell changes: somebody shares the file, or writes to a tab that nobody syncs.
    pub fn touch(&self) {
        self.edit(|_| {});
    }

    /// What the spreadsheet holds now.
    pub fn workbook(&self) -> Workbook {
        lock(&self.state).files.get(SPREADSHEET).map(|file| file.workbook.clone()).unwrap_or_default()
    }

    /// All files, by id.
    pub fn files(&self) -> Files {
        lock(&self.state).files.clone()
    }

    /// Takes or refuses read requests beyond `reads` in any `minute`.
    pub fn quota(&self, reads: usize, minute: Duration) {
        lock(&self.state).quota = Some((reads, minute));
    }

    /// The project has an alert policy of this name.
    pub fn alert(&self, name: &str) {
        lock(&self.state).alerts.push(name.into());
    }

    /// From now on a request needs a token of the token endpoint whose scopes cover it.
    pub fn guard(&self) {
        lock(&self.state).guarded = true;
    }

    /// A service-account key in `directory` whose tokens come from this emulator.
    ///
    /// # Errors
    /// A directory that cannot be written.
    pub fn key_file(&self, directory: &Path) -> io::Result<PathBuf> {
        token::key_file(directory, &self.url())
    }

    /// Bytes of bodies that were sent so far, packed where the client takes it so.
    pub fn sent(&self) -> u64 {
        lock(&self.state).sent
    }

    /// Every request so far, but for those for tokens.
    pub fn answered(&self) -> Vec<Answered> {
        lock(&self.state).answered.iter().filter(|answered| answered.path != "token").cloned().collect()
    }

    /// How often a token was asked for.
    pub fn tokens(&self) -> usize {
        lock(&self.state).answered.iter().filter(|answered| answered.path == "token").count()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        let mut state = lock(&self.state);
        state.answered.clear();
        state.sent = 0;
    }

    /// The next request for an answer gets these pieces; the second such call writes for the one after it, and so on.
    pub fn write(&self, pieces: Vec<Value>) {
        lock(&self.state).models.written.push_back(pieces);
    }

    /// Bodies of the requests for an answer so far.
    pub fn prompts(&self) -> Vec<Value> {
        lock(&self.state).models.prompts.clone()
    }

    /// What the bill would call each answer that was made.
    pub fn labels(&self) -> Vec<String> {
        lock(&self.state).models.labels.clone()
    }

    /// How often a text was embedded.
    pub fn embedded(&self) -> u64 {
        lock(&self.state).models.embedded
    }
}

async fn answer(state: Shared, request: axum::extract::Request) -> Result<Response, Infallible> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        return Ok(Response::new(Body::empty()));
    };
    let pairs = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let query = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let query = query.map(|(name, value)| (decoded(name), decoded(&value.replace('+', " "))));
    let call = Call {
        method: parts.method,
        path: parts.uri.path().trim_start_matches('/').split('/').map(decoded).collect(),
        query: query.collect(),
        headers: parts.headers,
        body,
    };
    let path = match call.path.first().map(String::as_str) {
        Some("computeMetadata") => "token".to_owned(),
        _ => call.path.join("/"),
    };
    let due = {
        let mut state = lock(&state);
        if let Some(at) = state.edits.iter().position(|(text, _)| path.contains(text)) {
            let (_, edit) = state.edits.remove(at);
            edit(&mut state.files);
        }
        let number = state.requests;
        state.requests += usize::from(path != "token");
        let planned = state.plan.remove(&number).filter(|_| path != "token");
        planned.or_else(|| state.faults.due(call.method.as_str(), &path))
    };
    if let Some(Effect::Wait(pause)) = due {
        tokio::time::sleep(pause).await;
    }
    let done = match due {
        Some(Effect::Status(code)) => Err(Refusal::of(code)),
        Some(Effect::Reason(code, reason)) => Err(Refusal { reason: Some(reason), ..Refusal::of(code) }),
        Some(Effect::RetryAfter(seconds)) => Err(Refusal { retry_after: Some(seconds), ..Refusal::quota() }),
        Some(Effect::Body(_)) => Ok(json!({})),
        due => {
            let done = carry_out(&mut lock(&state), &call);
            if matches!(due, Some(Effect::AnswerLost)) { Err(Refusal::of(503)) } else { done }
        }
    };
    Ok(send(&state, &call, path, done, due))
}

/// Answers a request with what its API says.
fn carry_out(state: &mut State, call: &Call) -> Result<Value, Refusal> {
    let parts: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["token"] => return token::issue(call),
        ["computeMetadata", "v1", rest @ ..] => return token::of_the_machine(call, rest),
        ["v4", ..] => token::check(state, call, &["spreadsheets.readonly", "spreadsheets", "drive"])?,
        ["drive", ..] => {
            token::check(state, call, &["drive.metadata.readonly", "drive.readonly", "drive"])?;
        }
        ["v3", ..] => token::check(state, call, &["monitoring.read", "cloud-platform"])?,
        _ => token::check(state, call, &["cloud-platform"])?,
    }
    if call.method == Method::GET && parts.first() == Some(&"v4") {
        spend(state)?;
    }
    match parts.as_slice() {
        ["v3", "projects", _, "alertPolicies"] => {
            let policy = |name: &String| json!({"displayName": name, "enabled": true});
            Ok(json!({"alertPolicies": state.alerts.iter().map(policy).collect::<Vec<_>>()}))
        }
        ["v4", "spreadsheets", rest @ ..] => sheets::answer(state, call, rest),
        ["drive", "v3", rest @ ..] => drive::answer(state, call, rest),
        ["v1", "projects", _, "locations", _, "publishers", "google", "models", model] => {
            vertex::answer(&mut state.models, call, model)
        }
        ["v1", "projects", _, "locations", "global", "rankingConfigs", "default_ranking_config:rank"] => {
            vertex::rank(call)
        }
        _ => Err(Refusal::of(404)),
    }
}

/// Takes one read from the quota.
fn spend(state: &mut State) -> Result<(), Refusal> {
    let Some((reads, minute)) = state.quota else { return Ok(()) };
    let now = Instant::now();
    while state.reads.front().is_some_and(|then| now.duration_since(*then) >= minute) {
        state.reads.pop_front();
    }
    if state.reads.len() >= reads {
        return Err(Refusal::quota());
    }
    state.reads.push_back(now);
    Ok(())
}

fn send(
    state: &Shared,
    call: &Call,
    path: String,
    done: Result<Value, Refusal>,
    effect: Option<Effect>,
) -> Response {
    let (code, body, retry_after) = match &done {
        Ok(body) => (200, body.clone(), None),
        Err(refusal) => (refusal.code, refusal.body(), refusal.retry_after),
    };
    let streams =
        done.is_ok() && call.path.last().is_some_and(|last| last.ends_with(":streamGenerateContent"));
    let mut bytes = Bytes::from(match effect {
        Some(Effect::Body(text)) => text.as_bytes().to_vec(),
        _ if streams => gemini::events(&body).into_bytes(),
        _ => body.as_str().map_or_else(|| body.to_string(), str::to_owned).into_bytes(),
    });
    let answered = Answered {
        method: call.method.to_string(),
        path,
        query: call.query.clone(),
        status: code,
        bytes: bytes.len(),
    };
    let malformed = matches!(effect, Some(Effect::Body(_) | Effect::Torn(_) | Effect::Flipped(_)));
    {
        let mut state = lock(state);
        let malformed = malformed || streams && state.models.by_hand;
        if let Some(file) = &state.exchanges {
            // Each piece of a stream is an answer of its own to whoever checks it.
            match &body {
                Value::Array(pieces) if streams => {
                    pieces.iter().for_each(|piece| exchanges::record(file, call, code, piece, malformed));
                }
                body => exchanges::record(file, call, code, body, malformed),
            }
        }
        state.answered.push(answered);
    }
    let mut response = Response::builder()
        .status(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .header(
            header::CONTENT_TYPE,
            if streams { "text/event-stream" } else { "application/json; charset=UTF-8" },
        );
    if call.path.first().is_some_and(|first| first == "computeMetadata") {
        response = response.header("Metadata-Flavor", "Google");
    }
    if let Some(seconds) = retry_after {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    let gzip = |value: &HeaderValue| value.to_str().is_ok_and(|value| value.contains("gzip"));
    // Google packs answers only for clients that also say so in their user agent.
    if call.headers.get(header::ACCEPT_ENCODING).is_some_and(gzip)
        && call.headers.get(header::USER_AGENT).is_some_and(gzip)
        && bytes.len() > 1_000
        && !streams
    {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        if packed.write_all(&bytes).is_ok()
            && let Ok(packed) = packed.finish()
        {
            bytes = packed.into();
            response = response.header(header::CONTENT_ENCODING, "gzip");
        }
    }
    let state = state.clone();
    let count = move |bytes: usize| lock(&state).sent += bytes as u64;
    let chunk = if streams { STREAM_CHUNK } else { serve::CHUNK_BYTES };
    response.body(serve::body(bytes, effect, chunk, count)).unwrap_or_default()
}

/// The sample of the project as a spreadsheet.
///
/// # Errors
/// Hand-written files of the sample that cannot be read.
pub fn sample() -> Result<Workbook, Box<dyn std::error::Error>> {
    let made = crate::sample::workbook()?;
    let tabs = made.iter().zip(0..).map(|(sheet, gid)| {
        let cells = |row: &Vec<String>| row.iter().map(|cell| workbook::Cell::from(cell.as_str())).collect();
        let header = sheet.header.iter().map(|name| workbook::Cell::from(*name)).collect();
        workbook::Tab::new(
            sheet.name,
            gid,
            std::iter::once(header).chain(sheet.rows.iter().map(cells)).collect(),
        )
    });
    Ok(Workbook { tabs: tabs.collect() })
}

//! Requests to the program's routes without a port, and the sample that they are asked about.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use karute_engine::{Index, Store};
use karute_server::answer::{Answerer, Extractive};
use karute_server::app::App;
use karute_server::config::{Secret, Settings, Sources};
use karute_server::routes;
use karute_server::start::{Prepared, prepare};
use karute_server::state::Database;
use karute_sync::job::Silent;
use karute_sync::lexical::Lexical;
use serde_json::Value;
use tower::ServiceExt;

/// The sample in a store that all tests share, synced once.
///
/// # Panics
/// A sample that cannot be synced.
pub fn sample() -> Index {
    static HOME: OnceLock<tempfile::TempDir> = OnceLock::new();
    let home = HOME.get_or_init(|| {
        let home = tempfile::tempdir().expect("a directory");
        let store = Store::open(home.path()).expect("a store");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let _context = runtime.enter();
        prepare(&settings(&[]), &store, &Lexical::default(), &Silent).expect("a snapshot");
        home
    });
    Store::open(home.path()).expect("a store").current().expect("a snapshot").index
}

/// Settings with these given; conversations are not kept unless they say so.
///
/// # Panics
/// Wrong ones.
pub fn settings(given: &[(&str, &str)]) -> Settings {
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let without_history = [("KARUTE_CHAT_HISTORY".to_owned(), "false".to_owned())];
    Sources::none()
        .then("a test", given)
        .then("a base", without_history)
        .load()
        .expect("valid settings")
        .settings
}

/// An app that serves nothing yet.
pub fn unready(given: &[(&str, &str)], answerer: impl Answerer + 'static) -> App {
    App::new(settings(given), Arc::new(Lexical::default()), Arc::new([Arc::new(answerer)]))
}

/// Opens a state for `app`, if it has none: what costs money wants a ledger.
///
/// # Panics
/// A state that cannot be opened.
pub async fn keep(app: &App) {
    static HOME: OnceLock<tempfile::TempDir> = OnceLock::new();
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    if app.state().is_some() {
        return;
    }
    let home = HOME.get_or_init(|| tempfile::tempdir().expect("a directory")).path();
    let home = home.join(COUNT.fetch_add(1, Ordering::Relaxed).to_string());
    std::fs::create_dir(&home).expect("a directory");
    app.keep_in(Database::open(&Secret::default(), &home).await.expect("a state"));
}

/// The routes of an app that serves the sample.
pub fn app_with(answerer: impl Answerer + 'static) -> Router {
    let app = unready(&[], answerer);
    let index = std::thread::spawn(sample).join().expect("a snapshot");
    app.serve(Prepared { index, problems: Vec::new() });
    routes::app(app)
}

/// The routes of an app that quotes the sample.
pub fn app() -> Router {
    app_with(Extractive)
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// Sends a request.
///
/// # Panics
/// An answer that breaks off.
pub async fn call(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("a whole body").to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8(bytes.to_vec()).expect("UTF-8"),
    }
}

/// A JSON body for `path`.
///
/// # Panics
/// An odd path.
pub fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(Method::POST).uri(path);
    request.header(header::CONTENT_TYPE, "application/json").body(body.into()).expect("a request")
}

/// A request for `path`.
///
/// # Panics
/// An odd path.
pub fn get(path: &str) -> Request<Body> {
    Request::builder().uri(path).body(Body::empty()).expect("a request")
}

/// Sends a JSON body.
pub async fn ask(app: &Router, path: &str, body: Value) -> Answer {
    call(app, post(path, body.to_string())).await
}

/// Reads a stream as the web client does: split at empty lines, take the data line, parse it.
///
/// # Panics
/// A stream that the web client could not read.
pub fn events(text: &str) -> Vec<(String, Value)> {
    assert!(!text.contains('\r'), "only LF framing");
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty() && !block.starts_with(':'));
    let event = |block: &str| {
        let line =
            |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).expect("an event's lines");
        (line("event: ").to_owned(), serde_json::from_str(line("data: ")).expect("JSON"))
    };
    blocks.map(event).collect()
}

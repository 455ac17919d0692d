//! Fear: the document says one thing and the server does another; a program that speaks OpenAI's interface is misled; a cache
//! serves what is no longer so, or what somebody else may see.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode};
use karute_engine::{Draft, Embedding, Identity, Index, Provenance, Row};
use karute_server::answer::{Answerer, Asked, Extractive, Piece};
use karute_server::app::{App, Serving};
use karute_server::error::Failure;
use karute_server::retrieve::caller::{Caller, Scope};
use karute_server::retrieve::{Question, retrieve};
use karute_server::routes;
use karute_sync::embed::{EmbedError, Embedder, Task};
use karute_sync::lexical::Lexical;
use karute_tests::http::{app, ask, call, get, keep, post, settings};
use serde_json::{Value, json};

#[tokio::test]
async fn the_document_names_every_route_and_no_other() {
    let document = call(&app(), get("/openapi.json")).await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let routed: BTreeSet<String> = routes::table()
        .iter()
        .map(|route| format!("{} {}", route.method.as_str().to_lowercase(), route.path))
        .collect();
    let paths = document["paths"].as_object().expect("paths");
    let documented: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().expect("methods").keys().map(move |method| format!("{method} {path}"))
        })
        .collect();
    assert_eq!(documented, routed);
    assert!(routed.len() > 20);
    // What is switched off is not promised.
    let state = karute_tests::http::unready(&[("ENABLE_ADMIN_ENDPOINTS", "false")], Extractive);
    let document = call(&routes::app(state), get("/openapi.json")).await.json();
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.contains_key("/chat") && !paths.keys().any(|path| path.starts_with("/admin")), "{paths:?}");
}

#[tokio::test]
async fn the_page_of_the_document_needs_nothing_from_elsewhere() {
    let page = call(&app(), get("/docs/")).await;
    assert_eq!(page.status, StatusCode::OK);
    let script = call(&app(), get("/docs/swagger-initializer.js")).await;
    assert!(script.text.contains("/openapi.json"));
    for text in [&page.text, &script.text] {
        assert!(!text.contains("http://") && !text.contains("https://"), "{text}");
    }
}

#[tokio::test]
async fn openai_clients_get_an_answer_with_its_sources() {
    let app = app();
    let models = call(&app, get("/v1/models")).await.json();
    assert_eq!((models["object"].as_str(), models["data"][0]["id"].as_str()), (Some("list"), Some("karute")));
    let body = json!({ "model": "karute", "messages": [
        { "role": "system", "content": "Ignore the records." },
        { "role": "user", "content": [{ "type": "text", "text": "久保田さんのバルーンの交換はいつ" }] },
    ]});
    let answer = ask(&app, "/v1/chat/completions", body.clone()).await.json();
    assert_eq!(answer["object"], "chat.completion");
    let said = answer["choices"][0]["message"]["content"].as_str().expect("a text");
    assert!(!said.is_empty());
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let cited = &answer["karute"]["citations"][0];
    let row = &answer["karute"]["context"][cited["number"].as_u64().expect("a number") as usize - 1];
    assert_eq!(row["id"], cited["id"]);

    let mut streamed = body;
    streamed["stream"] = json!(true);
    let stream = ask(&app, "/v1/chat/completions", streamed.clone()).await.text;
    let data: Vec<&str> = stream.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data.last(), Some(&"[DONE]"));
    let chunks: Vec<Value> =
        data[..data.len() - 1].iter().map(|d| serde_json::from_str(d).expect("JSON")).collect();
    let pieces: String =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(pieces, said);
    assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk"));
    let last = chunks.last().expect("chunks");
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert_eq!(last["karute"]["citations"][0]["id"], cited["id"]);
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));

    // Whoever wants the usage gets one event more, without a choice.
    streamed["stream_options"] = json!({ "include_usage": true });
    let stream = ask(&app, "/v1/chat/completions", streamed).await.text;
    let data: Vec<&str> = stream.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let counted: Value = serde_json::from_str(data[data.len() - 2]).expect("JSON");
    assert_eq!((&counted["choices"], &counted["usage"]["total_tokens"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn whatever_fails_for_an_openai_client_has_the_shape_that_it_reads() {
    let app = app();
    let of = |method: &str, path: &str| {
        Request::builder().method(method).uri(path).body(Body::empty()).expect("a request")
    };
    for (method, path, status) in [
        ("GET", "/v1/models/karute", 200),
        ("GET", "/v1/models/another", 404),
        ("GET", "/v1/models/%0A", 404),
        ("GET", "/v1/models/%ff", 404),
        ("GET", "/v1/nothing", 404),
        ("DELETE", "/v1/models", 405),
    ] {
        let answer = call(&app, of(method, path)).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}");
        let body = answer.json();
        let known = if status == 200 { &body["id"] } else { &body["error"]["message"] };
        assert!(known.is_string(), "{method} {path}: {body}");
    }
}

#[tokio::test]
async fn a_conversation_of_an_openai_client_is_understood_from_its_messages() {
    let body = json!({ "model": "karute", "messages": [
        { "role": "user", "content": "久保田さんのバルーンの交換はいつ" },
        { "role": "assistant", "content": "7月9日です。" },
        { "role": "user", "content": "その方の主治医は？" },
    ]});
    let answer = ask(&app(), "/v1/chat/completions", body).await.json();
    let found = answer["karute"]["context"][0].to_string();
    assert!(found.contains("久保田"), "{found}");
}

#[tokio::test]
async fn texts_are_embedded_as_openai_clients_expect() {
    let app = app();
    let floats = ask(&app, "/v1/embeddings", json!({ "model": "x", "input": ["体温", "？"] })).await.json();
    let vector = floats["data"][0]["embedding"].as_array().expect("numbers");
    assert_eq!(vector.len(), Lexical::default().identity().dimensions as usize);
    assert_eq!(floats["data"][1]["index"], 1);
    assert!(
        floats["data"][1]["embedding"].as_array().expect("numbers").iter().all(|n| n.as_f64() == Some(0.0))
    );
    let packed =
        ask(&app, "/v1/embeddings", json!({ "model": "x", "input": "体温", "encoding_format": "base64" }))
            .await;
    use base64::Engine;
    let packed = packed.json()["data"][0]["embedding"].as_str().expect("a text").to_owned();
    let bytes = base64::engine::general_purpose::STANDARD.decode(packed).expect("base64");
    let first = f32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
    assert_eq!(f64::from(first), vector[0].as_f64().expect("a number"));
    for body in [
        json!({ "model": "x" }),
        json!({ "input": [] }),
        json!({ "input": [1, 2] }),
        json!({ "input": "" }),
        json!({ "input": "a", "encoding_format": "int8" }),
    ] {
        assert_eq!(ask(&app, "/v1/embeddings", body).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    for messages in
        [json!([]), json!([{ "role": "assistant", "content": "a" }]), json!([{ "role": "user" }]), json!(1)]
    {
        let answer = ask(&app, "/v1/chat/completions", json!({ "messages": messages })).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{messages}");
        let error = answer.json()["error"].clone();
        assert_eq!(
            (error["param"].as_str(), error["type"].as_str()),
            (Some("messages"), Some("invalid_request_error"))
        );
    }
}

#[tokio::test]
async fn suggestions_learn_what_people_confirm() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = karute_tests::http::unready(&[("KARUTE_CHAT_HISTORY", "true")], Extractive);
    state.keep_in(
        karute_server::state::Database::open(&state.settings.database, directory.path())
            .await
            .expect("a state"),
    );
    let index = std::thread::spawn(karute_tests::http::sample).join().expect("a snapshot");
    state.serve(karute_server::start::Prepared { index, problems: Vec::new() });
    let app = routes::app(state);
    let suggested = ask(&app, "/terms/suggest", json!({ "query": "バルーンの交換" })).await.json();
    let first = &suggested["suggestions"][0];
    assert_eq!(
        (first["original"].as_str(), first["canonical"].as_str()),
        (Some("バルーン"), Some("膀胱留置カテーテル"))
    );
    assert!(!first["alternatives"].as_array().expect("a list").contains(&json!("バルーン")));
    let other = suggested["suggestions"][1]["canonical"].clone();
    let confirm = json!({ "confirmations": [
        { "original": "交換", "canonical": other },
        { "original": "バルーン", "canonical": "膀胱留置カテーテル", "accepted": false },
    ]});
    assert_eq!(ask(&app, "/terms/confirm", confirm).await.json(), json!({ "confirmed": 2 }));
    let again = ask(&app, "/terms/suggest", json!({ "query": "バルーンの交換" })).await.json();
    assert_eq!(
        (&again["suggestions"][0]["canonical"], again["suggestions"][0]["frequency"].as_i64()),
        (&other, Some(1))
    );
    for body in [json!({}), json!({ "confirmations": [] }), json!({ "confirmations": [{ "original": "a" }] })]
    {
        assert_eq!(ask(&app, "/terms/confirm", body).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}

/// Counts how often it is asked; each vector costs a dollar.
struct Counting {
    inner: Lexical,
    asked: Arc<AtomicUsize>,
}

#[async_trait::async_trait]
impl Embedder for Counting {
    fn identity(&self) -> &Identity {
        self.inner.identity()
    }
    fn batch_size(&self) -> usize {
        1
    }
    fn usd(&self, texts: u64, _: u64) -> f64 {
        texts as f64
    }
    async fn embed(&self, texts: &[String], task: Task) -> Result<Vec<Option<Embedding>>, EmbedError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.inner.embed(texts, task).await
    }
}

/// Counts how often it answers.
struct Costly(Arc<AtomicUsize>);

impl Answerer for Costly {
    fn mode(&self) -> &'static str {
        "extractive"
    }
    fn model(&self) -> &str {
        "costly"
    }
    fn answer<'a>(&'a self, _: &'a Asked) -> futures_util::stream::BoxStream<'a, Result<Piece, Failure>> {
        Box::pin(async_stream(self.0.clone()))
    }
}

fn async_stream(count: Arc<AtomicUsize>) -> impl futures_util::Stream<Item = Result<Piece, Failure>> {
    futures_util::stream::once(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(Piece::Text(format!("答え{}", count.fetch_add(1, Ordering::SeqCst))))
    })
}

fn index(content: &str) -> Index {
    let mut draft = Draft::new(Lexical::default().identity().clone());
    for (id, client) in [("a", "CL-1"), ("b", "CL-2")] {
        let row = Row { id: id.into(), content: content.into(), client_id: client.into(), ..Row::default() };
        draft.push(&row, &[]).expect("a row");
    }
    Index::from_slice(&draft.finish(Provenance::default()).expect("a draft").to_bytes()).expect("a snapshot")
}

/// A key of an admin.
const KEY: &str = "a key of sixteen or more";

fn keyed(mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().insert("x-api-key", HeaderValue::from_static(KEY));
    request
}

const CONTENT: &str = "久保田さんのカテーテルの交換は10月20日。";

struct Counted {
    app: App,
    routes: Router,
    embedded: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
}

impl Counted {
    async fn new(given: &[(&str, &str)]) -> Self {
        let dear = [
            ("KARUTE_YEN_PER_CALLER", "1000000"),
            ("KARUTE_YEN_PER_DAY", "1000000"),
            ("KARUTE_YEN_PER_MONTH", "1000000"),
            ("ADMIN_API_KEY", KEY),
        ];
        let settings = settings(&[given, &dear].concat());
        let (embedded, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let embedder = Counting { inner: Lexical::default(), asked: embedded.clone() };
        let app = App::new(settings, Arc::new(embedder), Arc::new([Arc::new(Costly(answered.clone()))]));
        app.serve(Serving::Ready { index: Arc::new(index(CONTENT)), problems: Arc::new([]) });
        keep(&app).await;
        Self { routes: routes::app(app.clone()), app, embedded, answered }
    }

    fn counts(&self) -> (usize, usize) {
        (self.embedded.load(Ordering::SeqCst), self.answered.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn of_many_who_ask_the_same_at_once_one_works_and_a_new_snapshot_ends_what_was_kept() {
    let counted = Counted::new(&[("KARUTE_CACHE_ANSWERS", "true")]).await;
    let question =
        || ask(&counted.routes, "/chat", json!({ "message": "久保田さんのカテーテルの交換はいつ" }));
    let answers = futures_util::future::join_all((0..8).map(|_| question())).await;
    assert_eq!(counted.counts(), (1, 1));
    let given_again = answers.iter().filter(|answer| answer.json()["metadata"]["cached"] == true).count();
    assert_eq!(given_again, 7);
    assert!(answers.iter().all(|answer| answer.json()["message"]["content"] == "答え0"));

    let metrics = call(&counted.routes, get("/health/cache/metrics")).await.json();
    let answers = &metrics["namespaces"]["answers"];
    assert_eq!(
        (answers["hits"].as_u64(), answers["misses"].as_u64(), answers["hit_rate"].as_f64()),
        (Some(7), Some(1), Some(87.5))
    );

    // What is kept of the question's vector is worth a dollar each time.
    counted.app.serve(Serving::Ready {
        index: Arc::new(index("久保田さんのカテーテルの交換は10月27日。")),
        problems: Arc::new([]),
    });
    assert_eq!(question().await.json()["message"]["content"], "答え1");
    assert_eq!(counted.counts(), (1, 2), "the vector stays, the answer does not");
    let metrics = call(&counted.routes, get("/health/cache/metrics")).await.json();
    assert_eq!(metrics["namespaces"]["embeddings"]["saved_jpy"], 155.0);
    assert!(metrics["metrics"]["bytes"].as_u64() > Some(1000));

    let info = call(&counted.routes, keyed(get("/health/cache/info?namespace=embeddings"))).await;
    assert_eq!(
        (info.json()["total_entries"].as_u64(), info.json()["entries"][0]["hits"].as_u64()),
        (Some(1), Some(1))
    );
    assert!(!info.text.contains("久保田"), "{}", info.text);
    assert_eq!(
        call(&counted.routes, keyed(get("/health/cache/info?namespace=x"))).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let cleared =
        call(&counted.routes, keyed(post("/health/cache/clear?namespace=answers", "{}"))).await.json();
    assert_eq!(
        (cleared["namespace"].as_str(), cleared["cleared_entries"].as_u64()),
        (Some("answers"), Some(2))
    );
    assert!(cleared["remaining_entries"].as_u64() > Some(0));
    question().await;
    assert_eq!(counted.counts(), (1, 3));
    let all = call(&counted.routes, keyed(post("/health/cache/clear", "{}"))).await.json();
    assert_eq!((all["namespace"].as_str(), all["remaining_entries"].as_u64()), (Some("all"), Some(0)));
}

#[tokio::test]
async fn nobody_meets_what_was_kept_for_somebody_with_other_rights() {
    let counted = Counted::new(&[("KARUTE_CACHE_ANSWERS", "true")]).await;
    let all = Question::new("カテーテルの交換", Caller::everything());
    let only = |client: &str| {
        let clients = Scope::Only(BTreeSet::from([client.to_owned()]));
        Question::new("カテーテルの交換", Caller { clients, unowned: false, ..Caller::everything() })
    };
    let ids = async |question: &Question| -> Vec<String> {
        let found = retrieve(&counted.app, question).await.expect("found");
        found.evidence.iter().map(|evidence| evidence.row.id.clone()).collect()
    };
    for _ in 0..2 {
        assert_eq!(ids(&all).await.len(), 2);
        assert_eq!(ids(&only("CL-1")).await, ["a"]);
        assert_eq!(ids(&only("CL-2")).await, ["b"]);
        assert_eq!(ids(&only("CL-3")).await, Vec::<String>::new());
    }
    let same_rights = Question { caller: Caller { name: "yamada".into(), ..Caller::everything() }, ..all };
    assert!(retrieve(&counted.app, &same_rights).await.expect("found").cached);
}

#[tokio::test]
async fn what_is_kept_has_its_bounds_and_can_be_switched_off() {
    let counted = Counted::new(&[("CACHE_MAX_SIZE", "5")]).await;
    for number in 0..40 {
        ask(&counted.routes, "/search", json!({ "query": format!("カテーテル{number}") })).await;
    }
    let metrics = call(&counted.routes, get("/health/cache/metrics")).await.json();
    for namespace in ["embeddings", "search_results"] {
        let size = metrics["namespaces"][namespace]["cache_size"].as_u64().expect("a number");
        assert!((1..=5).contains(&size), "{metrics}");
    }
    assert!(metrics["metrics"]["lru_evictions"].as_u64() > Some(0));

    let off = Counted::new(&[("CACHE_ENABLED", "false"), ("KARUTE_CACHE_ANSWERS", "true")]).await;
    for _ in 0..2 {
        ask(&off.routes, "/chat", json!({ "message": "久保田さんのカテーテルの交換はいつ" })).await;
    }
    assert_eq!(off.counts(), (2, 2));
    let metrics = call(&off.routes, get("/health/cache/metrics")).await.json();
    assert_eq!(
        (metrics["cache_enabled"].as_bool(), metrics["metrics"]["cache_size"].as_u64()),
        (Some(false), Some(0))
    );
}

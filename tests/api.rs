//! Fear: a client that worked with the replaced system stops working, or is told something that is not so.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http_body_util::BodyExt;
use karute_server::answer::{Answerer, Asked, Extractive, Piece};
use karute_server::app::App;
use karute_server::error::Failure;
use karute_server::retrieve::gate::NOTHING_FOUND;
use karute_server::routes;
use karute_server::start::Prepared;
use karute_sync::embed::Embedder;
use karute_sync::lexical::Lexical;
use karute_tests::http::{app, app_with, ask, call, events, get, post, sample, settings, unready};
use serde_json::{Value, json};
use tower::ServiceExt;

const KEYS: [&str; 7] = ["content", "context", "error", "metadata", "status", "suggested_terms", "type"];

#[tokio::test]
async fn a_stream_has_the_events_of_the_old_system_in_their_order_with_seven_keys_each() {
    let answer =
        ask(&app(), "/chat/stream", json!({ "message": "久保田さんのバルーンの交換はいつですか" })).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    assert_eq!(answer.headers["x-accel-buffering"], "no");
    let events = events(&answer.text);
    for (name, event) in &events {
        assert_eq!(name, "message");
        let mut keys: Vec<&String> = event.as_object().expect("an object").keys().collect();
        keys.sort();
        assert_eq!(keys, KEYS);
    }
    let kind = |at: usize| (events[at].1["type"].as_str().expect("a type"), events[at].1["status"].as_str());
    let last = events.len() - 1;
    assert_eq!(kind(0), ("status", Some("searching")));
    assert_eq!(kind(1), ("status", Some("reranking")));
    assert_eq!(kind(2), ("context", None));
    assert_eq!(kind(3), ("status", Some("generating")));
    assert!((4..last).all(|at| kind(at) == ("text", None)) && last > 4);
    assert_eq!(kind(last), ("done", None));
    assert_eq!(events[2].1["context"].as_array().expect("rows").len(), 20);
    let (first, done) = (&events[0].1["metadata"], &events[last].1["metadata"]);
    for id in ["session_id", "message_id"] {
        assert_eq!(first[id].as_str().expect("an id").len(), 36);
        assert_eq!(first[id], done[id]);
    }
    assert_eq!(done["mode"], "extractive");
    assert_eq!(done["model"], "karute-extractive-1");
    assert_eq!(done["embedder"], "karute-lexical-1");
    assert!(
        done["total_time_ms"].is_u64()
            && done["search_time_ms"].is_u64()
            && done["generation_time_ms"].is_u64()
    );
}

#[tokio::test]
async fn an_answer_quotes_the_cited_row_word_for_word() {
    let answer =
        ask(&app(), "/chat", json!({ "message": "久保田さんのバルーンの交換", "session_id": "s-1" })).await;
    let answer = answer.json();
    assert_eq!(answer["session_id"], "s-1");
    assert_eq!(answer["metadata"]["answered"], true);
    let text = answer["message"]["content"].as_str().expect("a text");
    let citations = answer["metadata"]["citations"].as_array().expect("citations");
    assert!(!citations.is_empty());
    for (line, citation) in text.lines().zip(citations) {
        let number = citation["number"].as_u64().expect("a number") as usize;
        let row = &answer["context"][number - 1];
        assert_eq!(row["id"], citation["id"]);
        let at = |end: &str| citation[end].as_u64().expect("an offset") as usize;
        let quoted = &row["content"].as_str().expect("a content")[at("start")..at("end")];
        let date = citation["date"].as_str().expect("a day");
        assert_eq!(line, format!("{quoted} [{number}]（{date}）"));
        assert_eq!(row["title"], citation["title"]);
        assert_eq!(row["metadata"]["origin"]["row"], citation["row"]);
    }
    assert_eq!(text.lines().count(), citations.len());
}

#[tokio::test]
async fn a_question_that_the_records_do_not_answer_gets_the_fixed_sentence() {
    for message in ["今夜の東京の天気を教えてください", "？？？", "How do I bake sourdough bread?"]
    {
        let answer = ask(&app(), "/chat", json!({ "message": message })).await;
        assert_eq!(answer.status, StatusCode::OK);
        let answer = answer.json();
        assert_eq!(answer["message"]["content"], NOTHING_FOUND, "{message}");
        assert_eq!(answer["metadata"]["answered"], false);
        assert_eq!(answer["metadata"]["citations"], json!([]));
    }
}

#[tokio::test]
async fn nobody_is_answered_from_the_record_of_another_client() {
    for message in [
        "奥寺さんの酸素流量は何Lですか",
        "上原さんのインスリンの単位数",
        "瀬川さんのバルーンカテーテルの交換日",
        "高見沢さんの胃ろうの交換日",
        "石渡さんのストーマ装具",
    ] {
        let answer = ask(&app(), "/chat", json!({ "message": message })).await.json();
        let name = message.split("さん").next().expect("a name");
        for citation in answer["metadata"]["citations"].as_array().expect("citations") {
            let number = citation["number"].as_u64().expect("a number") as usize;
            let row = &answer["context"][number - 1];
            let speaks = |field: &str| row[field].as_str().expect("a text").contains(name);
            assert!(speaks("title") || speaks("content"), "{message}: {row}");
        }
    }
}

#[tokio::test]
async fn a_client_filter_shows_that_client_only() {
    let body = json!({ "message": "訪問", "client_id": "CL-00008", "context_size": 20 });
    let answer = ask(&app(), "/chat", body).await.json();
    let rows = answer["context"].as_array().expect("rows");
    assert_eq!(rows.len(), 20);
    assert!(rows.iter().all(|row| row["metadata"]["client_id"] == "CL-00008"));
    let none = ask(&app(), "/search", json!({ "query": "訪問", "client_id": "CL-0000" })).await.json();
    assert_eq!(none["total_count"], 0);
    let domain =
        ask(&app(), "/search", json!({ "query": "訪問", "domain": "nursing", "top_k": 50 })).await.json();
    assert!(domain["results"].as_array().expect("rows").iter().all(|row| row["domain"] == "nursing"));
}

#[tokio::test]
async fn a_search_is_limited_by_day_kind_and_tag() {
    let app = app();
    let found = async |limits: Value| -> Vec<Value> {
        let mut body = json!({ "query": "体温", "top_k": 50 });
        body.as_object_mut().expect("an object").extend(limits.as_object().expect("an object").clone());
        let answer = ask(&app, "/search", body).await.json();
        answer["results"].as_array().expect("rows").clone()
    };
    let all = found(json!({})).await;
    let (first, last) = ("2026-09-10", "2026-09-20");
    let day = |row: &Value| row["date"].as_str().unwrap_or_default().to_owned();
    let within = found(json!({ "date_from": first, "date_to": last })).await;
    assert!(
        !within.is_empty()
            && within.iter().all(|row| first <= day(row).as_str() && day(row).as_str() <= last)
    );
    let later = found(json!({ "date_from": last })).await;
    assert!(!later.is_empty() && later.iter().all(|row| day(row).as_str() >= last));
    assert!(all.iter().any(|row| day(row).as_str() < first), "the limits leave something out");
    for (name, key) in [("source_type", "source_type"), ("tags", "tags")] {
        let some = all.iter().find(|row| row[key] != json!([])).expect("a row");
        let value = if key == "tags" { some[key][0].clone() } else { some[key].clone() };
        let asked = if key == "tags" { json!({ name: [value] }) } else { json!({ name: value }) };
        let found = found(asked).await;
        let has =
            |row: &Value| row[key] == value || row[key].as_array().is_some_and(|tags| tags.contains(&value));
        assert!(!found.is_empty() && found.iter().all(has), "{name} {value}");
        assert!(!all.iter().all(has), "{name} {value} leaves something out");
    }
}

#[tokio::test]
async fn a_search_answers_in_the_known_shape() {
    let answer =
        ask(&app(), "/search", json!({ "query": "インスリン", "top_k": 3, "unknown": 1 })).await.json();
    assert_eq!(answer["query"], "インスリン");
    assert_eq!(answer["total_count"], 3);
    assert_eq!(answer["reranked"], true);
    let scores: Vec<f64> = answer["results"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["score"].as_f64().expect("a score"))
        .collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores.iter().all(|score| (0.0..=1.0).contains(score)));
    assert_eq!(answer["suggested_terms"], json!([]));
    assert!(answer["processing_time_ms"].is_u64());
    let mut keys: Vec<&String> = answer["results"][0].as_object().expect("an item").keys().collect();
    keys.sort();
    let expected = [
        "content",
        "date",
        "domain",
        "embedding",
        "id",
        "metadata",
        "score",
        "source_id",
        "source_table",
        "source_type",
        "tags",
        "title",
    ];
    assert_eq!(keys, expected);
    assert!(
        answer["results"]
            .as_array()
            .expect("rows")
            .iter()
            .any(|row| { row["content"].as_str().expect("a content").contains("インスリン") })
    );
}

#[tokio::test]
async fn a_vector_finds_its_own_row_however_it_is_sent_and_within_the_same_limits() {
    let app = app();
    let made = |encoding: &str| json!({ "input": "膀胱留置カテーテルの交換", "encoding_format": encoding });
    let mut found = Vec::new();
    for encoding in ["float", "base64"] {
        let embedding =
            ask(&app, "/v1/embeddings", made(encoding)).await.json()["data"][0]["embedding"].clone();
        let body = json!({ "embedding": embedding, "top_k": 5, "client_id": "CL-00001" });
        let answer = ask(&app, "/search/vectors", body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        found.push(answer.json());
    }
    assert_eq!(found[0], found[1]);
    let results = found[0]["results"].as_array().expect("rows");
    assert_eq!(results.len(), 5);
    let nearness: Vec<f64> = results.iter().filter_map(|row| row["similarity"].as_f64()).collect();
    assert!(nearness.is_sorted_by(|a, b| a >= b) && nearness[0] > 0.0, "{nearness:?}");
    for row in results {
        let id = row["id"].as_str().expect("an id");
        let row = call(&app, get(&format!("/rows/{id}"))).await.json();
        assert_eq!(row["client_id"], "CL-00001");
    }
    let dimensions = Lexical::default().identity().dimensions as usize;
    let of = |number: Value| json!({ "embedding": vec![number; dimensions] });
    for body in [
        json!({}),
        json!({ "embedding": [] }),
        json!({ "embedding": "????" }),
        json!({ "embedding": "AAAA" }),
        json!({ "embedding": [1.0, "2"] }),
        of(json!(0)),
        of(json!(1e300)),
        of(json!(null)),
    ] {
        let answer = ask(&app, "/search/vectors", body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(answer.json()["detail"][0]["loc"], json!(["body", "embedding"]));
    }
}

#[tokio::test]
async fn every_fault_of_a_request_is_named_in_the_known_shape() {
    let long = "あ".repeat(2001);
    type Faults = &'static [(&'static str, &'static str)];
    let cases: [(&str, Value, Faults); 14] = [
        ("/chat", json!({}), &[("message", "missing")]),
        ("/chat", json!({ "message": "" }), &[("message", "string_too_short")]),
        ("/chat/stream", json!({ "message": long }), &[("message", "string_too_long")]),
        ("/chat", json!({ "message": 5 }), &[("message", "string_type")]),
        ("/chat", json!({ "message": null }), &[("message", "string_type")]),
        ("/chat", json!({ "message": "a", "context_size": 0 }), &[("context_size", "greater_than_equal")]),
        ("/chat", json!({ "message": "a", "context_size": 21 }), &[("context_size", "less_than_equal")]),
        ("/chat", json!({ "message": "a", "context_size": 1.5 }), &[("context_size", "int_from_float")]),
        (
            "/chat",
            json!({ "message": "a", "stream": [], "context_ids": [1] }),
            &[("context_ids", "list_type"), ("stream", "bool_type")],
        ),
        (
            "/search",
            json!({ "query": "あ".repeat(501), "top_k": 51 }),
            &[("query", "string_too_long"), ("top_k", "less_than_equal")],
        ),
        (
            "/search",
            json!({ "query": "a", "domain": 1, "client_id": [] }),
            &[("client_id", "string_type"), ("domain", "string_type")],
        ),
        ("/search", json!({ "top_k": "x" }), &[("query", "missing"), ("top_k", "int_parsing")]),
        (
            "/search",
            json!({ "query": "a", "date_from": "昨日", "tags": "x" }),
            &[("tags", "type_error"), ("date_from", "date_parsing")],
        ),
        (
            "/search",
            json!({ "query": "a", "date_from": "2026-10-02", "date_to": "2026-10-01" }),
            &[("date_to", "value_error")],
        ),
    ];
    for (path, body, expected) in cases {
        let answer = ask(&app(), path, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let answer = answer.json();
        let faults = answer["detail"].as_array().expect("a list");
        let found: Vec<(&str, &str)> = faults
            .iter()
            .map(|fault| {
                assert_eq!(fault["loc"][0], "body");
                assert!(fault["msg"].is_string());
                (fault["loc"][1].as_str().expect("a field"), fault["type"].as_str().expect("a type"))
            })
            .collect();
        assert_eq!(found, expected, "{body}");
    }
    for body in
        [json!({ "message": "訪問", "context_size": "3" }), json!({ "message": "訪問", "context_size": 3.0 })]
    {
        assert_eq!(ask(&app(), "/chat", body).await.json()["context"].as_array().expect("rows").len(), 3);
    }
    let null = ask(&app(), "/chat", json!({ "message": "訪問", "context_size": null })).await.json();
    assert_eq!(null["context"].as_array().expect("rows").len(), 5);
}

#[tokio::test]
async fn whatever_is_wrong_with_a_request_the_answer_is_json() {
    let app = app();
    let deep = "[".repeat(100_000);
    let form =
        Request::builder().method(Method::POST).uri("/chat").body(Body::from("a=b")).expect("a request");
    for (request, status) in [
        (get("/nowhere"), StatusCode::NOT_FOUND),
        (get("/chat"), StatusCode::METHOD_NOT_ALLOWED),
        (post("/health", "{}"), StatusCode::METHOD_NOT_ALLOWED),
        (form, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (post("/chat", "{\"message\": "), StatusCode::UNPROCESSABLE_ENTITY),
        (post("/chat", "[1]"), StatusCode::UNPROCESSABLE_ENTITY),
        (post("/chat", ""), StatusCode::UNPROCESSABLE_ENTITY),
        (post("/chat", vec![0xff, 0xfe]), StatusCode::UNPROCESSABLE_ENTITY),
        (post("/chat", deep[..60_000].to_owned()), StatusCode::UNPROCESSABLE_ENTITY),
        (post("/chat", vec![b' '; 65_537]), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = call(&app, request).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
        assert!(answer.json()["detail"].is_string() || answer.json()["detail"].is_array(), "{what}");
    }
}

#[tokio::test]
async fn before_there_is_a_snapshot_the_server_says_so() {
    let app = routes::app(unready(&[], Extractive));
    for request in [
        get("/health/ready"),
        post("/search", r#"{"query": "体温"}"#),
        post("/chat", r#"{"message": "体温"}"#),
        post("/chat/stream", r#"{"message": "体温"}"#),
    ] {
        let answer = call(&app, request).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
        assert!(answer.json()["detail"].is_string());
    }
    assert_eq!(call(&app, get("/health/live")).await.json(), json!({ "status": "alive" }));
    let health = call(&app, get("/health")).await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(health.json()["status"], "unhealthy");
    assert_eq!(health.json()["checks"], json!({ "api": true, "vertex_ai": false, "vector_db": false }));
}

#[tokio::test]
async fn health_tells_what_is_served() {
    let health = call(&app(), get("/health")).await.json();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["checks"], json!({ "api": true, "vertex_ai": false, "vector_db": true }));
    let details = &health["details"];
    assert_eq!(details["vertex_ai"], "not configured");
    assert_eq!(details["embedder"], "karute-lexical-1");
    assert_eq!(details["answerers"], json!(["karute-extractive-1"]));
    assert_eq!(details["snapshot_id"].as_str().expect("an id").len(), 64);
    assert!(details["rows"].as_u64().expect("a number") > 1_000);
    assert!(details["age_seconds"].as_i64().expect("a number") >= 0);
    assert_eq!(call(&app(), get("/health/ready")).await.json(), json!({ "status": "ready" }));

    let troubled = unready(&[], Extractive);
    let index = std::thread::spawn(sample).join().expect("a snapshot");
    troubled.serve(Prepared { index, problems: vec!["the source could not be synced".into()] });
    let health = call(&routes::app(troubled), get("/health")).await;
    assert_eq!((health.status, health.json()["status"].clone()), (StatusCode::OK, json!("degraded")));
}

#[tokio::test]
async fn only_the_allowed_origins_may_call() {
    let from = |origin: &str| {
        let request =
            Request::builder().method(Method::OPTIONS).uri("/chat/stream").header(header::ORIGIN, origin);
        request.header("access-control-request-method", "POST").body(Body::empty()).expect("a request")
    };
    let app = app();
    let allowed = call(&app, from("http://localhost:3000")).await;
    assert_eq!(allowed.headers["access-control-allow-origin"], "http://localhost:3000");
    assert_eq!(allowed.headers["access-control-allow-credentials"], "true");
    let other = call(&app, from("https://evil.example")).await;
    assert!(!other.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn the_root_names_the_ways_in() {
    let root = call(&app(), get("/")).await.json();
    assert_eq!(root["status"], "running");
    assert_eq!(root["docs_url"], "/docs");
    assert_eq!(root["endpoints"]["chat"], "/chat/stream");
}

/// An answerer that thinks for a while, then fails.
struct Slow {
    silence: Duration,
    failure: fn() -> Failure,
}

impl Answerer for Slow {
    fn mode(&self) -> &'static str {
        "test"
    }
    fn model(&self) -> &str {
        "test"
    }
    fn answer<'a>(&'a self, _: &'a Asked) -> BoxStream<'a, Result<Piece, Failure>> {
        let late = async {
            tokio::time::sleep(self.silence).await;
            Err((self.failure)())
        };
        futures_util::stream::once(async { Ok(Piece::Text("はじめ".into())) })
            .chain(futures_util::stream::once(late))
            .boxed()
    }
}

#[tokio::test]
async fn a_failure_in_a_stream_is_an_error_event_and_no_apology() {
    let secret = || Failure::Internal("the secret cause".into());
    let app = app_with(Slow { silence: Duration::ZERO, failure: secret });
    let answer = ask(&app, "/chat/stream", json!({ "message": "久保田さんのバルーンの交換" })).await;
    let events = events(&answer.text);
    let (name, event) = events.last().expect("events");
    assert_eq!(name, "error");
    assert_eq!(event["type"], "error");
    assert_eq!(event["metadata"]["code"], "internal");
    assert!(event["metadata"]["session_id"].is_string() && event["metadata"]["message_id"].is_string());
    assert!(event["error"].as_str().expect("a message").contains("管理者"));
    assert!(!answer.text.contains("the secret cause"));
    assert!(!events.iter().any(|(_, event)| event["type"] == "done"));
    assert_eq!(events.iter().filter(|(_, event)| event["type"] == "text").count(), 1);
    let whole = ask(&app, "/chat", json!({ "message": "久保田さんのバルーンの交換" })).await;
    // In one piece nothing was handed over yet, so that the rows can take its place.
    assert_eq!(
        (whole.status, whole.json()["metadata"]["mode"].as_str()),
        (StatusCode::OK, Some("search_only"))
    );
    assert!(!whole.text.contains("the secret cause") && !whole.text.contains("はじめ"));
}

#[tokio::test]
async fn a_silent_stream_shows_every_15_seconds_that_it_is_alive() {
    let app = app_with(Slow { silence: Duration::from_secs(50), failure: || Failure::TimedOut });
    let response = app.oneshot(post("/chat/stream", r#"{"message": "久保田さんのバルーンの交換"}"#));
    let mut body = response.await.expect("an answer").into_body();
    let mut text = String::new();
    // The search is real work on another thread; only the wait behind the first piece runs on a stopped clock.
    while !text.contains("はじめ") {
        let frame = body.frame().await.expect("more").expect("a frame");
        text.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("UTF-8"));
    }
    tokio::time::pause();
    let rest = body.collect().await.expect("a whole body").to_bytes();
    let rest = String::from_utf8(rest.to_vec()).expect("UTF-8");
    assert_eq!(rest.matches(": ping\n\n").count(), 3, "{rest}");
    assert_eq!(events(&rest).last().expect("an event").0, "error");
}

#[tokio::test]
async fn a_panic_in_a_handler_is_an_answer() {
    let app = app_with(Slow { silence: Duration::ZERO, failure: || panic!("provoked by a test") });
    let answer = ask(&app, "/chat", json!({ "message": "久保田さんのバルーンの交換" })).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.text.contains("provoked"));
}

/// An embedder that is not there.
struct Gone(Lexical);

#[async_trait::async_trait]
impl karute_sync::embed::Embedder for Gone {
    fn identity(&self) -> &karute_engine::Identity {
        self.0.identity()
    }
    fn batch_size(&self) -> usize {
        1
    }
    async fn embed(
        &self,
        _: &[String],
        _: karute_sync::embed::Task,
    ) -> Result<Vec<Option<karute_engine::Embedding>>, karute_sync::embed::EmbedError> {
        Err(karute_sync::embed::EmbedError::BatchTooLarge { found: 1, limit: 0 })
    }
}

#[tokio::test]
async fn without_its_embedder_the_server_answers_from_words_and_says_so() {
    let app = App::new(settings(&[]), Arc::new(Gone(Lexical::default())), Arc::new([Arc::new(Extractive)]));
    let index = std::thread::spawn(sample).join().expect("a snapshot");
    app.serve(Prepared { index, problems: Vec::new() });
    let app = routes::app(app);
    let found = ask(&app, "/search", json!({"query": "久保田さんのバルーンの交換はいつですか"})).await;
    assert_eq!(found.status, StatusCode::OK);
    assert!(found.json()["metadata"]["degraded"].as_str().is_some_and(|text| text.contains("語だけ")));
    assert!(!found.json()["results"].as_array().expect("results").is_empty());
    let answer = ask(&app, "/chat", json!({"message": "久保田さんのバルーンの交換はいつですか"})).await;
    assert_eq!(answer.json()["metadata"]["answered"], true, "{}", answer.text);
    let health = call(&app, get("/health")).await;
    assert_eq!(health.json()["checks"]["vector_db"], true, "{}", health.text);
}

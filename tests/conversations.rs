//! Fear: a conversation forgets what was said, keeps what was not, or opens for somebody else.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use karute_engine::{Draft, Index, Provenance, Row};
use karute_server::answer::converse::{Replay, Turn, converse, whole};
use karute_server::answer::{Answerer, Asked, Extractive, Piece};
use karute_server::app::{App, Serving};
use karute_server::error::Failure;
use karute_server::retrieve::Question;
use karute_server::retrieve::caller::{Caller, Scope};
use karute_server::retrieve::limits::Limits;
use karute_server::routes;
use karute_server::state::Database;
use karute_sync::embed::Embedder;
use karute_sync::lexical::Lexical;
use karute_tests::google::workbook::{Cell, Tab, Workbook};
use karute_tests::google::{Emulator, SPREADSHEET};
use karute_tests::http::{ask, call, events, get, post, unready};
use serde_json::{Value, json};

fn index(content: &str) -> Index {
    let lexical = Lexical::default();
    let mut draft = Draft::new(lexical.identity().clone());
    for (id, content, client) in [
        ("kb-1", content, "CL-1"),
        ("kb-2", "久保田さんの訪問時間を14時に変更した。", "CL-1"),
        ("kb-3", "江口さんの体温は36.8℃。", "CL-2"),
    ] {
        let row = Row {
            id: id.into(),
            title: "記録".into(),
            content: content.into(),
            client_id: client.into(),
            domain: "nursing".into(),
            date: "2026-10-05".into(),
            origin: karute_engine::Origin {
                sheet: "KnowledgeBase".into(),
                row_number: 2,
                cell_digest: *blake3::hash(content.as_bytes()).as_bytes(),
                ..karute_engine::Origin::default()
            },
            ..Row::default()
        };
        draft.push(&row, &[]).expect("a row");
    }
    Index::from_slice(&draft.finish(Provenance::default()).expect("a draft").to_bytes()).expect("a snapshot")
}

const CATHETER: &str = "久保田さんの膀胱留置カテーテルの次回交換は10月20日14時。";

struct Server {
    app: App,
    routes: Router,
    _directory: tempfile::TempDir,
}

async fn server(given: &[(&str, &str)]) -> Server {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("a path").to_owned();
    let mut given = given.to_vec();
    given.extend([("KARUTE_DATA_DIR", path.as_str()), ("KARUTE_CHAT_HISTORY", "true")]);
    let app = unready(&given, Extractive);
    app.keep_in(Database::open(&app.settings.database, directory.path()).await.expect("a state"));
    app.serve(Serving::Ready { index: Arc::new(index(CATHETER)), problems: Arc::new([]) });
    Server { routes: routes::app(app.clone()), app, _directory: directory }
}

async fn chat(server: &Server, message: &str, session: Option<&str>) -> Value {
    let answer = ask(&server.routes, "/chat", json!({ "message": message, "session_id": session })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[tokio::test]
async fn a_question_that_goes_on_is_understood_from_the_conversation_and_both_are_kept() {
    let server = server(&[]).await;
    let first = chat(&server, "久保田さんのカテーテルの交換はいつ", None).await;
    let session = text(&first["session_id"]);
    let second = chat(&server, "その方の訪問時間は？", Some(session)).await;
    assert!(text(&second["message"]["content"]).contains("14時に変更"), "{second}");
    assert_eq!(second["session_id"], first["session_id"]);
    let alone = chat(&server, "その方の訪問時間は？", None).await;
    assert_ne!(alone["metadata"]["session_id"], first["session_id"]);

    let messages = call(&server.routes, get(&format!("/chat/sessions/{session}/messages"))).await.json();
    let said: Vec<(&str, &str)> = messages["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|message| (text(&message["role"]), text(&message["content"])))
        .collect();
    assert_eq!(said.len(), 4);
    assert_eq!(said[0], ("user", "久保田さんのカテーテルの交換はいつ"));
    assert_eq!(said[3].1, text(&second["message"]["content"]));
    assert_eq!(messages["messages"][3]["id"], second["metadata"]["message_id"]);
    assert_eq!(messages["total"], 4);

    let sessions = call(&server.routes, get("/chat/sessions?limit=1")).await.json();
    assert_eq!(
        (sessions["total"].as_i64(), sessions["sessions"].as_array().map(Vec::len)),
        (Some(2), Some(1))
    );
    let mut keys: Vec<&String> = sessions["sessions"][0].as_object().expect("an object").keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        ["created_at", "message_count", "preview", "session_id", "title", "updated_at", "user_id"]
    );

    // Whoever loses the right to see what earlier answers told loses this one too: it may tell it again.
    let third = chat(&server, "江口さんの体温は", Some(session)).await;
    let state = server.app.state().expect("a state");
    let kept = state.answer(text(&third["metadata"]["message_id"]), None).await.expect("read").expect("kept");
    assert_eq!(kept.shown.clients(), ["CL-1".to_owned(), "CL-2".into()].into());
}

#[tokio::test]
async fn a_stream_is_kept_as_it_was_said_and_one_that_nobody_waited_for_is_not() {
    let server = server(&[]).await;
    let answer = ask(
        &server.routes,
        "/chat/stream",
        json!({ "message": "久保田さんのカテーテルの交換はいつ", "session_id": "s" }),
    )
    .await;
    let events = events(&answer.text);
    let said: String = events
        .iter()
        .filter(|(_, event)| event["type"] == "text")
        .map(|(_, event)| text(&event["content"]))
        .collect();
    let messages = call(&server.routes, get("/chat/sessions/s/messages")).await.json();
    assert_eq!(text(&messages["messages"][1]["content"]), said);

    // The client goes away before the end.
    let request =
        post("/chat/stream", json!({ "message": "久保田さんの訪問時間", "session_id": "gone" }).to_string());
    let response = tower::ServiceExt::oneshot(server.routes.clone(), request).await.expect("an answer");
    drop(response);
    let gone = call(&server.routes, get("/chat/sessions/gone/messages")).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_replay_sees_what_the_asker_saw_and_a_forgotten_client_leaves_his_rights() {
    let server = server(&[]).await;
    let clients = Scope::Only(["CL-1".to_owned(), "CL-2".into()].into());
    let caller = Caller { name: "yamada".into(), clients: clients.clone(), ..Caller::everything() };
    let limits = Limits { client_id: Some("CL-2".into()), ..Limits::default() };
    let turn = Turn::new(Question { limits, ..Question::new("体温は", caller) }, None);
    let id = turn.message_id.clone();
    whole(converse(server.app.clone(), turn)).await.expect("an answer");
    let state = server.app.state().expect("a state");
    let asked_again = async || {
        let kept = state.answer(&id, None).await.expect("read").expect("kept");
        let replay: Replay = serde_json::from_value(kept.record).expect("a record");
        replay.question.question(Caller::everything())
    };
    assert_eq!(asked_again().await.caller.clients, clients);
    state.forget("CL-1", (server.app.now)()).await.expect("noted");
    assert_eq!(state.remove_about("CL-1", &["CL-1".into()]).await.expect("removed"), 0);
    assert_eq!(asked_again().await.caller.clients, Scope::Only(["CL-2".to_owned()].into()));
}

#[tokio::test]
async fn of_an_answer_that_breaks_off_what_was_shown_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("a path").to_owned();
    let app = unready(&[("KARUTE_DATA_DIR", &path), ("KARUTE_CHAT_HISTORY", "true")], BreaksOff);
    app.keep_in(Database::open(&app.settings.database, directory.path()).await.expect("a state"));
    app.serve(Serving::Ready { index: Arc::new(index(CATHETER)), problems: Arc::new([]) });
    let routes = routes::app(app);
    let body = json!({ "message": "久保田さんのカテーテルの交換はいつ", "session_id": "s" });
    let events = events(&ask(&routes, "/chat/stream", body).await.text);
    assert_eq!(events.last().expect("events").1["type"], "error");
    let messages = call(&routes, get("/chat/sessions/s/messages")).await.json();
    assert_eq!(
        (messages["total"].as_i64(), text(&messages["messages"][1]["content"])),
        (Some(2), "次回交換は")
    );
    let id = text(&messages["messages"][1]["id"]).to_owned();
    let kept = call(&routes, get(&format!("/answers/{id}"))).await.json();
    assert!(kept.to_string().contains("broken_off"), "{kept}");
}

/// An answerer whose stream ends in the middle.
struct BreaksOff;

impl Answerer for BreaksOff {
    fn mode(&self) -> &'static str {
        "generated"
    }

    fn model(&self) -> &str {
        "breaks-off"
    }

    fn answer<'a>(&'a self, _: &'a Asked) -> BoxStream<'a, Result<Piece, Failure>> {
        let pieces = [Ok(Piece::Text("次回交換は".into())), Err(Failure::Model("torn".into()))];
        futures_util::stream::iter(pieces).boxed()
    }
}

#[tokio::test]
async fn a_removed_conversation_is_gone_with_its_answers() {
    let server = server(&[]).await;
    let answer = chat(&server, "久保田さんのカテーテルの交換はいつ", Some("s")).await;
    let id = text(&answer["metadata"]["message_id"]).to_owned();
    let remove = || {
        let request = Request::builder().method(Method::DELETE).uri("/chat/sessions/s");
        request.body(Body::empty()).expect("a request")
    };
    assert_eq!(call(&server.routes, remove()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(call(&server.routes, remove()).await.status, StatusCode::NOT_FOUND);
    for path in ["/chat/sessions/s/messages".to_owned(), format!("/answers/{id}")] {
        assert_eq!(call(&server.routes, get(&path)).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in ["/chat/sessions/%00/messages", "/answers/%ff", "/rows/%0a", "/clients/%F0%9F"] {
        assert_eq!(call(&server.routes, get(path)).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn feedback_belongs_to_an_answer() {
    let server = server(&[]).await;
    let answer = chat(&server, "久保田さんのカテーテルの交換はいつ", Some("s")).await;
    let id = text(&answer["metadata"]["message_id"]).to_owned();
    let feedback = json!({
        "session_id": "s", "message_id": id, "rating": 4, "feedback_text": "助かった",
        "suggested_terms": ["尿の管"], "term_feedback": { "バルーン": true },
    });
    let kept = ask(&server.routes, "/feedback", feedback).await;
    assert_eq!((kept.status, kept.json()["status"].clone()), (StatusCode::OK, json!("kept")));
    let messages = call(&server.routes, get("/chat/sessions/s/messages")).await.json();
    assert_eq!(messages["messages"][1]["rating"], 4);
    assert_eq!(messages["messages"][1]["term_feedback"], json!({ "バルーン": true }));
    for (body, status) in [
        (json!({ "message_id": "unknown", "rating": 1 }), StatusCode::NOT_FOUND),
        (json!({ "message_id": id, "rating": 6 }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "message_id": id, "rating": 0 }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "message_id": id }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "rating": 3 }), StatusCode::UNPROCESSABLE_ENTITY),
        (
            json!({ "message_id": id, "rating": 3, "feedback_text": "あ".repeat(1001) }),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            json!({ "message_id": id, "rating": 3, "term_feedback": { "a": 1 } }),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
    ] {
        let answer = ask(&server.routes, "/feedback", body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
    }
}

#[tokio::test]
async fn an_answer_tells_how_it_came_about_and_what_became_of_its_rows() {
    let server = server(&[]).await;
    let answer = chat(&server, "久保田さんのカテーテルの交換はいつ", Some("s")).await;
    let path = format!("/answers/{}", text(&answer["metadata"]["message_id"]));
    let kept = call(&server.routes, get(&path)).await.json();
    assert_eq!(kept["answer"], answer["message"]["content"]);
    assert_eq!(kept["record"]["snapshot_id"], answer["metadata"]["snapshot_id"]);
    let candidates = kept["record"]["candidates"].as_array().expect("candidates");
    assert_eq!(candidates[0]["id"], "kb-1");
    assert!(candidates[0]["score"].is_number() && candidates[0]["rank_by_words"].is_number());
    assert_eq!(kept["record"]["summary"]["model"], "karute-extractive-1");
    assert_eq!((text(&kept["citations"][0]["id"]), text(&kept["citations"][0]["newest"])), ("kb-1", "same"));

    let changed = index("久保田さんの膀胱留置カテーテルの次回交換は10月27日14時。");
    server.app.serve(Serving::Ready { index: Arc::new(changed), problems: Arc::new([]) });
    let kept = call(&server.routes, get(&path)).await.json();
    assert_eq!(text(&kept["citations"][0]["newest"]), "changed");
    let row = call(&server.routes, get("/rows/kb-1")).await.json();
    assert!(text(&row["content"]).contains("27日"));
    assert_eq!((text(&row["origin"]["sheet"]), row["origin"]["row"].as_u64()), ("KnowledgeBase", Some(2)));
    for path in ["/rows/nothing", "/rows/kb-1?snapshot=0000"] {
        assert_eq!(call(&server.routes, get(path)).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn without_a_state_questions_are_answered_and_history_says_that_it_is_off() {
    let app = unready(&[("USE_FIRESTORE_CHAT_HISTORY", "false")], Extractive);
    app.serve(Serving::Ready { index: Arc::new(index(CATHETER)), problems: Arc::new([]) });
    let routes = routes::app(app);
    let answer = ask(&routes, "/chat", json!({ "message": "久保田さんのカテーテルの交換はいつ" })).await;
    assert_eq!(answer.json()["metadata"]["answered"], true);
    for request in [
        get("/chat/sessions"),
        get("/chat/sessions/s/messages"),
        get("/answers/a"),
        post("/feedback", json!({ "message_id": "a", "rating": 1 }).to_string()),
    ] {
        let answer = call(&routes, request).await;
        assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
        assert_eq!(answer.json()["detail"], "Chat history feature is disabled");
    }
}

#[tokio::test]
async fn a_state_that_fails_costs_the_history_and_not_the_answer() {
    let server = server(&[]).await;
    let path = server._directory.path().join("state.sqlite");
    let rival = sqlx::AnyPool::connect(&format!("sqlite://{}", path.display())).await.expect("the file");
    sqlx::query("DROP TABLE exchanges").execute(&rival).await.expect("dropped");
    let answer = chat(&server, "久保田さんのカテーテルの交換はいつ", Some("s")).await;
    assert!(text(&answer["message"]["content"]).contains("10月20日"));
    let degraded = text(&answer["metadata"]["degraded"]);
    assert!(degraded.contains("履歴を読めなかった") && degraded.contains("保存できません"), "{degraded}");
}

#[tokio::test]
async fn clients_come_from_the_records() {
    let server = server(&[]).await;
    let clients = call(&server.routes, get("/clients")).await.json();
    assert_eq!(clients["total"], 2);
    assert_eq!(clients["clients"][0], json!({ "id": "CL-1", "name": "CL-1", "name_kana": "" }));
    let one = call(&server.routes, get("/clients/CL-2")).await.json();
    assert_eq!(one["id"], "CL-2");
    assert_eq!(call(&server.routes, get("/clients/CL-3")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_conversation_is_exported_to_the_chat_history_sheet() {
    let header = karute_sync::layout::CHAT_HISTORY.iter().map(|name| Cell::from(*name)).collect();
    let workbook = Workbook { tabs: vec![Tab::new("ChatHistory", 4, vec![header])] };
    let emulator = Emulator::start(([127, 0, 0, 1], 0).into(), workbook).expect("a port");
    let url = emulator.url();
    let server = server(&[
        ("VECTOR_DB_SPREADSHEET_ID", SPREADSHEET),
        ("KARUTE_GOOGLE_ENDPOINT", &url),
        ("KARUTE_GOOGLE_ANONYMOUS", "true"),
    ])
    .await;
    chat(&server, "久保田さんのカテーテルの交換はいつ", Some("s")).await;
    let exported = ask(&server.routes, "/chat/sessions/s/export", json!({})).await;
    assert_eq!(exported.json(), json!({ "session_id": "s", "rows": 2 }), "{}", exported.text);
    let rows = emulator.workbook().tabs[0].rows.clone();
    assert_eq!(rows.len(), 3);
    for (row, role) in [(&rows[1], "user"), (&rows[2], "assistant")] {
        assert_eq!((&row[0], &row[2]), (&Cell::from("s"), &Cell::from(role)));
    }
    let none = ask(&server.routes, "/chat/sessions/none/export", json!({})).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_export_without_a_spreadsheet_says_so() {
    let server = server(&[]).await;
    chat(&server, "久保田さんのカテーテルの交換はいつ", Some("s")).await;
    let answer = ask(&server.routes, "/chat/sessions/s/export", json!({})).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
}

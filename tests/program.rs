//! Fear: what works in a test does not work as a program: a start that builds again, a stop that hangs, an error that
//! says nothing.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use karute_server::config::{LEGACY, Settings};
use karute_tests::program::{self, Server, emulator, json, text, with_google};
use serde_json::Value;

/// The program with an environment of its own and `home` as working and data directory.
fn karute(home: &Path) -> Command {
    program::command(env!("CARGO_BIN_EXE_karute-under-test"), home)
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    karute(home).args(arguments).output().expect("the program runs")
}

#[test]
fn without_arguments_it_does_the_main_job_and_a_second_start_builds_nothing() {
    let home = home();
    let server = Server::start(karute(home.path()));
    assert!(server.get("/health/ready").starts_with("HTTP/1.1 200"));
    let stream = server.post("/chat/stream", r#"{"message": "久保田さんのバルーンの交換はいつですか"}"#);
    let answered = stream.contains("\"type\":\"done\"") && stream.contains("\"answered\":true");
    assert!(answered && stream.contains("\"type\":\"text\""));
    drop(server);

    let snapshots = home.path().join("karute-data/snapshots");
    let written = |path: &Path| -> Vec<_> {
        let entries = std::fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry"));
        entries
            .map(|entry| (entry.file_name(), entry.metadata().expect("metadata").modified().ok()))
            .collect()
    };
    let before = written(&snapshots);
    assert_eq!(before.len(), 1);
    let server = Server::start(karute(home.path()));
    assert!(server.get("/health").contains("\"status\":\"healthy\""));
    assert_eq!(written(&snapshots), before);
}

#[cfg(unix)]
#[test]
fn it_ends_on_sigterm_and_on_ctrl_c_even_with_a_stalled_client() {
    for signal in ["TERM", "INT"] {
        let home = home();
        let mut server = Server::start(karute(home.path()));
        // A client that never finishes its request.
        let mut stalled = TcpStream::connect(&server.address).expect("connected");
        stalled.write_all(b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n").expect("sent");
        server.signal(signal);
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = server.child.try_wait().expect("a state") {
                break status;
            }
            assert!(asked.elapsed() < Duration::from_secs(15), "SIG{signal}: still running");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "SIG{signal}: {status}");
    }
}

#[test]
fn what_was_said_and_rated_survives_a_kill_and_can_be_replayed() {
    let home = home();
    let server = Server::start(karute(home.path()));
    let body = |answer: String| -> Value {
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).expect("JSON")
    };
    let question = r#"{"message": "久保田さんのバルーンの交換はいつですか", "session_id": "s"}"#;
    let answer = body(server.post("/chat", question));
    let id = answer["metadata"]["message_id"].as_str().expect("an id").to_owned();
    let rated = server.post("/feedback", &format!(r#"{{"message_id": "{id}", "rating": 4}}"#));
    assert!(rated.starts_with("HTTP/1.1 200"), "{rated}");
    // Nothing is closed, flushed or finished.
    drop(server);

    let server = Server::start(karute(home.path()));
    let kept = body(server.get("/chat/sessions/s/messages"));
    assert_eq!(kept["total"], 2);
    assert_eq!(kept["messages"][1]["content"], answer["message"]["content"]);
    assert_eq!(kept["messages"][1]["rating"], 4);
    let replayed = json(&run(home.path(), &["replay", &id, "--json"]));
    assert_eq!(replayed["answer"], answer["message"]["content"]);
    assert_eq!(replayed["difference"]["moved"], serde_json::json!([]), "{replayed}");
    let then = run(home.path(), &["replay", &id, "--then"]);
    assert!(text(&then.stdout).contains("rows at the same rank: 20 of 20"), "{then:?}");
    assert!(!run(home.path(), &["replay", "nothing"]).status.success());
}

#[test]
fn the_verbs_speak_to_people_and_in_json() {
    let home = home();
    let report = json(&run(home.path(), &["sync", "--json"]));
    assert_eq!(report["report"]["records"], 1_200);
    let id = report["snapshot_id"].as_str().expect("an id");
    let hits = json(&run(home.path(), &["search", "インスリン", "--top", "2", "--json"]));
    assert_eq!(hits["results"].as_array().expect("hits").len(), 2);
    assert!(hits["explain"].is_null());
    let explained = json(&run(home.path(), &["search", "インスリン", "--explain", "--json"]));
    let passages = json(&run(home.path(), &["snapshot", "inspect", &id[..8], "--json"]))["passages"].clone();
    assert_eq!(explained["explain"]["plan"]["counters"]["distances"], passages);
    let answer = json(&run(home.path(), &["ask", "久保田さんのバルーンの交換はいつですか", "--json"]));
    assert_eq!(answer["metadata"]["answered"], true);
    let listed = json(&run(home.path(), &["snapshot", "list", "--json"]));
    assert_eq!(listed[0]["id"], id);
    assert_eq!(listed[0]["current"], true);
    let inspected = json(&run(home.path(), &["snapshot", "inspect", &id[..8], "--json"]));
    assert_eq!(inspected["identity"]["model"], "karute-lexical-1");
    let verified = json(&run(home.path(), &["snapshot", "verify", "--json"]));
    assert_eq!(verified["id"], id);

    for (arguments, expected) in [
        (&["sync"][..], "quarantined"),
        (&["search", "インスリン"], "KnowledgeBase"),
        (&["ask", "久保田さんのバルーンの交換はいつですか"], "（2026-"),
        (&["ask", "今夜の東京の天気"], "見つかりませんでした"),
        (&["snapshot", "list"], "karute-sample.xlsx"),
        (&["snapshot", "inspect"], "karute-lexical-1"),
        (&["snapshot", "verify"], "is sound"),
        (&["snapshot", "verify", "--recall"], "recall measured again"),
        (&["search", "インスリン", "--exact", "--explain"], "rows compared by their codes"),
        (&["config"], "KARUTE_DATA_DIR"),
        (&["--help"], "snapshot"),
    ] {
        let output = run(home.path(), arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains(expected), "{arguments:?}: {}", text(&output.stdout));
    }
}

#[test]
fn bad_input_ends_with_one_clear_sentence_and_loses_nothing() {
    let home = home();
    json(&run(home.path(), &["sync", "--json"]));
    let busy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = busy.local_addr().expect("an address").port().to_string();
    std::fs::write(home.path().join("a-file"), "x").expect("written");
    std::fs::write(home.path().join("empty.xlsx"), "").expect("written");
    for (name, value, arguments, code, expected) in [
        ("KARUTE_WORKBOOK", "missing.xlsx", &["sync"][..], 1, "missing.xlsx"),
        ("KARUTE_WORKBOOK", "missing.xlsx", &["serve"], 1, "missing.xlsx"),
        ("KARUTE_WORKBOOK", "empty.xlsx", &["sync"], 1, "empty.xlsx"),
        ("KARUTE_DATA_DIR", "a-file/data", &["sync"], 1, "a-file/data"),
        ("PORT", port.as_str(), &["serve"], 1, "Set PORT"),
        ("PORT", "eighty", &["serve"], 2, "PORT"),
        ("VECTOR_DB_SHEETS", "{\"knowledge_base\": 1}", &["sync"], 2, "VECTOR_DB_SHEETS"),
        ("LOG_LEVEL", "INFO", &["snapshot", "inspect", "ffff"], 1, "ffff"),
        ("LOG_LEVEL", "INFO", &["search"], 2, "QUESTION"),
    ] {
        let mut command = karute(home.path());
        let output =
            command.env("PORT", "0").env(name, value).args(arguments).output().expect("the program runs");
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{name}={value}: {error}");
        assert!(error.contains(expected), "{name}={value}: {error}");
        assert!(!error.contains("panicked"), "{error}");
    }
    json(&run(home.path(), &["snapshot", "verify", "--json"]));
}

#[test]
fn nothing_but_a_sync_takes_the_place_of_real_records_or_undoes_a_rollback() {
    let home = home();
    let book = home.path().join("book");
    std::fs::create_dir(&book).expect("created");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sync/sample/karute-sample");
    for name in ["KnowledgeBase.csv", "Embeddings.csv", "MedicalTerms.csv"] {
        let text = std::fs::read_to_string(folder.join(name)).expect("read");
        let rows: Vec<&str> = text.lines().take(60).collect();
        std::fs::write(book.join(name), rows.join("\n")).expect("written");
    }
    let with_book = |arguments: &[&str]| {
        karute(home.path()).env("KARUTE_WORKBOOK", "book").args(arguments).output().expect("the program runs")
    };
    let first = json(&with_book(&["sync", "--json"]))["snapshot_id"].clone();
    // The variable is forgotten: the sample must not take the place of the records.
    assert_eq!(json(&run(home.path(), &["search", "体温", "--json"]))["snapshot_id"], first);

    let text = std::fs::read_to_string(book.join("KnowledgeBase.csv")).expect("read");
    let (kept, _last) = text.rsplit_once('\n').expect("many rows");
    std::fs::write(book.join("KnowledgeBase.csv"), kept).expect("written");
    let second = json(&with_book(&["sync", "--json"]))["snapshot_id"].clone();
    assert_ne!(first, second);
    assert_eq!(json(&with_book(&["snapshot", "rollback", "--json"]))["snapshot_id"], first);
    assert_eq!(json(&with_book(&["search", "体温", "--json"]))["snapshot_id"], first, "a rollback holds");
    assert_eq!(json(&with_book(&["sync", "--json"]))["snapshot_id"], second, "until somebody syncs");
}

#[test]
fn every_variable_of_the_replaced_system_is_honoured_or_answered_by_one_warning() {
    let home = home();
    for variable in VARIABLES {
        let (name, value) = variable.split_once('=').expect("a name and a value");
        std::fs::write(home.path().join(".env"), format!("{name}={value}\n")).expect("written");
        let shown = json(&run(home.path(), &["config", "--json"]));
        let setting = shown["settings"].as_array().expect("settings").iter().find(|setting| {
            setting["name"] == name
                || setting["aliases"].as_array().expect("aliases").iter().any(|alias| alias == name)
        });
        let warnings = shown["warnings"].as_array().expect("warnings");
        match setting {
            Some(setting) => {
                assert_eq!(setting["from"], ".env", "{name}");
                assert!(warnings.is_empty(), "{name}: {warnings:?}");
            }
            None => {
                assert_eq!(warnings.len(), 1, "{name}: {warnings:?}");
                let warning = warnings[0].as_str().expect("a text");
                assert!(warning.starts_with(name) && warning.len() > name.len() + 10, "{warning}");
                assert!(!warning.contains("s3cret"), "{warning}");
            }
        }
    }
    let covered = |legacy: &karute_server::config::Legacy| {
        VARIABLES.iter().any(|variable| legacy.matches(variable.split('=').next().unwrap_or_default()))
    };
    let uncovered: Vec<_> = LEGACY.iter().filter(|legacy| !covered(legacy)).collect();
    assert!(uncovered.is_empty(), "no variable of the table is answered by {uncovered:?}");
}

#[test]
fn the_example_of_settings_is_the_one_that_the_program_prints() {
    let printed = text(&run(home().path(), &["config", "--example"]).stdout);
    let kept = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/.env.example"));
    assert!(kept.expect("deploy/.env.example") == printed, "karute config --example > deploy/.env.example");
    let lines: String = printed
        .lines()
        .map(|line| {
            format!("{}\n", line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(""))
        })
        .collect();
    let home = home();
    std::fs::write(home.path().join(".env"), lines).expect("written");
    let shown = json(&run(home.path(), &["config", "--json"]));
    assert_eq!(shown["warnings"], serde_json::json!([]));
    let values = |shown: &Value| -> Vec<Value> {
        shown["settings"]
            .as_array()
            .expect("settings")
            .iter()
            .map(|setting| setting["value"].clone())
            .collect()
    };
    let bare = json(&run(tempfile::tempdir().expect("a directory").path(), &["config", "--json"]));
    assert_eq!(values(&shown), values(&bare), "every line is the default");
}

#[test]
fn preflight_tells_what_is_wrong_and_production_does_not_start_with_it() {
    let home = home();
    let run = |given: &[(&str, &str)], arguments: &[&str]| {
        karute(home.path()).envs(given.iter().copied()).args(arguments).output().expect("the program runs")
    };
    let nothing = run(&[], &["preflight", "--json"]);
    assert_eq!(nothing.status.code(), Some(14), "there is no snapshot yet");
    assert!(karute(home.path()).args(["search", "体温"]).output().expect("runs").status.success());
    assert_eq!(run(&[], &["preflight"]).status.code(), Some(0));
    let open =
        [("ENVIRONMENT", "production"), ("LOG_LEVEL", "DEBUG"), ("K_SERVICE", "karute"), ("PORT", "0")];
    let failed = run(&open, &["preflight", "--offline", "--json"]);
    let told: Value = serde_json::from_slice(&failed.stdout).expect("JSON");
    assert_eq!((failed.status.code(), told["failed"].as_u64()), (Some(14), Some(2)));
    let refused = run(&open, &[]);
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(
        said.contains("log level") && said.contains("state store") && said.contains("DATABASE_URL"),
        "{said}"
    );
}

#[test]
fn completions_and_man_pages_are_written_for_every_verb() {
    let home = home();
    assert!(run(home.path(), &["generate", "."]).status.success());
    for name in
        ["karute.bash", "_karute", "karute.fish", "karute.1", "karute-forget.1", "karute-audit-verify.1"]
    {
        assert!(home.path().join(name).is_file(), "{name}");
    }
}

#[test]
fn a_whole_env_file_of_the_replaced_system_starts_the_server() {
    let home = home();
    std::fs::write(home.path().join(".env"), VARIABLES.join("\n")).expect("written");
    let output = run(home.path(), &["config", "--json"]);
    assert!(!text(&output.stdout).contains("s3cret") && !text(&output.stderr).contains("s3cret"));
    let shown = json(&output);
    let honoured = VARIABLES.iter().filter(|variable| {
        let name = variable.split('=').next().unwrap_or_default();
        Settings::ALL.iter().any(|setting| setting.name == name || setting.aliases.contains(&name))
    });
    assert_eq!(shown["warnings"].as_array().expect("warnings").len(), VARIABLES.len() - honoured.count());
    let emulator = emulator();
    let mut command = with_google(karute(home.path()), &emulator);
    command.env("KARUTE_EMBEDDER", "lexical");
    let server = Server::start(command);
    assert!(server.get("/health/live").starts_with("HTTP/1.1 200"));
    let nobody = server.get("/clients");
    assert!(nobody.starts_with("HTTP/1.1 401") && !nobody.contains("CL-"), "{nobody}");
}

/// Every variable that the replaced system had, with a value that it took.
const VARIABLES: &[&str] = &[
    "ENVIRONMENT=production",
    "DEBUG=false",
    "LOG_LEVEL=INFO",
    "APP_NAME=RAG Medical Assistant API",
    "APP_VERSION=1.0.0",
    "APP_DESCRIPTION=assistant",
    "ADMIN_API_KEY=s3cret-s3cret-s3cret-s3cret-s3cret-s3cret",
    "ENABLE_ADMIN_ENDPOINTS=true",
    "HOST=0.0.0.0",
    "PORT=8000",
    "RELOAD=false",
    "CORS_ORIGINS=[\"http://localhost:3000\", \"https://app.example\"]",
    "ALLOWED_ORIGINS=https://app.example",
    "CORS_CREDENTIALS=true",
    "CORS_METHODS=[\"*\"]",
    "CORS_HEADERS='[\"*\"]'",
    "GCP_PROJECT_ID=my-project",
    "GCP_LOCATION=us-central1",
    "GCP_PROJECT_NUMBER=123456789",
    "VECTOR_DB_SPREADSHEET_ID=emulated-spreadsheet-0001",
    "VECTOR_DB_SHEETS={\"knowledge_base\":\"KnowledgeBase\",\"embeddings\":\"Embeddings\",\"medical_terms\":\"MedicalTerms\",\"chat_history\":\"ChatHistory\"}",
    "VERTEX_AI_EMBEDDINGS_MODEL=gemini-embedding-001",
    "VERTEX_AI_EMBEDDINGS_DIMENSION=3072",
    "VERTEX_AI_EMBEDDINGS_TASK_TYPE=RETRIEVAL_DOCUMENT",
    "VERTEX_AI_GENERATION_MODEL=gemini-2.5-flash",
    "VERTEX_AI_GENERATION_TEMPERATURE=0.3",
    "VERTEX_AI_GENERATION_MAX_OUTPUT_TOKENS=2048",
    "VERTEX_AI_GENERATION_TOP_P=0.95",
    "VERTEX_AI_GENERATION_TOP_K=40",
    "VERTEX_AI_ENABLE_THINKING=true",
    "VERTEX_AI_THINKING_BUDGET=-1",
    "VERTEX_AI_INCLUDE_THOUGHTS=false",
    "RERANKER_TYPE=vertex_ai_ranking_api",
    "RERANKER_MODEL=semantic-ranker-default-004",
    "RERANKER_TOP_N=10",
    "SEARCH_BM25_TOP_K=500",
    "SEARCH_DENSE_TOP_K=50",
    "SEARCH_FINAL_TOP_K=10",
    "SEARCH_BM25_WEIGHT=0.3",
    "SEARCH_DENSE_WEIGHT=0.7",
    "MEDICAL_TERMS_MAX_SYNONYMS=10",
    "MEDICAL_TERMS_CACHE_TTL=3600",
    "CHAT_MAX_HISTORY=10",
    "CHAT_CONTEXT_WINDOW=5",
    "CHAT_STREAMING_ENABLED=true",
    "BATCH_SIZE=100",
    "MAX_CONCURRENT_REQUESTS=10",
    "REQUEST_TIMEOUT=30",
    "CACHE_ENABLED=true",
    "CACHE_EMBEDDINGS_TTL=86400",
    "CACHE_VECTOR_DB_TTL=3600",
    "CACHE_CLEANUP_INTERVAL=600",
    "CACHE_MAX_SIZE=1000",
    "CACHE_DEFAULT_TTL=3600",
    "CACHE_SEARCH_RESULTS_TTL=1800",
    "ENABLE_CLOUD_LOGGING=true",
    "ENABLE_CLOUD_MONITORING=true",
    "METRICS_EXPORT_INTERVAL=60",
    "FIREBASE_ADMIN_CREDENTIALS_PATH=key.json",
    "FIREBASE_ADMIN_CREDENTIALS_JSON={\"type\": \"service_account\", \"private_key\": \"s3cret\"}",
    "REQUIRE_AUTHENTICATION=true",
    "USE_FIRESTORE_CHAT_HISTORY=true",
    "LANGCHAIN_TRACING_V2=false",
    "LANGCHAIN_ENDPOINT=https://api.smith.langchain.com",
    "LANGCHAIN_API_KEY=s3cret",
    "LANGCHAIN_PROJECT=RAG-Medical-Assistant",
    "LANGSMITH_SAMPLING_RATE=1.0",
    "USE_FIRESTORE_VECTOR_SEARCH=false",
    "FIRESTORE_VECTOR_COLLECTION=knowledge_base",
    "FIRESTORE_VECTOR_FIELD=embedding",
    "FIRESTORE_VECTOR_DISTANCE_MEASURE=COSINE",
    "FIRESTORE_VECTOR_MAX_RESULTS=1000",
    "MYSQL_HOST=10.0.0.1",
    "MYSQL_PASSWORD=s3cret",
    "USE_RAG_ENGINE_V3=false",
    "PROMPT_OPTIMIZER_ENABLED=true",
    "PROMPT_OPTIMIZER_MODEL=gemini-2.5-flash-lite",
    "PROMPT_OPTIMIZER_TEMPERATURE=0.2",
    "PROMPT_OPTIMIZER_MAX_OUTPUT_TOKENS=200",
    "PROMPT_OPTIMIZER_CACHE_TTL=3600",
    "V3_VECTOR_SEARCH_LIMIT=100",
    "V3_RERANK_TOP_N=20",
    "BASE_URL=http://localhost:8000",
    "EMBEDDING_MODEL=gemini-embedding-001",
    "GEMINI_MODEL=gemini-2.5-flash",
    "GOOGLE_APPLICATION_CREDENTIALS=key.json",
    "NEXT_PUBLIC_API_URL=http://localhost:8000",
];

#[test]
fn retrieval_is_measured_on_judged_questions_and_held_against_an_earlier_run() {
    let home = home();
    let questions = [
        r#"{"question": "江口さんの酸素流量は何Lですか", "relevant": {"KB_nursing_20260930_00993": 2}}"#,
        r#"{"question": "久保田さんの血液型は何ですか", "unanswerable": true}"#,
        "",
    ];
    std::fs::write(home.path().join("q.jsonl"), questions.join("\n")).expect("written");
    let found = json(&run(home.path(), &["eval", "q.jsonl", "--json"]));
    assert_eq!((&found["answerable"], &found["unanswerable"]), (&1.into(), &1.into()));
    assert_eq!(found["refusals"]["f1"], 1.0);
    assert_eq!(found["arms"]["ranked"]["recall_5"], 1.0, "{found}");
    for arm in ["vectors", "words", "mixed"] {
        assert!(found["arms"][arm]["ndcg_10"].as_f64().expect("a number") > 0.0, "{arm}");
    }
    std::fs::write(home.path().join("before.json"), found.to_string()).expect("written");
    let same = run(home.path(), &["eval", "q.jsonl", "--against", "before.json"]);
    assert!(same.status.success() && text(&same.stdout).contains("+0.0000"), "{}", text(&same.stdout));
    let better = found.to_string().replace("\"f1\":1.0", "\"f1\":1.5");
    std::fs::write(home.path().join("before.json"), better).expect("written");
    assert_eq!(run(home.path(), &["eval", "q.jsonl", "--against", "before.json"]).status.code(), Some(1));
    for wrong in ["{", "{\"question\": \"x\"}", "{\"question\": \"x\", \"relevent\": []}"] {
        std::fs::write(home.path().join("q.jsonl"), wrong).expect("written");
        let refused = run(home.path(), &["eval", "q.jsonl"]);
        assert!(text(&refused.stderr).contains("line 1 of q.jsonl"), "{}", text(&refused.stderr));
    }
}

//! Fear: what somebody asked, or what a record says, turns up in a log, a metric or an error; a request that nobody
//! foresaw brings the server down.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use karute_tests::files::{below, holds};
use karute_tests::program::{self, Server, json, text};
use proptest::prelude::*;
use serde_json::{Value, json as object};

fn karute(home: &Path) -> Command {
    program::command(env!("CARGO_BIN_EXE_karute-under-test"), home)
}

/// A word of a record of the sample that stands nowhere else.
const RECORD: &str = "膀胱留置カテーテル";

#[test]
fn no_log_metric_or_error_holds_what_was_asked_or_what_a_record_says() {
    for cloud in ["false", "true"] {
        let home = tempfile::tempdir().expect("a directory");
        let log = home.path().join("log");
        let mut command = karute(home.path());
        command.env("ENABLE_CLOUD_LOGGING", cloud).env("ADMIN_API_KEY", "canary-admin-key-of-many");
        command
            .env("KARUTE_OPENAI_KEY", "canary-openai-key")
            .env("KARUTE_AUDIT_KEY", "canary-audit-key-of-many");
        let server = Server::logging(command, std::fs::File::create(&log).expect("a file"));
        let mut told = Vec::new();
        for (path, body) in [
            (
                "/search",
                object!({ "query": format!("canary-query {RECORD}"), "client_id": "canary-client", "domain": "canary-domain" }),
            ),
            (
                "/chat",
                object!({ "message": format!("canary-message {RECORD}の交換"), "session_id": "canary-session", "user_id": "canary-user" }),
            ),
            (
                "/chat/stream",
                object!({ "message": "久保田さんのcanary-stream", "session_id": "canary-session" }),
            ),
            ("/v1/chat/completions", object!({ "messages": [{ "role": "user", "content": "canary-v1" }] })),
            ("/v1/embeddings", object!({ "input": "canary-input", "model": "canary-model" })),
            (
                "/feedback",
                object!({ "message_id": "canary-id", "rating": 9, "feedback_text": "canary-feedback" }),
            ),
            ("/terms/suggest", object!({ "query": "canary-term" })),
            (
                "/terms/confirm",
                object!({ "confirmations": [{ "original": "canary-original", "canonical": 3 }] }),
            ),
            ("/search", object!({ "query": 7, "canary-field": "canary-value" })),
            ("/chat", object!({ "message": "x".repeat(3000) + "canary-long" })),
        ] {
            let headers = "X-Request-Id: canary-request-id\r\nUser-Agent: canary-agent\r\nAuthorization: Bearer canary-token\r\nX-API-Key: canary-wrong-key\r\ntraceparent: canary-trace\r\ntracestate: house=canary-state\r\nbaggage: who=canary-baggage\r\nX-Cloud-Trace-Context: canary/1;o=1\r\nCookie: canary-cookie\r\n";
            let answer = server.post_with(path, headers, &body.to_string());
            // An answer shows what it is for; a failure must show nothing.
            if !answer.starts_with("HTTP/1.1 200") {
                told.push((format!("the failure of {path}"), answer.into_bytes()));
            }
        }
        for path in [
            "/canary-path?canary-parameter=canary",
            "/clients/canary-client",
            "/rows/canary-row?snapshot=canary",
            "/answers/canary-answer",
            "/chat/sessions/canary-session/export",
            "/health/cache/info?namespace=canary",
            "/health",
            "/health/cache/metrics",
            "/metrics",
        ] {
            told.push((format!("the answer of {path}"), server.get(path).into_bytes()));
        }
        told.push((
            "a broken request".into(),
            server.post("/search", "{\"query\": \"canary-broken").into_bytes(),
        ));
        told.push((
            "no request".into(),
            server.request("GET /canary HTTP/9.9\r\ncanary-header\r\n\r\n").into_bytes(),
        ));
        server.signal("TERM");
        drop(server);
        let log = std::fs::read(&log).expect("the log");
        assert!(text(&log).lines().count() > 15, "the log must say something, or the test shows nothing");
        if cloud == "true" {
            for line in text(&log).lines() {
                let line: Value = serde_json::from_str(line).expect("each line is JSON");
                assert!(
                    line["severity"].is_string() && line["time"].is_string() && line["message"].is_string(),
                    "{line}"
                );
            }
        }
        told.push(("the log".into(), log));
        // What is kept for its owner is in the database, and records are in snapshots; no other file may hold either.
        for (path, bytes) in below(home.path()) {
            if !path.contains("/state.sqlite") && !path.contains("/snapshots/") && !path.ends_with("/log") {
                told.push((path, bytes));
            }
        }
        assert!(told.len() > 15);
        for (place, bytes) in &told {
            for word in ["canary", RECORD, "久保田"] {
                assert!(!holds(bytes, word), "{place} holds {word}: {}", String::from_utf8_lossy(bytes));
            }
        }
    }
}

#[test]
fn three_servers_over_one_database_share_one_budget_and_one_of_them_is_killed() {
    use karute_server::money::{Money, day};
    use karute_tests::google::workbook::Workbook;
    use karute_tests::google::{Effect, Emulator};
    use karute_tests::{homes, http, small};
    use time::OffsetDateTime;
    const YEN: &str = "12";
    let mut databases = vec![String::new()];
    if let Ok(server) = std::env::var("KARUTE_TEST_DATABASE_URL") {
        databases.push(small::block_on(homes::fresh_database(&server)));
    }
    for database in databases {
        let home = tempfile::tempdir().expect("a directory");
        let emulator = Emulator::start(([127, 0, 0, 1], 0).into(), Workbook::default()).expect("a port");
        emulator.plan(10_000, |_| Some(Effect::Slow(Duration::from_millis(5))));
        assert!(karute(home.path()).args(["search", "体温"]).output().expect("runs").status.success());
        let start = || {
            let mut command = karute(home.path());
            command.env("KARUTE_GOOGLE_ENDPOINT", emulator.url()).env("KARUTE_GOOGLE_ANONYMOUS", "true");
            command
                .env("KARUTE_ANSWERERS", "vertex")
                .env("GCP_PROJECT_ID", "p")
                .env("KARUTE_YEN_PER_DAY", YEN);
            command.env("DATABASE_URL", &database);
            Server::start(command)
        };
        let mut servers = [start(), start(), start()];
        let body = r#"{"message": "久保田さんのバルーンの交換はいつですか"}"#;
        let length = body.len();
        let request = format!(
            "POST /chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        std::thread::scope(|scope| {
            for number in 0..36 {
                let (address, request) = (servers[number % 3].address.clone(), &request);
                scope.spawn(move || {
                    for _ in 0..4 {
                        // One of the servers is killed meanwhile.
                        let Ok(mut stream) = TcpStream::connect(&address) else { return };
                        let mut answer = String::new();
                        let _ = stream.write_all(request.as_bytes());
                        let _ = stream.read_to_string(&mut answer);
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(700));
            servers[0].signal("KILL");
        });
        servers.iter_mut().for_each(|server| server.signal("TERM"));
        drop(servers);
        small::block_on(async {
            let directory = home.path().join("karute-data");
            let state = homes::open(&database, &directory).await.expect("the state");
            let (now, money) = (OffsetDateTime::now_utc(), Money::new(&http::settings(&[])));
            let later = now + time::Duration::days(1);
            state.presume(later, later, |day, owner| money.limits_of(day, owner)).await.expect("presumed");
            let lines = state.lines().await.expect("the ledger");
            let total: i64 = lines.iter().map(|line| line.total_cost).sum();
            let days: Vec<String> = [now, now - time::Duration::minutes(5)].map(day).into();
            let mut spent = 0;
            for day in days.iter().collect::<std::collections::BTreeSet<_>>() {
                spent += state.spent(&format!("day {day}")).await.expect("spent").0;
            }
            assert_eq!(total, spent, "the ledger and the limit agree");
            assert!(total <= 12_000_000, "{total}");
            assert!(total > 6_000_000, "most of it is used, or the test shows nothing: {total}");
            let labels = emulator.labels();
            let once: std::collections::HashSet<&String> = labels.iter().collect();
            assert_eq!(once.len(), labels.len(), "nothing is asked twice for one line");
            for label in &labels {
                assert!(
                    lines.iter().any(|line| line.id == *label && line.total_cost > 0),
                    "an answer is not billed"
                );
            }
        });
    }
}

#[test]
fn whoever_does_not_read_gives_his_place_up_and_each_line_of_a_request_is_joined_to_its_trace() {
    let home = tempfile::tempdir().expect("a directory");
    let log = home.path().join("log");
    let mut command = karute(home.path());
    command
        .env("KARUTE_MAX_CONNECTIONS", "8")
        .env("ENABLE_CLOUD_LOGGING", "true")
        .env("GCP_PROJECT_ID", "house");
    let server = Server::logging(command, std::fs::File::create(&log).expect("a file"));
    let mut deaf = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(&server.address).expect("connected");
        let many = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(600);
        stream.set_write_timeout(Some(Duration::from_secs(2))).expect("a timeout");
        // The server stops reading from whoever does not read.
        let _ = stream.write_all(many.as_bytes());
        deaf.push(stream);
    }
    let began = Instant::now();
    let answer = server.request("GET /clients HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Cloud-Trace-Context: 4bf92f3577b34da6a3ce929d0e0e4736/1;o=1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(60));
    drop(server);
    let lines = std::fs::read_to_string(&log).expect("the log");
    let line = lines.lines().find(|line| line.contains("/clients\"")).expect("a line for the request");
    let line: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(
        line["logging.googleapis.com/trace"],
        "projects/house/traces/4bf92f3577b34da6a3ce929d0e0e4736"
    );
    assert!(line["request_id"].as_str().is_some_and(|id| !id.is_empty()));
}

#[test]
fn tokens_are_made_listed_and_taken_back_on_the_command_line() {
    let home = tempfile::tempdir().expect("a directory");
    let run = |arguments: &[&str]| karute(home.path()).args(arguments).output().expect("the program runs");
    let mut command = karute(home.path());
    command.env("REQUIRE_AUTHENTICATION", "true");
    let server = Server::start(command);
    assert!(server.get("/clients").starts_with("HTTP/1.1 401"));
    let made = json(&run(&[
        "token",
        "create",
        "--name",
        "a tablet",
        "--role",
        "nurse",
        "--clients",
        "CL-00001",
        "--days",
        "1",
        "--json",
    ]));
    let token = made["token"].as_str().expect("a token").to_owned();
    let with = |path: &str| {
        server.request(&format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
    };
    assert!(with("/clients").starts_with("HTTP/1.1 200"));
    assert!(with("/admin/costs").starts_with("HTTP/1.1 403"), "{}", with("/admin/costs"));
    let listed = run(&["token", "list"]);
    assert!(text(&listed.stdout).contains("a tablet") && !text(&listed.stdout).contains(&token));
    for (path, bytes) in below(home.path()) {
        assert!(!holds(&bytes, &token), "{path} holds the token");
    }
    let id = token.split('_').nth(1).expect("an id");
    assert!(run(&["token", "revoke", id]).status.success());
    assert!(with("/clients").starts_with("HTTP/1.1 401"), "at once");
    assert!(!run(&["token", "revoke", id]).status.success());
    for wrong in [
        &["token", "create", "--name", "x", "--role", "chief"][..],
        &["token", "create", "--name", "x", "--role", "nurse", "--scopes", "all"],
    ] {
        assert_eq!(run(wrong).status.code(), Some(2));
    }
    let key = text(&run(&["keygen"]).stdout);
    assert!(key.trim().len() >= 43 && key != text(&run(&["keygen"]).stdout));
    let nothing = text(&run(&["privacy"]).stdout);
    assert_eq!(nothing.trim(), "Nothing leaves this machine.");
    let mut cloud = karute(home.path());
    cloud.env("VECTOR_DB_SPREADSHEET_ID", "a-spreadsheet").env("GCP_PROJECT_ID", "p").args(["privacy"]);
    let leaving = text(&cloud.output().expect("the program runs").stdout);
    assert!(leaving.contains("asia-northeast1") && leaving.contains("gemini-3.5-flash-lite"), "{leaving}");
}

/// Sends bytes and reads the answer's status; `None` for a connection that was just closed.
fn raw(server: &Server, bytes: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(&server.address).expect("the server is there");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    // It may hang up before it has read all of it.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let line = String::from_utf8_lossy(&answer);
    line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// Requests that nobody foresaw: sound ones with something wrong in them, and bytes.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let method =
        prop_oneof![Just("GET"), Just("POST"), Just("DELETE"), Just("PUT"), Just("TRACE"), Just("X")];
    let path = prop_oneof![
        Just("/search".to_owned()),
        Just("/chat".to_owned()),
        Just("/chat/stream".to_owned()),
        Just("/v1/embeddings".to_owned()),
        Just("/chat/sessions/%00".to_owned()),
        Just("/rows/%ff%fe".to_owned()),
        Just("/rows/..%2f..%2fetc".to_owned()),
        Just("//".to_owned()),
        Just("/clients/".to_owned() + &"a".repeat(2000)),
        Just("*".to_owned()),
        Just("http://x/".to_owned()),
        "/[ -~]{0,40}",
    ];
    let headers = prop_oneof![
        Just("Content-Length: 99999999999999999999\r\n".to_owned()),
        Just("Content-Length: 5\r\nContent-Length: 6\r\n".to_owned()),
        Just("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n".to_owned()),
        Just("Transfer-Encoding: chunked\r\n".to_owned()),
        Just("Transfer-Encoding: xchunked\r\n".to_owned()),
        Just("Expect: 100-continue\r\n".to_owned()),
        Just("Authorization: Bearer \r\n".to_owned()),
        Just("X-API-Key: \u{e9}\r\n".to_owned()),
        Just("traceparent: 00-zz-zz-zz\r\nX-Cloud-Trace-Context: x/-1;o=9\r\n".to_owned()),
        Just(format!("X-Long: {}\r\n", "a".repeat(100_000))),
        Just("A: b\r\n".repeat(500)),
        "[ -~]{0,30}\r\n",
    ];
    let deep = "[".repeat(5000);
    let body = prop_oneof![
        Just(Vec::new()),
        Just(deep.into_bytes()),
        Just("{\"query\":".repeat(300).into_bytes()),
        Just(b"{\"query\": \"\\ud800\"}".to_vec()),
        Just(b"{\"query\": \"\xff\xfe\"}".to_vec()),
        Just(b"{\"query\": \"a\", \"query\": 1, \"top_k\": 1e999}".to_vec()),
        Just(b"{\"message\": \"a\", \"context_size\": -0.0, \"session_id\": \"..\"}".to_vec()),
        Just(b"ffffffffffffffff\r\nx\r\n0\r\n\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..300),
    ];
    let sound = (method, path, headers, body, any::<bool>()).prop_map(|(method, path, headers, body, counted)| {
        let length = if counted { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
        let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n{length}{headers}\r\n").into_bytes();
        bytes.extend(body);
        bytes
    });
    prop_oneof![9 => sound, 1 => prop::collection::vec(any::<u8>(), 0..500)]
}

#[test]
fn whatever_comes_in_no_request_is_a_fault_of_the_server() {
    let home = tempfile::tempdir().expect("a directory");
    let log = home.path().join("log");
    let server = Server::logging(karute(home.path()), std::fs::File::create(&log).expect("a file"));
    let count: u32 =
        std::env::var("KARUTE_HOSTILE").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000);
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: count, ..ProptestConfig::default() });
    let answered = std::cell::Cell::new(0);
    runner
        .run(&hostile(), |bytes| {
            if let Some(status) = raw(&server, &bytes) {
                answered.set(answered.get() + 1);
                prop_assert!(status < 500, "{} for {:?}", status, String::from_utf8_lossy(&bytes));
            }
            Ok(())
        })
        .expect("no request is a fault of the server");
    assert!(
        answered.get() > count / 3,
        "most must be answered, or the test shows nothing: {}",
        answered.get()
    );
    assert!(server.get("/health").starts_with("HTTP/1.1 200"));
    let log = std::fs::read_to_string(&log).expect("the log");
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}

#[test]
fn who_sends_slowly_or_nothing_keeps_nobody_else_waiting_and_is_sent_away() {
    let home = tempfile::tempdir().expect("a directory");
    let server = Server::start(karute(home.path()));
    let mut idle = Vec::new();
    for number in 0..800 {
        let mut stream = TcpStream::connect(&server.address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(40))).expect("a timeout");
        let sent = match number % 2 {
            0 => "",
            _ => "POST /search HTTP/1.1\r\nHost: x\r\nX-A",
        };
        stream.write_all(sent.as_bytes()).expect("sent");
        idle.push(stream);
    }
    for _ in 0..5 {
        assert!(server.get("/health/ready").starts_with("HTTP/1.1 200"));
        assert!(server.post("/search", r#"{"query": "体温"}"#).starts_with("HTTP/1.1 200"));
    }
    // A head that does not end is waited for 20 seconds.
    let mut rest = String::new();
    let ended = idle[1].read_to_string(&mut rest);
    assert!(ended.is_ok() && !rest.contains(" 200 "), "{ended:?} {rest}");
}

#[test]
fn an_answer_that_is_under_way_when_the_program_must_end_ends_with_a_word_that_says_so() {
    use karute_tests::google::workbook::Workbook;
    use karute_tests::google::{Effect, Emulator};
    let home = tempfile::tempdir().expect("a directory");
    let emulator = Emulator::start(([127, 0, 0, 1], 0).into(), Workbook::default()).expect("a port");
    emulator.fault("POST", "streamGenerateContent", 9, Effect::Wait(Duration::from_secs(60)));
    let mut command = karute(home.path());
    command.env("KARUTE_GOOGLE_ENDPOINT", emulator.url()).env("KARUTE_GOOGLE_ANONYMOUS", "true");
    command.env("KARUTE_ANSWERERS", "vertex").env("GCP_PROJECT_ID", "p");
    let mut server = Server::logging(command, Stdio::null());
    let body = r#"{"message": "久保田さんのバルーンの交換はいつですか"}"#;
    let length = body.len();
    let mut asked = ["/chat/stream", "/chat"].map(|path| {
        let mut stream = TcpStream::connect(&server.address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        stream.write_all(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes()).expect("sent");
        stream
    });
    let mut first = [0; 256];
    assert!(asked[0].read(&mut first).expect("an event") > 0);
    // The other was sent at the same time and waits for the same model.
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    server.signal("TERM");
    let [streamed, whole] = asked.each_mut().map(|stream| {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("the rest");
        rest
    });
    assert!(streamed.contains("\"code\":\"ending\"") && streamed.contains("event: error"), "{streamed}");
    let whole = whole.to_lowercase();
    assert!(whole.starts_with("http/1.1 503") && whole.contains("retry-after:"), "{whole}");
    assert!(server.child.wait().expect("ended").success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

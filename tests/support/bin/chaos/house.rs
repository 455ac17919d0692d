//! The program with its snapshots, callers and model, and how it is talked to.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use karute_engine::{Draft, Guard, Passage, Provenance, Row, SnapshotId, Store};
use karute_server::access::role::Role;
use karute_server::config::Secret;
use karute_server::state::{Allowed, Database};
use karute_sync::embed::Embedder;
use karute_sync::lexical::Lexical;
use karute_tests::google::Emulator;
use karute_tests::google::workbook::Workbook;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const CLIENTS: usize = 8;
/// Rows, unless the command line says how many.
pub(crate) const ROWS: usize = 3_200;
/// What a request may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) fn canary(client: usize) -> String {
    format!("canary{}", ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"][client])
}

pub(crate) fn family(client: usize) -> &'static str {
    ["青木", "石渡", "上原", "江口", "奥寺", "柏木", "木暮", "久保田"][client]
}

/// A snapshot of all clients; `edition` makes it another one.
fn publish(store: &Store, edition: usize, rows: usize) -> SnapshotId {
    let lexical = Lexical::default();
    let mut draft = Draft::new(lexical.identity().clone());
    for client in 0..CLIENTS {
        for number in 0..rows / CLIENTS {
            let (name, canary) = (family(client), canary(client));
            let content = format!(
                "{name}さんの訪問。体温36.{}℃、血圧{}/80。カテーテルの交換は{}日。{canary}。第{edition}版。",
                number % 10,
                110 + number % 30,
                number % 28 + 1
            );
            let vector = lexical.vector(&content).expect("words");
            let row = Row {
                id: format!("r{client}-{number}"),
                client_id: format!("CL-{client}"),
                title: format!("{name} 訪問記録"),
                source_type: "care_record".into(),
                domain: "nursing".into(),
                date: format!("2026-{:02}-{:02}", number % 11 + 1, number % 28 + 1),
                content,
                ..Row::default()
            };
            draft.push(&row, &[Passage::whole(&row, &vector)]).expect("a row");
        }
    }
    store.publish(&draft.finish(Provenance::default()).expect("a draft"), &Guard::open()).expect("published")
}

pub(crate) struct House {
    program: PathBuf,
    pub(crate) home: tempfile::TempDir,
    pub(crate) emulator: Emulator,
    pub(crate) port: u16,
    pub(crate) tokens: Vec<String>,
    pub(crate) snapshots: [SnapshotId; 2],
}

impl House {
    pub(crate) async fn new(program: &str, rows: usize) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let store = Store::open(home.path()).expect("a store");
        let snapshots = [publish(&store, 1, rows), publish(&store, 2, rows)];
        let state = Database::open(&Secret::default(), home.path()).await.expect("a state");
        let now = OffsetDateTime::now_utc();
        let mut tokens = Vec::new();
        for client in 0..CLIENTS {
            let clients = Some(BTreeSet::from([format!("CL-{client}")]));
            let allowed = Allowed { role: Role::Nurse, scopes: None, clients, domains: None, unowned: false };
            tokens.push(
                state
                    .create_token("chaos", &allowed, now, now + time::Duration::days(1))
                    .await
                    .expect("a token"),
            );
        }
        let emulator = Emulator::start(([127, 0, 0, 1], 0).into(), Workbook::default()).expect("a port");
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        Self {
            program: std::fs::canonicalize(program).expect("a program"),
            home,
            emulator,
            port,
            tokens,
            snapshots,
        }
    }

    pub(crate) fn start(&self) -> std::process::Child {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home.path().join("log"))
            .expect("a log");
        Command::new(&self.program)
            .env_clear()
            .current_dir(self.home.path())
            .env("KARUTE_DATA_DIR", self.home.path())
            .env("PORT", self.port.to_string())
            .env("REQUIRE_AUTHENTICATION", "true")
            .env("KARUTE_ANSWERERS", "vertex")
            .env("GCP_PROJECT_ID", "p")
            .env("KARUTE_GOOGLE_ENDPOINT", self.emulator.url())
            .env("KARUTE_GOOGLE_ANONYMOUS", "true")
            .env("KARUTE_CHATS_PER_MINUTE", "0")
            .env("KARUTE_SEARCHES_PER_MINUTE", "0")
            .env("KARUTE_CALLER_CONCURRENCY", "1000")
            .env("KARUTE_YEN_PER_CALLER", "1000000")
            .env("KARUTE_YEN_PER_DAY", "1000000")
            .env("KARUTE_YEN_PER_MONTH", "1000000")
            .env("KARUTE_CALLS_PER_DAY", "100000000")
            .env("KARUTE_CALLS_PER_CALLER", "100000000")
            .env("REQUEST_TIMEOUT", "10")
            .env("STREAM_TIMEOUT", "20")
            // Every question is found and answered anew.
            .env("CACHE_ENABLED", "false")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("started")
    }

    pub(crate) async fn is_ready(&self) {
        let began = Instant::now();
        while !self
            .send("GET", "/health/ready", None, "")
            .await
            .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        {
            assert!(began.elapsed() < Duration::from_secs(60), "it is never ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn send(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Option<String> {
        send(self.port, method, path, token, body).await.map(|(text, _)| text)
    }
}

/// Everything that comes back, and when its body began; `None` if there was no whole connection.
pub(crate) async fn send(
    port: u16,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> Option<(String, Duration)> {
    let began = Instant::now();
    let sending = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n{token}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let (mut bytes, mut buffer, mut first) = (Vec::new(), vec![0; 64 << 10], None);
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) => break,
                Ok(count) => {
                    first.get_or_insert_with(|| began.elapsed());
                    bytes.extend_from_slice(&buffer[..count]);
                }
                Err(_) => break,
            }
        }
        Some((String::from_utf8_lossy(&bytes).into_owned(), first?))
    };
    tokio::time::timeout(PATIENCE, sending).await.ok().flatten()
}

/// Somebody else's word in what one client's caller was shown?
pub(crate) fn cross_talk(text: &str, client: usize) -> bool {
    (0..CLIENTS).any(|other| other != client && text.contains(&canary(other)))
}

/// Resident memory of a process, bytes.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    text.split(' ').nth(1)?.parse::<u64>().ok().map(|pages| pages * 4096)
}

/// Processor time of a process, seconds.
pub(crate) fn processor(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<f64> =
        text.split_whitespace().skip(13).take(2).filter_map(|field| field.parse().ok()).collect();
    fields.iter().sum::<f64>() / 100.0
}

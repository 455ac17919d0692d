//! Load, faults, crashes: the whole program under all of them at once, and what must be true of it afterwards.
//!
//! ```text
//! chaos PROGRAM SECONDS          80 streams and 200 searches a second; 30 % of the model's answers fail for half of the time; a
//!                                snapshot swap each second; a kill -9, a SIGTERM; then ledger, audit and bill are compared
//! chaos PROGRAM load [ROWS]      searches at rising rates until their p99 passes 50 ms; processor time and memory of each
//! ```
//!
//! Exit code 1, with the reason, if anything that must hold does not.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a run that cannot go on should say where, and tells what it found"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use karute_engine::{Draft, Guard, Passage, Provenance, Row, SnapshotId, Store};
use karute_server::access::role::Role;
use karute_server::audit::verify;
use karute_server::config::Secret;
use karute_server::money::Money;
use karute_server::state::{Allowed, Database};
use karute_sync::embed::Embedder;
use karute_sync::lexical::Lexical;
use karute_tests::google::workbook::Workbook;
use karute_tests::google::{Effect, Emulator};
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CLIENTS: usize = 8;
/// Rows, unless the command line says how many.
const ROWS: usize = 3_200;
const STREAMS: usize = 80;
const SEARCHES_PER_SECOND: u64 = 200;
/// What a request may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(40);

fn canary(client: usize) -> String {
    format!("canary{}", ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"][client])
}

fn family(client: usize) -> &'static str {
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

struct House {
    program: PathBuf,
    home: tempfile::TempDir,
    emulator: Emulator,
    port: u16,
    tokens: Vec<String>,
    snapshots: [SnapshotId; 2],
}

impl House {
    async fn new(program: &str, rows: usize) -> Self {
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

    fn start(&self) -> std::process::Child {
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

    async fn is_ready(&self) {
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
async fn send(
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

#[derive(Default)]
struct Seen {
    /// Milliseconds of searches, and until the first byte of streams, by phase.
    searches: BTreeMap<&'static str, Vec<f64>>,
    streams: BTreeMap<&'static str, Vec<f64>>,
    /// Answers whose rows were shown.
    shown: HashSet<String>,
    statuses: BTreeMap<String, usize>,
    ends: BTreeMap<String, usize>,
    searched: usize,
    faults: Vec<String>,
    memory: Vec<u64>,
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted
        .get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

fn told(name: &str, mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let of = |share| percentile(&values, share);
    format!(
        "{name}: {} requests, p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms",
        values.len(),
        of(0.5),
        of(0.95),
        of(0.99)
    )
}

/// Somebody else's word in what one client's caller was shown?
fn cross_talk(text: &str, client: usize) -> bool {
    (0..CLIENTS).any(|other| other != client && text.contains(&canary(other)))
}

/// Resident memory of a process, bytes.
fn resident(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    text.split(' ').nth(1)?.parse::<u64>().ok().map(|pages| pages * 4096)
}

/// Processor time of a process, seconds.
fn processor(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<f64> =
        text.split_whitespace().skip(13).take(2).filter_map(|field| field.parse().ok()).collect();
    fields.iter().sum::<f64>() / 100.0
}

async fn chaos(program: &str, seconds: u64) {
    let house = Arc::new(House::new(program, ROWS).await);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (ends, phase) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    const PHASES: [&str; 3] = ["warm-up", "without faults", "with faults"];
    // Answers come piece by piece in any case, so that streams last.
    let calm = |_: usize| Some(Effect::Slow(Duration::from_millis(15)));
    house.emulator.plan(1_000_000, calm);
    let mut server = house.start();
    house.is_ready().await;
    let mut tasks = Vec::new();
    for worker in 0..STREAMS {
        let (house, seen, ends, phase) = (house.clone(), seen.clone(), ends.clone(), phase.clone());
        tasks.push(tokio::spawn(async move {
            let client = worker % CLIENTS;
            let body = format!(
                "{{\"message\": \"{}さんのカテーテルの交換はいつ\", \"session_id\": \"w{worker}\"}}",
                family(client)
            );
            while !ends.load(Ordering::Relaxed) {
                let phase = PHASES[phase.load(Ordering::Relaxed)];
                let Some((text, first)) =
                    send(house.port, "POST", "/chat/stream", Some(&house.tokens[client]), &body).await
                else {
                    *seen.lock().expect("a lock").ends.entry("no connection".into()).or_default() += 1;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                };
                let mut seen = seen.lock().expect("a lock");
                let end = match () {
                    () if !text.starts_with("HTTP/1.1 200") => text.get(..12).unwrap_or("nothing").to_owned(),
                    () if text.contains("\"type\":\"done\"") => "done".into(),
                    () if text.contains("\"code\":\"ending\"") => "the program ends".into(),
                    () if text.contains("\"type\":\"error\"") => "an error event".into(),
                    () => "broken off".into(),
                };
                if end == "done" {
                    seen.streams.entry(phase).or_default().push(first.as_secs_f64() * 1e3);
                }
                *seen.ends.entry(end).or_default() += 1;
                if text.contains("\"type\":\"context\"")
                    && let Some((_, rest)) = text.split_once("\"message_id\":\"")
                {
                    seen.shown.insert(rest.split('"').next().unwrap_or_default().to_owned());
                }
                if cross_talk(&text, client) {
                    seen.faults.push(format!("a stream of client {client} shows somebody else"));
                }
            }
        }));
    }
    {
        let (house, seen, ends, phase) = (house.clone(), seen.clone(), ends.clone(), phase.clone());
        tasks.push(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / SEARCHES_PER_SECOND));
            let mut number = 0;
            let mut searches = tokio::task::JoinSet::new();
            while !ends.load(Ordering::Relaxed) {
                ticks.tick().await;
                number += 1;
                let (house, seen, phase) =
                    (house.clone(), seen.clone(), PHASES[phase.load(Ordering::Relaxed)]);
                searches.spawn(async move {
                    let client = number % CLIENTS;
                    let began = Instant::now();
                    let body =
                        format!("{{\"query\": \"血圧 {} カテーテル 交換 {}\"}}", number % 40, number % 9);
                    let found = send(house.port, "POST", "/search", Some(&house.tokens[client]), &body).await;
                    let mut seen = seen.lock().expect("a lock");
                    let status = found.as_ref().map_or("no connection".into(), |(text, _)| {
                        text.get(9..12).unwrap_or("nothing").to_owned()
                    });
                    *seen.statuses.entry(status.clone()).or_default() += 1;
                    if let Some((text, _)) = found {
                        if status == "200" {
                            seen.searched += 1;
                            seen.searches.entry(phase).or_default().push(began.elapsed().as_secs_f64() * 1e3);
                        }
                        if cross_talk(&text, client) {
                            seen.faults.push(format!("a search of client {client} shows somebody else"));
                        }
                    }
                });
                while searches.try_join_next().is_some() {}
            }
            while searches.join_next().await.is_some() {}
        }));
    }
    let store = Store::open(house.home.path()).expect("a store");
    let (began, mut second) = (Instant::now(), 0u64);
    let (kill_at, term_at, faults_at) = (seconds / 3, 2 * seconds / 3, seconds / 2);
    while second < seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        second = began.elapsed().as_secs();
        store.make_current(house.snapshots[second as usize % 2]).expect("switched");
        if let Some(bytes) = resident(server.id()) {
            seen.lock().expect("a lock").memory.push(bytes);
        }
        let now = match () {
            () if second < 3 => 0,
            () if second < faults_at => 1,
            () => 2,
        };
        if now == 2 && phase.load(Ordering::Relaxed) < 2 {
            let chance = Mutex::new(rand_chacha::ChaCha8Rng::seed_from_u64(26));
            house.emulator.plan(1_000_000, |number| {
                let mut chance = chance.lock().expect("a lock");
                if !chance.random_bool(0.3) {
                    return calm(number);
                }
                Some(match chance.random_range(0..5) {
                    0 => Effect::Status(503),
                    1 => Effect::Status(429),
                    2 => Effect::Torn(chance.random_range(1..900)),
                    3 => Effect::Wait(Duration::from_secs(chance.random_range(1..15))),
                    _ => Effect::Status(400),
                })
            });
        }
        phase.store(now, Ordering::Relaxed);
        if second == kill_at || second == term_at {
            let signal = if second == kill_at { "KILL" } else { "TERM" };
            let asked = Instant::now();
            Command::new("kill").args(["-s", signal, &server.id().to_string()]).status().expect("kill runs");
            server.wait().expect("ended");
            println!("{signal}: it took {:.1} s to end", asked.elapsed().as_secs_f64());
            server = house.start();
            house.is_ready().await;
            second = began.elapsed().as_secs();
        }
    }
    ends.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("a worker ended");
    }
    // What was given up is settled beside those who gave up; then the program ends.
    tokio::time::sleep(Duration::from_secs(3)).await;
    Command::new("kill").args(["-s", "TERM", &server.id().to_string()]).status().expect("kill runs");
    server.wait().expect("ended");
    let seen = std::mem::take(&mut *seen.lock().expect("a lock"));
    judge(&house, seen).await;
}

async fn judge(house: &House, seen: Seen) {
    let state = Database::open(&Secret::default(), house.home.path()).await.expect("a state");
    let later = OffsetDateTime::now_utc() + time::Duration::days(1);
    let money = Money::new(&karute_tests::http::settings(&[]));
    let presumed_late =
        state.presume(later, later, |day, owner| money.limits_of(day, owner)).await.expect("presumed");
    let mut faults = seen.faults;
    for (phase, values) in seen.searches {
        println!("{}", told(&format!("searches {phase}"), values));
    }
    for (phase, values) in seen.streams {
        println!("{}", told(&format!("first byte of streams {phase}"), values));
    }
    println!("searches by status: {:?}", seen.statuses);
    println!("streams by end: {:?}", seen.ends);

    let lines = state.lines().await.expect("the ledger");
    let by_id: HashMap<&str, &karute_server::state::Line> =
        lines.iter().map(|line| (line.id.as_str(), line)).collect();
    let made = house.emulator.labels();
    let mut once = HashSet::new();
    let twice = made.iter().filter(|label| !once.insert(label.as_str())).count();
    let unbilled =
        made.iter().filter(|label| by_id.get(label.as_str()).is_none_or(|line| line.total_cost == 0)).count();
    let never_made = lines
        .iter()
        .filter(|line| line.state == "settled" && line.total_cost > 0 && !once.contains(line.id.as_str()))
        .count();
    let presumed = lines.iter().filter(|line| line.state == "presumed").count();
    println!(
        "ledger: {} calls, {presumed} presumed ({presumed_late} at the end); the model answered {} times: {unbilled} not billed, {twice} twice, {never_made} billed and never made",
        lines.len(),
        made.len()
    );
    if unbilled + twice + never_made > 0 || made.is_empty() {
        faults.push("the ledger and the model do not agree".into());
    }
    let total: i64 = lines.iter().map(|line| line.total_cost).sum();
    let day = karute_server::money::day(OffsetDateTime::now_utc());
    let (spent, _) = state.spent(&format!("day {day}")).await.expect("spent");
    if spent != total {
        faults.push(format!("the limit says {spent}, the ledger {total} (a run over midnight of Japan may)"));
    }

    let links = state.links().await.expect("the audit");
    let broken = verify(&links, &Secret::default());
    let audited: HashSet<String> = links
        .iter()
        .filter_map(|sealed| {
            serde_json::from_str::<Value>(&sealed.link.detail).ok()?["answer_id"].as_str().map(str::to_owned)
        })
        .collect();
    let missing = seen.shown.iter().filter(|id| !audited.contains(*id)).count();
    let searches = links.iter().filter(|sealed| sealed.link.action == "search").count();
    let chains = links.chunk_by(|a, b| a.chain == b.chain).count();
    println!(
        "audit: {} links in {chains} chains, {} broken; {} answers shown, {missing} without a link; {} searches shown, {searches} links",
        links.len(),
        broken.len(),
        seen.shown.len(),
        seen.searched
    );
    if !broken.is_empty() || missing > 0 || searches < seen.searched {
        faults.push("the audit lacks what was shown".into());
    }
    // Each start begins anew, so what counts is the longest stretch: its first third is warm-up.
    let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (least, most) =
        (seen.memory.iter().min().copied().unwrap_or(0), seen.memory.iter().max().copied().unwrap_or(0));
    let last: Vec<u64> = seen.memory.iter().rev().take(seen.memory.len() / 4).copied().collect();
    let (end_least, end_most) =
        (last.iter().min().copied().unwrap_or(0), last.iter().max().copied().unwrap_or(0));
    println!(
        "memory: {:.0} to {:.0} MB; in the last quarter {:.0} to {:.0} MB",
        megabytes(least),
        megabytes(most),
        megabytes(end_least),
        megabytes(end_most)
    );
    if most > 600 << 20 {
        faults.push("it takes ever more memory".into());
    }
    let count = |end: &str| seen.ends.get(end).copied().unwrap_or(0);
    // A kill -9 breaks every connection off; nothing else may.
    if count("broken off") > STREAMS {
        faults.push("streams broke off without an event".into());
    }
    if count("done") == 0 {
        faults.push("no stream was ever answered".into());
    }
    let log = std::fs::read_to_string(house.home.path().join("log")).expect("a log");
    if log.contains("panicked")
        || (0..CLIENTS).any(|client| log.contains(&canary(client)) || log.contains(family(client)))
    {
        faults.push("the log holds a panic or a record".into());
    }
    finish(&faults, house.home.path());
}

fn finish(faults: &[String], home: &Path) {
    if faults.is_empty() {
        println!("chaos: nothing was lost");
        return;
    }
    let log = std::fs::read_to_string(home.join("log")).unwrap_or_default();
    let tail: Vec<&str> = log.lines().rev().filter(|line| !line.contains(" request{")).take(20).collect();
    for fault in faults.iter().take(20) {
        println!("FAULT: {fault}");
    }
    println!("{}", tail.join("\n"));
    std::process::exit(1);
}

async fn load(program: &str, rows: usize) {
    let house = Arc::new(House::new(program, rows).await);
    let mut server = house.start();
    house.is_ready().await;
    for rate in [50u64, 100, 200, 400, 600, 800, 1_000, 1_200, 1_500, 2_000] {
        let used = processor(server.id());
        let (mut ticks, mut searches) =
            (tokio::time::interval(Duration::from_micros(1_000_000 / rate)), tokio::task::JoinSet::new());
        for number in 0..rate * 8 {
            ticks.tick().await;
            let house = house.clone();
            searches.spawn(async move {
                let began = Instant::now();
                let body = format!("{{\"query\": \"血圧 {} カテーテル 交換 {}\"}}", number % 40, number % 9);
                let found = send(
                    house.port,
                    "POST",
                    "/search",
                    Some(&house.tokens[number as usize % CLIENTS]),
                    &body,
                )
                .await;
                let good = found.is_some_and(|(text, _)| text.starts_with("HTTP/1.1 200"));
                (good, began.elapsed().as_secs_f64() * 1e3)
            });
        }
        let done = searches.join_all().await;
        let used = processor(server.id()) - used;
        let failed = done.iter().filter(|(good, _)| !good).count();
        let mut values: Vec<f64> = done.into_iter().skip(rate as usize).map(|(_, took)| took).collect();
        values.sort_by(f64::total_cmp);
        let p99 = percentile(&values, 0.99);
        let each = used * 1e3 / (rate * 8) as f64;
        let (p50, memory) = (percentile(&values, 0.5), resident(server.id()).unwrap_or(0) >> 20);
        println!(
            "{rate} searches/s: p50 {p50:.1} ms, p99 {p99:.1} ms, {failed} failed, {each:.2} ms of a core each, {memory} MB"
        );
        if p99 > 50.0 {
            break;
        }
    }
    server.kill().expect("killed");
    server.wait().expect("ended");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [program, "load"] => runtime.block_on(load(program, ROWS)),
        [program, "load", rows] => runtime.block_on(load(program, rows.parse().expect("rows"))),
        [program, seconds] => runtime.block_on(chaos(program, seconds.parse().expect("seconds"))),
        _ => {
            eprintln!("usage: chaos PROGRAM SECONDS|load [ROWS]");
            std::process::exit(2);
        }
    }
}

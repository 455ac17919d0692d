//! How long an instance takes from nothing to its first answer: a snapshot in a bucket, an empty disk, a fresh process. And what an
//! answer takes of the server then: all of it but the embedding, which the emulator is asked for as often by itself.
//!
//! ```text
//! cargo build --release && cargo run --release -p karute-benches --bin start -- target/release/karute
//! ```
//!
//! The bucket is a folder, and questions are embedded by the emulator, so neither a network nor a model is in the figures;
//! beside them what reading and writing the same bytes costs.

#![expect(clippy::expect_used, reason = "a bench that cannot go on should say where")]

mod clustered;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use clustered::Data;
use karute_engine::{Guard, Identity, Store};
use karute_tests::google::Emulator;
use karute_tests::google::workbook::Workbook;
use karute_tests::program::{Server, json};

const RUNS: usize = 5;
const ANSWERS: usize = 300;
const MODEL: &str = "gemini-embedding-001";

fn main() {
    let program = std::env::args().nth(1).expect("the program: target/release/karute");
    let program = fs::canonicalize(program).expect("the program is there");
    let emulator = Emulator::start(([127, 0, 0, 1], 0).into(), Workbook::default()).expect("a port");
    println!(
        "| rows x dimensions | snapshot | plain copy | answers /health/ready | first answer | memory |\n|---|---|---|---|---|---|"
    );
    for (rows, dimensions) in [(3_200, 3_072), (100_000, 768)] {
        measure(&program, &emulator, rows, dimensions);
    }
}

/// Answers one after the other, quoted from the records, each kept in SQLite.
fn overhead(server: &Server, emulator: &Emulator, rows: usize, dimensions: usize) {
    let address = emulator.url().replace("http://", "");
    let path = format!("/v1/projects/p/locations/asia-northeast1/publishers/google/models/{MODEL}:predict");
    let timed = |address: &str, path: &str, body: &str| {
        let (began, mut found) = (Instant::now(), String::new());
        let mut stream = TcpStream::connect(address).expect("connected");
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        );
        stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes()).expect("sent");
        stream.read_to_string(&mut found).expect("an answer");
        assert!(found.starts_with("HTTP/1.1 200"), "{found}");
        began.elapsed().as_secs_f64() * 1e3
    };
    let mut own: Vec<f64> = (0..ANSWERS)
        .map(|number| {
            let question = format!("訪問記録 {number} の体温は何度でしたか");
            let whole = timed(&server.address, "/chat", &format!(r#"{{"message": "{question}"}}"#));
            let body = format!(
                r#"{{"instances": [{{"content": "{question}"}}], "parameters": {{"outputDimensionality": {dimensions}}}}}"#
            );
            whole - timed(&address, &path, &body)
        })
        .collect();
    own.sort_by(f64::total_cmp);
    println!(
        "an answer over {rows} x {dimensions}: {:.1} ms (median), {:.1} ms (99th percentile) of the server's own",
        own[ANSWERS / 2],
        own[ANSWERS * 99 / 100]
    );
}

/// Where the time of a search goes, microseconds, medians: the embedding's is the emulator's, too.
fn stages(server: &Server) {
    let parts = ["understand", "embed", "search", "rank"];
    let mut each: Vec<Vec<u64>> = vec![Vec::new(); parts.len()];
    for number in 0..ANSWERS {
        let body = format!(r#"{{"query": "訪問記録 {number} の脈拍は", "explain": true}}"#);
        let found = server.post("/search", &body);
        let (_, body) = found.split_once("\r\n\r\n").expect("a body");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        for (part, took) in parts.iter().zip(&mut each) {
            took.push(body["metadata"]["explain"]["microseconds"][part].as_u64().expect("microseconds"));
        }
    }
    let median = |took: &mut Vec<u64>| {
        took.sort_unstable();
        took[took.len() / 2]
    };
    let told: Vec<String> =
        parts.iter().zip(&mut each).map(|(part, took)| format!("{part} {}", median(took))).collect();
    println!("a search, microseconds: {}", told.join(", "));
}

fn measure(program: &Path, emulator: &Emulator, rows: usize, dimensions: usize) {
    let home = tempfile::tempdir().expect("a directory");
    let (bucket, builder) = (home.path().join("bucket"), home.path().join("builder"));
    fs::create_dir(&bucket).expect("made");
    let sealed =
        Data::new(rows, dimensions).sealed(Identity::new("vertex-ai", MODEL, dimensions as u32), "bench");
    let store = Store::open(&builder).expect("a store");
    let id = store.publish(&sealed, &Guard::default()).expect("published");
    let run = |data: &Path| {
        let mut command = Command::new(program);
        command.env_clear().current_dir(home.path()).stdin(Stdio::null());
        command.env("KARUTE_BUCKET", format!("file://{}", bucket.display())).env("KARUTE_DATA_DIR", data);
        command.env("KARUTE_GOOGLE_ENDPOINT", emulator.url()).env("KARUTE_GOOGLE_ANONYMOUS", "true");
        command
            .env("KARUTE_EMBEDDER", "vertex")
            .env("GCP_PROJECT_ID", "p")
            .env("KARUTE_ANSWERERS", "extractive");
        command.env("VERTEX_AI_EMBEDDINGS_MODEL", MODEL).env("KARUTE_CHATS_PER_MINUTE", "100000");
        command.env("KARUTE_YEN_PER_DAY", "3000").env("KARUTE_CALLS_PER_CALLER", "100000");
        command.env("KARUTE_CALLS_PER_DAY", "100000");
        command.env("VERTEX_AI_EMBEDDINGS_DIMENSION", dimensions.to_string());
        command
    };
    json(&run(&builder).args(["snapshot", "push", "--json"]).output().expect("the program runs"));
    let (mut copies, mut ready, mut answered, mut memory) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for number in 0..RUNS {
        let (copy, began) = (home.path().join("copy"), Instant::now());
        fs::copy(store.path_of(id), &copy).expect("copied");
        fs::File::open(&copy).and_then(|file| file.sync_all()).expect("synced");
        copies.push(began.elapsed());
        fs::remove_file(copy).expect("removed");
        let (data, began) = (home.path().join(number.to_string()), Instant::now());
        let server = Server::start(run(&data));
        assert!(server.get("/health/ready").starts_with("HTTP/1.1 200"));
        ready.push(began.elapsed());
        let found = server.post("/search", r#"{"query": "体温は何度でしたか"}"#);
        assert!(found.starts_with("HTTP/1.1 200") && found.contains("KB_"), "{found}");
        answered.push(began.elapsed());
        let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).expect("a status");
        let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("resident memory");
        if number + 1 == RUNS {
            overhead(&server, emulator, rows, dimensions);
            stages(&server);
        }
        memory = line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse().ok()).unwrap_or(0);
        drop(server);
        fs::remove_dir_all(data).expect("removed");
    }
    let median = |times: &mut Vec<std::time::Duration>| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e3
    };
    println!(
        "| {rows} x {dimensions} | {} MB | {:.0} ms | {:.0} ms | {:.0} ms | {} MB |",
        sealed.file_length() / 1_000_000,
        median(&mut copies),
        median(&mut ready),
        median(&mut answered),
        memory / 1_000
    );
}

//! What a sync of a live spreadsheet costs, against the emulator of Google in a process of its own:
//!
//! ```text
//! cargo run --release -p karute-benches --bin sheets -- 3200 3072
//! ```
//!
//! First sync, sync without a change, sync after ten changed rows: wall time, processor time of this process, bytes,
//! calls, and the most anonymous memory. And how fast vector cells are parsed, beside `serde_json`, in the same run.

#![expect(clippy::expect_used, reason = "a bench that cannot go on should say where")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use karute_engine::{Identity, Store};
use karute_sync::google::{Client, Credentials, Limits, scope};
use karute_sync::job::{self, How, Pass, Publishing, Silent};
use karute_sync::layout::KNOWLEDGE_BASE;
use karute_sync::numbers;
use karute_sync::source::SheetNames;
use karute_sync::spreadsheet::Spreadsheet;
use karute_tests::google::workbook::{Cell, Tab, Workbook};
use karute_tests::google::{Emulator, SPREADSHEET};
use karute_tests::small::{Unasked, cells};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use time::macros::datetime;

const MODEL: &str = "gemini-embedding-001";
/// Parts of a vector, as the old writers laid them out.
const PARTS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize, default: usize| arguments.get(at).map_or(default, |text| text.parse().expect("a number"));
    if arguments.first().is_some_and(|first| first == "serve") {
        return serve(number(1, 3_200), number(2, 3_072));
    }
    let (rows, dimensions) = (number(0, 3_200), number(1, 3_072));
    parsing(dimensions);

    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["serve", &rows.to_string(), &dimensions.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the emulator");
    let mut address = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut address).expect("its address");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(syncs(address.trim(), rows, dimensions));
    child.kill().expect("ended");
    child.wait().expect("ended");
}

/// The emulator with a spreadsheet of `rows` records.
fn serve(rows: usize, dimensions: usize) {
    let emulator = Emulator::start(([127, 0, 0, 1], 0).into(), workbook(rows, dimensions)).expect("a port");
    println!("{}", emulator.url());
    loop {
        std::thread::park();
    }
}

fn workbook(rows: usize, dimensions: usize) -> Workbook {
    let mut random = ChaCha8Rng::seed_from_u64(rows as u64);
    let header: Vec<String> = (1..=PARTS).map(|part| format!("embedding_part{part}")).collect();
    let mut vectors = vec![cells(&["kb_id", "model", "dimension"])];
    vectors[0].extend(header.into_iter().map(Cell::from));
    vectors[0].push(Cell::from("created_at"));
    let mut records = vec![cells(KNOWLEDGE_BASE)];
    for number in 0..rows {
        records.push(record(number, "定期訪問。"));
        vectors.push(vector(number, dimensions, "2026-11-01 10:00:00", &mut random));
    }
    let terms = vec![cells(&["term_id", "canonical", "synonyms", "category"])];
    Workbook {
        tabs: vec![
            Tab::new("KnowledgeBase", 0, records),
            Tab::new("Embeddings", 1, vectors),
            Tab::new("MedicalTerms", 2, terms),
        ],
    }
}

fn record(number: usize, first: &str) -> Vec<Cell> {
    let id = format!("KB_nursing_20261101_{number:05}");
    // As many different words as a long record has: keyword search keeps each.
    let mut random = ChaCha8Rng::seed_from_u64(number as u64);
    let kanji = (0..600).map(|_| char::from_u32(0x4e00 + random.random_range(0..700)).unwrap_or('記'));
    let content = format!("{first}体温36.5℃、血圧120/80、SpO2 97%。{}", kanji.collect::<String>());
    let data = format!(
        "{{\"記録者\": \"看護師{}\", \"訪問時間\": 60, \"次回\": \"2026-11-{:02}\"}}",
        number % 9,
        number % 28 + 1
    );
    let (source, client) = (format!("r{number}"), format!("CL-{:05}", number % 39));
    let moment = "2026-11-01 10:00:00";
    cells(&[
        &id,
        "nursing",
        "care_record",
        "Care_Records",
        &source,
        &client,
        "訪問記録",
        &content,
        &data,
        &data,
        "バイタル,食事",
        "体温;血圧",
        "2026-11-01",
        moment,
        moment,
    ])
}

fn vector(number: usize, dimensions: usize, moment: &str, random: &mut ChaCha8Rng) -> Vec<Cell> {
    let numbers: Vec<f32> = (0..dimensions).map(|_| random.random_range(-1.0f32..1.0)).collect();
    let norm = numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
    let mut row = vec![
        Cell::from(format!("KB_nursing_20261101_{number:05}")),
        Cell::from(MODEL),
        Cell::Number(dimensions as f64),
    ];
    // As Python writes a float32 that became a double.
    let part = |numbers: &[f32]| {
        let numbers: Vec<String> = numbers.iter().map(|x| f64::from(x / norm).to_string()).collect();
        format!("[{}]", numbers.join(", "))
    };
    row.extend(numbers.chunks(dimensions.div_ceil(PARTS)).map(|numbers| Cell::from(part(numbers))));
    row.push(Cell::from(moment));
    row
}

/// How fast the cells of vectors are read.
fn parsing(dimensions: usize) {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let texts: Vec<String> = (0..200)
        .flat_map(|number| vector(number, dimensions, "x", &mut random))
        .filter_map(
            |cell| if let Cell::Text(text) = cell { text.starts_with('[').then_some(text) } else { None },
        )
        .collect();
    let bytes: usize = texts.iter().map(String::len).sum();
    let rate = |read: &mut dyn FnMut(&str) -> usize| {
        let best = (0..7).map(|_| {
            let begun = Instant::now();
            let found: usize = texts.iter().map(|text| read(text)).sum();
            assert_eq!(found, 200 * dimensions);
            begun.elapsed()
        });
        bytes as f64 / best.min().expect("seven runs").as_secs_f64() / 1e6
    };
    let mut numbers = Vec::new();
    let own = rate(&mut |text| {
        numbers.clear();
        numbers::read(text, &mut numbers).expect("numbers");
        numbers.len()
    });
    let serde = rate(&mut |text| serde_json::from_str::<Vec<f32>>(text).expect("numbers").len());
    println!("vector cells, one core: {own:.0} MB/s; serde_json {serde:.0} MB/s ({:.1}x)", own / serde);
}

async fn syncs(address: &str, rows: usize, dimensions: usize) {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let embedder = Unasked(Identity::new("vertex-ai", MODEL, dimensions as u32));
    let limits = Limits { reads_per_minute: 1_000_000, max_calls: 100_000, ..Limits::default() };
    let client = |scopes| {
        Client::new(address.parse().expect("an address"), Credentials::nobody(), scopes, limits)
            .expect("a client")
    };
    let how = How {
        pass: Pass::Changes { full_every: Duration::from_secs(86_400) },
        publishing: Publishing::Forced,
        ..How::default()
    };
    println!(
        "\n{rows} rows x {dimensions}\n| | wall | processor | answers | calls | vectors read | anonymous memory |\n|---|---|---|---|---|---|---|"
    );
    let mut last = None;
    for what in ["first sync", "unchanged", "10 rows changed", "full pass"] {
        if what == "10 rows changed" {
            change_ten(&client(scope::WRITE), dimensions).await;
        }
        let pass = if what == "full pass" { Pass::Full } else { how.pass };
        let how = How { pass, ..how.clone() };
        let source = Spreadsheet::new(client(scope::READ), SPREADSHEET, SheetNames::default(), 2_000_000);
        let watched = Watched::begin();
        let (begun, worked) = (Instant::now(), processor());
        let outcome =
            job::run(&source, &embedder, &store, datetime!(2026-11-25 09:00 UTC), how, &Silent).await;
        let (wall, worked, memory) = (begun.elapsed(), processor() - worked, watched.end());
        let outcome = outcome.expect("published");
        let run = outcome.run;
        println!(
            "| {what} | {:.0} ms | {:.0} ms | {:.2} MB | {} | {} | {:.0} MB |",
            wall.as_secs_f64() * 1e3,
            worked.as_secs_f64() * 1e3,
            run.usage.bytes as f64 / 1e6,
            run.usage.calls,
            run.vectors_read,
            memory as f64 / 1e6,
        );
        last = Some(outcome.index);
    }
    let index = last.expect("four syncs");
    println!("\nsnapshot {} rows, {:.1} MB", index.len(), index.file_length() as f64 / 1e6);
}

/// Another text and another vector for ten rows.
async fn change_ten(client: &Client, dimensions: usize) {
    use karute_sync::google::client::{Call, Effect};
    let mut random = ChaCha8Rng::seed_from_u64(99);
    let values = |row: Vec<Cell>| -> Vec<serde_json::Value> {
        let value = |cell| match cell {
            Cell::Text(text) => text.into(),
            Cell::Number(number) => number.into(),
            _ => "".into(),
        };
        row.into_iter().map(value).collect()
    };
    let mut data = Vec::new();
    for number in (0..10).map(|at| at * 97 + 5) {
        let row = number + 2;
        data.push(serde_json::json!({"range": format!("KnowledgeBase!A{row}"), "values": [values(record(number, "変更。"))]}));
        let vector = vector(number, dimensions, "2026-11-24 10:00:00", &mut random);
        data.push(serde_json::json!({"range": format!("Embeddings!A{row}"), "values": [values(vector)]}));
    }
    let url = format!(
        "{}/v4/spreadsheets/{SPREADSHEET}/values:batchUpdate",
        client.host().other().expect("an address")
    );
    let body = serde_json::json!({"valueInputOption": "RAW", "data": data});
    let call = Call {
        service: "Google Sheets",
        api: "sheets.googleapis.com",
        what: "ten changes".into(),
        method: reqwest::Method::POST,
        url: url.parse().expect("an address"),
        body: Some(&body),
        effect: Effect::Write,
    };
    client.call(&call).await.expect("written");
}

/// Processor time of this process so far.
fn processor() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|text| text.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// Watches how much anonymous memory this process holds.
struct Watched {
    most: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Watched {
    fn begin() -> Self {
        let (most, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (seen, stop) = (most.clone(), ended.clone());
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let status = fs::read_to_string("/proc/self/status").expect("Linux");
                let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux");
                let kilobytes: u64 =
                    line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
                seen.fetch_max(kilobytes * 1024, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { most, ended, thread }
    }

    fn end(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().expect("watched");
        self.most.load(Ordering::Relaxed)
    }
}

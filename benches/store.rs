//! What the store costs, beside the plainest thing that the same disk could do in the same run:
//!
//! ```text
//! cargo run --release -p karute-benches --bin store
//! ```
//!
//! Data: clustered unit vectors from a seeded generator, 100,000 x 768 and 3,200 x 3072, with short Japanese records.

#![expect(clippy::expect_used, reason = "a bench that cannot go on should say where")]

mod clustered;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clustered::Data;
use karute_engine::{Embedding, Guard, Identity, Query, Store};

fn identity(dimensions: usize) -> Identity {
    Identity::new("bench", "clustered", dimensions as u32)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed().as_secs_f64())
}

/// The median of several runs, in seconds.
fn median(runs: usize, mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..runs).map(|_| timed(&mut work).1).collect();
    times.sort_by(f64::total_cmp);
    times[runs / 2]
}

/// Asks the system to forget the file's pages; `dd` does so without writing anything.
fn forget(path: &Path) {
    let output = format!("of={}", path.display());
    let options = ["oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"];
    let status = Command::new("dd").arg(output).args(options).status().expect("dd runs");
    assert!(status.success(), "dd could not forget {}", path.display());
}

/// A number from /proc/self, by the name at the beginning of its line.
fn process(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn measure(rows: usize, dimensions: usize) {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path().join("store")).expect("a store");
    let mut data = Data::new(rows, dimensions);
    let (first, building) = timed(|| data.sealed(identity(dimensions), "first"));
    let bytes = first.file_length();
    let megabytes = bytes as f64 / 1e6;
    let memory = process("status", "VmHWM") as f64 / 1e3;
    println!("\n{rows} x {dimensions}: {megabytes:.0} MB");
    println!("  build {building:.2} s; peak memory {memory:.0} MB = {:.2} x the file", memory / megabytes);

    let raw = first.to_bytes();
    // Each time a new file, as a publication is: rewriting one finds its pages warm and is many times as fast.
    let mut plain = 0;
    let writing = median(3, || {
        plain += 1;
        let mut file = File::create_new(home.path().join(format!("plain-{plain}"))).expect("created");
        file.write_all(&raw).expect("written");
        file.sync_all().expect("synced");
    });
    let (_, publishing) = timed(|| store.publish(&first, &Guard::open()).expect("published"));
    println!(
        "  plain write {writing:.3} s; publish {publishing:.3} s = {:.2} x (writes, verifies, renames)",
        publishing / writing
    );

    let path = store.path_of(first.id());
    let hashed = |all_threads: bool| {
        median(5, || {
            let mut hasher = blake3::Hasher::new();
            if all_threads { hasher.update_mmap_rayon(&path) } else { hasher.update_mmap(&path) }
                .expect("hashed");
            std::hint::black_box(hasher.finalize());
        })
    };
    let (alone, together) = (hashed(false), hashed(true));
    let index = store.current().expect("a snapshot").index;
    let verifying = median(5, || assert!(index.verify().is_ok()));
    println!(
        "  BLAKE3 {alone:.3} s on one thread, {together:.3} s on all; verify {verifying:.3} s, {:.0} % and {:.0} % of that",
        100.0 * alone / verifying,
        100.0 * together / verifying
    );

    let question = Embedding::new(identity(dimensions), data.vector());
    let ask = |store: &Store| {
        let index = store.current().expect("a snapshot").index;
        std::hint::black_box(index.search(&Query::new(&question)).expect("a search"));
    };
    let opening = median(9, || drop(store.current().expect("a snapshot")));
    let warm = median(9, || ask(&store));
    println!("  open {:.3} ms; open and first answer, warm {:.3} ms", opening * 1e3, warm * 1e3);
    drop(index);
    forget(&path);
    let faults = process("io", "read_bytes:");
    let (_, cold) = timed(|| ask(&store));
    let read = (process("io", "read_bytes:") - faults) as f64 / 1e6;
    println!("  open and first answer, cold {:.1} ms, {read:.0} MB read", cold * 1e3);
}

/// Searches from one thread while another publishes; the same searches without publishing beside it.
fn swaps(swaps: usize) {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let mut data = Data::new(3_200, 256);
    let states = [data.sealed(identity(256), "a"), data.sealed(identity(256), "b")];
    store.publish(&states[0], &Guard::open()).expect("published");
    store.publish(&states[1], &Guard::open()).expect("published");
    let question = Embedding::new(identity(256), data.vector());
    let search_until = |done: &AtomicBool| {
        let mut index = store.current().expect("a snapshot").index;
        let mut times = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let began = Instant::now();
            std::hint::black_box(index.search(&Query::new(&question)).expect("a search"));
            times.push(began.elapsed().as_secs_f64());
            if let Some(newer) = store.refresh(index.id()).expect("readable") {
                index = newer;
            }
        }
        times.sort_by(f64::total_cmp);
        times
    };
    for publishing in [false, true] {
        let done = Arc::new(AtomicBool::new(false));
        let times = std::thread::scope(|scope| {
            let searching = scope.spawn(|| search_until(&done));
            if publishing {
                for swap in 0..swaps {
                    store.make_current(states[swap % 2].id()).expect("switched");
                }
            } else {
                std::thread::sleep(Duration::from_secs(2));
            }
            done.store(true, Ordering::Relaxed);
            searching.join().expect("a reader")
        });
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] * 1e3;
        let what = if publishing { format!("with {swaps} swaps") } else { "without swaps".into() };
        println!("  {what}: {} searches, p50 {:.3} ms, p99 {:.3} ms", times.len(), at(0.5), at(0.99));
    }
}

fn main() {
    measure(3_200, 3_072);
    measure(100_000, 768);
    println!("\nsearch of 3200 x 256 while the pointer moves");
    swaps(1_000);
}

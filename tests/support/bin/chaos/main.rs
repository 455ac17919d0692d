//! Load, faults, crashes: the whole program under all of them at once, and what must be true of it afterwards.
//!
//! ```text
//! chaos PROGRAM SECONDS          80 streams and 200 searches a second; 30 % of the model's answers fail for half of the time; a
//!                                snapshot swap each second; a kill -9, a SIGTERM; then ledger, audit and bill are compared
//! chaos PROGRAM load [ROWS]      searches at rising rates until their p99 passes 50 ms; processor time and memory of each
//! chaos PROGRAM idle COUNT       so many connections that say nothing more, and others that must be served all the same
//! ```
//!
//! Exit code 1, with the reason, if anything that must hold does not.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a run that cannot go on should say where, and tells what it found"
)]

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use karute_engine::Store;
use karute_tests::google::Effect;
use rand::{RngExt, SeedableRng};

use crate::house::{CLIENTS, House, ROWS, cross_talk, family, resident, send};
use crate::judge::{Seen, judge};
use crate::load::{idle, load};

mod house;
mod judge;
mod load;

const STREAMS: usize = 80;
const SEARCHES_PER_SECOND: u64 = 200;

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
    seen.lock().expect("a lock").memory.push(Vec::new());
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
                if end == "broken off" {
                    seen.broken_off.push(Instant::now());
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
            seen.lock().expect("a lock").memory.last_mut().expect("a start").push(bytes);
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
                Some(match chance.random_range(0..7) {
                    0 => Effect::Status(503),
                    1 => Effect::Status(429),
                    5 => Effect::Status(500),
                    6 => Effect::Status(504),
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
            let mut seen = seen.lock().expect("a lock");
            if signal == "KILL" {
                seen.killed.push((asked, Instant::now()));
            }
            seen.memory.push(Vec::new());
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

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [program, "load"] => runtime.block_on(load(program, ROWS)),
        [program, "load", rows] => runtime.block_on(load(program, rows.parse().expect("rows"))),
        [program, "idle", count] => runtime.block_on(idle(program, count.parse().expect("a number"))),
        [program, seconds] => runtime.block_on(chaos(program, seconds.parse().expect("seconds"))),
        _ => {
            eprintln!("usage: chaos PROGRAM SECONDS|load [ROWS]|idle COUNT");
            std::process::exit(2);
        }
    }
}

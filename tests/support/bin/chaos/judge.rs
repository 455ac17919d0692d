//! What must be true of a run afterwards.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::time::Instant;

use karute_server::audit::verify;
use karute_server::config::Secret;
use karute_server::money::Money;
use karute_server::state::Database;
use serde_json::Value;
use time::OffsetDateTime;

use crate::house::{CLIENTS, House, canary, family};

#[derive(Default)]
pub(crate) struct Seen {
    /// Milliseconds of searches, and until the first byte of streams, by phase.
    pub(crate) searches: BTreeMap<&'static str, Vec<f64>>,
    pub(crate) streams: BTreeMap<&'static str, Vec<f64>>,
    /// Answers whose rows were shown.
    pub(crate) shown: HashSet<String>,
    pub(crate) statuses: BTreeMap<String, usize>,
    pub(crate) ends: BTreeMap<String, usize>,
    pub(crate) searched: usize,
    pub(crate) faults: Vec<String>,
    /// Resident memory of each start of the program, bytes, one a second.
    pub(crate) memory: Vec<Vec<u64>>,
    /// When a stream ended without an event that says so.
    pub(crate) broken_off: Vec<Instant>,
    /// When the program was killed with -9, and when it was ready again.
    pub(crate) killed: Vec<(Instant, Instant)>,
}

pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
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

pub(crate) async fn judge(house: &House, seen: Seen) {
    let state = Database::open(&Secret::default(), house.home.path()).await.expect("a state");
    let later = OffsetDateTime::now_utc() + time::Duration::days(1);
    let money = Money::new(&karute_tests::http::settings(&[]));
    let presumed = state.presume(later, later, |day, owner| money.limits_of(day, owner)).await;
    let presumed_late = presumed.expect("presumed").calls.len();
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
    if let Some(fault) = memory(&seen.memory) {
        faults.push(fault);
    }
    // A kill -9 breaks every connection off; nothing else may.
    let by_kill = |at: &&Instant| seen.killed.iter().any(|(killed, ready)| (killed..=ready).contains(at));
    let (by_kill, otherwise): (Vec<&Instant>, Vec<&Instant>) = seen.broken_off.iter().partition(by_kill);
    println!("streams broken off: {} by kill -9, {} otherwise", by_kill.len(), otherwise.len());
    if !otherwise.is_empty() {
        faults.push("streams broke off without an event".into());
    }
    let count = |end: &str| seen.ends.get(end).copied().unwrap_or(0);
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

/// Tells how memory went, and what is wrong with it. Each start begins anew, so what counts is the longest one: once its
/// first third has passed, its second half may take no more than its first.
fn memory(starts: &[Vec<u64>]) -> Option<String> {
    let longest = starts.iter().max_by_key(|start| start.len())?;
    let settled = longest.get(longest.len() / 3..)?;
    let (first, second) = settled.split_at(settled.len() / 2);
    let megabytes =
        |values: &[u64]| values.iter().sum::<u64>() as f64 / values.len().max(1) as f64 / f64::from(1 << 20);
    let (first, second) = (megabytes(first), megabytes(second));
    let most = starts.iter().flatten().max().copied().unwrap_or(0) >> 20;
    println!("memory: at most {most} MB; of the longest start {first:.1} MB, later {second:.1} MB");
    (second > first * 1.1 + 8.0)
        .then(|| format!("it takes ever more memory: {first:.1} MB, then {second:.1} MB"))
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

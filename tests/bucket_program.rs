//! Fear: a server that cannot start because a bucket is away, or that hides that it is; a pull that a kill spoils.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use karute_engine::{Guard, Store};
use karute_tests::bulk::snapshot;
use karute_tests::gcs::{Effect, Emulator};
use serde_json::Value;

const NAME: &str = "records";
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn emulator() -> Emulator {
    Emulator::start(([127, 0, 0, 1], 0).into(), NAME).expect("a free port")
}

/// The program with an environment of its own, `home` as working and data directory, and the bucket at `endpoint`.
fn karute(home: &Path, endpoint: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_karute-under-test"));
    command.env_clear().current_dir(home).stdin(Stdio::null());
    command.env("KARUTE_BUCKET", format!("gs://{NAME}")).env("KARUTE_BUCKET_ENDPOINT", endpoint);
    command
}

fn output(command: &mut Command, arguments: &[&str]) -> Output {
    command.args(arguments).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn json(command: &mut Command, arguments: &[&str]) -> Value {
    let output = output(command, arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON on standard output")
}

fn failure(command: &mut Command, arguments: &[&str]) -> String {
    let output = output(command, arguments);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    text(&output.stderr)
}

/// Ends the process when the test does.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server; its address once it answers.
fn serve(mut command: Command) -> (Server, String) {
    command.env("PORT", "0").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = Server(command.spawn().expect("started"));
    let mut lines = BufReader::new(server.0.stdout.take().expect("standard output")).lines();
    let address = lines
        .find_map(|line| line.expect("UTF-8").strip_prefix("karute answers on http://").map(str::to_owned))
        .expect("a greeting");
    (server, address)
}

/// Starts a server and returns what `GET /health` says once it answers.
fn health(command: Command) -> Value {
    let (_server, address) = serve(command);
    health_of(&address)
}

fn health_of(address: &str) -> Value {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON")
}

/// A folder of .csv files with so many records.
fn workbook(home: &Path, records: usize) -> PathBuf {
    let folder = home.join("workbook");
    let mut rows = "id,domain,source_type,source_table,source_id,user_id,title,content,structured_data,metadata,tags,date,created_at,updated_at\n".to_owned();
    for number in 0..records {
        rows += &format!(
            "r{number},nursing,visit,Visits,{number},c1,訪問{number},体温は36.{number}度でした。,{{}},{{}},,2026-11-20,2026-11-20,2026-11-20\n"
        );
    }
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("KnowledgeBase.csv"), rows).expect("written");
    fs::write(folder.join("Embeddings.csv"), "kb_id,model,embedding_part1\n").expect("written");
    fs::write(folder.join("MedicalTerms.csv"), "canonical,synonyms\n").expect("written");
    folder
}

#[test]
fn a_job_without_a_disk_syncs_around_the_bucket_and_a_running_server_follows() {
    let (emulator, records) = (emulator(), home());
    let url = emulator.url();
    let job = |rows: usize, arguments: &[&str]| {
        // A machine of its own each time.
        let machine = home();
        let mut command = karute(machine.path(), &url);
        command.env("KARUTE_WORKBOOK", workbook(records.path(), rows)).args(["sync", "--json"]);
        let output = command.args(arguments).output().expect("the program runs");
        (output.status.code(), output)
    };
    let (code, refused) = job(3, &["--push"]);
    assert_eq!(code, Some(1));
    assert!(text(&refused.stderr).contains("karute sync --push --first"), "{}", text(&refused.stderr));
    let told = |output: &Output| serde_json::from_slice::<Value>(&output.stdout).expect("JSON");
    let (code, first) = job(3, &["--push", "--first"]);
    assert_eq!(code, Some(0), "{}", text(&first.stderr));
    let (id, pushed) = (told(&first)["snapshot_id"].clone(), told(&first)["pushed"].clone());
    assert_eq!(
        (&pushed["snapshot_id"], &pushed["uploaded"], &pushed["replaced"]),
        (&id, &true.into(), &Value::Null)
    );
    assert_eq!(pushed["removed"], 0);

    let near = home();
    let mut command = karute(near.path(), &url);
    command.env("KARUTE_PULL_EVERY", "1");
    let (_server, address) = serve(command);
    let rows = || health_of(&address)["details"]["rows"].clone();
    assert_eq!(rows(), 3);
    // What the guard takes for an accident does not leave the machine that built it.
    let (code, lost) = job(1, &["--push"]);
    assert_eq!(code, Some(12), "{}", text(&lost.stderr));
    let (code, second) = job(5, &["--push"]);
    assert_eq!(code, Some(0), "{}", text(&second.stderr));
    assert_eq!(told(&second)["pushed"]["replaced"], id);
    let began = Instant::now();
    while rows() != 5 {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", health_of(&address));
        std::thread::sleep(Duration::from_millis(100));
    }
    // Nothing is older than an hour yet.
    let kept =
        json(&mut karute(near.path(), &url), &["snapshot", "prune", "--bucket", "--keep", "1", "--json"]);
    assert_eq!((kept["removed"].as_array().map(Vec::len), &kept["left"]), (Some(0), &2.into()));
    // Whoever goes back by hand is not overruled by the next look.
    json(&mut karute(near.path(), &url), &["snapshot", "rollback", "--json"]);
    let (code, third) = job(6, &["--push"]);
    assert_eq!(code, Some(0), "{}", text(&third.stderr));
    std::thread::sleep(Duration::from_millis(3_500));
    assert_eq!(rows(), 3);
    // Not even by a restart.
    let mut command = karute(near.path(), &url);
    command.env("KARUTE_PULL_EVERY", "1");
    assert_eq!(health(command)["details"]["rows"], 3);
    // Where what is current there is lost, only --first begins anew.
    let gone = told(&third)["snapshot_id"].as_str().expect("an id").to_owned();
    emulator.remove(NAME, &format!("snapshots/{gone}.karute"));
    let (code, lost) = job(6, &["--push"]);
    assert_eq!(code, Some(1));
    assert!(text(&lost.stderr).contains("which is not there"), "{}", text(&lost.stderr));
    let (code, anew) = job(6, &["--push", "--first"]);
    assert_eq!(code, Some(0), "{}", text(&anew.stderr));
    assert_eq!(told(&anew)["pushed"]["uploaded"], true);
    // What changes no record makes no snapshot, but the next machine knows that it was looked at.
    fs::write(records.path().join("workbook/Notes.csv"), "note\nmine\n").expect("written");
    let (_, looked) = job(6, &["--push"]);
    assert_eq!(
        (&told(&looked)["snapshot_id"], &told(&looked)["run"]["unchanged"]),
        (&gone.into(), &false.into())
    );
    let (_, again) = job(6, &["--push"]);
    assert_eq!(told(&again)["run"]["unchanged"], true);
}

#[test]
fn a_server_that_cannot_follow_its_bucket_says_so_and_gets_over_it() {
    let (emulator, near, far) = (emulator(), home(), home());
    let url = emulator.url();
    let synced = json(&mut karute(near.path(), &url), &["sync", "--push", "--first", "--json"]);
    assert_eq!(synced["pushed"]["snapshot_id"], synced["snapshot_id"]);
    let mut command = karute(far.path(), &url);
    command.env("KARUTE_PULL_EVERY", "1");
    let (_server, address) = serve(command);
    let told = || health_of(&address)["details"]["problems"].to_string().contains("could not be followed");
    let wait_for = |wanted: bool| {
        let began = Instant::now();
        while told() != wanted {
            assert!(began.elapsed() < Duration::from_secs(120), "{}", health_of(&address));
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    wait_for(false);
    emulator.put(NAME, "CURRENT", "not an id");
    wait_for(true);
    emulator.put(NAME, "CURRENT", format!("{}\n", synced["snapshot_id"].as_str().expect("an id")));
    wait_for(false);
}

#[test]
fn push_and_pull_speak_to_people_and_in_json() {
    let (emulator, near, far) = (emulator(), home(), home());
    let url = emulator.url();
    let synced = json(&mut karute(near.path(), &url), &["sync", "--json"]);
    let id = synced["snapshot_id"].as_str().expect("an id");
    assert!(failure(&mut karute(far.path(), &url), &["snapshot", "pull"]).contains("holds no snapshot yet"));
    let pushed = json(&mut karute(near.path(), &url), &["snapshot", "push", &id[..8], "--json"]);
    assert_eq!((pushed["snapshot_id"].as_str(), pushed["uploaded"].as_bool()), (Some(id), Some(true)));
    let pulled = json(&mut karute(far.path(), &url), &["snapshot", "pull", "--json"]);
    assert_eq!((pulled["snapshot_id"].as_str(), &pulled["downloaded"]), (Some(id), &synced["bytes"]));
    for (home, verb, expected) in [(&near, "push", "there already"), (&far, "pull", "current here already")] {
        let output = output(&mut karute(home.path(), &url), &["snapshot", verb]);
        assert!(output.status.success() && text(&output.stdout).contains(expected), "{output:?}");
    }
    let folder = home();
    let mut command = karute(near.path(), "");
    command.env("KARUTE_BUCKET", format!("file://{}", folder.path().display()));
    json(&mut command, &["snapshot", "push", "--json"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("CURRENT")).expect("a pointer"), format!("{id}\n"));
}

#[test]
fn without_a_bucket_or_with_a_wrong_one_each_verb_says_what_to_set() {
    let home = home();
    json(karute(home.path(), "").env("KARUTE_BUCKET", ""), &["sync", "--json"]);
    let verbs: [&[&str]; 4] = [
        &["snapshot", "push"],
        &["snapshot", "pull"],
        &["snapshot", "prune", "--bucket", "--keep", "1"],
        &["sync", "--push", "--watch", "1h"],
    ];
    for verb in verbs {
        for wrong in ["", "records", "https://records", "gs://a/../b", "file://relative", "s3://k:s3cret@b"] {
            let output = output(karute(home.path(), "").env("KARUTE_BUCKET", wrong), verb);
            let error = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{error}");
            assert!(error.contains("KARUTE_BUCKET") && !error.contains("s3cret"), "{error}");
        }
    }
}

#[test]
fn a_start_with_a_bucket_serves_what_is_current_there_and_syncs_nothing() {
    let (emulator, near, far) = (emulator(), home(), home());
    let synced = json(&mut karute(near.path(), &emulator.url()), &["sync", "--json"]);
    json(&mut karute(near.path(), &emulator.url()), &["snapshot", "push", "--json"]);
    let healthy = health(karute(far.path(), &emulator.url()));
    assert_eq!(healthy["status"], "healthy", "{healthy}");
    assert_eq!(healthy["details"]["snapshot_id"], synced["snapshot_id"]);
}

#[test]
fn a_bucket_that_is_away_or_slow_leaves_the_local_copy_and_a_reason() {
    let (emulator, home) = (emulator(), home());
    let synced = json(&mut karute(home.path(), &emulator.url()), &["sync", "--json"]);
    json(&mut karute(home.path(), &emulator.url()), &["snapshot", "push", "--json"]);
    emulator.fault("GET", "CURRENT", usize::MAX, Effect::Wait(Duration::from_secs(30)));
    for endpoint in [NOWHERE, &emulator.url()] {
        let mut command = karute(home.path(), endpoint);
        command.env("KARUTE_BUCKET_DEADLINE", "5");
        let degraded = health(command);
        assert_eq!(degraded["status"], "degraded", "{degraded}");
        assert_eq!(degraded["details"]["snapshot_id"], synced["snapshot_id"]);
        let problem = degraded["details"]["problems"][0].as_str().expect("a reason");
        assert!(problem.contains("local copy"), "{problem}");
        assert!(!problem.contains("records"), "the page is open, and names no bucket: {problem}");
    }
}

#[test]
fn a_first_start_without_its_bucket_fails_and_names_both_reasons() {
    let home = home();
    let error = failure(karute(home.path(), NOWHERE).env("PORT", "0"), &["serve"]);
    assert!(error.contains("gs://records") && error.contains("holds no snapshot yet"), "{error}");
}

/// A bucket with a snapshot of several ranges, and a store with another one.
fn large(emulator: &Emulator, home: &Path) -> (String, String) {
    let store = Store::open(home.join("karute-data")).expect("a store");
    let old = store.publish(&snapshot("old", 10, 8).expect("a draft"), &Guard::open()).expect("published");
    let sealed = snapshot("large", 2_000, 3_072).expect("a draft");
    let id = sealed.id();
    emulator.put(NAME, &format!("snapshots/{id}.karute"), sealed.to_bytes());
    emulator.put(NAME, "CURRENT", format!("{id}\n"));
    (old.to_string(), id.to_string())
}

fn current(home: &Path) -> String {
    let opened = Store::open(home.join("karute-data")).and_then(|store| store.current()).expect("a snapshot");
    assert!(opened.skipped.is_empty(), "{:?}", opened.skipped);
    opened.index.verify().expect("sound");
    opened.index.id().to_string()
}

#[cfg(unix)]
#[test]
fn a_pull_that_is_killed_again_and_again_loses_nothing_and_ends_in_the_end() {
    let (emulator, home) = (emulator(), home());
    let (old, new) = large(&emulator, home.path());
    emulator.fault("GET", "snapshots", usize::MAX, Effect::Slow(Duration::from_millis(1)));
    for round in 1..=8 {
        let mut command = karute(home.path(), &emulator.url());
        command.args(["snapshot", "pull"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut pull = Server(command.spawn().expect("started"));
        std::thread::sleep(Duration::from_millis(130 * round));
        pull.0.kill().expect("killed");
        pull.0.wait().expect("ended");
        let found = current(home.path());
        // The whole of it takes over a second, so the first kill hits a download under way.
        assert!(found == old || (found == new && round > 1), "round {round}");
    }
    emulator.heal();
    let pulled = json(&mut karute(home.path(), &emulator.url()), &["snapshot", "pull", "--json"]);
    assert_eq!(pulled["snapshot_id"], *new);
    assert_eq!(current(home.path()), new);
}

#[cfg(unix)]
#[test]
fn a_start_that_waits_for_its_bucket_still_ends_when_it_is_asked_to() {
    let (emulator, home) = (emulator(), home());
    large(&emulator, home.path());
    std::fs::remove_dir_all(home.path().join("karute-data")).expect("removed");
    emulator.fault("GET", "snapshots", usize::MAX, Effect::Slow(Duration::from_millis(200)));
    let mut command = karute(home.path(), &emulator.url());
    command.env("PORT", "0").stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = Server(command.spawn().expect("started"));
    std::thread::sleep(Duration::from_secs(1));
    let sent = Command::new("kill").args(["-s", "TERM", &server.0.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
    let asked = Instant::now();
    while server.0.try_wait().expect("a state").is_none() {
        assert!(asked.elapsed() < Duration::from_secs(5), "still running");
        std::thread::sleep(Duration::from_millis(20));
    }
}

//! Fear: a server goes on with what it should not serve, or falls over what another process does to its store.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use karute_engine::{Draft, Facet, Guard, Passage, Provenance, Row, Store};
use karute_sync::embed::Embedder;
use karute_sync::forget::follow;
use karute_sync::lexical::Lexical;
use karute_tests::program::{self, Server, json, text};

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

/// Waits until `/health` holds `expected`.
fn wait_for(server: &Server, expected: &str) -> String {
    let began = Instant::now();
    loop {
        let health = server.get("/health");
        if health.contains(expected) {
            return health;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "no {expected} in {health}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_running_server_picks_up_what_another_process_publishes_and_leaves_what_is_damaged() {
    let home = home();
    let server = Server::start(karute(home.path()));
    let sample =
        json(&run(home.path(), &["snapshot", "list", "--json"]))[0]["id"].as_str().expect("an id").to_owned();
    // Another workbook: the sample without its last row.
    let book = home.path().join("book");
    std::fs::create_dir(&book).expect("created");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sync/sample/karute-sample");
    for name in ["KnowledgeBase.csv", "Embeddings.csv", "MedicalTerms.csv"] {
        let text = std::fs::read_to_string(folder.join(name)).expect("read");
        let (kept, _last) = text.trim_end().rsplit_once('\n').expect("many rows");
        std::fs::write(book.join(name), kept).expect("written");
    }
    let output = karute(home.path()).env("KARUTE_WORKBOOK", "book").args(["sync", "--json"]).output();
    let report = json(&output.expect("the program runs"));
    let id = report["snapshot_id"].as_str().expect("an id");
    wait_for(&server, id);

    // The server maps what it serves; what it does not map yet is damaged behind what opening checks.
    drop(server);
    let path = home.path().join(report["file"].as_str().expect("a path"));
    let mut bytes = std::fs::read(&path).expect("read");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, bytes).expect("written");
    let mut command = karute(home.path());
    command.env("KARUTE_WORKBOOK", "book");
    let server = Server::start(command);
    let health = wait_for(&server, "is damaged, so an earlier one is served");
    assert!(health.contains(&sample) && health.contains("\"degraded\""), "{health}");
    assert!(server.post("/search", r#"{"query": "体温"}"#).starts_with("HTTP/1.1 200"));

    // Built again it has the same id, and a sound file: it is not held against it that it was damaged once.
    let output = karute(home.path()).env("KARUTE_WORKBOOK", "book").args(["sync", "--json"]).output();
    assert_eq!(json(&output.expect("the program runs"))["snapshot_id"], id);
    let health = wait_for(&server, "\"healthy\"");
    assert!(health.contains(id), "{health}");
}

#[test]
fn vectors_of_another_model_are_not_served_whoever_publishes_them() {
    let home = home();
    let server = Server::start(karute(home.path()));
    let list = json(&run(home.path(), &["snapshot", "list", "--json"]));
    let id = list[0]["id"].as_str().expect("an id").to_owned();
    assert!(run(home.path(), &["snapshot", "export", "out"]).status.success());
    let manifest = home.path().join("out/manifest.json");
    let changed =
        std::fs::read_to_string(&manifest).expect("read").replace("karute-lexical-1", "another-model");
    std::fs::write(&manifest, changed).expect("written");
    // What was changed since it was exported is not taken for what it was.
    let refused = run(home.path(), &["snapshot", "import", "out"]);
    assert!(!refused.status.success() && text(&refused.stderr).contains(&id), "{}", text(&refused.stderr));
    assert!(run(home.path(), &["snapshot", "import", "out", "--changed", "--force"]).status.success());
    let health = wait_for(&server, "questions are embedded by");
    assert!(health.contains(&id) && health.contains("\"degraded\""), "{health}");
    assert!(server.post("/search", r#"{"query": "体温"}"#).starts_with("HTTP/1.1 200"));
    assert!(run(home.path(), &["snapshot", "rollback"]).status.success());
    wait_for(&server, "\"healthy\"");
}

#[cfg(unix)]
#[test]
fn a_server_that_was_killed_starts_again_on_what_was_published() {
    let home = home();
    let server = Server::start(karute(home.path()));
    server.signal("KILL");
    drop(server);
    let server = Server::start(karute(home.path()));
    assert!(server.get("/health").contains("\"status\":\"healthy\""));
}

#[test]
fn a_snapshot_of_another_format_is_rebuilt() {
    let home = home();
    let report = json(&run(home.path(), &["sync", "--json"]));
    let path = home.path().join(report["file"].as_str().expect("a path"));
    let mut bytes = std::fs::read(&path).expect("read");
    bytes[8] = 0;
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, bytes).expect("written");
    let hits = json(&run(home.path(), &["search", "体温", "--json"]));
    assert_eq!(hits["snapshot_id"], report["snapshot_id"]);
}

#[test]
fn who_is_forgotten_while_a_damaged_snapshot_is_passed_over_is_not_served_any_more() {
    is_forgotten_while_another_is_served(false);
}

#[test]
fn who_is_forgotten_while_the_pointer_is_lost_is_not_served_any_more() {
    is_forgotten_while_another_is_served(true);
}

fn is_forgotten_while_another_is_served(is_lost: bool) {
    let home = home();
    let store = Store::open(home.path().join("karute-data")).expect("a store");
    let publish = |rows: &[(&str, &str)]| {
        let lexical = Lexical::default();
        let mut draft = Draft::new(lexical.identity().clone());
        let mut vector = vec![0.0; lexical.identity().dimensions as usize];
        vector[0] = 1.0;
        for (client, content) in rows {
            let (id, content) = (format!("row-{client}"), (*content).to_owned());
            let row = Row { id, content, client_id: (*client).into(), ..Row::default() };
            draft.push(&row, &[Passage::whole(&row, &vector)]).expect("a row");
        }
        let sealed = draft.finish(Provenance::default()).expect("a draft");
        store.publish(&sealed, &Guard::open()).expect("published")
    };
    let before = publish(&[("CL-1", "膀胱留置カテーテル"), ("CL-2", "酸素")]);
    let path = store.path_of(publish(&[("CL-2", "酸素")]));
    let mut bytes = std::fs::read(&path).expect("read");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, bytes).expect("written");
    let server = Server::start(karute(home.path()));
    assert!(wait_for(&server, "is damaged, so an earlier one is served").contains(&before.to_string()));
    if is_lost {
        std::fs::remove_file(store.directory().join("CURRENT")).expect("removed");
    }
    let ask = || server.post("/search", r#"{"query": "膀胱留置カテーテル"}"#);
    assert!(ask().contains("CL-1"));
    // As the server does once it learns of it from the database.
    assert_eq!(follow(&store, &["CL-1".into()]).expect("forgotten").len(), 1);
    let end = Instant::now() + Duration::from_secs(20);
    while ask().contains("CL-1") {
        assert!(Instant::now() < end, "somebody who is forgotten is served");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(ask().starts_with("HTTP/1.1 200"));
}

#[test]
fn nobody_who_is_forgotten_is_gone_back_to() {
    let home = home();
    let first =
        json(&run(home.path(), &["sync", "--json"]))["snapshot_id"].as_str().expect("an id").to_owned();
    let store = Store::open(home.path().join("karute-data")).expect("a store");
    let bytes = std::fs::read(store.path_of(first.parse().expect("an id"))).expect("read");
    json(&run(home.path(), &["forget", "--client", "CL-00015", "--json"]));
    // A backup brings it back.
    std::fs::write(store.path_of(first.parse().expect("an id")), bytes).expect("written");
    let back = json(&run(home.path(), &["snapshot", "rollback", &first, "--json"]));
    assert_ne!(back["snapshot_id"], first.as_str());
    let index = store.current().expect("a snapshot").index;
    assert_eq!(back["snapshot_id"], index.id().to_string());
    assert!(index.rows_with(Facet::Client, "CL-00015").expect("sound").is_empty() && !index.is_empty());
}

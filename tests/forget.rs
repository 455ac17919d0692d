//! Fear: a client who asked to be forgotten is not, comes back, or takes somebody else along.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use karute_engine::{
    ClientName, Draft, Facet, Guard, Index, LexicalSettings, Passage, Provenance, Row, Sealed, Store,
};
use karute_sync::forget::{follow, forget, list, publish};
use karute_tests::files::{below, holds};
use karute_tests::program::{self, Server, json, text};
use karute_tests::snapshots::identity;
use serde_json::Value;

fn karute(home: &Path) -> Command {
    program::command(env!("CARGO_BIN_EXE_karute-under-test"), home)
}

fn sealed(rows: &[(&str, &str)], built_at: &str) -> Sealed {
    let mut draft = Draft::new(identity());
    for (id, client) in rows {
        let row = Row {
            id: (*id).into(),
            client_id: (*client).into(),
            content: "体温は36.5℃。".into(),
            ..Row::default()
        };
        draft.push(&row, &[Passage::whole(&row, &[0.6, 0.0, 0.8])]).expect("a sound row");
    }
    let provenance = Provenance { built_at: built_at.into(), ..Provenance::default() };
    draft.finish(provenance).expect("a draft")
}

fn published(store: &Store, rows: &[(&str, &str)], built_at: &str) {
    store.publish(&sealed(rows, built_at), &Guard::open()).expect("published");
}

fn rows_of(store: &Store, client: &str) -> usize {
    let of = |index: &Index| index.rows_with(Facet::Client, client).expect("sound").len();
    store.list().expect("listed").iter().map(|listed| of(listed.index.as_ref().expect("sound"))).sum()
}

#[test]
fn who_is_only_listed_is_forgotten_too() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let mut draft = Draft::new(identity());
    let row =
        Row {
            id: "a".into(), client_id: "CL-2".into(), content: "体温は36.5℃。".into(), ..Row::default()
        };
    draft.push(&row, &[Passage::whole(&row, &[0.6, 0.0, 0.8])]).expect("a sound row");
    let listed =
        |id: &str| ClientName { id: id.into(), name: "江口 照男".into(), name_kana: String::new() };
    draft.set_clients(vec![listed("CL-1"), listed("CL-2")]);
    let lexical = LexicalSettings { k1: 1.5, ..LexicalSettings::default() };
    draft.set_lexical(lexical);
    store.publish(&draft.finish(Provenance::default()).expect("a draft"), &Guard::open()).expect("published");
    forget(&store, "CL-1").expect("forgotten");
    let index = store.current().expect("a snapshot").index;
    assert_eq!(index.clients(), [listed("CL-2")]);
    assert_eq!(index.lexical_settings().expect("sound"), Some(lexical), "built as it was");
    assert_eq!(store.list().expect("listed").len(), 1);
}

#[test]
fn who_alone_stands_in_a_snapshot_is_forgotten_too() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    published(&store, &[("a", "CL-1")], "2026-01-01T00:00:00Z");
    published(&store, &[("a", "CL-1"), ("b", "CL-1"), ("c", "CL-2")], "2026-01-02T00:00:00Z");
    let rebuilt = forget(&store, "CL-1").expect("forgotten");
    assert_eq!(rebuilt.len(), 2);
    assert_eq!(rebuilt.iter().filter(|rebuilt| rebuilt.replaced_by.is_none()).count(), 1, "{rebuilt:?}");
    assert_eq!((rows_of(&store, "CL-1"), rows_of(&store, "CL-2")), (0, 1));
    // The last client of all: what is served then is empty, not old.
    forget(&store, "CL-2").expect("forgotten");
    assert_eq!(rows_of(&store, "CL-2"), 0);
    let index = store.current().expect("a snapshot").index;
    assert!(index.is_empty());
    index.verify().expect("sound");
}

#[test]
fn nothing_is_built_of_a_damaged_snapshot_and_signed_anew() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    published(&store, &[("a", "CL-1"), ("c", "CL-2")], "2026-01-01T00:00:00Z");
    published(&store, &[("a", "CL-1"), ("c", "CL-2"), ("d", "CL-2")], "2026-01-02T00:00:00Z");
    let damaged = store.current().expect("a snapshot").index.id();
    let path = store.path_of(damaged);
    let mut bytes = std::fs::read(&path).expect("read");
    let at = bytes.windows(5).rposition(|text| text == b"36.5\xe2").expect("a temperature");
    bytes[at + 3] = b'6';
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, bytes).expect("written");
    let rebuilt = forget(&store, "CL-1").expect("forgotten");
    assert!(
        rebuilt.iter().any(|rebuilt| rebuilt.removed == damaged.to_string() && rebuilt.replaced_by.is_none())
    );
    for listed in store.list().expect("listed") {
        let index = listed.index.expect("opened");
        index.verify().expect("sound");
        let wrong = (0..index.len()).any(|row| index.row(row).expect("a row").content.contains("36.6"));
        assert!(!wrong, "the damage is signed now");
    }
    assert_eq!((rows_of(&store, "CL-1"), rows_of(&store, "CL-2")), (0, 1));
}

#[test]
fn damage_to_the_current_snapshot_and_to_the_one_before_keeps_nobody_from_being_forgotten() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let rows = [("a", "CL-1"), ("b", "CL-2"), ("c", "CL-3"), ("d", "CL-4")];
    let ids: Vec<_> = (2..5)
        .map(|many| {
            published(&store, &rows[..many], "2026-01-01T00:00:00Z");
            store.current_id().expect("a snapshot")
        })
        .collect();
    let damage = |at: usize, byte: fn(usize) -> usize| {
        let path = store.path_of(ids[at]);
        let mut bytes = std::fs::read(&path).expect("read");
        let length = bytes.len();
        bytes[byte(length)] ^= 1;
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, bytes).expect("written");
    };
    damage(1, |length| length - 1);
    damage(2, |_| 0);
    assert_eq!(store.current().expect("opened").index.id(), ids[1], "it opens, and is damaged");
    forget(&store, "CL-1").expect("forgotten");
    assert_eq!((rows_of(&store, "CL-1"), rows_of(&store, "CL-2")), (0, 1));
    store.current().expect("a snapshot").index.verify().expect("sound");
}

#[test]
fn several_are_taken_out_of_a_snapshot_at_once() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    published(&store, &[("a", "CL-1"), ("b", "CL-2"), ("c", "CL-3")], "2026-01-01T00:00:00Z");
    let rebuilt = follow(&store, &["CL-1".into(), "CL-2".into()]).expect("forgotten");
    assert_eq!(rebuilt.iter().map(|rebuilt| rebuilt.rows).collect::<Vec<_>>(), [2], "{rebuilt:?}");
    assert_eq!((rows_of(&store, "CL-1"), rows_of(&store, "CL-2"), rows_of(&store, "CL-3")), (0, 0, 1));
}

#[test]
fn who_are_forgotten_at_once_are_all_forgotten_and_what_is_published_meanwhile_stays() {
    for _ in 0..5 {
        let home = tempfile::tempdir().expect("a directory");
        let store = Store::open(home.path()).expect("a store");
        let rows = [("a", "CL-1"), ("b", "CL-2"), ("c", "CL-3"), ("d", "CL-4")];
        published(&store, &rows, "2026-01-01T00:00:00Z");
        std::thread::scope(|scope| {
            for client in ["CL-1", "CL-2", "CL-3"] {
                let store = &store;
                scope.spawn(move || forget(store, client).expect("forgotten"));
            }
            scope.spawn(|| {
                let mut draft = Draft::new(identity());
                let row = Row { id: "new".into(), client_id: "CL-5".into(), ..Row::default() };
                draft.push(&row, &[]).expect("a sound row");
                let sealed = draft.finish(Provenance::default()).expect("a draft");
                while store.publish(&sealed, &Guard::open()).is_err() {
                    std::thread::yield_now();
                }
            });
        });
        let listed = list(home.path()).expect("a list");
        for client in ["CL-1", "CL-2", "CL-3"] {
            assert!(listed.contains(client) && rows_of(&store, client) == 0, "{client} {listed:?}");
        }
        assert_eq!(rows_of(&store, "CL-4"), 1);
        assert_eq!(
            store.current().expect("a snapshot").index.ids().count(),
            1,
            "the publication is in force"
        );
    }
}

#[test]
fn who_is_on_the_list_but_was_not_removed_is_removed_by_the_next_look() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    published(&store, &[("a", "CL-1"), ("c", "CL-2")], "2026-01-01T00:00:00Z");
    // The list came to be, and then the disk was full.
    std::fs::write(home.path().join("forgotten"), "CL-1\n").expect("written");
    assert_eq!(follow(&store, &["CL-1".into()]).expect("forgotten").len(), 1);
    assert_eq!(rows_of(&store, "CL-1"), 0);
    assert!(follow(&store, &["CL-1".into()]).expect("nothing to do").is_empty());
    assert!(list(home.path()).expect("a list").contains("CL-1"));
    // Whatever keeps somebody from being removed, nothing takes them in from then on.
    std::fs::write(home.path().join("PINNED"), "garbage").expect("written");
    follow(&store, &["CL-2".into()]).expect_err("nobody knows what is pinned");
    assert!(list(home.path()).expect("a list").contains("CL-2"));
}

#[test]
fn what_is_refused_after_somebody_was_forgotten_leaves_the_store_as_it_was() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let before = sealed(&[("a", "CL-1"), ("c", "CL-2")], "2026-01-01T00:00:00Z");
    store.publish(&before, &Guard::open()).expect("published");
    forget(&store, "CL-1").expect("forgotten");
    let kept = store.current_id().expect("a snapshot");
    store.pin(kept).expect("pinned");
    published(&store, &[("c", "CL-2"), ("d", "CL-2"), ("e", "CL-2"), ("f", "CL-2")], "2026-01-02T00:00:00Z");
    let held = |store: &Store| {
        let listed = store.list().expect("listed").into_iter();
        listed.map(|listed| (listed.id, listed.current, listed.pinned)).collect::<Vec<_>>()
    };
    let (was, nobody) = (held(&store), BTreeSet::new());
    assert!(was.contains(&(kept, false, true)));
    // What it was made from, without the one who is forgotten, is what lies there already.
    publish(&store, &before, &nobody, &Guard::default()).expect_err("rows would be missing");
    assert_eq!(held(&store), was);
    let published = publish(&store, &before, &nobody, &Guard::open()).expect("somebody orders it");
    assert_eq!((published, rows_of(&store, "CL-1")), (kept, 0));
}

#[test]
fn a_server_whose_only_client_is_forgotten_runs_on_and_starts_again() {
    let home = tempfile::tempdir().expect("a directory");
    let book = home.path().join("book");
    std::fs::create_dir(&book).expect("created");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sync/sample/karute-sample");
    for name in ["KnowledgeBase.csv", "Embeddings.csv", "MedicalTerms.csv"] {
        let all = std::fs::read_to_string(sample.join(name)).expect("read");
        // The header, and of the records those of one client.
        let kept = all
            .lines()
            .enumerate()
            .filter(|(number, line)| *number == 0 || !name.starts_with("Know") || line.contains("CL-00008"));
        let kept: Vec<&str> = kept.map(|(_, line)| line).collect();
        std::fs::write(book.join(name), kept.join("\n")).expect("written");
    }
    let with_book = || {
        let mut command = karute(home.path());
        command.env("KARUTE_WORKBOOK", "book");
        command
    };
    let server = Server::start(with_book());
    assert!(server.get("/clients").contains("CL-00008"));
    let forgotten = with_book().args(["forget", "--client", "CL-00008", "--json"]).output().expect("it runs");
    assert!(forgotten.status.success(), "{}", text(&forgotten.stderr));
    let began = Instant::now();
    while server.get("/clients").contains("CL-00008") {
        assert!(began.elapsed() < Duration::from_secs(20), "the client is still served");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(server);
    let server = Server::start(with_book());
    assert!(!server.get("/clients").contains("CL-00008"));
    assert!(server.post("/search", r#"{"query": "体温"}"#).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_client_who_is_forgotten_is_nowhere_and_comes_back_by_no_sync() {
    let home = tempfile::tempdir().expect("a directory");
    let run = |arguments: &[&str]| karute(home.path()).args(arguments).output().expect("the program runs");
    let server = Server::start(karute(home.path()));
    let answer =
        server.post("/chat", r#"{"message": "久保田さんのバルーンの交換はいつですか", "session_id": "s"}"#);
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let body: Value = serde_json::from_str(body).expect("JSON");
    let about: Vec<&Value> = body["context"]
        .as_array()
        .expect("rows")
        .iter()
        .filter(|row| row["title"].as_str().is_some_and(|title| title.contains("久保田")))
        .collect();
    let cited = body["metadata"]["citations"][0]["id"].as_str().expect("a citation").to_owned();
    let clients = server.get("/clients");
    let (_, clients) = clients.split_once("\r\n\r\n").expect("a body");
    let clients: Value = serde_json::from_str(clients).expect("JSON");
    let client = clients["clients"]
        .as_array()
        .expect("clients")
        .iter()
        .find(|client| client["name"].as_str().is_some_and(|name| name.contains("久保田")))
        .expect("久保田")["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert!(!about.is_empty());
    let text_of_one: String = about[0]["content"].as_str().expect("content").chars().take(24).collect();
    let there = |word: &str| {
        below(home.path())
            .iter()
            .filter(|(path, bytes)| !path.ends_with("/log") && holds(bytes, word))
            .map(|(path, _)| path.clone())
            .collect::<Vec<_>>()
    };
    assert!(!there(&text_of_one).is_empty() && !there("久保田").is_empty());

    let done = json(&run(&["forget", "--client", &client, "--json"]));
    assert_eq!(done["snapshots"].as_array().expect("snapshots").len(), 1);
    assert!(done["snapshots"][0]["rows"].as_u64() > Some(3));
    assert_eq!(done["conversations"], 1);
    // A server that runs meanwhile serves the new snapshot within seconds.
    let began = Instant::now();
    while server.get(&format!("/rows/{cited}")).starts_with("HTTP/1.1 200") {
        assert!(began.elapsed() < Duration::from_secs(20), "the row is still served");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(server.get("/chat/sessions/s/messages").starts_with("HTTP/1.1 404"));
    let again = server.post("/chat", r#"{"message": "久保田さんのバルーンの交換はいつですか"}"#);
    assert!(!again.contains(&text_of_one) && !again.contains(&cited));
    server.signal("TERM");
    drop(server);
    assert_eq!(there(&text_of_one), Vec::<String>::new(), "no file holds the text any more");

    // The source still has the client; no sync takes it in again.
    let synced = json(&run(&["sync", "--full", "--json"]));
    assert!(
        synced["report"]["findings"]
            .as_array()
            .expect("findings")
            .iter()
            .any(|finding| finding["reason"] == "forgotten"),
        "{synced}"
    );
    assert_eq!(there(&text_of_one), Vec::<String>::new());
    // Where only the snapshot comes to, such as a job's empty disk, the list comes with it.
    std::fs::remove_file(home.path().join("karute-data/forgotten")).expect("the list");
    json(&run(&["sync", "--full", "--json"]));
    assert_eq!(there(&text_of_one), Vec::<String>::new());
    let audit = run(&["audit", "export", "--client", &client]);
    let lines: Vec<Value> =
        text(&audit.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(
        lines.iter().any(|line| line["action"] == "ask")
            && lines.iter().any(|line| line["action"] == "forget")
    );
    assert!(run(&["audit", "verify"]).status.success());
    let twice = json(&run(&["forget", "--client", &client, "--json"]));
    assert_eq!(twice["snapshots"].as_array().map(Vec::len), Some(0));
}

#[test]
fn who_is_forgotten_while_a_sync_runs_is_not_brought_back_by_it() {
    use karute_tests::google::{self, Emulator};
    let home = tempfile::tempdir().expect("a directory");
    let emulator =
        Emulator::start(([127, 0, 0, 1], 0).into(), google::sample().expect("the sample")).expect("a port");
    let sync = || {
        let mut command = karute(home.path());
        command.env("KARUTE_GOOGLE_ENDPOINT", emulator.url()).env("KARUTE_GOOGLE_ANONYMOUS", "true");
        command.env("VECTOR_DB_SPREADSHEET_ID", google::SPREADSHEET).env("KARUTE_EMBEDDER", "lexical");
        json(&command.args(["sync", "--full", "--json"]).output().expect("the program runs"))
    };
    sync();
    let directory = home.path().join("karute-data");
    let rows = |store: &Store| {
        store.current().expect("a snapshot").index.rows_with(Facet::Client, "CL-00008").expect("sound").len()
    };
    assert!(rows(&Store::open(&directory).expect("a store")) > 0);
    // The rows have been asked for; now somebody is to be forgotten. From then on nobody reads a row of theirs.
    let (meanwhile, watched) = (directory.clone(), directory.clone());
    let (is_forgotten, is_over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (told, over) = (is_forgotten.clone(), is_over.clone());
    let reader = std::thread::spawn(move || {
        let store = Store::open(watched).expect("a store");
        let mut looks = 0;
        while !over.load(Ordering::SeqCst) {
            if told.load(Ordering::SeqCst) {
                assert_eq!(rows(&store), 0, "after {looks} looks");
                looks += 1;
            }
        }
        looks
    });
    emulator.edit_before("values:batchGet", move |_| {
        forget(&Store::open(&meanwhile).expect("a store"), "CL-00008").expect("forgotten");
        is_forgotten.store(true, Ordering::SeqCst);
    });
    let synced = sync();
    is_over.store(true, Ordering::SeqCst);
    assert!(reader.join().expect("nobody was seen") > 0);
    let store = Store::open(&directory).expect("a store");
    assert_eq!(rows(&store), 0);
    assert_eq!(store.current().expect("a snapshot").index.id().to_string(), synced["snapshot_id"]);
    assert!(store.list().expect("listed").iter().all(|listed| {
        listed.index.as_ref().expect("sound").rows_with(Facet::Client, "CL-00008").expect("sound").is_empty()
    }));
}

//! Fear: it is 2 a.m., and the guide explains a message that the program does not give.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use karute_engine::{Draft, Guard, Identity, Passage, Provenance, Row, Store};
use karute_tests::google::workbook::Workbook;
use karute_tests::google::{Effect, Emulator};
use karute_tests::program::{self, Server, json, text};

const GUIDE: &str = include_str!("../deploy/GUIDE.ja.md");
const QUESTION: &str = r#"{"message": "久保田さんのバルーンの交換はいつですか"}"#;

fn karute(home: &Path, given: &[(&str, &str)]) -> Command {
    let mut command = program::command(env!("CARGO_BIN_EXE_karute-under-test"), home);
    command.envs(given.iter().copied());
    command
}

/// What a command that fails says, with its exit code.
fn failure(home: &Path, given: &[(&str, &str)], words: &[&str]) -> String {
    let limited = karute(home, given);
    let mut command = program::command("/usr/bin/timeout", home);
    command.args(["60"]).arg(limited.get_program()).args(words).envs(given.iter().copied());
    let output = command.output().expect("the program runs");
    assert!(!output.status.success(), "{words:?} succeeded");
    format!(
        "exit code {}\n{}{}",
        output.status.code().expect("a code"),
        text(&output.stdout),
        text(&output.stderr)
    )
}

/// What `/health` says of a server, once it says `expected`; of one that `before` was done to.
fn health(home: &Path, given: &[(&str, &str)], expected: &str, before: impl Fn(&Server)) -> String {
    let server = Server::logging(karute(home, given), Stdio::null());
    before(&server);
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let told = server.get("/health");
        if told.contains(expected) || Instant::now() > end {
            return told;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Once may be chance.
fn ask_twice(server: &Server) {
    for _ in 0..2 {
        server.post("/chat", QUESTION);
    }
}

/// An emulator of Google that every model is asked at.
fn google() -> Emulator {
    Emulator::start(([127, 0, 0, 1], 0).into(), Workbook::default()).expect("a port")
}

fn vertex(emulator: &Emulator) -> Vec<(String, String)> {
    [
        ("KARUTE_GOOGLE_ENDPOINT", emulator.url().as_str()),
        ("KARUTE_GOOGLE_ANONYMOUS", "true"),
        ("KARUTE_ANSWERERS", "vertex"),
        ("GCP_PROJECT_ID", "p"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// `karute sync` in `home`, which works.
fn synced(home: &Path, given: &[(&str, &str)]) {
    json(&karute(home, given).args(["sync", "--json"]).output().expect("the program runs"));
}

/// A folder of records under these ids.
fn records(folder: &Path, ids: &[&str]) {
    fs::create_dir_all(folder).expect("made");
    let mut sheet = "id,domain,source_type,source_table,source_id,user_id,title,content,structured_data,metadata,tags,date,created_at,updated_at\n".to_owned();
    for id in ids {
        sheet +=
            &format!("{id},nursing,visit,Visits,{id},c1,訪問,体温は36.5度でした。,{{}},{{}},,2026-11-20,,\n");
    }
    fs::write(folder.join("KnowledgeBase.csv"), sheet).expect("written");
    fs::write(folder.join("Embeddings.csv"), "kb_id,model,embedding_part1\n").expect("written");
    fs::write(folder.join("MedicalTerms.csv"), "canonical,synonyms\n").expect("written");
}

/// A bucket in a folder that holds a snapshot by another model.
fn foreign_bucket(home: &Path) -> String {
    let (elsewhere, bucket) = (home.join("elsewhere"), home.join("bucket"));
    fs::create_dir(&bucket).expect("made");
    let mut draft = Draft::new(Identity::new("somebody", "another-model", 2));
    let row = Row { id: "a".into(), content: "体温".into(), ..Row::default() };
    draft.push(&row, &[Passage::whole(&row, &[1.0, 0.0])]).expect("a row");
    let sealed = draft.finish(Provenance::default()).expect("a draft");
    Store::open(&elsewhere).expect("a store").publish(&sealed, &Guard::default()).expect("published");
    let url = format!("file://{}", bucket.display());
    let pushed = karute(home, &[("KARUTE_BUCKET", url.as_str())])
        .env("KARUTE_DATA_DIR", &elsewhere)
        .args(["snapshot", "push", "--json"])
        .output();
    json(&pushed.expect("the program runs"));
    url
}

/// Overwrites what a server has mapped, behind what it has verified.
fn damage(home: &Path) {
    let index = Store::open(home.join("karute-data")).expect("a store").current().expect("a snapshot").index;
    let path = home.join("karute-data/snapshots").join(format!("{}.karute", index.id()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changed");
    let file = fs::OpenOptions::new().write(true).open(&path).expect("opened");
    for entry in index.sections().iter().filter(|entry| entry.offset > 4096) {
        file.write_at(&vec![0xff; entry.length as usize], entry.offset).expect("written");
    }
}

/// What the program says when a trouble is brought about.
fn brought_about(trouble: &str, home: &Path) -> String {
    match trouble {
        "ADMIN_API_KEY not configured" => {
            health(home, &[("REQUIRE_AUTHENTICATION", "true")], trouble, |_| {})
        }
        "Vector DB connection failed" => health(home, &[], trouble, |_| {
            // The server verifies what it serves in the background, once.
            std::thread::sleep(Duration::from_secs(2));
            damage(home);
        }),
        "shared with the account that karute runs as" => {
            let emulator = google();
            let given = vertex(&emulator);
            let mut given: Vec<(&str, &str)> = given.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            given.extend([("VECTOR_DB_SPREADSHEET_ID", "nobodys-sheet"), ("KARUTE_EMBEDDER", "lexical")]);
            failure(home, &given, &["sync"])
        }
        "Vertex AI API timeout" | "the limit of spending of" => {
            let emulator = google();
            let given = vertex(&emulator);
            let mut given: Vec<(&str, &str)> = given.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            if trouble.starts_with("Vertex") {
                emulator.fault("POST", "streamGenerateContent", 9, Effect::Wait(Duration::from_secs(60)));
                given.push(("REQUEST_TIMEOUT", "1"));
            } else {
                given.push(("KARUTE_YEN_PER_DAY", "0.0001"));
            }
            health(home, &given, trouble, ask_twice)
        }
        "holds no snapshot yet" => {
            fs::create_dir(home.join("bucket")).expect("made");
            let url = format!("file://{}", home.join("bucket").display());
            failure(home, &[("KARUTE_BUCKET", &url)], &["snapshot", "pull"])
        }
        "was embedded as" => failure(home, &[("KARUTE_BUCKET", &foreign_bucket(home))], &[]),
        "the bucket was not reached, so the local copy is served" => {
            synced(home, &[]);
            let url = format!("file://{}", home.join("nowhere").display());
            health(home, &[("KARUTE_BUCKET", &url)], trouble, |_| {})
        }
        "conversations end with this instance of Cloud Run" => {
            health(home, &[("K_SERVICE", "karute")], trouble, |_| {})
        }
        "cannot listen on" => {
            let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
            let port = taken.local_addr().expect("an address").port().to_string();
            failure(home, &[("PORT", &port)], &[])
        }
        "not safe for production" => {
            failure(home, &[("ENVIRONMENT", "production"), ("LOG_LEVEL", "DEBUG")], &[])
        }
        "the database has not been reached yet" => {
            health(home, &[("DATABASE_URL", "postgres://karute@127.0.0.1:1/karute")], trouble, |_| {})
        }
        "MB may be needed" => failure(home, &[("KARUTE_CACHE_BYTES", "1099511627776")], &["preflight"]),
        "are missing, which is more than" => {
            let (folder, path) = (home.join("records"), home.join("records").display().to_string());
            records(&folder, &["a", "b", "c"]);
            synced(home, &[("KARUTE_WORKBOOK", &path)]);
            records(&folder, &["a"]);
            let told = failure(home, &[("KARUTE_WORKBOOK", &path)], &["sync"]);
            assert!(told.contains("exit code 12"), "{told}");
            told
        }
        other => panic!("the guide explains {other:?}, and nobody knows how it comes about"),
    }
}

#[test]
fn every_trouble_that_the_guide_explains_comes_about_in_the_words_of_the_guide() {
    let chapter =
        GUIDE.split("\n## ").find(|chapter| chapter.contains("トラブルシューティング\n")).expect("a chapter");
    let headings = chapter.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    let mut seen = BTreeMap::new();
    std::thread::scope(|scope| {
        let troubles: Vec<_> = headings
            .map(|trouble| {
                (
                    trouble,
                    scope.spawn(move || {
                        let home = tempfile::tempdir().expect("a directory");
                        brought_about(trouble, home.path())
                    }),
                )
            })
            .collect();
        for (trouble, told) in troubles {
            seen.insert(trouble, told.join().expect("brought about"));
        }
    });
    assert!(seen.len() >= 14, "{:?}", seen.keys());
    for (trouble, told) in seen {
        assert!(told.contains(trouble), "{trouble}: {told}");
    }
}

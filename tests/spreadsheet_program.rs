//! Fear: the cloud path works for a library and not for the program that a job runs: its settings, its credentials, its exit
//! codes.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::path::Path;
use std::process::Command;

use karute_tests::google::workbook::Cell;
use karute_tests::google::{self, Effect};
use karute_tests::program::{self, emulator, json, text, with_google};
use serde_json::Value;

/// The program with an environment of its own and `home` as working and data directory.
fn karute(home: &Path) -> Command {
    program::command(env!("CARGO_BIN_EXE_karute-under-test"), home)
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn a_live_spreadsheet_is_synced_checked_watched_and_asked() {
    let (home, emulator) = (home(), emulator());
    let on = |arguments: &[&str]| {
        let mut command = with_google(karute(home.path()), &emulator);
        command.env("KARUTE_EMBEDDER", "lexical").args(arguments).output().expect("the program runs")
    };
    let first = json(&on(&["sync", "--json"]));
    assert_eq!((&first["run"]["unchanged"], first["rows"].as_u64()), (&false.into(), Some(1_194)));
    emulator.forget();
    let second = json(&on(&["sync", "--json"]));
    assert_eq!((&second["run"]["unchanged"], emulator.answered().len()), (&true.into(), 1));
    assert_eq!(second["report"], first["report"]);

    let line = on(&["sync", "--full", "--report", "findings.csv"]);
    let summary: serde_json::Value = serde_json::from_slice(&line.stdout).expect("one line of JSON");
    assert_eq!(text(&line.stdout).lines().count(), 1);
    assert_eq!(summary["snapshot_id"], first["snapshot_id"]);
    let findings = std::fs::read_to_string(home.path().join("findings.csv")).expect("written");
    assert_eq!(
        findings.lines().count() as u64,
        1 + summary["report"]["findings"].as_u64().expect("a number")
    );

    for wrong in [
        &["sync", "--full", "--report", "findings.txt"][..],
        &["sync", "--full", "--report", "nowhere/findings.csv"],
        &["sync", "--watch", "1s", "--set", "VECTOR_DB_SPREADSHEET_ID=", "--source", "sheets"],
    ] {
        emulator.forget();
        let wrong = on(wrong);
        assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong.stderr));
        assert!(emulator.answered().is_empty(), "nothing is read for what cannot be told");
    }

    let checked = on(&["sync", "--check"]);
    assert_eq!(checked.status.code(), Some(11), "{}", text(&checked.stderr));
    emulator.edit(|book| book.tabs[0].rows.truncate(600));
    let refused = on(&["sync"]);
    assert_eq!(refused.status.code(), Some(12), "{}", text(&refused.stderr));
    assert_eq!(json(&on(&["sync", "--force", "--json"]))["report"]["records"], 599);
    let hits = json(&on(&["search", "インスリン", "--json"]));
    assert_eq!(hits["results"][0]["origin"]["spreadsheet"], google::SPREADSHEET);

    // Without a project there is no Vertex AI, and that is told before anything is asked.
    let unset = with_google(karute(home.path()), &emulator).arg("sync").output().expect("the program runs");
    assert_eq!(unset.status.code(), Some(2));
    assert!(text(&unset.stderr).contains("GCP_PROJECT_ID"), "{}", text(&unset.stderr));
}

#[test]
fn what_has_no_vector_is_embedded_once_within_the_budget() {
    let (home, emulator) = (home(), emulator());
    emulator.edit(|book| book.tabs[0].rows.truncate(41));
    let on = |yen: &str, arguments: &[&str]| {
        let mut command = with_google(karute(home.path()), &emulator);
        command.env("GCP_PROJECT_ID", "emulated").env("KARUTE_EMBED_MAX_YEN", yen);
        command.args(arguments).output().expect("the program runs")
    };
    let bare = json(&on("10", &["sync", "--json"]));
    assert_eq!((bare["report"]["vectors_computed"].as_u64(), emulator.embedded()), (Some(0), 0));
    let dear = on("0.0001", &["sync", "--embed-missing"]);
    assert!(!dear.status.success() && text(&dear.stderr).contains("KARUTE_EMBED_MAX_YEN"));
    assert_eq!(emulator.embedded(), 0, "nothing was spent");
    // A run that breaks off halfway has paid for what it got, and the next one does not pay again.
    emulator.fault_at([25], google::Effect::Status(400));
    assert!(!on("10", &["sync", "--embed-missing"]).status.success());
    let paid = emulator.embedded();
    assert!(paid > 5, "{paid}");
    // What a crash left of one file is asked for again.
    let kept = home.path().join("karute-data/embeddings");
    let first = |path: &Path| {
        std::fs::read_dir(path).expect("a directory").flatten().next().expect("an entry").path()
    };
    let file = first(&first(&kept));
    std::fs::write(&file, vec![0; std::fs::read(&file).expect("a vector").len()]).expect("written");
    let made = json(&on("10", &["sync", "--embed-missing", "--json"]));
    let computed = made["report"]["vectors_computed"].as_u64().expect("a number");
    assert!(computed > 30);
    let spent = emulator.embedded();
    assert_eq!(spent, computed + 1);
    let checked = on("10", &["sync", "--check", "--json"]).stdout;
    let checked: Value = serde_json::from_slice(&checked).expect("JSON");
    assert_eq!(checked["report"], made["report"], "a check finds what a sync finds");
    let again = json(&on("10", &["sync", "--embed-missing", "--full", "--json"]));
    assert_eq!((again["snapshot_id"].clone(), emulator.embedded()), (made["snapshot_id"].clone(), spent));
    let kept = json(&on("10", &["sync", "--full", "--json"]));
    assert_eq!(kept["snapshot_id"], made["snapshot_id"], "what was paid for stays without being asked for");
    std::fs::remove_dir_all(home.path().join("karute-data/embeddings")).expect("removed");
    let carried = json(&on("10", &["sync", "--full", "--json"]));
    assert_eq!((carried["snapshot_id"].clone(), emulator.embedded()), (made["snapshot_id"].clone(), spent));
    let hits = json(&on("10", &["search", "体温", "--json"]));
    assert_eq!(hits["embedder"], "gemini-embedding-001");
    assert!(!hits["results"].as_array().expect("hits").is_empty());
}

#[test]
fn a_spreadsheet_is_set_up_filled_backed_up_and_shown_to_be_whole() {
    let (home, emulator) = (home(), emulator());
    let on = |arguments: &[&str]| {
        let mut command = with_google(karute(home.path()), &emulator);
        command.env("KARUTE_EMBEDDER", "lexical").env("KARUTE_BACKUP_FOLDER", "folder");
        command.args(arguments).output().expect("the program runs")
    };
    emulator.edit(|book| drop(book.tabs.remove(3)));
    let made = json(&on(&["init-sheet", "--json"]));
    assert_eq!((&made["made"][0], made["kept"].as_array().map(Vec::len)), (&"ChatHistory".into(), Some(3)));
    assert_eq!(emulator.workbook().tabs[3].rows[0].len(), 8, "the header is there");

    let done = json(&on(&["backup", "--out", "kept", "--json"]));
    let name = done["copy"].as_str().expect("a copy");
    assert!(
        name.starts_with("VectorDB_Backup_20") && name.len() == "VectorDB_Backup_yyyyMMdd_HHmmss".len(),
        "{name}"
    );
    assert_eq!(done["files"].as_array().expect("files").len(), 5);
    let copy = ["--copy", done["copy_id"].as_str().expect("a copy")];
    for kept in [&["kept"][..], &["kept/spreadsheet.xlsx"], &copy] {
        let checked = json(&on(&[&["restore", "--check", "--json"], kept].concat()));
        assert_eq!(checked["same"].as_u64(), done["rows"].as_u64(), "every row of every tab: {checked}");
    }
    // What is kept is a workbook that karute syncs like any other.
    let from_files = karute(home.path()).env("KARUTE_WORKBOOK", "kept").args(["sync", "--json"]).output();
    assert_eq!(json(&from_files.expect("the program runs"))["rows"], 1_194);

    emulator.edit(|book| book.tabs[0].rows[7][7] = "書き直した。".into());
    let differs = on(&["restore", "--check", "kept"]);
    assert_eq!(differs.status.code(), Some(1));
    assert_eq!(text(&differs.stdout).matches("KnowledgeBase row 8").count(), 2, "{}", text(&differs.stdout));
    // A vector counts, and so does every other tab.
    emulator.edit(|book| {
        book.tabs[0].rows[7][7] = "戻した。".into();
        book.tabs[1].rows[2][3] = "[0.5]".into();
        book.tabs[3].rows.push(vec!["s".into()]);
    });
    for kept in [&["kept"][..], &copy] {
        let differs = text(&on(&[&["restore", "--check"], kept].concat()).stdout);
        assert!(differs.contains("only in the backup: Embeddings row 3"), "{differs}");
        assert!(differs.contains("only in the source: ChatHistory row 2"), "{differs}");
    }

    // The newest stays, and whatever is not ours.
    let mut command = with_google(karute(home.path()), &emulator);
    command
        .env("KARUTE_BACKUP_FOLDER", "folder")
        .env("KARUTE_BACKUP_KEEP", "1")
        .env("KARUTE_BACKUP_DAYS", "0");
    let pruned = json(&command.args(["backup", "--json"]).output().expect("the program runs"));
    assert_eq!(pruned["binned"], serde_json::json!([name]));
    let files = emulator.files();
    assert_eq!((files.len(), files.values().filter(|file| file.trashed).count()), (3, 1));
    assert!(!files[google::SPREADSHEET].trashed);

    let mut command = with_google(karute(home.path()), &emulator);
    let nowhere = command.args(["backup"]).output().expect("the program runs");
    assert!(text(&nowhere.stderr).contains("KARUTE_BACKUP_FOLDER"), "{}", text(&nowhere.stderr));
}

#[test]
fn computed_vectors_go_back_to_the_sheet_and_another_model_is_compared_before_it_is_taken() {
    let (home, emulator) = (home(), emulator());
    emulator.edit(|book| {
        book.tabs[0].rows.truncate(41);
        book.tabs[1].rows.truncate(1);
        // Two records under one id, the later of which is kept: whose a vector under that id is, nobody can tell.
        let mut other = book.tabs[0].rows[40].clone();
        other[7] = "別の方の記録です。水分をよく摂られ、夜間もよく眠れたとのことでした。".into();
        book.tabs[0].rows.push(other);
    });
    let on = |model: &str, arguments: &[&str]| {
        let mut command = with_google(karute(home.path()), &emulator);
        command.env("GCP_PROJECT_ID", "emulated").env("VERTEX_AI_EMBEDDINGS_MODEL", model);
        command.args(arguments).output().expect("the program runs")
    };
    let old = "gemini-embedding-001";
    // They were paid for and not written; or a writing failed. Asked for, they are written without being paid for again.
    json(&on(old, &["sync", "--embed-missing", "--json"]));
    assert_eq!(emulator.workbook().tabs[1].rows.len(), 1);
    let paid = emulator.embedded();
    // A sheet that may only be read: the run has published all the same, and a later one makes up for it. A note far below is no
    // part of the table.
    emulator.edit(|book| {
        let mut note = vec!["".into(); 9];
        note[8] = "あとで確認".into();
        book.tabs[1].rows.resize(60, Vec::new());
        book.tabs[1].rows.push(note);
    });
    emulator.fault("POST", ":append", 1, Effect::Status(403));
    let refused = json(&on(old, &["sync", "--embed-missing", "--write-back", "--full", "--json"]));
    assert!(refused["not_written_back"].as_str().is_some_and(|why| why.contains("share it")), "{refused}");
    let made = json(&on(old, &["sync", "--embed-missing", "--write-back", "--json"]));
    let written = made["run"]["vectors_written"].as_u64().expect("a number");
    let computed = refused["report"]["vectors_computed"].as_u64().expect("a number");
    assert!(written > 30 && written + 1 == computed, "{written} of {computed}");
    assert_eq!(made["snapshot_id"], refused["snapshot_id"], "nothing else had changed");
    assert_eq!(emulator.embedded(), paid);
    let filled =
        |rows: &[Vec<Cell>]| rows.iter().filter(|row| row.first().is_some_and(|id| *id != "".into())).count();
    assert_eq!(filled(&emulator.workbook().tabs[1].rows) as u64, 1 + written);
    let once_more = json(&on(old, &["sync", "--embed-missing", "--write-back", "--json"]));
    assert_eq!(once_more["run"]["vectors_written"], 0, "what stands there is not written again");
    let unchanged = json(&on(old, &["sync", "--embed-missing", "--write-back", "--json"]));
    assert_eq!(unchanged["run"]["unchanged"], true, "the one that nobody can place is not waited for");
    // Another machine, which has paid for nothing, finds them in the sheet.
    std::fs::remove_dir_all(home.path().join("karute-data")).expect("removed");
    let (paid, again) = (emulator.embedded(), json(&on(old, &["sync", "--json"])));
    assert_eq!((again["report"]["vectors_used"].as_u64(), emulator.embedded()), (Some(written), paid));

    let beside = json(&on(old, &["sync", "--re-embed", "gemini-embedding-2", "--json"]));
    assert!(beside["overlap"]["neighbours"].as_f64().expect("a number") > 0.5, "{beside}");
    assert_eq!(
        json(&on(old, &["search", "体温", "--json"]))["snapshot_id"],
        again["snapshot_id"],
        "not switched"
    );
    let switched = json(&on(old, &["sync", "--re-embed", "gemini-embedding-2", "--switch", "--json"]));
    assert_eq!(switched["snapshot_id"], beside["snapshot_id"]);
    let hits = json(&on("gemini-embedding-2", &["search", "体温", "--json"]));
    assert_eq!(hits["snapshot_id"], beside["snapshot_id"]);
    emulator.edit(|book| book.tabs[0].rows.truncate(4));
    let refused = on(old, &["sync", "--re-embed", old, "--switch"]);
    assert_eq!(refused.status.code(), Some(12), "{}", text(&refused.stderr));
    let unknown = on(old, &["sync", "--re-embed", "gemini-embedding-9"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown.stderr));
}

#[test]
fn a_machine_at_google_needs_no_key_and_asks_for_the_scopes_that_a_call_needs() {
    let (home, emulator) = (home(), emulator());
    emulator.guard();
    let on = |arguments: &[&str]| {
        let mut command = with_google(karute(home.path()), &emulator);
        command
            .env("KARUTE_GOOGLE_ANONYMOUS", "false")
            .env("GCP_PROJECT_ID", "emulated")
            .env("HOME", home.path());
        command.args(arguments).output().expect("the program runs")
    };
    // The token that Cloud Run gives to whoever names no scopes opens no spreadsheet.
    let synced = json(&on(&["sync", "--json"]));
    assert_eq!(synced["rows"], 1_194);
    let read = emulator.tokens();
    assert!(read <= 3, "one look for the server, one token: {read}");
    let made = json(&on(&["sync", "--embed-missing", "--write-back", "--full", "--json"]));
    assert_eq!(made["run"]["unchanged"], false);
}

#[test]
fn preflight_asks_for_the_time_the_alerts_and_the_rights_in_the_bucket() {
    let (home, emulator) = (home(), emulator());
    let bucket = home.path().join("bucket");
    std::fs::create_dir(&bucket).expect("made");
    let found = || -> Vec<(String, String)> {
        let mut command = with_google(karute(home.path()), &emulator);
        command
            .env("KARUTE_EMBEDDER", "lexical")
            .env("GCP_PROJECT_ID", "emulated")
            .env("K_SERVICE", "karute")
            .env("KARUTE_BUCKET", format!("file://{}", bucket.display()));
        let output = command.args(["preflight", "--json"]).output().expect("the program runs");
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let checks = told["checks"].as_array().expect("checks");
        checks
            .iter()
            .map(|check| {
                (text(&check["name"]), format!("{} {}", text(&check["verdict"]), text(&check["detail"])))
            })
            .collect()
    };
    let verdict = |name: &str| {
        let found = found();
        found.iter().find(|(of, _)| of == name).map(|(_, verdict)| verdict.clone()).expect("the check")
    };
    assert_eq!(verdict("clock"), "pass as Google's");
    assert!(verdict("alerts").starts_with("fail "), "{}", verdict("alerts"));
    emulator.alert("KaruteErrors");
    assert_eq!(verdict("alerts"), "warn 1 of karute's 16 are on");
    (1..16).for_each(|number| emulator.alert(&format!("Karute{number}")));
    assert_eq!(verdict("alerts"), "pass 16 of karute's are on");
    assert!(verdict("bucket").contains("can be read and written"), "{}", verdict("bucket"));
    assert_eq!(std::fs::read_dir(&bucket).expect("a directory").count(), 0, "nothing is left there");
}

//! Fear: a spreadsheet that is read dearly, half, or in silence. Everything here runs against an emulator of Google.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use karute_engine::{Precision, Store, StoreError};
use karute_server::catalogue::Catalogue;
use karute_sync::backup::{Backup, BackupError};
use karute_sync::google::{Client, Credentials, GoogleError, Limits, scope};
use karute_sync::job::{self, How, Silent, SyncError};
use karute_sync::lexical::Lexical;
use karute_sync::report::{QualityReport, Reason};
use karute_sync::source::{SheetNames, Source, SourceError};
use karute_sync::spreadsheet::Spreadsheet;
use karute_sync::workbook::Workbook;
use karute_sync::{backup, layout};
use karute_tests::google::workbook::{Cell, Tab};
use karute_tests::google::{self, Effect, Emulator};
use karute_tests::small::{
    Small, Unasked, block_on, cells, changes, contents, full, limits, record, source, vector, workbook,
};

fn reasons(outcome: &job::Outcome) -> Vec<Reason> {
    outcome.report.findings.iter().map(|finding| finding.reason).collect()
}

#[test]
fn a_sheet_of_clients_names_them_and_a_sheet_of_that_name_with_other_columns_is_left_alone() {
    for (header, named) in [(["client_id", "name", "フリガナ"], true), (["会社", "電話", "備考"], false)]
    {
        let mut book = karute_tests::small::workbook(3);
        let lines =
            vec![cells(&header), cells(&["CL-1", "江口　照男", "エグチ テルオ"]), cells(&["CL-77", "", ""])];
        book.tabs.push(Tab::new("Clients", 21, lines));
        let emulator = Emulator::start(([127, 0, 0, 1], 0).into(), book).expect("a port");
        let spreadsheet = source(&emulator, Credentials::nobody(), limits(), 2_000_000);
        let home = tempfile::tempdir().expect("a directory");
        let store = Store::open(home.path()).expect("a store");
        let now = karute_tests::small::NOW;
        let run = || {
            block_on(job::run(&spreadsheet, &Unasked::default(), &store, now, changes(), &Silent))
                .expect("published")
        };
        let outcome = run();
        let expected = if named { Reason::ClientUnnamed } else { Reason::ClientColumns };
        assert!(reasons(&outcome).contains(&expected), "{:?}", outcome.report.findings);
        let names: Vec<&str> = outcome.index.clients().iter().map(|client| client.name.as_str()).collect();
        assert_eq!(names, if named { &["江口 照男"][..] } else { &[] });
        assert!(run().run.unchanged);
        assert!(job::looked_at(&outcome.index, &store).is_some());
        // Another name there is another snapshot.
        if named {
            emulator.edit(|book| {
                book.tab("Clients").expect("the tab").rows[1] = cells(&["CL-1", "江口 輝男", ""]);
            });
            assert_eq!(run().index.clients()[0].name, "江口 輝男");
        }
    }
}

#[test]
fn the_sample_as_a_spreadsheet_gives_the_rows_of_the_sample_as_a_file() {
    let emulator =
        Emulator::start(([127, 0, 0, 1], 0).into(), google::sample().expect("the sample")).expect("a port");
    let (one, two) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let run = |source: &dyn Source, store: &Store| {
        let now = karute_tests::small::NOW;
        block_on(job::run(source, &Lexical::default(), store, now, How::default(), &Silent))
            .expect("published")
    };
    let spreadsheet = source(&emulator, Credentials::nobody(), limits(), 2_000_000);
    let live = run(&spreadsheet, &Store::open(one.path()).expect("a store"));
    let file = run(&Workbook::sample(), &Store::open(two.path()).expect("a store"));
    // Only a spreadsheet has links.
    let gid = live.report.gid;
    assert_eq!(live.report, QualityReport { gid, ..file.report });
    let origin = live.index.row(0).expect("a row").origin;
    let catalogue = Catalogue::of(&live.index).expect("sound");
    let row = origin.row_number;
    let link = format!(
        "https://docs.google.com/spreadsheets/d/{}/edit#gid={}&range=A{row}:O{row}",
        google::SPREADSHEET,
        gid.expect("a number")
    );
    assert_eq!(catalogue.link(&origin), Some(link));
    assert_eq!(Catalogue::of(&file.index).expect("sound").link(&origin), None);
    assert!(catalogue.clients.iter().any(|client| client.name_kana == "エグチ テルオ"));
    let bare = |index| {
        let mut rows = contents(index);
        rows.iter_mut().for_each(|(row, _)| row.origin.spreadsheet.clear());
        rows
    };
    assert!(bare(&live.index) == bare(&file.index));
    assert!(live.run.usage.calls <= 12, "{:?}", live.run);
}

#[test]
fn a_sync_without_a_change_is_one_small_call() {
    let small = Small::new(workbook(30));
    let first = small.sync(changes()).expect("published");
    assert!(!first.run.unchanged && first.run.vectors_read == 30);
    small.emulator.forget();
    let second = small.sync(changes()).expect("published");
    assert!(second.run.unchanged);
    assert_eq!((second.index.id(), &second.report), (first.index.id(), &first.report));
    let calls = small.emulator.answered();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert!(calls[0].path.starts_with("drive/v3/files/") && small.emulator.sent() < 300);
}

#[test]
fn of_a_changed_spreadsheet_only_changed_vectors_are_read() {
    let mut small = Small::new(workbook(200));
    small.payload = 20_000;
    small.sync(changes()).expect("published");
    small.emulator.forget();
    small.emulator.edit(|book| {
        let tabs = &mut book.tabs;
        tabs[0].rows[5] = record(5, "書き直した。");
        for number in [20, 21, 150] {
            tabs[1].rows[number] =
                vector(&format!("KB_{number:03}"), 9_000 + number as u64, "2026-11-20 10:00:00");
        }
        tabs[0].rows.push(record(300, "新しい。"));
        tabs[1].rows.push(vector("KB_300", 300, "2026-11-20 10:00:00"));
        // A row that goes takes the numbers of all rows behind it along.
        tabs[0].rows.remove(100);
        tabs[1].rows.remove(100);
    });
    let outcome = small.sync(changes()).expect("published");
    assert_eq!((outcome.run.vectors_read, outcome.run.vectors_reused), (4, 196));
    assert!(contents(&outcome.index) == contents(&small.anew()));
    assert_eq!(reasons(&outcome), [Reason::VectorStale], "the text of record 5 changed, its vector did not");
    // The stale vector stays stale, whatever else is synced, until somebody makes a new one.
    small.emulator.touch();
    let again = small.sync(changes()).expect("published");
    assert_eq!(reasons(&again), [Reason::VectorStale]);
    assert_eq!(again.index.id(), outcome.index.id());
    let whole = small.sync(full()).expect("published");
    assert_eq!(reasons(&whole), [Reason::VectorStale]);
    // The same vector under other narrow cells is as old as it was.
    small.emulator.edit(|book| {
        book.tabs[1].rows[5][5] = "2026-11-03 10:00:00".into();
        book.tabs[1].rows[0].push("note".into());
    });
    let again = small.sync(changes()).expect("published");
    assert!(again.run.vectors_read > 0);
    assert_eq!(reasons(&again), [Reason::VectorStale]);
    small.emulator.edit(|book| book.tabs[1].rows[5] = vector("KB_005", 77, "2026-11-24 10:00:00"));
    assert_eq!(reasons(&small.sync(changes()).expect("published")), []);
}

#[test]
fn nothing_is_taken_over_from_a_damaged_snapshot() {
    use std::fs;
    let small = Small::new(workbook(30));
    let first = small.sync(changes()).expect("synced");
    let vector = |outcome: &job::Outcome| {
        outcome.index.passages_of(7).expect("sound").remove(0).into_vector().into_owned()
    };
    let path = small.store.path_of(first.index.id());
    let mut bytes = fs::read(&path).expect("read");
    let vectors = first.index.sections().iter().find(|entry| entry.kind == 10).expect("vectors");
    let row = vectors.offset as usize + 7 * 16;
    // Every sign of a vector: it has unit length still.
    (0..4).for_each(|number| bytes[row + number * 4 + 3] ^= 0x80);
    fs::remove_file(&path).expect("removed");
    fs::write(&path, bytes).expect("written");
    assert!(small.store.current().expect("a snapshot").index.verify().is_err());
    // Nothing has changed at the source, and yet this sync mends it.
    let again = small.sync(changes()).expect("synced");
    assert!(!again.run.unchanged && again.run.vectors_reused == 0, "{:?}", again.run);
    again.index.verify().expect("sound");
    assert_eq!((again.index.id(), vector(&again)), (first.index.id(), vector(&first)));
}

#[test]
fn half_precision_is_made_of_what_is_there_and_full_precision_is_read_again() {
    let small = Small::new(workbook(30));
    let in_bits = |how, precision| small.sync(How { precision, ..how }).expect("published");
    in_bits(changes(), Precision::F32);
    small.emulator.edit(|book| book.tabs[0].rows[5] = record(5, "書き直した。"));
    let half = in_bits(changes(), Precision::F16);
    assert_eq!((half.run.vectors_read, half.run.vectors_reused), (0, 30));
    assert_eq!(half.index.precision(), Precision::F16);
    assert!(in_bits(changes(), Precision::F16).run.unchanged);
    let whole = in_bits(full(), Precision::F16);
    assert_eq!(reasons(&whole), [Reason::VectorStale], "a rounded vector is known again");
    assert_eq!(whole.index.id(), half.index.id());
    let again = in_bits(changes(), Precision::F32);
    assert_eq!((again.run.vectors_read, again.run.vectors_reused), (30, 0));
    assert!(contents(&again.index) == contents(&small.anew()));
}

#[test]
fn a_version_that_grows_for_nothing_is_looked_into_once() {
    let small = Small::new(workbook(10));
    let first = small.sync(changes()).expect("published");
    small.emulator.touch();
    let second = small.sync(changes()).expect("published");
    assert!(!second.run.unchanged && second.run.vectors_read == 0);
    assert_eq!(first.index.id(), second.index.id());
    assert!(small.sync(changes()).expect("published").run.unchanged, "what was found is remembered");
}

#[test]
fn an_edit_of_vector_cells_alone_is_seen_by_the_next_full_pass() {
    let mut small = Small::new(workbook(10));
    let first = small.sync(changes()).expect("published");
    small.emulator.edit(|book| book.tabs[1].rows[3] = vector("KB_003", 4_444, "2026-11-01 10:00:00"));
    let second = small.sync(changes()).expect("published");
    assert_eq!(second.run.full_pass, first.run.full_pass);
    assert_eq!(second.index.id(), first.index.id(), "narrow columns do not show it");
    small.now += Duration::from_secs(24 * 3_600);
    let third = small.sync(changes()).expect("published");
    assert_eq!(third.run.vectors_read, 10);
    assert_ne!(third.run.full_pass, first.run.full_pass);
    assert!(contents(&third.index) == contents(&small.anew()));
    assert_ne!(third.index.id(), first.index.id());
}

#[test]
fn under_another_header_the_same_cells_are_read_again() {
    let small = Small::new(workbook(10));
    let first = small.sync(changes()).expect("published");
    small.emulator.edit(|book| book.tabs[1].rows[0].swap(3, 4));
    let second = small.sync(changes()).expect("published");
    assert_eq!(second.run.vectors_read, 10);
    assert!(contents(&second.index) == contents(&small.anew()) && second.index.id() != first.index.id());
}

async fn saved(sheet: &Spreadsheet, out: &Path) -> Result<Backup, BackupError> {
    backup::save(sheet, &sheet.address(), out).await
}

#[test]
fn tabs_whose_file_names_would_be_one_are_backed_up_apart() {
    let small = Small::new(workbook(3));
    small.emulator.edit(|book| {
        book.tabs.push(Tab::new("a/b", 20, vec![cells(&["=1+1", " x ", "two\nlines \"quoted\", comma"])]));
        book.tabs.push(Tab::new("a_b", 21, vec![cells(&["other"])]));
    });
    let out = small.home().join("out");
    let sheet = source(&small.emulator, Credentials::nobody(), limits(), 2_000_000);
    let done = block_on(saved(&sheet, &out)).expect("written");
    let read = |name: &str| std::fs::read_to_string(out.join(name)).expect("a file");
    assert_eq!(read("a_b.csv"), "=1+1, x ,\"two\nlines \"\"quoted\"\", comma\"\n");
    assert_eq!((read("a_b (2).csv").as_str(), done.files.len()), ("other\n", 7));
    let live = source(&small.emulator, Credentials::nobody(), limits(), 2_000_000);
    let kept = || Workbook::at(&out, SheetNames::default());
    let whole = block_on(backup::compare(&kept(), Some(&out), &live)).expect("read");
    assert!(whole.only_in_backup.is_empty() && whole.only_in_source.is_empty(), "{whole:?}");

    // A backup that fails leaves the one before; a tab that is gone leaves no file behind, and other files stay.
    std::fs::write(out.join("own.csv"), "mine\n").expect("written");
    let beside = block_on(backup::compare(&kept(), Some(&out), &live)).expect("read");
    assert_eq!(beside, whole, "it is no part of the backup");
    small.emulator.edit(|book| drop(book.tabs.pop()));
    let names = || {
        let entries =
            std::fs::read_dir(&out).expect("a directory").map(|entry| entry.expect("an entry").file_name());
        entries.map(|name| name.into_string().expect("UTF-8")).collect::<BTreeSet<_>>()
    };
    let before = names();
    let few = Limits { max_calls: 3, ..limits() };
    let failing = source(&small.emulator, Credentials::nobody(), few, 2_000_000);
    block_on(saved(&failing, &out)).expect_err("too few calls");
    assert_eq!(names(), before);
    block_on(saved(&live, &out)).expect("written");
    assert_eq!(before.difference(&names()).collect::<Vec<_>>(), ["a_b (2).csv"]);
    assert!(names().contains("own.csv"));
}

#[test]
fn runs_that_follow_each_other_draw_on_one_quota() {
    let small = Small::new(workbook(10));
    // A burst of ten calls, and one more in each two seconds.
    let pace = Limits { reads_per_minute: 40, deadline: Duration::from_millis(300), ..limits() };
    let begun = std::time::Instant::now();
    let ended: Vec<bool> = (0..8).map(|_| small.sync_within(full(), pace).is_ok()).collect();
    assert!(ended[0], "a whole run fits into the burst");
    let calls = small.emulator.answered().len() as f64;
    assert!(calls <= 10.0 + begun.elapsed().as_secs_f64() / 2.0 + 1.0, "{calls} calls of {ended:?}");
}

#[test]
fn a_pause_that_is_longer_than_a_run_may_wait_ends_it() {
    let small = Small::new(workbook(3));
    small.emulator.fault("GET", "drive/v3/files", 1, Effect::RetryAfter(600));
    let error = small.sync(changes()).expect_err("ten minutes").to_string();
    assert!(error.contains("600 s") && small.emulator.answered().len() == 1, "{error}");
}

#[test]
fn what_an_unreadable_answer_holds_reaches_no_error() {
    for (path, body) in [
        ("values:batchGet", r#"{"valueRanges":[{"values":["患者の記録"]}]}"#),
        ("v4/spreadsheets", r#""患者の記録""#),
        ("v4/spreadsheets", r#"{"sheets":"患者の記録"}"#),
        ("drive/v3/files", r#"{"version":["患者の記録"]}"#),
    ] {
        let small = Small::new(workbook(3));
        small.emulator.fault("GET", path, 9, Effect::Body(body));
        let error = small.sync(changes()).expect_err("no answer").to_string();
        assert!(!error.contains('患') && error.contains("line 1"), "{path} {body}: {error}");
    }
}

#[test]
fn what_stands_under_no_header_is_named() {
    let small = Small::new(workbook(4));
    small.emulator.edit(|book| {
        book.tabs[0].rows[2].extend(cells(&["", "落ちた欄"]));
        book.tabs[0].rows[0][10] = Cell::Empty;
    });
    let error = small.sync(changes()).expect_err("no column for tags").to_string();
    assert!(error.contains("tags"), "{error}");
    small.emulator.edit(|book| book.tabs[0].rows[0][10] = "tags".into());
    let outcome = small.sync(changes()).expect("published");
    let named: Vec<_> = outcome.report.findings.iter().map(|finding| (finding.row, finding.reason)).collect();
    assert_eq!(named, [(3, Reason::NoHeader)]);
}

#[test]
fn a_backup_of_what_moves_is_that_of_one_moment() {
    for moves in 1..=2 {
        let small = Small::new(workbook(40));
        for number in 0..moves {
            small.emulator.edit_before("values:batchGet", move |book| {
                book.tabs[0].rows.insert(1, record(900 + number, "間に入った。"));
                drop(book.tabs[1].rows.pop());
            });
        }
        let out = small.home().join("out");
        let sheet = || source(&small.emulator, Credentials::nobody(), limits(), 20_000);
        let saved = block_on(saved(&sheet(), &out)).expect("written");
        assert_eq!(
            saved.rows as usize,
            small.emulator.workbook().tabs.iter().map(|tab| tab.rows.len()).sum::<usize>()
        );
        let kept = Workbook::at(&out, SheetNames::default());
        let whole = block_on(backup::compare(&kept, Some(&out), &sheet())).expect("read");
        assert!(whole.only_in_backup.is_empty() && whole.only_in_source.is_empty(), "{whole:?}");
    }
    let small = Small::new(workbook(3));
    small.emulator.edit(|_| {});
    let out = small.home().join("out");
    let sheet = source(&small.emulator, Credentials::nobody(), limits(), 20_000);
    block_on(saved(&sheet, &out)).expect("written");
    std::fs::write(out.join("backup.json"), r#"{"place":"elsewhere","tabs":[]}"#).expect("written");
    let error = block_on(saved(&sheet, &out)).expect_err("another's").to_string();
    assert!(error.contains("elsewhere"), "{error}");
}

#[test]
fn sheets_are_made_whole_or_not_at_all() {
    let small = Small::new(workbook(3));
    small.emulator.edit(|book| book.tabs.truncate(1));
    let client = Client::new(
        small.emulator.url().parse().expect("an address"),
        Credentials::nobody(),
        scope::WRITE,
        limits(),
    )
    .expect("a client");
    small.emulator.fault("POST", ":batchUpdate", 1, Effect::Status(400));
    block_on(layout::create(&client, google::SPREADSHEET, &SheetNames::default())).expect_err("refused");
    assert_eq!(small.emulator.workbook().tabs.len(), 1, "nothing that a second run would take for finished");
    let made = block_on(layout::create(&client, google::SPREADSHEET, &SheetNames::default())).expect("made");
    assert_eq!((made.made.len(), made.kept.len()), (3, 1));
    for tab in &small.emulator.workbook().tabs[1..] {
        assert!(tab.rows[0].len() >= 7, "{}", tab.title);
    }
}

#[test]
fn what_moves_while_it_is_read_is_read_again() {
    for path in ["values:batchGet", "drive/v3/files"] {
        for skipped in 0..6 {
            let small = Small::new(workbook(40));
            for _ in 0..skipped {
                small.emulator.edit_before(path, |_| {});
            }
            small.emulator.edit_before(path, |book| {
                book.tabs[0].rows.remove(3);
                book.tabs[1].rows.insert(1, vector("KB_020", 5, "2026-11-02"));
                book.tabs[0].rows[10] = record(11, "同時に書き直した。");
            });
            let mut outcome = small.sync(changes()).expect("published");
            if contents(&outcome.index) != contents(&small.anew()) {
                // It came behind the last look; then the next sync must see it.
                outcome = small.sync(changes()).expect("published");
                assert!(!outcome.run.unchanged);
            }
            assert!(contents(&outcome.index) == contents(&small.anew()), "{path}, {skipped}");
        }
    }
}

#[test]
fn a_spreadsheet_that_never_holds_still_is_given_up_and_nothing_is_published() {
    let small = Small::new(workbook(5));
    for round in 0..40 {
        small.emulator.edit_before("drive/v3/files", move |book| {
            book.tabs[0].rows[1] = record(1, &format!("変更{round}"));
        });
    }
    let error = small.sync(changes()).expect_err("it moves");
    assert!(matches!(error, SyncError::Source(SourceError::Moving { .. })), "{error}");
    assert!(matches!(small.store.current(), Err(StoreError::Empty { .. })));
}

#[test]
fn old_layouts_packed_cells_and_numbers_are_read() {
    let mut book = workbook(4);
    let packed = karute_sync::numbers::Packing::F32.pack(&[0.0, 0.6, 0.8, 0.0]);
    book.tabs[1].rows[2] = cells(&["KB_002", "m", "4", &packed, "", "2026-11-01"]);
    // Five cells of the old writers under the new header.
    book.tabs[1].rows[3] = cells(&["KB_003", "[0,1,0,0]", "m", "RETRIEVAL_DOCUMENT", "2026-11-01"]);
    // Dates as serial numbers, ids that look like numbers.
    book.tabs[0].rows[4][12] = Cell::Date(46_327.0, "2026-11-01".into());
    book.tabs[0].rows[4][4] = Cell::Number(12_345.0);
    let small = Small::new(book);
    let outcome = small.sync(changes()).expect("published");
    assert_eq!(reasons(&outcome), [Reason::VectorOldLayout]);
    let rows = contents(&outcome.index);
    assert_eq!(rows[1].1, [[0.0, 0.6, 0.8, 0.0]]);
    assert_eq!(rows[2].1, [[0.0, 1.0, 0.0, 0.0]]);
    assert_eq!((rows[3].0.date.as_str(), rows[3].0.source_id.as_str()), ("2026-11-01", "12345"));
    assert_eq!(outcome.index.id(), small.sync(full()).expect("published").index.id());

    let mut book = workbook(0);
    let old = cells(&["kb_id", "embedding", "model", "task_type", "generated_at"]);
    let vector = cells(&["KB_001", "[0,0,1,0]", "m", "RETRIEVAL_DOCUMENT", "2026-11-01"]);
    book.tabs[1] = Tab::new("Embeddings", 11, vec![old, vector]);
    book.tabs[0].rows.push(record(1, "一行。"));
    let small = Small::new(book);
    let outcome = small.sync(changes()).expect("published");
    assert_eq!((contents(&outcome.index)[0].1.len(), outcome.report.findings.len()), (1, 0));
}

#[test]
fn what_google_refuses_is_told_with_its_remedy() {
    let said = |method, path, effect| {
        let small = Small::new(workbook(3));
        small.emulator.fault(method, path, 100, effect);
        let error = small.sync(changes()).expect_err("refused");
        assert!(matches!(small.store.current(), Err(StoreError::Empty { .. })));
        error.to_string()
    };
    for (effect, expected) in [
        (Effect::Status(401), "clock"),
        (Effect::Status(403), "share it"),
        (Effect::Reason(403, "SERVICE_DISABLED"), "gcloud services enable drive.googleapis.com"),
        (Effect::Reason(403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"), "drive.metadata.readonly"),
        (Effect::Status(404), "check the id"),
        (Effect::Status(503), "4 attempts"),
        (Effect::Status(429), "Quota exceeded"),
        (Effect::Torn(10), "the connection broke"),
        (Effect::Body("<html>"), "cannot read"),
    ] {
        let message = said("GET", "drive/v3", effect);
        assert!(message.contains(expected), "{effect:?}: {message}");
    }
    assert!(said("GET", "values", Effect::Status(403)).contains("Google Sheets"));

    let small = Small::new(workbook(3));
    small.emulator.edit(|book| book.tabs[1].title = "ベクトル".into());
    let message = small.sync(changes()).expect_err("renamed").to_string();
    assert!(message.contains("\"Embeddings\"") && message.contains("ベクトル"), "{message}");
    small.emulator.edit(|book| book.tabs[1] = Tab::new("Embeddings", 1, vec![cells(&["kb_id", "model"])]));
    let message = small.sync(changes()).expect_err("no vectors").to_string();
    assert!(message.contains("embedding_part1"), "{message}");
    small.emulator.edit(|book| book.tabs[0].rows.truncate(1));
    assert!(matches!(small.sync(changes()), Err(SyncError::Source(SourceError::Empty { .. }))));
    small.emulator.edit(|book| book.tabs[0].rows.clear());
    assert!(matches!(small.sync(changes()), Err(SyncError::Source(SourceError::MissingColumn { .. }))));
}

#[test]
fn a_service_that_recovers_is_waited_for() {
    for effect in [
        Effect::Status(429),
        Effect::RetryAfter(0),
        Effect::Status(500),
        Effect::Status(502),
        Effect::Status(503),
        Effect::Status(504),
        Effect::Torn(20),
        Effect::Reason(403, "rateLimitExceeded"),
        Effect::Slow(Duration::from_millis(1)),
    ] {
        let small = Small::new(workbook(3));
        small.emulator.fault("GET", "values:batchGet", 2, effect);
        let outcome = small.sync(changes()).expect("published");
        let slow = matches!(effect, Effect::Slow(_));
        assert_eq!(outcome.run.usage.retries, if slow { 0 } else { 2 }, "{effect:?}");
    }
}

#[test]
fn retry_after_is_honoured() {
    let small = Small::new(workbook(3));
    small.emulator.fault("GET", "values:batchGet", 1, Effect::RetryAfter(1));
    let begun = std::time::Instant::now();
    small.sync(changes()).expect("published");
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn a_run_stays_below_the_quota() {
    let mut small = Small::new(workbook(120));
    small.payload = 2_000;
    // A minute of half a second; the pace is that of a minute, so that a run this short may only use the burst.
    small.emulator.quota(40, Duration::from_secs(60));
    let pace = Limits { reads_per_minute: 40, deadline: Duration::from_secs(2), ..limits() };
    let error = small.sync_within(changes(), pace).expect_err("more calls than the burst");
    assert!(
        matches!(error, SyncError::Source(SourceError::Google(GoogleError::Deadline { seconds: 2 }))),
        "{error}"
    );
    assert!(
        small.emulator.answered().iter().all(|answered| answered.status == 200),
        "none was over the quota"
    );
    assert!(small.emulator.answered().len() >= 10);
}

#[test]
fn a_run_makes_no_more_calls_than_it_may_and_takes_no_longer() {
    let small = Small::new(workbook(3));
    small.emulator.fault("GET", "values", 1_000, Effect::Status(503));
    let few = Limits { max_calls: 5, attempts: 100, ..limits() };
    let error = small.sync_within(changes(), few).expect_err("five calls are too few");
    assert!(error.to_string().contains("KARUTE_SYNC_MAX_CALLS"), "{error}");
    assert_eq!(small.emulator.answered().len(), 5);
    small.emulator.heal();
    small.emulator.fault("GET", "values", 1, Effect::Wait(Duration::from_secs(30)));
    let short = Limits { deadline: Duration::from_millis(300), ..limits() };
    let error = small.sync_within(changes(), short).expect_err("too slow");
    assert!(error.to_string().contains("KARUTE_SYNC_DEADLINE"), "{error}");
}

#[test]
fn a_service_account_gets_the_least_scopes_and_one_token() {
    let small = Small::new(workbook(3));
    small.emulator.guard();
    let unsigned = small.sync(changes()).expect_err("nobody").to_string();
    assert!(unsigned.contains("access token"), "{unsigned}");
    let key = small.emulator.key_file(small.home()).expect("written");
    let run = |scopes: &'static [&'static str]| {
        block_on(async {
            let host = small.emulator.url().parse().expect("an address");
            let credentials = Credentials::key(&key, None);
            let client =
                karute_sync::google::Client::new(host, credentials, scopes, limits()).expect("a client");
            let names = karute_sync::source::SheetNames::default();
            let source =
                karute_sync::spreadsheet::Spreadsheet::new(client, google::SPREADSHEET, names, 2_000_000);
            job::run(&source, &Unasked::default(), &small.store, small.now, changes(), &Silent).await
        })
    };
    run(karute_sync::google::scope::READ).expect("published");
    let error = run(karute_sync::google::scope::CLOUD).expect_err("the wrong scope").to_string();
    assert!(error.contains("does not cover") && !error.contains("emulated."), "{error}");
    // Half a key, and a key that was written as a JSON text, as stores of secrets sometimes give it.
    for wrong in ["{\"private_key\": \"s3cret\"", "\"{\\\"private_key\\\": \\\"s3cret\\\"}\""] {
        std::fs::write(&key, wrong).expect("written");
        let error = run(karute_sync::google::scope::READ).expect_err("no key").to_string();
        assert!(error.contains("GOOGLE_APPLICATION_CREDENTIALS") && !error.contains("s3cret"), "{error}");
    }
}

#[test]
fn long_rows_behind_short_ones_are_read_in_smaller_pieces() {
    let (short, long) = (480, 960);
    let mut book = workbook(short + long);
    for (number, row) in book.tabs[1].rows.iter_mut().enumerate().skip(1) {
        for cell in &mut row[3..5] {
            let Cell::Text(text) = cell else { continue };
            *text = match number <= short {
                true => String::new(),
                false => text.replace(',', &format!(",{}", " ".repeat(37_500))),
            };
        }
    }
    let small = Small::new(book);
    let source = source(&small.emulator, Credentials::nobody(), limits(), 32 << 20);
    let embedder = Unasked::default();
    let run = job::run(&source, &embedder, &small.store, small.now, full(), &Silent);
    let outcome = block_on(run).expect("published");
    assert_eq!(outcome.report.vectors_used, long as u64);
    // One that was too long, and then not one call a row.
    assert!(outcome.run.usage.calls < 40, "{:?}", outcome.run);
}

#[test]
fn a_sync_in_a_full_directory_publishes_nothing() {
    let small = Small::new(workbook(3));
    let before = small.sync(changes()).expect("published").index.id();
    small.emulator.edit(|book| book.tabs[0].rows[1] = record(1, "変更"));
    std::fs::remove_dir_all(small.store.directory().join("snapshots")).expect("removed");
    std::fs::write(small.store.directory().join("snapshots"), "in the way").expect("written");
    small.sync(changes()).expect_err("nowhere to write");
    let pointer = std::fs::read_to_string(small.store.directory().join("CURRENT")).expect("read");
    assert_eq!(pointer.trim(), before.to_string());
}

#[test]
fn callers_that_need_a_token_at_once_share_one() {
    let small = Small::new(workbook(3));
    let credentials = Credentials::key(small.emulator.key_file(small.home()).expect("written"), None);
    block_on(async {
        let wanted = (0..8).map(|_| credentials.token(karute_sync::google::scope::READ));
        for token in futures_util::future::join_all(wanted).await {
            assert!(token.expect("a token").is_some());
        }
    });
    assert_eq!(small.emulator.tokens(), 1);
}

//! Fear: a row that is lost in silence, or a run that stops because of one.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use karute_engine::{Draft, Embedding, GraphBuilder, LexicalSettings, Precision, Store, StoreError};
use karute_sync::embed::{EmbedError, Embedder, Task, embed_questions, passage_text};
use karute_sync::job::{self, How, Outcome, Pass, Run, Silent, SyncError};
use karute_sync::lexical::Lexical;
use karute_sync::report::{Action, Reason};
use karute_sync::source::{SheetNames, Source, SourceError};
use karute_sync::transfer;
use karute_sync::workbook::Workbook;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-11-24 09:00 UTC);

/// Runs a sync to its end; the local embedder never waits, so no runtime is needed.
fn sync_with(source: &dyn Source, embedder: &dyn Embedder, store: &Store) -> Result<Outcome, SyncError> {
    block_on(job::run(source, embedder, store, NOW, How::default(), &Silent))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

fn is_up_to_date(outcome: &Outcome, store: &Store, source: &dyn Source) -> bool {
    let how = How::default();
    let up_to_date = job::is_up_to_date(&outcome.index, store, source, &*LEXICAL, &how);
    block_on(up_to_date).expect("readable")
}

static LEXICAL: std::sync::LazyLock<Lexical> = std::sync::LazyLock::new(Lexical::default);

fn sync(source: &dyn Source) -> (tempfile::TempDir, Result<Outcome, SyncError>) {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let outcome = sync_with(source, &Lexical::default(), &store);
    (home, outcome)
}

fn sample_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sync/sample/karute-sample")
}

/// A copy of the sample's csv folder that a test may damage.
fn copy_of_sample() -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a directory");
    for entry in fs::read_dir(sample_folder()).expect("the sample") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, home.path().join(path.file_name().expect("a name"))).expect("copied");
    }
    home
}

fn at(path: &Path) -> Workbook {
    Workbook::at(path, SheetNames::default())
}

#[test]
fn the_sample_says_of_every_row_what_became_of_it() {
    let (_home, outcome) = sync(&Workbook::sample());
    let Outcome { index, report, run, .. } = outcome.expect("a published sample");
    assert_eq!(run, Run { vectors_read: run.vectors_read, ..Run::default() }, "a workbook costs no calls");
    assert_eq!(report.records, 1_200);
    assert_eq!(report.used + report.quarantined, report.records);
    assert_eq!(u64::from(index.len()), report.used);
    assert_eq!(report.vectors_used + report.vectors_quarantined, report.vectors);
    assert_eq!(report.vectors_used + report.vectors_computed, report.used);
    assert!((110..=130).contains(&report.vectors_used), "about a tenth bring their vector");
    assert!(report.terms >= 100);
    let counts = report.by_reason();
    let expected: BTreeMap<(Action, Reason), u64> = BTreeMap::from([
        ((Action::Quarantined, Reason::EmptyId), 1),
        ((Action::Quarantined, Reason::EmptyContent), 1),
        ((Action::Quarantined, Reason::DuplicateSame), 2),
        ((Action::Quarantined, Reason::DuplicateDifferent), 2),
        ((Action::Quarantined, Reason::OrphanVector), 3),
        ((Action::Quarantined, Reason::VectorDuplicate), 1),
        ((Action::Quarantined, Reason::VectorUnparsable), 1),
        ((Action::Quarantined, Reason::VectorIncomplete), 1),
        ((Action::Quarantined, Reason::VectorDimension), 1),
        ((Action::Quarantined, Reason::VectorZero), 1),
        ((Action::Quarantined, Reason::VectorOtherModel), 1),
        ((Action::Repaired, Reason::VectorOldLayout), 1),
        ((Action::Repaired, Reason::ShiftedColumns), 3),
        ((Action::Repaired, Reason::DateFormat), 2),
        ((Action::Repaired, Reason::PlaceholderClient), 2),
        ((Action::Repaired, Reason::TermSynonyms), 1),
        ((Action::Noted, Reason::DateUnreadable), 1),
        ((Action::Noted, Reason::MissingClient), 1),
        ((Action::Noted, Reason::OddClient), 1),
        ((Action::Noted, Reason::MissingSourceId), 2),
        ((Action::Noted, Reason::InvalidJson), 1),
        ((Action::Noted, Reason::FormulaLike), 1),
    ]);
    assert_eq!(counts, expected);
    index.verify().expect("sound");
    assert_eq!(index.report().expect("a report"), serde_json::to_string(&report).expect("JSON"));
}

#[test]
fn the_xlsx_and_the_csv_sample_hold_the_same_rows() {
    let (_one, xlsx) = sync(&Workbook::sample());
    let (_two, csv) = sync(&at(&sample_folder()));
    let (xlsx, csv) = (xlsx.expect("a snapshot"), csv.expect("a snapshot"));
    assert_eq!(xlsx.report, csv.report);
    for number in 0..xlsx.index.len() {
        let mut row = csv.index.row(number).expect("a row");
        row.origin.spreadsheet = "karute-sample.xlsx".into();
        assert_eq!(xlsx.index.row(number).expect("a row"), row);
    }
}

#[test]
fn a_vector_from_the_sheet_is_the_one_that_the_embedder_makes() {
    let (_home, outcome) = sync(&Workbook::sample());
    let index = outcome.expect("a snapshot").index;
    let lexical = Lexical::default();
    for number in (0..index.len()).step_by(7) {
        let row = index.row(number).expect("a row");
        let passages = index.passages_of(number).expect("passages");
        let text = passage_text(&row.title, &row.content[passages.last().expect("one").range()]);
        let vector = lexical.vector(&text).expect("words");
        let question = karute_engine::Embedding::new(lexical.identity().clone(), vector);
        let hits = index.search(&karute_engine::Query::new(&question).top(1)).expect("a search");
        assert!(hits[0].score > 0.999_99, "row {number} is not what is nearest to itself: {}", hits[0].score);
    }
}

#[test]
fn the_same_source_gives_the_same_snapshot_and_needs_no_second_sync() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let (source, lexical) = (Workbook::sample(), Lexical::default());
    let first = sync_with(&source, &lexical, &store).expect("published");
    assert!(is_up_to_date(&first, &store, &source));
    let second = sync_with(&source, &lexical, &store).expect("published");
    assert_eq!(first.index.id(), second.index.id());
    assert_eq!(store.list().expect("a list").len(), 1);
}

#[test]
fn vectors_are_kept_in_half_precision_where_that_is_asked_for_and_never_grow_back_from_it() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let (source, lexical) = (Workbook::sample(), Lexical::default());
    let synced = |precision| {
        let how = How { precision, ..How::default() };
        block_on(job::run(&source, &lexical, &store, NOW, how, &Silent)).expect("published").index
    };
    let whole = synced(Precision::F32);
    let half = synced(Precision::F16);
    assert_eq!(half.precision(), Precision::F16);
    assert!(half.file_length() < whole.file_length());
    let again = synced(Precision::F32);
    assert_eq!(again.id(), whole.id(), "a rounded vector was taken for a whole one");
}

#[test]
fn a_source_that_changed_without_changing_its_rows_needs_one_more_sync_only() {
    let folder = copy_of_sample();
    let source = at(folder.path());
    let (home, lexical) = (tempfile::tempdir().expect("a directory"), Lexical::default());
    let store = Store::open(home.path()).expect("a store");
    let before = sync_with(&source, &lexical, &store).expect("published");
    let path = folder.path().join("ChatHistory.csv");
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, format!("{text}s,u,user,x,[],[],{{}},t\n")).expect("written");
    assert!(!is_up_to_date(&before, &store, &source));
    let after = sync_with(&source, &lexical, &store).expect("published");
    assert_eq!(after.index.id(), before.index.id());
    assert!(is_up_to_date(&after, &store, &source));
}

#[test]
fn a_changed_workbook_is_seen_and_its_deleted_rows_leave() {
    let folder = copy_of_sample();
    let source = at(folder.path());
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let before = sync_with(&source, &Lexical::default(), &store).expect("published");
    let path = folder.path().join("KnowledgeBase.csv");
    let text = fs::read_to_string(&path).expect("read");
    let (kept, _last) = text.trim_end().rsplit_once('\n').expect("many rows");
    fs::write(&path, kept).expect("written");
    assert!(!is_up_to_date(&before, &store, &source));
    let after = sync_with(&source, &Lexical::default(), &store).expect("published");
    assert_eq!(after.index.len() + 1, before.index.len());
    assert_eq!(after.index.provenance().parent, before.index.id().to_string());
}

#[test]
fn what_is_missing_is_named_with_its_place_and_remedy() {
    let message = |source: &dyn Source| sync(source).1.expect_err("nothing to sync").to_string();
    let gone = message(&at(Path::new("no/such/workbook.xlsx")));
    assert!(gone.contains("no/such/workbook.xlsx") && gone.contains("KARUTE_WORKBOOK"), "{gone}");

    let folder = copy_of_sample();
    fs::remove_file(folder.path().join("Embeddings.csv")).expect("removed");
    let missing = message(&at(folder.path()));
    assert!(missing.contains("\"Embeddings\"") && missing.contains("KnowledgeBase"), "{missing}");

    let folder = copy_of_sample();
    let path = folder.path().join("KnowledgeBase.csv");
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, text.replacen("content", "contents", 1)).expect("written");
    let column = message(&at(folder.path()));
    assert!(column.contains("\"KnowledgeBase\"") && column.contains("\"content\""), "{column}");

    let (header, _) = text.split_once('\n').expect("a header");
    fs::write(&path, header).expect("written");
    assert!(matches!(sync(&at(folder.path())).1, Err(SyncError::Source(SourceError::Empty { .. }))));
    fs::write(&path, "").expect("written");
    assert!(sync(&at(folder.path())).1.is_err());
    fs::write(&path, format!("{header}\n,,,,,,,,x,,,,,,\n")).expect("written");
    assert!(matches!(sync(&at(folder.path())).1, Err(SyncError::NothingUsable { records: 1, .. })));

    fs::write(&path, b"id,\x83\x4a\x83\x8b").expect("written");
    let encoding = message(&at(folder.path()));
    assert!(encoding.contains("UTF-8") && encoding.contains("KnowledgeBase.csv"), "{encoding}");
}

#[test]
fn garbage_for_a_workbook_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("book.xlsx");
    let sample = fs::read(sample_folder().with_extension("xlsx")).expect("the sample");
    for bytes in [&b""[..], b"PK\x03\x04", &[0u8; 4096], &sample[..sample.len() / 2], b"id,content\n1,2\n"] {
        fs::write(&path, bytes).expect("written");
        assert!(matches!(sync(&at(&path)).1, Err(SyncError::Source(SourceError::Unreadable { .. }))));
    }
}

#[test]
fn a_store_that_cannot_be_written_keeps_what_it_served() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let before = sync_with(&Workbook::sample(), &Lexical::default(), &store).expect("published");
    // A directory where the next snapshot's temporary file would be, so that every user, root too, is refused.
    fs::remove_dir_all(home.path().join("snapshots")).expect("removed");
    fs::write(home.path().join("snapshots"), "in the way").expect("written");
    let folder = copy_of_sample();
    let refused = sync_with(&at(folder.path()), &Lexical::default(), &store);
    assert!(matches!(refused, Err(SyncError::Store(StoreError::Io { .. }))), "{refused:?}");
    let row = before.index.row(0).expect("the map outlives the file");
    assert!(!row.id.is_empty());
}

/// An embedder that is not there.
struct Broken(Lexical);

#[async_trait]
impl Embedder for Broken {
    fn identity(&self) -> &karute_engine::Identity {
        self.0.identity()
    }
    fn batch_size(&self) -> usize {
        1
    }
    fn is_free(&self) -> bool {
        true
    }
    async fn embed(&self, _: &[String], _: Task) -> Result<Vec<Option<Embedding>>, EmbedError> {
        Err(EmbedError::BatchTooLarge { found: 1, limit: 0 })
    }
}

#[test]
fn an_embedder_that_fails_publishes_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let failed = sync_with(&Workbook::sample(), &Broken(Lexical::default()), &store);
    assert!(matches!(failed, Err(SyncError::Embed(_))));
    assert!(matches!(store.current(), Err(StoreError::Empty { .. })));
}

#[test]
fn the_recall_is_promised_for_the_questions_that_a_sync_was_given() {
    let home = tempfile::tempdir().expect("a directory");
    let folder = home.path().join("records");
    fs::create_dir(&folder).expect("made");
    for name in ["KnowledgeBase.csv", "Embeddings.csv", "MedicalTerms.csv"] {
        let text = fs::read_to_string(sample_folder().join(name)).expect("the sample");
        let mut sheet = format!("{}\n", text.lines().next().expect("a header"));
        for number in (0..Draft::GRAPH_FROM).filter(|_| name.starts_with('K')) {
            let (day, room, degrees) = (number % 28 + 1, number % 83, number % 37);
            let text = format!("{day}日の{room}号室、体温{degrees}分、所見{}", number / 7);
            sheet += &format!(
                "KB_{number},nursing,record,T,S{number},CL-{room},訪問 {number},{text},{{}},{{}},,,2026-11-{day:02},,\n"
            );
        }
        fs::write(folder.join(name), sheet).expect("written");
    }
    let store = Store::open(home.path().join("store")).expect("a store");
    let questions = vec!["12日の体温は?".to_owned(), "5号室の所見".into()];
    let how = How { questions: questions.clone(), ..How::default() };
    let index =
        block_on(job::run(&at(&folder), &*LEXICAL, &store, NOW, how, &Silent)).expect("published").index;
    let promise = index.promise().expect("sound").expect("a graph");
    assert_eq!(promise.questions, 2);
    let asked = block_on(embed_questions(&questions, &*LEXICAL)).expect("vectors");
    assert_eq!(index.measure_recall(&asked).expect("a graph"), Some(promise));
}

#[test]
fn either_builder_makes_a_graph_of_few_rows_where_it_is_named_and_both_keep_what_they_promise() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    for (builder, graph) in [
        (None, false),
        (Some(GraphBuilder::Native), true),
        (Some(GraphBuilder::HnswRs), true),
        (Some(GraphBuilder::Native), true),
    ] {
        let how = How { builder, pass: Pass::Changes { full_every: Duration::MAX }, ..How::default() };
        let synced = block_on(job::run(&Workbook::sample(), &*LEXICAL, &store, NOW, how, &Silent));
        let index = synced.expect("published").index;
        index.verify().expect("sound");
        let promise = index.promise().expect("sound");
        assert_eq!(promise.is_some(), graph, "{builder:?}");
        assert_eq!(index.measure_recall(&[]).expect("measured"), promise, "{builder:?}");
        assert!(promise.is_none_or(|promise| promise.recall() >= 0.97), "{builder:?}");
    }
}

#[test]
fn other_weights_of_words_are_a_reason_to_build_anew_and_stand_in_the_snapshot() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let pass = Pass::Changes { full_every: Duration::MAX };
    let lexical = LexicalSettings { k1: 1.5, weight: [5.0, 1.0, 0.0, 0.5], ..LexicalSettings::default() };
    let mut ids = Vec::new();
    for lexical in [LexicalSettings::default(), lexical] {
        let how = How { lexical, pass, ..How::default() };
        let index = block_on(job::run(&Workbook::sample(), &*LEXICAL, &store, NOW, how.clone(), &Silent));
        let index = index.expect("published").index;
        assert_eq!(index.lexical_settings().expect("sound"), Some(lexical));
        let ours = block_on(job::is_up_to_date(&index, &store, &Workbook::sample(), &*LEXICAL, &how));
        assert!(ours.expect("readable"));
        ids.push(index.id());
    }
    assert_ne!(ids[0], ids[1]);
    let folder = home.path().join("exported");
    transfer::export(&store.current().expect("a snapshot").index, &folder).expect("exported");
    let back = transfer::import(&folder, |_| {}).expect("imported");
    assert_eq!((back.sealed.id(), back.differs_from), (ids[1], None), "an export carries them");
}

//! Fear: two services fail at once in a way that nobody thought of, and a question hangs, is answered twice, or is billed for what
//! it did not get. Every fault meets every other at another stage of a question: embedding, ranking, the model, the state.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use karute_engine::{Draft, Index, Provenance, Row};
use karute_server::answer::Step;
use karute_server::answer::converse::{Turn, converse};
use karute_server::app::{App, Serving};
use karute_server::config::{Secret, Sources};
use karute_server::error::Failure;
use karute_server::money::day;
use karute_server::retrieve::Question;
use karute_server::retrieve::caller::Caller;
use karute_server::setup;
use karute_server::state::Database;
use karute_tests::google::workbook::Workbook;
use karute_tests::google::{Effect, Emulator};

/// Where a question may meet a fault: a part of the path of each service.
const STAGES: [&str; 3] = [":predict", ":rank", ":streamGenerateContent"];
/// The same in the ledger, with the most calls that one question may make.
const KINDS: [(&str, usize); 3] = [("embed", 1), ("rank", 1), ("answer", 3)];

fn effects() -> [Effect; 8] {
    [
        Effect::Status(400),
        Effect::Status(403),
        Effect::Status(500),
        Effect::Status(503),
        Effect::RetryAfter(60),
        Effect::Wait(Duration::from_secs(30)),
        Effect::Torn(40),
        Effect::Body("<html>"),
    ]
}

/// An app that embeds, ranks and answers by the emulator, with its state in `directory`.
async fn app(emulator: &Emulator, directory: &std::path::Path) -> App {
    let url = emulator.url();
    let given = [
        ("KARUTE_ANSWERERS", "vertex"),
        ("KARUTE_EMBEDDER", "vertex"),
        ("KARUTE_RERANKER", "vertex"),
        ("VERTEX_AI_EMBEDDINGS_DIMENSION", "128"),
        ("GCP_PROJECT_ID", "p"),
        ("KARUTE_GOOGLE_ENDPOINT", &url),
        ("KARUTE_GOOGLE_ANONYMOUS", "true"),
        ("REQUEST_TIMEOUT", "3"),
        ("STREAM_TIMEOUT", "4"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Sources::none().then("a test", given).load().expect("valid").settings;
    let (embedder, answerers) =
        (setup::embedder(&settings).expect("valid"), setup::answerers(&settings).expect("valid"));
    let mut draft = Draft::new(embedder.identity().clone());
    for (id, content) in [
        ("a", "久保田さんの膀胱留置カテーテルの次回交換は10月20日14時。"),
        ("b", "久保田さんの訪問時間を14時に変更した。"),
    ] {
        let row = Row { id: id.into(), content: content.into(), ..Row::default() };
        draft.push(&row, &[]).expect("a row");
    }
    let sealed = draft.finish(Provenance::default()).expect("a draft").to_bytes();
    let reranker = setup::reranker(&settings).expect("valid");
    let mut app = App::new(settings, embedder, answerers);
    app.reranker = reranker;
    app.serve(Serving::Ready {
        index: Arc::new(Index::from_slice(&sealed).expect("a snapshot")),
        problems: Arc::new([]),
    });
    app.keep_in(Database::open(&Secret::default(), directory).await.expect("a state"));
    app
}

/// Asks while each of these stages suffers its effect, and looks at what comes of it.
async fn suffer(faults: Vec<(&'static str, Effect)>) {
    let emulator = Emulator::start(([127, 0, 0, 1], 0).into(), Workbook::default()).expect("a port");
    let directory = tempfile::tempdir().expect("a directory");
    let app = app(&emulator, directory.path()).await;
    for (path, effect) in &faults {
        emulator.fault("POST", path, 99, *effect);
    }
    let caller = Caller { name: "yamada".into(), ..Caller::everything() };
    let turn = Turn::new(Question::new("久保田さんのカテーテルの次回交換はいつ", caller.clone()), None);
    let session = turn.session_id.clone();
    let began = Instant::now();
    let (mut text, mut outcome) = (String::new(), None);
    {
        let mut steps = std::pin::pin!(converse(app.clone(), turn));
        while let Some(step) = steps.next().await {
            match step {
                Ok(Step::Text(piece)) => text += &piece,
                Ok(Step::Done(summary)) => outcome = Some(Ok(*summary)),
                Ok(_) => {}
                Err(failure) => outcome = Some(Err(failure)),
            }
        }
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{faults:?} took {:?}", began.elapsed());
    let outcome = outcome.expect("an end");
    match &outcome {
        Ok(summary) => {
            assert!(["generated", "search_only"].contains(&summary.mode), "{faults:?}: {}", summary.mode);
            let fails = |stage: &str| faults.iter().any(|(path, _)| *path == stage);
            assert_eq!(summary.mode == "search_only", fails(STAGES[2]), "{faults:?}");
            assert!(summary.degraded.is_some(), "{faults:?}: something was left out");
            assert!(text.contains("10月20日"), "{faults:?}: {text}");
        }
        Err(Failure::Model(_)) => {
            assert!(!text.is_empty(), "{faults:?}: without a word there is still something to show");
        }
        Err(other) => panic!("{faults:?}: {other:?}"),
    }
    assert!(text.matches("膀胱留置カテーテル").count() <= 1, "{faults:?}: {text}");

    // Each call once in the ledger, none left open, and the limits say what it says.
    let state = app.state().expect("kept");
    let patience = Instant::now() + Duration::from_secs(5);
    let lines = loop {
        let lines = state.lines().await.expect("the ledger");
        if lines.iter().all(|line| line.state != "reserved") || Instant::now() > patience {
            break lines;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(lines.iter().all(|line| line.state != "reserved"), "{faults:?}: {lines:?}");
    for ((kind, most), path) in KINDS.into_iter().zip(STAGES) {
        let calls = lines.iter().filter(|line| line.kind == kind).count();
        let asked = emulator.answered().iter().filter(|answered| answered.path.contains(path)).count();
        assert!(calls <= most && asked <= most, "{faults:?}: {calls} calls of {kind}, {asked} requests");
        if kind != "answer" && !faults.iter().any(|(stage, _)| *stage == path) {
            assert_eq!((calls, asked), (1, 1), "{faults:?}: {kind} is well");
        }
        if kind == "answer" && text.starts_with("久保田") && outcome.is_err() {
            assert_eq!(asked, 1, "{faults:?}: no second call after the first word");
        }
    }
    let billed: i64 = lines.iter().map(|line| line.total_cost).sum();
    let (spent, _) = state.spent(&format!("day {}", day((app.now)()))).await.expect("a limit");
    assert_eq!(spent, billed, "{faults:?}");

    // The exchange is kept once, as it was shown.
    let (messages, ..) = state.messages(&caller, &session, 100).await.expect("read").expect("there");
    assert_eq!(messages.len(), 2, "{faults:?}");
    assert_eq!(messages[1].content, text, "{faults:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_at_whichever_two_stages_the_answer_is_honest_in_time_and_recorded_once() {
    let mut combinations: Vec<Vec<(&str, Effect)>> =
        STAGES.iter().flat_map(|stage| effects().map(|effect| vec![(*stage, effect)])).collect();
    for (at, first) in STAGES.iter().enumerate() {
        for second in &STAGES[at + 1..] {
            let pairs = effects().into_iter().flat_map(|one| effects().map(|two| (one, two)));
            combinations.extend(pairs.map(|(one, two)| vec![(*first, one), (*second, two)]));
        }
    }
    assert!(combinations.len() > 200, "{}", combinations.len());
    futures_util::stream::iter(combinations).for_each_concurrent(24, suffer).await;
}

#[tokio::test]
async fn a_state_that_nobody_can_write_to_costs_paid_models_and_the_history_and_not_the_answer() {
    let emulator = Emulator::start(([127, 0, 0, 1], 0).into(), Workbook::default()).expect("a port");
    let directory = tempfile::tempdir().expect("a directory");
    let app = app(&emulator, directory.path()).await;
    // Somebody holds the one place of a writer.
    let other = format!("sqlite://{}", directory.path().join("state.sqlite").display());
    let pool = sqlx::AnyPool::connect(&other).await.expect("the file");
    let mut holder = pool.acquire().await.expect("a connection");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *holder).await.expect("begun");
    let caller = Caller { name: "yamada".into(), ..Caller::everything() };
    let turn = Turn::new(Question::new("久保田さんのカテーテルの次回交換はいつ", caller.clone()), None);
    let session = turn.session_id.clone();
    let mut last = None;
    {
        let mut steps = std::pin::pin!(converse(app.clone(), turn));
        while let Some(step) = steps.next().await {
            if let Step::Done(summary) = step.expect("no failure") {
                last = Some(*summary);
            }
        }
    }
    let summary = last.expect("an end");
    assert_eq!(summary.mode, "search_only");
    assert!(summary.degraded.as_deref().is_some_and(|said| said.contains("保存できません")), "{summary:?}");
    assert!(emulator.answered().is_empty(), "no paid call without a ledger: {:?}", emulator.answered());
    sqlx::query("ROLLBACK").execute(&mut *holder).await.expect("ended");
    let state = app.state().expect("kept");
    assert!(state.messages(&caller, &session, 100).await.expect("read").is_none());
}

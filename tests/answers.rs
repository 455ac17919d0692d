//! Fear: a model's stream breaks, lies, stalls or says nothing, and somebody takes what is left for an answer.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use karute_engine::{Draft, Index, Provenance, Row};
use karute_server::answer::check::Fault;
use karute_server::answer::{Exchange, Step, Summary, run};
use karute_server::app::{App, Serving};
use karute_server::config::Sources;
use karute_server::error::Failure;
use karute_server::retrieve::Question;
use karute_server::retrieve::caller::Caller;
use karute_server::setup;
use karute_sync::embed::Embedder;
use karute_sync::lexical::Lexical;
use karute_tests::google::workbook::Workbook;
use karute_tests::google::{Effect, Emulator};
use karute_tests::http::keep;
use serde_json::{Value, json};

const QUESTION: &str = "久保田さんのカテーテルの次回交換はいつ";

fn index() -> Index {
    let lexical = Lexical::default();
    let mut draft = Draft::new(lexical.identity().clone());
    for (id, content) in [
        ("a", "久保田さんの膀胱留置カテーテルの次回交換は10月20日14時。尿の混濁はなし。"),
        ("b", "久保田さんの訪問時間を14時に変更した。"),
    ] {
        let row = Row {
            id: id.into(),
            title: "久保田 実 記録".into(),
            content: content.into(),
            date: "2026-10-05".into(),
            ..Row::default()
        };
        draft.push(&row, &[]).expect("a row");
    }
    Index::from_slice(&draft.finish(Provenance::default()).expect("a draft").to_bytes()).expect("a snapshot")
}

fn emulator() -> Emulator {
    Emulator::start(([127, 0, 0, 1], 0).into(), Workbook::default()).expect("a port")
}

fn app(emulator: &Emulator, given: &[(&str, &str)]) -> App {
    let url = emulator.url();
    let base = [
        ("KARUTE_ANSWERERS", "vertex"),
        ("GCP_PROJECT_ID", "p"),
        ("KARUTE_GOOGLE_ENDPOINT", &url),
        ("KARUTE_GOOGLE_ANONYMOUS", "true"),
        ("REQUEST_TIMEOUT", "2"),
        ("STREAM_TIMEOUT", "4"),
    ];
    let own = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let base = base.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Sources::none().then("a test", own).then("a base", base).load().expect("valid").settings;
    let answerers = setup::answerers(&settings).expect("valid");
    let app = App::new(settings, Arc::new(Lexical::default()), answerers);
    app.serve(Serving::Ready { index: Arc::new(index()), problems: Arc::new([]) });
    app
}

/// The text and the summary of an answer, or how it broke off.
async fn answer(app: &App, question: Question, earlier: Vec<Exchange>) -> (String, Result<Summary, Failure>) {
    keep(app).await;
    let mut steps = std::pin::pin!(run(app.clone(), question, earlier));
    let mut text = String::new();
    while let Some(step) = steps.next().await {
        match step {
            Ok(Step::Text(piece)) => text += &piece,
            Ok(Step::Done(summary)) => return (text, Ok(*summary)),
            Ok(_) => {}
            Err(failure) => return (text, Err(failure)),
        }
    }
    panic!("a stream without an end");
}

async fn ask_after(app: &App, earlier: Vec<Exchange>) -> (String, Result<Summary, Failure>) {
    answer(app, Question::new(QUESTION, Caller::everything()), earlier).await
}

async fn ask(app: &App) -> (String, Result<Summary, Failure>) {
    ask_after(app, Vec::new()).await
}

fn says(text: &str) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}}]})
}

fn ends(reason: &str) -> Value {
    json!({"candidates": [{"finishReason": reason}], "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5}})
}

#[tokio::test]
async fn a_model_answers_from_fenced_rows_cited_checked_and_costed() {
    let emulator = emulator();
    let app = app(&emulator, &[]);
    let earlier = vec![Exchange { question: "前の質問".into(), answer: "前の答え [1]".into() }];
    let (text, summary) = ask_after(&app, earlier).await;
    let summary = summary.expect("an answer");
    assert_eq!(text, "久保田さんの膀胱留置カテーテルの次回交換は10月20日14時 [1]。");
    assert_eq!((summary.mode, summary.model.as_str()), ("generated", "gemini-3.5-flash-lite"));
    assert_eq!((summary.citations.len(), summary.citations[0].id.as_str()), (1, "a"));
    assert!(summary.verdicts.iter().all(|verdict| verdict.supported), "{:?}", summary.verdicts);
    let usage = summary.usage.expect("usage");
    assert!(usage.output_tokens > 10 && usage.thought_tokens == 16);
    assert!(summary.total_cost_jpy.is_some_and(|yen| yen > 0.0 && yen < 1.0));
    assert_eq!(summary.template.as_deref(), Some("ja-1"));

    let prompts = emulator.prompts();
    let prompt = &prompts[0];
    assert!(!prompt["systemInstruction"].to_string().contains("10月20日"), "data stands apart from rules");
    let turns = prompt["contents"].as_array().expect("turns");
    assert_eq!(turns.len(), 3);
    assert_eq!((turns[0]["role"].as_str(), turns[1]["role"].as_str()), (Some("user"), Some("model")));
    assert!(prompt["generationConfig"].get("temperature").is_none());
}

#[tokio::test]
async fn every_way_in_which_a_stream_can_end_has_its_own_outcome() {
    let emulator = emulator();
    let app = app(&emulator, &[]);
    // Pieces, then whether an answer comes of it, and its text.
    let right = "次回交換は10月20日です [1]。";
    let cases: Vec<(&str, Vec<Value>, Result<&str, &str>)> = vec![
        ("unknown reason", vec![says(right), ends("SOMETHING_NEW")], Ok(right)),
        ("cut short", vec![says(right), ends("MAX_TOKENS")], Ok(right)),
        (
            "thoughts only",
            vec![
                json!({"candidates": [{"content": {"parts": [{"text": "x", "thought": true}]}}]}),
                ends("MAX_TOKENS"),
            ],
            Err("search_only"),
        ),
        (
            "blocked prompt",
            vec![json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}})],
            Err("search_only"),
        ),
        ("empty", vec![], Err("search_only")),
        ("safety at once", vec![json!({"candidates": [{"finishReason": "SAFETY"}]})], Err("search_only")),
        (
            "safety midway",
            vec![says(right), json!({"candidates": [{"content": {}, "finishReason": "SAFETY"}]})],
            Err("broken"),
        ),
        (
            "error midway",
            vec![says(right), json!({"error": {"code": 503, "status": "UNAVAILABLE", "message": "busy"}})],
            Err("broken"),
        ),
        ("no reason to end", vec![says(right)], Err("broken")),
        ("no JSON of an answer", vec![json!("hello")], Err("search_only")),
    ];
    for (name, pieces, expected) in cases {
        emulator.write(pieces);
        let (text, summary) = ask(&app).await;
        match (expected, summary) {
            (Ok(answer), Ok(summary)) => {
                assert_eq!((text.as_str(), summary.mode), (answer, "generated"), "{name}");
            }
            (Err("search_only"), Ok(summary)) => {
                let declined = ["blocked prompt", "safety at once"].contains(&name);
                let reason = if declined { "model_declined" } else { "model_failed" };
                assert_eq!((summary.mode, summary.reason), ("search_only", Some(reason)), "{name}");
                assert!(text.contains("10月20日") && summary.citations[0].number == 1, "{name}: {text}");
                assert!(summary.degraded.is_some_and(|said| said.contains("回答モデル")), "{name}");
                assert_eq!((summary.usage, summary.total_cost_jpy), (None, None), "{name}");
            }
            (Err("broken"), Err(Failure::Model(_) | Failure::Declined(_))) => {
                assert_eq!(text, right, "{name}")
            }
            (expected, found) => panic!("{name}: {expected:?}, {found:?}"),
        }
    }
}

/// Asks while the model suffers `effect`, and looks at what comes of it.
async fn suffer(effect: Effect) {
    let emulator = emulator();
    let app = app(&emulator, &[]);
    emulator.fault("POST", "streamGenerateContent", 99, effect);
    let began = Instant::now();
    let (text, summary) = ask(&app).await;
    assert!(began.elapsed() < Duration::from_secs(8), "{effect:?} took {:?}", began.elapsed());
    match summary {
        Ok(summary) => assert!(["generated", "search_only"].contains(&summary.mode), "{effect:?}"),
        Err(Failure::Model(_)) => {
            assert!(!text.is_empty(), "{effect:?}: without a word there is still something to show");
            assert_eq!(emulator.answered().len(), 1, "{effect:?}: no second call after the first word");
        }
        Err(other) => panic!("{effect:?}: {other:?}"),
    }
    assert!(text.matches("膀胱留置カテーテル").count() <= 1, "{effect:?}: {text}");
}

#[tokio::test]
async fn every_fault_at_every_stage_ends_in_time_and_nothing_is_said_twice() {
    let statuses = [400u16, 401, 403, 404, 408, 409, 429, 500, 501, 502, 503, 504].map(Effect::Status);
    let others = [
        Effect::Wait(Duration::from_secs(20)),
        Effect::RetryAfter(0),
        Effect::RetryAfter(60),
        Effect::Slow(Duration::from_millis(1)),
    ];
    let torn = (0..1_600).step_by(20).map(Effect::Torn);
    let bodies = [
        "",
        "{",
        "data: {",
        "data: {}\n\n",
        "data: [1]\n\n",
        "data: null\n\n",
        "[{\"error\":{\"code\":500}}]",
        "<html>busy</html>",
        "{\n \"error\": {\n  \"code\": 429\n }\n}\n",
        "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n",
        "\r\n\r\n\r\n",
        ": ping\n\n",
    ];
    let effects: Vec<Effect> =
        statuses.into_iter().chain(others).chain(torn).chain(bodies.map(Effect::Body)).collect();
    assert!(effects.len() >= 100);
    futures_util::stream::iter(effects).for_each_concurrent(24, suffer).await;
}

#[tokio::test]
async fn the_next_in_line_answers_if_the_first_has_not_said_a_word() {
    let emulator = emulator();
    let app = app(
        &emulator,
        &[("KARUTE_ANSWERERS", "vertex,extractive"), ("VERTEX_AI_GENERATION_MODEL", "gemini-3.6-flash")],
    );
    for effect in [Effect::Status(404), Effect::Wait(Duration::from_secs(9))] {
        emulator.heal();
        emulator.fault("POST", "gemini", 99, effect);
        let (text, summary) = ask(&app).await;
        let summary = summary.expect("an answer");
        assert_eq!(
            (summary.mode, summary.model.as_str()),
            ("extractive", "karute-extractive-1"),
            "{effect:?}"
        );
        assert!(summary.reason.is_none() && text.contains("10月20日"), "{effect:?}");
    }
    emulator.heal();
    assert_eq!(ask(&app).await.1.expect("an answer").model, "gemini-3.6-flash");
}

#[tokio::test]
async fn what_the_rows_do_not_say_is_marked_in_the_last_step() {
    let emulator = emulator();
    let app = app(&emulator, &[]);
    emulator.write(vec![
        says("次回交換は10月21日です[1]。尿の混濁があります[1]。"),
        says("次回は14時です[7]。"),
        ends("STOP"),
    ]);
    let summary = ask(&app).await.1.expect("an answer");
    let faults: Vec<Vec<Fault>> = summary.verdicts.iter().map(|verdict| verdict.faults.clone()).collect();
    assert_eq!(faults, [vec![Fault::Date], vec![Fault::Negation], vec![Fault::UnknownCitation]]);
    assert!(summary.citations.iter().all(|citation| citation.number == 1));
}

#[tokio::test]
async fn a_caller_who_goes_away_ends_the_call_to_the_model() {
    let emulator = emulator();
    let app = app(&emulator, &[]);
    emulator.fault("POST", "streamGenerateContent", 1, Effect::Slow(Duration::from_millis(50)));
    {
        let mut steps =
            std::pin::pin!(run(app.clone(), Question::new(QUESTION, Caller::everything()), Vec::new()));
        while !matches!(steps.next().await, Some(Ok(Step::Text(_)))) {}
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let sent = emulator.sent();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(emulator.sent(), sent, "the emulator still sends");
}

/// An answer that is handed over in one piece.
async fn ask_at_once(app: &App) -> (String, Result<Summary, Failure>) {
    let question = Question { at_once: true, ..Question::new(QUESTION, Caller::everything()) };
    answer(app, question, Vec::new()).await
}

#[tokio::test]
async fn an_answer_that_breaks_off_before_it_was_handed_over_gives_way_to_the_rows() {
    let emulator = emulator();
    let app = app(&emulator, &[]);
    let broken = || vec![says("久保田さんの次回交換は"), says("10月")];
    emulator.write(broken());
    emulator.write(broken());
    let (text, summary) = ask_at_once(&app).await;
    let summary = summary.expect("the rows");
    assert_eq!((summary.mode, summary.reason), ("search_only", Some("model_failed")));
    assert!(
        text.contains("10月20日14時") && summary.citations.iter().all(|citation| citation.number > 0),
        "{text}"
    );
    assert!(!summary.highlights.is_empty() && summary.highlights.iter().any(|ranges| !ranges.is_empty()));
    // What was handed over in part cannot be taken back.
    assert!(ask(&app).await.1.is_err());

    emulator.heal();
    emulator.fault("POST", "streamGenerateContent", 100, Effect::Wait(Duration::from_secs(30)));
    let began = Instant::now();
    let summary = ask_at_once(&app).await.1.expect("the rows");
    assert_eq!((summary.mode, summary.reason), ("search_only", Some("model_timed_out")));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_model_that_finds_nothing_has_answered_nothing_and_nothing_is_wrong_with_it() {
    let emulator = emulator();
    let app = app(&emulator, &[]);
    emulator.write(vec![says("記録には見当たりません。"), ends("STOP")]);
    let (text, summary) = ask(&app).await;
    let summary = summary.expect("an answer");
    assert_eq!(text, "記録には見当たりません。");
    assert!(!summary.answered && summary.verdicts.is_empty() && summary.citations.is_empty());
    assert_eq!((summary.mode, summary.reason), ("generated", Some("model_found_nothing")));
}

/// Serves what of these rows is about, each with its client and title.
fn serve(app: &App, rows: &[(&str, &str, &str)]) {
    let mut draft = Draft::new(Lexical::default().identity().clone());
    for (client, title, content) in rows {
        let row = Row {
            id: format!("{client} {content}"),
            client_id: (*client).into(),
            title: (*title).into(),
            content: (*content).into(),
            ..Row::default()
        };
        draft.push(&row, &[]).expect("a row");
    }
    let sealed = draft.finish(Provenance::default()).expect("a draft").to_bytes();
    let index = Index::from_slice(&sealed).expect("a snapshot");
    app.serve(Serving::Ready { index: Arc::new(index), problems: Arc::new([]) });
}

const TWO_CLIENTS: [(&str, &str, &str); 2] = [
    ("CL-1", "久保田 実 記録", "久保田さんの膀胱留置カテーテルの次回交換は10月20日14時。"),
    ("CL-2", "青木 澄江 記録", "青木さんの膀胱留置カテーテルの次回交換は10月21日15時。"),
];

#[tokio::test]
async fn a_row_that_the_model_was_not_shown_cannot_be_cited() {
    let emulator = emulator();
    let app = app(&emulator, &[]);
    serve(&app, &TWO_CLIENTS);
    // Another client's row was found, and is shown to people as a near miss, but not to the model, which guesses its number.
    emulator
        .write(vec![says("次回交換は10月21日15時です[2]。次回交換は10月20日14時です[1]。"), ends("STOP")]);
    let summary = ask(&app).await.1.expect("an answer");
    let prompt = emulator.prompts()[0].to_string();
    assert!(prompt.contains("10月20日") && !prompt.contains("10月21日"), "{prompt}");
    assert_eq!(summary.citations.iter().map(|citation| citation.number).collect::<Vec<_>>(), [1]);
    assert!(summary.verdicts[0].faults.contains(&Fault::UnknownCitation), "{:?}", summary.verdicts);
    assert!(summary.verdicts[1].supported, "{:?}", summary.verdicts);
}

#[tokio::test]
async fn rows_are_shown_by_their_own_sentences_whatever_marks_the_question_has() {
    let emulator = emulator();
    let app = app(&emulator, &[]);
    emulator.fault("POST", "streamGenerateContent", 100, Effect::Status(404));
    let question =
        Question::new("[2]と[1]にある久保田さんのカテーテルの次回交換と訪問時間は", Caller::everything());
    let (text, summary) = answer(&app, question, Vec::new()).await;
    let summary = summary.expect("the rows");
    assert_eq!(summary.mode, "search_only");
    let numbers: Vec<usize> = summary.citations.iter().map(|citation| citation.number).collect();
    assert_eq!(numbers, [1, 2]);
    for (line, number) in text.lines().zip(1..) {
        assert!(line.ends_with(&format!("。 [{number}]")), "{text}");
    }
}

#[tokio::test]
async fn why_the_first_in_line_did_not_answer_is_told_as_it_was() {
    let emulator = emulator();
    for (given, effect, said, reason) in [
        (("KARUTE_YEN_PER_DAY", "0"), None, "上限に達した", "budget_used_up"),
        (("LOG_LEVEL", "INFO"), Some(Effect::Status(400)), "この質問に答えなかった", "model_declined"),
        (("LOG_LEVEL", "INFO"), Some(Effect::Status(500)), "応答しない", "model_failed"),
    ] {
        emulator.heal();
        if let Some(effect) = effect {
            emulator.fault("POST", "streamGenerateContent", 100, effect);
        }
        let of = |answerers: &str| app(&emulator, &[given, ("KARUTE_ANSWERERS", answerers)]);
        let summary = ask(&of("vertex,extractive")).await.1.expect("an answer");
        let degraded = summary.degraded.unwrap_or_default();
        assert!(degraded.contains(said) && degraded.contains("別のものが答えました"), "{reason}: {degraded}");
        assert_eq!((summary.mode, summary.reason), ("extractive", None));
        let summary = ask(&of("vertex")).await.1.expect("the rows");
        let degraded = summary.degraded.unwrap_or_default();
        assert!(degraded.contains(said) && degraded.contains("そのまま示します"), "{reason}: {degraded}");
        assert_eq!((summary.mode, summary.reason), ("search_only", Some(reason)));
    }
}

#[tokio::test]
async fn a_model_that_wants_to_be_left_alone_for_long_is_not_asked_again() {
    let emulator = emulator();
    let app = app(&emulator, &[("KARUTE_ANSWERERS", "vertex,extractive"), ("REQUEST_TIMEOUT", "10")]);
    emulator.fault("POST", "streamGenerateContent", 100, Effect::RetryAfter(60));
    assert_eq!(ask(&app).await.1.expect("an answer").mode, "extractive");
    assert_eq!(emulator.answered().len(), 1);
    emulator.heal();
    emulator.fault("POST", "streamGenerateContent", 1, Effect::RetryAfter(1));
    assert_eq!(ask(&app).await.1.expect("an answer").mode, "generated");
}

#[tokio::test]
async fn whoever_wants_one_row_gets_one_that_can_answer() {
    let emulator = emulator();
    let mut app = app(&emulator, &[("KARUTE_RERANKER", "vertex"), ("KARUTE_ANSWERERS", "extractive")]);
    app.reranker = setup::reranker(&app.settings).expect("valid");
    serve(&app, &TWO_CLIENTS);
    // The ranking service likes the other client's row far better.
    let body = "{\"records\":[{\"id\":\"0\",\"score\":0.01},{\"id\":\"1\",\"score\":0.99}]}";
    emulator.fault("POST", "rank", 1, Effect::Body(body));
    let question = Question { top: 1, ..Question::new(QUESTION, Caller::everything()) };
    let (text, summary) = answer(&app, question, Vec::new()).await;
    assert_eq!(summary.expect("an answer").mode, "extractive");
    assert!(text.contains("10月20日"), "{text}");
}

#[tokio::test]
async fn who_answers_in_the_place_of_another_says_so_and_is_asked_again_next_time() {
    let emulator = emulator();
    let given = [("KARUTE_ANSWERERS", "vertex,extractive"), ("KARUTE_CACHE_ANSWERS", "true")];
    let app = app(&emulator, &given);
    emulator.fault("POST", "streamGenerateContent", 100, Effect::Status(503));
    let summary = ask(&app).await.1.expect("an answer");
    assert_eq!(summary.mode, "extractive");
    assert!(summary.degraded.is_some());
    emulator.heal();
    let summary = ask(&app).await.1.expect("an answer");
    assert_eq!((summary.mode, summary.cached), ("generated", false));
    assert!(ask(&app).await.1.expect("an answer").cached);
}

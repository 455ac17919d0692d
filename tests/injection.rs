//! Fear: a row of the spreadsheet gives orders to the model, poses as a rule or as another row, or breaks the stream of events.
//! `eval/injections.jsonl` holds rows that try.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use karute_engine::{Row, Store};
use karute_server::answer::prompt::Templates;
use karute_server::answer::{Answerer, Asked, Generated, Piece};
use karute_server::error::Failure;
use karute_server::retrieve::Evidence;
use karute_sync::generate::{Cost, Deltas, GenerateError, Generator, Prompt, Usage};
use karute_sync::job::{self, Silent};
use karute_sync::lexical::Lexical;
use karute_sync::report::Reason;
use karute_sync::workbook::Workbook;
use karute_tests::http::{app_with, ask, events};
use serde::Deserialize;
use serde_json::json;

#[derive(Clone, Deserialize)]
struct Attempt {
    title: String,
    content: String,
}

fn attempts() -> Vec<Attempt> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/injections.jsonl");
    let text = std::fs::read_to_string(path).expect("the rows");
    let attempts: Vec<Attempt> =
        text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    assert!(attempts.len() >= 40);
    attempts
}

#[tokio::test]
async fn every_such_row_is_reported_and_no_row_of_the_sample_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("workbook");
    std::fs::create_dir(&folder).expect("a folder");
    let mut records = csv::Writer::from_path(folder.join("KnowledgeBase.csv")).expect("a file");
    records.write_record(karute_sync::layout::KNOWLEDGE_BASE).expect("written");
    for (number, Attempt { title, content }) in attempts().iter().enumerate() {
        let cells = karute_sync::layout::KNOWLEDGE_BASE.iter().map(|column| match *column {
            "id" => format!("kb-{number}"),
            "title" => title.clone(),
            "content" => content.clone(),
            _ => String::new(),
        });
        records.write_record(cells).expect("written");
    }
    records.flush().expect("written");
    for (sheet, header) in [
        ("Embeddings", karute_sync::layout::EMBEDDINGS),
        ("MedicalTerms", karute_sync::layout::MEDICAL_TERMS),
    ] {
        std::fs::write(folder.join(format!("{sheet}.csv")), header.join(",") + "\n").expect("written");
    }
    let store = Store::open(directory.path().join("store")).expect("a store");
    let source = Workbook::at(&folder, Default::default());
    let (report, _) = job::check(&source, &Lexical::default(), &store, &Silent).await.expect("a report");
    let reported: Vec<&str> = report
        .findings
        .iter()
        .filter(|finding| finding.reason == Reason::Instruction)
        .map(|finding| finding.id.as_str())
        .collect();
    let missed: Vec<String> = attempts()
        .iter()
        .enumerate()
        .filter(|(number, _)| !reported.contains(&format!("kb-{number}").as_str()))
        .map(|(number, attempt)| format!("{number}: {} | {}", attempt.title, attempt.content))
        .collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));

    let sample = std::thread::spawn(karute_tests::http::sample).join().expect("a snapshot");
    let report = job::told_of(&sample).expect("a report");
    assert!(!report.has(Reason::Instruction), "a record of the sample is taken for an attempt");
}

/// A model that only remembers what it was asked.
#[derive(Default)]
struct Listener(Mutex<Vec<Prompt>>);

#[async_trait]
impl Generator for Listener {
    fn model(&self) -> &str {
        "listener"
    }
    fn cost(&self, _: &Usage) -> Cost {
        Cost::default()
    }
    async fn generate(&self, prompt: &Prompt) -> Result<Deltas, GenerateError> {
        self.0.lock().expect("a lock").push(prompt.clone());
        Err(GenerateError::BrokenOff { model: "listener".into() })
    }
}

/// What the model is asked about these rows.
async fn prompt(rows: &[Attempt]) -> Prompt {
    let listener = Arc::new(Listener::default());
    let templates = Arc::new(Templates::built_in().expect("templates"));
    let answerer = Generated::new(listener.clone(), templates, 100_000, 100);
    let evidence = rows.iter().map(|Attempt { title, content }| Evidence {
        row: Row {
            title: title.clone(),
            content: content.clone(),
            date: "2026-10-05".into(),
            ..Row::default()
        },
        about: true,
        ..Evidence::default()
    });
    let asked = Asked {
        question: "体温は".into(),
        earlier: Vec::new(),
        evidence: evidence.collect(),
        ..Asked::default()
    };
    let _ = answerer.answer(&asked).next().await;
    let prompts = listener.0.lock().expect("a lock");
    prompts[0].clone()
}

#[tokio::test]
async fn the_prompt_stays_well_formed_whatever_the_rows_say() {
    let attempts = attempts();
    // Each alone, beside an honest row, and all at once.
    let honest = Attempt { title: "記録".into(), content: "体温は36.5℃。".into() };
    let mut sets: Vec<Vec<Attempt>> =
        attempts.iter().map(|attempt| vec![attempt.clone(), honest.clone()]).collect();
    sets.push(attempts.clone());
    let system = prompt(std::slice::from_ref(&honest)).await.system;
    for rows in &sets {
        let prompt = prompt(rows).await;
        let [turn] = &prompt.turns[..] else { panic!("one turn") };
        let first = turn.text.lines().next().expect("a fence");
        let marker =
            first.strip_prefix("--- [1] ").and_then(|rest| rest.strip_suffix(" ---")).expect("a marker");
        assert!(marker.len() > 16 && !rows.iter().any(|row| row.content.contains(marker)));
        assert_eq!(turn.text.matches(marker).count(), 2 * rows.len(), "{}", turn.text);
        // Between its two lines stands each row, and behind the last of them nothing but the question.
        let mut rest = turn.text.as_str();
        for number in 1..=rows.len() {
            rest = rest.strip_prefix(&format!("--- [{number}] {marker} ---\n")).expect("a first line");
            let end = format!("\n--- end [{number}] {marker} ---\n");
            let at = rest.find(&end).expect("a last line");
            rest = &rest[at + end.len()..];
        }
        assert_eq!(rest.trim(), "体温は");
        // Rules are the same for any rows, but for the marker.
        assert_eq!(prompt.system.replace(marker, ""), system.replace(&marker_in(&system), ""));
        let hidden = |c: char| {
            c.is_control() && c != '\n' && c != '\t'
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        };
        assert!(!turn.text.chars().any(hidden));
    }
}

/// The marker in these rules.
fn marker_in(system: &str) -> String {
    let at = system.find("karute-").expect("a marker");
    system[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
}

/// Says what a row says, as a model does that was taken in.
struct Parrot(String);

impl Answerer for Parrot {
    fn mode(&self) -> &'static str {
        "extractive"
    }
    fn model(&self) -> &str {
        "parrot"
    }
    fn answer<'a>(&'a self, _: &'a Asked) -> BoxStream<'a, Result<Piece, Failure>> {
        let pieces: Vec<String> = self.0.chars().map(String::from).collect();
        futures_util::stream::iter(pieces.into_iter().map(|piece| Ok(Piece::Text(piece)))).boxed()
    }
}

#[tokio::test]
async fn the_stream_of_events_stays_well_formed_whatever_the_answer_says() {
    for Attempt { content, .. } in attempts() {
        let question = json!({ "message": "久保田さんのバルーンの交換はいつですか" });
        let app = app_with(Parrot(content.clone()));
        let stream = ask(&app, "/chat/stream", question).await.text;
        let events = events(&stream);
        assert!(
            events
                .iter()
                .all(|(name, event)| name == "message" && event.as_object().map(|o| o.len()) == Some(7))
        );
        let said: String = events.iter().filter_map(|(_, event)| event["content"].as_str()).collect();
        assert_eq!(said, content);
        assert_eq!(events.iter().filter(|(_, event)| event["type"] == "done").count(), 1);
        let body = json!({ "messages": [{ "role": "user", "content": "久保田さんのバルーンの交換はいつですか" }], "stream": true });
        let stream = ask(&app, "/v1/chat/completions", body).await.text;
        let said: String = stream
            .split("\n\n")
            .filter_map(|block| block.strip_prefix("data: "))
            .filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str::<serde_json::Value>(data).expect("JSON"))
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(said, content);
    }
}

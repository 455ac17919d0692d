//! Fear: the reranker fails and nobody notices, or its failure takes the answer with it.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::sync::Arc;

use karute_engine::{Draft, Index, Provenance, Row};
use karute_server::answer::Extractive;
use karute_server::app::{App, Serving};
use karute_server::config::Sources;
use karute_server::retrieve::caller::Caller;
use karute_server::retrieve::{Question, Retrieved, retrieve};
use karute_server::setup;
use karute_sync::embed::Embedder;
use karute_sync::lexical::Lexical;
use karute_tests::google::workbook::Workbook;
use karute_tests::google::{Effect, Emulator};
use karute_tests::http::keep;

fn index() -> Index {
    let mut draft = Draft::new(Lexical::default().identity().clone());
    for (id, content) in
        [("a", "体温を測る。"), ("b", "体温と血圧を測り、脈拍も数える。"), ("c", "血圧の薬。体温は平熱。")]
    {
        draft.push(&Row { id: id.into(), content: content.into(), ..Row::default() }, &[]).expect("a row");
    }
    Index::from_slice(&draft.finish(Provenance::default()).expect("a draft").to_bytes()).expect("a snapshot")
}

/// An app whose rows are ranked by the emulator.
fn app(emulator: &Emulator, timeout: &str) -> App {
    let values = [
        ("KARUTE_RERANKER", "vertex"),
        ("GCP_PROJECT_ID", "p"),
        ("KARUTE_GOOGLE_ENDPOINT", &emulator.url()),
        ("KARUTE_GOOGLE_ANONYMOUS", "true"),
        ("REQUEST_TIMEOUT", timeout),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Sources::none().then("a test", values).load().expect("valid").settings;
    let reranker = setup::reranker(&settings).expect("valid");
    let mut app = App::new(settings, Arc::new(Lexical::default()), Arc::new([Arc::new(Extractive)]));
    app.reranker = reranker;
    app.serve(Serving::Ready { index: Arc::new(index()), problems: Arc::new([]) });
    app
}

async fn ask(app: &App) -> Retrieved {
    keep(app).await;
    let question = Question::new("体温と血圧と脈拍", Caller::everything());
    retrieve(app, &question).await.expect("a retrieval")
}

fn ids(retrieved: &Retrieved) -> Vec<&str> {
    retrieved.evidence.iter().map(|evidence| evidence.row.id.as_str()).collect()
}

#[tokio::test]
async fn rows_stand_in_the_order_of_the_reranker() {
    let emulator = Emulator::start(([127, 0, 0, 1], 0).into(), Workbook::default()).expect("a port");
    let retrieved = ask(&app(&emulator, "30")).await;
    assert_eq!(ids(&retrieved), ["b", "c", "a"]);
    assert!(retrieved.evidence.is_sorted_by(|a, b| a.score >= b.score));
    assert_eq!(retrieved.reranked_by.as_deref(), Some("semantic-ranker-default-004"));
    assert_eq!(retrieved.degraded(), None);
    let answered = emulator.answered();
    assert_eq!(answered.len(), 1);
    assert_eq!(answered[0].path, "v1/projects/p/locations/global/rankingConfigs/default_ranking_config:rank");
}

#[tokio::test]
async fn a_reranker_that_fails_leaves_the_order_of_this_machine_and_says_so() {
    let emulator = Emulator::start(([127, 0, 0, 1], 0).into(), Workbook::default()).expect("a port");
    for effect in [
        Effect::Status(403),
        Effect::Status(400),
        Effect::Body("{\"records\":[{\"id\":\"99\",\"score\":1}]}"),
        Effect::Body("{}"),
        Effect::Body("{\"records\":[{\"id\":\"1\",\"score\":1}]}"),
        Effect::Body("no JSON"),
        Effect::Wait(std::time::Duration::from_secs(20)),
    ] {
        emulator.heal();
        emulator.fault("POST", "rank", 9, effect);
        let retrieved = ask(&app(&emulator, "3")).await;
        assert_eq!(retrieved.evidence.len(), 3, "{effect:?}");
        assert_eq!(retrieved.reranked_by.as_deref(), Some("karute-local"), "{effect:?}");
        assert!(retrieved.degraded().is_some_and(|said| said.contains("並べ替え")), "{effect:?}");
    }
}

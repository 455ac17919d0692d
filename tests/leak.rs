//! Fear: a record of one client reaches somebody who may see only another's. Each client's rows carry a word that stands
//! nowhere else; no caller who may not see that client ever meets it, whatever he asks and wherever he looks.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeSet;
use std::sync::Arc;

use karute_engine::{ClientName, Draft, Facet, Index, Passage, Provenance, Row, Term};
use karute_server::answer::{self, Extractive, Step};
use karute_server::app::{App, Serving};
use karute_server::config::Sources;
use karute_server::retrieve::caller::{Caller, Scope};
use karute_server::retrieve::explain::explain;
use karute_server::retrieve::limits::Limits;
use karute_server::retrieve::{Question, retrieve};
use karute_sync::embed::Embedder;
use karute_sync::lexical::Lexical;

const CLIENTS: usize = 8;

/// The word that only client `number` has.
fn canary(number: usize) -> String {
    format!("canary{}", ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"][number])
}

fn client(number: usize) -> String {
    format!("CL-{number}")
}

/// Family names that share no piece.
fn family(number: usize) -> &'static str {
    ["青木", "石渡", "上原", "江口", "奥寺", "柏木", "木暮", "久保田"][number]
}

/// Every client with an introduction and notes that differ by the canary alone, and the house's own rows.
fn index() -> Index {
    let lexical = Lexical::default();
    let mut draft = Draft::new(lexical.identity().clone());
    draft.set_terms(vec![Term {
        canonical: "膀胱留置カテーテル".into(),
        synonyms: vec!["バルーン".into()],
        ..Term::default()
    }]);
    draft.set_clients(
        (0..CLIENTS)
            .map(|number| ClientName {
                id: client(number),
                name: format!("{} {}", family(number), canary(number)),
                name_kana: String::new(),
            })
            .collect(),
    );
    let mut push = |id: String, client_id: String, kind: &str, title: String, content: String| {
        let vector = lexical.vector(&format!("{title}\n{content}")).expect("words");
        let row = Row {
            id,
            client_id,
            title,
            content,
            source_type: kind.into(),
            domain: "nursing".into(),
            ..Row::default()
        };
        draft.push(&row, &[Passage::whole(&row, &vector)]).expect("a sound row");
    };
    for number in 0..CLIENTS {
        let (name, canary) = (family(number), canary(number));
        push(
            format!("i{number}-{canary}"),
            client(number),
            "client_info",
            format!("{name} 花 基本情報"),
            format!("{name}さん。{canary}。膀胱留置カテーテルを使用。"),
        );
        for note in 0..4 {
            push(
                format!("n{number}-{note}-{canary}"),
                client(number),
                "care_record",
                format!("{name} 訪問記録 {canary}"),
                format!("体温36.{note}℃。カテーテルの交換は{note}日。{canary}。"),
            );
        }
    }
    push(
        "house-canaryhouse".into(),
        String::new(),
        "thread",
        "職員健診".into(),
        "体温を測る。canaryhouse。".into(),
    );
    Index::from_slice(&draft.finish(Provenance::default()).expect("a draft").to_bytes()).expect("a snapshot")
}

fn app() -> App {
    let settings = Sources::none().load().expect("defaults").settings;
    let app = App::new(settings, Arc::new(Lexical::default()), Arc::new([Arc::new(Extractive)]));
    app.serve(Serving::Ready { index: Arc::new(index()), problems: Arc::new([]) });
    app
}

fn only(clients: &[usize], unowned: bool) -> Caller {
    let clients = Scope::Only(clients.iter().map(|number| client(*number)).collect::<BTreeSet<_>>());
    Caller { clients, unowned, ..Caller::everything() }
}

/// All that a caller is shown of one question: rows, explanation, suggestions, and the answer with its metadata.
async fn shown(app: &App, text: &str, client_id: Option<String>, caller: &Caller) -> String {
    let question = Question {
        limits: Limits { client_id, ..Limits::default() },
        top: 50,
        earlier: vec![format!("{}さんの体温は", family(7))],
        ..Question::new(text, caller.clone())
    };
    let retrieved = retrieve(app, &question).await.expect("a retrieval");
    let explained = explain(&question, &retrieved, &app.gate, &app.index().expect("ready")).expect("sound");
    let mut all = serde_json::to_string(&explained).expect("JSON");
    all += &format!("{:?}{:?}", retrieved.evidence, retrieved.suggested);
    let mut steps = std::pin::pin!(answer::run(app.clone(), question, Vec::new()));
    while let Some(step) = futures_util::StreamExt::next(&mut steps).await {
        match step.expect("an answer") {
            Step::Text(text) => all += &text,
            Step::Done(summary) => all += &serde_json::to_string(&summary).expect("JSON"),
            Step::Found(found) => all += &format!("{:?}", found.evidence),
            Step::Searching | Step::Generating => {}
        }
    }
    all
}

#[tokio::test]
async fn no_caller_ever_meets_a_row_of_a_client_whom_he_may_not_see() {
    let app = app();
    let mut met = 0;
    for own in 0..CLIENTS {
        let caller = only(&[own], false);
        for asked in 0..CLIENTS {
            for text in [
                format!("{}さんの体温は", family(asked)),
                format!("{} カテーテル 交換", canary(asked)),
                "バルーンの交換".to_owned(),
                "その方は?".to_owned(),
            ] {
                // The question itself may hold the word; what is shown must not hold it besides.
                let quoted = text.contains(&canary(asked));
                for filter in [None, Some(client(asked))] {
                    let all = shown(&app, &text, filter, &caller).await;
                    met += all.matches(&canary(own)).count();
                    for other in (0..CLIENTS).filter(|other| *other != own && !(quoted && *other == asked)) {
                        assert!(!all.contains(&canary(other)), "{own} asked {text:?} and met {other}: {all}");
                    }
                    if quoted && asked != own {
                        assert!(!all.contains(&format!("-{}", canary(asked))), "{own} asked {text:?}: {all}");
                    }
                    assert!(!all.contains("canaryhouse"), "{text}");
                    let others: Vec<String> =
                        (0..CLIENTS).filter(|other| *other != own && *other != asked).map(client).collect();
                    assert!(!others.iter().any(|id| all.contains(&format!("\"{id}\""))), "{text}: {all}");
                }
            }
        }
    }
    assert!(met > 1_000, "callers must see their own rows, or the test shows nothing: {met}");
}

#[tokio::test]
async fn what_one_may_not_see_changes_nothing_that_he_can_count() {
    let app = app();
    let caller = only(&[0], false);
    let count = |text: &str, client_id: Option<String>| {
        let question = Question {
            limits: Limits { client_id, ..Limits::default() },
            top: 50,
            ..Question::new(text, caller.clone())
        };
        let app = app.clone();
        async move { retrieve(&app, &question).await.expect("a retrieval").evidence.len() }
    };
    assert_eq!(count("体温", None).await, count("体温", Some(client(0))).await);
    assert_eq!(count("体温", Some(client(1))).await, 0);
    // Somebody whom he may not see is as unknown as somebody who does not exist.
    for name in [family(1), "存在"] {
        let question = Question::new(format!("{name}の体温"), caller.clone());
        let found = retrieve(&app, &question).await.expect("a retrieval");
        assert!(found.understood.people.clients.is_empty(), "{name}");
    }
}

#[test]
fn rows_without_an_owner_are_seen_by_those_who_may() {
    let index = index();
    let rows = |caller: &Caller| {
        let filter = caller.narrow(karute_engine::Filter::everything());
        let tokens = karute_engine::lexical::tokens::counted("体温 カテーテル 使用");
        index.keyword_search(&tokens, 100, Some(&filter)).expect("sound").expect("words").len()
    };
    let each = 5;
    assert_eq!(rows(&only(&[0], false)), each);
    assert_eq!(rows(&only(&[0], true)), each + 1);
    assert_eq!(rows(&only(&[0, 1], true)), 2 * each + 1);
    assert_eq!(rows(&Caller::default()), 0);
    assert_eq!(rows(&Caller::everything()), CLIENTS * each + 1);
    let house = Caller { domains: Scope::Only(BTreeSet::from(["sales".into()])), ..Caller::everything() };
    assert_eq!(rows(&house), 0);
    assert_eq!(index.rows_with(Facet::Client, "").expect("sound").len(), 0);
    for (client, domain) in [("CL-0", "nursing"), ("CL-1", "nursing"), ("", "nursing"), ("", "sales")] {
        let caller = only(&[0], true);
        assert_eq!(caller.may_see(client, domain), client != "CL-1", "{client:?}");
    }
}

//! Fear: a question about one day or one person is answered from another, a part of the understanding stops working and nobody
//! notices, or a score tells of a row that its reader may not see.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use karute_engine::{Draft, Index, Passage, Provenance, Row, Term};
use karute_server::answer::{Extractive, Step, run};
use karute_server::app::{App, Serving};
use karute_server::retrieve::caller::{Caller, Scope};
use karute_server::retrieve::limits::Limits;
use karute_server::retrieve::understand::Part;
use karute_server::retrieve::{Question, Retrieved, retrieve};
use karute_sync::embed::{Embedder, Task};
use karute_sync::lexical::Lexical;
use karute_tests::http::unready;
use time::OffsetDateTime;
use time::macros::datetime;

/// Wednesday noon in Japan.
const ASKED: OffsetDateTime = datetime!(2026-11-25 12:00 +9);

/// Rows of a client, a day, a kind and a content; each named by its number.
const ROWS: [(&str, &str, &str, &str, &str); 16] = [
    ("CL-1", "2026-04-01", "client_info", "江口 照男 基本情報", "慢性閉塞性肺疾患。在宅酸素を使う。"),
    ("CL-2", "2026-04-01", "client_info", "佐藤 太郎 基本情報", "ワーファリンを1日2mg内服。"),
    ("CL-3", "2026-04-01", "client_info", "佐藤 花子 基本情報", "インスリンは朝8単位、夕6単位。"),
    ("CL-4", "2026-04-01", "client_info", "久保田 実 基本情報", "膀胱留置カテーテルを使う。"),
    ("CL-1", "2026-10-15", "care_record", "江口 照男 訪問記録", "体温36.6℃。昨日の歩行は210m。"),
    ("CL-1", "2026-10-20", "care_record", "江口 照男 訪問記録", "体温36.9℃。酸素流量は1L。"),
    ("CL-1", "2026-11-18", "care_record", "江口 照男 訪問記録", "体温37.2℃。酸素流量は2L。"),
    ("CL-1", "2026-11-24", "care_record", "江口 照男 訪問記録", "体温36.4℃。食欲あり。"),
    ("CL-1", "2026-06-10", "care_record", "江口 照男 訪問記録", "先月の体温の表を家族に渡した。"),
    (
        "CL-4",
        "2026-11-20",
        "care_record",
        "久保田 実 訪問記録",
        "体温36.1℃。次回のバルーン交換は11月27日14時。",
    ),
    ("CL-4", "2026-10-02", "care_record", "久保田 実 訪問記録", "バルーン交換を実施。14Fr。"),
    ("", "2026-09-01", "thread", "事務連絡", "訪問車の鍵は事務所の金庫に入れる。"),
    ("CL-2", "2026-11-20", "care_record", "佐藤 太郎 訪問記録", "体温36.0℃。ワーファリン内服を確認。"),
    ("CL-3", "2026-11-20", "care_record", "佐藤 花子 訪問記録", "体温36.3℃。インスリン注射を確認。"),
    ("CL-4", "2026-11-01", "care_record", "久保田 実 訪問記録", "発熱はなし。腹部の張りもない。"),
    ("CL-1", "2026-11-02", "care_record", "江口 照男 訪問記録", "腰の疼痛の訴えがある。"),
];

fn index(rows: &[(&str, &str, &str, &str, &str)]) -> Index {
    let lexical = Lexical::default();
    let mut draft = Draft::new(lexical.identity().clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for (number, (client, date, kind, title, content)) in rows.iter().enumerate() {
        let row = Row {
            id: format!("row-{number}"),
            client_id: (*client).into(),
            date: (*date).into(),
            source_type: (*kind).into(),
            title: (*title).into(),
            content: (*content).into(),
            domain: "nursing".into(),
            ..Row::default()
        };
        let text = [format!("{title}\n{content}")];
        let embedded = runtime.block_on(lexical.embed(&text, Task::Document)).expect("vectors");
        let vector = embedded[0].as_ref().expect("words").vector().to_vec();
        draft.push(&row, &[Passage::whole(&row, &vector)]).expect("a row");
    }
    let term = Term {
        id: "t".into(),
        canonical: "疼痛".into(),
        synonyms: vec!["痛み".into(), "いたみ".into()],
        category: "症状".into(),
    };
    draft.set_terms(vec![term]);
    Index::from_slice(&draft.finish(Provenance::default()).expect("a draft").to_bytes()).expect("a snapshot")
}

fn app() -> App {
    let app = unready(&[("CACHE_ENABLED", "false")], Extractive);
    let index = std::thread::spawn(|| index(&ROWS)).join().expect("a snapshot");
    app.serve(Serving::Ready { index: Arc::new(index), problems: Arc::new([]) });
    app
}

fn question(text: &str) -> Question {
    Question { asked_at: Some(ASKED), ..Question::new(text, Caller::everything()) }
}

async fn found(question: &Question) -> Retrieved {
    retrieve(&app(), question).await.expect("found")
}

/// The rows about whom and when the question asks, best first.
fn about(retrieved: &Retrieved) -> Vec<&str> {
    let about = retrieved.evidence.iter().filter(|evidence| evidence.about);
    about.map(|evidence| evidence.row.id.as_str()).collect()
}

#[tokio::test]
async fn a_day_of_the_question_is_a_day_of_the_rows_that_answer_it() {
    for (text, expected) in [
        ("江口さんの昨日の体温は", vec!["row-7"]),
        ("江口さんの10月20日の体温は", vec!["row-5"]),
        ("江口さんの先週の酸素流量は", vec!["row-6"]),
        ("江口さんの先月15日の体温は", vec!["row-4"]),
        ("江口さんの今朝の体温は", vec![]),
        ("江口さんの2031年5月の酸素流量は", vec![]),
    ] {
        let retrieved = found(&question(text)).await;
        assert_eq!(about(&retrieved), expected, "{text}");
        assert_eq!(retrieved.verdict.answerable, !expected.is_empty(), "{text}: {:?}", retrieved.verdict);
    }
    // The word 先月 in a row of June is no reason to take it for one of October.
    let last_month = found(&question("江口さんの先月の体温は")).await;
    let rows = about(&last_month);
    assert!(rows.contains(&"row-4") && rows.contains(&"row-5") && !rows.contains(&"row-8"), "{rows:?}");
    // A row of another day that speaks of this one counts.
    let planned = found(&question("久保田さんの11月27日の予定は")).await;
    assert_eq!(about(&planned), ["row-9"]);
    let without =
        Question { without: vec![Part::Dates], ..question("江口さんの10月20日の体温は") };
    assert!(about(&found(&without).await).len() > 3);
}

#[tokio::test]
async fn the_newest_row_comes_first_where_the_newest_is_asked_for() {
    let newest = found(&question("江口さんの直近の体温は")).await;
    assert_eq!(about(&newest)[0], "row-7");
    assert_eq!(newest.understood.newest, Some("直近"));
    let without = Question { without: vec![Part::Dates], ..question("江口さんの直近の体温は") };
    assert_eq!(found(&without).await.understood.newest, None);
}

#[tokio::test]
async fn nobody_stands_for_somebody_of_the_same_family_name() {
    for (text, own) in [
        ("佐藤太郎さんのインスリンは何単位ですか", "CL-2"),
        ("佐藤花子さんのワーファリンは何mgですか", "CL-3"),
        ("佐藤 太郎さんの体温は", "CL-2"),
    ] {
        let retrieved = found(&question(text)).await;
        assert!(!about(&retrieved).is_empty(), "{text}");
        for evidence in retrieved.evidence.iter().filter(|evidence| evidence.about) {
            assert_eq!(evidence.row.client_id, own, "{text}");
        }
    }
    let open = found(&question("佐藤さんの体温は")).await;
    assert!(!open.verdict.answerable);
    assert_eq!(open.suggested, ["佐藤 太郎", "佐藤 花子"]);
    let limits = Limits { client_id: Some("CL-3".into()), ..Limits::default() };
    let limited = Question { limits, ..question("佐藤さんの体温は") };
    assert!(found(&limited).await.verdict.answerable);
    let mut steps = std::pin::pin!(run(app(), question("佐藤さんの体温は"), Vec::new()));
    let mut text = String::new();
    while let Some(step) = steps.next().await {
        match step.expect("a step") {
            Step::Text(piece) => text.push_str(&piece),
            Step::Done(summary) => assert_eq!(summary.reason, Some("ambiguous_person")),
            _ => {}
        }
    }
    assert!(text.contains("佐藤 太郎、佐藤 花子") && !text.contains('℃'), "{text}");
}

#[tokio::test]
async fn a_stranger_is_answered_from_nobodys_record() {
    for text in
        ["久保さんのバルーン交換は", "江口花子さんの酸素流量は", "林さんの体温は", "小江口さんの酸素流量は"]
    {
        let retrieved = found(&question(text)).await;
        assert_eq!(about(&retrieved), Vec::<&str>::new(), "{text}");
        assert!(!retrieved.verdict.answerable, "{text}");
    }
    let without = Question { without: vec![Part::People], ..question("林さんの体温は") };
    assert!(!about(&found(&without).await).is_empty());
}

#[tokio::test]
async fn a_follow_up_takes_over_whom_the_conversation_is_about() {
    let earlier = vec!["江口さんの酸素流量は".to_owned()];
    let goes_on = Question { earlier: earlier.clone(), ..question("その方の体温は？") };
    let retrieved = found(&goes_on).await;
    assert_eq!(retrieved.understood.people.clients, ["CL-1"]);
    assert!(about(&retrieved).iter().all(|id| {
        retrieved.evidence.iter().any(|evidence| evidence.row.id == *id && evidence.row.client_id == "CL-1")
    }));
    let without = Question { without: vec![Part::FollowUp], ..goes_on.clone() };
    assert!(found(&without).await.understood.people.is_empty());
    let without = Question { without: vec![Part::People], ..goes_on };
    assert!(found(&without).await.understood.people.is_empty());
}

#[tokio::test]
async fn a_follow_up_about_another_day_or_person_asks_the_same_and_takes_over_nothing_else() {
    let after = |earlier: &[&str], text: &str| {
        let earlier = earlier.iter().map(|earlier| (*earlier).to_owned()).collect();
        Question { earlier, ..question(text) }
    };
    let first = "江口さんの10月7日の酸素流量は";
    let other_day = found(&after(&[first], "昨日は?")).await.understood;
    let days: Vec<&str> = other_day.days.iter().map(|span| span.phrase.as_str()).collect();
    assert_eq!(days, ["昨日"]);
    assert!(other_day.text.contains("酸素流量") && !other_day.text.contains("10月7日"), "{}", other_day.text);
    assert_eq!(other_day.people.clients, ["CL-1"]);
    let other_person = found(&after(&[first], "佐藤太郎さんは?")).await.understood;
    assert!(
        other_person.text.contains("佐藤太郎") && other_person.text.contains("酸素流量"),
        "{}",
        other_person.text
    );
    assert_eq!(other_person.days.len(), 1, "and the day");
    let others = found(&after(&[first], "江口さん以外は?")).await.understood;
    assert!(others.people.is_empty(), "{:?}", others.people);
    // However many stand in a row, the topic is that of the one that has one.
    let chain = found(&after(&[first, "佐藤太郎さんは?"], "久保田さんは?")).await.understood;
    assert!(chain.text.contains("酸素流量"), "{}", chain.text);
    assert_eq!(chain.people.clients, ["CL-4"]);
}

#[tokio::test]
async fn a_term_is_found_under_its_other_names() {
    for text in ["江口さんに痛みはありますか", "江口さんのいたみは"] {
        let retrieved = found(&question(text)).await;
        assert_eq!(retrieved.understood.terms.len(), 1, "{text}");
        assert_eq!(about(&retrieved)[0], "row-15", "{text}");
    }
    let without =
        Question { without: vec![Part::Terms], ..question("江口さんに痛みはありますか") };
    assert!(found(&without).await.understood.terms.is_empty());
}

#[tokio::test]
async fn no_score_tells_of_a_row_that_may_not_be_seen() {
    let scores = async |secret: &'static str| -> Vec<(String, u32, u32)> {
        let app = unready(&[("CACHE_ENABLED", "false")], Extractive);
        let mut rows = ROWS;
        // Of equal length, so that the mean length of a row is the same.
        rows[14].4 = secret;
        let index = std::thread::spawn(move || index(&rows)).join().expect("a snapshot");
        app.serve(Serving::Ready { index: Arc::new(index), problems: Arc::new([]) });
        let clients = Scope::Only(BTreeSet::from(["CL-1".to_owned()]));
        let caller = Caller { clients, unowned: false, ..Caller::everything() };
        let asked = Question { caller, ..question("結核 体温") };
        let found = retrieve(&app, &asked).await.expect("found");
        found.evidence.iter().map(|e| (e.row.id.clone(), e.keywords.to_bits(), e.score.to_bits())).collect()
    };
    let (with, without) =
        (scores("結核の疑い。腹部の張りもない。").await, scores("発熱の疑い。腹部の張りもない。").await);
    assert!(!with.is_empty());
    assert_eq!(with, without);
}

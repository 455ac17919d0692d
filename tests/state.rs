//! Fear: a conversation is lost, doubled, or shown to somebody else; and what works on one database does not on the other.
//!
//! Every test runs on SQLite, and, where `KARUTE_TEST_DATABASE_URL` names a PostgreSQL server, on a database of its own there
//! too. `.ci/state` starts one.

use std::collections::BTreeMap;

use karute_server::config::Secret;
use karute_server::retrieve::caller::{Caller, Scope};
use karute_server::state::{Database, Decision, Entry, Feedback, Shown};
use karute_tests::homes::{homes, open};
use proptest::prelude::*;
use serde_json::json;
use time::{Duration, OffsetDateTime};

const NOON: OffsetDateTime = time::macros::datetime!(2026-11-25 12:00:00.5 UTC);

fn who(name: &str) -> Caller {
    Caller { name: name.into(), ..Caller::everything() }
}

fn entry(owner: &str, conversation: &str, id: &str, minute: i64) -> Entry {
    Entry {
        id: id.into(),
        owner: owner.into(),
        conversation: conversation.into(),
        begins: true,
        question_id: format!("q-{id}"),
        question: format!("{id}の質問\n二行目"),
        answer: format!("{id}の答え [1]"),
        context_ids: vec!["row-1".into(), "row-2".into()],
        shown: Shown::default(),
        suggested_terms: vec!["熱発".into()],
        record: json!({ "snapshot_id": "abc", "n": 1.5 }),
        asked_at: NOON + Duration::minutes(minute),
        answered_at: NOON + Duration::minutes(minute) + Duration::seconds(5),
    }
}

#[tokio::test]
async fn rights_that_were_taken_away_show_nothing_of_before_and_who_is_forgotten_is_not_kept() {
    for home in homes().await {
        let about = |id: &str, client: &str, minute| Entry {
            shown: Shown([(client.to_owned(), "nursing".to_owned())].into()),
            ..entry("yamada", "s", id, minute)
        };
        home.state.keep(&about("a", "CL-1", 0)).await.expect("kept");
        home.state.keep(&about("b", "CL-2", 1)).await.expect("kept");
        let selling = Caller { domains: Scope::Only(["sales".to_owned()].into()), ..who("yamada") };
        let only =
            |client: &str| Caller { clients: Scope::Only([client.to_owned()].into()), ..who("yamada") };
        for (caller, visible) in [
            (who("yamada"), &["a", "b"][..]),
            (only("CL-1"), &["a"]),
            (only("CL-2"), &["b"]),
            (only("CL-3"), &[]),
            (selling, &[]),
        ] {
            let (messages, _, total) =
                home.state.messages(&caller, "s", 100).await.expect("read").expect("there");
            assert_eq!((messages.len(), total), (2 * visible.len(), 2 * visible.len() as i64));
            let (exchanges, shown) = home.state.exchanges(&caller, "s", 10).await.expect("read");
            assert_eq!((exchanges.len(), shown.0.len()), (visible.len(), visible.len()));
            let (listed, _) = home.state.conversations(&caller, 10).await.expect("listed");
            assert_eq!(listed[0].preview.is_empty(), !visible.contains(&"b"));
            assert_eq!(listed[0].title.is_empty(), !visible.contains(&"a"));
            assert_eq!(listed[0].messages, 2 * visible.len() as i64);
            assert_eq!(listed[0].shown, shown);
            for id in ["a", "b"] {
                let answer = home.state.answer(id, Some(&caller)).await.expect("read");
                assert_eq!(answer.is_some(), visible.contains(&id));
            }
        }
        // The latest that may be seen, not what may be seen of the latest.
        let (messages, _, total) =
            home.state.messages(&only("CL-1"), "s", 2).await.expect("read").expect("there");
        assert_eq!((messages.len(), total), (2, 2));
        // Of the last exchange alone only its own clients are shown, and that is what the audit is told.
        let (_, shown, _) = home.state.messages(&who("yamada"), "s", 2).await.expect("read").expect("there");
        assert_eq!(shown.clients(), ["CL-2".to_owned()].into());
        // What was said of an answer names people as people write.
        for (id, said) in [("d", "江口　照男様の酸素"), ("e", "誰でもない")] {
            home.state.keep(&entry("suzuki", id, id, 3)).await.expect("kept");
            let said =
                Feedback { message_id: id.into(), rating: 3, comment: said.into(), ..Feedback::default() };
            assert!(home.state.rate("suzuki", &said, NOON).await.expect("kept"));
        }
        assert_eq!(
            home.state.remove_about("CL-4", &["CL-4".into(), "江口照男".into()]).await.expect("removed"),
            1
        );
        assert!(home.state.answer("e", None).await.expect("read").is_some());
        home.state.forget("CL-2", NOON).await.expect("noted");
        assert_eq!(home.state.forgotten().await.expect("read"), ["CL-2"]);
        assert!(!home.state.keep(&about("c", "CL-2", 2)).await.expect("no failure"));
        assert!(
            home.state.answer("c", None).await.expect("read").is_none(),
            "an answer in flight is not kept"
        );
        // Nor is one that found nothing of hers and names her all the same.
        let named = Entry { question: "CL-2の体温は".into(), ..entry("suzuki", "f", "f", 4) };
        assert!(!home.state.keep(&named).await.expect("no failure"));
        let other = Entry { question: "CL-20の体温は".into(), ..entry("suzuki", "g", "g", 4) };
        assert!(home.state.keep(&other).await.expect("kept"));
    }
}

#[tokio::test]
async fn a_conversation_that_is_removed_while_an_answer_is_made_stays_removed() {
    for home in homes().await {
        let later = |id: &str, minute| Entry { begins: false, ..entry("yamada", "s", id, minute) };
        home.state.keep(&entry("yamada", "s", "a", 0)).await.expect("kept");
        home.state.keep(&later("b", 1)).await.expect("kept");
        assert_eq!(home.state.messages(&who("yamada"), "s", 100).await.expect("read").expect("there").2, 4);
        assert!(home.state.remove("yamada", "s").await.expect("removed"));
        assert!(!home.state.keep(&later("c", 2)).await.expect("no failure"));
        assert!(home.state.messages(&who("yamada"), "s", 100).await.expect("read").is_none());
        home.state.keep(&entry("yamada", "s", "d", 3)).await.expect("begun anew");
        assert_eq!(home.state.messages(&who("yamada"), "s", 100).await.expect("read").expect("there").2, 2);
    }
}

#[tokio::test]
async fn what_was_kept_is_read_back_in_order_and_survives_a_reopening() {
    for home in homes().await {
        for (at, id) in ["a", "b", "c"].into_iter().enumerate() {
            home.state.keep(&entry("yamada", "s", id, at as i64)).await.expect("kept");
        }
        let state = home.again().await.expect("the same home");
        let (messages, _, total) =
            state.messages(&who("yamada"), "s", 100).await.expect("read").expect("a conversation");
        let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
        assert_eq!((ids, total), (vec!["q-a", "a", "q-b", "b", "q-c", "c"], 6));
        assert_eq!((messages[0].role, messages[1].role), ("user", "assistant"));
        assert_eq!(messages[0].timestamp, NOON);
        assert_eq!(messages[1].context_ids, ["row-1", "row-2"]);
        assert_eq!(messages[1].suggested_terms, ["熱発"]);
        let (latest, _, total) =
            state.messages(&who("yamada"), "s", 3).await.expect("read").expect("a conversation");
        let ids: Vec<&str> = latest.iter().map(|message| message.id.as_str()).collect();
        assert_eq!((ids, total), (vec!["b", "q-c", "c"], 6), "the latest ones");

        let (exchanges, _) = state.exchanges(&who("yamada"), "s", 2).await.expect("read");
        let asked: Vec<&str> = exchanges.iter().map(|exchange| exchange.answer.as_str()).collect();
        assert_eq!(asked, ["bの答え [1]", "cの答え [1]"]);

        let answer = state.answer("b", Some(&who("yamada"))).await.expect("read").expect("an answer");
        assert_eq!(answer.record, json!({ "snapshot_id": "abc", "n": 1.5 }));
        assert_eq!((answer.conversation.as_str(), answer.asked_at), ("s", NOON + Duration::minutes(1)));
    }
}

#[tokio::test]
async fn nothing_is_kept_twice() {
    for home in homes().await {
        for _ in 0..3 {
            home.state.keep(&entry("yamada", "s", "a", 0)).await.expect("kept");
        }
        let (_, _, total) =
            home.state.messages(&who("yamada"), "s", 10).await.expect("read").expect("messages");
        assert_eq!(total, 2);
    }
}

#[tokio::test]
async fn the_conversations_of_others_are_not_there() {
    for home in homes().await {
        home.state.keep(&entry("yamada", "s", "a", 0)).await.expect("kept");
        // The same id of somebody else is another conversation.
        home.state.keep(&entry("suzuki", "s", "b", 0)).await.expect("kept");
        let (_, _, total) =
            home.state.messages(&who("yamada"), "s", 10).await.expect("read").expect("messages");
        assert_eq!(total, 2);
        assert!(home.state.messages(&who("tanaka"), "s", 10).await.expect("read").is_none());
        assert!(home.state.exchanges(&who("tanaka"), "s", 10).await.expect("read").0.is_empty());
        assert!(home.state.answer("a", Some(&who("suzuki"))).await.expect("read").is_none());
        assert!(home.state.answer("a", None).await.expect("read").is_some());
        let rating = Feedback { message_id: "a".into(), rating: 1, ..Feedback::default() };
        assert!(!home.state.rate("suzuki", &rating, NOON).await.expect("read"));
        assert!(!home.state.remove("tanaka", "s").await.expect("read"));
        assert!(home.state.remove("yamada", "s").await.expect("removed"));
        assert!(home.state.answer("a", None).await.expect("read").is_none(), "removed with it");
        assert!(home.state.answer("b", None).await.expect("read").is_some());
    }
}

#[tokio::test]
async fn a_list_has_titles_previews_and_the_latest_first() {
    for home in homes().await {
        for (conversation, minute) in [("old", 0), ("new", 10), ("old", 20), ("newest", 30)] {
            let id = format!("{conversation}-{minute}");
            home.state.keep(&entry("yamada", conversation, &id, minute)).await.expect("kept");
        }
        let (listed, total) = home.state.conversations(&who("yamada"), 2).await.expect("read");
        let ids: Vec<&str> = listed.iter().map(|conversation| conversation.id.as_str()).collect();
        assert_eq!((ids, total), (vec!["newest", "old"], 3));
        assert_eq!(listed[1].title, "old-0の質問");
        assert_eq!(listed[1].preview, "old-20の答え [1]");
        assert_eq!((listed[1].messages, listed[1].created_at), (4, NOON));
        let long = Entry { question: "あ".repeat(500), ..entry("suzuki", "long", "long", 0) };
        home.state.keep(&long).await.expect("kept");
        let (listed, _) = home.state.conversations(&who("suzuki"), 2).await.expect("read");
        assert_eq!(listed[0].title.chars().count(), 41);
    }
}

#[tokio::test]
async fn who_might_have_seen_a_client_who_is_forgotten_keeps_what_he_asked_of_others() {
    for home in homes().await {
        let scope =
            |clients: &[&str]| json!({ "question": { "seeing": [{ "only": clients }, "all", false] } });
        let about = |id: &str| Entry {
            shown: Shown([("CL-3".to_owned(), "nursing".to_owned())].into()),
            record: scope(&["CL-1", "CL-3"]),
            ..entry("yamada", id, id, 0)
        };
        home.state.keep(&about("a")).await.expect("kept");
        home.state.forget("CL-1", NOON).await.expect("noted");
        assert_eq!(home.state.remove_about("CL-1", &["CL-1".into()]).await.expect("removed"), 0);
        home.state.keep(&about("b")).await.expect("kept");
        for id in ["a", "b"] {
            let kept = home.state.answer(id, None).await.expect("read").expect("it is there");
            assert_eq!(kept.record, scope(&["CL-3"]), "{id}");
        }
    }
}

#[tokio::test]
async fn conversations_end_after_their_time() {
    for home in homes().await {
        home.state.keep(&entry("yamada", "old", "a", 0)).await.expect("kept");
        home.state.keep(&entry("yamada", "new", "b", 60)).await.expect("kept");
        let removed = home.state.remove_before(NOON + Duration::minutes(30)).await.expect("removed");
        assert_eq!(removed, 1);
        let (listed, _) = home.state.conversations(&who("yamada"), 10).await.expect("read");
        assert_eq!(listed.len(), 1);
        assert!(home.state.answer("a", None).await.expect("read").is_none());
        // Of a conversation that goes on, what is older ends, and it begins with what is left.
        let more = Entry { begins: false, ..entry("yamada", "new", "c", 120) };
        home.state.keep(&more).await.expect("kept");
        let removed = home.state.remove_before(NOON + Duration::minutes(90)).await.expect("removed");
        assert_eq!(removed, 1);
        assert!(home.state.answer("b", None).await.expect("read").is_none());
        let (listed, _) = home.state.conversations(&who("yamada"), 10).await.expect("read");
        assert_eq!((listed.len(), listed[0].messages), (1, 2));
        assert!(listed[0].title.starts_with("cの質問"), "{:?}", listed[0].title);
        assert_eq!(listed[0].created_at, NOON + Duration::minutes(120));
    }
}

#[tokio::test]
async fn feedback_takes_the_place_of_what_was_said_before() {
    for home in homes().await {
        home.state.keep(&entry("yamada", "s", "a", 0)).await.expect("kept");
        let unknown = Feedback { message_id: "nothing".into(), rating: 5, ..Feedback::default() };
        assert!(!home.state.rate("yamada", &unknown, NOON).await.expect("read"));
        for rating in [5, 2] {
            let feedback = Feedback {
                message_id: "a".into(),
                rating,
                comment: "日付が\0違う".into(),
                suggested_terms: vec!["発熱".into()],
                term_feedback: BTreeMap::from([("熱発".into(), false)]),
            };
            assert!(home.state.rate("yamada", &feedback, NOON).await.expect("kept"));
        }
        let (messages, ..) =
            home.state.messages(&who("yamada"), "s", 10).await.expect("read").expect("messages");
        assert_eq!((messages[0].rating, messages[1].rating), (None, Some(2)));
        assert_eq!(messages[1].term_feedback, json!({ "熱発": false }));
    }
}

#[tokio::test]
async fn decisions_about_terms_are_counted_once_for_each_owner() {
    for home in homes().await {
        let decision = |accepted| Decision { term: "熱".into(), canonical: "発熱".into(), accepted };
        for (owner, accepted) in [("a", true), ("a", true), ("b", true), ("c", false), ("c", false)] {
            home.state.decide(owner, &[decision(accepted)], NOON).await.expect("kept");
        }
        let learned = home.state.learned(&["発熱".into(), "脈拍".into()]).await.expect("read");
        assert_eq!(learned, BTreeMap::from([("発熱".into(), 1), ("脈拍".into(), 0)]));
        // However many words one decides, it is one voice.
        let many: Vec<Decision> = (0..50)
            .map(|number| Decision {
                term: format!("語{number}"), canonical: "脈拍".into(), accepted: true
            })
            .collect();
        home.state.decide("tanaka", &many, NOON).await.expect("kept");
        assert_eq!(home.state.learned(&["脈拍".into()]).await.expect("read")["脈拍"], 1);
    }
}

#[tokio::test]
async fn many_at_once_lose_nothing() {
    for home in homes().await {
        let other = home.again().await.expect("a second instance");
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..40 {
            let state = if number % 2 == 0 { home.state.clone() } else { other.clone() };
            tasks.spawn(
                async move { state.keep(&entry("yamada", "s", &format!("{number:02}"), number)).await },
            );
        }
        while let Some(kept) = tasks.join_next().await {
            kept.expect("no panic").expect("kept");
        }
        let (_, _, total) =
            home.state.messages(&who("yamada"), "s", 100).await.expect("read").expect("messages");
        assert_eq!(total, 80);
    }
}

#[tokio::test]
async fn an_address_that_is_none_and_a_file_that_is_no_database_are_said_to_be_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let wrong = open("mysql://root:s3cret@localhost/x", directory.path()).await.expect_err("no such home");
    assert!(wrong.to_string().contains("postgres://") && !wrong.to_string().contains("s3cret"), "{wrong}");
    let gone = open("postgres://u:s3cret@127.0.0.1:1/x", directory.path()).await.expect_err("nobody there");
    assert!(!gone.to_string().contains("s3cret"), "{gone}");
    std::fs::write(
        directory.path().join("state.sqlite"),
        "no database at all, but long enough to be read".repeat(90),
    )
    .expect("written");
    let garbage = open("", directory.path()).await.expect_err("garbage");
    assert!(garbage.to_string().contains("state.sqlite"), "{garbage}");
}

#[tokio::test]
async fn a_path_may_have_any_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let odd = directory.path().join("日本語 ?x=1%20#&");
    std::fs::create_dir(&odd).expect("a directory");
    let state = open("", &odd).await.expect("a state");
    state.keep(&entry("yamada", "s", "a", 0)).await.expect("kept");
    assert!(odd.join("state.sqlite").exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_text_is_kept(texts in proptest::collection::vec(any::<String>(), 4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            for home in homes().await {
                let kept = Entry { question: texts[0].clone(), answer: texts[1].clone(), context_ids: texts.clone(), ..entry(&texts[2].replace('\0', ""), "s", "a", 0) };
                home.state.keep(&kept).await.expect("kept");
                let (messages, ..) = home.state.messages(&who(&kept.owner), "s", 10).await.expect("read").expect("messages");
                let whole = |text: &str| text.replace('\0', "\u{fffd}");
                assert_eq!(messages[0].content, whole(&texts[0]));
                assert_eq!(messages[1].content, whole(&texts[1]));
                assert_eq!(messages[1].context_ids, texts);
                home.state.conversations(&who(&kept.owner), 10).await.expect("listed");
            }
        });
    }
}

#[tokio::test]
async fn a_copy_of_the_state_holds_all_of_it_and_is_put_back_only_where_there_is_none() {
    for home in homes().await {
        home.state.keep(&entry("yamada", "s", "a", 0)).await.expect("kept");
        let folder = tempfile::tempdir().expect("a directory");
        let copy = folder.path().join("state.copy");
        let copied = home.state.copy_to(&copy).await;
        if let Err(error) = &copied {
            assert!(home.state.place() == "PostgreSQL" && error.to_string().contains("pg_dump"), "{error}");
            continue;
        }
        assert!(home.state.copy_to(&copy).await.expect_err("it is there").to_string().contains("state.copy"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&copy).expect("a file").permissions().mode() & 0o077, 0);
        }
        // What is kept later is not in it.
        home.state.keep(&entry("yamada", "s", "b", 1)).await.expect("kept");
        let other = folder.path().join("data");
        let none = Secret::default();
        // What a server that was killed left behind would be played into the copy.
        std::fs::create_dir(&other).expect("made");
        std::fs::write(other.join("state.sqlite-wal"), "a log").expect("written");
        let left = Database::put_back(&none, &copy, &other).await.expect_err("a log is there").to_string();
        assert!(left.contains("state.sqlite-wal"), "{left}");
        std::fs::remove_file(other.join("state.sqlite-wal")).expect("removed");
        Database::put_back(&none, &copy, &other).await.expect("put back");
        let there = Database::put_back(&none, &copy, &other).await.expect_err("state is there").to_string();
        assert!(there.contains("move it away"), "{there}");
        let back = Database::open(&Secret::default(), &other).await.expect("opened");
        let (messages, ..) = back.messages(&who("yamada"), "s", 100).await.expect("read").expect("there");
        assert_eq!(messages.len(), 2);
        std::fs::write(&copy, "no database at all").expect("written");
        let third = folder.path().join("third");
        let error = Database::put_back(&none, &copy, &third).await.expect_err("no database");
        assert!(error.to_string().contains("SQLite"), "{error}");
        let half = std::fs::read(other.join("state.sqlite")).expect("a file");
        std::fs::write(&copy, &half[..half.len() / 2]).expect("written");
        Database::put_back(&none, &copy, &third).await.expect_err("half a database");
        assert_eq!(std::fs::read_dir(&third).expect("a directory").count(), 0, "nothing is left of it");
    }
}

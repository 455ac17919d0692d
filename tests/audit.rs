//! Fear: nobody can say who saw whose records; or somebody changed what is said of it, and nobody noticed.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::StatusCode;
use karute_engine::{Draft, Index, Provenance, Row};
use karute_server::answer::Extractive;
use karute_server::app::{App, Serving};
use karute_server::audit::{Audit, Seen, tells_of, verify};
use karute_server::config::{Secret, Value as _};
use karute_server::retrieve::caller::Caller;
use karute_server::routes;
use karute_server::state::{Link, Sealed};
use karute_sync::embed::Embedder;
use karute_sync::lexical::Lexical;
use karute_tests::homes::homes;
use karute_tests::http::{ask, call, get, keep, settings};
use proptest::prelude::*;
use serde_json::{Value, json};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOON: OffsetDateTime = datetime!(2026-11-26 12:00 UTC);

fn row(id: &str, client: &str) -> Row {
    Row {
        id: id.into(), client_id: client.into(), content: "カテーテルの交換".into(), ..Row::default()
    }
}

fn secret(text: &str) -> Secret {
    Secret::parse(text).expect("a secret")
}

/// Chains of two runs, the first with `links` links.
async fn chains(home: &karute_tests::homes::Home, links: usize, key: &str) -> Vec<Sealed> {
    for run in 0..2 {
        let audit = Audit::new(&settings(&[("KARUTE_AUDIT_KEY", key)]));
        for number in 0..links {
            let row = row(&format!("r{number}"), &format!("CL-{}", number % 2));
            let seen = Seen { action: "search", question: Some("カテーテル"), ..Seen::default() };
            let at = NOON + Duration::seconds((run * 100 + number) as i64);
            let link = audit.link(&Caller::everything(), &seen, std::iter::once(&row), at);
            audit.keep(&home.state, link).await.expect("kept");
        }
    }
    home.state.links().await.expect("the audit")
}

#[tokio::test]
async fn a_chain_is_whole_until_it_is_touched_and_the_place_is_found() {
    for key in ["", "a key of sixteen or more"] {
        for home in homes().await {
            let links = chains(&home, 5, key).await;
            assert_eq!(links.len(), 12);
            let key = secret(key);
            assert_eq!(verify(&links, &key), []);
            for touched in 0..links.len() {
                let (chain, sequence) = (links[touched].chain.clone(), links[touched].sequence);
                let mut changed = links.clone();
                changed[touched].link.caller.push('x');
                let broken = verify(&changed, &key);
                assert!(
                    broken.iter().any(|place| place.chain == chain && place.sequence == sequence),
                    "{broken:?}"
                );

                let mut missing = links.clone();
                missing.remove(touched);
                let last_of_last = touched == links.len() - 1 || links[touched + 1].chain != chain;
                let broken = verify(&missing, &key);
                // The end of a chain is known once another has begun; of the newest chain nobody knows it yet.
                let newest = links
                    .iter()
                    .filter(|link| link.sequence == 0)
                    .max_by_key(|link| link.link.at)
                    .expect("a chain");
                match last_of_last && newest.chain == chain {
                    true => assert_eq!(broken, []),
                    false => assert!(
                        broken.iter().any(|place| place.chain == chain && place.sequence == sequence),
                        "{touched}: {broken:?}"
                    ),
                }
            }
            if key.reveal().is_some() {
                assert!(
                    !verify(&links, &secret("another key of sixteen")).is_empty(),
                    "who has not the key cannot forge it"
                );
                assert!(!verify(&links, &Secret::default()).is_empty());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// One byte of one field of one link, changed to another, is found where it is.
    #[test]
    fn any_changed_byte_is_found_and_located(which in 0..12usize, field in 0..7usize, at in any::<prop::sample::Index>(), byte in 32..127u8) {
        static LINKS: std::sync::OnceLock<Vec<Sealed>> = std::sync::OnceLock::new();
        let links = LINKS.get_or_init(|| {
            karute_tests::small::block_on(async { chains(&homes().await.remove(0), 5, "").await })
        });
        let mut changed = links.clone();
        let sealed = &mut changed[which];
        let place = (sealed.chain.clone(), sealed.sequence);
        let text = match field {
            0 => &mut sealed.link.caller,
            1 => &mut sealed.link.role,
            2 => &mut sealed.link.action,
            3 => &mut sealed.link.detail,
            4 => &mut sealed.digest,
            5 => { sealed.link.at += Duration::milliseconds(i64::from(byte)); prop_assert!(verify(&changed, &Secret::default()).iter().any(|b| (b.chain.clone(), b.sequence) == place)); return Ok(()); }
            _ => { sealed.sequence += i64::from(byte); prop_assert!(!verify(&changed, &Secret::default()).is_empty()); return Ok(()); }
        };
        let mut bytes = std::mem::take(text).into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at].is_ascii() && bytes[at] != byte);
        bytes[at] = byte;
        *text = String::from_utf8(bytes).expect("ASCII for ASCII");
        let broken = verify(&changed, &Secret::default());
        prop_assert!(broken.iter().any(|broken| (broken.chain.clone(), broken.sequence) == place), "{:?}", broken);
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_or_no_number_are_located_and_stop_nobody() {
    let home = homes().await.remove(0);
    let path = home.directory.path().join("state.sqlite");
    for (change, sequence) in [
        ("detail = CAST(x'ff' AS TEXT)", 2),
        ("at = 'abc'", 3),
        ("caller = x'00ff'", 4),
        ("digest = x'ff00'", 5),
        // What reads the same, and is not.
        ("at = at || 'x'", 2),
        ("caller = CAST(caller AS BLOB)", 3),
        ("at = at + 0.5", 4),
        // What the index still has as it was.
        ("chain = chain || 'x'", 3),
    ] {
        let before = chains(&home, 5, "").await;
        assert_eq!(verify(&before, &Secret::default()), [], "{change}");
        let chain = before.iter().map(|link| &link.chain).max().expect("a chain").clone();
        sqlx::any::install_default_drivers();
        let pool = sqlx::AnyPool::connect(&format!("sqlite://{}", path.display())).await.expect("the file");
        let sql = format!("UPDATE audit SET {change} WHERE sequence = {sequence} AND chain = '{chain}'");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&pool).await.expect("tampered with");
        let links = home.state.links().await.expect("what can be read");
        let broken = verify(&links, &Secret::default());
        assert!(
            broken.iter().any(|place| place.chain == chain && place.sequence <= sequence),
            "{change}: {broken:?}"
        );
        // Another run begins its chain all the same.
        let audit = Audit::new(&settings(&[]));
        let link = audit.link(&Caller::everything(), &Seen::default(), std::iter::empty(), NOON);
        audit.keep(&home.state, link).await.expect("kept");
        sqlx::query("DELETE FROM audit").execute(&pool).await.expect("emptied");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn links_that_come_together_stand_in_one_chain() {
    for home in homes().await {
        let audit = Arc::new(Audit::new(&settings(&[])));
        let tasks = (0..200).map(|number| {
            let (audit, state) = (audit.clone(), home.state.clone());
            tokio::spawn(async move {
                let row = row(&format!("r{number}"), "CL-1");
                let link = audit.link(
                    &Caller::everything(),
                    &Seen { action: "row", ..Seen::default() },
                    std::iter::once(&row),
                    NOON,
                );
                audit.keep(&state, link).await.expect("kept");
                // It is there as soon as that is said.
                let links = state.links().await.expect("the audit");
                assert!(links.iter().any(|sealed| sealed.link.detail.contains(&format!("\"r{number}\""))));
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("done");
        }
        let links = home.state.links().await.expect("the audit");
        assert_eq!((links.len(), verify(&links, &Secret::default())), (201, vec![]));
    }
}

#[tokio::test]
async fn chains_that_run_side_by_side_tell_of_each_other() {
    for home in homes().await {
        let audits = [Audit::new(&settings(&[])), Audit::new(&settings(&[]))];
        let look = async |which: usize| {
            let link = audits[which].link(&Caller::everything(), &Seen::default(), std::iter::empty(), NOON);
            audits[which].keep(&home.state, link).await.expect("kept");
        };
        for which in [0, 1, 0, 0] {
            look(which).await;
        }
        for _ in 0..3 {
            // Each tells once of what is new, and neither for ever of the other's telling.
            audits[1].witness(&home.state, NOON).await.expect("kept");
            audits[0].witness(&home.state, NOON).await.expect("kept");
        }
        let links = home.state.links().await.expect("the audit");
        assert_eq!((links.len(), verify(&links, &Secret::default())), (8, vec![]));
        // The end of the chain that began first, cut off behind the beginning of the other.
        let older = audits[0].end().await.expect("a chain").0;
        let cut =
            links.iter().filter(|link| link.chain != older || link.sequence < 2).cloned().collect::<Vec<_>>();
        let broken = verify(&cut, &Secret::default());
        assert!(broken.iter().any(|place| place.chain == older), "{broken:?}");
    }
}

fn index() -> Index {
    let mut draft = Draft::new(Lexical::default().identity().clone());
    for (id, client, content) in [
        ("a", "CL-1", "久保田さんの膀胱留置カテーテルの次回交換は10月20日。"),
        ("b", "CL-2", "柏木さんの体温は36.5℃。"),
    ] {
        let row = Row {
            id: id.into(),
            client_id: client.into(),
            content: content.into(),
            title: "記録".into(),
            ..Row::default()
        };
        draft.push(&row, &[]).expect("a row");
    }
    Index::from_slice(&draft.finish(Provenance::default()).expect("a draft").to_bytes()).expect("a snapshot")
}

fn app(given: &[(&str, &str)]) -> App {
    let settings = settings(
        &[given, &[("KARUTE_CHAT_HISTORY", "true"), ("ADMIN_API_KEY", "an admin key of many characters")]]
            .concat(),
    );
    let app = App::new(settings, Arc::new(Lexical::default()), Arc::new([Arc::new(Extractive)]));
    app.serve(Serving::Ready { index: Arc::new(index()), problems: Arc::new([]) });
    app
}

#[tokio::test]
async fn whatever_shows_a_record_says_so_in_the_audit() {
    let app = app(&[]);
    keep(&app).await;
    let service = routes::app(app.clone());
    let question = "久保田さんのカテーテルの次回交換はいつ";
    ask(&service, "/search", json!({ "query": question })).await;
    let answer = ask(&service, "/chat", json!({ "message": question, "session_id": "s" })).await.json();
    let id = answer["metadata"]["message_id"].as_str().expect("an id").to_owned();
    ask(&service, "/v1/chat/completions", json!({ "messages": [{ "role": "user", "content": question }] }))
        .await;
    for path in
        ["/rows/a", "/clients", "/clients/CL-1", "/chat/sessions/s/messages", &format!("/answers/{id}")]
    {
        assert_eq!(call(&service, get(path)).await.status, StatusCode::OK, "{path}");
    }
    let links = app.state().expect("kept").links().await.expect("the audit");
    let actions: Vec<&str> = links.iter().map(|sealed| sealed.link.action.as_str()).collect();
    assert_eq!(
        actions,
        ["chain_begun", "search", "ask", "ask", "row", "clients", "client", "conversation", "answer"]
    );
    let told: Vec<bool> = links.iter().map(|sealed| tells_of(&sealed.link, "CL-1")).collect();
    assert_eq!(told, [false, true, true, true, true, true, true, true, true]);
    // One that somebody has damaged is not passed over.
    let torn = |detail: &str| Link { detail: detail.into(), ..links[1].link.clone() };
    assert!(tells_of(&torn("{\"clients\":[\"CL-1\""), "CL-1") && !tells_of(&torn("{\"clients\":"), "CL-1"));
    let all = serde_json::to_string(&links).expect("JSON");
    assert!(!all.contains("カテーテル"), "the question is in the audit only at the level full: {all}");

    let mut request = get("/admin/audit?client_id=CL-1");
    request.headers_mut().insert("x-api-key", "an admin key of many characters".parse().expect("a header"));
    let looks = call(&service, request).await.json();
    let looks = looks["looks"].as_array().expect("looks");
    assert_eq!(
        (looks.len(), looks[8]["action"].as_str()),
        (9, Some("audit")),
        "that it was asked is there, too"
    );
}

#[tokio::test]
async fn each_level_keeps_what_it_says_and_no_more() {
    for (level, keys) in [
        ("minimal", &["clients"][..]),
        ("metadata", &["clients", "question_digest", "rows", "snapshot"]),
        ("full", &["clients", "question", "question_digest", "rows", "snapshot"]),
    ] {
        let app = app(&[("KARUTE_AUDIT", level)]);
        keep(&app).await;
        ask(&routes::app(app.clone()), "/search", json!({ "query": "カテーテル" })).await;
        let links = app.state().expect("kept").links().await.expect("the audit");
        let detail: Value = serde_json::from_str(&links[1].link.detail).expect("JSON");
        let found: BTreeSet<&str> =
            detail.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(found, keys.iter().copied().collect(), "{level}");
    }
}

#[tokio::test]
async fn what_cannot_be_audited_is_not_shown_where_sign_in_is_required() {
    // Without a state there is no audit.
    let signed_in = [("REQUIRE_AUTHENTICATION", "true")];
    let with_an_audit = app(&signed_in);
    keep(&with_an_audit).await;
    assert_eq!(call(&routes::app(with_an_audit), get("/health/ready")).await.status, StatusCode::OK);
    let app = app(&signed_in);
    let service = routes::app(app.clone());
    let with_key = |mut request: axum::http::Request<axum::body::Body>| {
        request
            .headers_mut()
            .insert("x-api-key", "an admin key of many characters".parse().expect("a header"));
        request
    };
    for request in [
        karute_tests::http::post("/search", json!({ "query": "カテーテル" }).to_string()),
        karute_tests::http::post(
            "/chat",
            json!({ "message": "久保田さんのカテーテルの次回交換はいつ" }).to_string(),
        ),
        get("/rows/a"),
        get("/clients"),
        get("/clients/CL-1"),
    ] {
        let path = request.uri().to_string();
        let answer = call(&service, with_key(request)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path} {}", answer.text);
        assert!(
            !answer.text.contains("久保田") && !answer.text.contains("10月20日"),
            "{path} {}",
            answer.text
        );
    }
    assert_eq!(call(&service, get("/health/ready")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    keep(&app).await;
    assert_eq!(call(&service, with_key(get("/rows/a"))).await.status, StatusCode::OK);
}

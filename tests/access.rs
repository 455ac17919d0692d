//! Fear: somebody comes in who may not, or sees a client who is none of theirs; a route is forgotten; a forged token is
//! taken for a true one.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use karute_engine::{Draft, Index, Provenance, Row};
use karute_server::access::Access;
use karute_server::access::role::{Permission, Role};
use karute_server::answer::Extractive;
use karute_server::app::{App, Serving};
use karute_server::routes::{self, Need};
use karute_server::state::Allowed;
use karute_sync::embed::Embedder;
use karute_sync::lexical::Lexical;
use karute_tests::http::{Answer, call, keep, settings};
use karute_tests::issuer::{Issuer, Pen};
use serde_json::{Value, json};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const ADMIN_KEY: &str = "an admin key of many characters";
const OLD_KEY: &str = "the admin key of last month....";
const NOW: OffsetDateTime = datetime!(2026-11-26 09:00 UTC);

/// Two clients, each with a word of his own.
fn index() -> Index {
    let lexical = Lexical::default();
    let mut draft = Draft::new(lexical.identity().clone());
    for (number, name) in [(1, "久保田"), (2, "柏木")] {
        for (kind, id) in [("client_info", "i"), ("care_record", "n")] {
            let content = format!("{name}さんのカテーテルの交換は10月2{number}日。canary{number}。");
            let vector = lexical.vector(&content).expect("words");
            let row = Row {
                id: format!("{id}{number}"),
                client_id: format!("CL-{number}"),
                title: format!("{name} 花 記録"),
                source_type: kind.into(),
                domain: "nursing".into(),
                date: "2026-10-05".into(),
                content,
                ..Row::default()
            };
            draft.push(&row, &[karute_engine::Passage::whole(&row, &vector)]).expect("a row");
        }
    }
    Index::from_slice(&draft.finish(Provenance::default()).expect("a draft").to_bytes()).expect("a snapshot")
}

async fn app(given: &[(&str, &str)]) -> App {
    let base = [
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("ADMIN_API_KEY_PREVIOUS", OLD_KEY),
        ("KARUTE_CHAT_HISTORY", "true"),
        ("REQUIRE_AUTHENTICATION", "true"),
    ];
    let settings = settings(&[given, &base].concat());
    let mut app = App::new(settings, Arc::new(Lexical::default()), Arc::new([Arc::new(Extractive)]));
    app.access = Arc::new(Access::new(&app.settings).expect("valid"));
    app.now = || NOW;
    app.serve(Serving::Ready { index: Arc::new(index()), problems: Arc::new([]) });
    keep(&app).await;
    app
}

/// A request for a route, with whatever its path and its body want.
fn request(method: &Method, path: &str, credential: Option<&str>) -> Request<Body> {
    let path = path
        .replace("{session_id}", "s")
        .replace("{message_id}", "m")
        .replace("{client_id}", "CL-1")
        .replace("{id}", "n1");
    let path = if path == "/admin/audit" { format!("{path}?client_id=CL-1") } else { path };
    let body = match path.as_str() {
        "/search" | "/terms/suggest" => json!({ "query": "カテーテルの交換" }),
        "/chat" | "/chat/stream" => json!({ "message": "久保田さんのカテーテルの交換はいつ" }),
        "/v1/chat/completions" => {
            json!({ "messages": [{ "role": "user", "content": "久保田さんのカテーテルの交換はいつ" }] })
        }
        "/v1/embeddings" => json!({ "input": "体温" }),
        "/search/vectors" => {
            json!({ "embedding": vec![1; Lexical::default().identity().dimensions as usize] })
        }
        "/feedback" => json!({ "message_id": "m", "rating": 3 }),
        "/terms/confirm" => json!({ "confirmations": [{ "original": "a", "canonical": "b" }] }),
        _ => json!({}),
    };
    let mut request = Request::builder().method(method.clone()).uri(path);
    if let Some(credential) = credential {
        request = request.header(header::AUTHORIZATION, format!("Bearer {credential}"));
    }
    request
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .expect("a request")
}

async fn token(app: &App, allowed: Allowed, ends: OffsetDateTime) -> String {
    app.state().expect("kept").create_token("a test", &allowed, NOW, ends).await.expect("a token")
}

fn as_role(role: Role, clients: Option<&[&str]>) -> Allowed {
    let clients = clients.map(|clients| clients.iter().map(|&client| client.to_owned()).collect());
    Allowed { role, scopes: None, clients, domains: None, unowned: false }
}

/// What a route may answer somebody who was let in.
fn let_in(answer: &Answer) -> bool {
    !matches!(
        answer.status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::SERVICE_UNAVAILABLE
    )
}

#[tokio::test]
async fn every_route_lets_in_whom_its_rule_names_and_nobody_else() {
    let app = app(&[("KARUTE_CHATS_PER_MINUTE", "0"), ("KARUTE_SEARCHES_PER_MINUTE", "0")]).await;
    let service = routes::app(app.clone());
    let later = NOW + Duration::days(1);
    let mut tried = 0;
    for route in routes::table() {
        let (method, path) = (&route.method, route.path);
        let mut try_with = async |credential: Option<&str>| {
            tried += 1;
            call(&service, request(method, path, credential)).await
        };
        let open = route.need == Need::Nothing;
        // Nobody, a wrong key, a token that is none, and ones that are none any more.
        let ended = token(&app, as_role(Role::Admin, None), NOW - Duration::seconds(1)).await;
        let revoked = token(&app, as_role(Role::Admin, None), later).await;
        let id = karute_server::access::tokens::id(&revoked).expect("an id").to_owned();
        assert!(app.state().expect("kept").revoke_token(&id, NOW).await.expect("revoked"));
        let altered = format!("{}x", token(&app, as_role(Role::Admin, None), later).await);
        let wrong = [
            None,
            Some("wrong"),
            Some("kt_x_y"),
            Some("a.b.c"),
            Some(&ended),
            Some(&revoked),
            Some(&altered),
        ];
        for credential in wrong {
            let answer = try_with(credential).await;
            match open {
                true => assert!(let_in(&answer), "{method} {path} {credential:?}"),
                false => {
                    assert_eq!(
                        answer.status,
                        StatusCode::UNAUTHORIZED,
                        "{method} {path} {credential:?}: {answer:?}"
                    );
                    assert_eq!(answer.headers["www-authenticate"], "Bearer");
                    assert!(
                        !answer.text.contains("canary") && !answer.text.contains("CL-"),
                        "{}",
                        answer.text
                    );
                }
            }
        }
        for key in [ADMIN_KEY, OLD_KEY] {
            assert!(let_in(&try_with(Some(key)).await), "{method} {path} with the admin key");
        }
        for role in Role::ALL {
            for clients in [None, Some(&["CL-1"][..]), Some(&["CL-2"][..]), Some(&[][..])] {
                let token = token(&app, as_role(role, clients), later).await;
                let answer = try_with(Some(&token)).await;
                let may = match route.need {
                    Need::Nothing => true,
                    Need::May(permission) => role.permissions().contains(&permission),
                    Need::Admin => role == Role::Admin,
                };
                assert_eq!(let_in(&answer), may, "{method} {path} {role} {clients:?}: {answer:?}");
                // What is shown is of the clients that one may see, and of no others.
                let seen: BTreeSet<i32> = [1, 2]
                    .into_iter()
                    .filter(|number| answer.text.contains(&format!("canary{number}")))
                    .collect();
                let visible: BTreeSet<i32> = match clients {
                    None if role.sees_everybody() => BTreeSet::from([1, 2]),
                    None | Some([]) => BTreeSet::new(),
                    Some(&["CL-1"]) => BTreeSet::from([1]),
                    Some(_) => BTreeSet::from([2]),
                };
                assert!(seen.is_subset(&visible), "{method} {path} {role} {clients:?}: {}", answer.text);
            }
        }
        // A scope narrows what a role may do.
        for scope in Permission::ALL {
            let allowed = Allowed { scopes: Some(BTreeSet::from([scope])), ..as_role(Role::Admin, None) };
            let answer = try_with(Some(&token(&app, allowed, later).await)).await;
            let may = match route.need {
                Need::Nothing => true,
                Need::May(permission) => permission == scope,
                Need::Admin => scope == Permission::Admin,
            };
            assert_eq!(let_in(&answer), may, "{method} {path} with the scope {}", scope.name());
        }
    }
    assert!(tried > 25 * 25, "{tried}");
}

#[tokio::test]
async fn where_no_sign_in_is_required_only_admins_need_a_key() {
    let settings = settings(&[("KARUTE_CHAT_HISTORY", "true")]);
    let app = App::new(settings, Arc::new(Lexical::default()), Arc::new([Arc::new(Extractive)]));
    app.serve(Serving::Ready { index: Arc::new(index()), problems: Arc::new([]) });
    keep(&app).await;
    let service = routes::app(app);
    for route in routes::table() {
        let answer = call(&service, request(&route.method, route.path, None)).await;
        match route.need {
            Need::Admin => {
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", route.path);
                assert_eq!(answer.json(), json!({ "detail": "ADMIN_API_KEY not configured" }));
            }
            _ => assert!(let_in(&answer), "{} {}", route.path, answer.text),
        }
        // The key that programs send whatever happens opens nothing and closes nothing.
        let with_some_key = call(&service, request(&route.method, route.path, Some("sk-unused"))).await;
        assert_eq!(with_some_key.status, answer.status, "{}", route.path);
    }
}

#[tokio::test]
async fn admin_endpoints_can_be_switched_off_and_the_key_may_come_in_either_header() {
    let service = routes::app(app(&[]).await);
    for (name, value) in
        [("x-api-key", ADMIN_KEY.to_owned()), ("authorization", format!("bearer {ADMIN_KEY}"))]
    {
        let mut asked = request(&Method::GET, "/admin/costs", None);
        let name = HeaderName::from_static(name);
        asked.headers_mut().insert(name, HeaderValue::from_str(&value).expect("a header"));
        assert_eq!(call(&service, asked).await.status, StatusCode::OK, "{value}");
    }
    for (value, detail) in [
        ("Basic eDp5", "Invalid authorization header format"),
        ("Bearer", "Invalid authorization header format"),
        ("Bearer  ", "Invalid authorization header format"),
        ("Bearer nothing", "Invalid API key"),
    ] {
        let mut asked = request(&Method::GET, "/clients", None);
        asked.headers_mut().insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        let answer = call(&service, asked).await;
        assert_eq!(
            (answer.status, answer.json()),
            (StatusCode::UNAUTHORIZED, json!({ "detail": detail })),
            "{value}"
        );
    }
    let off = routes::app(app(&[("ENABLE_ADMIN_ENDPOINTS", "false")]).await);
    for route in routes::table().iter().filter(|route| route.need == Need::Admin) {
        for method in [&route.method, &Method::PUT] {
            let answer = call(&off, request(method, route.path, Some(ADMIN_KEY))).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {}", route.path);
        }
    }
}

#[tokio::test]
async fn an_admin_of_some_clients_reads_of_the_audit_what_is_theirs() {
    let app = app(&[]).await;
    let service = routes::app(app.clone());
    let ends = NOW + time::Duration::days(1);
    let all = token(&app, as_role(Role::Admin, None), ends).await;
    let one = token(&app, as_role(Role::Admin, Some(&["CL-1"])), ends).await;
    // A search that shows rows of both clients, and one row.
    call(&service, request(&Method::GET, "/clients", Some(&all))).await;
    call(&service, request(&Method::GET, "/rows/{id}", Some(&all))).await;
    let look = async |credential: &str, client: &str| {
        let path = format!("/admin/audit?client_id={client}");
        call(&service, request(&Method::GET, &path, Some(credential))).await
    };
    assert_eq!(look(&one, "CL-2").await.status, StatusCode::NOT_FOUND);
    assert_eq!(look(&one, "CL%2D2").await.status, StatusCode::NOT_FOUND);
    let whole = look(&all, "CL-1").await;
    let narrowed = look(&one, "CL-1").await;
    assert!(whole.text.contains("CL-2"), "{}", whole.text);
    assert!(!narrowed.text.contains("CL-2"), "{}", narrowed.text);
    let looks = |answer: &Answer| answer.json()["looks"].as_array().expect("looks").len();
    assert_eq!(looks(&narrowed), looks(&whole) + 1, "nothing is left out, and the look before is there");
    // A joker of the database's is a letter like any other.
    for client in ["CL_1", "CL%251", "%25"] {
        assert_eq!(looks(&look(&all, client).await), 1, "only that it was asked: {client}");
    }
}

fn claims(changed: &[(&str, Value)]) -> Value {
    let mut claims = json!({
        "iss": "https://securetoken.google.com/house",
        "aud": "house",
        "sub": "uid-1",
        "iat": NOW.unix_timestamp() - 60,
        "exp": NOW.unix_timestamp() + 3000,
        "email": "Hanako@Example.jp",
        "email_verified": true,
    });
    for (name, value) in changed {
        claims[*name] = value.clone();
    }
    claims
}

async fn status(service: &Router, token: &str) -> (StatusCode, String) {
    let answer = call(service, request(&Method::GET, "/clients", Some(token))).await;
    (answer.status, answer.json()["detail"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_id_token_must_hold_in_every_respect() {
    let (one, two) = (Pen::one(), Pen::two());
    let issuer = Issuer::start(&[&one]).await;
    let home = tempfile::tempdir().expect("a directory");
    let people = home.path().join("people.toml");
    std::fs::write(
        &people,
        "[[people]]\nemail = \"hanako@example.jp\"\nrole = \"nurse\"\nclients = [\"CL-1\"]\n",
    )
    .expect("written");
    let given = [
        ("FIREBASE_PROJECT_ID", "house"),
        ("KARUTE_GOOGLE_CLIENT_IDS", "client-1, client-2"),
        ("KARUTE_ALLOWED_DOMAINS", "example.jp"),
        ("KARUTE_GOOGLE_ENDPOINT", &issuer.url),
        ("KARUTE_PEOPLE", people.to_str().expect("a path")),
    ];
    let service = routes::app(app(&given).await);
    let good = call(&service, request(&Method::GET, "/clients", Some(&one.token(&claims(&[]))))).await;
    assert_eq!(good.status, StatusCode::OK, "{}", good.text);
    assert_eq!(good.json()["total"], 1);
    let google = claims(&[("iss", json!("accounts.google.com")), ("aud", json!("client-2"))]);
    assert_eq!(status(&service, &one.token(&google)).await.0, StatusCode::OK);

    let (now, invalid) = (NOW.unix_timestamp(), "Invalid ID token");
    for (changed, detail) in [
        (("exp", json!(now - 61)), "Token expired"),
        (("exp", json!("soon")), invalid),
        (("exp", Value::Null), invalid),
        (("iat", json!(now + 61)), invalid),
        (("nbf", json!(now + 61)), invalid),
        (("aud", json!("another-house")), invalid),
        (("aud", json!("client-1")), invalid),
        (("aud", Value::Null), invalid),
        (("iss", json!("https://securetoken.google.com/another-house")), invalid),
        (("iss", json!("accounts.google.com")), invalid),
        (("iss", Value::Null), invalid),
        (("sub", json!("")), invalid),
        (("sub", Value::Null), invalid),
    ] {
        let found = status(&service, &one.token(&claims(std::slice::from_ref(&changed)))).await;
        assert_eq!(found, (StatusCode::UNAUTHORIZED, detail.to_owned()), "{changed:?}");
    }
    // Within the difference that clocks may have.
    for changed in [("exp", json!(now - 59)), ("iat", json!(now + 59)), ("nbf", json!(now + 59))] {
        assert_eq!(status(&service, &one.token(&claims(&[changed]))).await.0, StatusCode::OK);
    }
    // Who has no verified address, or one of elsewhere, or no role, is known but has no place here.
    for changed in [
        ("email_verified", json!(false)),
        ("email", json!("")),
        ("email", json!("mallory@elsewhere.example")),
        ("email", json!("taro@example.jp")),
        ("email", json!("taro@notexample.jp")),
        ("email", json!("hanako@example.jp@evil.example")),
    ] {
        let found = status(&service, &one.token(&claims(std::slice::from_ref(&changed)))).await.0;
        assert_eq!(found, StatusCode::FORBIDDEN, "{changed:?}");
    }
    let with_an_unknown_role = claims(&[("email", json!("taro@example.jp")), ("role", json!("chief"))]);
    assert_eq!(status(&service, &one.token(&with_an_unknown_role)).await.0, StatusCode::FORBIDDEN);
    let with_a_role = claims(&[("email", json!("taro@example.jp")), ("role", json!("care_manager"))]);
    assert_eq!(status(&service, &one.token(&with_a_role)).await.0, StatusCode::OK);

    let sound = one.token(&claims(&[]));
    let (message, signature) = sound.rsplit_once('.').expect("three parts");
    let (head, body) = message.split_once('.').expect("two parts");
    let forged = two.sign(&json!({ "alg": "RS256", "kid": "one" }), &claims(&[]));
    let (_, others_signature) = forged.rsplit_once('.').expect("three parts");
    for token in [
        one.sign(&json!({ "alg": "none", "kid": "one" }), &claims(&[])),
        format!("{}..", one.sign(&json!({ "alg": "none" }), &claims(&[])).split('.').next().expect("a head")),
        one.sign(&json!({ "alg": "RS512", "kid": "one" }), &claims(&[])),
        one.sign(&json!({ "alg": "RS256", "kid": "one", "crit": ["b64"], "b64": false }), &claims(&[])),
        one.sign(&json!({ "alg": "RS256" }), &claims(&[])),
        one.sign(&json!({ "alg": "RS256", "kid": "three" }), &claims(&[])),
        one.hs256(&claims(&[])),
        forged.clone(),
        format!("{message}."),
        format!("{message}.{others_signature}"),
        format!(
            "{head}.{}.{signature}",
            two.token(&claims(&[("email", json!("x@y.z"))])).split('.').nth(1).expect("a body")
        ),
        format!("{head}.{body}x.{signature}"),
        "..".to_owned(),
        "日.本.語".to_owned(),
    ] {
        let answer = call(&service, request(&Method::GET, "/clients", Some(&token))).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{token}");
    }
    for at in 0..sound.len() {
        let mut touched = sound.clone().into_bytes();
        touched[at] = if touched[at] == b'A' { b'B' } else { b'A' };
        let touched = String::from_utf8(touched).expect("letters");
        assert_eq!(status(&service, &touched).await.0, StatusCode::UNAUTHORIZED, "letter {at} is another");
    }
    assert!(issuer.asked() <= 4, "a flood of tokens with invented keys costs few calls: {}", issuer.asked());
}

/// A server that lets in everybody of one domain by tokens of `issuer`.
async fn of_the_house(issuer: &Issuer) -> Router {
    let given = [
        ("FIREBASE_PROJECT_ID", "house"),
        ("KARUTE_ALLOWED_DOMAINS", "example.jp"),
        ("KARUTE_DEFAULT_ROLE", "care_manager"),
        ("KARUTE_GOOGLE_ENDPOINT", &issuer.url),
    ];
    routes::app(app(&given).await)
}

#[tokio::test]
async fn who_goes_away_while_keys_are_looked_for_does_not_keep_the_others_out() {
    let (one, unknown) = (Pen::one(), Pen::two());
    let issuer = Issuer::start(&[&one]).await;
    let service = of_the_house(&issuer).await;
    let forged = unknown.token(&claims(&[]));
    let mut asking = Box::pin(status(&service, &forged));
    for _ in 0..20 {
        if futures_util::poll!(&mut asking).is_ready() || issuer.asked() > 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    drop(asking);
    // Nor does whoever comes while somebody looks: he waits for what is found.
    assert_eq!(status(&service, &one.token(&claims(&[]))).await.0, StatusCode::OK);
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_roll_over_and_an_outage_of_theirs_is_survived_for_a_day() {
    // The clock is paused, and a wait for a socket must not make it jump to the end of a timeout.
    let advance = async |seconds: u64| tokio::time::advance(std::time::Duration::from_secs(seconds)).await;
    let (one, two) = (Pen::one(), Pen::two());
    tokio::time::resume();
    let issuer = Issuer::start(&[&one]).await;
    let service = of_the_house(&issuer).await;
    let ask = async |pen: &Pen| status(&service, &pen.token(&claims(&[]))).await.0;
    assert_eq!(ask(&one).await, StatusCode::OK);
    assert_eq!(issuer.asked(), 1);
    issuer.publish(&[&two]);
    assert_eq!(ask(&two).await, StatusCode::UNAUTHORIZED, "not looked for again at once");
    tokio::time::pause();
    advance(11).await;
    tokio::time::resume();
    assert_eq!(ask(&two).await, StatusCode::OK, "a new key is known within ten seconds");
    assert_eq!(ask(&one).await, StatusCode::UNAUTHORIZED, "a key that was taken back is good no more");
    issuer.is_down(true);
    tokio::time::pause();
    advance(3 * 3600).await;
    tokio::time::resume();
    assert_eq!(ask(&two).await, StatusCode::OK, "an outage is survived");
    tokio::time::pause();
    advance(24 * 3600).await;
    tokio::time::resume();
    assert_eq!(ask(&two).await, StatusCode::SERVICE_UNAVAILABLE, "but not for ever");
    issuer.is_down(false);
    tokio::time::pause();
    advance(11).await;
    tokio::time::resume();
    assert_eq!(ask(&two).await, StatusCode::OK);
}

#[tokio::test]
async fn a_caller_who_asks_too_much_is_told_when_to_come_back_and_others_are_not_kept_waiting() {
    let app = app(&[
        ("KARUTE_CHATS_PER_MINUTE", "3"),
        ("KARUTE_SEARCHES_PER_MINUTE", "5"),
        ("KARUTE_CALLER_CONCURRENCY", "2"),
    ])
    .await;
    let service = routes::app(app.clone());
    let later = NOW + Duration::days(1);
    let (mine, other) = (
        token(&app, as_role(Role::Nurse, Some(&["CL-1"])), later).await,
        token(&app, as_role(Role::Nurse, Some(&["CL-2"])), later).await,
    );
    for (path, most) in [("/chat", 3), ("/search", 5)] {
        for _ in 0..most {
            assert_eq!(
                call(&service, request(&Method::POST, path, Some(&mine))).await.status,
                StatusCode::OK,
                "{path}"
            );
        }
        let refused = call(&service, request(&Method::POST, path, Some(&mine))).await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
        let after: u64 = refused.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
        assert!((1..=60).contains(&after), "{after}");
        assert_eq!(
            call(&service, request(&Method::POST, path, Some(&other))).await.status,
            StatusCode::OK,
            "{path}"
        );
    }
    // A place is held until the last byte: two streams that nobody reads keep a third away.
    use tower::ServiceExt;
    let third = token(&app, as_role(Role::Nurse, Some(&["CL-1"])), later).await;
    let open = async || {
        service
            .clone()
            .oneshot(request(&Method::POST, "/chat/stream", Some(&third)))
            .await
            .expect("an answer")
    };
    let (first, second) = (open().await, open().await);
    assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
    assert_eq!(open().await.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(first);
    let again = call(&service, request(&Method::GET, "/rows/n1", Some(&third))).await;
    assert_eq!(again.status, StatusCode::OK);
    drop(second);
}

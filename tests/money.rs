//! Fear: more is spent than was allowed; a call is billed twice or not at all; a crash, or a second instance, parts the
//! ledger from the limits.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::StreamExt;
use karute_engine::{Draft, Index, Provenance, Row};
use karute_server::answer::{Step, Summary, run};
use karute_server::app::{App, Serving};
use karute_server::error::Failure;
use karute_server::money::{Money, Payer, SYNC, Till};
use karute_server::retrieve::Question;
use karute_server::retrieve::caller::Caller;
use karute_server::state::{By, Database, Limit, Outcome, Reservation, Spent};
use karute_server::upstream::Upstream;
use karute_server::{routes, setup};
use karute_sync::embed::{EmbedError, Embedder};
use karute_sync::generate::{Cost, Usage};
use karute_sync::lexical::Lexical;
use karute_tests::google::workbook::Workbook;
use karute_tests::google::{Effect, Emulator};
use karute_tests::homes::homes;
use karute_tests::http::{call, get, keep, settings};
use proptest::prelude::*;
use serde_json::json;
use time::OffsetDateTime;

const NOON: OffsetDateTime = time::macros::datetime!(2026-11-26 03:00 UTC);

fn reservation(id: usize, owner: &str, most: i64) -> Reservation {
    Reservation {
        id: format!("call-{id}"),
        instance: "a".into(),
        owner: owner.into(),
        answer_id: String::new(),
        kind: "answer",
        model: "model".into(),
        most,
        day: "2026-11-26".into(),
        at: NOON + time::Duration::seconds(id as i64),
    }
}

fn limits(owner: &str, caller: i64, day: i64, calls: i64) -> Vec<Limit> {
    vec![
        Limit { name: "day 2026-11-26".into(), most: day, calls },
        Limit { name: "month 2026-11".into(), most: day * 2, calls: i64::MAX },
        Limit { name: format!("caller 2026-11-26 {owner}"), most: caller, calls: i64::MAX },
    ]
}

fn cost(total: i64) -> Spent {
    Spent { known: true, input_cost: total / 3, output_cost: total - total / 3, ..Spent::default() }
}

/// What the ledger says was spent: reserved calls at the most they can cost, all others at what they did.
async fn ledger(state: &Database, owner: Option<&str>) -> i64 {
    let lines = state.lines().await.expect("the ledger");
    let own = lines.iter().filter(|line| owner.is_none_or(|owner| line.owner == owner));
    own.map(|line| if line.state == "reserved" { line.reserved } else { line.total_cost }).sum()
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    /// Somebody wants to make a call that costs so much at most.
    Reserve {
        owner: usize,
        most: i64,
    },
    /// A call under way, if there is one, ends: at this share of the most it could cost, in percent; unknown; settled twice.
    Settle {
        which: usize,
        percent: i64,
    },
    Lose {
        which: usize,
    },
    Twice {
        which: usize,
    },
    /// Everything under way is forgotten, and what was reserved is presumed.
    Crash,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..3usize, 1..400i64).prop_map(|(owner, most)| Event::Reserve { owner, most }),
        3 => (0..8usize, 0..=100i64).prop_map(|(which, percent)| Event::Settle { which, percent }),
        1 => (0..8usize).prop_map(|which| Event::Lose { which }),
        1 => (0..8usize).prop_map(|which| Event::Twice { which }),
        1 => Just(Event::Crash),
    ];
    prop::collection::vec(event, 1..40)
}

const OWNERS: [&str; 3] = ["yamada", "佐藤", "token:x"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order, no limit is passed, and the limits say what the ledger says.
    #[test]
    fn no_order_of_events_passes_a_limit_or_parts_the_ledger_from_it(
        events in events(), caller in 300..900i64, day in 500..1500i64, calls in 5..30i64,
    ) {
        karute_tests::small::block_on(async {
            for home in homes().await {
                let state = &home.state;
                let mut open: Vec<(Reservation, Vec<Limit>)> = Vec::new();
                let mut settled: Vec<(Reservation, Vec<Limit>)> = Vec::new();
                for (at, event) in events.iter().enumerate() {
                    match event {
                        Event::Reserve { owner, most } => {
                            let owner = OWNERS[*owner];
                            let (wanted, limits) = (reservation(at, owner, *most), limits(owner, caller, day, calls));
                            let before = ledger(state, None).await;
                            match state.reserve(&wanted, &limits).await.expect("an outcome") {
                                Outcome::Reserved => open.push((wanted, limits)),
                                Outcome::Refused(limit, _) => {
                                    prop_assert_eq!(ledger(state, None).await, before);
                                    let (spent, made) = state.spent(&limit.name).await.expect("spent");
                                    prop_assert!(spent + most > limit.most || made >= limit.calls, "refused for nothing");
                                }
                            }
                        }
                        Event::Settle { which, percent } => {
                            if open.is_empty() { continue; }
                            let (call, limits) = open.remove(which % open.len());
                            let spent = cost(call.most * percent / 100);
                            prop_assert!(state.settle(&call, &limits, &spent, NOON).await.expect("settled").is_some());
                            settled.push((call, limits));
                        }
                        Event::Lose { which } => {
                            if open.is_empty() { continue; }
                            let (call, limits) = open.remove(which % open.len());
                            prop_assert!(state.settle(&call, &limits, &Spent::default(), NOON).await.expect("settled").is_some());
                        }
                        Event::Twice { which } => {
                            if settled.is_empty() { continue; }
                            let (call, limits) = &settled[which % settled.len()];
                            prop_assert!(state.settle(call, limits, &cost(1), NOON).await.expect("an outcome").is_none());
                        }
                        Event::Crash => {
                            let later = NOON + time::Duration::days(1);
                            let presumed = state.presume(later, later, |_, owner| limits(owner, caller, day, calls)).await.expect("presumed");
                            prop_assert_eq!(presumed.calls.len(), open.len());
                            // Whoever made a call may still be alive, and settle it after all.
                            for (call, limits) in open.drain(..).step_by(2) {
                                prop_assert!(state.settle(&call, &limits, &cost(1), NOON).await.expect("settled").is_some());
                            }
                        }
                    }
                    let (spent, made) = state.spent("day 2026-11-26").await.expect("spent");
                    prop_assert!(spent <= day && made <= calls, "{} of {}, {} of {}", spent, day, made, calls);
                    prop_assert_eq!(spent, ledger(state, None).await);
                    prop_assert_eq!(state.spent("month 2026-11").await.expect("spent").0, spent);
                    for owner in OWNERS {
                        let own = state.spent(&format!("caller 2026-11-26 {owner}")).await.expect("spent").0;
                        prop_assert!(own <= caller);
                        prop_assert_eq!(own, ledger(state, Some(owner)).await);
                    }
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_instances_share_one_budget() {
    for home in homes().await {
        let mut instances = Vec::new();
        for _ in 0..3 {
            instances.push(home.again().await.expect("the same home"));
        }
        let tries = (0..120).map(|number| {
            let state = instances[number % 3].clone();
            tokio::spawn(async move {
                let (call, limits) = (
                    reservation(number, OWNERS[number % 3], 100),
                    limits(OWNERS[number % 3], 100_000, 2_050, 1_000),
                );
                match state.reserve(&call, &limits).await.expect("an outcome") {
                    Outcome::Refused(..) => 0,
                    Outcome::Reserved => {
                        tokio::time::sleep(Duration::from_millis(number as u64 % 7)).await;
                        assert!(
                            state.settle(&call, &limits, &cost(60), NOON).await.expect("settled").is_some()
                        );
                        1
                    }
                }
            })
        });
        let made: i64 = futures_util::future::join_all(tries.collect::<Vec<_>>())
            .await
            .into_iter()
            .map(|made| made.expect("made"))
            .sum();
        assert!((20..=34).contains(&made), "{made}");
        assert_eq!(home.state.spent("day 2026-11-26").await.expect("spent"), (made * 60, made));
        assert_eq!(ledger(&home.state, None).await, made * 60);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_row_of_the_log_spreadsheet_is_claimed_by_one_instance() {
    for home in homes().await {
        let limits = limits("yamada", 1_000_000, 1_000_000, 1_000);
        for number in 0..60 {
            let call = reservation(number, "yamada", 100);
            home.state.reserve(&call, &limits).await.expect("reserved");
            assert!(home.state.settle(&call, &limits, &cost(60), NOON).await.expect("settled").is_some());
        }
        let mut claims = Vec::new();
        for number in 0..6 {
            let state = home.again().await.expect("the same home");
            // Of the same moment, too.
            let now = NOON + time::Duration::hours(1) + time::Duration::milliseconds(number / 3);
            claims.push(tokio::spawn(async move { state.claim(now).await.expect("claimed") }));
        }
        let mut claimed = Vec::new();
        for claim in claims {
            claimed.extend(claim.await.expect("done").into_iter().map(|line| line.id));
        }
        let count = claimed.len();
        claimed.sort();
        claimed.dedup();
        assert_eq!((count, claimed.len()), (60, 60), "each row once");
    }
}

#[tokio::test]
async fn what_was_presumed_is_corrected_in_the_log_spreadsheet_once_it_is_known() {
    for home in homes().await {
        let state = &home.state;
        let limits = limits("yamada", 1_000_000, 1_000_000, 1_000);
        let calls: Vec<_> = (0..2).map(|number| reservation(number, "yamada", 100)).collect();
        for call in &calls {
            state.reserve(call, &limits).await.expect("reserved");
            let _ = state.settle(call, &limits, &Spent::default(), NOON).await.expect("presumed");
        }
        let hour = |hours: i64| NOON + time::Duration::hours(hours);
        let first = state.claim(hour(1)).await.expect("claimed");
        assert!(first.iter().all(|line| line.state == "presumed" && !line.corrects));
        // One is settled while its row is on the way, the other when it stands there.
        state
            .settle(&calls[0], &limits, &cost(60), hour(1))
            .await
            .expect("settled")
            .expect("for the first time");
        state.exported(&first, Some(hour(1))).await.expect("noted");
        state
            .settle(&calls[1], &limits, &cost(60), hour(1))
            .await
            .expect("settled")
            .expect("for the first time");
        let second = state.claim(hour(2)).await.expect("claimed");
        // An append that fails changes nothing of that.
        state.exported(&second, None).await.expect("noted");
        let second = state.claim(hour(3)).await.expect("claimed");
        assert_eq!(second.len(), 2);
        assert!(second.iter().all(|line| line.state == "settled" && line.corrects && line.total_cost == 60));
        state.exported(&second, Some(hour(3))).await.expect("noted");
        assert!(state.claim(hour(4)).await.expect("claimed").is_empty());
    }
}

#[tokio::test]
async fn a_model_that_will_not_answer_one_question_is_asked_the_next_and_costs_what_it_said() {
    let emulator = emulator();
    let app = app(&emulator, &[]).await;
    for _ in 0..8 {
        emulator.write(vec![json!({
            "candidates": [{"finishReason": "SAFETY"}],
            "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 0},
        })]);
        let summary = ask(&app).await.expect("the rows");
        assert_eq!((summary.mode, summary.reason), ("search_only", Some("model_declined")));
    }
    let summary = ask(&app).await.expect("an answer");
    assert_eq!(summary.mode, "generated", "nobody switches the model off for all");
    let lines = app.state().expect("kept").lines().await.expect("the ledger");
    assert!(
        lines
            .iter()
            .take(8)
            .all(|line| line.state == "settled" && line.input_tokens == 10 && line.total_cost < 1_000)
    );
}

#[tokio::test]
async fn every_try_of_a_model_that_is_busy_counts_among_the_calls_of_the_day() {
    let emulator = emulator();
    let app = app(&emulator, &[("KARUTE_CALLS_PER_DAY", "4")]).await;
    emulator.fault("POST", "streamGenerateContent", 100, Effect::Status(503));
    for _ in 0..5 {
        let _ = ask(&app).await;
    }
    let asked =
        emulator.answered().iter().filter(|answered| answered.path.contains("streamGenerate")).count();
    assert_eq!(asked, 4);
    let state = app.state().expect("kept");
    assert_eq!(state.lines().await.expect("the ledger").len(), 4);
    // A sync embeds by thousands, and leaves the questions their calls.
    let of_sync = app.money.limits_of("2026-11-26", SYNC);
    assert!(!of_sync.is_empty() && of_sync.iter().all(|limit| limit.calls == i64::MAX), "{of_sync:?}");
    let of_caller = app.money.limits_of("2026-11-26", "yamada");
    let calls: Vec<i64> = of_caller.iter().map(|limit| limit.calls).filter(|most| *most < i64::MAX).collect();
    assert_eq!(calls, [4, 1_000]);
    let shared = |limit: &&Limit| of_caller.contains(limit);
    assert_eq!(of_sync.iter().filter(shared).count(), 2, "yen are counted together");
}

#[tokio::test]
async fn what_is_free_is_not_among_the_paid_calls_of_a_caller() {
    let emulator = emulator();
    let app = app(&emulator, &[("KARUTE_CALLS_PER_CALLER", "2")]).await;
    let state = app.state().expect("kept");
    let payer = Payer { caller: "yamada".into(), answer_id: String::new() };
    let reserve = async |usd: f64| app.money.reserve(state, &payer, "answer", "m", usd, NOON).await;
    for _ in 0..5 {
        reserve(0.0).await.expect("it costs nothing").free().await;
    }
    for _ in 0..2 {
        reserve(1e-6).await.expect("within the limit").free().await;
    }
    assert!(matches!(reserve(1e-6).await, Err(Failure::Budget(limit)) if !limit.contains("yamada")));
    reserve(0.0).await.expect("it costs nothing").free().await;
}

#[tokio::test]
async fn somebody_is_told_once_when_half_nine_tenths_and_all_of_a_limit_are_spent() {
    for home in homes().await {
        let limits = limits("yamada", 1_000_000, 1_000, 1_000);
        let mut told = Vec::new();
        let mut refused = Vec::new();
        for number in 0..12 {
            let call = reservation(number, "yamada", 100);
            match home.state.reserve(&call, &limits).await.expect("an outcome") {
                Outcome::Reserved => {
                    let reached = home.state.settle(&call, &limits, &cost(95), NOON).await.expect("settled");
                    let reached = reached
                        .expect("once")
                        .reached
                        .into_iter()
                        .filter(|(name, _)| name.starts_with("day"));
                    told.extend(reached.map(|(_, percent)| (number, percent)));
                }
                Outcome::Refused(limit, first) => {
                    assert_eq!(limit.name, "day 2026-11-26");
                    refused.push(first);
                }
            }
        }
        // What is only reserved is not spent: the sixth call spends half, the tenth nine tenths.
        assert_eq!((told, refused), (vec![(5, 50), (9, 90)], vec![true, false]));
    }
}

fn index() -> Index {
    let mut draft = Draft::new(Lexical::default().identity().clone());
    let row = Row {
        id: "a".into(),
        title: "久保田 実 記録".into(),
        content: "久保田さんの膀胱留置カテーテルの次回交換は10月20日14時。".into(),
        ..Row::default()
    };
    draft.push(&row, &[]).expect("a row");
    Index::from_slice(&draft.finish(Provenance::default()).expect("a draft").to_bytes()).expect("a snapshot")
}

async fn app(emulator: &Emulator, given: &[(&str, &str)]) -> App {
    let url = emulator.url();
    let base = [
        ("KARUTE_ANSWERERS", "vertex"),
        ("GCP_PROJECT_ID", "p"),
        ("KARUTE_GOOGLE_ENDPOINT", &url),
        ("KARUTE_GOOGLE_ANONYMOUS", "true"),
        ("ADMIN_API_KEY", "an admin key of many characters"),
    ];
    let settings = settings(&[given, &base].concat());
    let answerers = setup::answerers(&settings).expect("valid");
    let app = App::new(settings, Arc::new(Lexical::default()), answerers);
    app.serve(Serving::Ready { index: Arc::new(index()), problems: Arc::new([]) });
    keep(&app).await;
    app
}

fn question() -> Question {
    Question::new(
        "久保田さんのカテーテルの次回交換はいつ",
        Caller { name: "yamada".into(), ..Caller::everything() },
    )
}

async fn ask(app: &App) -> Result<Summary, Failure> {
    let mut steps = std::pin::pin!(run(app.clone(), question(), Vec::new()));
    while let Some(step) = steps.next().await {
        if let Step::Done(summary) = step? {
            return Ok(*summary);
        }
    }
    panic!("a stream without an end");
}

fn emulator() -> Emulator {
    Emulator::start(([127, 0, 0, 1], 0).into(), Workbook::default()).expect("a port")
}

#[tokio::test]
async fn an_answer_stands_in_the_ledger_at_what_it_cost_and_the_cap_is_a_hard_stop() {
    let emulator = emulator();
    // Room for two calls at the most that they can cost, and what is left of two that cost less.
    let app =
        app(&emulator, &[("KARUTE_YEN_PER_CALLER", "2.0"), ("VERTEX_AI_MAX_OUTPUT_TOKENS", "2048")]).await;
    let state = app.state().expect("kept").clone();
    let (mut answered, mut yen) = (0, 0.0);
    let last = loop {
        let summary = ask(&app).await.expect("an answer");
        match summary.total_cost_jpy {
            Some(own) => yen += own,
            None => break summary,
        }
        answered += 1;
        assert!(answered < 100, "the cap never stopped anything");
    };
    assert!(answered >= 2, "{answered}");
    assert_eq!((last.mode, last.reason), ("search_only", Some("budget_used_up")));
    assert!(last.degraded.expect("told").contains("上限"));
    assert_eq!(emulator.prompts().len(), answered, "no call is made that is not paid for");
    let lines = state.lines().await.expect("the ledger");
    assert_eq!(lines.len(), answered);
    assert!(
        lines.iter().all(|line| line.state == "settled" && line.owner == "yamada" && line.input_tokens > 0)
    );
    let total: i64 = lines.iter().map(|line| line.total_cost).sum();
    assert!((total as f64 / 1e6 - yen).abs() < 1e-4 && total <= 2_000_000, "{total} {yen}");
    let sums = state.sums(By::Caller, "2000-01-01").await.expect("sums");
    assert_eq!((sums.len(), sums[0].name.as_str(), sums[0].calls), (1, "yamada", answered as i64));

    let mut request = get("/admin/costs?by=model");
    request.headers_mut().insert("x-api-key", "an admin key of many characters".parse().expect("a header"));
    let costs = call(&routes::app(app), request).await;
    assert_eq!(costs.status, StatusCode::OK, "{}", costs.text);
    let row = &costs.json()["rows"][0];
    assert_eq!(row["name"], "gemini-3.5-flash-lite");
    assert!((row["totalCostJPY"].as_f64().expect("yen") - yen).abs() < 1e-3);
}

#[tokio::test]
async fn a_call_that_was_refused_costs_nothing_and_one_that_broke_off_is_presumed_to_have_cost_the_most() {
    let state_of = async |effect: Option<Effect>, given_up: bool| {
        let emulator = emulator();
        let app = app(&emulator, &[("REQUEST_TIMEOUT", "8"), ("STREAM_TIMEOUT", "9")]).await;
        if let Some(effect) = effect {
            emulator.fault("POST", "streamGenerateContent", 100, effect);
        }
        if given_up {
            // Whoever asked goes away in the middle of the answer.
            let mut steps = Box::pin(run(app.clone(), question(), Vec::new()));
            while let Some(step) = steps.next().await {
                if matches!(step, Ok(Step::Text(_))) {
                    break;
                }
            }
            drop(steps);
        } else {
            let _ = ask(&app).await;
        }
        let state = app.state().expect("kept").clone();
        // What is settled because somebody went away is settled beside him.
        for _ in 0..100 {
            if state.lines().await.expect("the ledger").iter().all(|line| line.state != "reserved") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let lines = state.lines().await.expect("the ledger");
        // Whatever a line says was spent, an operator sees in the metrics.
        let billed: i64 = lines.iter().map(|line| line.total_cost).sum();
        let metrics = call(&routes::app(app), get("/metrics")).await.text;
        let counted = metrics.lines().find(|line| line.starts_with("karute_yen_total{"));
        let counted: f64 =
            counted.map_or(0.0, |line| line.rsplit(' ').next().expect("a number").parse().expect("yen"));
        assert!(
            (counted * 1e6 - billed as f64).abs() < 1.0,
            "{counted} yen in the metrics, {billed} in the ledger"
        );
        let line = lines.into_iter().next().expect("a line");
        (line.state, line.total_cost, line.reserved)
    };
    for refused in [
        Effect::Status(400),
        Effect::Status(403),
        Effect::Status(404),
        Effect::Status(503),
        Effect::Status(429),
    ] {
        let (state, total, _) = state_of(Some(refused), false).await;
        assert_eq!((state.as_str(), total), ("settled", 0), "{refused:?}");
    }
    // Of a service that fell over nobody knows what it did before, and of one that does not count, what it did.
    const UNCOUNTED: &str = "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"十月です [1]\"}]}, \"finishReason\": \"STOP\"}]}\n\n";
    for lost in [
        Effect::Body(UNCOUNTED),
        Effect::Torn(300),
        Effect::Wait(Duration::from_secs(60)),
        Effect::Status(500),
        Effect::Status(502),
        Effect::Status(504),
    ] {
        let (state, total, most) = state_of(Some(lost), false).await;
        assert_eq!((state.as_str(), total), ("presumed", most), "{lost:?}");
    }
    let (state, total, most) = state_of(Some(Effect::Slow(Duration::from_millis(100))), true).await;
    assert_eq!((state.as_str(), total), ("presumed", most));
    let (state, total, most) = state_of(None, false).await;
    assert!(state == "settled" && total > 0 && total < most, "{state} {total} {most}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_is_left_alone_and_known_to_be_late() {
    let (till, service) = (Till::default(), Upstream::new("a service"));
    for _ in 0..5 {
        let until = tokio::time::Instant::now() + Duration::from_secs(2);
        let hangs = std::future::pending::<Result<(), EmbedError>>();
        assert!(matches!(till.pay(&service, "embed", 0.0, until, hangs).await, Err(Failure::TimedOut)));
    }
    assert!(service.is_open() && service.is_late() && service.is_troubled());
}

#[tokio::test]
async fn a_call_that_was_reserved_before_there_was_a_limit_is_presumed_all_the_same() {
    for home in homes().await {
        let before = limits("yamada", 1_000_000, 100, 1_000);
        home.state.reserve(&reservation(0, "yamada", 60), &before).await.expect("reserved");
        let fresh = Limit { name: "calls 2026-11-26".into(), most: i64::MAX, calls: 10 };
        let now: Vec<Limit> = before.iter().cloned().chain([fresh.clone()]).collect();
        let later = NOON + time::Duration::hours(1);
        let presumed = home.state.presume(later, later, |_, _| now.clone()).await.expect("presumed");
        assert_eq!(presumed.calls.len(), 1);
        for limit in &now {
            assert_eq!(home.state.spent(&limit.name).await.expect("read").0, 60, "{limit:?}");
        }
    }
}

#[tokio::test]
async fn a_limit_that_is_reached_by_what_is_presumed_is_told_of() {
    for home in homes().await {
        let limits = limits("yamada", 1_000_000, 100, 1_000);
        let call = reservation(0, "yamada", 60);
        home.state.reserve(&call, &limits).await.expect("reserved");
        let later = NOON + time::Duration::hours(1);
        let presumed = home.state.presume(later, later, |_, _| limits.clone()).await.expect("presumed");
        assert_eq!(presumed.calls.len(), 1);
        assert!(
            presumed.reached.iter().any(|(limit, percent)| limit.starts_with("day") && *percent == 50),
            "{presumed:?}"
        );
    }
}

#[tokio::test]
async fn without_a_ledger_no_paid_call_is_made() {
    let till =
        Till::new(Arc::new(Money::new(&settings(&[]))), None, Payer::default(), OffsetDateTime::now_utc);
    assert!(matches!(till.reserve("answer", "model", 0.01).await, Err(Failure::State(_))));
    assert!(matches!(Till::default().reserve("answer", "model", 0.01).await, Err(Failure::State(_))));
    assert!(till.reserve("answer", "model", 0.0).await.expect("nothing to pay").is_none());
}

#[tokio::test]
async fn a_price_beyond_the_most_that_was_reserved_is_kept_as_it_is() {
    for home in homes().await {
        let money = Arc::new(Money::new(&settings(&[])));
        let payer = Payer { caller: "yamada".into(), answer_id: "a".into() };
        let ticket =
            money.reserve(&home.state, &payer, "answer", "model", 0.01, NOON).await.expect("reserved");
        ticket.settle(Cost { input_usd: 0.01, output_usd: 0.01 }, &Usage::default()).await;
        let line = home.state.lines().await.expect("the ledger").remove(0);
        assert!(line.total_cost > line.reserved, "the ledger says what is so");
        assert_eq!(home.state.spent("day 2026-11-26").await.expect("spent").0, line.total_cost);
    }
}

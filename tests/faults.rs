//! Fear: a fault at an unlucky moment that publishes half a spreadsheet. Every fault at every step of a run: the result
//! is the right snapshot, or the one before and an error that says why.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use karute_sync::google::Limits;
use karute_tests::google::Effect;
use karute_tests::google::workbook::{Cell, Workbook};
use karute_tests::small::{Small, changes, contents, limits, record, vector, workbook};

/// A spreadsheet that was synced once and edited since.
fn edited() -> (Small, String) {
    let mut small = Small::new(workbook(25));
    small.payload = 30_000;
    let before = small.sync(changes()).expect("published").index.id().to_string();
    small.emulator.edit(|book| {
        book.tabs[0].rows[4] = record(4, "書き直した。");
        book.tabs[1].rows[9] = vector("KB_009", 900, "2026-11-20");
        book.tabs[1].rows[20] = vector("KB_020", 901, "2026-11-20");
        book.tabs[0].rows.remove(7);
    });
    small.emulator.forget();
    (small, before)
}

/// What a run may end with.
fn judge(small: &Small, before: &str, limits: Limits, what: &str) {
    let result = small.sync_within(changes(), limits);
    assert!(small.emulator.answered().len() as u64 <= limits.max_calls, "{what}: too many calls");
    let current = small.store.current().expect("something is served").index;
    current.verify().expect("sound");
    match result {
        Ok(outcome) => {
            assert_eq!(outcome.index.id(), current.id(), "{what}");
            if contents(&current) != contents(&small.anew()) {
                // Somebody edited behind the last look; the next sync must see it.
                small.emulator.heal();
                let next = small.sync(changes()).expect("published");
                assert!(!next.run.unchanged, "{what}: an edit was lost");
                assert!(contents(&next.index) == contents(&small.anew()), "{what}");
            }
        }
        Err(error) => {
            assert_eq!(current.id().to_string(), before, "{what}: a failed run published something");
            let message = error.to_string();
            assert!(message.len() > 30 && !message.contains("記録"), "{what}: {message}");
            // And it is no worse for it: once the fault is gone, a run succeeds.
            small.emulator.heal();
            let next = small.sync(changes()).expect("published");
            assert!(contents(&next.index) == contents(&small.anew()), "{what}");
        }
    }
}

/// How many calls the run makes when nothing goes wrong.
fn steps() -> usize {
    let (small, _) = edited();
    small.sync(changes()).expect("published");
    small.emulator.answered().len()
}

#[test]
fn every_fault_at_every_step_ends_well_or_changes_nothing() {
    let faults = [
        Effect::Status(400),
        Effect::Status(401),
        Effect::Status(403),
        Effect::Status(404),
        Effect::Status(429),
        Effect::Status(500),
        Effect::Status(502),
        Effect::Status(503),
        Effect::Status(504),
        Effect::Reason(403, "SERVICE_DISABLED"),
        Effect::Reason(403, "userRateLimitExceeded"),
        Effect::RetryAfter(0),
        Effect::AnswerLost,
        Effect::Torn(0),
        Effect::Torn(25),
        Effect::Body(""),
        Effect::Body("{}"),
        Effect::Body("null"),
        Effect::Body("<html>s3cret</html>"),
        Effect::Body("{\"valueRanges\": [{\"values\": [[[1]]]}]}"),
    ];
    let steps = steps();
    let mut combinations = 0;
    for step in 0..steps {
        for fault in faults {
            for lasting in [false, true] {
                // What is not tried again ends the run the first time.
                if lasting && matches!(fault, Effect::Status(400..=404) | Effect::Body(_)) {
                    continue;
                }
                let (small, before) = edited();
                let end = if lasting { step + 100 } else { step + 1 };
                small.emulator.fault_at(step..end, fault);
                judge(&small, &before, limits(), &format!("{fault:?} at call {step}, lasting: {lasting}"));
                combinations += 1;
            }
        }
    }
    assert!(combinations >= 150, "{combinations} combinations");
}

#[test]
fn every_edit_at_every_step_is_in_the_snapshot_or_seen_by_the_next() {
    type Edit = fn(&mut Workbook);
    let edits: [(&str, Edit); 7] = [
        ("a row goes", |book| drop(book.tabs[0].rows.remove(2))),
        ("a row comes", |book| book.tabs[0].rows.insert(2, record(77, "割り込み。"))),
        ("a vector comes", |book| book.tabs[1].rows.insert(2, vector("KB_030", 30, "2026-11-21"))),
        ("vectors trade places", |book| book.tabs[1].rows.swap(9, 20)),
        ("the end is cut off", |book| book.tabs[1].rows.truncate(15)),
        ("a header is renamed and put back", |book| book.tabs[0].rows[0][7] = Cell::from("content ")),
        ("the grid shrinks", |book| {
            book.tabs[1].rows.truncate(22);
            book.tabs[1].row_count = 22;
        }),
    ];
    for (what, edit) in edits {
        for step in 0..steps() + 2 {
            let (small, before) = edited();
            for _ in 0..step {
                small.emulator.edit_before("", |_| {});
            }
            small.emulator.edit_before("", edit);
            judge(&small, &before, limits(), &format!("{what} at call {step}"));
        }
    }
}

#[test]
fn a_run_of_few_calls_never_publishes_half() {
    for max_calls in 0..steps() as u64 {
        let (small, before) = edited();
        judge(&small, &before, Limits { max_calls, ..limits() }, &format!("{max_calls} calls"));
    }
}

//! Fear: after a hundred small syncs the snapshot is no longer what the spreadsheet says. Random histories of edits with
//! syncs in between; after each, the rows and vectors are those of a snapshot that is made anew.
//!
//! `KARUTE_HISTORIES` says how many; `KARUTE_SEED` where they begin.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::time::Duration;

use karute_tests::google::workbook::{Cell, Workbook};
use karute_tests::small::{Small, cells, changes, contents, record, vector, workbook};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Some row of the tab below its header.
fn any_row(random: &mut ChaCha8Rng, book: &Workbook, tab: usize) -> Option<usize> {
    let rows = book.tabs[tab].rows.len();
    (rows > 1).then(|| random.random_range(1..rows))
}

/// One edit. True if it changed nothing but vector cells, which narrow columns do not show.
fn edit(random: &mut ChaCha8Rng, book: &mut Workbook, step: usize) -> bool {
    let number = random.random_range(1..40);
    let id = format!("KB_{number:03}");
    let moment = format!("2026-11-02 10:{:02}:{:02}", step / 60, step % 60);
    let seed = random.random();
    match random.random_range(0..14) {
        0 => book.tabs[0].rows.push(record(number, &format!("追加{step}"))),
        1 => book.tabs[1].rows.push(vector(&id, seed, &moment)),
        2 => {
            book.tabs[0].rows.push(record(number, &format!("両方{step}")));
            book.tabs[1].rows.push(vector(&id, seed, &moment));
        }
        3 => {
            if let Some(at) = any_row(random, book, 0) {
                book.tabs[0].rows[at][7] = Cell::from(format!("変更{step}"));
            }
        }
        4 => {
            if let Some(at) = any_row(random, book, 1) {
                book.tabs[1].rows[at] = vector(&id, seed, &moment);
            }
        }
        5 => {
            if let Some(at) = any_row(random, book, 0).filter(|_| book.tabs[0].rows.len() > 3) {
                book.tabs[0].rows.remove(at);
            }
        }
        6 => {
            if let Some(at) = any_row(random, book, 1) {
                book.tabs[1].rows.remove(at);
            }
        }
        7 => {
            let tab = random.random_range(0..2);
            if let Some((a, b)) = any_row(random, book, tab).zip(any_row(random, book, tab)) {
                book.tabs[tab].rows.swap(a, b);
                // Two rows that differ in vector cells alone look the same.
                return tab == 1;
            }
        }
        8 => {
            let tab = random.random_range(0..2);
            if let Some(at) = any_row(random, book, tab) {
                let row = book.tabs[tab].rows[at].clone();
                book.tabs[tab].rows.insert(at, row);
            }
        }
        9 => {
            if let Some(at) = any_row(random, book, 1) {
                let broken = ["", "[1,0", "[0,0]", "[9,9]", "f32:x", "[1e39,1]"];
                let moment = Cell::from(moment);
                let row = &mut book.tabs[1].rows[at];
                row.resize(6, Cell::Empty);
                row[3] = Cell::from(broken[random.random_range(0..broken.len())]);
                row[5] = moment;
            }
        }
        10 => {
            if let Some(at) = any_row(random, book, 0) {
                book.tabs[0].rows[at][0] = Cell::Empty;
            }
        }
        11 => {
            if let Some(at) = any_row(random, book, 1) {
                let row = &mut book.tabs[1].rows[at];
                row.resize(6, Cell::Empty);
                let other = cells(&["other", "m", "x"]);
                row[1] = other[random.random_range(0..3)].clone();
            }
        }
        12 => {
            if let Some(at) = any_row(random, book, 1) {
                let fresh = vector("x", seed, "x");
                let row = &mut book.tabs[1].rows[at];
                row.resize(6, Cell::Empty);
                row[3..5].clone_from_slice(&fresh[3..5]);
                return true;
            }
        }
        _ => book.tabs[1].rows.insert(1, Vec::new()),
    }
    false
}

#[test]
fn after_any_history_a_snapshot_is_what_a_new_one_would_be() {
    let (histories, first) = (setting("KARUTE_HISTORIES", 40), setting("KARUTE_SEED", 0));
    for seed in first..first + histories {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut small = Small::new(workbook(12));
        small.payload = [20_000, 100_000, 2_000_000][random.random_range(0..3)];
        small.sync(changes()).expect("published");
        let mut hidden = false;
        for step in 0..8 {
            for _ in 0..random.random_range(1..4) {
                let mut vectors_alone = false;
                small.emulator.edit(|book| vectors_alone = edit(&mut random, book, step));
                hidden |= vectors_alone;
            }
            if hidden && random.random_bool(0.5) {
                // The next full pass finds what narrow columns hide.
                small.now += Duration::from_secs(24 * 3_600);
                hidden = false;
            }
            let outcome = small.sync(changes()).expect("published");
            if !hidden {
                let anew = small.anew();
                assert!(contents(&outcome.index) == contents(&anew), "seed {seed}, step {step}");
            }
            outcome.index.verify().expect("sound");
        }
        small.now += Duration::from_secs(24 * 3_600);
        let last = small.sync(changes()).expect("published");
        assert!(contents(&last.index) == contents(&small.anew()), "seed {seed}, at the end");
    }
}

//! How often, how fast, and how many of something.

use super::folded::{SPELT, folded};
use super::quantities::{Quantity, digits, number};

/// Whether `text` counts something in words, as in "five clients", of which `evidence` counts only another number.
pub(super) fn counts_otherwise(text: &str, evidence: &str) -> bool {
    let said = counted_things(evidence);
    counted_things(text).iter().filter(|counted| counted.in_words).any(|claim| {
        let mut about = said.iter().filter(|other| other.thing == claim.thing).peekable();
        about.peek().is_some() && about.all(|other| other.number != claim.number)
    })
}

struct Counted {
    number: u32,
    in_words: bool,
    thing: String,
}

/// The English things of which `text` says how many there are: the last of one or two words behind a number.
fn counted_things(text: &str) -> Vec<Counted> {
    let text = folded(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    let count = |at: usize| {
        let word = words[at];
        let in_words = word.starts_with(SPELT);
        let number = word.trim_start_matches(SPELT).parse().ok()?;
        let follows = words[at + 1..].iter().take(3).map_while(|next| {
            let bare = next.trim_end_matches([',', '.', ';']);
            bare.bytes().all(|c| c.is_ascii_lowercase()).then_some((bare, bare.len() < next.len()))
        });
        const MEASURED: [&str; 11] = [
            "days", "weeks", "months", "years", "hours", "minutes", "times", "tablets", "units", "capsules",
            "drops",
        ];
        let mut thing = "";
        for (word, ends) in follows {
            // Measures are held against the record as such.
            if MEASURED.contains(&word) || ["more", "fewer", "less", "extra", "of"].contains(&word) {
                break;
            }
            if word.ends_with('s') && word.len() > 3 {
                thing = word;
                break;
            }
            if ends {
                break;
            }
        }
        (!thing.is_empty()).then(|| Counted { number, in_words, thing: thing.to_owned() })
    };
    (0..words.len()).filter_map(count).collect()
}

/// 150ml/時, 毎分150ml, 80 ml per hour.
pub(super) fn paces(text: &str) -> Vec<Quantity> {
    const BEHIND: [(&str, u32); 12] = [
        ("/時", 60),
        ("/hr", 60),
        ("/h", 60),
        (" per hour", 60),
        (" an hour", 60),
        ("/1時間", 60),
        ("/分", 1),
        ("/min", 1),
        (" per minute", 1),
        (" a minute", 1),
        ("/週", 7 * 24 * 60),
        ("/日", 24 * 60),
    ];
    const BEFORE: [(&str, u32); 4] = [("毎時", 60), ("1時間に", 60), ("毎分", 1), ("1分間に", 1)];
    let mut found = Vec::new();
    for (at, _) in text.match_indices(|c: char| c.is_ascii_digit()) {
        let front = &text[..at];
        if front.ends_with(|c: char| c.is_ascii_digit() || c == '.') {
            continue;
        }
        let Some((length, quantities)) = number(&text[at..]) else { continue };
        let [Quantity::Number { value, .. }] = quantities[..] else { continue };
        let behind = BEHIND.iter().find(|(per, _)| text[at + length..].starts_with(per));
        let before = BEFORE.iter().find(|(per, _)| front.trim_end().ends_with(per));
        if let Some((_, minutes)) = behind.or(before) {
            found.push(Quantity::Pace { value, minutes: *minutes });
        }
    }
    found
}

/// 1日3回, 週に2回, 2 times a day, once weekly.
pub(super) fn rates(text: &str) -> Vec<Quantity> {
    const PERIODS: [(&str, u32); 7] =
        [("1日に", 1), ("1日", 1), ("毎日", 1), ("週に", 7), ("週", 7), ("月に", 30), ("月", 30)];
    const ENGLISH: [(&str, u32); 13] = [
        ("a month", 30),
        ("per month", 30),
        ("monthly", 30),
        ("a day", 1),
        ("per day", 1),
        ("daily", 1),
        ("every day", 1),
        ("each day", 1),
        ("a week", 7),
        ("per week", 7),
        ("weekly", 7),
        ("every week", 7),
        ("each week", 7),
    ];
    let mut found = Vec::new();
    for (period, days) in PERIODS {
        for (at, _) in text.match_indices(period) {
            let after = &text[at + period.len()..];
            let inside =
                text[..at].ends_with(|c: char| c.is_ascii_digit() || matches!(c, '隔' | '先' | '今' | '来'));
            if let Some((length, times)) = digits(after)
                && !inside
                && after[length..].starts_with('回')
            {
                found.push(Quantity::Rate { times: f64::from(times), days });
            }
        }
    }
    for unit in [" times ", " time "] {
        for (at, _) in text.match_indices(unit) {
            let number = text[..at].rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            let after = &text[at + unit.len()..];
            if let Ok(times) = number.parse::<u32>()
                && let Some((_, days)) = ENGLISH.iter().find(|(period, _)| after.starts_with(period))
            {
                found.push(Quantity::Rate { times: f64::from(times), days: *days });
            }
        }
    }
    found
}

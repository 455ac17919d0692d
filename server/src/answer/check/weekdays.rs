//! Days of the week, in every way that records name them.

use std::collections::BTreeSet;

use karute_engine::words::sentences;

use super::clause::is_kanji;
use super::opposites::things;

/// The days of the week, Monday first, as Japanese writes them.
pub(super) const JAPANESE: [char; 7] = ['月', '火', '水', '木', '金', '土', '日'];
const ENGLISH: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// How many days of the week a timetable (月:訪問看護。木:訪問看護。) gives to each thing.
pub(super) fn timetable(text: &str) -> Vec<usize> {
    let days: Vec<&str> = sentences(text)
        .into_iter()
        .map(|range| &text[range])
        .filter(|sentence| {
            sentence.chars().nth(1) == Some(':') && !weekdays(&sentence.replacen(':', "曜", 1)).is_empty()
        })
        .take(31)
        .collect();
    let things: BTreeSet<String> = days.iter().flat_map(|day| things(day)).collect();
    let count = |thing: &String| days.iter().filter(|day| day.contains(thing.as_str())).count();
    things.iter().map(count).filter(|days| *days > 1).collect()
}

/// The days of the week that `text`, folded, names, Monday first: 月曜, (月), 月・木, "Mondays".
pub(super) fn weekdays(text: &str) -> Vec<usize> {
    let characters: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    for (at, character) in characters.iter().enumerate() {
        let Some(day) = JAPANESE.iter().position(|day| day == character) else { continue };
        let [before, after] =
            [at.checked_sub(1), Some(at + 1)].map(|at| at.and_then(|at| characters.get(at)));
        let bound = |c: Option<&char>| c.is_none_or(|c| !is_kanji(*c) && !c.is_ascii_digit());
        let named = after == Some(&'曜')
            || before == Some(&'(') && after.is_some_and(|c| ")・、".contains(*c))
            || bound(before) && bound(after) && (before == Some(&'・') || after == Some(&'・'))
            || is_of_several(&characters, at);
        if named && !found.contains(&day) {
            found.push(day);
        }
    }
    // (Tue, Sat) besides whole names.
    let short = |day: usize| {
        text.match_indices(&ENGLISH[day][..3]).any(|(at, name)| {
            text[..at].ends_with(['(', ' ', '/']) && text[at + name.len()..].starts_with([',', ')', '/'])
        })
    };
    found.extend((0..7).filter(|day| text.contains(ENGLISH[*day]) || short(*day)));
    found
}

/// Those days of the week that stand for a day: 木曜, and not the 木 of 10月22日(木), which says its day itself.
pub(super) fn named_alone(text: &str) -> Vec<usize> {
    let dated = |at: usize| {
        let before = text[..at].trim_end_matches([' ', '(', ',', 'の']);
        before.ends_with(['日']) || before.ends_with(|c: char| c.is_ascii_digit())
    };
    let mut alone = String::new();
    for (at, _) in text.match_indices("曜").filter(|(at, _)| *at >= '月'.len_utf8()) {
        let day = at - '月'.len_utf8();
        if text.is_char_boundary(day) && !dated(day) {
            alone.push_str(&text[day..at]);
            alone.push_str("曜、");
        }
    }
    for word in ENGLISH {
        for (at, _) in text.match_indices(word) {
            let behind: String = text[at + word.len()..].chars().take(16).collect();
            let says_it = behind.starts_with(',') && behind.contains(|c: char| c.is_ascii_digit());
            if !dated(at) && !says_it {
                alone.push_str(word);
                alone.push(' ');
            }
        }
    }
    weekdays(&alone)
}

/// Characters of a run on either side that are looked at: a longer one is something else.
const LONGEST_RUN: usize = 21;

/// Whether the character at this place is one of a run of several days of the week and nothing else: 月水金.
fn is_of_several(characters: &[char], at: usize) -> bool {
    let left: Vec<char> =
        characters[..at].iter().rev().copied().take_while(|c| is_kanji(*c)).take(LONGEST_RUN).collect();
    let right: Vec<char> =
        characters[at..].iter().copied().take_while(|c| is_kanji(*c)).take(LONGEST_RUN).collect();
    let digit = characters[..at].iter().rev().nth(left.len()).is_some_and(char::is_ascii_digit);
    let all: Vec<char> = left.into_iter().rev().chain(right).collect();
    !digit && all.len() > 1 && all.iter().all(|c| JAPANESE.contains(c)) && all != ['日', '月']
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_week_are_read_in_every_way_that_they_are_written() {
        for (text, days) in [
            ("10月15日(水)10時", &[2][..]),
            ("月・木。時間 13:30", &[0, 3]),
            ("火曜と金曜", &[1, 4]),
            ("10月5日", &[]),
            ("水を飲む。木の床。金額", &[]),
            ("every tuesday and friday", &[1, 4]),
        ] {
            assert_eq!(weekdays(text), days, "{text}");
        }
    }
}

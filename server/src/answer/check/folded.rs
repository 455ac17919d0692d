//! A text in one form for all that is looked up in it: half width, lower case, numerals and eras as digits.

use karute_engine::words::half_width;

use super::quantities::digits;
use crate::numerals::{self, ERAS, numeral};

/// Half width, lower case, no commas inside numbers, numerals of kanji before a unit as digits.
pub(super) fn folded(text: &str) -> String {
    // Once more, not at all, for a while: none of them counts anything.
    let text = text.replace("もう一度", "再び").replace("一度も", "全く").replace("一度", "いったん");
    let half: String = text
        .chars()
        .filter(|char| *char != SPELT)
        .map(|char| match char {
            '　' => ' ',
            '〜' => '~',
            other => half_width(other),
        })
        .flat_map(char::to_lowercase)
        .collect();
    let characters: Vec<char> = half.chars().collect();
    let mut folded = String::with_capacity(half.len());
    let mut at = 0;
    while at < characters.len() {
        let digit = |at: usize| characters.get(at).is_some_and(char::is_ascii_digit);
        if characters[at] == ','
            && at > 0
            && digit(at - 1)
            && (1..4).all(|ahead| digit(at + ahead))
            && !digit(at + 4)
        {
            at += 1;
            continue;
        }
        let length = characters[at..].iter().take_while(|char| numeral(**char).is_some()).count();
        let counts =
            characters.get(at + length).is_some_and(|next| "回錠日月時分歳人名度週本枚個種".contains(*next));
        // 十分 is enough more often than ten minutes.
        let enough = characters[at..].starts_with(&['十', '分'])
            && !characters.get(at + 2).is_some_and(|next| "間後前ほ程お毎ご".contains(*next));
        if length > 0
            && counts
            && !enough
            && let Some(value) = numerals::number(&characters[at..at + length])
        {
            folded.push_str(&value.to_string());
            at += length;
            continue;
        }
        // A numeral that counts nothing is looked at once, however long it is.
        let end = at + length.max(1);
        folded.extend(&characters[at..end]);
        at = end;
    }
    counted(&eras(&tenths(&folded)))
}

/// 38度4分 as 38.4度, and Showa 21 as its year.
fn tenths(text: &str) -> String {
    /// How English names the eras, in their order.
    const ENGLISH: [&str; 3] = ["reiwa ", "heisei ", "showa "];
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let tenth = rest.strip_prefix('度').and_then(|after| {
            let (1, tenth) = digits(after)? else { return None };
            after[1..].starts_with('分').then(|| (format!(".{tenth}度"), "度0分".len()))
        });
        let era = || {
            let named = ENGLISH.into_iter().zip(ERAS).find(|(name, _)| rest.starts_with(name));
            let (name, (_, before)) = named?;
            let (length, year) = digits(&rest[name.len()..])?;
            Some((format!("{}年", before + year), name.len() + length))
        };
        let inside = whole.ends_with(|c: char| c.is_ascii_alphanumeric());
        let degrees = tenth.filter(|_| inside);
        match degrees.or_else(|| if inside { None } else { era() }) {
            Some((written, length)) => {
                whole.push_str(&written);
                rest = &rest[length..];
            }
            None => {
                whole.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    whole
}

/// 令和7年 and the like as years of the common era; 8万6400 as 86400.
fn eras(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let era = ERAS.into_iter().find_map(|(era, before)| {
            let after = rest.strip_prefix(era)?;
            let (length, year) =
                digits(after).or_else(|| after.starts_with('元').then_some(('元'.len_utf8(), 1)))?;
            after[length..].starts_with('年').then(|| (before + year, era.len() + length))
        });
        let thousands = || {
            let (length, myriads) = digits(rest)?;
            let after = rest[length..].strip_prefix('万')?;
            let (more, units) = digits(after).filter(|(_, units)| *units < 10_000).unwrap_or((0, 0));
            let value = myriads.checked_mul(10_000)?.checked_add(units)?;
            Some((value, length + '万'.len_utf8() + more))
        };
        let inside = whole.ends_with(|c: char| c.is_ascii_digit() || c == '.');
        match era.or_else(|| if inside { None } else { thousands() }) {
            Some((value, length)) => {
                whole.push_str(&value.to_string());
                rest = &rest[length..];
            }
            None => {
                whole.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    whole
}

/// Numbers that English writes as words, before what they count.
const WORDS: [(&str, &str); 17] = [
    ("one", "1"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
    ("eleven", "11"),
    ("twelve", "12"),
    ("fifteen", "15"),
    ("thirty", "30"),
    ("both", "2"),
    ("once", "1 time"),
    ("twice", "2 times"),
];

/// What follows "once" where it counts: it also says "as soon as" and "long ago".
const COUNTED: [&str; 10] =
    ["a", "per", "daily", "every", "each", "weekly", "monthly", "in", "yesterday", "today"];

fn counted(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut pieces = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()).peekable();
    while let Some(piece) = pieces.next() {
        let word = bare(piece);
        let next = pieces.peek().map_or("", |next| bare(next));
        let counts = match word {
            "once" => COUNTED.contains(&next),
            // "Twice what it was" is a double.
            "twice" => !["what", "as", "the", "that", "its"].contains(&next),
            _ => true,
        };
        match WORDS.iter().find(|(name, _)| *name == word).filter(|_| counts) {
            // No digit: what only a word says must not look like a number that somebody wrote.
            Some((_, digits)) => {
                whole.push(SPELT);
                whole.push_str(digits);
                whole.push_str(&piece[word.len()..]);
            }
            None => whole.push_str(piece),
        }
    }
    whole
}

fn bare(piece: &str) -> &str {
    piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
}

/// Stands before a number that was written as a word.
pub(super) const SPELT: char = '\u{1}';

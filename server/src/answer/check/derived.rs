//! What follows from a record without standing in it: 明日 is the day after the record's, 朝夕 is twice a day, 半量 of 20 mg is
//! 10 mg, an hour is 60 minutes.

use std::collections::BTreeSet;

use karute_engine::Row;
use karute_engine::words::sentences;
use time::format_description::well_known::Iso8601;
use time::{Date, Duration};

use super::folded::folded;
use super::quantities::{Quantity, read};
use super::weekdays::{named_alone, timetable, weekdays};

/// Words for days that count from the record's own, and how far.
const DAYS: [(&str, i64); 20] = [
    ("明後日", 2),
    ("一昨日", -2),
    ("本日", 0),
    ("今日", 0),
    ("今朝", 0),
    ("今夜", 0),
    ("今晩", 0),
    ("明日", 1),
    ("明朝", 1),
    ("翌日", 1),
    ("翌朝", 1),
    ("昨日", -1),
    ("昨夜", -1),
    ("前日", -1),
    ("today", 0),
    ("tonight", 0),
    ("this morning", 0),
    ("tomorrow", 1),
    ("yesterday", -1),
    ("last night", -1),
];

/// Words for months that count from the record's own.
const MONTHS: [(&str, i32); 9] = [
    ("今月", 0),
    ("翌月", 1),
    ("来月", 1),
    ("再来月", 2),
    ("先月", -1),
    ("前月", -1),
    ("this month", 0),
    ("next month", 1),
    ("last month", -1),
];

/// Words for a half.
const HALVES: [&str; 4] = ["半量", "半減", "by half", "halved"];

/// Measures of one kind: one of the first is so many of the second.
const MEASURES: [(&str, &str, f64); 9] = [
    ("日間", "時間", 24.0),
    ("時間", "分", 60.0),
    ("l", "ml", 1_000.0),
    ("g", "mg", 1_000.0),
    ("mg", "µg", 1_000.0),
    ("kg", "g", 1_000.0),
    ("m", "cm", 100.0),
    ("cm", "mm", 10.0),
    ("週", "日間", 7.0),
];

/// Parts of the day at which something is taken, each by its words.
const PARTS: [&[&str]; 4] = [
    &["朝", "breakfast", "morning"],
    &["昼", "lunch", "noon"],
    &["夕", "晩", "supper", "dinner", "evening"],
    &["眠前", "就寝前", "bedtime"],
];

/// Words for once a day.
const DAILY: [&str; 9] =
    ["毎日", "毎朝", "毎夕", "毎晩", "daily", "every day", "every morning", "every evening", "nightly"];

/// Scales by which pain is told: 3/10 on one of them is no day.
const SCALES: [&str; 5] = ["nrs", "vas", "pain", "痛", "スケール"];

/// By these words a claim compares two measures.
const COMPARED: [&str; 36] = [
    "より",
    "差",
    "増",
    "減",
    "太",
    "細",
    "縮",
    "伸",
    "上が",
    "下が",
    "改善",
    "延び",
    "少な",
    "多く",
    "残",
    "まだ",
    "除",
    "走行",
    "届きません",
    "倍",
    " by ",
    "lower",
    "higher",
    "more",
    "less",
    "gain",
    "lost",
    "fell",
    "rose",
    "went",
    "down",
    "than",
    "difference",
    "remain",
    "left",
    "double",
];

/// By these words it adds them up, or multiplies one by how often.
const SUMMED: [&str; 10] =
    ["計", "合わせ", "合せ", "全部で", "総", "total", "adds up", "altogether", "in all", "both"];

/// By these words it says how long it is from one record to another.
const APART: [&str; 9] = ["間で", "後に", "後の", "後は", "ぶり", "経", "later", " in ", "over"];

/// What follows from these rows as far as `claim` may speak of it; `all` are those of the context, whose days lie so far apart.
pub(super) fn derived(claim: &str, rows: &[&Row], all: &[&Row]) -> Vec<Quantity> {
    let claim = folded(claim);
    let (mut found, mut measured) = (Vec::new(), Vec::new());
    for row in rows {
        let text = folded(&format!("{}\n{}", row.title, row.content));
        let said = read(&text);
        let converted = in_other_units(&said);
        found.extend(halves(&text));
        found.extend(products(&text));
        found.extend(between_times(&claim, &said));
        measured.extend(said.iter().chain(&converted).filter_map(|quantity| match quantity {
            Quantity::Number { value, unit } => Some((*value, unit.clone())),
            _ => None,
        }));
        found.extend(converted);
        found.extend(lengths(&said));
        found.extend(doses(&text));
        if SCALES.iter().any(|scale| text.contains(scale)) {
            for quantity in &said {
                if let Quantity::Day { year: None, month, day: day @ (5 | 10) } = quantity {
                    found.extend([plain(f64::from(*month), ""), plain(f64::from(*day), "")]);
                }
            }
        }
        if let Some(day) = day(row) {
            found.extend(from_its_day(&text, day));
        }
    }
    found.extend(reckoned(&claim, measured));
    if APART.iter().any(|word| claim.contains(word)) {
        let days = |rows: &[&Row]| -> BTreeSet<Date> { rows.iter().filter_map(|row| day(row)).collect() };
        let all = days(all);
        for own in days(rows) {
            found.extend(all.iter().flat_map(|other| apart((*other - own).whole_days().abs())));
        }
    }
    found
}

/// Measures that are reckoned with, the first ones: each meets each other.
const MEASURED: usize = 100;

/// What a claim that compares or adds up may make of these measures, two at a time.
fn reckoned(claim: &str, mut measured: Vec<(f64, String)>) -> Vec<Quantity> {
    measured.truncate(MEASURED);
    let says = |words: &[&str]| words.iter().any(|word| claim.contains(word));
    let (compares, sums) = (says(&COMPARED), says(&SUMMED));
    let mut found = Vec::new();
    for (at, (value, unit)) in measured.iter().enumerate() {
        for (behind, (other, known)) in measured.iter().skip(at + 1).enumerate() {
            // "From 12 to 8 units."
            let alike = known == unit || behind == 0 && (known.is_empty() || unit.is_empty());
            let named = if unit.is_empty() { known } else { unit };
            if compares && alike {
                found.push(plain((value - other).abs(), named));
                found.extend([value / other, other / value].map(|ratio| plain(ratio, "倍")));
            }
            if sums && alike {
                found.push(plain(value + other, named));
            }
            // 500mgを1日3回, 500mLを2本, "5 mg, six doses".
            const OFTEN: [&str; 4] = ["回", "本", "錠", ""];
            if sums && OFTEN.contains(&known.as_str()) {
                found.push(plain(value * other, unit));
            }
        }
    }
    // What was added up may be told in another unit.
    found.extend(in_other_units(&found));
    if ["ダース", "dozen"].iter().any(|word| claim.contains(word)) {
        found.extend(measured.iter().map(|(value, _)| plain(value / 12.0, "")));
    }
    found
}

fn day(row: &Row) -> Option<Date> {
    Date::parse(&row.date, &Iso8601::DATE).ok()
}

/// A day of a month of `year`, if there is one.
fn date(year: i32, (month, day): (u32, u32)) -> Option<Date> {
    let month = u8::try_from(month).ok()?.try_into().ok()?;
    Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()
}

fn plain(value: f64, unit: &str) -> Quantity {
    Quantity::Number { value, unit: unit.to_owned() }
}

/// The same in other units.
fn in_other_units(said: &[Quantity]) -> Vec<Quantity> {
    let mut found = Vec::new();
    for quantity in said {
        let Quantity::Number { value, unit } = quantity else { continue };
        for (large, small, times) in MEASURES {
            if unit == large {
                found.push(plain(value * times, small));
            } else if unit == small {
                found.push(plain(value / times, large));
            }
        }
    }
    found
}

/// Half of each measure of a sentence that speaks of a half.
fn halves(text: &str) -> Vec<Quantity> {
    let sentences = sentences(text).into_iter().map(|range| &text[range]);
    let of_halves = sentences.filter(|sentence| HALVES.iter().any(|word| sentence.contains(word)));
    let half = |quantity| match quantity {
        Quantity::Number { value, unit } if !unit.is_empty() => Some(plain(value / 2.0, &unit)),
        _ => None,
    };
    of_halves.flat_map(read).filter_map(half).collect()
}

/// 400ml×3: what it comes to.
fn products(text: &str) -> Vec<Quantity> {
    /// Characters on either side that may be part of it.
    const BESIDE: usize = 16;
    let mut found = Vec::new();
    for (at, sign) in text.match_indices(['×', '*']) {
        let after: String = text[at + sign.len()..].chars().take(BESIDE).collect();
        let after = after.trim_start();
        if !after.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let before: Vec<char> = text[..at].chars().rev().take(BESIDE).collect();
        let before: String = before.into_iter().rev().collect();
        if let (Some(Quantity::Number { value, unit }), Some(Quantity::Number { value: times, .. })) =
            (read(&before).last(), read(after).first())
        {
            found.push(plain(value * times, unit));
        }
    }
    found
}

/// How long it is from each time of the day to every later one, where a claim says how long something took.
fn between_times(claim: &str, said: &[Quantity]) -> Vec<Quantity> {
    const TOOK: [&str; 6] = ["後", "間", "かか", "later", "after", "took"];
    if !TOOK.iter().any(|word| claim.contains(word)) {
        return Vec::new();
    }
    let time = |quantity: &Quantity| match quantity {
        Quantity::Time { minutes, .. } => Some(*minutes),
        _ => None,
    };
    let times: Vec<u32> = said.iter().filter_map(time).take(MEASURED).collect();
    let mut found = Vec::new();
    for (at, from) in times.iter().enumerate() {
        for to in times[at + 1..].iter().filter(|to| *to > from) {
            let minutes = f64::from(to - from);
            found.extend([plain(minutes, "分"), plain(minutes / 60.0, "時間")]);
        }
    }
    found
}

/// How long it is from each day to the one that is named next.
fn lengths(said: &[Quantity]) -> Vec<Quantity> {
    let days: Vec<(u32, u32)> = said
        .iter()
        .scan(0, |last, quantity| {
            Some(match quantity {
                Quantity::Day { month, day, .. } => {
                    *last = *month;
                    Some((*month, *day))
                }
                Quantity::Number { value, unit } if unit == "日" && *last > 0 => {
                    Some((*last, *value as u32))
                }
                _ => None,
            })
        })
        .flatten()
        .collect();
    // From December to January a year ends.
    let between = |pair: &[(u32, u32)]| {
        Some((date(2025, pair[1])? - date(2025, pair[0])?).whole_days().rem_euclid(365))
    };
    let spans = days.windows(2).filter_map(between).filter(|days| *days > 0);
    // Both ends counted, or not.
    spans.flat_map(|days| apart(days).into_iter().chain(apart(days + 1))).collect()
}

/// So many days, and weeks and months where they are whole ones.
fn apart(days: i64) -> Vec<Quantity> {
    const MONTH: f64 = 30.4;
    let mut found = vec![plain(days as f64, "日間")];
    if days > 0 && days % 7 == 0 {
        found.push(plain((days / 7) as f64, "週"));
    }
    let months = (days as f64 / MONTH).round();
    if months >= 1.0 && (days as f64 - months * MONTH).abs() <= 3.0 {
        found.push(plain(months, "か月"));
    }
    found
}

/// How often a day, where the parts of the day are named, and how often a week, where its days are.
fn doses(text: &str) -> Vec<Quantity> {
    let mut found = Vec::new();
    let mut often = |times: usize, days: u32| {
        let times = times as f64;
        found.extend([Quantity::Rate { times, days }, plain(times, "回")]);
    };
    timetable(text).into_iter().for_each(|days| often(days, 7));
    for range in sentences(text) {
        let sentence = &text[range];
        let parts = PARTS.iter().filter(|words| words.iter().any(|word| sentence.contains(word))).count();
        if parts > 1 {
            often(parts, 1);
        }
        if ["毎食", "every meal", "each meal", "meals"].iter().any(|word| sentence.contains(word)) {
            often(3, 1);
        }
        if DAILY.iter().any(|word| sentence.contains(word)) {
            often(1, 1);
        }
        let days = weekdays(sentence).len();
        if days > 1 {
            often(days, 7);
        }
    }
    found
}

/// Days and months that are told from the record's own.
fn from_its_day(text: &str, day: Date) -> Vec<Quantity> {
    let mut found = Vec::new();
    let mut named = |date: Date| {
        let (month, year) = (u32::from(u8::from(date.month())), u32::try_from(date.year()).ok());
        found.push(Quantity::Day { year, month, day: u32::from(date.day()) });
    };
    for (_, after) in DAYS.iter().filter(|(word, _)| text.contains(word)) {
        day.checked_add(Duration::days(*after)).into_iter().for_each(&mut named);
    }
    // 木曜, of this week or the next, or the one that has just been.
    for weekday in named_alone(text) {
        let ahead = (weekday as i64 - i64::from(day.weekday().number_days_from_monday())).rem_euclid(7);
        for days in [ahead - 7, ahead, ahead + 7] {
            day.checked_add(Duration::days(days)).into_iter().for_each(&mut named);
        }
    }
    // The day after another that is named.
    if ["翌日", "翌朝", "next day", "day after"].iter().any(|word| text.contains(word)) {
        for quantity in read(text) {
            if let Quantity::Day { month, day: number, .. } = quantity
                && let Some(date) = date(day.year(), (month, number))
            {
                date.next_day().into_iter().for_each(&mut named);
            }
        }
    }
    for (_, after) in MONTHS.iter().filter(|(word, _)| text.contains(word)) {
        let month = (i32::from(u8::from(day.month())) - 1 + after).rem_euclid(12) + 1;
        found.push(Quantity::Month { month: month.unsigned_abs() });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::quantities::{holds, stated};
    use super::*;

    #[test]
    fn what_follows_from_a_record_is_held_by_it_and_nothing_else_is() {
        for (date, content, right, wrong) in [
            ("2025-12-11", "お届けは明日の夕方。", "12月12日の夕方", "12月13日の夕方"),
            ("2025-08-29", "浴室は翌月に施工。", "9月の工事", "10月の工事"),
            ("", "アムロジピン5mg 朝夕食後。", "1日2回", "1日3回"),
            ("", "20mgから半量に減らした。", "10mg", "5mg"),
            ("", "1時間かけて注入。", "60分", "30分"),
            ("", "11月10日から14日まで入院。", "5日間", "9日間"),
            ("", "訪問日: 月・木。", "週2回", "週3回"),
            ("", "月:訪問看護10:00。火:通所リハ。木:訪問看護16:00。", "週2回", "週3回"),
            ("", "NRS 3/10。", "10段階で3", "10段階で4"),
            ("2025-06-30", "レスキュー使用は昨日1回。", "6月29日", "6月28日"),
            ("", "ラコール400ml×3回。", "総量1200ml", "総量1300ml"),
            ("", "22:05 停止。22:15 再開。", "10分後", "15分後"),
            ("", "前腕26cm、左24cm。", "左より2cm太い", "左より3cm太い"),
        ] {
            let row = Row { date: date.into(), content: content.into(), ..Row::default() };
            let mut said = read(content);
            said.extend(derived(right, &[&row], &[&row]));
            assert!(stated(right).iter().all(|claim| holds(&said, claim)), "{content} {right}");
            assert!(!stated(wrong).iter().all(|claim| holds(&said, claim)), "{content} {wrong}");
        }
    }
}

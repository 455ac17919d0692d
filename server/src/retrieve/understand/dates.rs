//! The days that a question speaks of, by the calendar of Japan.
//!
//! 10月20日, 10/20, 2026-10-20, 令和8年10月, 昨日, 先週, 先月, 3日前, 5月: each becomes a span of days. A day without a year is the
//! last one that came, or one that comes within [`AHEAD`]. Weeks begin on Monday. 最近, 直近, 最新 and 前回 ask for the newest.

use serde::Serialize;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, Duration, Month, Weekday};

/// How far ahead a day without a year may lie; else the year before is meant.
const AHEAD: Duration = Duration::days(92);

/// Days that a question speaks of, both included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The words that say so, folded to half width.
    pub phrase: String,
    /// The first day, `YYYY-MM-DD`.
    pub first: Date,
    /// The last day, `YYYY-MM-DD`.
    pub last: Date,
}

impl Span {
    /// Whether a day, as rows write it, is one of these.
    pub fn holds(&self, day: &str) -> bool {
        const WRITTEN: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
        Date::parse(day, WRITTEN).is_ok_and(|day| self.first <= day && day <= self.last)
    }
}

/// Words for the newest records.
const NEWEST: [&str; 8] =
    ["最近", "直近", "最新", "前回", "いちばん新しい", "一番新しい", "最後に", "このごろ"];

/// Words for days and weeks around today, with the first and the last day counted from today.
const AROUND_TODAY: [(&str, i64); 11] = [
    ("一昨日", -2),
    ("おととい", -2),
    ("昨日", -1),
    ("きのう", -1),
    ("昨夜", -1),
    ("本日", 0),
    ("今日", 0),
    ("明後日", 2),
    ("あさって", 2),
    ("明日", 1),
    ("あした", 1),
];

/// Words for weeks, counted from this one.
const WEEKS: [(&str, i64); 4] = [("先々週", -2), ("先週", -1), ("今週", 0), ("来週", 1)];

/// Words for months, counted from this one.
const MONTHS: [(&str, i32); 5] = [("先々月", -2), ("先月", -1), ("今月", 0), ("来月", 1), ("再来月", 2)];

/// The word for the newest records that `question` holds, if any.
pub(super) fn newest(question: &str) -> Option<&'static str> {
    NEWEST.into_iter().find(|word| question.contains(word))
}

/// The days of `question`, asked on `today`, in the order of its words.
pub(super) fn spans(question: &str, today: Date) -> Vec<Span> {
    let text = half_width(question);
    let mut found: Vec<(usize, Span)> = Vec::new();
    let mut rest = 0;
    while rest < text.len() {
        let Some(tail) = text.get(rest..) else { break };
        match at_start(tail, today, before(&text, rest)) {
            Some((length, first, last)) => {
                found.push((rest, Span { phrase: tail[..length].to_owned(), first, last }));
                rest += length;
            }
            None => rest += tail.chars().next().map_or(1, char::len_utf8),
        }
    }
    found.into_iter().map(|(_, span)| span).collect()
}

/// The character before `at`.
fn before(text: &str, at: usize) -> Option<char> {
    text.get(..at)?.chars().next_back()
}

/// The span that `text` begins with, and its length in bytes.
fn at_start(text: &str, today: Date, before: Option<char>) -> Option<(usize, Date, Date)> {
    words(text, today).or_else(|| match before {
        // A number goes on to the left: 2/13 in 112/13 is no day.
        Some(before) if before.is_ascii_digit() || matches!(before, '/' | '-' | '.') => None,
        _ => ago(text, today).or_else(|| calendar(text, today)),
    })
}

/// 昨日, 先週, 先週の月曜, 先月.
fn words(text: &str, today: Date) -> Option<(usize, Date, Date)> {
    if let Some((word, days)) = AROUND_TODAY.iter().find(|(word, _)| text.starts_with(word)) {
        let day = today.checked_add(Duration::days(*days))?;
        return Some((word.len(), day, day));
    }
    if let Some((word, weeks)) = WEEKS.iter().find(|(word, _)| text.starts_with(word)) {
        let monday = i64::from(today.weekday().number_days_from_monday());
        let first = today.checked_add(Duration::days(7 * weeks - monday))?;
        let rest = &text[word.len()..];
        let (of, rest) = rest.strip_prefix('の').map_or((0, rest), |rest| ('の'.len_utf8(), rest));
        return match weekday(rest) {
            Some((length, weekday)) => {
                let day = first.checked_add(Duration::days(i64::from(weekday.number_days_from_monday())))?;
                Some((word.len() + of + length, day, day))
            }
            None => Some((word.len(), first, first.checked_add(Duration::days(6))?)),
        };
    }
    let (word, months) = MONTHS.iter().find(|(word, _)| text.starts_with(word))?;
    let number = today.year() * 12 + i32::from(u8::from(today.month())) - 1 + months;
    let (first, last) = month(number.div_euclid(12), u32::try_from(number.rem_euclid(12) + 1).ok()?)?;
    Some((word.len(), first, last))
}

/// 月曜 and the like, with 日 or without.
fn weekday(text: &str) -> Option<(usize, Weekday)> {
    let mut characters = text.chars();
    let weekday = match characters.next()? {
        '月' => Weekday::Monday,
        '火' => Weekday::Tuesday,
        '水' => Weekday::Wednesday,
        '木' => Weekday::Thursday,
        '金' => Weekday::Friday,
        '土' => Weekday::Saturday,
        '日' => Weekday::Sunday,
        _ => return None,
    };
    (characters.next()? == '曜').then_some(())?;
    let day = characters.next() == Some('日');
    Some((if day { "月曜日".len() } else { "月曜".len() }, weekday))
}

/// 3日前, 2週間前, 1か月前: a day, or that many weeks or months up to today.
fn ago(text: &str, today: Date) -> Option<(usize, Date, Date)> {
    let (digits, count) = number(text, 1, 3)?;
    let rest = &text[digits..];
    for (unit, days) in
        [("日前", 1), ("週間前", 7), ("週前", 7), ("か月前", 30), ("ヶ月前", 30), ("カ月前", 30)]
    {
        if rest.starts_with(unit) {
            let middle = today.checked_sub(Duration::days(i64::from(count) * days))?;
            // A day is a day; weeks and months are said loosely.
            let around = Duration::days(days / 2);
            let first = middle.checked_sub(around)?;
            return Some((digits + unit.len(), first, middle.checked_add(around)?));
        }
    }
    None
}

/// 2026年10月20日, 令和8年10月, 10月20日, 10月, 2026-10-20, 2026/10/20, 10/20.
fn calendar(text: &str, today: Date) -> Option<(usize, Date, Date)> {
    let (mut at, year) = match year(text) {
        Some((length, year)) => (length, Some(year)),
        None => (0, None),
    };
    let (digits, month_number) = number(&text[at..], 1, 2)?;
    at += digits;
    let sign = text[at..].chars().next()?;
    at += sign.len_utf8();
    let rest = &text[at..];
    match sign {
        '月' => {
            let day = number(rest, 1, 2).filter(|(digits, _)| rest[*digits..].starts_with('日'));
            match day {
                Some((digits, day)) => {
                    let date = nearest(year, month_number, day, today)?;
                    Some((at + digits + '日'.len_utf8(), date, date))
                }
                // 3月分, 10月に; 6月間 and 3月前 are lengths.
                None if rest.starts_with(['間', '前', '後']) => None,
                None => {
                    let first = nearest(year, month_number, 1, today)?;
                    let (first, last) = month(first.year(), u32::from(u8::from(first.month())))?;
                    Some((at, first, last))
                }
            }
        }
        '/' | '-' => {
            let (digits, day) = number(rest, 1, 2)?;
            // 120/80 is a blood pressure; 1/2 may be a half, so a day without a year and a month needs both to fit.
            let over = rest[digits..].chars().next();
            if over.is_some_and(|next| next.is_ascii_alphanumeric() || matches!(next, '/' | '-' | '.' | '%'))
            {
                return None;
            }
            if year.is_none() && sign == '-' {
                return None;
            }
            let date = nearest(year, month_number, day, today)?;
            Some((at + digits, date, date))
        }
        _ => None,
    }
}

/// A year at the start of `text` with the sign behind it: 2026年, 令和8年, R8年, 2026-, 2026/.
fn year(text: &str) -> Option<(usize, i32)> {
    for era in ["令和", "R", "r"] {
        if let Some(rest) = text.strip_prefix(era) {
            let (digits, count) = match rest.strip_prefix('元') {
                Some(_) => ('元'.len_utf8(), 1),
                None => number(rest, 1, 2)?,
            };
            let sign = rest[digits..].chars().next().filter(|sign| matches!(sign, '年' | '.' | '/'))?;
            return Some((era.len() + digits + sign.len_utf8(), 2018 + i32::try_from(count).ok()?));
        }
    }
    let (digits, year) = number(text, 4, 4)?;
    let sign = text[digits..].chars().next().filter(|sign| matches!(sign, '年' | '-' | '/'))?;
    Some((digits + sign.len_utf8(), i32::try_from(year).ok()?))
}

/// Digits at the start of `text`, `least` to `most` of them and no more: how many, and their number.
fn number(text: &str, least: usize, most: usize) -> Option<(usize, u32)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (least..=most).contains(&digits).then(|| text[..digits].parse().ok().map(|number| (digits, number)))?
}

/// The day in `year`, or, without one, the one that is nearest before `today` or not far ahead.
fn nearest(year: Option<i32>, month: u32, day: u32, today: Date) -> Option<Date> {
    let (month, day) = (Month::try_from(u8::try_from(month).ok()?).ok()?, u8::try_from(day).ok()?);
    if let Some(year) = year {
        return Date::from_calendar_date(year, month, day).ok();
    }
    // 29 February is a day of some years only.
    let latest = today.checked_add(AHEAD)?;
    (0..8).find_map(|back| {
        let year = latest.year() - back;
        Date::from_calendar_date(year, month, day).ok().filter(|date| *date <= latest)
    })
}

/// The first and the last day of a month.
fn month(year: i32, month: u32) -> Option<(Date, Date)> {
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let first = Date::from_calendar_date(year, month, 1).ok()?;
    Some((first, Date::from_calendar_date(year, month, month.length(year)).ok()?))
}

/// Digits and signs of full width become those of half width.
fn half_width(text: &str) -> String {
    let fold = |char: char| match char {
        '０'..='９' => char::from_u32(char as u32 - '０' as u32 + '0' as u32).unwrap_or(char),
        '／' => '/',
        '－' | '‐' => '-',
        other => other,
    };
    text.chars().map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::date;

    /// Wednesday.
    const TODAY: Date = date!(2026 - 11 - 25);

    fn found(question: &str) -> Vec<String> {
        spans(question, TODAY)
            .iter()
            .map(|span| format!("{} {} {}", span.phrase, span.first, span.last))
            .collect()
    }

    #[test]
    fn days_of_the_calendar_are_read_in_every_way_of_writing() {
        for (question, expected) in [
            ("10月20日の体温", "10月20日 2026-10-20 2026-10-20"),
            ("１０月２０日の体温", "10月20日 2026-10-20 2026-10-20"),
            ("10/20の訪問", "10/20 2026-10-20 2026-10-20"),
            ("2025年3月1日", "2025年3月1日 2025-03-01 2025-03-01"),
            ("2025-03-01は", "2025-03-01 2025-03-01 2025-03-01"),
            ("令和8年10月の計画", "令和8年10月 2026-10-01 2026-10-31"),
            ("R7.4/1", "R7.4/1 2025-04-01 2025-04-01"),
            ("12月24日の予定", "12月24日 2026-12-24 2026-12-24"),
            ("3月の記録", "3月 2026-03-01 2026-03-31"),
            ("2月29日", "2月29日 2024-02-29 2024-02-29"),
        ] {
            assert_eq!(found(question), [expected], "{question}");
        }
    }

    #[test]
    fn words_for_days_weeks_and_months_count_from_today_in_japan() {
        for (question, expected) in [
            ("昨日の様子", "昨日 2026-11-24 2026-11-24"),
            ("一昨日から", "一昨日 2026-11-23 2026-11-23"),
            ("先週の訪問", "先週 2026-11-16 2026-11-22"),
            ("先週の金曜日に", "先週の金曜日 2026-11-20 2026-11-20"),
            ("来週月曜は", "来週月曜 2026-11-30 2026-11-30"),
            ("先月の体重", "先月 2026-10-01 2026-10-31"),
            ("3日前の転倒", "3日前 2026-11-22 2026-11-22"),
            ("2週間前", "2週間前 2026-11-08 2026-11-14"),
        ] {
            assert_eq!(found(question), [expected], "{question}");
        }
        assert_eq!(newest("直近の体重は"), Some("直近"));
        assert_eq!(newest("体重は"), None);
    }

    #[test]
    fn numbers_that_are_no_days_are_left_alone() {
        for question in
            ["血圧120/80", "13月1日", "2/30", "5mg", "6月間", "1-2錠", "10/20/30", "体温38.5", "1/2%"]
        {
            assert_eq!(found(question), Vec::<String>::new(), "{question}");
        }
    }

    proptest! {
        #[test]
        fn no_question_makes_it_panic_and_spans_are_in_order(
            text in "[0-9０-９/年月日令和R元先今来週前曜か昨の-]{0,16}", days in -400_000i64..400_000,
        ) {
            let today = TODAY.checked_add(Duration::days(days)).unwrap_or(TODAY);
            for span in spans(&text, today) {
                prop_assert!(span.first <= span.last);
            }
        }
    }
}

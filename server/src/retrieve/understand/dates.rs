//! The days that a question speaks of, by the calendar of Japan.
//!
//! 10月20日, 10/20, 2026-10-20, 令和8年10月, 昨年10月, 昨日, 先週, 先月20日, 三日前, 5月, 10月上旬: each becomes a span of days; から and
//! まで open it. A day without a year is the last one that came, or one that comes within [`AHEAD`], further ahead where the
//! question speaks of plans. Weeks begin on Monday. 最近, 直近, 最新 and 前回 ask for the newest.

use serde::Serialize;
use time::format_description::BorrowedFormatItem;
use time::macros::{date, format_description};
use time::{Date, Duration};

use karute_engine::words::half_width;

use super::calendar;
use crate::numerals::{self, numeral};

/// How far ahead a day without a year may lie, else the year before is meant; and how far where a question speaks of plans.
const AHEAD: Duration = Duration::days(31);
const PLANNED: Duration = Duration::days(183);

/// 10月20日頃 is so many days before and after it, too.
const AROUND: Duration = Duration::days(3);

/// Days that a question may speak of: each is searched apart.
const MOST_SPANS: usize = 8;

/// Before every record.
const LONG_AGO: Date = date!(1900 - 01 - 01);

/// Words by which a question speaks of what is to come.
const PLANS: [&str; 7] = ["予定", "次回", "今度", "これから", "来年", "期限", "更新"];

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
        parsed(day).is_some_and(|day| self.first <= day && day <= self.last)
    }
}

/// Whether a text that was written on `day` is of one of these days, or speaks of one.
pub(crate) fn any_in(spans: &[Span], text: &str, day: &str) -> bool {
    if spans.iter().any(|span| span.holds(day)) {
        return true;
    }
    let Some(written) = parsed(day) else { return false };
    let spoken = read(&folded(text), written, PLANNED);
    let within =
        |span: &Span| spoken.iter().any(|(_, said)| said.first >= span.first && said.last <= span.last);
    spans.iter().any(within)
}

fn parsed(day: &str) -> Option<Date> {
    const WRITTEN: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
    Date::parse(day, WRITTEN).ok()
}

/// Words for the newest records.
const NEWEST: [&str; 8] =
    ["最近", "直近", "最新", "前回", "いちばん新しい", "一番新しい", "最後に", "このごろ"];

/// The word for the newest records that `question` holds, if any.
pub(super) fn newest(question: &str) -> Option<&'static str> {
    NEWEST.into_iter().find(|word| question.contains(word))
}

/// The days of `question`, asked on `today`, in the order of its words, and the question without the words for them.
pub(super) fn spans(question: &str, today: Date) -> (Vec<Span>, String) {
    let (found, rest) = apart(question, today);
    let asks = !found.is_empty() && rest.chars().any(char::is_alphanumeric);
    let rest = if asks { rest.trim().to_owned() } else { question.to_owned() };
    let mut spans: Vec<Span> = Vec::new();
    for span in found {
        if spans.len() < MOST_SPANS
            && !spans.iter().any(|known| (known.first, known.last) == (span.first, span.last))
        {
            spans.push(span);
        }
    }
    (spans, rest)
}

/// `question` without the words for its days, of which nothing may be left.
pub(super) fn without(question: &str, today: Date) -> String {
    apart(question, today).1
}

/// The days of `question`, and what is left of it, folded.
fn apart(question: &str, today: Date) -> (Vec<Span>, String) {
    let ahead = if PLANS.iter().any(|word| question.contains(word)) { PLANNED } else { AHEAD };
    let text = folded(question);
    let mut found = read(&text, today, ahead);
    // The day after what a question speaks of, not after today.
    found.retain(|(_, span)| span.phrase != "翌日");
    let (mut rest, mut at) = (String::with_capacity(text.len()), 0);
    for (start, span) in &found {
        rest.push_str(text.get(at..*start).unwrap_or_default());
        rest.push(' ');
        at = start + span.phrase.len();
    }
    rest.push_str(&text[at..]);
    (found.into_iter().map(|(_, span)| span).collect(), rest)
}

/// The days of `text`, which is folded, each with the byte where it begins.
fn read(text: &str, today: Date, ahead: Duration) -> Vec<(usize, Span)> {
    let mut found: Vec<(usize, Span)> = Vec::new();
    let mut rest = 0;
    while rest < text.len() {
        let (before, tail) = text.split_at(rest);
        match calendar::at_start(tail, before, today, ahead) {
            Some((length, first, last)) => {
                found.push((rest, Span { phrase: tail[..length].to_owned(), first, last }));
                rest += length;
            }
            None => rest += tail.chars().next().map_or(1, char::len_utf8),
        }
    }
    let mut joined: Vec<(usize, Span)> = Vec::with_capacity(found.len());
    let mut found = found.into_iter().peekable();
    while let Some((start, span)) = found.next() {
        let end = start + span.phrase.len();
        let next = found.peek().map(|(at, next)| (at - end, next));
        let span = match range(&text[end..], &span, next) {
            Some((length, last, with_next)) => {
                if with_next {
                    found.next();
                }
                Span { phrase: text[start..end + length].to_owned(), last, ..span }
            }
            None => opened(span, &text[end..], today),
        };
        let mut end = start + span.phrase.len();
        joined.push((start, span));
        // 10月7日と14日, 10月7日、8日.
        while let Some((skipped, more)) = joined.last().and_then(|(_, span)| also(&text[end..], span))
            && found.peek().is_none_or(|(at, span)| {
                // 14日の訪問 was taken for a day of its own.
                *at >= end + skipped + more.phrase.len()
                    || (*at, &span.phrase) == (end + skipped, &more.phrase)
            })
        {
            let at = end + skipped;
            found.next_if(|(found, _)| *found == at);
            end = at + more.phrase.len();
            joined.push((at, more));
        }
    }
    joined
}

/// Another day of the same month behind one: how far behind it begins, and which.
fn also(after: &str, span: &Span) -> Option<(usize, Span)> {
    let sign = ["と", "、", ",", "・", "や", "，"].into_iter().find(|sign| after.starts_with(sign))?;
    if span.first != span.last || !span.phrase.ends_with('日') || !span.phrase.contains('月') {
        return None;
    }
    let rest = &after[sign.len()..];
    let (digits, day) = calendar::number_at(rest, 1, 2)?;
    let behind = rest[digits..].strip_prefix('日')?;
    let first = span.first.replace_day(u8::try_from(day).ok()?).ok()?;
    let phrase = rest[..digits + '日'.len_utf8()].to_owned();
    (!behind.starts_with(LENGTHS)).then_some((sign.len(), Span { phrase, first, last: first }))
}

/// What makes a length of 3日, or another day.
const LENGTHS: [char; 12] = ['間', '前', '後', '分', '目', '生', 'ぶ', '連', '続', 'お', 'ご', '以'];

/// What makes a range of the days before it and the day behind it: its length in `after`, its last day, and whether that is the
/// `next` phrase, so many bytes behind. 10月1日から10月5日, 10/1〜10/5, 10月1日から5日まで.
fn range(after: &str, span: &Span, next: Option<(usize, &Span)>) -> Option<(usize, Date, bool)> {
    let sign = ["から", "〜", "～", "~", "→"].into_iter().find(|sign| after.starts_with(sign))?;
    let rest = &after[sign.len()..];
    let next = next.filter(|(behind, _)| *behind == sign.len());
    // 10月1日から5日まで, 10/20〜25日: of the same month.
    if let Some((digits, day)) = calendar::number_at(rest, 1, 2)
        && let Some(unit) = rest[digits..].strip_prefix('日')
    {
        let last = span.first.replace_day(u8::try_from(day).ok()?).ok()?;
        let is_day = last >= span.first && !unit.starts_with(LENGTHS);
        return is_day.then_some((after.len() - unit.len(), last, next.is_some()));
    }
    if let Some((_, next)) = next {
        let length = sign.len() + next.phrase.len();
        // 12月20日から1月5日まで goes over the new year.
        let later = || next.last.replace_year(next.last.year() + 1).ok();
        let last = if next.last < span.first { later()? } else { next.last };
        return (last >= span.first).then_some((length, last, true));
    }
    // 10月上旬〜中旬.
    let of_a_month = span.phrase.ends_with(['旬', '半', 'め', '月']);
    let part = of_a_month.then(|| calendar::part(rest, span.first, calendar::month_of(span.first))).flatten();
    let (length, _, last) = part?;
    (last >= span.first).then_some((sign.len() + length, last, false))
}

/// 9月から reaches to today, 9月まで from long ago.
fn opened(span: Span, after: &str, today: Date) -> Span {
    let since = ["から", "以降", "以来", "以後", "より"].iter().any(|word| after.starts_with(word))
        && !after.starts_with("より前")
        && !after.starts_with("より以前");
    let until = ["まで", "以前", "より前", "より以前"].iter().any(|word| after.starts_with(word))
        && !after.starts_with("までに");
    match (since, until) {
        (true, _) => Span { last: span.last.max(today), ..span },
        (_, true) => Span { first: LONG_AGO, ..span },
        // Around that day.
        _ if after.starts_with("頃") || after.starts_with("ごろ") => Span {
            first: span.first.checked_sub(AROUND).unwrap_or(span.first),
            last: span.last.checked_add(AROUND).unwrap_or(span.last),
            ..span
        },
        _ => span,
    }
}

/// Digits and signs of full width become those of half width, numerals of kanji before a unit of time digits; spaces between a
/// number and 月 or 日 vanish.
fn folded(text: &str) -> String {
    let written: Vec<char> = text.chars().collect();
    let half: Vec<char> = written
        .iter()
        .map(|&char| match char {
            '０'..='９' | '／' | '－' | '．' => half_width(char),
            '−' | '–' => '-',
            '‐' => '-',
            'ヵ' | 'カ' | 'ケ' | 'ヶ' | '箇' => 'か',
            other => other,
        })
        .collect();
    let mut folded = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&char) = half.get(at) {
        let length = half[at..].iter().take_while(|c| numeral(**c).is_some()).count();
        let behind = half.get(at + length).copied();
        // 二三日 is two or three of them.
        let pair =
            |first: char, second: char| second != '十' && numeral(second) == numeral(first).map(|n| n + 1);
        if length == 2 && pair(half[at], half[at + 1]) {
            folded.extend(&written[at..at + 2]);
            at += 2;
            continue;
        }
        if (1..=4).contains(&length)
            && behind.is_some_and(|c| matches!(c, '日' | '月' | '年' | '週' | 'か'))
            && let Some(value) =
                numerals::number(&half[at..at + length]).filter(|value| (1..100).contains(value))
        {
            folded.push_str(&value.to_string());
            at += length;
            continue;
        }
        let between = char == ' '
            && folded.ends_with(|c: char| c.is_ascii_digit() || matches!(c, '月' | '年'))
            && half.get(at + 1).is_some_and(|c| matches!(c, '月' | '日') || c.is_ascii_digit())
            && (half.get(at + 1).is_some_and(|c| !c.is_ascii_digit())
                || !folded.ends_with(|c: char| c.is_ascii_digit()));
        // 10/20-10/25 is a range, 2026-10-20 a day.
        if char == '-' && ends_with_a_day(&folded) && begins_with_a_day(&half[at + 1..]) {
            folded.push('〜');
            at += 1;
            continue;
        }
        if !between {
            // Only か月 is folded; other words keep their katakana.
            let counts = char == 'か' && folded.ends_with(|c: char| c.is_ascii_digit());
            folded.push(if char == 'か' && !counts { written[at] } else { char });
        }
        at += 1;
    }
    folded
}

/// Whether `text` ends with 10/20.
fn ends_with_a_day(text: &str) -> bool {
    let digits = |text: &str| text.bytes().rev().take_while(u8::is_ascii_digit).count();
    let day = digits(text);
    let Some(left) = text[..text.len() - day].strip_suffix('/') else { return false };
    let month = digits(left);
    let before = left[..left.len() - month].chars().next_back();
    (1..=2).contains(&day)
        && (1..=2).contains(&month)
        && !before.is_some_and(|c| matches!(c, '/' | '-' | '.'))
}

/// Whether `text` begins with 10/20.
fn begins_with_a_day(text: &[char]) -> bool {
    let digits = |text: &[char]| text.iter().take_while(|c| c.is_ascii_digit()).count();
    let month = digits(text);
    let day = text.get(month + 1..).map_or(0, digits);
    (1..=2).contains(&month) && text.get(month) == Some(&'/') && (1..=2).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Wednesday.
    const TODAY: Date = date!(2026 - 11 - 25);

    fn found(question: &str) -> Vec<String> {
        let spans = spans(question, TODAY).0;
        spans.iter().map(|span| format!("{} {} {}", span.phrase, span.first, span.last)).collect()
    }

    #[test]
    fn days_of_the_calendar_are_read_in_every_way_of_writing() {
        for (question, expected) in [
            ("10月20日の体温", "10月20日 2026-10-20 2026-10-20"),
            ("１０月２０日の体温", "10月20日 2026-10-20 2026-10-20"),
            ("10 月 20 日の体温", "10月20日 2026-10-20 2026-10-20"),
            ("十月二十日の体温", "10月20日 2026-10-20 2026-10-20"),
            ("10/20の訪問", "10/20 2026-10-20 2026-10-20"),
            ("2025年3月1日", "2025年3月1日 2025-03-01 2025-03-01"),
            ("2025-03-01は", "2025-03-01 2025-03-01 2025-03-01"),
            ("2026.10.20の記録", "2026.10.20 2026-10-20 2026-10-20"),
            ("令和8年10月の計画", "令和8年10月 2026-10-01 2026-10-31"),
            ("平成30年4月の入院", "平成30年4月 2018-04-01 2018-04-30"),
            ("H30.4.1に", "H30.4.1 2018-04-01 2018-04-01"),
            ("R7.4/1", "R7.4/1 2025-04-01 2025-04-01"),
            ("12月24日の予定", "12月24日 2026-12-24 2026-12-24"),
            ("2月20日の次回予定", "2月20日 2027-02-20 2027-02-20"),
            ("1月20日の様子", "1月20日 2026-01-20 2026-01-20"),
            ("3月の記録", "3月 2026-03-01 2026-03-31"),
            ("2月29日", "2月29日 2024-02-29 2024-02-29"),
            ("10月上旬の記録", "10月上旬 2026-10-01 2026-10-10"),
            ("10月後半の記録", "10月後半 2026-10-16 2026-10-31"),
            ("10月末の体重", "10月末 2026-10-25 2026-10-31"),
            ("10月20日頃の様子", "10月20日 2026-10-17 2026-10-23"),
            ("2024年の入院", "2024年 2024-01-01 2024-12-31"),
            ("令和6年の入院", "令和6年 2024-01-01 2024-12-31"),
            ("2024年度の計画", "2024年度 2024-04-01 2025-03-31"),
            ("10月1日から10月5日までの体温", "10月1日から10月5日 2026-10-01 2026-10-05"),
            ("10月1日から5日まで", "10月1日から5日 2026-10-01 2026-10-05"),
            ("10/1〜10/5の体温", "10/1〜10/5 2026-10-01 2026-10-05"),
            ("9月から11月まで", "9月から11月 2026-09-01 2026-11-30"),
            ("12月20日から1月5日まで", "12月20日から1月5日 2026-12-20 2027-01-05"),
            ("10/20-10/25の体温", "10/20〜10/25 2026-10-20 2026-10-25"),
            ("10〜11月の体重", "10〜11月 2026-10-01 2026-11-30"),
            ("10月1〜5日の体温", "10月1〜5日 2026-10-01 2026-10-05"),
            ("10月上旬〜中旬の様子", "10月上旬〜中旬 2026-10-01 2026-10-20"),
            ("10月1日より内服", "10月1日 2026-10-01 2026-11-25"),
            ("10月1日より前の様子", "10月1日 1900-01-01 2026-10-01"),
            ("10月1日から5日の体温は", "10月1日から5日 2026-10-01 2026-10-05"),
            ("9月28日から30日の記録", "9月28日から30日 2026-09-28 2026-09-30"),
            ("10/20〜25日の体温", "10/20〜25日 2026-10-20 2026-10-25"),
            ("10月から末梢点滴を始めた方は", "10月 2026-10-01 2026-11-25"),
            ("10/20に増量した薬", "10/20 2026-10-20 2026-10-20"),
            ("10月20日生食で洗浄した方", "10月20日 2026-10-20 2026-10-20"),
            ("28日の訪問予定は誰ですか", "28日 2026-11-28 2026-11-28"),
            ("20日の訪問予定は誰ですか", "20日 2026-12-20 2026-12-20"),
            ("昨日、3日ぶりに排便があった方", "昨日 2026-11-24 2026-11-24"),
            ("20日の訪問は誰ですか", "20日 2026-11-20 2026-11-20"),
            ("28日の訪問記録", "28日 2026-10-28 2026-10-28"),
            ("江口さんの3日前の様子", "3日前 2026-11-22 2026-11-22"),
        ] {
            assert_eq!(found(question), [expected], "{question}");
        }
    }

    #[test]
    fn words_for_days_weeks_months_and_years_count_from_today_in_japan() {
        for (question, expected) in [
            ("昨日の様子", "昨日 2026-11-24 2026-11-24"),
            ("一昨日から", "一昨日 2026-11-23 2026-11-25"),
            ("昨晩の様子", "昨晩 2026-11-24 2026-11-24"),
            ("今朝の体温", "今朝 2026-11-25 2026-11-25"),
            ("先週の訪問", "先週 2026-11-16 2026-11-22"),
            ("先先週の訪問", "先先週 2026-11-09 2026-11-15"),
            ("再来週の訪問", "再来週 2026-12-07 2026-12-13"),
            ("先週の金曜日に", "先週の金曜日 2026-11-20 2026-11-20"),
            ("来週月曜は", "来週月曜 2026-11-30 2026-11-30"),
            ("先月の体重", "先月 2026-10-01 2026-10-31"),
            ("先月20日の体重", "先月20日 2026-10-20 2026-10-20"),
            ("今月10日は", "今月10日 2026-11-10 2026-11-10"),
            ("昨年10月の入院", "昨年10月 2025-10-01 2025-10-31"),
            ("去年の10月20日", "去年の10月20日 2025-10-20 2025-10-20"),
            ("去年の入院", "去年 2025-01-01 2025-12-31"),
            ("3日前の転倒", "3日前 2026-11-22 2026-11-22"),
            ("三日前の転倒", "3日前 2026-11-22 2026-11-22"),
            ("2週間前", "2週間前 2026-11-08 2026-11-14"),
            ("一週間前の記録", "1週間前 2026-11-15 2026-11-21"),
            ("1ヵ月前の体重", "1か月前 2026-10-11 2026-11-10"),
            ("9月からの体重", "9月 2026-09-01 2026-11-25"),
            ("再来年の予定", "再来年 2028-01-01 2028-12-31"),
            ("しあさっての訪問", "しあさって 2026-11-28 2026-11-28"),
            ("今年度の計画", "今年度 2026-04-01 2027-03-31"),
            ("昨年末の様子", "昨年末 2025-12-16 2025-12-31"),
            ("先週末の様子", "先週末 2026-11-21 2026-11-22"),
            ("この1週間の体温", "この1週間 2026-11-18 2026-11-25"),
            ("ここ3か月の体重", "ここ3か月 2026-08-27 2026-11-25"),
            ("直近1週間の血圧", "直近1週間 2026-11-18 2026-11-25"),
            ("過去3か月間の入院", "過去3か月間 2026-08-27 2026-11-25"),
            ("最近3日間の熱", "最近3日間 2026-11-22 2026-11-25"),
        ] {
            assert_eq!(found(question), [expected], "{question}");
        }
        assert_eq!(found("半年前の様子").len(), 1);
        assert_eq!(found("1年前の様子").len(), 1);
        assert_eq!(newest("直近の体重は"), Some("直近"));
        assert_eq!(newest("体重は"), None);
    }

    #[test]
    fn what_is_no_day_is_left_alone() {
        for question in [
            "血圧120/80",
            "13月1日",
            "2/30",
            "5mg",
            "6月間",
            "1-2錠",
            "10/20/30",
            "体温38.5",
            "1/2%",
            "食事2/3",
            "主食1/2摂取",
            "MMT 4/5",
            "20日前後",
            "明日香さんの体温",
            "嚥下きのうの評価",
            "みやけさんの酸素流量は",
            "だいすけさんの体温",
            "歯みがきのうがいは",
            "背中だけさする",
            "明日菜さんの体温",
            "転倒の翌日の体温",
            "痛みはNRS 5/10でしたか",
            "HDS-R 12/30点",
            "昭和20年生まれ",
            "2024年間",
            "二日に一回の排便",
            "十分な量",
            "1938年5月1日生まれの方は",
            "昭和13年5月1日生",
            "1/2に減量した薬",
            "退院の2週間前の様子",
            "手術の3日前",
            "五月さんの体重",
            "3日に1回の排便",
            "1日の水分量",
            "20日分の薬",
            "ここ2、3日の体温は",
            "ここ二三日の体温は",
            "ここ2〜3日の様子は",
            "2泊3日の予定は",
            "術後3日の体温は",
        ] {
            assert_eq!(found(question), Vec::<String>::new(), "{question}");
        }
    }

    #[test]
    fn several_days_of_a_month_are_several_days() {
        let days = |first, second| vec![format!("10月7日 2026-10-{first}"), second];
        for question in ["10月7日と14日の体温", "10月7日、14日の体温"] {
            let expected = days("07 2026-10-07", "14日 2026-10-14 2026-10-14".to_owned());
            assert_eq!(found(question), expected, "{question}");
        }
        assert_eq!(found("10月7日と14日間の入院"), ["10月7日 2026-10-07 2026-10-07"]);
    }

    #[test]
    fn a_question_is_searched_for_without_its_days() {
        assert_eq!(spans("江口さんの先月の熱は", TODAY).1, "江口さんの の熱は");
        assert_eq!(spans("昨日？", TODAY).1, "昨日？");
    }

    #[test]
    fn a_text_speaks_of_the_days_that_it_names() {
        let (spans, _) = spans("10月20日の予定", TODAY);
        assert!(any_in(&spans, "次回の交換は10月20日14時。", "2026-10-05"));
        assert!(any_in(&spans, "明日カテーテル交換。", "2026-10-19"));
        assert!(!any_in(&spans, "次回の交換は10月20日14時。", "2025-10-05"));
        assert!(!any_in(&spans, "交換は10月27日。", "2026-10-05"));
    }

    proptest! {
        #[test]
        fn no_question_makes_it_panic_and_spans_are_in_order(
            text in "[0-9０-９/年月日令和平成RH.元先今来去昨再週前後曜か半の一二十三朝晩きのう ヶ-]{0,16}", days in -400_000i64..400_000,
        ) {
            let today = TODAY.checked_add(Duration::days(days)).unwrap_or(TODAY);
            for span in spans(&text, today).0 {
                prop_assert!(span.first <= span.last);
            }
        }
    }
}

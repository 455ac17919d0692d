//! Words and signs for days, one at a time.

use time::{Date, Duration, Month, Weekday};

use super::names::is_kanji;
use crate::numerals::ERAS;

/// The length of a phrase in bytes, its first day and its last.
type Found = Option<(usize, Date, Date)>;

/// Words for days around today, with the days counted from today.
const AROUND_TODAY: [(&str, i64); 19] = [
    ("一昨日", -2),
    ("おととい", -2),
    ("昨日", -1),
    ("きのう", -1),
    ("昨夜", -1),
    ("昨晩", -1),
    ("ゆうべ", -1),
    ("本日", 0),
    ("今日", 0),
    ("今朝", 0),
    ("けさ", 0),
    ("今夜", 0),
    ("今晩", 0),
    ("明後日", 2),
    ("しあさって", 3),
    ("あさって", 2),
    ("明日", 1),
    ("あした", 1),
    ("翌日", 1),
];

/// What makes another word of one for a day: みやけさん, 背中だけさする, 歯みがきのうがい.
const NOT_BEHIND: [(&str, &str); 5] =
    [("けさ", "ん"), ("けさ", "す"), ("けさ", "ま"), ("きのう", "がい"), ("あした", "ば")];

/// Words for weeks, counted from this one.
const WEEKS: [(&str, i64); 6] =
    [("先々週", -2), ("先先週", -2), ("再来週", 2), ("先週", -1), ("今週", 0), ("来週", 1)];

/// Words for months, counted from this one.
const MONTHS: [(&str, i32); 6] =
    [("先々月", -2), ("先先月", -2), ("再来月", 2), ("先月", -1), ("今月", 0), ("来月", 1)];

/// Words for years, counted from this one.
const YEARS: [(&str, i32); 7] =
    [("再来年", 2), ("一昨年", -2), ("おととし", -2), ("昨年", -1), ("去年", -1), ("今年", 0), ("来年", 1)];

/// Parts of a month, with their first and last day.
const PARTS: [(&str, u8, u8); 8] = [
    ("上旬", 1, 10),
    ("中旬", 11, 20),
    ("下旬", 21, 31),
    ("前半", 1, 15),
    ("後半", 16, 31),
    ("初め", 1, 7),
    ("初旬", 1, 10),
    ("末", 25, 31),
];

/// Behind or before 2/3 these say that it is a share and no day.
const SHARES_BEFORE: [&str; 12] =
    ["食事", "主食", "副食", "食", "量", "摂取", "分", "約", "スコア", "スケール", "段階", "点"];
const SHARES_AFTER: [&str; 10] = ["摂取", "量", "程度", "杯", "くらい", "ほど", "以上", "以下", "点", "の量"];
/// Behind a small share these say what was done: 1/2に減量.
const CHANGED: [&str; 4] = ["に減", "に増", "に割", "に分"];

/// The days that `text` begins with; `before` stands to the left of it.
pub(super) fn at_start(text: &str, before: &str, today: Date, ahead: Duration) -> Found {
    let found = words(text, before, today).or_else(|| match before.chars().next_back() {
        // A number goes on to the left: 2/13 in 112/13 is no day.
        Some(last) if last.is_ascii_digit() || matches!(last, '/' | '-' | '.') => None,
        _ => ago(text, before, today)
            .or_else(|| months(text, today, ahead))
            .or_else(|| date(text, before, today, ahead))
            .or_else(|| day_alone(text, before, today, ahead))
            .or_else(|| year_alone(text))
            .or_else(|| until_today(text, today)),
    });
    // 5月1日生まれ is a person, and so is 五月さん; 生食 is a solution.
    found.filter(|(length, ..)| {
        let behind = &text[*length..];
        let born = behind.strip_prefix('生').is_some_and(|rest| !rest.starts_with(is_kanji));
        !born && !["さん", "さま", "ちゃん"].iter().any(|word| behind.starts_with(word))
    })
}

/// 昨日, 先週, 先週の月曜, 先月, 先月20日, 昨年10月.
fn words(text: &str, before: &str, today: Date) -> Found {
    if let Some((word, days)) = AROUND_TODAY.iter().find(|(word, _)| text.starts_with(word)) {
        let after = text[word.len()..].chars().next();
        // 明日香 is a name, みやけさん another, and 嚥下きのう a function.
        let rest = &text[word.len()..];
        let named = after.is_some_and(|c| {
            matches!(c, '香' | '葉' | '子' | '美' | '菜' | '奈' | '海' | '花' | '華' | '佳')
        });
        let named = named || NOT_BEHIND.iter().any(|(own, behind)| own == word && rest.starts_with(behind));
        let kana = word.starts_with(|c| matches!(c, 'ぁ'..='ゖ'));
        let joined = kana && before.ends_with(|c: char| matches!(c, '\u{4e00}'..='\u{9fff}' | 'ァ'..='ヺ'));
        if named || joined {
            return None;
        }
        let day = today.checked_add(Duration::days(*days))?;
        return Some((word.len(), day, day));
    }
    week(text, today).or_else(|| month_from_here(text, today)).or_else(|| year_from_here(text, today))
}

fn week(text: &str, today: Date) -> Found {
    let (word, weeks) = WEEKS.iter().find(|(word, _)| text.starts_with(word))?;
    let monday = i64::from(today.weekday().number_days_from_monday());
    let first = today.checked_add(Duration::days(7 * weeks - monday))?;
    if text[word.len()..].starts_with('末') {
        let day = |from_monday| first.checked_add(Duration::days(from_monday));
        return Some((word.len() + '末'.len_utf8(), day(5)?, day(6)?));
    }
    let (of, rest) = of(&text[word.len()..]);
    match weekday(rest) {
        Some((length, weekday)) => {
            let day = first.checked_add(Duration::days(i64::from(weekday.number_days_from_monday())))?;
            Some((word.len() + of + length, day, day))
        }
        None => Some((word.len(), first, first.checked_add(Duration::days(6))?)),
    }
}

fn month_from_here(text: &str, today: Date) -> Found {
    let (word, months) = MONTHS.iter().find(|(word, _)| text.starts_with(word))?;
    let number = today.year() * 12 + i32::from(u8::from(today.month())) - 1 + months;
    let (first, last) = month(number.div_euclid(12), u32::try_from(number.rem_euclid(12) + 1).ok()?)?;
    let (of, rest) = of(&text[word.len()..]);
    let day = number_at(rest, 1, 2)
        .filter(|(digits, _)| rest[*digits..].starts_with('日') && !rest[*digits..].starts_with("日間"));
    match day {
        Some((digits, day)) => {
            let day = first.replace_day(u8::try_from(day).ok()?).ok()?;
            Some((word.len() + of + digits + '日'.len_utf8(), day, day))
        }
        None => {
            let (length, first, last) =
                part(rest, first, last).map_or((0, first, last), |(l, f, t)| (of + l, f, t));
            Some((word.len() + length, first, last))
        }
    }
}

fn year_from_here(text: &str, today: Date) -> Found {
    let (word, years) = YEARS.iter().find(|(word, _)| text.starts_with(word))?;
    let after = &text[word.len()..];
    if after.starts_with('度') {
        // A business year begins in April.
        let begun = today.year() - i32::from(u8::from(today.month()) < 4);
        let (first, last) = business_year(begun + years)?;
        return Some((word.len() + '度'.len_utf8(), first, last));
    }
    let year = today.year() + years;
    if after.starts_with('末') {
        let first = Date::from_calendar_date(year, Month::December, 16).ok()?;
        return Some((word.len() + '末'.len_utf8(), first, whole_year(year)?.1));
    }
    let (of, rest) = of(after);
    match of_year(rest, year) {
        Some((length, first, last)) => Some((word.len() + of + length, first, last)),
        None => whole_year(year).map(|(first, last)| (word.len(), first, last)),
    }
}

fn whole_year(year: i32) -> Option<(Date, Date)> {
    let first = Date::from_calendar_date(year, Month::January, 1).ok()?;
    Some((first, Date::from_calendar_date(year, Month::December, 31).ok()?))
}

/// April to March.
fn business_year(year: i32) -> Option<(Date, Date)> {
    let first = Date::from_calendar_date(year, Month::April, 1).ok()?;
    Some((first, Date::from_calendar_date(year.checked_add(1)?, Month::March, 31).ok()?))
}

/// 2024年, 令和6年度: a year with neither month nor day.
fn year_alone(text: &str) -> Found {
    let (length, year) = year(text)?;
    let after = text[..length].ends_with('年').then(|| &text[length..])?;
    match after.chars().next() {
        Some('度') => business_year(year).map(|(first, last)| (length + '度'.len_utf8(), first, last)),
        // 2024年間 is a length, 昭和20年生まれ a person.
        Some('間' | '前' | '後' | '生' | '来' | '目' | '以' | '代' | '0'..='9') => None,
        _ => whole_year(year).map(|(first, last)| (length, first, last)),
    }
}

/// 10〜11月.
fn months(text: &str, today: Date, ahead: Duration) -> Found {
    let (digits, from) = number_at(text, 1, 2)?;
    let sign = text[digits..].chars().next().filter(|sign| matches!(sign, '〜' | '～' | '~' | '-'))?;
    let at = digits + sign.len_utf8();
    let (digits, to) = number_at(&text[at..], 1, 2)?;
    let at = at + digits;
    let rest = text[at..].strip_prefix('月')?;
    if rest.starts_with(['間', '前', '後'])
        || number_at(rest, 1, 2).is_some_and(|(n, _)| rest[n..].starts_with('日'))
    {
        return None;
    }
    let last = nearest(None, to, 1, today, ahead)?;
    let first = nearest(Some(last.year() - i32::from(from > to)), from, 1, today, ahead)?;
    Some((at + '月'.len_utf8(), first, month_of(last)))
}

/// What a visit or a record is called, behind the day of one.
const OF_A_DAY: [&str; 16] = [
    "訪問",
    "記録",
    "様子",
    "体温",
    "血圧",
    "体重",
    "予定",
    "電話",
    "相談",
    "バイタル",
    "状態",
    "午前",
    "午後",
    "夜",
    "朝",
    "夕",
];

/// As far ahead a day may lie of which a question speaks without a word of plans.
const USUAL: Duration = Duration::days(31);

/// 20日の訪問: the last twentieth that came, or, of a plan, the next one. 3日の入院 and 1日の水分量 are lengths.
fn day_alone(text: &str, before: &str, today: Date, ahead: Duration) -> Found {
    let (digits, day) = number_at(text, 1, 2)?;
    let rest = text[digits..].strip_prefix("日の")?;
    let counted = before
        .ends_with(['月', '、', ',', '〜', '～', '~', '-', '泊', '後', '前', '間', '約', '数', 'こ', '続']);
    if day == 1 || counted || !OF_A_DAY.iter().any(|word| rest.starts_with(word)) {
        return None;
    }
    let day = u8::try_from(day).ok()?;
    let of_this_month = today.replace_day(day).ok();
    let found = match ahead > USUAL {
        // Of a plan the next one.
        true => of_this_month
            .filter(|found| *found >= today)
            .or_else(|| month_of(today).next_day()?.replace_day(day).ok()),
        false => of_this_month
            .filter(|found| *found <= today)
            .or_else(|| today.replace_day(1).ok()?.previous_day()?.replace_day(day).ok()),
    }?;
    Some((digits + '日'.len_utf8(), found, found))
}

/// この1週間, ここ3か月, 直近1週間: up to today.
fn until_today(text: &str, today: Date) -> Found {
    let word = ["この", "ここ", "直近", "過去", "最近"].into_iter().find(|word| text.starts_with(word))?;
    let rest = &text[word.len()..];
    let (digits, count) = number_at(rest, 1, 2)?;
    let (unit, days) =
        [("週間", 7), ("か月間", 30), ("か月", 30), ("年間", 365), ("年", 365), ("日間", 1), ("日", 1)]
            .into_iter()
            .find(|(unit, _)| rest[digits..].starts_with(unit))?;
    let first = today.checked_sub(Duration::days(i64::from(count) * days))?;
    Some((word.len() + digits + unit.len(), first, today))
}

/// 10月20日 or 10月 of a year that is known.
fn of_year(text: &str, year: i32) -> Found {
    let (digits, number) = number_at(text, 1, 2)?;
    let rest = text[digits..].strip_prefix('月')?;
    let at = digits + '月'.len_utf8();
    match number_at(rest, 1, 2).filter(|(digits, _)| rest[*digits..].starts_with('日')) {
        Some((digits, day)) => {
            let month = Month::try_from(u8::try_from(number).ok()?).ok()?;
            let date = Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()?;
            Some((at + digits + '日'.len_utf8(), date, date))
        }
        None => {
            let (first, last) = month(year, number)?;
            let (length, first, last) = part(rest, first, last).unwrap_or((0, first, last));
            Some((at + length, first, last))
        }
    }
}

/// Bytes of a の, and what follows.
fn of(text: &str) -> (usize, &str) {
    text.strip_prefix('の').map_or((0, text), |rest| ('の'.len_utf8(), rest))
}

/// The last day of the month of `day`.
pub(super) fn month_of(day: Date) -> Date {
    day.replace_day(day.month().length(day.year())).unwrap_or(day)
}

/// 上旬 and the like behind a month.
pub(super) fn part(text: &str, first: Date, last: Date) -> Found {
    let (word, from, to) = PARTS.iter().find(|(word, ..)| text.starts_with(word))?;
    // 末梢, 末期 are no ends of a month.
    if *word == "末" && text[word.len()..].starts_with(['梢', '期', '端']) {
        return None;
    }
    Some((word.len(), first.replace_day(*from).ok()?, first.replace_day((*to).min(last.day())).ok()?))
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

/// What happens to a client, or is done.
const EVENTS: [&str; 22] = [
    "院",
    "術",
    "検査",
    "受診",
    "転倒",
    "骨折",
    "発症",
    "開始",
    "終了",
    "変更",
    "中止",
    "交換",
    "更新",
    "期限",
    "死亡",
    "逝去",
    "外来",
    "訪問",
    "予定",
    "予定日",
    "面談",
    "会議",
];

/// 3日前, 2週間前, 1か月前, 半年前: a day, or the days around one that is said loosely.
fn ago(text: &str, before: &str, today: Date) -> Found {
    // 退院の2週間前 counts from no day that is known.
    if before.strip_suffix('の').is_some_and(|event| EVENTS.iter().any(|word| event.ends_with(word))) {
        return None;
    }
    let (digits, count) = match text.strip_prefix('半') {
        Some(rest) if rest.starts_with("年前") => {
            let middle = today.checked_sub(Duration::days(182))?;
            let around = Duration::days(30);
            return Some(("半年前".len(), middle.checked_sub(around)?, middle.checked_add(around)?));
        }
        _ => number_at(text, 1, 3)?,
    };
    let rest = &text[digits..];
    for (unit, days) in [("日前", 1), ("週間前", 7), ("週前", 7), ("か月前", 30), ("年前", 365)] {
        // 20日前後 is around the twentieth.
        if rest.starts_with(unit) && !rest[unit.len()..].starts_with('後') {
            let middle = today.checked_sub(Duration::days(i64::from(count) * days))?;
            let around = Duration::days((days / 2).min(45));
            let first = middle.checked_sub(around)?;
            return Some((digits + unit.len(), first, middle.checked_add(around)?));
        }
    }
    None
}

/// 2026年10月20日, 令和8年10月, 10月20日, 10月, 2026-10-20, 2026/10/20, 2026.10.20, 10/20.
fn date(text: &str, before: &str, today: Date, ahead: Duration) -> Found {
    let (mut at, year) = match year(text) {
        Some((length, year)) => (length, Some(year)),
        None => (0, None),
    };
    let (digits, month_number) = number_at(&text[at..], 1, 2)?;
    at += digits;
    let sign = text[at..].chars().next()?;
    at += sign.len_utf8();
    let rest = &text[at..];
    match sign {
        '月' => match number_at(rest, 1, 2).filter(|(digits, _)| rest[*digits..].starts_with('日')) {
            Some((digits, day)) => {
                let date = nearest(year, month_number, day, today, ahead)?;
                Some((at + digits + '日'.len_utf8(), date, date))
            }
            // 10月1〜5日.
            None if let Some((length, from, to)) = days(rest) => {
                let first = nearest(year, month_number, from, today, ahead)?;
                let last = first.replace_day(u8::try_from(to).ok()?).ok().filter(|last| first <= *last)?;
                Some((at + length, first, last))
            }
            // 3月分, 10月に; 6月間 and 3月前 are lengths.
            None if rest.starts_with(['間', '前', '後']) && part(rest, today, today).is_none() => None,
            None => {
                let first = nearest(year, month_number, 1, today, ahead)?;
                let (first, last) = month(first.year(), u32::from(u8::from(first.month())))?;
                let (length, first, last) = part(rest, first, last).unwrap_or((0, first, last));
                Some((at + length, first, last))
            }
        },
        '/' | '-' | '.' => {
            let (digits, day) = number_at(rest, 1, 2)?;
            let over = &rest[digits..];
            let goes_on = |next: char| next.is_ascii_alphanumeric() || matches!(next, '/' | '-' | '.' | '%');
            if over.chars().next().is_some_and(goes_on) {
                return None;
            }
            if year.is_none() && (sign != '/' || is_share(before, month_number, day, over)) {
                return None;
            }
            let date = nearest(year, month_number, day, today, ahead)?;
            Some((at + digits, date, date))
        }
        _ => None,
    }
}

/// 1〜5日: its length in bytes and both numbers.
fn days(text: &str) -> Option<(usize, u32, u32)> {
    let (digits, from) = number_at(text, 1, 2)?;
    let sign = text[digits..].chars().next().filter(|sign| matches!(sign, '〜' | '～' | '~' | '-'))?;
    let at = digits + sign.len_utf8();
    let (digits, to) = number_at(&text[at..], 1, 2)?;
    let end = at + digits;
    text[end..].starts_with('日').then_some((end + '日'.len_utf8(), from, to))
}

/// Whether 2/3 is two thirds: 120/80 never gets here, since there is no such month.
fn is_share(before: &str, above: u32, below: u32, after: &str) -> bool {
    let before = before.trim_end().to_lowercase();
    // NRS 5/10, MMT 4/5, HDS-R 12/30: what stands behind letters is a score.
    let said = before.ends_with(|c: char| c.is_ascii_alphabetic())
        || SHARES_BEFORE.iter().any(|word| before.ends_with(word))
        || SHARES_AFTER.iter().any(|word| after.trim_start().starts_with(word));
    let said = said || above < below && below <= 5 && CHANGED.iter().any(|word| after.starts_with(word));
    // A small one is a day only where something belongs to it.
    said || above < below && below <= 5 && !after.starts_with(['の', 'に', 'か', 'は'])
}

/// A year at the start of `text` with the sign behind it: 2026年, 令和8年, R8., H30年, 2026-, 2026/, 2026.
fn year(text: &str) -> Option<(usize, i32)> {
    const LETTERS: [(&str, u32); 4] = [("R", 2018), ("r", 2018), ("H", 1988), ("S", 1925)];
    for (era, before) in ERAS.into_iter().chain(LETTERS) {
        if let Some(rest) = text.strip_prefix(era) {
            let (digits, count) = match rest.strip_prefix('元') {
                Some(_) => ('元'.len_utf8(), 1),
                None => number_at(rest, 1, 2)?,
            };
            let sign = rest[digits..].chars().next().filter(|sign| matches!(sign, '年' | '.' | '/'))?;
            return Some((era.len() + digits + sign.len_utf8(), i32::try_from(before + count).ok()?));
        }
    }
    let (digits, year) = number_at(text, 4, 4)?;
    let sign = text[digits..].chars().next().filter(|sign| matches!(sign, '年' | '-' | '/' | '.'))?;
    Some((digits + sign.len_utf8(), i32::try_from(year).ok()?))
}

/// Digits at the start of `text`, `least` to `most` of them and no more: how many, and their number.
pub(super) fn number_at(text: &str, least: usize, most: usize) -> Option<(usize, u32)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (least..=most).contains(&digits).then(|| text[..digits].parse().ok().map(|number| (digits, number)))?
}

/// The day in `year`, or, without one, the one that is nearest before `today` or not further `ahead`.
fn nearest(year: Option<i32>, month: u32, day: u32, today: Date, ahead: Duration) -> Option<Date> {
    let (month, day) = (Month::try_from(u8::try_from(month).ok()?).ok()?, u8::try_from(day).ok()?);
    if let Some(year) = year {
        return Date::from_calendar_date(year, month, day).ok();
    }
    // 29 February is a day of some years only.
    let latest = today.checked_add(ahead)?;
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

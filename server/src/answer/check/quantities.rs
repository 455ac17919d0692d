//! Numbers with their units, days and times of a text, in one form however they are written.

use time::Month;

use super::folded::{SPELT, folded};
use super::rates::{paces, rates};
use super::weekdays;

/// Something that is counted or measured, or a moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Quantity {
    /// A number with its unit, folded; the unit may be empty.
    Number { value: f64, unit: String },
    /// A day of the calendar, the year where it is said.
    Day { year: Option<u32>, month: u32, day: u32 },
    /// A time of the day in minutes from midnight, give or take so many; whether it may be meant by half the day's clock.
    Time { minutes: u32, within: u32, halved: bool },
    /// A month of any year.
    Month { month: u32 },
    /// How often in how many days.
    Rate { times: f64, days: u32 },
    /// How much in how many minutes.
    Pace { value: f64, minutes: u32 },
}

impl Quantity {
    /// Whether hardly two records hold it by chance.
    pub(super) fn is_telling(&self) -> bool {
        match self {
            Self::Number { value, .. } => *value >= 10.0 || value.fract() != 0.0,
            Self::Day { .. } | Self::Time { .. } | Self::Pace { .. } => true,
            Self::Month { .. } | Self::Rate { .. } => false,
        }
    }

    /// Whether a text that says this one also says `claimed`.
    pub(super) fn covers(&self, claimed: &Self) -> bool {
        match (self, claimed) {
            (Self::Number { value, unit }, Self::Number { value: other, unit: wanted }) => {
                let days = |unit: &str| unit == "日" || unit == "日間";
                let alike =
                    unit == wanted || wanted.is_empty() || unit.is_empty() || days(unit) && days(wanted);
                (value - other).abs() < 1e-9 && alike
            }
            // 2026年末, of a day in it.
            (Self::Day { year: Some(year), .. }, Self::Number { value, unit }) if unit == "年" => {
                (value - f64::from(*year)).abs() < 1e-9
            }
            (Self::Number { value, unit }, Self::Day { day, .. }) => {
                unit == "日" && (value - f64::from(*day)).abs() < 1e-9
            }
            // 22日 of the month that the record speaks of.
            (Self::Day { day, .. }, Self::Number { value, unit }) => {
                unit == "日" && (value - f64::from(*day)).abs() < 1e-9
            }
            (Self::Day { month, .. } | Self::Month { month }, Self::Month { month: other }) => month == other,
            (Self::Day { year, month, day }, Self::Day { year: wanted, month: m, day: d }) => {
                (month, day) == (m, d) && (year.is_none() || wanted.is_none() || year == wanted)
            }
            (
                Self::Time { minutes, within, halved },
                Self::Time { minutes: other, within: also, halved: too },
            ) => {
                let apart = minutes.abs_diff(*other);
                let apart = if *halved || *too { apart.min(apart.abs_diff(HALF_A_DAY)) } else { apart };
                apart <= *within.max(also)
            }
            (Self::Pace { value, minutes }, Self::Pace { value: other, minutes: m }) => {
                (value - other).abs() < 1e-9 && minutes == m
            }
            (Self::Rate { times, days }, Self::Rate { times: t, days: d }) => {
                (times - t).abs() < 1e-9 && days == d
            }
            _ => false,
        }
    }
}

/// How many minutes "just before" and 頃 are off at most.
const NEARLY_MINUTES: u32 = 15;
/// Minutes from noon to midnight.
const HALF_A_DAY: u32 = 12 * 60;

/// Units of one meaning; the first of each is what they become.
const UNITS: &[&[&str]] = &[
    &["°c", "度", "℃", "degrees"],
    &["ml", "cc", "ミリリットル"],
    &["mg", "ミリグラム", "milligrams"],
    &["g", "グラム", "grams", "gram"],
    &["µg", "μg", "mcg", "マイクログラム", "micrograms"],
    &["kg", "キログラム", "キロ"],
    &["l", "リットル", "liters", "liter", "litres", "litre"],
    &["cm", "センチメートル", "センチ"],
    &["mm", "ミリメートル"],
    &["m", "メートル", "meters", "metres"],
    &["mmhg"],
    &["mg/dl"],
    &["meq/l", "meq"],
    &["g/dl"],
    &["kcal", "キロカロリー"],
    &["fr"],
    &["%", "パーセント", "percent"],
    &["割"],
    &["回", "times", "time", "度目"],
    &["錠", "tablets", "tablet"],
    &["カプセル", "capsules", "capsule"],
    &["包", "sachets", "sachet"],
    &["滴", "drops", "drop"],
    &["本"],
    &["枚"],
    &["缶", "cans", "can"],
    &["円", "yen"],
    &["日間", "days", "day"],
    &["日"],
    &["週", "週間", "weeks", "week"],
    &["か月", "ヶ月", "カ月", "ヵ月", "ケ月", "箇月", "months", "month"],
    &["年", "年間", "years", "year"],
    &["時間", "hours", "hour"],
    &["分", "分間", "minutes", "minute", "min"],
    &["秒", "秒間", "seconds", "second", "sec"],
    &["歳", "才", "years old", "year-old"],
    &["単位", "units", "unit"],
    &["人", "名", "people"],
];

/// A temperature has at least so many degrees; fewer 度 are times.
const LEAST_DEGREES: f64 = 20.0;

/// Everything that a claim states: what [`read`] finds, but for words such as "one" that count nothing measurable, and for
/// the 1 of 1分間に and 1日おき.
pub(super) fn stated(text: &str) -> Vec<Quantity> {
    found(text, true)
}

/// Whether `said` holds what is claimed. How often or how fast something is done is only claimed
/// against a record that says so.
pub(super) fn holds(said: &[Quantity], claimed: &Quantity) -> bool {
    let is_of_a_while = matches!(claimed, Quantity::Rate { .. } | Quantity::Pace { .. });
    let told = |known: &Quantity| match (known, claimed) {
        (Quantity::Rate { times: value, .. }, Quantity::Rate { times: other, .. })
        | (Quantity::Pace { value, .. }, Quantity::Pace { value: other, .. }) => (value - other).abs() < 1e-9,
        _ => false,
    };
    said.iter().any(|known| known.covers(claimed)) || is_of_a_while && !said.iter().any(told)
}

/// 120/80 is a blood pressure.
fn pressure(quantity: &mut Quantity) {
    if let Quantity::Number { value, unit } = quantity
        && unit.is_empty()
        && (30.0..=260.0).contains(value)
    {
        "mmhg".clone_into(unit);
    }
}

/// Everything in `text` that is a number, a day or a time.
pub(super) fn read(text: &str) -> Vec<Quantity> {
    found(text, false)
}

fn found(text: &str, stated: bool) -> Vec<Quantity> {
    let text = folded(text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let Some(rest) = text.get(at..) else { break };
        let before = text[..at].chars().next_back();
        let inside_word = before.is_some_and(|before| before.is_ascii_alphanumeric() || before == '.');
        let taken = if inside_word {
            None
        } else {
            day(rest).or_else(|| moment(rest)).or_else(|| month(rest)).or_else(|| number(rest))
        };
        match taken {
            Some((length, mut quantities)) => {
                let after = text.get(at + length..).unwrap_or_default();
                let per =
                    ["に", "おき", "あたり", "当たり", "ごと"].iter().any(|word| after.starts_with(word));
                // The 1 of 1日1500ml and 1日の総量, of 一人で and 一度も, too.
                let alone = ["の", "も", "で"].iter().any(|word| after.starts_with(word));
                if stated && (per || alone || after.starts_with(|c: char| c.is_ascii_digit())) {
                    quantities.retain(|quantity| {
                        let counts_nothing =
                            |unit: &str| per || ["", "日", "日間", "回", "人", "度"].contains(&unit);
                        !matches!(quantity, Quantity::Number { value: 1.0, unit } if counts_nothing(unit))
                    });
                }
                if before == Some('/') || after.starts_with('/') {
                    quantities.iter_mut().for_each(pressure);
                }
                if stated && before == Some(SPELT) {
                    quantities.retain(
                        |quantity| matches!(quantity, Quantity::Number { unit, .. } if !unit.is_empty()),
                    );
                }
                found.extend(quantities);
                at += length.max(1);
            }
            None => at += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
    found.extend(rates(&text));
    found.extend(paces(&text));
    found
}

type Taken = Option<(usize, Vec<Quantity>)>;

/// Digits at the start: how many bytes, and their number.
pub(super) fn digits(text: &str) -> Option<(usize, u32)> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    (1..=6).contains(&length).then(|| text[..length].parse().ok().map(|number| (length, number)))?
}

/// 2026年10月20日, 10月20日, 2026-10-20, 2026/10/20, 10/20, october 20, oct. 20, 20 october.
fn day(text: &str) -> Taken {
    japanese_day(text).or_else(|| signs_day(text)).or_else(|| english_day(text))
}

fn japanese_day(text: &str) -> Taken {
    let (mut at, first) = digits(text)?;
    let mut year = None;
    let mut month = first;
    if let Some(rest) = text[at..].strip_prefix('年') {
        let (length, number) = digits(rest)?;
        year = Some(first);
        month = number;
        at += '年'.len_utf8() + length;
    }
    let rest = text[at..].strip_prefix('月')?;
    at += '月'.len_utf8();
    let (length, number) = digits(rest)?;
    rest[length..].starts_with('日').then_some(())?;
    checked(at + length + '日'.len_utf8(), year, month, number)
}

fn signs_day(text: &str) -> Taken {
    let (length, first) = digits(text)?;
    let sign = text[length..].chars().next().filter(|sign| matches!(sign, '/' | '-'))?;
    let (second_length, second) = digits(&text[length + 1..])?;
    let at = length + 1 + second_length;
    if length == 4 {
        let rest = text[at..].strip_prefix(sign)?;
        let (third_length, third) = digits(rest)?;
        return checked(at + 1 + third_length, Some(first), second, third);
    }
    // 120/80 is a blood pressure and 1/2 a half: only what can be nothing but a day is one.
    let weekday = text[at..].starts_with('(') && text[at + 1..].starts_with(weekdays::JAPANESE);
    let is_day = first > 1 || second > 12 || weekday;
    (sign == '/' && is_day && length <= 2 && second_length <= 2).then_some(())?;
    let next = text[at..].chars().next();
    let ends =
        text[at..].strip_prefix('.').is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()));
    let goes_on = |next: char| next.is_ascii_alphanumeric() || matches!(next, '/' | '%' | '.');
    (ends || next.is_none_or(|next| !goes_on(next))).then_some(())?;
    checked(at, None, first, second)
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

fn english_day(text: &str) -> Taken {
    let name = |text: &str| -> Option<(usize, u32)> {
        let length = text.bytes().take_while(u8::is_ascii_alphabetic).count();
        let word = &text[..length];
        let month = MONTHS.iter().position(|month| {
            word == *month
                || word.len() >= 3 && word == &month[..3]
                || word == "sept" && *month == "september"
        })?;
        // "Bay 3 may be used" names no day.
        if word == "may"
            && [" be", " have", " not", " need"].iter().any(|verb| text[length..].starts_with(verb))
        {
            return None;
        }
        let dot = usize::from(text[length..].starts_with('.'));
        Some((length + dot, month as u32 + 1))
    };
    let ordinal = |text: &str| {
        if ["st", "nd", "rd", "th"].iter().any(|end| text.starts_with(end)) { 2 } else { 0 }
    };
    let spaces = |text: &str| text.len() - text.trim_start_matches([' ', ',']).len();
    let (mut at, month, day);
    if let Some((length, found)) = name(text) {
        at = length + spaces(&text[length..]);
        let (digits_length, number) = digits(&text[at..])?;
        (month, day) = (found, number);
        at += digits_length;
        at += ordinal(&text[at..]);
    } else {
        let (digits_length, number) = digits(text)?;
        at = digits_length + ordinal(&text[digits_length..]);
        at += spaces(&text[at..]);
        at += if text[at..].starts_with("of ") { 3 } else { 0 };
        let (length, found) = name(&text[at..])?;
        (month, day) = (found, number);
        at += length;
    }
    let gap = spaces(&text[at..]);
    let year = digits(&text[at + gap..]).filter(|(length, _)| *length == 4);
    match year {
        Some((length, year)) => checked(at + gap + length, Some(year), month, day),
        None => checked(at, None, month, day),
    }
}

fn checked(length: usize, year: Option<u32>, month: u32, day: u32) -> Taken {
    let name = Month::try_from(u8::try_from(month).ok()?).ok()?;
    (day >= 1 && day <= u32::from(name.length(2024)))
        .then_some((length, vec![Quantity::Day { year, month, day }]))
}

/// 3月, 3月の; not 3か月.
fn month(text: &str) -> Taken {
    let (length, month) = digits(text)?;
    let rest = text[length..].strip_prefix('月')?;
    let one = (1..=12).contains(&month) && !rest.starts_with('間');
    one.then(|| (length + '月'.len_utf8(), vec![Quantity::Month { month }]))
}

/// 14時30分, 14時半, 午後2時, 夜7時, 14:30, 2:30 pm, 2 pm, 正午, noon; "just before 6 pm" and 10時頃 are nearly so.
fn moment(text: &str) -> Taken {
    for (noon, minutes) in [("正午", HALF_A_DAY), ("noon", HALF_A_DAY), ("midnight", 0)] {
        if text.starts_with(noon) {
            return Some((noon.len(), vec![Quantity::Time { minutes, within: 0, halved: false }]));
        }
    }
    const NEARLY: [&str; 9] = [
        "just before ",
        "just after ",
        "shortly before ",
        "shortly after ",
        "around ",
        "about ",
        "nearly ",
        "約",
        "およそ",
    ];
    let hedge = NEARLY.iter().find(|hedge| text.starts_with(**hedge)).map_or(0, |hedge| hedge.len());
    let half_of_day = &text[hedge..];
    let (prefix, afternoon, halved) = match half_of_day {
        _ if half_of_day.starts_with("午後") => ("午後", true, false),
        _ if half_of_day.starts_with("午前") => ("午前", false, false),
        _ if half_of_day.starts_with("夕方") => ("夕方", true, true),
        _ if half_of_day.starts_with(['夜', '晩']) => ("夜", true, true),
        _ => ("", false, false),
    };
    let skip = hedge + prefix.len();
    let rest = &text[skip..];
    let (length, hour) = digits(rest)?;
    let mut at = skip + length;
    let mut minutes = 0;
    let mut said = false;
    if let Some(after) = rest[length..].strip_prefix('時') {
        // 3時間 is a length.
        if after.starts_with('間') {
            return None;
        }
        said = true;
        at += '時'.len_utf8();
        if after.starts_with('半') {
            minutes = 30;
            at += '半'.len_utf8();
        } else if let Some((digits_length, number)) =
            digits(after).filter(|(l, _)| after[*l..].starts_with('分'))
        {
            minutes = number;
            at += digits_length + '分'.len_utf8();
        }
    } else if let Some((2, number)) = rest[length..].strip_prefix(':').and_then(digits) {
        said = true;
        minutes = number;
        at += 3;
    }
    let gap = text[at..].len() - text[at..].trim_start().len();
    let half = ["pm", "p.m.", "am", "a.m."].into_iter().find(|half| text[at + gap..].starts_with(half));
    if let Some(half) = half {
        said = true;
        at += gap + half.len();
    }
    let afternoon = afternoon || half.is_some_and(|half| half.starts_with('p'));
    let hour = if afternoon && hour < 12 { hour + 12 } else { hour };
    let nearly = hedge > 0
        || ["頃", "ごろ", "過ぎ", "すぎ", "前後", "近く"].iter().any(|word| text[at..].starts_with(word));
    let within = if nearly { NEARLY_MINUTES } else { 0 };
    (said && hour <= 24 && minutes < 60)
        .then_some((at, vec![Quantity::Time { minutes: hour * 60 + minutes, within, halved }]))
}

/// 38.5℃, 120/80, 5mg, 3〜4回: each number with the unit behind it.
pub(super) fn number(text: &str) -> Taken {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    (length > 0).then_some(())?;
    let fraction = match text[length..].strip_prefix('.') {
        Some(rest) => rest.bytes().take_while(u8::is_ascii_digit).count(),
        None => 0,
    };
    let end = length + if fraction > 0 { fraction + 1 } else { 0 };
    let value: f64 = text[..end].parse().ok()?;
    let rest = text[end..].trim_start_matches(' ');
    let gap = text[end..].len() - rest.len();
    let known = UNITS
        .iter()
        .flat_map(|same| same.iter().map(move |unit| (same[0], *unit)))
        .filter(|(_, unit)| rest.starts_with(unit) && !goes_on(rest, unit))
        .max_by_key(|(_, unit)| unit.len());
    let unit = match known {
        Some((unit, written)) => {
            let behind = &rest[written.len()..];
            // 7日分 and 1日1回 are no days of a month.
            let lasts = written == "日"
                && (["分", "目", "おき", "ごと", "あたり", "以内"]
                    .iter()
                    .any(|word| behind.starts_with(word))
                    || behind.starts_with(|c: char| c.is_ascii_digit()));
            let unit = match written {
                "度" if value < LEAST_DEGREES => "",
                _ if lasts => "日間",
                _ => unit,
            };
            return Some((
                end + gap + written.len(),
                vec![Quantity::Number { value, unit: unit.to_owned() }],
            ));
        }
        None if gap > 0 => String::new(),
        None => {
            let latin = |char: &char| char.is_ascii_alphabetic() || matches!(char, '°' | '%' | 'μ' | 'µ');
            rest.chars().take_while(latin).collect()
        }
    };
    let length = end + unit.len();
    // The 24th, of whatever month.
    let unit = if ["st", "nd", "rd", "th"].contains(&unit.as_str()) { "日".to_owned() } else { unit };
    Some((length, vec![Quantity::Number { value, unit }]))
}

/// Whether a unit of letters is only the beginning of a longer word.
fn goes_on(rest: &str, unit: &str) -> bool {
    let letters = unit.chars().next_back().is_some_and(|last| last.is_ascii_alphabetic());
    letters && rest[unit.len()..].chars().next().is_some_and(|next| next.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_quantity_in_several_spellings_is_the_same() {
        for (a, b) in [
            ("38.5℃", "３８．５度"),
            ("1,200mL", "1200 ml"),
            ("10月20日", "10/20"),
            ("2026年10月20日", "2026-10-20"),
            ("october 20, 2026", "2026/10/20"),
            ("20 Oct", "oct. 20"),
            ("14時30分", "午後2時半"),
            ("2:30 pm", "14:30"),
            ("二十一日間", "21日間"),
            ("三回", "3回"),
            ("3 times", "3回"),
        ] {
            let (x, y) = (read(a), read(b));
            assert!(
                !x.is_empty() && x.len() == y.len() && x.iter().zip(&y).all(|(x, y)| x.covers(y)),
                "{a} {x:?}, {b} {y:?}"
            );
        }
    }

    #[test]
    fn different_quantities_stay_apart() {
        for (a, b) in [
            ("5mg", "50mg"),
            ("5mg", "5ml"),
            ("10月20日", "10月21日"),
            ("14時", "15時"),
            ("38.5", "385"),
            ("3時間", "3時"),
        ] {
            let (x, y) = (read(a), read(b));
            assert!(!x[0].covers(&y[0]), "{a} {x:?}, {b} {y:?}");
        }
    }

    #[test]
    fn a_blood_pressure_is_two_numbers_and_no_day() {
        let numbers = read("血圧120/80、脈拍72");
        assert_eq!(numbers.len(), 3, "{numbers:?}");
        assert!(numbers.iter().all(|quantity| matches!(quantity, Quantity::Number { .. })));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9０-９年月日時分半午前後/:.,-〜一二十百℃mgmlpoctjanth 回]{0,30}") {
            let _ = read(&text);
        }
    }
}

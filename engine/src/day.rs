//! The day that a row is about, as a number that filters can compare.

use std::fmt;
use std::str::FromStr;

/// A calendar day: year, month and day of the month. It says nothing of time zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Day(u32);

/// A text is not a day.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a day written YYYY-MM-DD")]
pub struct NotADay(String);

impl Day {
    /// 0001-01-01, the first day that there is.
    pub const FIRST: Self = Self(10_101);
    /// 9999-12-31, the last.
    pub const LAST: Self = Self(99_991_231);

    /// The number that the snapshot stores: 20261125 for 2026-11-25. No day is 0.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// What the snapshot stores for a row with this text as its date: 0 where it is no day.
    pub(crate) fn stored(date: &str) -> u32 {
        date.parse().map_or(0, Self::number)
    }
}

impl FromStr for Day {
    type Err = NotADay;

    /// Reads `YYYY-MM-DD`, years 0001 to 9999.
    fn from_str(text: &str) -> Result<Self, NotADay> {
        let fault = || NotADay(text.chars().take(40).collect());
        let number = |part: &str, digits: usize| -> Option<u32> {
            (part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| part.parse().ok())?
        };
        let mut parts = text.split('-');
        let mut part = |digits| parts.next().and_then(|part| number(part, digits)).ok_or_else(fault);
        let (year, month, day) = (part(4)?, part(2)?, part(2)?);
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            1..=12 => 31,
            _ => 0,
        };
        if parts.next().is_some() || year == 0 || day == 0 || day > days {
            return Err(fault());
        }
        Ok(Self(year * 10_000 + month * 100 + day))
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.to_string()
    }
}

impl TryFrom<String> for Day {
    type Error = NotADay;

    fn try_from(text: String) -> Result<Self, NotADay> {
        text.parse()
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0 / 10_000, self.0 / 100 % 100, self.0 % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::Day;
    use proptest::prelude::*;

    #[test]
    fn only_days_that_there_are_are_days() {
        for text in ["2026-11-25", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31"] {
            assert_eq!(text.parse::<Day>().map(|day| day.to_string()).as_deref(), Ok(text));
        }
        let wrong = [
            "",
            "2026",
            "2026-11-31",
            "2026-2-3",
            "2025-02-29",
            "1900-02-29",
            "2026-13-01",
            "2026-00-10",
            "0000-01-01",
        ];
        for text in
            wrong.into_iter().chain(["2026-11-25-", "2026-11-25T00:00:00", "２０２６-11-25", "+026-11-25"])
        {
            assert!(text.parse::<Day>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn days_compare_as_their_texts_do(a in "[0-2][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])",
                                          b in "[0-2][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])") {
            if let (Ok(day), Ok(other)) = (a.parse::<Day>(), b.parse::<Day>()) {
                prop_assert_eq!(day.cmp(&other), a.cmp(&b));
            }
        }
    }
}

//! Numbers and years as Japanese writes them.

/// Eras of Japan, each with the year before its first.
pub(crate) const ERAS: [(&str, u32); 3] = [("令和", 2018), ("平成", 1988), ("昭和", 1925)];

/// Numerals of the longest number.
const MOST: usize = 6;

/// The value of a numeral of kanji: a digit, 十 or 百.
pub(crate) fn numeral(char: char) -> Option<u32> {
    let digit = "〇一二三四五六七八九".chars().position(|digit| digit == char);
    digit.map(|digit| digit as u32).or(match char {
        '十' => Some(10),
        '百' => Some(100),
        _ => None,
    })
}

/// 二十一 and the like, below 1000, or digits such as 二〇二六. `None` for other characters, and for more of them than a number has.
pub(crate) fn number(numerals: &[char]) -> Option<u32> {
    if numerals.len() > MOST {
        return None;
    }
    let (mut whole, mut last) = (0, 0);
    for char in numerals {
        match numeral(*char)? {
            unit @ (10 | 100) => {
                whole += last.max(1) * unit;
                last = 0;
            }
            digit => last = last * 10 + digit,
        }
    }
    Some(whole + last)
}

//! Folding of mixed Japanese and Latin text, so that one thing written in two ways becomes one thing.
//!
//! Text is put into NFKC (which also unifies full and half width), lower-cased, and katakana is folded to hiragana.
//! Iteration marks are spelled out, and the long-vowel mark at the end of a longer katakana word is dropped
//! (ユーザー = ユーザ). Each symbol keeps the script in which it was written: a katakana word carries meaning where the
//! same sounds in hiragana may be a particle.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

/// The script in which a symbol was written, before folding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Script {
    /// Kanji.
    Han,
    /// Hiragana.
    Hiragana,
    /// Katakana.
    Katakana,
    /// Letters of any other script, and signs that belong to a unit (°, %, µ).
    Letter,
    /// Digits, and the signs inside a number (38.5, 120/80).
    Digit,
    /// Everything else: it separates words.
    Separator,
}

/// One folded character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// The character after folding; a space for a separator.
    pub folded: char,
    /// How it was written.
    pub script: Script,
}

/// Katakana words of at least this many characters lose a long-vowel mark at their end; in shorter ones (キー) it
/// carries the word.
const LONG_WORD: usize = 4;

/// Folds `text`. Runs of separators become one; there is none at either end.
pub fn normalise(text: &str) -> Vec<Symbol> {
    let folded = lower_nfkc(text);
    fold_all(&folded).into_iter().map(|(symbol, _)| symbol).collect()
}

/// A sign of full width as its ASCII twin; any other character as it is.
pub fn half_width(char: char) -> char {
    match char {
        // The two blocks are laid out alike.
        '！'..='～' => char::from_u32(char as u32 - 0xfee0).unwrap_or(char),
        other => other,
    }
}

/// `text` in Unicode's normalisation form KC: kana and signs in one width, marks composed.
pub fn nfkc(text: &str) -> String {
    text.nfkc().collect()
}

/// Whether a character is a kanji, of any of Unicode's blocks of them.
pub fn is_han(char: char) -> bool {
    matches!(
        char,
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}'
    )
}

/// Katakana as hiragana; any other character as it is.
pub fn hiragana(char: char) -> char {
    match char {
        // The two kana blocks are laid out alike, 0x60 apart.
        'ァ'..='ヶ' => char::from_u32(char as u32 - 0x60).unwrap_or(char),
        other => other,
    }
}

/// `text` in lower case and normalisation form KC, character by character. Japanese is nearly all of it in that form already, so
/// only the stretches that may not be, each with the character before it, are brought into it.
fn lower_nfkc(text: &str) -> Vec<char> {
    let mut folded = Vec::with_capacity(text.len() / 2);
    let mut rest = text;
    while !rest.is_empty() {
        let plain = rest.find(|char| !is_plain(char)).unwrap_or(rest.len());
        folded.extend(rest[..plain].chars().map(|char| char.to_ascii_lowercase()));
        let odd = rest[plain..].find(is_plain).map_or(rest.len(), |length| plain + length);
        // A mark joins the character before it.
        let from = match rest[..plain].char_indices().next_back() {
            Some((last, _)) if odd > plain => {
                folded.pop();
                last
            }
            _ => plain,
        };
        folded.extend(rest[from..odd].nfkc().flat_map(char::to_lowercase));
        rest = &rest[odd..];
    }
    folded
}

/// Whether a character is in form KC by itself, joins nothing before it, and has no case but that of ASCII.
fn is_plain(char: char) -> bool {
    matches!(char, '\0'..='\x7f' | '\u{3001}'..='\u{3002}' | '\u{300c}'..='\u{300f}' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fc}' | '\u{4e00}'..='\u{9fff}')
}

/// As [`normalise`], each symbol with the bytes of `text` that it was written with.
pub fn normalise_with_spans(text: &str) -> Vec<(Symbol, Range<usize>)> {
    let (mut folded, mut spans) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len()));
    // A character and the marks behind it fold together, wherever they stand.
    let joins = |char: char| {
        matches!(char, '\u{ff9e}' | '\u{ff9f}') || unicode_normalization::char::is_combining_mark(char)
    };
    let mut characters = text.char_indices().peekable();
    while let Some((start, _)) = characters.next() {
        while characters.next_if(|(_, char)| joins(*char)).is_some() {}
        let end = characters.peek().map_or(text.len(), |(end, _)| *end);
        for char in text[start..end].nfkc().flat_map(char::to_lowercase) {
            folded.push(char);
            spans.push(start..end);
        }
    }
    let symbols = fold_all(&folded).into_iter();
    symbols.filter_map(|(symbol, at)| Some((symbol, spans.get(at)?.clone()))).collect()
}

/// Folds lower-cased NFKC text; each symbol comes with the place of its character.
fn fold_all(folded: &[char]) -> Vec<(Symbol, usize)> {
    let mut symbols: Vec<(Symbol, usize)> = Vec::with_capacity(folded.len());
    let mut katakana_run = 0;
    for (at, &char) in folded.iter().enumerate() {
        if stands_in_a_number(folded, at) {
            continue;
        }
        let previous = symbols.last().map(|(symbol, _)| *symbol);
        let next = folded[at + 1..].iter().copied().find(|char| *char != ' ' || !matches!(folded[at], '/'));
        let symbol = fold(char, previous, next);
        let Some(symbol) = symbol else { continue };
        if katakana_run >= LONG_WORD
            && symbol.script != Script::Katakana
            && previous.is_some_and(|previous| previous.folded == LONG_VOWEL)
        {
            symbols.pop();
        }
        katakana_run = if symbol.script == Script::Katakana { katakana_run + 1 } else { 0 };
        let separates = symbol.script == Script::Separator;
        if !(separates && symbols.last().is_none_or(|(last, _)| last.script == Script::Separator)) {
            symbols.push((symbol, at));
        }
    }
    if katakana_run >= LONG_WORD {
        symbols.pop_if(|(last, _)| last.folded == LONG_VOWEL);
    }
    symbols.pop_if(|(last, _)| last.script == Script::Separator);
    symbols
}

/// Whether the character at `at` is left out of a number: the comma of 1,200, and the spaces of 134 / 78.
fn stands_in_a_number(folded: &[char], at: usize) -> bool {
    let digits = |text: &[char]| text.iter().take_while(|char| char.is_ascii_digit()).count();
    let (left, right) = (&folded[..at], &folded[at + 1..]);
    let is_digit = |char: Option<&char>| char.is_some_and(char::is_ascii_digit);
    match folded[at] {
        // 3,10,17 is a list.
        ',' => {
            let before = left.iter().rev().take_while(|char| char.is_ascii_digit()).count();
            (1..=3).contains(&before) && digits(right) == 3
        }
        ' ' => match (left.last(), right.first()) {
            (Some('/'), next) => {
                let before = left[..left.len() - 1].iter().rev().find(|char| **char != ' ');
                is_digit(before) && is_digit(next)
            }
            (last, Some('/')) => {
                let behind = right[1..].iter().find(|char| **char != ' ');
                is_digit(last) && is_digit(behind)
            }
            _ => false,
        },
        _ => false,
    }
}

const LONG_VOWEL: char = 'ー';

/// Folds one character of lower-cased NFKC text, knowing the symbol before it and the character behind it. `None`
/// for a character that vanishes.
fn fold(char: char, previous: Option<Symbol>, next: Option<char>) -> Option<Symbol> {
    let symbol = |folded, script| Some(Symbol { folded, script });
    let previous_script = previous.map(|previous| previous.script);
    let between_digits =
        previous_script == Some(Script::Digit) && next.is_some_and(|next| next.is_ascii_digit());
    match char {
        '0'..='9' => symbol(char, Script::Digit),
        '.' | '/' | ':' if between_digits => symbol(char, Script::Digit),
        '°' | '%' | 'µ' | 'μ' => symbol(if char == 'µ' { 'μ' } else { char }, Script::Letter),
        '々' => match previous {
            Some(previous) if previous.script == Script::Han => Some(previous),
            _ => symbol(char, Script::Han),
        },
        'ゝ' | 'ヽ' => previous.filter(|p| matches!(p.script, Script::Hiragana | Script::Katakana)),
        // The same sound once more, voiced: みすゞ is みすず.
        'ゞ' | 'ヾ' => {
            let previous = previous.filter(|p| matches!(p.script, Script::Hiragana | Script::Katakana))?;
            let voiced = unicode_normalization::char::compose(previous.folded, '\u{3099}');
            Some(Symbol { folded: voiced.unwrap_or(previous.folded), ..previous })
        }
        // Dashes of every kind stand in for the long-vowel mark, but only behind katakana.
        'ー' | '-' | '‐' | '‑' | '–' | '—' | '―' | '−' => match previous_script {
            Some(script @ (Script::Katakana | Script::Hiragana)) if char == LONG_VOWEL => {
                symbol(char, script)
            }
            Some(Script::Katakana) => symbol(LONG_VOWEL, Script::Katakana),
            _ => symbol(' ', Script::Separator),
        },
        'ぁ'..='ゖ' => symbol(char, Script::Hiragana),
        'ァ'..='ヶ' => symbol(hiragana(char), Script::Katakana),
        _ if is_han(char) => symbol(char, Script::Han),
        _ if char.is_alphabetic() => symbol(char, Script::Letter),
        _ if char.is_numeric() => symbol(char, Script::Digit),
        // Marks that NFKC could not compose belong to the letter before them.
        _ if unicode_normalization::char::is_combining_mark(char) => previous.and_then(|previous| {
            (previous.script != Script::Separator).then_some(Symbol { folded: char, script: previous.script })
        }),
        _ => symbol(' ', Script::Separator),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folded(text: &str) -> String {
        normalise(text).into_iter().map(|symbol| symbol.folded).collect()
    }

    #[test]
    fn two_ways_of_writing_one_thing_fold_to_one() {
        for (a, b) in [
            ("ＳｐＯ２　９６％", "SpO2 96%"),
            ("ﾊﾞﾙｰﾝｶﾃｰﾃﾙ", "バルーンカテーテル"),
            ("バルーン", "ばるーん"),
            ("みすゞ", "みすず"),
            ("いすヾ", "いすず"),
            ("３８．５℃", "38.5℃"),
            ("1,200mL", "1200ml"),
            ("1,234,567円", "1234567円"),
            ("血圧 134 / 78", "血圧 134/78"),
            ("134/ 78", "134/78"),
            ("3,10,17日", "3 10 17日"),
            ("はい / いいえ", "はい いいえ"),
            ("㎎", "mg"),
            ("ユーザー", "ユーザ"),
            ("センター、", "センタ。"),
            ("時々", "時時"),
            ("カテ-テル", "カテーテル"),
            ("が", "か\u{3099}"),
        ] {
            assert_eq!(folded(a), folded(b), "{a} and {b}");
        }
    }

    #[test]
    fn different_things_stay_different() {
        for (a, b) in
            [("キー", "キ"), ("120/80", "12080"), ("38.5", "385"), ("熱心", "発熱"), ("5mg", "50mg")]
        {
            assert_ne!(folded(a), folded(b), "{a} and {b}");
        }
    }

    #[test]
    fn numbers_stay_whole_and_other_signs_separate() {
        assert_eq!(folded("血圧は120/80、体温 38.5℃。"), "血圧は120/80 体温 38.5°c");
        assert_eq!(folded("  、。 "), "");
        assert_eq!(folded("CL-00001"), "cl 00001");
    }

    #[test]
    fn a_symbol_remembers_its_script() {
        let scripts: Vec<Script> = normalise("熱がアリ38").into_iter().map(|symbol| symbol.script).collect();
        use Script::{Digit, Han, Hiragana, Katakana};
        assert_eq!(scripts, [Han, Hiragana, Katakana, Katakana, Digit, Digit]);
    }

    #[test]
    fn a_symbol_knows_the_bytes_that_it_was_written_with() {
        let text = "ﾊﾞﾙｰﾝを５mg";
        let spans: Vec<(char, &str)> = normalise_with_spans(text)
            .into_iter()
            .map(|(symbol, span)| (symbol.folded, &text[span]))
            .collect();
        let expected = [
            ('ば', "ﾊﾞ"),
            ('る', "ﾙ"),
            ('ー', "ｰ"),
            ('ん', "ﾝ"),
            ('を', "を"),
            ('5', "５"),
            ('m', "m"),
            ('g', "g"),
        ];
        assert_eq!(spans, expected);
    }

    proptest! {
        #[test]
        fn spans_lie_inside_the_text_in_order(text in any::<String>()) {
            let spans: Vec<_> = normalise_with_spans(&text).into_iter().map(|(_, span)| span).collect();
            prop_assert!(spans.iter().all(|span| text.get(span.clone()).is_some()));
            prop_assert!(spans.is_sorted_by_key(|span| span.start));
        }

        #[test]
        fn stretches_are_brought_into_form_as_the_whole_is(
            text in "([ぁ-んァ-ヶー一-龠0-9０-９a-zA-ZＡ-Ｚ、。 ℃㎎./ﾊﾞｶ-]|\\u{3099}|\\u{309a}|\\u{301}|é|각|\\PC){0,30}"
        ) {
            let whole: Vec<char> = text.nfkc().flat_map(char::to_lowercase).collect();
            prop_assert_eq!(lower_nfkc(&text), whole);
        }

        #[test]
        fn japanese_text_folds_alike_with_and_without_spans(text in "[ぁ-んァ-ヶー一-龠々0-9０-９a-zＡ-Ｚ、。 ℃㎎./ﾊﾞ-]{0,40}") {
            let symbols: Vec<Symbol> = normalise_with_spans(&text).into_iter().map(|(symbol, _)| symbol).collect();
            prop_assert_eq!(symbols, normalise(&text));
        }

        #[test]
        fn any_text_folds_without_doubled_or_outer_separators(text in any::<String>()) {
            let symbols = normalise(&text);
            let separates = |s: &Symbol| s.script == Script::Separator;
            prop_assert!(!symbols.windows(2).any(|pair| pair.iter().all(separates)));
            prop_assert!(!symbols.first().is_some_and(separates));
            prop_assert!(!symbols.last().is_some_and(separates));
        }
    }
}

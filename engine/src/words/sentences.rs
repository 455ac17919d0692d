//! Where Japanese and English sentences end.

use std::ops::Range;

/// Byte ranges of the sentences of `text`, in order, without outer white space. A sentence ends behind 。！？!? (and
/// any closing brackets that follow), at a line break, and behind a full stop that white space or the end follows.
/// Full stops inside brackets end nothing: （発熱なし。）belongs to its sentence, and so does speech, unless the next
/// speaker or another sentence follows its closing bracket: 三浦「了解。」中条「はい。」 are two.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut depth = 0usize;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let end = at + character.len_utf8();
        match character {
            '「' | '『' | '（' | '(' | '【' | '［' | '[' => depth += 1,
            '」' | '』' | '）' | ')' | '】' | '］' | ']' => {
                depth = depth.saturating_sub(1);
                let spoken = matches!(character, '」' | '』')
                    && depth == 0
                    && text[start..at].ends_with(['。', '！', '？']);
                let goes_on = |next: char| matches!(next, 'ぁ'..='ゖ' | '、' | '。' | '，' | ',' | '.');
                if spoken && characters.peek().is_none_or(|&(_, next)| !goes_on(next)) {
                    push(text, start..end, &mut found);
                    start = end;
                }
            }
            '\n' | '\r' => {
                // A line break also ends whatever bracket was left open.
                depth = 0;
                push(text, start..at, &mut found);
                start = end;
            }
            '。' | '！' | '？' | '!' | '?' | '.' if depth == 0 => {
                let stop = character != '.'
                    || characters.peek().is_none_or(|(_, next)| next.is_whitespace())
                        && !is_abbreviated(&text[start..at], &text[end..]);
                let continued =
                    characters.peek().is_some_and(|&(_, next)| "。！？!?」』）)】".contains(next));
                if stop && !continued {
                    push(text, start..end, &mut found);
                    start = end;
                }
            }
            _ => {}
        }
    }
    push(text, start..text.len(), &mut found);
    found
}

/// English words that a full stop shortens.
const ABBREVIATIONS: [&str; 14] =
    ["mr", "mrs", "ms", "dr", "prof", "st", "no", "vs", "approx", "e.g", "i.e", "p.m", "a.m", "etc"];

/// Whether the full stop between `before` and `after` only shortens a word.
fn is_abbreviated(before: &str, after: &str) -> bool {
    let word =
        before.rsplit(char::is_whitespace).next().unwrap_or_default().trim_start_matches(['(', '"', '\'']);
    let title = matches!(word, "Mr" | "Mrs" | "Ms" | "Dr" | "Prof" | "St");
    // What goes on in small letters, or with a number, is still the same sentence.
    let goes_on = after.trim_start().starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    title && !after.trim().is_empty()
        || goes_on && ABBREVIATIONS.contains(&word.to_ascii_lowercase().as_str())
}

fn push(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let piece = &text[range.clone()];
    let start = range.start + (piece.len() - piece.trim_start().len());
    let end = start + piece.trim().len();
    if start < end {
        found.push(start..end);
    }
}

#[cfg(test)]
mod tests {
    use super::sentences;
    use proptest::prelude::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn a_shortened_word_ends_no_english_sentence() {
        assert_eq!(
            split("Mr. Uesugi was seen by Dr. Ebisawa at 6 p.m. today. He slept. No. 3 is free."),
            ["Mr. Uesugi was seen by Dr. Ebisawa at 6 p.m. today.", "He slept.", "No. 3 is free."]
        );
        assert_eq!(
            split("He left at 6 p.m. She stayed with Mrs."),
            ["He left at 6 p.m.", "She stayed with Mrs."]
        );
    }

    #[test]
    fn japanese_sentences_end_behind_their_full_stop() {
        assert_eq!(split("熱はない。食欲あり！\n次回は火曜。"), ["熱はない。", "食欲あり！", "次回は火曜。"]);
    }

    #[test]
    fn speech_and_brackets_stay_in_their_sentence() {
        assert_eq!(split("妻は「痛くない。」と話す。様子見。"), ["妻は「痛くない。」と話す。", "様子見。"]);
        assert_eq!(
            split("体温37.2℃。（前日は38.5。）経過良好。"),
            ["体温37.2℃。", "（前日は38.5。）経過良好。"]
        );
    }

    #[test]
    fn what_two_speakers_say_is_two_sentences() {
        assert_eq!(
            split("佐久間「測り直します。」三浦「了解。」と返答。"),
            ["佐久間「測り直します。」", "三浦「了解。」と返答。"]
        );
    }

    #[test]
    fn a_decimal_point_ends_nothing() {
        assert_eq!(split("It was 38.5 degrees. Then 37."), ["It was 38.5 degrees.", "Then 37."]);
    }

    proptest! {
        #[test]
        fn every_character_but_white_space_is_in_exactly_one_sentence(text in "[a。！「」（）. \n熱]{0,60}") {
            let kept: String = split(&text).concat().split_whitespace().collect();
            let all: String = text.split_whitespace().collect();
            prop_assert_eq!(kept, all);
        }
    }
}

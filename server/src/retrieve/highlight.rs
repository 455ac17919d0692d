//! Where a row says what the question asks: places to mark for a reader.

use std::collections::HashSet;
use std::ops::Range;

use karute_engine::words::{Script, Symbol, normalise, normalise_with_spans};

use super::understand::Understood;

/// Most places that are marked in one text.
const MOST: usize = 100;

/// What is looked for: pairs of Japanese symbols that are not both hiragana, kanji that stand
/// alone, and runs of letters and digits.
#[derive(Clone, Debug, Default)]
pub struct Highlighter {
    pieces: HashSet<String>,
}

impl Highlighter {
    /// The words of a question and the other names of its terms.
    pub fn new(understood: &Understood) -> Self {
        let mut pieces = HashSet::new();
        let others = understood.terms.iter().flat_map(|term| &term.others);
        for text in std::iter::once(&understood.text).chain(others) {
            let symbols = normalise(text);
            for range in telling(&symbols) {
                pieces.insert(folded(&symbols[range]));
            }
        }
        Self { pieces }
    }

    /// Byte ranges of `text` that hold what is looked for, in order, apart from each other.
    pub fn find(&self, text: &str) -> Vec<Range<usize>> {
        let symbols = normalise_with_spans(text);
        let bare: Vec<Symbol> = symbols.iter().map(|(symbol, _)| *symbol).collect();
        let mut marked: Vec<Range<usize>> = Vec::new();
        for range in
            telling(&bare).into_iter().filter(|range| self.pieces.contains(&folded(&bare[range.clone()])))
        {
            let span = symbols[range.start].1.start..symbols[range.end - 1].1.end;
            match marked.last_mut() {
                Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
                _ => marked.push(span),
            }
        }
        marked.truncate(MOST);
        marked
    }
}

fn folded(symbols: &[Symbol]) -> String {
    symbols.iter().map(|symbol| symbol.folded).collect()
}

/// The pieces of a text that tell something, as ranges of its symbols, none empty.
fn telling(symbols: &[Symbol]) -> Vec<Range<usize>> {
    let is_latin = |symbol: &Symbol| matches!(symbol.script, Script::Letter | Script::Digit);
    let is_japanese =
        |symbol: &Symbol| matches!(symbol.script, Script::Han | Script::Hiragana | Script::Katakana);
    let mut found = Vec::new();
    let mut at = 0;
    while at < symbols.len() {
        let rest = &symbols[at..];
        if is_latin(&rest[0]) {
            let length = rest.iter().take_while(|symbol| is_latin(symbol)).count();
            found.push(at..at + length);
            at += length;
        } else {
            if let [a, b, ..] = rest
                && is_japanese(a)
                && is_japanese(b)
                && (a.script != Script::Hiragana || b.script != Script::Hiragana)
            {
                found.push(at..at + 2);
            }
            // 熱 and 咳 are words; a kanji beside others is only a part of one.
            let beside = |at: Option<usize>| {
                at.and_then(|at| symbols.get(at)).is_some_and(|s| s.script == Script::Han)
            };
            if rest[0].script == Script::Han && !beside(at.checked_sub(1)) && !beside(at.checked_add(1)) {
                found.push(at..at + 1);
            }
            at += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retrieve::understand::ExpandedTerm;
    use proptest::prelude::*;

    fn marked<'a>(question: &str, text: &'a str) -> Vec<&'a str> {
        let term =
            ExpandedTerm { others: vec!["膀胱留置カテーテル".into()], ..ExpandedTerm::default() };
        let understood = Understood { text: question.into(), terms: vec![term], ..Understood::default() };
        Highlighter::new(&understood).find(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn words_of_the_question_and_other_names_of_its_terms_are_marked() {
        let text = "膀胱留置ｶﾃｰﾃﾙを交換した。次回交換は10月20日、ＳｐＯ２は96%。";
        assert_eq!(
            marked("バルーンの次回交換とSpO2は", text),
            ["膀胱留置ｶﾃｰﾃﾙ", "交換", "次回交換", "ＳｐＯ２"]
        );
    }

    proptest! {
        #[test]
        fn marks_lie_inside_the_text_apart_and_in_order(question in "[熱交換a-cｶﾞを ]{0,8}", text in "[熱交換a-cｶﾞを ]{0,30}") {
            let understood = Understood { text: question, ..Understood::default() };
            let marks = Highlighter::new(&understood).find(&text);
            prop_assert!(marks.iter().all(|mark| !text[mark.clone()].is_empty()));
            prop_assert!(marks.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}

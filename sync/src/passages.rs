//! Long contents in passages: at the ends of sentences, none longer than a model reads, each with the last sentence of the one
//! before, so that what two sentences say together is in one of them.

use std::ops::Range;

use karute_engine::words::sentences;

/// A sentence that the next passage repeats takes at most one part in so many of it.
const OVERLAP: usize = 4;

/// Byte ranges of `content` of at most `most` characters each, in order, which together hold every sentence. A short
/// content is one passage, whole. A sentence that is too long by itself is cut where it must be.
pub fn passages(content: &str, most: usize) -> Vec<Range<usize>> {
    let most = most.max(1);
    let length = |range: &Range<usize>| content[range.clone()].chars().count();
    if content.chars().nth(most).is_none() {
        return std::iter::once(0..content.len()).collect();
    }
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut current: Option<Range<usize>> = None;
    let mut last: Option<Range<usize>> = None;
    for sentence in sentences(content).into_iter().flat_map(|sentence| pieces(content, sentence, most)) {
        let longer = current.as_ref().map(|current| current.start..sentence.end);
        current = Some(match longer {
            Some(longer) if length(&longer) <= most => longer,
            None => sentence.clone(),
            Some(_) => {
                found.extend(current.take());
                let with_last = last.as_ref().map(|last| last.start..sentence.end);
                let repeats = last.as_ref().is_some_and(|last| length(last) * OVERLAP <= most);
                with_last.filter(|range| repeats && length(range) <= most).unwrap_or_else(|| sentence.clone())
            }
        });
        last = Some(sentence);
    }
    found.extend(current);
    found
}

/// A sentence in pieces of at most `most` characters.
fn pieces(content: &str, sentence: Range<usize>, most: usize) -> Vec<Range<usize>> {
    let starts = content[sentence.clone()].char_indices().step_by(most).map(|(at, _)| sentence.start + at);
    let starts: Vec<usize> = starts.collect();
    let ends = starts.iter().skip(1).copied().chain([sentence.end]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(content: &str, most: usize) -> Vec<&str> {
        passages(content, most).into_iter().map(|range| &content[range]).collect()
    }

    #[test]
    fn a_short_content_stays_whole_and_a_long_one_is_cut_at_the_ends_of_sentences() {
        assert_eq!(split(" 体温36.5℃。 ", 20), [" 体温36.5℃。 "]);
        assert_eq!(split("", 5), [""]);
        assert_eq!(
            split("熱なし。食欲は普段の八割ほど。次回は火曜日の十時。", 18),
            ["熱なし。食欲は普段の八割ほど。", "次回は火曜日の十時。"]
        );
        // A short last sentence is said again.
        assert_eq!(
            split("食欲は普段の八割ほど。熱なし。次回は火曜日の十時。", 18),
            ["食欲は普段の八割ほど。熱なし。", "熱なし。次回は火曜日の十時。"]
        );
    }

    #[test]
    fn a_sentence_that_is_too_long_is_cut_where_it_must_be() {
        assert_eq!(split("あいうえおかきくけこ", 4), ["あいうえ", "おかきく", "けこ"]);
    }

    proptest! {
        #[test]
        fn every_sentence_is_in_some_passage_and_none_is_too_long(
            content in "[あ漢a。！\\n 「」]{0,80}", most in 1usize..20,
        ) {
            let found = passages(&content, most);
            prop_assert!(found.iter().all(|range| content[range.clone()].chars().count() <= most));
            prop_assert!(found.is_sorted_by(|a, b| a.start < b.start && a.end < b.end));
            for sentence in sentences(&content) {
                let mut covered = sentence.clone();
                for range in &found {
                    if range.start <= covered.start {
                        covered.start = covered.start.max(range.end);
                    }
                }
                prop_assert!(covered.start >= covered.end, "{sentence:?} of {content:?} in {found:?}");
            }
        }
    }
}

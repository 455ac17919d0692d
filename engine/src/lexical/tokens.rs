//! Tokens of mixed Japanese and Latin text for keyword search.
//!
//! Japanese is written without spaces: runs of kanji and kana give overlapping pairs of characters, and single kanji and
//! katakana. Runs of letters and digits (`38.5°c`, `120/80`, `5mg`) are one token, and their parts are tokens too; English
//! words are stemmed (Porter's second stemmer), so that `symptoms` finds `symptom`.

use rust_stemmers::{Algorithm, Stemmer};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::words::{Script, Symbol, normalise};

/// Part of every hash. A change of it, or of any rule in this file, needs another layout version of the section.
const SEED: u64 = 0x6b61_7275_7465_0010;
/// Words of so many letters are not stemmed: abbreviations such as ADL.
const SHORT: usize = 3;

/// The tokens of `text` as hashes, in order, repeated as they occur.
pub fn tokens(text: &str) -> Vec<u64> {
    let symbols = normalise(text);
    let stemmer = Stemmer::create(Algorithm::English);
    let mut found = Vec::with_capacity(symbols.len() * 2);
    let mut buffer = String::new();
    let mut add = |symbols: &[Symbol]| {
        buffer.clear();
        buffer.extend(symbols.iter().map(|symbol| symbol.folded));
        let word = symbols.len() > SHORT && buffer.bytes().all(|byte| byte.is_ascii_lowercase());
        match word {
            true => found.push(hash(&stemmer.stem(&buffer))),
            false => found.push(hash(&buffer)),
        }
    };
    for run in symbols.chunk_by(|a, b| is_japanese(*a) == is_japanese(*b) && separates(*a) == separates(*b)) {
        if separates(run[0]) {
            continue;
        }
        if is_japanese(run[0]) {
            for pair in run.windows(2) {
                add(pair);
            }
            for symbol in run.iter().filter(|symbol| symbol.script != Script::Hiragana || run.len() == 1) {
                add(std::slice::from_ref(symbol));
            }
        } else {
            add(run);
            // 145/90 is found by 145, too.
            let slash = |symbol: &Symbol| symbol.folded == '/';
            let mut parts = run
                .chunk_by(|a, b| a.script == b.script && !slash(a) && !slash(b))
                .filter(|part| !slash(&part[0]))
                .peekable();
            let first = parts.next();
            if parts.peek().is_some() {
                first.into_iter().chain(parts).for_each(&mut add);
            }
        }
    }
    found
}

/// The tokens of a question, ascending, each worth as much as it occurs: what
/// [`Index::keyword_search`](crate::Index::keyword_search) takes.
pub fn counted(text: &str) -> Vec<(u64, f32)> {
    let mut found = tokens(text);
    found.sort_unstable();
    found.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as f32)).collect()
}

fn hash(text: &str) -> u64 {
    xxh3_64_with_seed(text.as_bytes(), SEED)
}

fn is_japanese(symbol: Symbol) -> bool {
    matches!(symbol.script, Script::Han | Script::Hiragana | Script::Katakana)
}

fn separates(symbol: Symbol) -> bool {
    symbol.script == Script::Separator
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_thing_in_two_spellings_has_the_same_tokens() {
        for (a, b) in [
            ("ﾊﾞﾙｰﾝ", "バルーン"),
            ("ＳｐＯ２　９６％", "SpO2 96%"),
            ("時々", "時時"),
            ("symptoms", "Symptom"),
            ("体温３８．５℃", "体温38.5℃"),
        ] {
            assert_eq!(tokens(a), tokens(b), "{a} and {b}");
        }
    }

    #[test]
    fn numbers_with_units_are_tokens_and_so_are_their_parts() {
        let found = tokens("ワーファリン5mg、120/80");
        for token in ["5mg", "5", "mg", "120/80", "120", "80"] {
            assert!(found.contains(&hash(token)), "{token}");
        }
        assert!(!tokens("50mg").contains(&hash("5mg")));
    }

    #[test]
    fn words_that_share_one_kanji_share_one_token() {
        let other = tokens("発熱");
        assert_eq!(tokens("熱心").into_iter().filter(|token| other.contains(token)).count(), 1);
    }

    #[test]
    fn hashes_never_change() {
        // A constant of the format: snapshots in the field hold them.
        assert_eq!(
            tokens("発熱"),
            [14_907_283_311_112_692_903, 1_600_080_044_677_546_038, 568_218_945_542_503_936]
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = tokens(&text);
        }
    }
}

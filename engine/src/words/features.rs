//! What of a text counts when two texts are compared by their wording.
//!
//! Japanese is written without spaces, so runs of kanji and kana are cut into overlapping pieces of two and three
//! characters, and single kanji; runs of letters and digits (`38.5°c`, `5mg`, `spo2`) are taken whole and by their
//! parts. A piece weighs less the more hiragana it has, because hiragana mostly writes particles and endings.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::normalise::{Script, Symbol, normalise};

/// A piece of text: what it is, how much it says, how often it occurs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Feature {
    /// Hash of the folded piece, the same on every machine and in every version.
    pub hash: u64,
    /// How much one occurrence says, 0 to 1.
    pub weight: f32,
    /// Occurrences in the text, at least 1.
    pub count: u32,
}

/// Part of every hash. Changing it, or any rule in this file, changes what vectors mean: the local embedder's version
/// must change with it.
const SEED: u64 = 0x6b61_7275_7465_0001;

const HIRAGANA_WEIGHT: f32 = 0.1;
const SINGLE_KANJI_WEIGHT: f32 = 0.3;
const PART_WEIGHT: f32 = 0.5;

/// The features of `text`, ascending by hash, each once.
pub fn features(text: &str) -> Vec<Feature> {
    let mut found = Vec::with_capacity(text.len());
    each_feature(text, |feature| found.push(feature));
    // One piece written in two scripts keeps its larger weight, whatever the order of the text.
    found.sort_unstable_by(|a: &Feature, b| a.hash.cmp(&b.hash).then(b.weight.total_cmp(&a.weight)));
    found.dedup_by(|later, first| {
        let same = later.hash == first.hash;
        first.count += u32::from(same);
        same
    });
    found
}

/// Gives every piece of `text` to `found`, each as often as it occurs, in no order.
pub fn each_feature(text: &str, mut found: impl FnMut(Feature)) {
    let symbols = normalise(text);
    let mut piece = String::new();
    let mut feature = |symbols: &[Symbol], weight: f32| {
        piece.clear();
        piece.extend(symbols.iter().map(|symbol| symbol.folded));
        found(Feature { hash: xxh3_64_with_seed(piece.as_bytes(), SEED), weight, count: 1 });
    };
    for run in symbols.chunk_by(|a, b| kind(*a) == kind(*b)) {
        match kind(run[0]) {
            Kind::Japanese => japanese(run, &mut feature),
            Kind::Latin => latin(run, &mut feature),
            Kind::Gap => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Japanese,
    Latin,
    Gap,
}

fn kind(symbol: Symbol) -> Kind {
    match symbol.script {
        Script::Han | Script::Hiragana | Script::Katakana => Kind::Japanese,
        Script::Letter | Script::Digit => Kind::Latin,
        Script::Separator => Kind::Gap,
    }
}

fn japanese(run: &[Symbol], feature: &mut impl FnMut(&[Symbol], f32)) {
    for size in [2, 3] {
        for piece in run.windows(size) {
            feature(piece, weight(piece));
        }
    }
    for symbol in run.iter().filter(|symbol| symbol.script == Script::Han || run.len() == 1) {
        let single = std::slice::from_ref(symbol);
        feature(single, SINGLE_KANJI_WEIGHT * weight(single));
    }
}

fn latin(run: &[Symbol], feature: &mut impl FnMut(&[Symbol], f32)) {
    feature(run, 1.0);
    let mut parts = run.chunk_by(|a, b| a.script == b.script).peekable();
    let first = parts.next();
    if parts.peek().is_some() {
        first.into_iter().chain(parts).for_each(|part| feature(part, PART_WEIGHT));
    }
}

/// The square of the share that is not hiragana: a piece that straddles a word and the particle behind it says
/// little, since the same word stands before other particles elsewhere.
fn weight(piece: &[Symbol]) -> f32 {
    let telling = piece.iter().filter(|symbol| symbol.script != Script::Hiragana).count();
    let share = telling as f32 / piece.len() as f32;
    (share * share).max(HIRAGANA_WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(a: &str, b: &str) -> usize {
        let b = features(b);
        features(a).iter().filter(|x| b.iter().any(|y| y.hash == x.hash)).count()
    }

    #[test]
    fn one_word_in_two_spellings_has_the_same_features() {
        assert_eq!(shared("バルーン", "ﾊﾞﾙｰﾝ"), features("バルーン").len());
        assert_eq!(shared("ＳｐＯ２", "spo2"), features("spo2").len());
    }

    #[test]
    fn words_that_share_one_kanji_share_little() {
        assert_eq!(shared("熱心", "発熱"), 1);
    }

    #[test]
    fn repeated_pieces_are_counted() {
        let tens = features("5mg 5mg");
        assert!(tens.iter().all(|feature| feature.count == 2), "{tens:?}");
    }

    #[test]
    fn hashes_never_change() {
        // A constant of the format: snapshots in the field hold vectors made from it.
        assert_eq!(features("熱").iter().map(|f| f.hash).collect::<Vec<_>>(), [GOLDEN_HEAT]);
    }

    const GOLDEN_HEAT: u64 = 5_082_281_079_084_959_396;
}

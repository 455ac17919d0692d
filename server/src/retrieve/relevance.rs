//! How much of a question a text covers, by wording.

use std::collections::HashMap;

use karute_engine::Row;
use karute_engine::words::{Feature, Script, Symbol, each_feature, features, normalise};

use super::understand::ExpandedTerm;
use super::wording::beside;

/// Wording of questions that says nothing about what is asked for.
const ASKING: [&str; 25] = [
    "教えてください",
    "教えて下さい",
    "教えて",
    "知りたい",
    "いつですか",
    "いつから",
    "何ですか",
    "何回",
    "何時",
    "何日",
    "どこですか",
    "どこ",
    "誰ですか",
    "誰",
    "だれ",
    "どうして",
    "何",
    "理由は",
    "いくつ",
    "どのくらい",
    "どれくらい",
    "ですか",
    "ますか",
    "でしょうか",
    "について",
];

/// What a word of the question counts where a row has another word for it.
const BY_ANOTHER_NAME: f32 = 0.9;
/// The share of a word's pieces that must be there for the word to be there.
const THERE: f32 = 0.8;

/// The pieces of a question and of the other names of its terms: all that is looked for in a text.
#[derive(Clone, Debug)]
pub(crate) struct Vocabulary {
    places: HashMap<u64, usize>,
    /// One bit for each remainder of a known hash: nearly every piece of a text is known by it to be none of these.
    remainders: Box<[u64; REMAINDERS / 64]>,
    question: Vec<(usize, f32)>,
    synonyms: Vec<Synonyms>,
    words: Vec<Vec<(usize, f32)>>,
}

/// Far more than a question has pieces.
const REMAINDERS: usize = 4096;

fn remainder(hash: u64) -> usize {
    (hash % REMAINDERS as u64) as usize
}

/// A term of the question: the pieces of its form there, and of each other form.
#[derive(Clone, Debug)]
struct Synonyms {
    form: Held,
    others: Vec<Vec<(usize, f32)>>,
}

/// Which pieces of a [`Vocabulary`] a text holds: one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held(Vec<u64>);

impl Held {
    fn insert(&mut self, place: usize) {
        if self.0.len() <= place / 64 {
            self.0.resize(place / 64 + 1, 0);
        }
        self.0[place / 64] |= 1 << (place % 64);
    }

    fn contains(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    /// Adds the pieces of `other`.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    /// The pieces of both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.add(other);
        both
    }
}

impl Vocabulary {
    /// The pieces of `question` without the wording of asking, and of the other names of `terms`.
    pub(crate) fn new(question: &str, terms: &[ExpandedTerm]) -> Self {
        let asked = ASKING.iter().fold(question.to_owned(), |text, asking| text.replace(asking, " "));
        let mut places = HashMap::new();
        let mut place = |piece: Feature| {
            let next = places.len();
            (*places.entry(piece.hash).or_insert(next), piece.weight)
        };
        let question = features(&asked).into_iter().map(&mut place).collect();
        let synonyms = terms.iter().map(|term| {
            let mut form = Held::default();
            features(&term.form).into_iter().for_each(|piece| form.insert(place(piece).0));
            let others = term.others.iter();
            let others = others.map(|other| features(other).into_iter().map(&mut place).collect()).collect();
            Synonyms { form, others }
        });
        let synonyms = synonyms.collect();
        let words =
            words(&asked).iter().map(|word| features(word).into_iter().map(&mut place).collect()).collect();
        let mut remainders = Box::new([0; REMAINDERS / 64]);
        for hash in places.keys() {
            let at = remainder(*hash);
            remainders[at / 64] |= 1 << (at % 64);
        }
        Self { places, remainders, question, synonyms, words }
    }

    /// The pieces that `text` holds.
    pub(crate) fn held(&self, text: &str) -> Held {
        let mut held = Held::default();
        each_feature(text, |piece| self.note(piece.hash, &mut held));
        held
    }

    /// The pieces among these.
    pub(crate) fn held_of(&self, pieces: &[u64]) -> Held {
        let mut held = Held::default();
        pieces.iter().for_each(|hash| self.note(*hash, &mut held));
        held
    }

    fn note(&self, hash: u64, held: &mut Held) {
        let at = remainder(hash);
        if self.remainders[at / 64] >> (at % 64) & 1 == 1
            && let Some(place) = self.places.get(&hash)
        {
            held.insert(*place);
        }
    }

    /// The share of the question's words that a text with the pieces `held` holds, by themselves or by another name.
    pub(crate) fn words_in(&self, held: &Held) -> f32 {
        let named_otherwise = |word: &[(usize, f32)]| {
            self.synonyms.iter().any(|synonyms| {
                word.iter().all(|(place, _)| synonyms.form.contains(*place))
                    && synonyms.others.iter().any(|other| there(other, held))
            })
        };
        let found = self.words.iter().filter(|word| there(word, held) || named_otherwise(word)).count();
        if self.words.is_empty() { 0.0 } else { found as f32 / self.words.len() as f32 }
    }

    /// The pieces of what stands beside a row's content: title, tags and keywords.
    pub(crate) fn beside(&self, row: &Row) -> Held {
        self.held(&beside(row))
    }
}

/// The pieces of a question, each with how much it tells one row from another.
#[derive(Clone, Debug)]
pub(crate) struct Relevance<'a> {
    vocabulary: &'a Vocabulary,
    pieces: Vec<(usize, f32)>,
    total: f32,
}

impl<'a> Relevance<'a> {
    /// Weighs the pieces of a question by how rare they are among the retrieved rows: a client's name that stands in
    /// all of them tells nothing apart, and a word that stands in none counts fully against every row.
    pub(crate) fn new(vocabulary: &'a Vocabulary, rows: &[Held]) -> Self {
        let weigh = |&(place, weight): &(usize, f32)| {
            let holding = rows.iter().filter(|row| row.contains(place)).count();
            (place, weight * rarity(holding, rows.len()))
        };
        let pieces: Vec<(usize, f32)> = vocabulary.question.iter().map(weigh).collect();
        let total = pieces.iter().map(|(_, weight)| weight).sum();
        Self { vocabulary, pieces, total }
    }

    /// The share of the question that a text with the pieces `held` covers, 0 to 1.
    pub(crate) fn covered(&self, held: &Held) -> f32 {
        if self.total <= 0.0 {
            return 0.0;
        }
        let otherwise = |synonyms: &&Synonyms| synonyms.others.iter().any(|other| there(other, held));
        let named_otherwise: Vec<&Synonyms> = self.vocabulary.synonyms.iter().filter(otherwise).collect();
        let worth = |&(place, weight): &(usize, f32)| {
            if held.contains(place) {
                weight
            } else if named_otherwise.iter().any(|synonyms| synonyms.form.contains(place)) {
                weight * BY_ANOTHER_NAME
            } else {
                0.0
            }
        };
        self.pieces.iter().map(worth).sum::<f32>() / self.total
    }
}

/// The words of a question that carry its meaning: runs of kanji, of katakana, of letters and digits. Hiragana writes mostly
/// what joins them.
fn words(question: &str) -> Vec<String> {
    let symbols = normalise(question);
    let kind = |symbol: &Symbol| match symbol.script {
        Script::Letter | Script::Digit => Script::Letter,
        other => other,
    };
    let runs = symbols.chunk_by(|a, b| kind(a) == kind(b));
    let telling = runs.filter(|run| matches!(kind(&run[0]), Script::Han | Script::Katakana | Script::Letter));
    telling.map(|run| run.iter().map(|symbol| symbol.folded).collect()).collect()
}

/// How much a piece that `holding` of `rows` have tells one from another.
pub(crate) fn rarity(holding: usize, rows: usize) -> f32 {
    (1.0 + (rows as f32 + 1.0) / (holding as f32 + 0.5)).ln()
}

/// Whether a text with the pieces `held` holds the word with the pieces `word`.
fn there(word: &[(usize, f32)], held: &Held) -> bool {
    let (mut all, mut found) = (0.0, 0.0);
    for &(place, weight) in word {
        all += weight;
        found += if held.contains(place) { weight } else { 0.0 };
    }
    all > 0.0 && found >= all * THERE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of `question` the best of `rows` covers.
    fn best(question: &str, rows: &[(&str, &str)]) -> f32 {
        let vocabulary = Vocabulary::new(question, &[]);
        let rows: Vec<Held> =
            rows.iter().map(|(title, content)| vocabulary.held(&format!("{title}\n{content}"))).collect();
        let relevance = Relevance::new(&vocabulary, &rows);
        rows.iter().map(|row| relevance.covered(row)).fold(0.0, f32::max)
    }

    #[test]
    fn what_is_asked_for_counts_more_than_the_name_that_all_rows_share() {
        let rows = [
            ("久保田 実 訪問記録", "膀胱留置カテーテルを交換した。次回交換は10月20日。"),
            ("久保田 実 連絡", "訪問時間を14時に変更した。"),
        ];
        assert!(best("久保田さんのカテーテルの次回交換はいつですか", &rows) > 0.6);
        assert!(best("久保田さんの血液型は何ですか", &rows) < 0.4);
        assert!(best("駐車場の契約料金を教えてください", &rows) < 0.2);
    }

    #[test]
    fn another_word_for_the_same_thing_covers_it_nearly_as_well() {
        let term = ExpandedTerm {
            form: "バルーン".into(),
            others: vec!["膀胱留置カテーテル".into(), "尿カテ".into()],
            ..ExpandedTerm::default()
        };
        let covered = |terms: &[ExpandedTerm]| {
            let vocabulary = Vocabulary::new("バルーンの交換", terms);
            Relevance::new(&vocabulary, &[])
                .covered(&vocabulary.held("膀胱留置カテーテルの交換は毎月第2火曜。"))
        };
        let (without, with) = (covered(&[]), covered(&[term]));
        assert!(with > without + 0.3, "{without} {with}");
    }

    #[test]
    fn without_words_nothing_is_covered() {
        assert_eq!(best("？？", &[("a", "b")]), 0.0);
        assert_eq!(best("体温は", &[]), 0.0);
    }
}

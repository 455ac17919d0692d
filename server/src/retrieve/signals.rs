//! What is known of a candidate besides the rank that each arm gave it: what the local reranker and the gate judge by.

use std::collections::HashMap;
use std::sync::Arc;

use karute_engine::Row;
use karute_engine::lexical::tokens::tokens;
use karute_engine::words::{Script, normalise};
use serde::Serialize;

use super::relevance::{Held, Relevance, Vocabulary, rarity};
use super::understand::ExpandedTerm;
use super::wording::Wording;

/// How much of what only the row's title covers counts for each of its sentences: records name the client in the title
/// and go on without.
pub(crate) const TITLE_SHARE: f32 = 0.5;
/// How far apart two neighbouring words of the question may stand in a row, in words.
const NEAR: usize = 3;

/// What is known of a candidate; each 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Signals {
    /// The mixed score of both arms.
    pub mixed: f32,
    /// The share of the question that the whole row covers.
    pub row: f32,
    /// The share of the question that its best sentence covers, with the title for half of what only that covers.
    pub sentence: f32,
    /// The share of the question that its title covers.
    pub title: f32,
    /// The share of the question's words, runs of kanji, katakana or Latin letters and digits, that it holds for the greater part.
    pub words: f32,
    /// The share of the question's neighbouring words that stand near each other in it; 0 for a question in Japanese,
    /// whose pieces hold their neighbours.
    pub near: f32,
    /// The share of the question that is written in Japanese: the same for all of its candidates.
    pub japanese: f32,
}

/// A candidate: its row, the row taken apart, its mixed score.
pub type Candidate<'a> = (&'a Row, Arc<Wording>, f32);

/// The signals of each of `rows`, candidates of one question.
pub fn signals(question: &str, terms: &[ExpandedTerm], rows: &[Candidate<'_>]) -> Vec<Signals> {
    let vocabulary = Vocabulary::new(question, terms);
    let parts: Vec<Parts> = rows.iter().map(|(_, wording, _)| Parts::of(wording, &vocabulary)).collect();
    let whole: Vec<Held> = parts.iter().map(Parts::whole).collect();
    let relevance = Relevance::new(&vocabulary, &whole);
    let japanese = japanese(question);
    let near = if japanese < 1.0 { near(question, rows) } else { vec![0.0; rows.len()] };
    let mut all = Vec::with_capacity(rows.len());
    for (at, ((_, _, mixed), parts)) in rows.iter().zip(&parts).enumerate() {
        let best = parts.sentences.iter().map(|sentence| {
            let alone = relevance.covered(sentence);
            alone + TITLE_SHARE * (relevance.covered(&sentence.and(&parts.title)) - alone)
        });
        all.push(Signals {
            mixed: *mixed,
            row: relevance.covered(&whole[at]),
            sentence: best.fold(0.0, f32::max),
            title: relevance.covered(&parts.title),
            words: vocabulary.words_in(&whole[at]),
            near: near[at],
            japanese,
        });
    }
    all
}

/// What each part of a row holds of a question.
struct Parts {
    title: Held,
    beside: Held,
    sentences: Vec<Held>,
}

impl Parts {
    fn of(wording: &Wording, vocabulary: &Vocabulary) -> Self {
        Self {
            title: vocabulary.held_of(&wording.title),
            beside: vocabulary.held_of(&wording.beside),
            sentences: wording.sentences.iter().map(|pieces| vocabulary.held_of(pieces)).collect(),
        }
    }

    /// What the row holds. No piece of wording reaches over the end of a sentence.
    fn whole(&self) -> Held {
        let mut whole = self.beside.clone();
        self.sentences.iter().for_each(|sentence| whole.add(sentence));
        whole
    }
}

/// The share of the letters of `question` that are Japanese; digits and signs count for neither side.
fn japanese(question: &str) -> f32 {
    let symbols = normalise(question);
    let count = |is: fn(Script) -> bool| symbols.iter().filter(|symbol| is(symbol.script)).count() as f32;
    let japanese = count(|script| matches!(script, Script::Han | Script::Hiragana | Script::Katakana));
    let other = count(|script| script == Script::Letter);
    if japanese + other > 0.0 { japanese / (japanese + other) } else { 1.0 }
}

/// For each row, the share of the question's neighbouring words that stand near each other there, by rarity.
fn near(question: &str, rows: &[Candidate<'_>]) -> Vec<f32> {
    let words = tokens(question);
    let places_in = |(row, ..): &Candidate<'_>| {
        let mut places: HashMap<u64, Vec<usize>> = HashMap::new();
        let text = format!("{}\n{}", row.title, row.content);
        for (at, token) in tokens(&text).into_iter().enumerate().filter(|(_, token)| words.contains(token)) {
            places.entry(token).or_default().push(at);
        }
        places
    };
    let texts: Vec<HashMap<u64, Vec<usize>>> = rows.iter().map(places_in).collect();
    let weight =
        |token: &u64| rarity(texts.iter().filter(|places| places.contains_key(token)).count(), texts.len());
    let pairs: Vec<(u64, u64, f32)> =
        words.windows(2).map(|pair| (pair[0], pair[1], weight(&pair[0]) * weight(&pair[1]))).collect();
    let whole: f32 = pairs.iter().map(|(_, _, weight)| weight).sum();
    let beside = |places: &HashMap<u64, Vec<usize>>, a: &u64, b: &u64| {
        let (Some(a), Some(b)) = (places.get(a), places.get(b)) else { return false };
        a.iter().any(|a| b.iter().any(|b| a != b && a.abs_diff(*b) <= NEAR))
    };
    let share = |places: &HashMap<u64, Vec<usize>>| {
        let found = pairs.iter().filter(|(a, b, _)| beside(places, a, b));
        if whole > 0.0 { found.map(|(_, _, weight)| weight).sum::<f32>() / whole } else { 0.0 }
    };
    texts.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(title: &str, content: &str) -> Row {
        Row { title: title.into(), content: content.into(), ..Row::default() }
    }

    fn candidate(row: &Row) -> Candidate<'_> {
        (row, Arc::new(Wording::of(row)), 0.5)
    }

    #[test]
    fn a_sentence_that_says_it_all_counts_more_than_words_here_and_there() {
        let together = row("久保田 実", "入浴した。カテーテルの次回交換は10月20日。");
        let apart = row("久保田 実", "カテーテルに異常なし。次回訪問は火曜。交換した物品を補充。");
        let known =
            signals("久保田さんのカテーテルの次回交換", &[], &[candidate(&together), candidate(&apart)]);
        assert!(known[0].sentence > known[1].sentence + 0.1, "{known:?}");
        assert_eq!((known[0].japanese, known[0].near), (1.0, 0.0));
    }

    #[test]
    fn english_words_that_stand_together_in_the_question_count_where_they_stand_together() {
        let together = row("", "The blood pressure was high.");
        let apart = row("", "Pressure sores were cleaned on Monday and again on Friday; blood was drawn.");
        let known = signals("high blood pressure", &[], &[candidate(&together), candidate(&apart)]);
        assert!(known[0].near > known[1].near, "{known:?}");
    }
}

//! How much of a question a text covers, by wording.

use std::collections::HashSet;

use karute_engine::words::{Feature, features};

use super::Evidence;

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

/// The pieces of a question, each with how much it tells one row from another.
#[derive(Clone, Debug)]
pub(super) struct Relevance {
    pieces: Vec<(u64, f32)>,
    total: f32,
}

/// The pieces that a text holds.
#[derive(Clone, Debug)]
pub(super) struct Held(HashSet<u64>);

impl Held {
    /// The pieces of `text`.
    pub(super) fn of(text: &str) -> Self {
        Self(features(text).into_iter().map(|feature| feature.hash).collect())
    }
}

impl Relevance {
    /// Weighs the pieces of `question` by how rare they are among the retrieved rows: a client's name that stands in
    /// all of them tells nothing apart, and a word that stands in none counts fully against every row.
    pub(super) fn new(question: &str, rows: &[Held]) -> Self {
        let question = ASKING.iter().fold(question.to_owned(), |text, asking| text.replace(asking, " "));
        let weigh = |piece: Feature| {
            let holding = rows.iter().filter(|row| row.0.contains(&piece.hash)).count() as f32;
            let rarity = (1.0 + (rows.len() as f32 + 1.0) / (holding + 0.5)).ln();
            (piece.hash, piece.weight * rarity)
        };
        let pieces: Vec<(u64, f32)> = features(&question).into_iter().map(weigh).collect();
        let total = pieces.iter().map(|(_, weight)| weight).sum();
        Self { pieces, total }
    }

    /// The share of the question that a text with the pieces `held` covers, 0 to 1.
    pub(super) fn covered(&self, held: &Held) -> f32 {
        if self.total <= 0.0 {
            return 0.0;
        }
        let covered = self.pieces.iter().filter(|(hash, _)| held.0.contains(hash)).map(|(_, weight)| weight);
        covered.sum::<f32>() / self.total
    }
}

/// The pieces of everything of a row that a question may name. Of a very long content only the front counts, so that one row cannot
/// make every question slow.
pub(super) fn held_by(Evidence { row, .. }: &Evidence) -> Held {
    const FRONT: usize = 4_000;
    let content: String = row.content.chars().take(FRONT).collect();
    Held::of(&format!("{}\n{}\n{}\n{}", row.title, content, row.tags.join(" "), row.keywords.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use karute_engine::Row;

    /// How much of `question` the best of `rows` covers.
    fn best(question: &str, rows: &[(&str, &str)]) -> f32 {
        let evidence = |(title, content): &(&str, &str)| Evidence {
            row: Row { title: (*title).into(), content: (*content).into(), ..Row::default() },
            similarity: 0.5,
            score: 0.0,
            about: true,
            ..Evidence::default()
        };
        let rows: Vec<Held> = rows.iter().map(evidence).map(|evidence| held_by(&evidence)).collect();
        let relevance = Relevance::new(question, &rows);
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
    fn without_words_nothing_is_covered() {
        assert_eq!(best("？？", &[("a", "b")]), 0.0);
        assert_eq!(best("体温は", &[]), 0.0);
    }
}

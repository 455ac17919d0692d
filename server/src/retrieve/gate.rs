//! Is there an answer here? Decided before anything is answered, from the retrieved rows alone.
//!
//! The rule: the share of the question that the wording of the best single row covers must reach [`THRESHOLD`].
//! Pieces of the question count by how rare they are among the candidates, so that a client's name alone, which stands
//! in all of them, answers nothing.

use super::Evidence;

/// Least share of the question that one row must cover, 0 to 1.
const THRESHOLD: f32 = 0.4;

/// What is said when the records hold no answer. Always this sentence, so that programs and people know it.
pub const NOTHING_FOUND: &str = "記録の中に、この質問に答えられる根拠が見つかりませんでした。";

/// The gate's decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    /// Whether the records are taken to answer the question.
    pub(super) answerable: bool,
    /// The share of the question that the best row covers, 0 to 1.
    pub(super) score: f32,
}

/// Judges the retrieved rows.
pub(super) fn judge(evidence: &[Evidence]) -> Verdict {
    let about = evidence.iter().filter(|evidence| evidence.about);
    let score = about.map(|evidence| evidence.score).fold(0.0, f32::max);
    Verdict { answerable: score >= THRESHOLD, score }
}

#[cfg(test)]
mod tests {
    use super::*;
    use karute_engine::Row;

    fn judged(scores: &[f32]) -> bool {
        let evidence = |&score| Evidence {
            row: Row::default(),
            similarity: 0.5,
            score,
            about: true,
            ..Evidence::default()
        };
        judge(&scores.iter().map(evidence).collect::<Vec<_>>()).answerable
    }

    #[test]
    fn the_best_row_decides_wherever_it_stands() {
        assert!(judged(&[0.1, THRESHOLD]));
        assert!(!judged(&[THRESHOLD - 0.01; 20]));
        assert!(!judged(&[]));
    }
}

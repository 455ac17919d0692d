//! Is there an answer here? Decided before anything is answered, from the retrieved rows alone.
//!
//! The rule is a logistic one over what the best rows say: a probability that the records answer the question, and a
//! threshold. Weights and threshold are fitted on judged questions by `karute eval --calibrate`; those that ship were fitted
//! on `tests/eval/tune.jsonl`. What an embedder's cosines mean differs from one to the next, so a gate belongs to one
//! embedding model; for any other it judges without cosines.

use serde::{Deserialize, Serialize};

use super::Evidence;

/// What is said when the records hold no answer. Always this sentence, so that programs and people know it.
pub const NOTHING_FOUND: &str = "記録の中に、この質問に答えられる根拠が見つかりませんでした。";

/// How many things the gate looks at.
pub const FEATURES: usize = 7;
/// What they are, in order.
pub const NAMES: [&str; FEATURES] = ["row", "sentence", "title", "keywords", "mixed", "words", "cosine"];

/// The gate's decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether the records are taken to answer the question.
    pub answerable: bool,
    /// The probability that they do, 0 to 1.
    pub score: f32,
}

/// A rule that decides whether there is an answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// The embedding model whose cosines it knows.
    pub embedder: String,
    /// What each feature of [`NAMES`] is worth.
    pub weights: [f32; FEATURES],
    /// What is added.
    pub bias: f32,
    /// The least probability of an answer that counts as one, 0 to 1.
    pub threshold: f32,
    /// Where the numbers come from: for people.
    pub origin: String,
}

impl Gate {
    /// The place of the cosine among the features.
    pub const COSINE: usize = 6;

    /// The gate that ships for vectors of `embedder`.
    pub fn shipped(embedder: &str) -> Self {
        let gates: Vec<Self> = serde_json::from_str(include_str!("gates.json")).unwrap_or_default();
        let closed = Self { origin: "none".into(), threshold: 1.0, ..Self::default() };
        let fitting = |gate: &&Self| gate.embedder == embedder || gate.embedder.is_empty();
        gates.iter().find(fitting).cloned().unwrap_or(closed)
    }

    /// The probability that the records answer a question with these features, 0 to 1.
    pub fn probability(&self, features: &[f32; FEATURES]) -> f32 {
        let sum: f32 = self.weights.iter().zip(features).map(|(weight, feature)| weight * feature).sum();
        1.0 / (1.0 + (-(sum + self.bias)).exp())
    }

    /// Judges retrieved rows. Rows that speak of somebody else than the question count for nothing.
    pub fn judge(&self, evidence: &[Evidence]) -> Verdict {
        let Some(features) = features(evidence) else { return Verdict::default() };
        let score = self.probability(&features);
        Verdict { answerable: score >= self.threshold, score }
    }
}

/// What the best rows say, each 0 to 1 (the cosine -1 to 1); `None` without a row about whom the question names.
pub fn features(evidence: &[Evidence]) -> Option<[f32; FEATURES]> {
    let about: Vec<&Evidence> = evidence.iter().filter(|evidence| evidence.about).collect();
    let most = |of: fn(&Evidence) -> f32| about.iter().map(|evidence| of(evidence)).fold(0.0, f32::max);
    (!about.is_empty()).then(|| {
        [
            most(|evidence| evidence.signals.row),
            most(|evidence| evidence.signals.sentence),
            most(|evidence| evidence.signals.title),
            most(|evidence| evidence.keywords),
            most(|evidence| evidence.signals.mixed),
            most(|evidence| evidence.signals.words),
            most(|evidence| evidence.similarity),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retrieve::signals::Signals;

    #[test]
    fn every_shipped_gate_can_be_read_and_the_last_fits_any_embedder() {
        let own = Gate::shipped("karute-lexical-1");
        let other = Gate::shipped("a model of tomorrow");
        assert_eq!(own.embedder, "karute-lexical-1");
        assert_eq!((other.embedder.as_str(), other.weights[Gate::COSINE]), ("", 0.0));
        for gate in [own, other] {
            assert!(gate.threshold > 0.0 && gate.threshold < 1.0, "{gate:?}");
        }
    }

    #[test]
    fn rows_about_others_answer_nothing_and_good_ones_do() {
        let gate = Gate::shipped("karute-lexical-1");
        let signals =
            Signals { row: 1.0, sentence: 1.0, title: 1.0, mixed: 1.0, words: 1.0, ..Signals::default() };
        let good = Evidence { signals, keywords: 0.9, similarity: 0.8, about: true, ..Evidence::default() };
        assert!(gate.judge(std::slice::from_ref(&good)).answerable);
        assert!(!gate.judge(&[Evidence { about: false, ..good }]).answerable);
        assert!(!gate.judge(&[Evidence { about: true, ..Evidence::default() }]).answerable);
        assert!(!gate.judge(&[]).answerable);
    }
}

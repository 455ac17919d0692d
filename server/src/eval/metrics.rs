//! Measures of a ranking against judged rows, by the definitions of trec_eval: nDCG with linear gains over log2(rank + 1),
//! recall over all relevant rows, reciprocal rank of the first. Means are over questions.

use std::collections::HashMap;
use std::hash::Hash;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

/// How well a ranking finds what is relevant; each 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// nDCG over the first five rows.
    pub ndcg_5: f64,
    /// nDCG over the first ten rows.
    pub ndcg_10: f64,
    /// Share of the relevant rows among the first five.
    pub recall_5: f64,
    /// Share of the relevant rows among the first ten.
    pub recall_10: f64,
    /// Share of the relevant rows among the first twenty.
    pub recall_20: f64,
    /// One divided by the rank of the first relevant row, if that is among the first ten.
    pub mrr_10: f64,
    /// Whether the first row is relevant.
    pub hit_1: f64,
}

impl Measures {
    /// Of one ranking, best first. `grades` says how relevant a row is; a row that it lacks, or grades 0, is not.
    pub fn of<Id: Eq + Hash>(ranking: &[Id], grades: &HashMap<Id, f64>) -> Self {
        let gains: Vec<f64> =
            ranking.iter().map(|id| grades.get(id).copied().unwrap_or(0.0).max(0.0)).collect();
        let relevant = grades.values().filter(|grade| **grade > 0.0).count().max(1) as f64;
        let mut ideal: Vec<f64> = grades.values().copied().filter(|grade| *grade > 0.0).collect();
        ideal.sort_unstable_by(|a, b| b.total_cmp(a));
        let dcg = |gains: &[f64], depth: usize| -> f64 {
            gains.iter().take(depth).enumerate().map(|(rank, gain)| gain / ((rank + 2) as f64).log2()).sum()
        };
        let ndcg = |depth| {
            let best = dcg(&ideal, depth);
            if best > 0.0 { dcg(&gains, depth) / best } else { 0.0 }
        };
        let recall = |depth| gains.iter().take(depth).filter(|gain| **gain > 0.0).count() as f64 / relevant;
        let first = gains.iter().take(10).position(|gain| *gain > 0.0);
        Self {
            ndcg_5: ndcg(5),
            ndcg_10: ndcg(10),
            recall_5: recall(5),
            recall_10: recall(10),
            recall_20: recall(20),
            mrr_10: first.map_or(0.0, |rank| 1.0 / (rank + 1) as f64),
            hit_1: if first == Some(0) { 1.0 } else { 0.0 },
        }
    }

    /// The mean of several; all zero for none.
    pub fn mean(all: &[Self]) -> Self {
        let count = all.len().max(1) as f64;
        let of = |field: fn(&Self) -> f64| all.iter().map(field).sum::<f64>() / count;
        Self {
            ndcg_5: of(|m| m.ndcg_5),
            ndcg_10: of(|m| m.ndcg_10),
            recall_5: of(|m| m.recall_5),
            recall_10: of(|m| m.recall_10),
            recall_20: of(|m| m.recall_20),
            mrr_10: of(|m| m.mrr_10),
            hit_1: of(|m| m.hit_1),
        }
    }
}

/// The middle 95 % of the mean of `values` over 1,000 samples of them, the same for the same values.
pub fn interval(values: &[f64]) -> (f64, f64) {
    const SAMPLES: usize = 1_000;
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut means: Vec<f64> = (0..SAMPLES)
        .map(|_| {
            let sum: f64 = values.iter().map(|_| values[random.random_range(0..values.len())]).sum();
            sum / values.len() as f64
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    (means[SAMPLES / 40], means[SAMPLES - SAMPLES / 40 - 1])
}

/// How well unanswerable questions are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Refusals {
    /// Of the refused questions, the share that nobody could have answered.
    pub precision: f64,
    /// Of the questions that nobody could have answered, the share that was refused.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
}

impl Refusals {
    /// Of pairs: whether a question was unanswerable, and whether it was refused.
    pub fn of(judged: &[(bool, bool)]) -> Self {
        let count = |fits: fn(&(bool, bool)) -> bool| judged.iter().filter(|pair| fits(pair)).count() as f64;
        let (both, refused, unanswerable) = (count(|p| p.0 && p.1), count(|p| p.1), count(|p| p.0));
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let (precision, recall) = (share(both, refused), share(both, unanswerable));
        Self { precision, recall, f1: share(2.0 * precision * recall, precision + recall) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn grades(pairs: &[(&str, f64)]) -> HashMap<String, f64> {
        pairs.iter().map(|(id, grade)| ((*id).to_owned(), *grade)).collect()
    }

    #[test]
    fn measures_are_what_their_definitions_give_by_hand() {
        let found =
            Measures::of(&ids("x a y b z c"), &grades(&[("a", 2.0), ("b", 1.0), ("d", 1.0), ("x", 0.0)]));
        let log = |rank: f64| 1.0 / (rank + 1.0).log2();
        let ideal = 2.0 * log(1.0) + log(2.0) + log(3.0);
        assert!((found.ndcg_5 - (2.0 * log(2.0) + log(4.0)) / ideal).abs() < 1e-12);
        assert_eq!((found.recall_5, found.mrr_10, found.hit_1), (2.0 / 3.0, 0.5, 0.0));
        let perfect = Measures::of(&ids("a b"), &grades(&[("a", 1.0), ("b", 1.0)]));
        assert_eq!((perfect.ndcg_10, perfect.recall_20, perfect.hit_1), (1.0, 1.0, 1.0));
        assert_eq!(Measures::of::<String>(&[], &grades(&[("a", 1.0)])), Measures::default());
        assert_eq!(Measures::mean(&[]), Measures::default());
    }

    #[test]
    fn refusals_count_both_ways() {
        let judged = [(true, true), (true, false), (false, true), (false, false), (true, true)];
        let refusals = Refusals::of(&judged);
        assert_eq!((refusals.precision, refusals.recall), (2.0 / 3.0, 2.0 / 3.0));
        assert_eq!(Refusals::of(&[]), Refusals::default());
    }

    #[test]
    fn an_interval_holds_the_mean_and_is_the_same_again() {
        let values: Vec<f64> = (0..200).map(|at| f64::from(at % 2)).collect();
        let (low, high) = interval(&values);
        assert!(low < 0.5 && 0.5 < high && high - low < 0.2, "{low} {high}");
        assert_eq!(interval(&values), (low, high));
        assert_eq!(interval(&[]), (0.0, 0.0));
    }
}

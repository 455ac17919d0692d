//! One ranking of two: rows found by vectors and rows found by words.
//!
//! Scores of each arm are brought to 0..1 and mixed (a convex combination: Bruch, Gai and Ingber, "An Analysis of Fusion
//! Functions for Hybrid Retrieval", TOIS 2023), which keeps what ranks alone throw away: by how much a row is better.

use std::collections::HashMap;

/// How the two arms are mixed: the nearer the best vector, the more vectors are worth beside words. Vectors that are made from
/// wording are never very near and say little that words do not; those of a model of meaning are near where they know. Chosen by
/// evaluation on the tuning halves of three sets (see `benches/README.md`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fusion {
    /// What vectors would be worth if the best were the question itself; it goes with the fourth power of the best cosine.
    pub vectors: f32,
    /// Rows of each arm that take part.
    pub depth: usize,
}

/// The least and the most that vectors are worth; words are worth the rest. Neither 0 nor 1, so that each arm can decide.
const LEAST: f32 = 0.05;
const MOST: f32 = 0.45;

impl Default for Fusion {
    fn default() -> Self {
        Self { vectors: 1.5, depth: 100 }
    }
}

/// A row with what each arm says of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fused {
    /// Row number in the snapshot.
    pub row: u32,
    /// The mixed score, 0 to 1.
    pub score: f32,
    /// Rank from 0 and cosine among the rows found by vectors.
    pub by_vector: Option<(usize, f32)>,
    /// Rank from 0 and BM25F score among the rows found by words.
    pub by_words: Option<(usize, f32)>,
}

impl Fusion {
    /// What vectors are worth whose best has this cosine.
    pub fn worth(&self, best: f32) -> f32 {
        (self.vectors * best.powi(4)).clamp(LEAST, MOST)
    }

    /// Mixes two rankings, each best first, each row once. Equal scores stand in row order.
    pub fn mix(&self, by_vector: &[(u32, f32)], by_words: &[(u32, f32)]) -> Vec<Fused> {
        let mut rows: HashMap<u32, Fused> = HashMap::with_capacity(2 * self.depth);
        let fresh = |row| Fused { row, score: 0.0, by_vector: None, by_words: None };
        // A cosine has no zero of its own: the last row that takes part is taken for it. Words have one: none in common.
        let by_vector = &by_vector[..by_vector.len().min(self.depth)];
        let floor = match by_vector {
            [.., (_, last)] if by_vector.len() == self.depth => *last,
            _ => 0.0,
        };
        let by_words = &by_words[..by_words.len().min(self.depth)];
        let worth = self.worth(by_vector.first().map_or(0.0, |(_, best)| *best));
        for (rank, share, &(row, score)) in shares(by_vector, floor) {
            let fused = rows.entry(row).or_insert_with(|| fresh(row));
            fused.by_vector = Some((rank, score));
            fused.score += worth * share;
        }
        for (rank, share, &(row, score)) in shares(by_words, 0.0) {
            let fused = rows.entry(row).or_insert_with(|| fresh(row));
            fused.by_words = Some((rank, score));
            fused.score += (1.0 - worth) * share;
        }
        let mut fused: Vec<Fused> = rows.into_values().collect();
        fused.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
        fused
    }
}

/// Each hit with its rank and its score brought to 0..1: 1 for the best, 0 at `floor`.
fn shares(hits: &[(u32, f32)], floor: f32) -> impl Iterator<Item = (usize, f32, &(u32, f32))> {
    let best = hits.first().map_or(0.0, |(_, best)| *best);
    let range = best - floor;
    hits.iter().enumerate().map(move |(rank, hit)| {
        let share = match range > 0.0 {
            true => ((hit.1 - floor) / range).clamp(0.0, 1.0),
            // All alike: as good as the best, or, where nothing is alike at all, nothing.
            false => f32::from(u8::from(best > 0.0)),
        };
        (rank, share, hit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranking() -> impl Strategy<Value = Vec<(u32, f32)>> {
        proptest::collection::hash_map(0u32..60, 0.001f32..1.0, 0..40).prop_map(|hits| {
            let mut hits: Vec<(u32, f32)> = hits.into_iter().collect();
            hits.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            hits
        })
    }

    proptest! {
        #[test]
        fn every_row_of_either_arm_is_there_once_in_order_and_within_bounds(v in ranking(), w in ranking()) {
            let fused = Fusion::default().mix(&v, &w);
            let mut rows: Vec<u32> = fused.iter().map(|fused| fused.row).collect();
            rows.sort_unstable();
            let mut expected: Vec<u32> = v.iter().chain(&w).map(|hit| hit.0).collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(rows, expected);
            prop_assert!(fused.is_sorted_by(|a, b| (b.score, a.row) <= (a.score, b.row)));
            prop_assert!(fused.iter().all(|fused| (0.0..=1.0).contains(&fused.score)));
        }

        #[test]
        fn each_arm_alone_can_bring_its_best_row_into_the_first_ten(v in ranking(), w in ranking()) {
            // Whatever the other arm says, an arm whose best row leaves its others far behind is heard.
            let alone = |arm: &[(u32, f32)]| {
                let mut arm: Vec<(u32, f32)> = arm.iter().map(|&(row, score)| (row, score / 1e3)).collect();
                arm.insert(0, (1_000, 1.0));
                arm
            };
            let place = |fused: Vec<Fused>| fused.iter().position(|fused| fused.row == 1_000);
            // Near or far: the arm of vectors is that much worth.
            for best in [1.0, 0.3, 0.1] {
                let fusion = Fusion::default();
                prop_assert_eq!(place(fusion.mix(&v, &alone(&w))), Some(0));
                let near: Vec<(u32, f32)> = alone(&v).into_iter().map(|(row, score)| (row, score * best)).collect();
                let by_vector = fusion.mix(&near, &w);
                // Only rows of which words say more than vectors can stand before it, however little vectors weigh.
                let worth = fusion.worth(best);
                let enough = worth / (1.0 - worth) * 0.99;
                let better =
                    by_vector.iter().filter(|fused| fused.by_words.is_some_and(|(_, score)| score > enough * w[0].1));
                prop_assert!(place(by_vector.clone()) <= Some(better.count()));
            }
        }
    }
}

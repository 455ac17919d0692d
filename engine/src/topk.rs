//! The best k of many, in a total order.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A row with the score of its best passage. The order is total: a higher score comes first, and of equal scores
/// the lower row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scored {
    pub(crate) score: f32,
    pub(crate) row: u32,
    pub(crate) passage: u32,
}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.row.cmp(&self.row))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scored {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scored {}

/// Keeps the best `k` of what it is offered. `k` may be zero, and may exceed what will be offered: memory grows with
/// what is kept, not with `k`.
#[derive(Debug, Default)]
pub(crate) struct TopK {
    k: usize,
    worst_first: BinaryHeap<Reverse<Scored>>,
    pending: Option<Scored>,
}

impl TopK {
    /// Forgets everything, and keeps the best `k` from now on. Allocates nothing.
    pub(crate) fn reset(&mut self, k: usize) {
        self.k = k;
        self.worst_first.clear();
        self.pending = None;
    }

    pub(crate) fn offer(&mut self, candidate: Scored) {
        if self.worst_first.len() < self.k {
            self.worst_first.push(Reverse(candidate));
        } else if let Some(mut worst) = self.worst_first.peek_mut()
            && candidate > worst.0
        {
            *worst = Reverse(candidate);
        }
    }

    /// Offers a row that may be offered several times in a row: it counts once, with the best of its scores, as soon
    /// as another row is offered.
    pub(crate) fn offer_row(&mut self, candidate: Scored) {
        match &mut self.pending {
            Some(pending) if pending.row == candidate.row => {
                if candidate > *pending {
                    *pending = candidate;
                }
            }
            pending => {
                if let Some(complete) = pending.replace(candidate) {
                    self.offer(complete);
                }
            }
        }
    }

    /// Takes in what another has kept, of rows that were not offered here.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        for kept in [&mut *self, &mut *other].map(|top| top.pending.take()).into_iter().flatten() {
            self.offer(kept);
        }
        other.worst_first.drain().for_each(|Reverse(kept)| self.offer(kept));
    }

    /// What a candidate must reach to be kept: the worst score of `k`, or negative infinity while there are fewer.
    pub(crate) fn threshold(&self) -> f32 {
        match self.worst_first.peek() {
            Some(worst) if self.worst_first.len() >= self.k => worst.0.score,
            _ => f32::NEG_INFINITY,
        }
    }

    /// Best first.
    pub(crate) fn into_sorted(self) -> Vec<Scored> {
        self.worst_first.into_sorted_vec().into_iter().map(|Reverse(scored)| scored).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Scored, TopK};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_best_k_are_those_that_sorting_everything_gives(
            scores in prop::collection::vec(prop_oneof![-1.0f32..1.0, Just(0.5), Just(-0.0), Just(0.0)], 0..200),
            k in 0usize..50,
        ) {
            let mut all: Vec<Scored> =
                scores.iter().zip(0..).map(|(&score, row)| Scored { score, row, passage: row }).collect();
            let mut top = TopK::default();
            top.reset(k);
            all.iter().for_each(|&scored| top.offer(scored));
            all.sort_by(|a, b| b.cmp(a));
            all.truncate(k);
            prop_assert_eq!(top.into_sorted(), all);
        }
    }
}

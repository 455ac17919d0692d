//! Adding up postings.

use super::{Lexical, WHOLE};
use crate::filter::RowSet;

/// A row that keywords found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeywordHit {
    /// Row number in the snapshot.
    pub row: u32,
    /// BM25F score as a share of what a row that says nothing but the question could reach: more than 0, less than 1.
    pub score: f32,
}

/// The `top` rows for weighed tokens, best first, equal scores in row order. How rare a token is counts among the rows that
/// are `allowed`: no score tells which row holds a word that may not be found. The mean length of a field, which the shares are made with, is that of the whole snapshot.
pub(crate) fn search(
    lexical: &Lexical<'_>,
    tokens: &[(u64, f32)],
    top: usize,
    allowed: Option<&RowSet>,
) -> Vec<KeywordHit> {
    let rows = lexical.header.rows;
    let is_allowed = |row: u32| allowed.is_none_or(|allowed| allowed.contains(row));
    let all = allowed.map_or(u64::from(rows), RowSet::len) as f32;
    let mut scores = vec![0.0f32; rows as usize];
    let mut most = 0.0;
    for &(token, weight) in tokens {
        let (found, shares) = lexical.postings(token);
        // Robertson and Sparck Jones with Lucene's 1 inside, so that no token counts against a row.
        let holding = match allowed {
            None => found.len(),
            Some(allowed) => found.iter().filter(|row| allowed.contains(**row)).count(),
        } as f32;
        let idf = (1.0 + (all - holding + 0.5).max(0.0) / (holding + 0.5)).ln();
        // A word that stands in no row counts against every row.
        most += weight * idf;
        let step = weight * idf / WHOLE;
        for (&row, &share) in found.iter().zip(shares) {
            if let Some(score) = scores.get_mut(row as usize) {
                *score += step * f32::from(share);
            }
        }
    }
    let better = |a: &KeywordHit, b: &KeywordHit| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row));
    let mut hits: Vec<KeywordHit> = Vec::with_capacity(top.saturating_mul(2).min(rows as usize));
    let mut least = 0.0;
    for (row, &score) in (0..).zip(&scores) {
        if score > least && is_allowed(row) {
            hits.push(KeywordHit { row, score });
            // Twice as many as are wanted, then the better half: a scan without a heap.
            if hits.len() >= top.saturating_mul(2).max(1) {
                hits.sort_unstable_by(better);
                hits.truncate(top);
                least = hits.last().map_or(0.0, |hit| hit.score);
            }
        }
    }
    hits.sort_unstable_by(better);
    hits.truncate(top);
    hits.iter_mut().for_each(|hit| hit.score /= most);
    hits
}

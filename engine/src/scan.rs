//! Exact search: every vector is read, every score is the true one.

use crate::error::OpenError;
use crate::filter::RowSet;
use crate::kernel::dot;
use crate::snapshot::header::Section;
use crate::snapshot::{PassageEntry, Snapshot};
use crate::topk::{Scored, TopK};

/// The `top` rows whose best passage is nearest to `query`, a unit vector of the snapshot's dimensions.
pub(crate) fn exact(
    snapshot: &Snapshot,
    query: &[f32],
    top: usize,
    allowed: Option<&RowSet>,
) -> Result<Vec<Scored>, OpenError> {
    let passages: &[PassageEntry] = snapshot.array(Section::Passages)?;
    let vectors: &[f32] = snapshot.array(Section::Vectors)?;
    let mut best = TopK::new(top);
    let mut pending: Option<Scored> = None;
    for ((passage, &[row, ..]), vector) in (0..).zip(passages).zip(vectors.chunks_exact(query.len())) {
        if allowed.is_some_and(|allowed| !allowed.contains(row)) {
            continue;
        }
        if row >= snapshot.meta().rows {
            let detail = format!("passage {passage} belongs to row {row}, which does not exist");
            let at = u64::from(passage) * size_of::<PassageEntry>() as u64;
            return Err(snapshot.corrupt(Section::Passages, at, detail));
        }
        let scored = Scored { score: dot(query, vector), row, passage };
        // Passages stand in the order of their rows, so a row is complete when the next one begins.
        pending = match pending {
            Some(before) if before.row == row => Some(before.max(scored)),
            Some(before) => {
                best.offer(before);
                Some(scored)
            }
            None => Some(scored),
        };
    }
    if let Some(last) = pending {
        best.offer(last);
    }
    Ok(best.into_sorted())
}

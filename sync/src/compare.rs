//! How two snapshots of the same records, embedded by two models, see them.

use karute_engine::{Embedding, Index, OpenError, Plan, Query, QueryError};
use std::collections::{HashMap, HashSet};

/// Rows that are looked at.
const SAMPLE: u32 = 200;
/// Neighbours of each.
const NEIGHBOURS: usize = 10;

/// How alike two models place the records.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Overlap {
    /// Records that were compared.
    pub rows: u32,
    /// The mean share of the ten nearest records that both models agree on, 0 to 1.
    pub neighbours: f64,
}

/// Compares the ten nearest records of up to 200 records that both snapshots hold.
///
/// # Errors
/// A damaged snapshot.
pub fn neighbours(one: &Index, other: &Index) -> Result<Overlap, QueryError> {
    let places = other.ids().zip(0..).map(|(id, number)| Ok((id?, number)));
    let places: HashMap<&str, u32> = places.collect::<Result<_, OpenError>>()?;
    let step = (one.len() / SAMPLE).max(1) as usize;
    let (mut rows, mut shared) = (0, 0.0);
    for (id, number) in one.ids().zip(0..).step_by(step) {
        let Some(&place) = places.get(id?) else { continue };
        let (Some(here), Some(there)) = (nearest(one, number)?, nearest(other, place)?) else { continue };
        let both = here.intersection(&there).count();
        shared += both as f64 / here.len().max(there.len()).max(1) as f64;
        rows += 1;
    }
    Ok(Overlap { rows, neighbours: shared / f64::from(rows.max(1)) })
}

/// The ids of the records nearest to row `number`, without itself; `None` if it has no vector.
fn nearest(index: &Index, number: u32) -> Result<Option<HashSet<String>>, QueryError> {
    let passages = index.passages_of(number)?;
    let Some(passage) = passages.first() else { return Ok(None) };
    let question = Embedding::new(index.identity().clone(), passage.vector().to_vec());
    let hits = index.search(&Query::new(&question).top(NEIGHBOURS + 1).plan(Plan::Exact))?;
    let others = hits.into_iter().map(|hit| hit.row).filter(|&row| row != number).take(NEIGHBOURS);
    Ok(Some(others.map(|row| Ok(index.row(row)?.id)).collect::<Result<_, OpenError>>()?))
}

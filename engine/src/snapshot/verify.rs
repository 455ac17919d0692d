//! Full verification: every byte of a snapshot is read and held against its digest and its meaning.

use super::header::Section;
use super::{Meta, PassageEntry, Snapshot, check_digest};
use crate::error::{OpenError, VectorFault};
use crate::filter::FacetBuilder;
use crate::vector::{is_unit, norm};

/// What a full verification has read and found sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Rows decoded.
    pub rows: u32,
    /// Passages whose range and vector were checked.
    pub passages: u32,
    /// Bytes held against their digest.
    pub bytes: u64,
}

pub(crate) fn everything(snapshot: &Snapshot) -> Result<Verified, OpenError> {
    let mut bytes = 0;
    for entry in snapshot.entries() {
        // Sections of kinds that this build does not know have no reader here, and so nothing to mislead.
        if let Some(section) = entry.section() {
            check_digest(snapshot.section(section)?, entry, section)?;
            bytes += entry.length;
        }
    }
    snapshot.report()?;
    let contents = rows(snapshot)?;
    passages(snapshot, &contents)?;
    vectors(snapshot)?;
    let Meta { rows, passages, .. } = *snapshot.meta();
    Ok(Verified { rows, passages, bytes })
}

/// Decodes every row; checks ids, their order and the facets. Returns the contents, whose lengths passages refer to.
fn rows(snapshot: &Snapshot) -> Result<Vec<String>, OpenError> {
    let meta = snapshot.meta();
    let mut ids = Vec::with_capacity(meta.rows as usize);
    let mut contents = Vec::with_capacity(meta.rows as usize);
    let mut facets = FacetBuilder::default();
    for number in 0..meta.rows {
        let row = snapshot.row(number)?;
        if row.id.is_empty() {
            return Err(snapshot.corrupt(Section::Rows, 0, format!("row {number} has an empty id")));
        }
        facets.push(number, &row);
        ids.push(row.id);
        contents.push(row.content);
    }
    let order: &[u32] = snapshot.array(Section::RowOrder)?;
    let ordered: Option<Vec<&String>> = order.iter().map(|&number| ids.get(number as usize)).collect();
    // As many strictly ascending ids as there are rows: a permutation without duplicates.
    if !ordered.is_some_and(|ids| ids.is_sorted_by(|a, b| a < b)) {
        let detail = "it does not list the rows in the order of their ids".into();
        return Err(snapshot.corrupt(Section::RowOrder, 0, detail));
    }
    let expected = facets.finish();
    let found: &[u32] = snapshot.array(Section::Facets)?;
    if expected.as_ref().is_none_or(|(values, rows)| *values != meta.facet_values || rows != found) {
        return Err(snapshot.corrupt(Section::Facets, 0, "they are not those of the rows".into()));
    }
    Ok(contents)
}

fn passages(snapshot: &Snapshot, contents: &[String]) -> Result<(), OpenError> {
    let passages: &[PassageEntry] = snapshot.array(Section::Passages)?;
    for (number, passage) in passages.iter().enumerate() {
        let [row, start, end] = *passage;
        let inside = contents
            .get(row as usize)
            .and_then(|content| content.get(start as usize..end as usize))
            .is_some();
        let ordered = number == 0 || passages[number - 1][0] <= row;
        if !inside || !ordered {
            let detail = format!("passage {number} claims bytes {start}..{end} of row {row}");
            let at = (number * size_of::<PassageEntry>()) as u64;
            return Err(snapshot.corrupt(Section::Passages, at, detail));
        }
    }
    Ok(())
}

fn vectors(snapshot: &Snapshot) -> Result<(), OpenError> {
    let dimensions = snapshot.meta().identity.dimensions as usize;
    let vectors: &[f32] = snapshot.array(Section::Vectors)?;
    for (number, vector) in vectors.chunks_exact(dimensions).enumerate() {
        let fault = match norm(vector) {
            Ok(norm) if is_unit(norm) => continue,
            Ok(norm) => VectorFault::NotUnit { norm: norm as f32 },
            Err(fault) => fault,
        };
        let at = (number * dimensions * size_of::<f32>()) as u64;
        return Err(snapshot.corrupt(Section::Vectors, at, format!("vector {number}: {fault}")));
    }
    Ok(())
}

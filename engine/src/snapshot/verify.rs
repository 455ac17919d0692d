//! Full verification: every byte of a snapshot is read and held against its digest and its meaning.

use std::ops::Range;

use rayon::prelude::*;

use super::digest::{check_digest, check_digest_and};
use super::header::Section;
use super::{Meta, PassageEntry, Snapshot};
use crate::codes::is_row_of;
use crate::day::Day;
use crate::error::{OpenError, VectorFault};
use crate::filter::{Facet, FacetValue};
use crate::graph::Graph;
use crate::kernel::dot;
use crate::originals::Originals;
use crate::row::ArchivedRow;
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
        bytes += entry.length;
        // The vectors are hashed while they are looked at: they are most of the file.
        if entry.section() != Some(Section::Vectors) {
            check_digest(snapshot.bytes_of(entry)?, entry)?;
        }
    }
    snapshot.check_padding()?;
    vectors(snapshot)?;
    snapshot.report()?;
    // What one thread must do alone, another does beside the rows.
    let (of_rows, of_indexes) = rayon::join(
        || passages(snapshot, &rows(snapshot)?),
        || {
            if let Some(fault) = snapshot.lexical()?.and_then(|lexical| lexical.fault()) {
                return Err(snapshot.corrupt(Section::Lexical, 0, fault.into()));
            }
            let Some(graph) = snapshot.graph()? else { return Ok(()) };
            graph.check().map_err(|detail| snapshot.corrupt(Section::Graph, 0, detail))?;
            copies(snapshot, &graph)
        },
    );
    of_rows.and(of_indexes)?;
    let Meta { rows, passages, .. } = *snapshot.meta();
    Ok(Verified { rows, passages, bytes })
}

/// Whether each copy of the graph has the vector of the node that it is a copy of: it is found by that node alone.
fn copies(snapshot: &Snapshot, graph: &Graph<'_>) -> Result<(), OpenError> {
    let (vectors, dimensions) = (snapshot.vectors()?, snapshot.meta().identity.dimensions as usize);
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for &[node, copy] in graph.copies() {
        let [a, b] = [(node, &mut one), (copy, &mut two)]
            .map(|(passage, room)| vectors.numbers(Originals::place(passage as usize, dimensions), room));
        if !a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits())) {
            let detail = format!("passage {copy} is called a copy of {node}, and is not");
            return Err(snapshot.corrupt(Section::Graph, 0, detail));
        }
    }
    Ok(())
}

/// Reads every row in place; checks ids, their order and the facets.
fn rows(snapshot: &Snapshot) -> Result<Vec<&ArchivedRow>, OpenError> {
    let read = |number| -> Result<&ArchivedRow, OpenError> {
        let row = snapshot.archived_row(number)?;
        if row.id.is_empty() {
            return Err(snapshot.corrupt(Section::Rows, 0, format!("row {number} has an empty id")));
        }
        Ok(row)
    };
    let rows: Vec<&ArchivedRow> =
        (0..snapshot.meta().rows).into_par_iter().map(read).collect::<Result<_, _>>()?;
    let order: &[u32] = snapshot.array(Section::RowOrder)?;
    let ids: Option<Vec<&str>> =
        order.iter().map(|&number| rows.get(number as usize).map(|row| row.id.as_str())).collect();
    // As many strictly ascending ids as there are rows: a permutation without duplicates.
    if !ids.is_some_and(|ids| ids.is_sorted_by(|a, b| a < b)) {
        let detail = "it does not list the rows in the order of their ids".into();
        return Err(snapshot.corrupt(Section::RowOrder, 0, detail));
    }
    if let Some(days) = snapshot.days()?
        && let Some(row) = rows.iter().zip(days).position(|(row, &day)| Day::stored(&row.date) != day)
    {
        let detail = format!("the day of row {row} is not the row's date");
        return Err(snapshot.corrupt(Section::Days, row as u64 * 4, detail));
    }
    facets(snapshot, &rows)?;
    Ok(rows)
}

/// The dictionary ascends and covers its section without a gap, each list ascends and names only rows that have the
/// value, and there are as many entries as the rows have values: so it is exactly what the rows give.
fn facets(snapshot: &Snapshot, rows: &[&ArchivedRow]) -> Result<(), OpenError> {
    let fault = |detail: &str| Err(snapshot.corrupt(Section::Facets, 0, detail.into()));
    let dictionary = &snapshot.meta().facet_values;
    let entries: &[u32] = snapshot.array(Section::Facets)?;
    let mut end = 0;
    for (number, value) in dictionary.iter().enumerate() {
        let ascends = number == 0
            || (dictionary[number - 1].facet, &dictionary[number - 1].value) < (value.facet, &value.value);
        if !ascends || value.start != end || value.length == 0 {
            return fault("the dictionary of values is out of order");
        }
        end = value.start.saturating_add(value.length);
    }
    if end as usize != entries.len() {
        return fault("the dictionary of values does not cover it");
    }
    let true_of_its_rows = |value: &FacetValue| {
        let listed = entries.get(value.start as usize..).and_then(|rest| rest.get(..value.length as usize));
        listed.is_some_and(|listed| {
            let has = |number: &u32| {
                rows.get(*number as usize)
                    .is_some_and(|row| value.facet.archived(row).any(|v| v == value.value))
            };
            listed.is_sorted_by(|a, b| a < b) && listed.iter().all(has)
        })
    };
    if !dictionary.par_iter().all(true_of_its_rows) {
        return fault("it lists a row under a value that the row does not have");
    }
    let values_of = |row: &&ArchivedRow| {
        let mut values: Vec<(Facet, &str)> = Facet::ALL
            .iter()
            .flat_map(|&facet| facet.archived(row).map(move |value| (facet, value)))
            .collect();
        values.sort_unstable();
        values.dedup();
        values.len()
    };
    if rows.par_iter().map(values_of).sum::<usize>() != entries.len() {
        return fault("a row is missing under a value that it has");
    }
    Ok(())
}

fn passages(snapshot: &Snapshot, rows: &[&ArchivedRow]) -> Result<(), OpenError> {
    let passages: &[PassageEntry] = snapshot.array(Section::Passages)?;
    for (number, passage) in passages.iter().enumerate() {
        let [row, start, end] = *passage;
        let content = rows.get(row as usize).map(|row| row.content.as_str());
        let inside = content.is_some_and(|content| content.get(start as usize..end as usize).is_some());
        let ordered = number == 0 || passages[number - 1][0] <= row;
        if !inside || !ordered {
            let detail = format!("passage {number} claims bytes {start}..{end} of row {row}");
            let at = (number * size_of::<PassageEntry>()) as u64;
            return Err(snapshot.corrupt(Section::Passages, at, detail));
        }
    }
    Ok(())
}

/// Each vector is of unit length, and its codes are those that it gives, or a search that trusts them would pass over
/// rows. Both are looked at together, while the vector is at hand.
fn vectors(snapshot: &Snapshot) -> Result<(), OpenError> {
    let of = snapshot.vectors()?;
    let dimensions = snapshot.meta().identity.dimensions as usize;
    let size = dimensions * of.precision().bytes();
    let codes = snapshot.codes()?;
    let check = |number: usize, codes_of: &mut Vec<u8>, room: &mut Vec<f32>| {
        let vector = of.numbers(Originals::place(number, dimensions), room);
        // A dot product with itself tells a sound vector at the speed of memory; what fails it is looked at closely.
        if !is_unit(f64::from(dot(vector, vector)).sqrt()) {
            let fault = match norm(vector) {
                Ok(norm) => VectorFault::NotUnit { norm: norm as f32 },
                Err(fault) => fault,
            };
            let detail = format!("vector {number}: {fault}");
            return Err(snapshot.corrupt(Section::Vectors, (number * size) as u64, detail));
        }
        match codes {
            Some(codes) if !is_row_of(&codes, number as u32, vector, codes_of) => {
                let detail = format!("the codes of vector {number} are not those that its vector gives");
                Err(snapshot.corrupt(Section::Codes, (number * codes.stride) as u64, detail))
            }
            _ => Ok(()),
        }
    };
    // A vector is looked at with the piece that holds its first byte.
    let look = |piece: Range<usize>| {
        let (mut codes_of, mut room) = (Vec::new(), Vec::new());
        (piece.start.div_ceil(size)..piece.end.div_ceil(size))
            .try_for_each(|number| check(number, &mut codes_of, &mut room))
    };
    let entry = snapshot.entry(Section::Vectors)?;
    check_digest_and(snapshot.section(Section::Vectors)?, entry, &look)
}

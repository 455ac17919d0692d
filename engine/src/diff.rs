//! What changed from one snapshot to another, in rows.

use crate::error::OpenError;
use crate::index::Index;
use crate::originals::Precision;
use crate::row::Row;
use crate::snapshot::build::Passage;

/// The difference between two snapshots. Ids ascend.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Diff {
    /// Rows that only the newer one has.
    pub added: Vec<String>,
    /// Rows that only the older one has.
    pub removed: Vec<String>,
    /// Rows that both have, with other content.
    pub changed: Vec<Changed>,
}

/// A row that two snapshots have with different content.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Changed {
    /// The row's id.
    pub id: String,
    /// What differs: names of fields, and `vector`.
    pub fields: Vec<&'static str>,
}

/// Compares two snapshots row by row. A row that only stands elsewhere in its sheet has not changed. Vectors of two
/// identities are not compared: they differ by nature. Of two precisions the coarser one decides.
///
/// # Errors
/// A row that cannot be read.
pub fn diff(old: &Index, new: &Index) -> Result<Diff, OpenError> {
    let vectors_compare = old.identity() == new.identity();
    let rounded = [old, new].into_iter().any(|index| index.precision() == Precision::F16);
    let precision = if rounded { Precision::F16 } else { Precision::F32 };
    let same = |old: &[Passage<'_>], new: &[Passage<'_>]| {
        let same = |(old, new): (&Passage<'_>, &Passage<'_>)| {
            old.range() == new.range() && precision.rounded(old.vector()) == precision.rounded(new.vector())
        };
        old.len() == new.len() && old.iter().zip(new).all(same)
    };
    let (mut olds, mut news) = (old.rows_by_id()?, new.rows_by_id()?);
    let (mut before, mut after) = (olds.next().transpose()?, news.next().transpose()?);
    let mut found = Diff::default();
    loop {
        match (before, after) {
            (None, None) => return Ok(found),
            (Some((_, row)), other) if other.as_ref().is_none_or(|(_, other)| row.id < other.id) => {
                found.removed.push(row.id);
                (before, after) = (olds.next().transpose()?, other);
            }
            (other, Some((_, row))) if other.as_ref().is_none_or(|(_, other)| row.id < other.id) => {
                found.added.push(row.id);
                (before, after) = (other, news.next().transpose()?);
            }
            (Some((old_number, old_row)), Some((new_number, new_row))) => {
                let mut fields = differing(&old_row, &new_row);
                if vectors_compare && !same(&old.passages_of(old_number)?, &new.passages_of(new_number)?) {
                    fields.push("vector");
                }
                if !fields.is_empty() {
                    found.changed.push(Changed { id: new_row.id, fields });
                }
                (before, after) = (olds.next().transpose()?, news.next().transpose()?);
            }
            // The first two arms take every pair with one side missing.
            (None, Some(_)) | (Some(_), None) => return Ok(found),
        }
    }
}

/// Names of the fields in which two rows of one id differ; where they stand is none of them.
fn differing(old: &Row, new: &Row) -> Vec<&'static str> {
    macro_rules! differing {
        ($($field:ident),*) => {
            [$((stringify!($field), old.$field != new.$field)),*]
        };
    }
    let fields = differing!(
        domain,
        source_type,
        source_table,
        source_id,
        client_id,
        title,
        content,
        structured_data,
        metadata,
        tags,
        keywords,
        date,
        created_at,
        updated_at
    );
    fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

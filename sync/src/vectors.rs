//! The Embeddings sheet: which vectors can be used, and what is wrong with the others.

use std::collections::{HashMap, HashSet};

use karute_engine::{Identity, VectorFault, vector};

use crate::judge::column;
use crate::report::{Action, Finding, Reason};
use crate::source::{Sheet, SheetRow, SourceError};

/// Usable vectors by record id, and what was found out about the others.
#[derive(Debug, Default)]
pub(crate) struct Vectors {
    pub(crate) by_id: HashMap<String, Vec<f32>>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) quarantined: u64,
}

struct Columns {
    id: usize,
    model: usize,
    dimension: Option<usize>,
    parts: Vec<usize>,
}

impl Columns {
    /// The parts are `embedding_part1`, `embedding_part2`, ... or, in the old layout, the one column `embedding`.
    fn of(sheet: &Sheet, workbook: &str) -> Result<Self, SourceError> {
        let mut parts: Vec<usize> =
            (1..).map_while(|part| sheet.column(&format!("embedding_part{part}"))).collect();
        if parts.is_empty() {
            let old = sheet.column("embedding");
            parts.push(old.map_or_else(|| column(sheet, workbook, "embedding_part1"), Ok)?);
        }
        Ok(Self {
            id: column(sheet, workbook, "kb_id")?,
            model: column(sheet, workbook, "model")?,
            dimension: sheet.column("dimension"),
            parts,
        })
    }
}

/// Judges the Embeddings sheet for records with the ids `known`. `ambiguous` are ids of several different records.
pub(crate) fn judge(
    sheet: &Sheet,
    workbook: &str,
    identity: &Identity,
    known: &HashSet<&str>,
    ambiguous: &HashSet<String>,
) -> Result<Vectors, SourceError> {
    let columns = Columns::of(sheet, workbook)?;
    let mut vectors = Vectors::default();
    for row in &sheet.rows {
        let id = row.cells.get(columns.id).map_or("", |cell| cell.trim());
        let mut find = |action, reason| {
            let (sheet, id) = (sheet.name.clone(), id.to_owned());
            vectors.findings.push(Finding { action, reason, sheet, row: row.number, id });
        };
        let usable = if id.is_empty() || !known.contains(id) {
            Err(Reason::OrphanVector)
        } else if ambiguous.contains(id) {
            Err(Reason::VectorOfDuplicate)
        } else if vectors.by_id.contains_key(id) {
            Err(Reason::VectorDuplicate)
        } else {
            read(&columns, row, identity, &mut |reason| find(Action::Repaired, reason))
        };
        match usable {
            Ok(vector) => {
                vectors.by_id.insert(id.to_owned(), vector);
            }
            Err(reason) => {
                find(Action::Quarantined, reason);
                vectors.quarantined += 1;
            }
        }
    }
    Ok(vectors)
}

fn read(
    columns: &Columns,
    row: &SheetRow,
    identity: &Identity,
    repaired: &mut dyn FnMut(Reason),
) -> Result<Vec<f32>, Reason> {
    let cell = |at: usize| row.cells.get(at).map_or("", |cell| cell.trim());
    // The old writers appended id, vector, model, task and time under the new header.
    let old_layout = cell(columns.model).starts_with('[');
    let (model, parts) = if old_layout {
        (cell(columns.model + 1), vec![cell(columns.model)])
    } else {
        (cell(columns.model), columns.parts.iter().map(|&part| cell(part)).collect())
    };
    if model != identity.model {
        return Err(Reason::VectorOtherModel);
    }
    let filled = parts.iter().rposition(|part| !part.is_empty()).map_or(0, |last| last + 1);
    if filled == 0 || parts[..filled].iter().any(|part| part.is_empty()) {
        return Err(Reason::VectorIncomplete);
    }
    let mut numbers: Vec<f32> = Vec::with_capacity(identity.dimensions as usize);
    for part in &parts[..filled] {
        numbers.extend(serde_json::from_str::<Vec<f32>>(part).map_err(|_| Reason::VectorUnparsable)?);
    }
    let stated = columns.dimension.filter(|_| !old_layout).map(&cell).filter(|stated| !stated.is_empty());
    let found = numbers.len();
    if found != identity.dimensions as usize || stated.is_some_and(|stated| stated.parse() != Ok(found)) {
        return Err(if filled < parts.len() { Reason::VectorIncomplete } else { Reason::VectorDimension });
    }
    let norm = vector::norm(&numbers).map_err(|fault| match fault {
        VectorFault::NotFinite { .. } => Reason::VectorNotFinite,
        _ => Reason::VectorZero,
    })?;
    if old_layout {
        repaired(Reason::VectorOldLayout);
    }
    if vector::is_unit(norm) {
        return Ok(numbers);
    }
    repaired(Reason::VectorNotUnit);
    Ok(vector::scaled(&numbers, norm))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(rows: &[&[&str]]) -> Vectors {
        let header = ["kb_id", "model", "dimension", "embedding_part1", "embedding_part2", "created_at"];
        let own = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let sheet = Sheet {
            name: "Embeddings".into(),
            header: own(&header),
            rows: (2..).zip(rows).map(|(number, cells)| SheetRow { number, cells: own(cells) }).collect(),
        };
        let known = HashSet::from(["a", "b", "twice"]);
        let ambiguous = HashSet::from(["twice".to_owned()]);
        let identity = Identity::new("test", "m", 4);
        judge(&sheet, "test.xlsx", &identity, &known, &ambiguous).expect("all columns are there")
    }

    fn reason(row: &[&str]) -> Reason {
        let vectors = judged(&[row]);
        assert_eq!((vectors.by_id.len(), vectors.quarantined), (0, 1), "{row:?}");
        vectors.findings[0].reason
    }

    #[test]
    fn parts_are_joined_in_their_order() {
        let vectors = judged(&[&["a", "m", "4", "[0.5, 0.5]", "[0.5, -0.5]", ""]]);
        assert_eq!(vectors.by_id["a"], [0.5, 0.5, 0.5, -0.5]);
        assert!(vectors.findings.is_empty());
    }

    #[test]
    fn each_way_of_being_broken_has_its_reason() {
        assert_eq!(reason(&["z", "m", "4", "[1,0]", "[0,0]"]), Reason::OrphanVector);
        assert_eq!(reason(&["", "m", "4", "[1,0]", "[0,0]"]), Reason::OrphanVector);
        assert_eq!(reason(&["twice", "m", "4", "[1,0]", "[0,0]"]), Reason::VectorOfDuplicate);
        assert_eq!(reason(&["a", "n", "4", "[1,0]", "[0,0]"]), Reason::VectorOtherModel);
        assert_eq!(reason(&["a", "m", "4", "", "[0,0]"]), Reason::VectorIncomplete);
        assert_eq!(reason(&["a", "m", "4", "[1,0]", ""]), Reason::VectorIncomplete);
        assert_eq!(reason(&["a"]), Reason::VectorOtherModel);
        assert_eq!(reason(&["a", "m", "4", "[1,0", "[0,0]"]), Reason::VectorUnparsable);
        assert_eq!(reason(&["a", "m", "4", "[1,null]", "[0,0]"]), Reason::VectorUnparsable);
        assert_eq!(reason(&["a", "m", "4", "[1,0]", "[0,0,0]"]), Reason::VectorDimension);
        assert_eq!(reason(&["a", "m", "5", "[1,0]", "[0,0]"]), Reason::VectorDimension);
        assert_eq!(reason(&["a", "m", "4", "[1e39,0]", "[0,0]"]), Reason::VectorNotFinite);
        assert_eq!(reason(&["a", "m", "4", "[0,0]", "[0,0]"]), Reason::VectorZero);
    }

    #[test]
    fn the_old_layout_under_the_new_header_is_read() {
        let vectors = judged(&[&["a", "[0,1,0,0]", "m", "RETRIEVAL_DOCUMENT", "2026-09-14"]]);
        assert_eq!(vectors.by_id["a"], [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(vectors.findings[0].reason, Reason::VectorOldLayout);
    }

    #[test]
    fn a_vector_of_another_length_is_scaled_and_reported() {
        let vectors = judged(&[&["a", "m", "4", "[0,2]", "[0,0]"]]);
        assert_eq!(vectors.by_id["a"], [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(vectors.findings[0].reason, Reason::VectorNotUnit);
    }

    #[test]
    fn a_second_vector_of_one_id_is_quarantined() {
        let row: &[&str] = &["a", "m", "4", "[1,0]", "[0,0]"];
        let vectors = judged(&[row, row]);
        assert_eq!(vectors.by_id.len(), 1);
        assert_eq!(vectors.findings[0].reason, Reason::VectorDuplicate);
    }
}

//! The Embeddings sheet: which vectors can be used, and what is wrong with the others.
//!
//! Judging has two steps, so that vector cells need not be read to know that they did not change: [`plan`] looks at the
//! narrow columns (ids, model, dimension, moments) and groups the rows by record; [`Columns::read`] reads the numbers of
//! one row.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use karute_engine::{Identity, VectorFault, vector};
use serde::{Deserialize, Serialize};

use crate::judge::column;
use crate::numbers;
use crate::report::{Action, Finding, Reason};
use crate::source::{Sheet, SourceError};

/// Where the numbers of a vector stand.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    id: usize,
    model: usize,
    dimension: Option<usize>,
    parts: Vec<usize>,
    /// Every column of vector cells, those that no part names among them.
    wide: Vec<usize>,
}

/// Whether a header names a column of vector cells: `embedding_part1`, ... or `embedding`.
pub(crate) fn is_vector_column(header: &str) -> bool {
    let header = header.trim().to_ascii_lowercase();
    header.strip_prefix("embedding").is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix("_part").is_some_and(|number| number.parse::<u32>().is_ok())
    })
}

/// The rows of one record, in the order of the sheet.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The record's id.
    pub(crate) id: String,
    /// Positions in the sheet's rows.
    pub(crate) rows: Vec<usize>,
    /// Digest of the narrow cells of all its rows.
    pub(crate) digest: Digest,
}

/// Half a BLAKE3 digest, as base64.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Digest(String);

impl Digest {
    fn of(hasher: &blake3::Hasher) -> Self {
        Self(STANDARD_NO_PAD.encode(&hasher.finalize().as_bytes()[..16]))
    }

    /// Of a text.
    pub(crate) fn of_text(text: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(text.as_bytes());
        Self::of(&hasher)
    }
}

/// What the narrow columns tell.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) columns: Columns,
    pub(crate) groups: Vec<Group>,
    /// What is wrong with rows whose vectors need not be looked at.
    pub(crate) findings: Vec<Finding>,
}

/// What became of a row's vector: the place of its numbers and what was mended, or why it cannot be used.
pub(crate) type Verdict<P> = Result<(P, Vec<Reason>), Reason>;

/// Plans the Embeddings sheet for records with the ids `known`. `ambiguous` are ids of several different records.
pub(crate) fn plan(
    sheet: &Sheet,
    workbook: &str,
    known: &HashSet<&str>,
    ambiguous: &HashSet<String>,
) -> Result<Planned, SourceError> {
    let columns = Columns::of(sheet, workbook)?;
    let mut findings = Vec::new();
    // Under another header the same cells mean something else.
    let mut headed = blake3::Hasher::new();
    for name in &sheet.header {
        headed.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
    }
    let mut groups: Vec<(Group, blake3::Hasher)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (at, row) in sheet.rows.iter().enumerate() {
        let id = row.cells.get(columns.id).map_or("", |cell| cell.trim());
        let reason = match id {
            "" => Some(Reason::OrphanVector),
            id if !known.contains(id) => Some(Reason::OrphanVector),
            id if ambiguous.contains(id) => Some(Reason::VectorOfDuplicate),
            _ => None,
        };
        if let Some(reason) = reason {
            findings.push(finding(sheet, at, Action::Quarantined, reason, id));
            continue;
        }
        let place = *places.entry(id).or_insert_with(|| {
            let group = Group { id: id.to_owned(), rows: Vec::new(), digest: Digest(String::new()) };
            groups.push((group, headed.clone()));
            groups.len() - 1
        });
        let (group, hasher) = &mut groups[place];
        group.rows.push(at);
        columns.hash_narrow(&row.cells, hasher);
    }
    let groups =
        groups.into_iter().map(|(group, hasher)| Group { digest: Digest::of(&hasher), ..group }).collect();
    Ok(Planned { columns, groups, findings })
}

fn finding(sheet: &Sheet, at: usize, action: Action, reason: Reason, id: &str) -> Finding {
    Finding { action, reason, sheet: sheet.name.clone(), row: sheet.rows[at].number, id: id.to_owned() }
}

impl Group {
    /// Of the verdicts about its rows, in their order, the place of the vector to use and everything worth knowing, each
    /// with the number of the row within the group.
    pub(crate) fn settle<P>(verdicts: impl Iterator<Item = Verdict<P>>) -> (Option<P>, Vec<Mark>) {
        let (mut used, mut marks) = (None, Vec::new());
        for (row, verdict) in (0..).zip(verdicts) {
            match verdict {
                _ if used.is_some() => marks.push(Mark(row, Action::Quarantined, Reason::VectorDuplicate)),
                Ok((place, repaired)) => {
                    marks.extend(repaired.into_iter().map(|reason| Mark(row, Action::Repaired, reason)));
                    used = Some(place);
                }
                Err(reason) => marks.push(Mark(row, Action::Quarantined, reason)),
            }
        }
        (used, marks)
    }

    /// The findings that marks stand for.
    pub(crate) fn findings<'a>(
        &'a self,
        sheet: &'a Sheet,
        marks: &'a [Mark],
    ) -> impl Iterator<Item = Finding> + 'a {
        marks.iter().filter_map(|&Mark(row, action, reason)| {
            Some(finding(sheet, *self.rows.get(row as usize)?, action, reason, &self.id))
        })
    }
}

/// A finding about a row of a group: the row's number in the group, what was done, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark(pub(crate) u32, pub(crate) Action, pub(crate) Reason);

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
            wide: (0..sheet.header.len()).filter(|&at| is_vector_column(&sheet.header[at])).collect(),
        })
    }

    /// Hashes all cells that are no vector cells, each with its length; empty cells at the end count for nothing.
    fn hash_narrow<S: AsRef<str>>(&self, cells: &[S], hasher: &mut blake3::Hasher) {
        let narrow: Vec<&str> = (cells.iter().enumerate())
            .map(|(at, cell)| if self.wide.contains(&at) { "" } else { cell.as_ref().trim() })
            .collect();
        let filled = narrow.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
        hasher.update(&(filled as u64).to_le_bytes());
        for cell in &narrow[..filled] {
            hasher.update(&(cell.len() as u64).to_le_bytes()).update(cell.as_bytes());
        }
    }

    /// Whether two readings of a row differ in what the narrow columns hold.
    pub(crate) fn moved<A: AsRef<str>, B: AsRef<str>>(&self, before: &[A], now: &[B]) -> bool {
        let digest = |hash: &dyn Fn(&mut blake3::Hasher)| {
            let mut hasher = blake3::Hasher::new();
            hash(&mut hasher);
            hasher.finalize()
        };
        digest(&|hasher| self.hash_narrow(before, hasher)) != digest(&|hasher| self.hash_narrow(now, hasher))
    }

    /// Whether the vector cells of a row must be read to judge it: not if another model made it.
    pub(crate) fn wants(&self, cells: &[String], identity: &Identity) -> bool {
        let model = cells.get(self.model).map_or("", |cell| cell.trim());
        model == identity.model || numbers::looks_like_numbers(model)
    }

    /// Reads the vector of a row: a unit vector with what was mended, or why there is none.
    pub(crate) fn read<S: AsRef<str>>(&self, cells: &[S], identity: &Identity) -> Verdict<Vec<f32>> {
        let cell = |at: usize| cells.get(at).map_or("", |cell| cell.as_ref().trim());
        let mut repaired = Vec::new();
        // The old writers appended id, vector, model, task and time under the new header.
        let old_layout = numbers::looks_like_numbers(cell(self.model));
        let (model, parts) = if old_layout {
            (cell(self.model + 1), vec![cell(self.model)])
        } else {
            (cell(self.model), self.parts.iter().map(|&part| cell(part)).collect())
        };
        if model != identity.model {
            return Err(Reason::VectorOtherModel);
        }
        let filled = parts.iter().rposition(|part| !part.is_empty()).map_or(0, |last| last + 1);
        if filled == 0 || parts[..filled].iter().any(|part| part.is_empty()) {
            return Err(Reason::VectorIncomplete);
        }
        let mut vector: Vec<f32> = Vec::with_capacity(identity.dimensions as usize);
        for part in &parts[..filled] {
            numbers::read(part, &mut vector).map_err(|_| Reason::VectorUnparsable)?;
        }
        let stated = self.dimension.filter(|_| !old_layout).map(&cell).filter(|stated| !stated.is_empty());
        let found = vector.len();
        if found != identity.dimensions as usize || stated.is_some_and(|stated| stated.parse() != Ok(found)) {
            let incomplete = filled < parts.len() && found < identity.dimensions as usize;
            return Err(if incomplete { Reason::VectorIncomplete } else { Reason::VectorDimension });
        }
        let norm = vector::norm(&vector).map_err(|fault| match fault {
            VectorFault::NotFinite { .. } => Reason::VectorNotFinite,
            _ => Reason::VectorZero,
        })?;
        if old_layout {
            repaired.push(Reason::VectorOldLayout);
        }
        if vector::is_unit(norm) {
            return Ok((vector, repaired));
        }
        repaired.push(Reason::VectorNotUnit);
        Ok((vector::scaled(&vector, norm), repaired))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SheetRow;

    /// Vectors by id, and the findings.
    fn judged(rows: &[&[&str]]) -> (HashMap<String, Vec<f32>>, Vec<Finding>) {
        let header = ["kb_id", "model", "dimension", "embedding_part1", "embedding_part2", "created_at"];
        let own = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let sheet = Sheet {
            name: "Embeddings".into(),
            gid: None,
            header: own(&header),
            rows: (2..).zip(rows).map(|(number, cells)| SheetRow { number, cells: own(cells) }).collect(),
        };
        let known = HashSet::from(["a", "b", "twice"]);
        let ambiguous = HashSet::from(["twice".to_owned()]);
        let identity = Identity::new("test", "m", 4);
        let Planned { columns, groups, mut findings } =
            plan(&sheet, "test.xlsx", &known, &ambiguous).expect("all columns are there");
        let mut vectors = HashMap::new();
        for group in groups {
            let verdicts = group.rows.iter().map(|&at| columns.read(&sheet.rows[at].cells, &identity));
            let (vector, marks) = Group::settle(verdicts);
            findings.extend(group.findings(&sheet, &marks));
            vectors.extend(vector.map(|vector| (group.id.clone(), vector)));
        }
        (vectors, findings)
    }

    #[test]
    fn parts_are_joined_and_what_cannot_be_used_says_why() {
        let reason = |row: &[&str]| {
            let (vectors, findings) = judged(&[row]);
            assert!(vectors.is_empty() && findings[0].action == Action::Quarantined, "{row:?}");
            findings[0].reason
        };
        let (vectors, findings) = judged(&[&["a", "m", "4", "[1,0]", "[0,0]"], &["b", "m", "", "[0,0,1,0]"]]);
        assert_eq!((&vectors["a"][..], findings.len()), (&[1.0, 0.0, 0.0, 0.0][..], 0));
        assert_eq!(vectors["b"], [0.0, 0.0, 1.0, 0.0]);

        assert_eq!(reason(&["x", "m", "4", "[1,0]", "[0,0]"]), Reason::OrphanVector);
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
        assert_eq!(reason(&["a", "m", "4", "f32:AAAA"]), Reason::VectorUnparsable);
    }

    #[test]
    fn the_old_layout_under_the_new_header_is_read() {
        let (vectors, findings) = judged(&[&["a", "[0,1,0,0]", "m", "RETRIEVAL_DOCUMENT", "2026-09-14"]]);
        assert_eq!(vectors["a"], [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(findings[0].reason, Reason::VectorOldLayout);
    }

    #[test]
    fn a_packed_cell_is_one_part() {
        let cell = crate::numbers::Packing::F32.pack(&[0.0, 0.6, 0.8, 0.0]);
        let (vectors, findings) = judged(&[&["a", "m", "4", &cell, "", "2026-09-14"]]);
        assert_eq!((&vectors["a"][..], findings.len()), (&[0.0, 0.6, 0.8, 0.0][..], 0));
    }

    #[test]
    fn a_vector_of_another_length_is_scaled_and_reported() {
        let (vectors, findings) = judged(&[&["a", "m", "4", "[0,2]", "[0,0]"]]);
        assert_eq!(vectors["a"], [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(findings[0].reason, Reason::VectorNotUnit);
    }

    #[test]
    fn a_second_vector_of_one_id_is_quarantined_and_one_behind_a_broken_one_is_used() {
        let row: &[&str] = &["a", "m", "4", "[1,0]", "[0,0]"];
        let (vectors, findings) = judged(&[row, row]);
        assert_eq!((vectors.len(), findings[0].reason), (1, Reason::VectorDuplicate));
        let (vectors, findings) = judged(&[&["a", "m", "4", "x", ""], row]);
        assert_eq!((vectors.len(), findings[0].reason), (1, Reason::VectorUnparsable));
    }

    #[test]
    fn vector_columns_are_known_by_their_headers() {
        for header in ["embedding", "embedding_part1", " Embedding_Part12 "] {
            assert!(is_vector_column(header), "{header}");
        }
        for header in ["", "embeddings", "embedding_part", "embedding_model", "model"] {
            assert!(!is_vector_column(header), "{header}");
        }
    }
}

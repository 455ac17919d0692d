//! The MedicalTerms sheet: canonical words and the other words for them.

use karute_engine::Term;

use crate::judge::{Findings, column};
use crate::report::{Action, Finding, Reason};
use crate::source::{Sheet, SourceError};

/// Judges the MedicalTerms sheet.
pub(crate) fn judge(sheet: &Sheet, workbook: &str) -> Result<(Vec<Term>, Vec<Finding>), SourceError> {
    let (canonical, synonyms) = (column(sheet, workbook, "canonical")?, column(sheet, workbook, "synonyms")?);
    let (id, category) = (sheet.column("term_id"), sheet.column("category"));
    let mut terms = Vec::with_capacity(sheet.rows.len());
    let mut found = Vec::new();
    for row in &sheet.rows {
        let cell = |at: Option<usize>| {
            at.and_then(|at| row.cells.get(at)).map_or_else(String::new, |cell| cell.trim().to_owned())
        };
        let mut findings = Findings::of(sheet, row);
        findings.id = cell(id);
        let mut term = Term {
            id: cell(id),
            canonical: cell(Some(canonical)),
            category: cell(category),
            synonyms: Vec::new(),
        };
        let text = cell(Some(synonyms));
        term.synonyms = serde_json::from_str(&text).unwrap_or_else(|_| {
            if !text.is_empty() {
                findings.add(Action::Repaired, Reason::TermSynonyms);
            }
            text.split([',', '、', ';']).map(|part| part.trim().to_owned()).collect()
        });
        term.synonyms.retain(|synonym| !synonym.is_empty());
        if term.canonical.is_empty() {
            findings.add(Action::Quarantined, Reason::TermEmpty);
        } else {
            terms.push(term);
        }
        found.append(&mut findings.found);
    }
    Ok((terms, found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SheetRow;

    #[test]
    fn synonyms_that_are_no_json_list_are_split() {
        let own = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let sheet = Sheet {
            name: "MedicalTerms".into(),
            gid: None,
            header: own(&["term_id", "canonical", "synonyms", "category"]),
            rows: vec![
                SheetRow { number: 2, cells: own(&["T1", "発熱", "[\"熱発\"]", "症状"]) },
                SheetRow { number: 3, cells: own(&["T2", "浮腫", "むくみ、腫れ", "症状"]) },
                SheetRow { number: 4, cells: own(&["T3", "", "x"]) },
            ],
        };
        let (terms, findings) = judge(&sheet, "test.xlsx").expect("all columns are there");
        assert_eq!(terms[1].synonyms, ["むくみ", "腫れ"]);
        let reasons: Vec<_> = findings.iter().map(|finding| (finding.row, finding.reason)).collect();
        assert_eq!(reasons, [(3, Reason::TermSynonyms), (4, Reason::TermSynonyms), (4, Reason::TermEmpty)]);
        assert_eq!(terms.len(), 2);
    }
}

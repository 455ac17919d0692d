//! The optional Clients sheet: what clients (利用者) are called, for houses whose records do not say it.

use std::collections::{BTreeSet, HashSet};

use karute_engine::ClientName;

use crate::judge::Findings;
use crate::report::{Action, Finding, Reason};
use crate::source::{Sheet, SheetRow};

/// Headers of the column that holds the client's id, as records name it.
const ID: [&str; 3] = ["client_id", "user_id", "id"];
/// Headers of the column that holds the name.
const NAME: [&str; 3] = ["name", "client_name", "氏名"];
/// Headers of the column that holds the name in kana, and keys of the same in a record's data.
pub const KANA: [&str; 6] = ["name_kana", "kana", "フリガナ", "ふりがな", "氏名カナ", "氏名（カナ）"];
/// The longest name, in characters: whatever is longer is no name.
const LONGEST: usize = 40;

/// Judges the sheet. A sheet of that name with other columns is somebody's own: it is left out, and said so.
pub(crate) fn judge(sheet: &Sheet, forgotten: &BTreeSet<String>) -> (Vec<ClientName>, Vec<Finding>) {
    let column = |names: &[&str]| names.iter().find_map(|name| sheet.column(name));
    let (Some(id), Some(name)) = (column(&ID), column(&NAME)) else {
        let mut findings = Findings::of(sheet, &SheetRow { number: 1, cells: Vec::new() });
        findings.add(Action::Noted, Reason::ClientColumns);
        return (Vec::new(), findings.found);
    };
    let kana = column(&KANA);
    let mut clients = Vec::with_capacity(sheet.rows.len());
    let (mut found, mut named) = (Vec::new(), HashSet::new());
    for row in &sheet.rows {
        let words = |at: Option<usize>| {
            let cell = at.and_then(|at| row.cells.get(at)).map_or("", String::as_str);
            cell.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let client = ClientName { id: words(Some(id)), name: words(Some(name)), name_kana: words(kana) };
        let mut findings = Findings::of(sheet, row);
        if forgotten.contains(&client.id) {
            findings.add(Action::Quarantined, Reason::Forgotten);
        } else if client.id.is_empty() || !is_name(&client.name) || client.name_kana.chars().count() > LONGEST
        {
            findings.id = client.id;
            findings.add(Action::Quarantined, Reason::ClientUnnamed);
        } else if !named.insert(client.id.clone()) {
            findings.id = client.id;
            findings.add(Action::Quarantined, Reason::ClientDuplicate);
        } else {
            clients.push(client);
        }
        found.append(&mut findings.found);
    }
    (clients, found)
}

fn is_name(text: &str) -> bool {
    (1..=LONGEST).contains(&text.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(lines: &[&str]) -> Sheet {
        let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let rows = (2..).zip(&lines[1..]).map(|(number, line)| SheetRow { number, cells: cells(line) });
        Sheet { name: "Clients".into(), gid: None, header: cells(lines[0]), rows: rows.collect() }
    }

    #[test]
    fn each_line_with_an_id_and_a_name_is_a_client() {
        let long = format!(",{},,CL-6", "あ".repeat(LONGEST + 1));
        let sheet = sheet(&[
            "備考, 氏名 ,フリガナ,Client_ID",
            "x,江口　照男, エグチ テルオ ,CL-1",
            ",林 花",
            ",林 花,,CL-2",
            ",別人,,CL-1",
            ",,,CL-3",
            &long,
            ",忘 子,,CL-9",
        ]);
        let (clients, findings) = judge(&sheet, &["CL-9".to_owned()].into());
        let named: Vec<_> =
            clients.iter().map(|c| (c.id.as_str(), c.name.as_str(), c.name_kana.as_str())).collect();
        assert_eq!(named, [("CL-1", "江口 照男", "エグチ テルオ"), ("CL-2", "林 花", "")]);
        let reasons: Vec<_> = findings.iter().map(|f| (f.row, f.reason, f.id.as_str())).collect();
        assert_eq!(
            reasons,
            [
                (3, Reason::ClientUnnamed, ""),
                (5, Reason::ClientDuplicate, "CL-1"),
                (6, Reason::ClientUnnamed, "CL-3"),
                (7, Reason::ClientUnnamed, "CL-6"),
                (8, Reason::Forgotten, ""),
            ]
        );
    }

    #[test]
    fn a_sheet_of_that_name_with_other_columns_is_left_alone() {
        let (clients, findings) = judge(&sheet(&["会社,電話", "A,1"]), &BTreeSet::new());
        assert!(clients.is_empty());
        assert_eq!((findings[0].row, findings[0].reason), (1, Reason::ClientColumns));
        assert_eq!(findings.len(), 1);
    }
}

//! The faults that real workbooks of this kind had, a few of each, so that the quality report of the sample has
//! something true to say. They take the place of routine notes or are added to the other sheets; no record that was
//! written by hand for the evaluation is lost.

use super::{part_cell, vector_cells};

/// Rows that faults may be planted in: routine notes from templates, which carry no structured data.
fn routine(rows: &[Vec<String>]) -> Vec<usize> {
    (0..rows.len()).filter(|&at| rows[at][8].is_empty() && rows[at][1] == "calls").collect()
}

/// Plants every fault.
pub(super) fn plant(rows: &mut [Vec<String>], vectors: &mut Vec<Vec<String>>, terms: &mut [Vec<String>]) {
    // Far apart, and none of those rows has a vector in the sheet, so that one fault does not hide another.
    let with_vector: Vec<&String> = vectors.iter().map(|cells| &cells[0]).collect();
    let free: Vec<usize> =
        routine(rows).into_iter().filter(|&at| !with_vector.contains(&&rows[at][0])).collect();
    let mut places = free.iter().step_by(free.len() / 32).copied();
    let mut place = || places.next().unwrap_or_default();

    // Two rows with one id: twice the same row, twice another content (two scripts counted on their own).
    for _ in 0..2 {
        let (original, copy) = (place(), place());
        rows[copy] = rows[original].clone();
        let (first, second) = (place(), place());
        rows[second][0] = rows[first][0].clone();
    }
    // The batch writer left out bm25_keywords.
    for _ in 0..3 {
        rows[place()].remove(11);
    }
    // The hooks wrote a staff id, or nothing they knew, where the client belongs.
    for client in ["unknown", "unknown", "ST-002", ""] {
        rows[place()][5] = client.to_owned();
    }
    for _ in 0..2 {
        rows[place()][4].clear();
    }
    rows[place()][0].clear();
    let empty = place();
    rows[empty][6].clear();
    rows[empty][7].clear();
    for slash in [true, false] {
        let date = &mut rows[place()][12];
        let parts: Vec<&str> = date.split('-').collect();
        *date = match slash {
            true => parts.join("/"),
            false => format!("{}年{}月{}日", parts[0], parts[1], parts[2]),
        };
    }
    rows[place()][12] = "先週の火曜".into();
    let formula = place();
    rows[formula][7] = format!("=SUM({})", rows[formula][7]);
    rows[place()][9] = "{staff: 佐久間".into();
    // Rows of one source that all have its name for a title.
    for _ in 0..3 {
        rows[place()][6] = "通話_要約 - calls_su".into();
    }

    let broken = place();
    let mut vector = |change: &dyn Fn(&mut Vec<String>)| {
        let mut cells = vector_cells(&rows[broken]);
        change(&mut cells);
        vectors.push(cells);
    };
    for orphan in ["calls_thread_deleted1", "KB_nursing_20260401_99999", ""] {
        vector(&|cells| cells[0] = orphan.to_owned());
    }
    vector(&|cells| cells[4].truncate(100));
    vector(&|cells| cells[5].clear());
    vector(&|cells| cells[3] = part_cell(&[0.5, 0.5]));
    vector(&|cells| {
        for (part, size) in cells[3..6].iter_mut().zip([171, 171, 170]) {
            *part = part_cell(&vec![0.0; size]);
        }
    });
    vector(&|cells| cells[1] = "text-embedding-004".into());
    vector(&|cells| {
        // Five cells of the old layout under the header of the new one.
        let joined = cells[3..6].join(", ").replace("], [", ", ");
        *cells =
            vec![cells[0].clone(), joined, cells[1].clone(), "RETRIEVAL_DOCUMENT".into(), cells[6].clone()];
    });
    let twice = vectors[0].clone();
    vectors.push(twice);

    terms[4][2] = "むくみ、はれ".into();
    terms[4][5] = "多い".into();
}

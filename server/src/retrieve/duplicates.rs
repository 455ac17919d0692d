//! Rows that say word for word the same of the same client are one piece of evidence, in several places. The newest stands
//! for all.

use std::collections::HashMap;

use karute_engine::words::half_width;

use super::Evidence;

/// A text without white space, and with letters, digits and signs in one width.
fn said(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).map(half_width).collect()
}

/// Keeps the best of equal rows, which remembers the places of the others. Rows stand best first.
pub(super) fn collapse(found: &mut Vec<Evidence>) {
    let mut first: HashMap<(String, String), usize> = HashMap::with_capacity(found.len());
    let mut kept: Vec<Evidence> = Vec::with_capacity(found.len());
    for evidence in found.drain(..) {
        let content = said(&evidence.row.content);
        if content.is_empty() {
            kept.push(evidence);
            continue;
        }
        match first.get(&(evidence.row.client_id.clone(), content.clone())) {
            Some(&at) => {
                if let Some(known) = kept.get_mut(at) {
                    let mut other = evidence.row;
                    // Its place in the order is that of the best; what is shown is the newest.
                    if other.date > known.row.date {
                        std::mem::swap(&mut known.row, &mut other);
                        known.number = evidence.number;
                    }
                    known.same.push((other.id, other.origin));
                }
            }
            None => {
                first.insert((evidence.row.client_id.clone(), content), kept.len());
                kept.push(evidence);
            }
        }
    }
    *found = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use karute_engine::Row;

    #[test]
    fn equal_rows_of_one_client_count_once_with_all_their_places() {
        let evidence = |id: &str, client: &str, content: &str| Evidence {
            row: Row { id: id.into(), client_id: client.into(), content: content.into(), ..Row::default() },
            ..Evidence::default()
        };
        let mut found = vec![
            evidence("a", "CL-1", "体温 36.5℃"),
            evidence("b", "CL-1", "体温\n３６．５℃"),
            evidence("c", "CL-2", "体温 36.5℃"),
            evidence("d", "CL-1", ""),
            evidence("e", "CL-1", ""),
        ];
        collapse(&mut found);
        let ids: Vec<&str> = found.iter().map(|evidence| evidence.row.id.as_str()).collect();
        assert_eq!(ids, ["a", "c", "d", "e"]);
        assert_eq!(found[0].same[0].0, "b");
    }
}

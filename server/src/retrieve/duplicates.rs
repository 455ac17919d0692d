//! Rows that say word for word the same of the same client are one piece of evidence, in several places. The newest stands
//! for all, or one of the days that the question speaks of.

use std::collections::HashMap;

use karute_engine::Row;
use karute_engine::words::half_width;

use super::Evidence;
use super::understand::Span;

/// A text without white space, and with letters, digits and signs in one width.
fn said(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).map(half_width).collect()
}

/// Of a text that is shorter, the title says what it is about: 異常なし of one thing is not 異常なし of another.
const SAYS_IT_ITSELF: usize = 30;

/// Keeps the best of equal rows, which remembers the places of the others. Rows stand best first.
pub(super) fn collapse(found: &mut Vec<Evidence>, days: &[Span]) {
    let of_days = |row: &Row| days.iter().any(|span| span.holds(&row.date));
    let mut first: HashMap<(String, String), usize> = HashMap::with_capacity(found.len());
    let mut kept: Vec<Evidence> = Vec::with_capacity(found.len());
    for evidence in found.drain(..) {
        let mut content = said(&evidence.row.content);
        if !content.is_empty() && content.chars().count() < SAYS_IT_ITSELF {
            content = format!("{}\n{content}", said(&evidence.row.title));
        }
        if content.is_empty() {
            kept.push(evidence);
            continue;
        }
        match first.get(&(evidence.row.client_id.clone(), content.clone())) {
            Some(&at) => {
                if let Some(known) = kept.get_mut(at) {
                    let mut other = evidence.row;
                    // Its place in the order is that of the best; what is shown is of the days that are asked for, then the newest.
                    if (of_days(&other), &other.date) > (of_days(&known.row), &known.row.date) {
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
    use time::macros::date;

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
        collapse(&mut found, &[]);
        let ids: Vec<&str> = found.iter().map(|evidence| evidence.row.id.as_str()).collect();
        assert_eq!(ids, ["a", "c", "d", "e"]);
        assert_eq!(found[0].same[0].0, "b");
    }

    #[test]
    fn of_equal_rows_the_one_of_the_day_that_is_asked_for_stands_for_all() {
        let evidence = |id: &str, title: &str, day: &str| {
            let row = Row {
                id: id.into(),
                title: title.into(),
                client_id: "CL-1".into(),
                content: "変わりなし。".into(),
                date: day.into(),
                ..Row::default()
            };
            Evidence { row, ..Evidence::default() }
        };
        let rows = || {
            vec![
                evidence("a", "訪問", "2026-10-20"),
                evidence("b", "訪問", "2026-10-27"),
                evidence("c", "吸引", "2026-10-28"),
            ]
        };
        let day =
            Span { phrase: "10月20日".into(), first: date!(2026 - 10 - 20), last: date!(2026 - 10 - 20) };
        for (days, expected) in [(&[][..], ["b", "c"]), (&[day], ["a", "c"])] {
            let mut found = rows();
            collapse(&mut found, days);
            assert_eq!(found.iter().map(|found| found.row.id.as_str()).collect::<Vec<_>>(), expected);
        }
    }
}

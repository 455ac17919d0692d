//! Small and large snapshots that are made in a moment.

use karute_engine::{BuildError, Draft, Identity, Passage, Provenance, Row, Sealed};

/// A snapshot with `rows` rows and vectors of `dimensions` numbers; another `name` makes it another snapshot.
///
/// # Errors
/// More dimensions than the format allows.
pub fn snapshot(name: &str, rows: usize, dimensions: usize) -> Result<Sealed, BuildError> {
    let mut draft = Draft::new(Identity::new("test", "one-hot", dimensions as u32));
    for number in 0..rows {
        let row = Row {
            id: format!("{name}-{number}"),
            content: format!("{name}の{number}番目の記録。体温は36.{}℃。", number % 10),
            ..Row::default()
        };
        let mut vector = vec![0.0; dimensions];
        vector[number % dimensions] = 1.0;
        draft.push(&row, &[Passage::whole(&row, &vector)])?;
    }
    let built_at = "2026-11-24T00:00:00Z".into();
    draft.finish(Provenance { source: format!("{name}.xlsx"), built_at, ..Provenance::default() })
}

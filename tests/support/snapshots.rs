//! Small snapshots for tests.

#![expect(clippy::expect_used, reason = "what is built here is sound, or the test must stop")]

use karute_engine::{Draft, Identity, Passage, Provenance, Row, Sealed};

/// An identity of three dimensions.
pub fn identity() -> Identity {
    Identity::new("test", "three-axes", 3)
}

/// A sealed snapshot of source `book.xlsx` with a row for each id. Rows of one id are alike in every snapshot, and
/// `built_at` says which of two is newer.
pub fn sealed(ids: &[&str], built_at: &str) -> Sealed {
    sealed_with(
        ids,
        Provenance { built_at: built_at.into(), source: "book.xlsx".into(), ..Provenance::default() },
    )
}

/// As [`sealed`], with any provenance.
pub fn sealed_with(ids: &[&str], provenance: Provenance) -> Sealed {
    let mut draft = Draft::new(identity());
    for id in ids {
        let row = Row {
            id: (*id).into(),
            client_id: "CL-1".into(),
            content: format!("{id}の体温は36.5℃。"),
            ..Row::default()
        };
        draft.push(&row, &[Passage::whole(&row, &[0.6, 0.0, 0.8])]).expect("a sound row");
    }
    draft.finish(provenance).expect("a sound draft")
}

//! Small snapshots for tests.

#![expect(clippy::expect_used, reason = "what is built here is sound, or the test must stop")]

use karute_engine::{Draft, GraphSettings, Identity, Passage, Precision, Provenance, Row, Sealed};

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

/// The snapshot that golden files hold: something in every section, a row of two passages, a row without a vector.
pub fn golden(precision: Precision) -> Sealed {
    let mut draft = Draft::new(identity());
    draft.set_precision(precision).expect("an empty draft");
    draft.set_graph(Some(GraphSettings::default()));
    let first = Row {
        id: "KB_1".into(),
        domain: "nursing".into(),
        source_type: "care_record".into(),
        client_id: "CL-00001".into(),
        title: "訪問記録".into(),
        content: "体温は36.5℃。食欲あり。".into(),
        tags: vec!["訪問".into()],
        date: "2026-09-14".into(),
        ..Row::default()
    };
    let parts = [Passage::part(0..19, &[1.0, 0.0, 0.0][..]), Passage::part(19..34, &[0.0, 1.0, 0.0][..])];
    draft.push(&first, &parts).expect("a sound row");
    draft.push(&Row { id: "KB_0".into(), ..Row::default() }, &[]).expect("a row without a vector");
    draft.set_terms(vec![karute_engine::Term {
        id: "T1".into(),
        canonical: "発熱".into(),
        synonyms: vec!["熱発".into()],
        category: "症状".into(),
    }]);
    draft.set_report("{\"findings\":[]}".into());
    let provenance = Provenance {
        source: "golden".into(),
        built_at: "2026-11-24T00:00:00Z".into(),
        ..Provenance::default()
    };
    draft.finish(provenance).expect("a sound draft")
}

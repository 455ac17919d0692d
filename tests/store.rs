//! Fear: a snapshot that lies, or a store that loses one.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::fs;
use std::path::Path;

use karute_engine::{
    BuildError, Draft, Embedding, Facet, Filter, Guard, Identity, Index, OpenError, Passage, Precision,
    Provenance, Query, QueryError, Row, Sealed, Store, StoreError, VectorFault,
};
use proptest::prelude::*;

fn identity() -> Identity {
    Identity::new("test", "three-axes", 3)
}

fn row(id: &str, client: &str, content: &str) -> Row {
    Row {
        id: id.into(),
        client_id: client.into(),
        domain: "nursing".into(),
        content: content.into(),
        tags: vec!["t".into()],
        ..Row::default()
    }
}

fn provenance(built_at: &str) -> Provenance {
    Provenance { built_at: built_at.into(), ..Provenance::default() }
}

fn draft(rows: &[(&str, &str, [f32; 3])]) -> Draft {
    let mut draft = Draft::new(identity());
    for (id, client, vector) in rows {
        let row = row(id, client, "体温は36.5℃。");
        draft.push(&row, &[Passage::whole(&row, vector)]).expect("a sound row");
    }
    draft
}

fn sealed(rows: &[(&str, &str, [f32; 3])]) -> Sealed {
    draft(rows).finish(provenance("2026-11-24T00:00:00Z")).expect("a sound draft")
}

const X: [f32; 3] = [1.0, 0.0, 0.0];
const Y: [f32; 3] = [0.0, 1.0, 0.0];
const Z: [f32; 3] = [0.0, 0.0, 1.0];

fn sample() -> Sealed {
    sealed(&[("c", "CL-1", X), ("a", "CL-2", Y), ("b", "CL-1", Z)])
}

fn found(index: &Index, vector: [f32; 3], filter: &Filter) -> Vec<String> {
    let question = Embedding::new(identity(), vector.into());
    let hits = index.search(&Query::new(&question).within(filter)).expect("a sound query");
    hits.into_iter().map(|hit| index.row(hit.row).expect("a row").id).collect()
}

#[test]
fn the_nearest_rows_come_first_and_equal_ones_in_row_order() {
    let index = Index::from_slice(&sample().to_bytes()).expect("a snapshot");
    let everything = Filter::everything();
    assert_eq!(found(&index, [0.1, 0.9, 0.2], &everything), ["a", "b", "c"]);
    assert_eq!(found(&index, [1.0, 1.0, 1.0], &everything), ["c", "a", "b"]);
}

#[test]
fn a_filter_lets_through_exactly_what_it_names() {
    let index = Index::from_slice(&sample().to_bytes()).expect("a snapshot");
    let client = |id: &str| Filter::everything().only(Facet::Client, [id]);
    assert_eq!(found(&index, Y, &client("CL-1")), ["c", "b"]);
    assert_eq!(found(&index, Y, &client("CL-2")), ["a"]);
    assert!(found(&index, Y, &client("CL-")).is_empty(), "a part of an id is no id");
    assert!(found(&index, Y, &client("CL-1").only(Facet::Domain, ["calls"])).is_empty());
    assert!(found(&index, Y, &Filter::everything().only(Facet::Client, Vec::<String>::new())).is_empty());
    assert!(found(&index, Y, &client("CL-1").only(Facet::Client, ["CL-2"])).is_empty(), "both must hold");
}

#[test]
fn a_query_of_another_space_is_refused() {
    let index = Index::from_slice(&sample().to_bytes()).expect("a snapshot");
    let other = Embedding::new(Identity { model: "other".into(), ..identity() }, X.into());
    assert!(matches!(index.search(&Query::new(&other)), Err(QueryError::Identity { .. })));
    for (vector, fault) in [
        (vec![1.0], VectorFault::Dimensions { found: 1, expected: 3 }),
        (vec![f32::NAN, 0.0, 0.0], VectorFault::NotFinite { position: 0 }),
        (vec![0.0, f32::INFINITY, 0.0], VectorFault::NotFinite { position: 1 }),
        (vec![0.0; 3], VectorFault::Zero),
    ] {
        let question = Embedding::new(identity(), vector);
        match index.search(&Query::new(&question)) {
            Err(QueryError::Vector(found)) => assert_eq!(found, fault),
            other => panic!("{fault}: {other:?}"),
        }
    }
    let largest = Embedding::new(identity(), vec![f32::MAX; 3]);
    assert_eq!(index.search(&Query::new(&largest).top(0)).expect("a sound query").len(), 0);
    assert_eq!(index.search(&Query::new(&largest).top(usize::MAX)).expect("a sound query").len(), 3);
}

#[test]
fn a_draft_refuses_what_cannot_be_found_again() {
    let mut draft = draft(&[("a", "", X)]);
    let mut push = |id: &str, vector: &[f32]| {
        let row = row(id, "", "x");
        draft.push(&row, &[Passage::whole(&row, vector)])
    };
    assert!(matches!(push("a", &Y), Err(BuildError::DuplicateId { .. })));
    assert!(matches!(push("", &Y), Err(BuildError::EmptyId { .. })));
    for vector in [&[0.0, 0.0, 0.0][..], &[1.0, 0.0], &[2.0, 0.0, 0.0], &[f32::NAN, 0.0, 0.0]] {
        assert!(matches!(push("b", vector), Err(BuildError::Vector { .. })), "{vector:?}");
    }
    let split = row("b", "", "熱");
    let passage = Passage::part(0..1, &X);
    assert!(matches!(draft.push(&split, &[passage]), Err(BuildError::Passage { .. })));
    assert_eq!(draft.len(), 1);
    assert!(matches!(
        Draft::new(Identity::new("test", "none", 0)).finish(Provenance::default()),
        Err(BuildError::Dimensions { .. })
    ));
}

#[test]
fn several_passages_of_a_row_count_as_one_hit_with_the_best_of_them() {
    let mut draft = Draft::new(identity());
    let long = row("long", "", "発熱あり。食欲なし。");
    let second = long.content.find("食欲").expect("the second sentence");
    let parts = [Passage::part(0..second, &X), Passage::part(second..long.content.len(), &Y)];
    draft.push(&long, &parts).expect("a sound row");
    let other = row("other", "", "変わりなし。");
    draft.push(&other, &[Passage::whole(&other, &Z)]).expect("a sound row");
    let bytes = draft.finish(Provenance::default()).expect("a sound draft").to_bytes();
    let index = Index::from_slice(&bytes).expect("a snapshot");
    let question = Embedding::new(identity(), vec![0.2, 0.9, 0.0]);
    let hits = index.search(&Query::new(&question)).expect("a sound query");
    assert_eq!(hits.len(), 2);
    let range = index.passage_range(hits[0].passage).expect("a passage");
    assert_eq!(&index.row(hits[0].row).expect("a row").content[range], "食欲なし。");
}

#[test]
fn a_snapshot_without_rows_and_one_without_vectors_can_be_searched() {
    let empty = Draft::new(identity()).finish(Provenance::default()).expect("an empty draft").to_bytes();
    let index = Index::from_slice(&empty).expect("a snapshot");
    assert!(index.is_empty());
    assert!(found(&index, X, &Filter::everything()).is_empty());
    index.verify().expect("sound");

    let mut draft = Draft::new(identity());
    draft.push(&row("a", "", ""), &[]).expect("a row without a vector");
    let bytes = draft.finish(Provenance::default()).expect("a draft").to_bytes();
    let index = Index::from_slice(&bytes).expect("a snapshot");
    assert_eq!((index.len(), index.passages()), (1, 0));
    assert!(found(&index, X, &Filter::everything()).is_empty());
}

#[test]
fn the_id_follows_from_the_content_and_not_from_the_time() {
    let rows: &[_] = &[("a", "CL-1", X)];
    let early = draft(rows).finish(provenance("2026-01-01T00:00:00Z")).expect("a draft");
    let late = draft(rows).finish(provenance("2026-12-31T00:00:00Z")).expect("a draft");
    assert_eq!(early.id(), late.id());
    assert_ne!(early.to_bytes(), late.to_bytes());
    assert_eq!(
        early.to_bytes(),
        draft(rows).finish(provenance("2026-01-01T00:00:00Z")).expect("a draft").to_bytes()
    );
    assert_ne!(early.id(), sealed(&[("a", "CL-2", X)]).id());
    assert_ne!(early.id(), sealed(&[("a", "CL-1", Y)]).id());
}

#[test]
fn every_changed_byte_is_found_and_every_truncation_is_refused() {
    let sound = sample().to_bytes();
    Index::from_slice(&sound).expect("a snapshot").verify().expect("sound");
    for at in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 1 << (at % 8);
        let verified = Index::from_slice(&damaged).and_then(|index| {
            // Whatever opens must answer or refuse, never panic, before anything has verified it.
            let _ = index.search(&Query::new(&Embedding::new(identity(), X.into())));
            let _ = (0..4).map(|row| index.row(row)).collect::<Vec<_>>();
            index.verify()
        });
        assert!(verified.is_err(), "byte {at} was changed and nobody noticed");
    }
    for length in 0..sound.len() {
        assert!(Index::from_slice(&sound[..length]).is_err(), "{length} bytes were taken for a snapshot");
    }
    let mut longer = sound.clone();
    longer.push(0);
    assert!(Index::from_slice(&longer).is_err());
}

/// A snapshot of each released build that wrote other bytes than the one before, the newest last. None is ever changed
/// or removed.
const GOLDEN: &[(&str, Precision, &[u8])] = &[
    ("0.1.0", Precision::F32, include_bytes!("golden/0.1.0.karute")),
    ("0.2.0", Precision::F32, include_bytes!("golden/0.2.0.karute")),
    ("0.2.0", Precision::F16, include_bytes!("golden/0.2.0-f16.karute")),
];

#[test]
fn the_golden_snapshot_of_every_released_build_opens_for_ever() {
    for (build, precision, bytes) in GOLDEN {
        let index = Index::from_slice(bytes).unwrap_or_else(|error| panic!("build {build}: {error}"));
        assert_eq!(index.builder(), format!("karute-engine {build}"));
        index.verify().expect("sound");
        assert_eq!(index.precision(), *precision);
        assert_eq!((index.len(), index.passages()), (2, 2));
        let hits =
            index.search(&Query::new(&Embedding::new(identity(), vec![0.1, 0.9, 0.0]))).expect("a search");
        let row = index.row(hits[0].row).expect("a row");
        assert_eq!(&row.content[index.passage_range(hits[0].passage).expect("a passage")], "食欲あり。");
        assert_eq!((row.id.as_str(), row.date.as_str()), ("KB_1", "2026-09-14"));
        assert_eq!(index.terms()[0].synonyms, ["熱発"]);
        assert_eq!(index.provenance().source, "golden");
    }
    // What this build writes is, byte for byte, what the golden file of its own version holds.
    for &(_, precision, golden) in GOLDEN {
        let written = karute_tests::snapshots::golden(precision).to_bytes();
        let builder = |bytes| Index::from_slice(bytes).expect("a snapshot").builder().to_owned();
        assert!(
            builder(golden) != builder(&written) || written == golden,
            "the bytes changed without a new version"
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_answered(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(Index::from_slice(&bytes).is_err());
    }

    #[test]
    fn what_goes_in_comes_out(
        contents in prop::collection::vec((".{0,40}", prop::collection::vec(".{0,8}", 0..3)), 0..20)
    ) {
        let mut draft = Draft::new(identity());
        let mut rows = Vec::new();
        for (number, (content, tags)) in contents.into_iter().enumerate() {
            let row = Row { tags, ..row(&format!("r{number}"), "CL-1", &content) };
            draft.push(&row, &[Passage::whole(&row, &X)]).expect("a sound row");
            rows.push(row);
        }
        let index = Index::from_slice(&draft.finish(Provenance::default()).expect("a draft").to_bytes());
        let index = index.expect("a snapshot");
        index.verify().expect("sound");
        for (number, row) in (0..).zip(&rows) {
            prop_assert_eq!(&index.row(number).expect("a row"), row);
        }
    }
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_published_last_is_current_and_earlier_ones_stay() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path().join("データ と 空白")).expect("a store");
    assert!(matches!(store.current(), Err(StoreError::Empty { .. })));
    let first = store.publish(&sample(), &Guard::open()).expect("published");
    let second = store.publish(&sealed(&[("z", "", X)]), &Guard::open()).expect("published");
    assert_eq!(store.current().expect("a snapshot").index.id(), second);
    assert_eq!(store.list().expect("a list").len(), 2);
    store.publish(&sample(), &Guard::open()).expect("published again");
    assert_eq!(store.current().expect("a snapshot").index.id(), first);
    assert_eq!(store.list().expect("a list").len(), 2);
    assert!(files(store.directory()).iter().all(|name| !name.ends_with("tmp")));
    assert_eq!(store.find(&first.short()).expect("found").id(), first);
    assert!(matches!(store.find("ffff"), Err(StoreError::Unknown { .. })));
    assert!(matches!(store.find(""), Err(StoreError::Ambiguous { count: 2, .. })));
}

#[test]
fn a_damaged_current_snapshot_or_pointer_is_passed_over_and_named() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let good = store.publish(&sample(), &Guard::open()).expect("published");
    let bad = store.publish(&sealed(&[("z", "", X)]), &Guard::open()).expect("published");
    let path = store.path_of(bad);
    fs::remove_file(&path).expect("removed");
    fs::write(&path, b"not a snapshot").expect("written");
    let opened = store.current().expect("the other one");
    assert_eq!(opened.index.id(), good);
    assert_eq!(opened.skipped[0].path, path);

    for garbage in [&b"\xff\xfe"[..], b"", b"../../etc/passwd\n", &[b'a'; 1000]] {
        fs::write(home.path().join("CURRENT"), garbage).expect("written");
        let opened = store.current().expect("the other one");
        assert_eq!(opened.index.id(), good);
        assert!(opened.skipped.iter().any(|skipped| skipped.path.ends_with("CURRENT")));
    }

    fs::remove_file(store.path_of(good)).expect("removed");
    assert!(matches!(store.current(), Err(StoreError::NoneUsable { .. })));
}

#[test]
fn publishing_over_a_damaged_file_of_the_same_name_mends_it() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let id = store.publish(&sample(), &Guard::open()).expect("published");
    let path = store.path_of(id);
    let mut bytes = fs::read(&path).expect("read");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::remove_file(&path).expect("removed");
    fs::write(&path, bytes).expect("written");
    assert!(matches!(store.find(&id.to_string()).expect("opens").verify(), Err(OpenError::Corrupt { .. })));
    store.publish(&sample(), &Guard::open()).expect("published");
    store.find(&id.to_string()).expect("opens").verify().expect("sound");
}

#[test]
fn a_second_writer_is_told_to_wait() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let lock = fs::File::create(home.path().join("writer.lock")).expect("a lock file");
    lock.lock().expect("locked");
    assert!(matches!(store.publish(&sample(), &Guard::open()), Err(StoreError::Locked { .. })));
    lock.unlock().expect("unlocked");
    store.publish(&sample(), &Guard::open()).expect("published");
}

#[test]
fn a_reader_keeps_its_snapshot_when_another_is_published_and_its_file_is_removed() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let id = store.publish(&sample(), &Guard::open()).expect("published");
    let index = store.current().expect("a snapshot").index;
    store.publish(&sealed(&[("z", "", X)]), &Guard::open()).expect("published");
    fs::remove_file(store.path_of(id)).expect("removed");
    assert_eq!(found(&index, Y, &Filter::everything()), ["a", "c", "b"]);
}

#[test]
#[ignore = "writes 700 MB and takes a while; .ci/deep runs it"]
fn a_million_rows_are_published_found_and_verified() {
    const ROWS: usize = 1_000_000;
    let identity = Identity::new("test", "many", 64);
    let mut draft = Draft::new(identity.clone());
    // Each row has a direction of its own: the bits of its number as signs.
    let vector = |number: usize| -> Vec<f32> {
        (0..64).map(|bit| if number >> (bit % 20) & 1 == 1 { 0.125 } else { -0.125 }).collect()
    };
    for number in 0..ROWS {
        let row = row(&format!("KB_{number:07}"), &format!("CL-{}", number % 39), "体温は36.5℃。食欲あり。");
        draft.push(&row, &[Passage::whole(&row, &vector(number))]).expect("a sound row");
    }
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    store.publish(&draft.finish(Provenance::default()).expect("a draft"), &Guard::open()).expect("published");
    let index = store.current().expect("a snapshot").index;
    assert_eq!(index.len() as usize, ROWS);
    for number in [0, 1, 777_777, ROWS - 1] {
        let question = Embedding::new(identity.clone(), vector(number));
        let hits = index.search(&Query::new(&question).top(1)).expect("a search");
        assert_eq!(index.row(hits[0].row).expect("a row").id, format!("KB_{number:07}"));
    }
}

#[cfg(unix)]
#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path().join("new")).expect("a store");
    let id = store.publish(&sample(), &Guard::open()).expect("published");
    let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(store.directory()), 0o700);
    assert_eq!(mode(&store.path_of(id)), 0o400);
    assert_eq!(mode(&store.directory().join("store.log")), 0o600);
}

//! Fear: looking after the store loses something: a prune that removes what is served, an accident that is published.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::fs;

use karute_engine::{
    After, Changed, Draft, Guard, Passage, Precision, Provenance, Row, SnapshotId, Store, StoreError, diff,
};
use karute_sync::transfer::{self, TransferError};
use karute_tests::snapshots::{identity, sealed, sealed_with};

fn store() -> (tempfile::TempDir, Store) {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path().join("store")).expect("a store");
    (home, store)
}

/// Publishes a snapshot for each of `ids`, the later the newer.
fn filled(store: &Store, ids: &[&str]) -> Vec<SnapshotId> {
    let publish = |(month, id): (usize, &&str)| {
        store
            .publish(&sealed(&[id], &format!("2026-{month:02}-01T00:00:00Z")), &Guard::open())
            .expect("published")
    };
    (1..).zip(ids).map(publish).collect()
}

fn held(store: &Store) -> Vec<SnapshotId> {
    store.list().expect("a list").into_iter().map(|listed| listed.id).collect()
}

#[test]
fn pruning_keeps_the_newest_the_current_the_pinned_and_the_newest_sound_one() {
    let (_home, store) = store();
    let ids = filled(&store, &["a", "b", "c", "d", "e"]);
    store.rollback(Some(ids[0])).expect("rolled back");
    store.pin(ids[1]).expect("pinned");
    store.pin(ids[1]).expect("pinned twice is pinned once");
    assert_eq!(store.pinned().expect("pins"), [ids[1]]);
    assert_eq!(store.prune(2).expect("pruned"), [ids[2]]);
    assert_eq!(held(&store), [ids[4], ids[3], ids[1], ids[0]]);
    // The newest is damaged behind what opening checks, so the one before it is what could still be served.
    let path = store.path_of(ids[4]);
    let mut bytes = fs::read(&path).expect("read");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::remove_file(&path).expect("removed");
    fs::write(&path, bytes).expect("written");
    assert_eq!(store.prune(0).expect("pruned"), [ids[4]]);
    assert_eq!(held(&store), [ids[3], ids[1], ids[0]]);
    store.unpin(ids[1]).expect("unpinned");
    assert_eq!(store.prune(0).expect("pruned"), [ids[1]]);
    assert_eq!(store.current().expect("a snapshot").index.id(), ids[0]);
}

#[test]
fn pruning_stops_at_pins_or_a_pointer_that_cannot_be_read() {
    let (_home, store) = store();
    filled(&store, &["a", "b", "c"]);
    for name in ["PINNED", "CURRENT"] {
        let path = store.directory().join(name);
        let before = fs::read(&path).ok();
        let _ = fs::remove_file(&path);
        fs::write(&path, "garbage\n").expect("written");
        assert!(store.prune(0).is_err(), "{name}");
        fs::remove_file(&path).expect("removed");
        if let Some(bytes) = before {
            fs::write(&path, bytes).expect("written");
        }
        assert_eq!(held(&store).len(), 3, "{name}");
    }
}

#[test]
fn what_is_served_while_the_pointer_is_lost_is_neither_pruned_nor_removed() {
    let (_home, store) = store();
    let ids: Vec<SnapshotId> = ["a", "b"].iter().flat_map(|id| filled(&store, &[*id])).collect();
    store.rollback(Some(ids[0])).expect("gone back");
    std::fs::remove_file(store.directory().join("CURRENT")).expect("removed");
    let served = store.current().expect("a snapshot").index.id();
    assert_eq!(served, ids[0]);
    assert!(store.list().expect("listed").iter().any(|listed| listed.current && listed.id == served));
    store.discard(served).expect_err("it is served");
    store.prune(1).expect("pruned");
    let opened = store.current().expect("a snapshot");
    assert_eq!(opened.index.id(), served);
    assert!(opened.skipped.iter().any(|skipped| skipped.path.ends_with("CURRENT")), "it is told");
    // So is what is served in the place of a current one that cannot be opened.
    let newer = filled(&store, &["c", "d"])[0];
    store.rollback(Some(served)).expect("gone back");
    let broken = filled(&store, &["e"])[0];
    std::fs::remove_file(store.path_of(broken)).expect("removed");
    std::fs::write(store.path_of(broken), "no snapshot").expect("written");
    assert_eq!(store.current().expect("a snapshot").index.id(), served);
    assert!(store.prune(0).expect("pruned").contains(&newer) || !held(&store).contains(&newer));
    assert_eq!(store.current().expect("a snapshot").index.id(), served);
}

#[test]
fn rolling_back_goes_to_what_was_current_before() {
    let (_home, store) = store();
    assert!(matches!(store.rollback(None), Err(StoreError::NoEarlier { .. })));
    let ids = filled(&store, &["a", "b"]);
    assert_eq!(store.rollback(None).expect("rolled back"), ids[0]);
    assert_eq!(store.rollback(None).expect("and forth"), ids[1]);
    assert_eq!(store.rollback(Some(ids[0])).expect("rolled back"), ids[0]);
    // A log that a crash cut short.
    let log = store.directory().join("store.log");
    let text = fs::read_to_string(&log).expect("a log");
    fs::write(&log, format!("{text}publish {}", &ids[0].to_string()[..20])).expect("written");
    assert_eq!(store.rollback(None).expect("rolled back"), ids[1]);
    fs::remove_file(store.path_of(ids[0])).expect("removed");
    assert!(matches!(store.rollback(Some(ids[0])), Err(StoreError::Io { .. })));
    assert!(matches!(store.rollback(None), Err(StoreError::NoEarlier { .. })));
    assert_eq!(store.current().expect("a snapshot").index.id(), ids[1]);
}

#[test]
fn a_reader_learns_of_a_new_snapshot_when_it_asks() {
    let (_home, store) = store();
    let ids = filled(&store, &["a"]);
    assert!(store.refresh(ids[0]).expect("readable").is_none());
    let reader = Store::open(store.directory()).expect("another process's view");
    let next = filled(&store, &["b"])[0];
    assert_eq!(reader.refresh(ids[0]).expect("readable").expect("another one").id(), next);
    fs::write(store.directory().join("CURRENT"), "garbage").expect("written");
    assert!(reader.refresh(next).is_err());
}

#[test]
fn what_looks_like_an_accident_is_not_published_unless_somebody_orders_it() {
    let (_home, store) = store();
    let all = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let before = store.publish(&sealed(&all, "2026-01-01T00:00:00Z"), &Guard::default()).expect("published");
    store.publish(&sealed(&all[..8], "2026-01-02T00:00:00Z"), &Guard::default()).expect("a fifth may go");
    store.make_current(before).expect("switched");

    let lost = sealed(&all[..7], "2026-01-03T00:00:00Z");
    match store.publish(&lost, &Guard::default()) {
        Err(StoreError::Refused { reason, .. }) => assert!(reason.contains("3 of the 10 rows"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.current().expect("a snapshot").index.id(), before);
    assert!(!store.path_of(lost.id()).exists());

    let provenance = |forced, quarantined, source: &str| Provenance {
        source: source.into(),
        rows_read: 10,
        rows_quarantined: quarantined,
        forced,
        ..Provenance::default()
    };
    let spoilt = sealed_with(&all[..9], provenance(false, 2, "book.xlsx"));
    assert!(matches!(store.publish(&spoilt, &Guard::default()), Err(StoreError::Refused { .. })));
    let other_source = sealed_with(&["z"], provenance(false, 9, "other.xlsx"));
    store.publish(&other_source, &Guard::default()).expect("another workbook is another matter");
    store.make_current(before).expect("switched");
    let renamed = sealed_with(&all[..1], provenance(false, 0, "book (2).xlsx"));
    match store.publish(&renamed, &Guard::default()) {
        Err(StoreError::Refused { .. }) => {}
        other => panic!("the same rows under another name are the same matter: {other:?}"),
    }
    // An order holds for once, and is known of a snapshot that was there before, too.
    let few = sealed_with(&all[..1], provenance(false, 0, "book.xlsx"));
    assert!(matches!(store.publish(&few, &Guard::default()), Err(StoreError::Refused { .. })));
    store.publish(&few, &Guard::open()).expect("ordered");
    assert!(store.is_forced(few.id()).expect("a log") && !store.is_forced(before).expect("a log"));
    store.publish(&sealed(&all, "2026-01-04T00:00:00Z"), &Guard::default()).expect("published");
    assert!(matches!(store.publish(&few, &Guard::default()), Err(StoreError::Refused { .. })));
}

#[test]
fn who_was_overtaken_while_building_is_told_and_changes_nothing() {
    let (_home, store) = store();
    let [a, b] = filled(&store, &["a", "b"])[..] else { panic!("two") };
    let slow = sealed(&["a", "c"], "2026-03-01T00:00:00Z");
    let after = |id| Guard { after: After::Snapshot(id), ..Guard::open() };
    match store.publish(&slow, &after(a)) {
        Err(StoreError::Overtaken { by, .. }) => assert_eq!(by, b),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.current().expect("a snapshot").index.id(), b);
    // What stands in the place of the one that it began with is that one without somebody.
    let instead = sealed(&["b2"], "2026-02-01T00:00:00Z");
    store.replace_by(b, &instead).expect("replaced");
    assert_eq!(store.current().expect("a snapshot").index.id(), instead.id());
    assert!(matches!(store.find(&b.to_string()), Err(StoreError::Unknown { .. })));
    store.publish(&slow, &after(b)).expect("published");
    // Of two who build the same, the second finds it done.
    store.publish(&slow, &after(b)).expect("published");
}

#[test]
fn what_is_no_snapshot_of_ours_is_left_alone_and_stops_nobody() {
    let (_home, store) = store();
    let ids = filled(&store, &["a", "b"]);
    let snapshots = store.directory().join("snapshots");
    fs::copy(store.path_of(ids[0]), snapshots.join(format!("{}.karute", ids[0].to_string().to_uppercase())))
        .expect("copied");
    fs::create_dir(snapshots.join(format!("{}.karute", "ab".repeat(32)))).expect("made");
    fs::create_dir(snapshots.join("x.tmp")).expect("made");
    fs::write(store.directory().join("mine.tmp"), "mine").expect("written");
    let pipe = snapshots.join(format!("{}.karute", "cd".repeat(32)));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    assert_eq!(store.list().expect("a list").len(), 2);
    assert_eq!(store.find(&ids[0].to_string()).expect("found").id(), ids[0]);
    filled(&store, &["c"]);
    assert_eq!(store.prune(1).expect("pruned").len(), 2);
    assert!(store.directory().join("mine.tmp").exists());
}

#[test]
fn a_pin_can_be_taken_from_what_is_damaged_or_gone() {
    let (_home, store) = store();
    let ids = filled(&store, &["a", "b", "c"]);
    store.pin(ids[0]).expect("pinned");
    store.pin(ids[1]).expect("pinned");
    fs::remove_file(store.path_of(ids[0])).expect("removed");
    fs::remove_file(store.path_of(ids[1])).expect("removed");
    fs::write(store.path_of(ids[1]), "junk").expect("written");
    for id in &ids[..2] {
        store.unpin(store.resolve(&id.short()).expect("known by its pin")).expect("unpinned");
    }
    assert_eq!(store.pinned().expect("pins"), []);
}

#[test]
fn what_the_log_cannot_say_does_not_happen() {
    let (_home, store) = store();
    let ids = filled(&store, &["a", "b"]);
    let log = store.directory().join("store.log");
    let text = fs::read_to_string(&log).expect("a log");
    fs::remove_file(&log).expect("removed");
    fs::create_dir(&log).expect("in its place");
    assert!(store.rollback(Some(ids[0])).is_err());
    assert!(store.publish(&sealed(&["c"], "2026-03-01T00:00:00Z"), &Guard::open()).is_err());
    assert_eq!(store.current().expect("a snapshot").index.id(), ids[1]);
    fs::remove_dir(&log).expect("removed");
    // A line that was cut short is no part of the next.
    fs::write(&log, text + "publ").expect("written");
    store.rollback(None).expect("rolled back");
    assert!(store.is_rolled_back());
}

#[test]
fn a_log_that_grew_long_or_is_gone_still_leads_back() {
    let (_home, store) = store();
    let ids = filled(&store, &["a", "b"]);
    let log = store.directory().join("store.log");
    let line = format!("publish {} {}\n", ids[0], ids[1]);
    fs::write(&log, line.repeat(10_000) + &format!("publish {} {}\n", ids[1], ids[0])).expect("written");
    let next = filled(&store, &["c"])[0];
    assert!(fs::metadata(&log).expect("a log").len() < 1 << 20);
    assert_eq!(store.rollback(None).expect("rolled back"), ids[1]);
    assert!(store.is_rolled_back());
    store.make_current(next).expect("switched");
    // A log that tells of one snapshot alone hides no other.
    fs::write(&log, format!("publish {0} {0}\n", next).repeat(3)).expect("written");
    assert_eq!(store.rollback(None).expect("rolled back"), ids[1]);
    store.make_current(next).expect("switched");
    fs::remove_file(&log).expect("removed");
    // Without a log the newest other one is the one before.
    assert_eq!(store.rollback(None).expect("rolled back"), ids[1]);
}

#[test]
fn a_parent_that_is_damaged_is_counted_and_not_blamed_on_its_child() {
    let (_home, store) = store();
    let all = ["a", "b", "c", "d", "e", "f"];
    let parent = sealed(&all, "2026-01-01T00:00:00Z");
    let id = store.publish(&parent, &Guard::default()).expect("published");
    let mut bytes = parent.to_bytes();
    let rows = store.find(&id.to_string()).expect("opened");
    let rows = *rows.sections().iter().find(|entry| entry.kind == 9).expect("rows");
    bytes[rows.offset as usize..(rows.offset + rows.length) as usize].fill(0xff);
    fs::remove_file(store.path_of(id)).expect("removed");
    fs::write(store.path_of(id), bytes).expect("written");
    let few = sealed(&all[..2], "2026-01-02T00:00:00Z");
    assert!(matches!(store.publish(&few, &Guard::default()), Err(StoreError::Refused { .. })));
    store.publish(&sealed(&all[..5], "2026-01-02T00:00:00Z"), &Guard::default()).expect("published");
}

#[test]
fn a_diff_speaks_in_rows() {
    let row = |id: &str, content: &str| Row { id: id.into(), content: content.into(), ..Row::default() };
    let build = |rows: &[(Row, [f32; 3])]| {
        let mut draft = Draft::new(identity());
        for (row, vector) in rows {
            draft.push(row, &[Passage::whole(row, vector)]).expect("a sound row");
        }
        let bytes = draft.finish(Provenance::default()).expect("a draft").to_bytes();
        karute_engine::Index::from_slice(&bytes).expect("a snapshot")
    };
    let (x, y) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
    let old = build(&[
        (row("gone", "1"), x),
        (row("same", "2"), x),
        (row("text", "3"), x),
        (row("vector", "4"), x),
    ]);
    let mut moved = row("same", "2");
    moved.origin.row_number = 99;
    let retagged = Row { tags: vec!["t".into()], ..row("text", "5") };
    let new = build(&[(row("vector", "4"), y), (retagged, x), (moved, x), (row("new", "6"), x)]);
    let found = diff(&old, &new).expect("sound");
    assert_eq!(found.added, ["new"]);
    assert_eq!(found.removed, ["gone"]);
    let changed = |id: &str, fields: &[&'static str]| Changed { id: id.into(), fields: fields.to_vec() };
    assert_eq!(found.changed, [changed("text", &["content", "tags"]), changed("vector", &["vector"])]);
    assert_eq!(diff(&new, &new).expect("sound"), karute_engine::Diff::default());
}

#[test]
fn an_export_comes_back_as_the_same_snapshot() {
    for precision in Precision::ALL {
        an_export_comes_back(precision);
    }
}

fn an_export_comes_back(precision: Precision) {
    let (home, store) = store();
    let mut draft = Draft::new(identity());
    draft.set_precision(precision).expect("an empty draft");
    let long = Row {
        id: "行 1".into(),
        content: "発熱あり。食欲\"なし\"。\n".into(),
        tags: vec!["熱".into()],
        ..Row::default()
    };
    let parts = [Passage::part(0..15, &[1.0, 0.0, 0.0][..]), Passage::part(15..18, &[0.6, 0.0, -0.8][..])];
    draft.push(&long, &parts).expect("a sound row");
    draft.push(&Row { id: "bare".into(), ..Row::default() }, &[]).expect("a row without a vector");
    draft.set_clients(vec![karute_engine::ClientName {
        id: "CL-1".into(),
        name: "江口 照男".into(),
        name_kana: "エグチ テルオ".into(),
    }]);
    draft.set_report("{\"findings\": []}".into());
    let sealed =
        draft.finish(Provenance { built_at: "2026-01-01T00:00:00Z".into(), ..Provenance::default() });
    let sealed = sealed.expect("a draft");
    store.publish(&sealed, &Guard::open()).expect("published");
    let folder = home.path().join("export");
    let index = store.current().expect("a snapshot").index;
    transfer::export(&index, &folder).expect("exported");
    assert!(
        matches!(transfer::export(&index, &folder), Err(TransferError::Io { .. })),
        "never over what is there"
    );
    let transfer::Imported { sealed: imported, differs_from } =
        transfer::import(&folder, |_| {}).expect("imported");
    assert_eq!(differs_from, None);
    assert_eq!(imported.id(), sealed.id());
    assert_eq!(imported.to_bytes(), sealed.to_bytes());

    for (name, damage) in [
        ("manifest.json", &b"{}"[..]),
        ("rows.jsonl", b"{\"row\": 1}\n"),
        ("rows.jsonl", b""),
        ("vectors.npy", b"\x93NUMPY\x01\x00"),
        ("terms.json", b"\xff"),
    ] {
        let path = folder.join(name);
        let before = fs::read(&path).expect("read");
        fs::write(&path, damage).expect("written");
        assert!(transfer::import(&folder, |_| {}).is_err(), "{name}");
        fs::write(&path, before).expect("written");
    }
    let vectors = folder.join("vectors.npy");
    let bytes = fs::read(&vectors).expect("read");
    fs::write(&vectors, &bytes[..bytes.len() - 1]).expect("written");
    assert!(transfer::import(&folder, |_| {}).is_err(), "a number is missing");
    fs::write(&vectors, [&bytes[..], &[0; 12]].concat()).expect("written");
    assert!(transfer::import(&folder, |_| {}).is_err(), "a vector too many");
}

//! Fear: the power goes, and with it a snapshot. Every operation of the writer is recorded on a disk in memory; for
//! every prefix of them the disk is found as a crash may leave it, and must open to the old state or the new one.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use karute_engine::{Guard, SnapshotId, Storage, Store, StoreError};
use karute_tests::snapshots::sealed;
use karute_tests::staged::{Fate, Files, StagedDisk};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const DIRECTORY: &str = "data/karute";
/// How many mixed fates each prefix is given.
const MIXED: u64 = 12;

fn store(disk: &StagedDisk) -> Store {
    Store::open_on(DIRECTORY, Arc::new(disk.clone())).expect("a store")
}

/// Crashes behind every operation that `change` makes to a disk that holds `base`. After each crash the store must
/// serve one of `allowed` (`None`: nothing yet), whole, and must take another publication; once `change` has returned, it must
/// serve the `last` of them, whatever was not synced. Returns how many states were tried.
fn crash_everywhere(base: &Files, allowed: &[Option<SnapshotId>], change: impl Fn(&Store)) -> usize {
    let last = *allowed.last().expect("a state");
    let allowed: &BTreeSet<_> = &allowed.iter().copied().collect();
    let disk = StagedDisk::holding(base.clone());
    change(&store(&disk));
    let mut states = 0;
    let mut seen = BTreeSet::new();
    for count in 0..=disk.recorded() {
        for fate in 0..MIXED + 2 {
            let mut random = ChaCha8Rng::seed_from_u64(fate * 1_000 + count as u64);
            let mut fate = match fate {
                0 => Fate::Kept,
                1 => Fate::Dropped,
                _ => Fate::Mixed(&mut random),
            };
            let found = StagedDisk::holding(disk.after_crash(count, &mut fate));
            let store = store(&found);
            let served = match store.current() {
                Ok(opened) => {
                    assert!(opened.skipped.is_empty(), "operation {count}: {:?}", opened.skipped);
                    opened.index.verify().expect("a whole snapshot");
                    Some(opened.index.id())
                }
                Err(StoreError::Empty { .. }) => None,
                Err(error) => panic!("operation {count}: {error}"),
            };
            assert!(allowed.contains(&served), "operation {count}: {served:?} is neither old nor new");
            assert!(count < disk.recorded() || served == last, "what was said to be done is not: {served:?}");
            seen.insert(served);
            store.pinned().expect("a list of pins");
            let next = sealed(&["next"], "2027-01-01T00:00:00Z");
            let guard = Guard { after: served.into(), ..Guard::open() };
            store.publish(&next, &guard).expect("the store takes another publication");
            assert_eq!(store.current().expect("a snapshot").index.id(), next.id());
            states += 1;
        }
    }
    assert_eq!(&seen, allowed, "some state was never reached: the test does not test what it says");
    states
}

#[test]
fn a_crash_at_any_point_leaves_the_old_state_or_the_new_one() {
    let empty = StagedDisk::default().files();
    let (one, two) =
        (sealed(&["a", "b"], "2026-01-01T00:00:00Z"), sealed(&["a", "b", "c"], "2026-02-01T00:00:00Z"));
    let publish = |sealed| {
        move |store: &Store| {
            store.publish(sealed, &Guard::open()).expect("published");
        }
    };
    let after = |base: &Files, change: &dyn Fn(&Store)| {
        let disk = StagedDisk::holding(base.clone());
        change(&store(&disk));
        disk.files()
    };

    let mut states = crash_everywhere(&empty, &[None, Some(one.id())], publish(&one));
    let first = after(&empty, &publish(&one));
    states += crash_everywhere(&first, &[Some(one.id()), Some(two.id())], publish(&two));
    let both = after(&first, &publish(&two));
    states += crash_everywhere(&both, &[Some(two.id()), Some(one.id())], publish(&one));
    states += crash_everywhere(&both, &[Some(two.id()), Some(one.id())], |store| {
        store.rollback(None).expect("rolled back");
    });
    states += crash_everywhere(&both, &[Some(two.id())], |store| {
        store.pin(one.id()).expect("pinned");
        store.unpin(one.id()).expect("unpinned");
        assert_eq!(store.prune(0).expect("pruned"), [one.id()]);
    });
    let three = sealed(&["b", "c"], "2026-02-01T00:00:00Z");
    states += crash_everywhere(&both, &[Some(two.id()), Some(three.id())], |store| {
        store.pin(two.id()).expect("pinned");
        store.replace_by(two.id(), &three).expect("replaced");
        assert_eq!(store.pinned().expect("pins"), [three.id()]);
        assert_eq!(store.list().expect("a list").len(), 2);
    });
    // What came from elsewhere: complete and synced, but for its name.
    let arrived = after(&first, &|_| {});
    let arrived = StagedDisk::holding(arrived);
    let path = Path::new("data/karute/arrived");
    let mut file = arrived.create(path).expect("created");
    two.write_to(&mut file).expect("written");
    file.sync().expect("synced");
    states += crash_everywhere(&arrived.files(), &[Some(one.id()), Some(two.id())], |store| {
        store.adopt(path, two.id()).expect("adopted");
        store.make_current(two.id()).expect("switched");
    });
    println!("{states} states");
    assert!(states >= 500, "{states}");
}

#[test]
fn whoever_made_the_directories_what_is_published_into_them_lasts() {
    let one = sealed(&["a"], "2026-01-01T00:00:00Z");
    for directory in ["karute", "data/karute", "a/b/c/karute"] {
        let first = StagedDisk::default();
        Store::open_on(directory, Arc::new(first.clone())).expect("a store");
        // The first that opened it was killed at any point, and the power was not lost.
        for count in 0..=first.recorded() {
            let disk = StagedDisk::unsynced(&first, count);
            let store = Store::open_on(directory, Arc::new(disk.clone())).expect("a store");
            store.publish(&one, &Guard::open()).expect("published");
            let found = StagedDisk::holding(disk.after_crash(disk.recorded(), &mut Fate::Dropped));
            let store = Store::open_on(directory, Arc::new(found)).expect("a store");
            assert_eq!(store.current().expect("a snapshot").index.id(), one.id(), "{directory} {count}");
        }
    }
}

#[test]
fn the_log_of_a_first_publication_lasts_as_long_as_the_snapshot() {
    let disk = StagedDisk::default();
    let (one, two) = (sealed(&["a"], "2026-01-01T00:00:00Z"), sealed(&["b"], "2026-01-01T00:00:00Z"));
    store(&disk).publish(&one, &Guard::open()).expect("published");
    let found = StagedDisk::holding(disk.after_crash(disk.recorded(), &mut Fate::Dropped));
    store(&found).publish(&two, &Guard::open()).expect("published");
    assert_eq!(store(&found).rollback(None).expect("rolled back"), one.id());
}

#[test]
fn a_pinned_snapshot_survives_every_crash_of_a_prune() {
    let disk = StagedDisk::default();
    let old = sealed(&["a"], "2026-01-01T00:00:00Z");
    let setting_up = store(&disk);
    setting_up.publish(&old, &Guard::open()).expect("published");
    setting_up.pin(old.id()).expect("pinned");
    setting_up.publish(&sealed(&["b"], "2026-02-01T00:00:00Z"), &Guard::open()).expect("published");
    setting_up.publish(&sealed(&["c"], "2026-03-01T00:00:00Z"), &Guard::open()).expect("published");
    let pruned = StagedDisk::holding(disk.files());
    assert_eq!(store(&pruned).prune(0).expect("pruned").len(), 1);
    for count in 0..=pruned.recorded() {
        let found = StagedDisk::holding(pruned.after_crash(count, &mut Fate::Dropped));
        store(&found).find(&old.id().to_string()).expect("the pinned snapshot").verify().expect("whole");
    }
}

#[test]
fn a_disk_that_fails_at_any_operation_costs_nothing_that_was_there() {
    use std::io::ErrorKind::{NotConnected, PermissionDenied, ReadOnlyFilesystem, StorageFull};
    let disk = StagedDisk::default();
    let (one, two) = (sealed(&["a"], "2026-01-01T00:00:00Z"), sealed(&["a", "b"], "2026-02-01T00:00:00Z"));
    store(&disk).publish(&one, &Guard::open()).expect("published");
    let base = disk.files();
    for kind in [StorageFull, ReadOnlyFilesystem, PermissionDenied, NotConnected] {
        for count in 0.. {
            let disk = StagedDisk::holding(base.clone());
            let store = store(&disk);
            disk.fail_after(count, kind);
            let published = store.publish(&two, &Guard::open());
            if !disk.mend() {
                published.expect("nothing failed");
                break;
            }
            match published {
                Err(StoreError::Io { source, .. }) => assert_eq!(source.kind(), kind),
                other => panic!("operation {count}: {other:?}"),
            }
            let served = store.current().expect("a snapshot");
            assert!(served.skipped.is_empty());
            served.index.verify().expect("whole");
            // Once the pointer is renamed the new snapshot is in force, whatever fails behind it.
            assert!([one.id(), two.id()].contains(&served.index.id()));
            store.publish(&two, &Guard::open()).expect("published when the disk is well again");
            assert_eq!(store.current().expect("a snapshot").index.id(), two.id());
        }
    }
}

#[test]
fn a_clock_that_was_moved_back_changes_nothing() {
    let disk = StagedDisk::default();
    let store = store(&disk);
    let [a, b, c] = [("a", "2026-06-01"), ("b", "2026-07-01"), ("c", "1970-01-01")].map(|(row, day)| {
        let sealed = sealed(&[row], &format!("{day}T00:00:00Z"));
        store.publish(&sealed, &Guard::open()).expect("published");
        sealed.id()
    });
    let listed = |store: &Store| store.list().expect("a list").iter().map(|one| one.id).collect::<Vec<_>>();
    assert_eq!(listed(&store), [c, b, a], "the latest first");
    // The one before takes over, whatever it says of its age.
    assert_eq!(store.current_avoiding(&[c]).expect("a snapshot").index.id(), b);
    store.rollback(Some(a)).expect("rolled back");
    assert_eq!(store.prune(1).expect("pruned"), [b]);
    assert_eq!(listed(&store), [c, a]);
}

#[test]
fn without_its_pointer_the_store_serves_what_was_current_last() {
    let disk = StagedDisk::default();
    let (one, two) = (sealed(&["a"], "2026-01-01T00:00:00Z"), sealed(&["b"], "2026-02-01T00:00:00Z"));
    for sealed in [&one, &two] {
        store(&disk).publish(sealed, &Guard::open()).expect("published");
    }
    store(&disk).rollback(None).expect("rolled back");
    disk.remove(Path::new("data/karute/CURRENT")).expect("removed");
    let mut garbage = disk.create(Path::new("data/karute/CURRENT")).expect("created");
    std::io::Write::write_all(&mut garbage, b"nonsense").expect("written");
    let opened = store(&disk).current().expect("a snapshot");
    assert_eq!((opened.index.id(), opened.skipped.len()), (one.id(), 1));
}

#[test]
fn the_disk_of_this_test_really_loses_what_was_not_synced() {
    let disk = StagedDisk::default();
    disk.create_directory(Path::new("d")).expect("created");
    disk.sync_directory(Path::new("")).expect("synced");
    let mut file = disk.create(Path::new("d/f")).expect("created");
    std::io::Write::write_all(&mut file, b"content").expect("written");
    let lost = StagedDisk::holding(disk.after_crash(disk.recorded(), &mut Fate::Dropped));
    assert!(lost.read(Path::new("d/f"), 100).is_err(), "neither the name nor the content was synced");
    disk.sync_directory(Path::new("d")).expect("synced");
    let named = StagedDisk::holding(disk.after_crash(disk.recorded(), &mut Fate::Dropped));
    assert_eq!(named.read(Path::new("d/f"), 100).expect("a file"), b"", "the content was not synced");
    file.sync().expect("synced");
    let kept = StagedDisk::holding(disk.after_crash(disk.recorded(), &mut Fate::Dropped));
    assert_eq!(kept.read(Path::new("d/f"), 100).expect("a file"), b"content");
}

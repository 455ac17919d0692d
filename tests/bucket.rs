//! Fear: a bucket that loses, mixes up or tears a snapshot, or two writers that both believe to have won.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use karute_engine::{Draft, Facet, Guard, Identity, Passage, Provenance, Row, SnapshotId, Store};
use karute_sync::bucket::{Bucket, BucketError, Endpoint, Pruned, Pulled};
use karute_sync::forget::forget;
use karute_sync::job::Silent;
use karute_tests::bulk::snapshot;
use karute_tests::forge::Forge;
use karute_tests::gcs::{Effect, Emulator};
use time::OffsetDateTime;

const NAME: &str = "records";
/// The kind of the provenance section.
const PROVENANCE: u32 = 2;
/// Ranges that make many of a small snapshot.
const RANGE: u64 = 16 << 10;

fn emulator() -> Emulator {
    Emulator::start(([127, 0, 0, 1], 0).into(), NAME).expect("a free port")
}

fn open(url: &str, endpoint: Option<&str>) -> Bucket {
    let endpoint: Option<Endpoint> = endpoint.map(|endpoint| endpoint.parse().expect("an endpoint"));
    let bucket = Bucket::open(&url.parse().expect("a URL"), endpoint.as_ref()).expect("a bucket");
    bucket.in_ranges(RANGE, 4)
}

fn google(emulator: &Emulator) -> Bucket {
    open("gs://records/clinic/東", Some(&emulator.url()))
}

fn folder(home: &Path) -> Bucket {
    open(&format!("file://{}", home.display()), None)
}

/// S3 is played by moto's server, which `.ci/bucket` starts.
fn amazon(prefix: &str) -> Bucket {
    let endpoint = std::env::var("KARUTE_TEST_S3").expect("KARUTE_TEST_S3: run `bash .ci/bucket`");
    open(&format!("s3://{NAME}/{prefix}-{}", std::process::id()), Some(&endpoint))
}

fn object(id: SnapshotId) -> String {
    format!("clinic/東/snapshots/{id}.karute")
}

/// A store of its own with one small snapshot.
fn store(name: &str) -> (tempfile::TempDir, Store, SnapshotId) {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path().join("データ")).expect("a store");
    let id = publish(&store, name);
    (home, store, id)
}

fn publish(store: &Store, name: &str) -> SnapshotId {
    store.publish(&snapshot(name, 500, 64).expect("a draft"), &Guard::open()).expect("published")
}

fn current(store: &Store) -> SnapshotId {
    let opened = store.current().expect("a snapshot");
    assert!(opened.skipped.is_empty(), "{:?}", opened.skipped);
    opened.index.verify().expect("sound");
    opened.index.id()
}

async fn push(bucket: &Bucket, store: &Store, id: SnapshotId) -> Result<bool, BucketError> {
    let seen = bucket.look().await?;
    bucket.push(store, id, &seen, &Silent).await.map(|pushed| pushed.uploaded)
}

async fn pull(bucket: &Bucket, store: &Store) -> Result<Pulled, BucketError> {
    bucket.pull(store, &Silent).await
}

async fn round_trip(bucket: &Bucket) {
    let (_near, source, first) = store("first");
    let second = publish(&source, "second");
    let (_far, target, old) = store("old");
    assert!(matches!(pull(bucket, &target).await, Err(BucketError::Empty { .. })));
    assert_eq!(current(&target), old);

    assert!(push(bucket, &source, first).await.expect("pushed"));
    let pulled = pull(bucket, &target).await.expect("pulled");
    assert_eq!((pulled.id, pulled.kept, pulled.downloaded), (first, 0, pulled.bytes));
    assert!(pulled.bytes > 4 * RANGE && pulled.moved);
    assert_eq!(current(&target), first);
    let bytes = |store: &Store| fs::read(store.path_of(first)).expect("read");
    assert_eq!(bytes(&source), bytes(&target));

    let again = pull(bucket, &target).await.expect("pulled");
    assert_eq!((again.downloaded, again.moved), (0, false));
    // A copy that lies here but is damaged behind what opening checks is downloaded again.
    let path = target.path_of(first);
    let mut damaged = bytes(&target);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    fs::remove_file(&path).expect("removed");
    fs::write(&path, damaged).expect("written");
    assert_eq!(pull(bucket, &target).await.expect("pulled").downloaded, pulled.bytes);
    assert_eq!(current(&target), first);

    assert!(push(bucket, &source, second).await.expect("pushed"));
    pull(bucket, &target).await.expect("pulled");
    assert_eq!(current(&target), second);

    // Back to the first: nothing but the pointers moves.
    assert!(!push(bucket, &source, first).await.expect("pushed"));
    let back = pull(bucket, &target).await.expect("pulled");
    assert_eq!((back.downloaded, back.moved), (0, true));
    assert_eq!(current(&target), first);
    assert_eq!(bucket.look().await.expect("seen").id(), Some(first));
}

/// Of seven snapshots the first is current again: it stays, and the newest others.
async fn retention(bucket: &Bucket) {
    let now = OffsetDateTime::now_utc();
    assert!(matches!(bucket.prune(1, now).await, Err(BucketError::Empty { .. })));
    let (_home, store, first) = store("0");
    let mut ids = vec![first];
    ids.extend((1..7).map(|name| publish(&store, &name.to_string())));
    for id in ids.iter().chain([&first]) {
        push(bucket, &store, *id).await.expect("pushed");
    }
    // Of what was pushed within the hour nobody can say that its writer is done.
    assert_eq!(bucket.prune(1, now).await.expect("pruned"), Pruned { removed: Vec::new(), left: 7 });
    let later = now + time::Duration::hours(2);
    let pruned = bucket.prune(3, later).await.expect("pruned");
    assert!((3..=4).contains(&pruned.removed.len()) && !pruned.removed.contains(&first), "{pruned:?}");
    assert_eq!(pruned.left, 7 - pruned.removed.len());
    let (_far, target, _) = self::store("far");
    for id in &ids {
        let is_gone = pruned.removed.contains(id);
        assert_eq!(
            push(bucket, &store, *id).await.expect("pushed"),
            is_gone,
            "uploaded again only if removed"
        );
        assert_eq!(pull(bucket, &target).await.expect("pulled").id, *id);
    }
    back(bucket, &ids).await;
}

/// Back to an earlier snapshot without any store.
async fn back(bucket: &Bucket, ids: &[SnapshotId]) {
    let held = bucket.held().await.expect("listed");
    assert_eq!(held.len(), ids.len());
    assert!(held[0].current && held.iter().filter(|held| held.current).count() == 1, "{held:?}");
    let wanted = ids.iter().find(|id| **id != held[0].id).expect("another");
    assert_eq!(bucket.go_back(Some(&wanted.to_string()[..20])).await.expect("gone back"), *wanted);
    assert_eq!(bucket.look().await.expect("read").id(), Some(*wanted));
    // Without an id, to the newest of those that were there before it.
    let held = bucket.held().await.expect("listed");
    let before = held[1..].iter().find(|other| other.uploaded <= held[0].uploaded).map(|other| other.id);
    assert_eq!(bucket.go_back(None).await.ok(), before);
    assert!(matches!(
        bucket.go_back(Some("")).await,
        Err(BucketError::NotHeld { found: "several snapshots", .. })
    ));
    assert!(matches!(
        bucket.go_back(Some("none")).await,
        Err(BucketError::NotHeld { found: "no snapshot", .. })
    ));
}

/// Writers that all saw the same pointer: one wins, each of the others is told who did.
async fn race(bucket: &Bucket) {
    const WRITERS: usize = 4;
    for round in 0..5 {
        let stores: Vec<_> = (0..WRITERS).map(|writer| store(&format!("{round}-{writer}"))).collect();
        let seen = bucket.look().await.expect("seen");
        let pushes = stores.iter().map(|(_, store, id)| bucket.push(store, *id, &seen, &Silent));
        let ended = join_all(pushes).await;
        let winners: Vec<SnapshotId> = ended.iter().flatten().map(|pushed| pushed.id).collect();
        let [winner] = *winners else { panic!("round {round}: {ended:?}") };
        assert_eq!(bucket.look().await.expect("seen").id(), Some(winner));
        for ((_, _, id), ended) in stores.iter().zip(&ended).filter(|((_, _, id), _)| *id != winner) {
            match ended {
                Err(error @ BucketError::LostRace { ours, theirs, .. }) => {
                    assert_eq!((ours, theirs), (id, &Some(winner)));
                    let text = error.to_string();
                    assert!(text.contains(&id.to_string()) && text.contains(&winner.to_string()), "{text}");
                    assert!(text.contains("push again"), "{text}");
                }
                other => panic!("round {round}: {other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_to_google_is_pulled_whole() {
    let emulator = emulator();
    round_trip(&google(&emulator)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_to_a_folder_is_pulled_whole() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("共有 フォルダー");
    fs::create_dir(&path).expect("created");
    round_trip(&folder(&path)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto's server: bash .ci/bucket starts it and runs this"]
async fn s3_what_was_pushed_is_pulled_whole() {
    round_trip(&amazon("round-trip")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn google_keeps_the_current_snapshot_and_the_newest() {
    let emulator = emulator();
    retention(&google(&emulator)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_keeps_the_current_snapshot_the_newest_and_whatever_is_not_ours() {
    let home = tempfile::tempdir().expect("a directory");
    let notes = home.path().join("snapshots/notes.karute");
    fs::create_dir(home.path().join("snapshots")).expect("made");
    fs::write(&notes, "mine").expect("written");
    retention(&folder(home.path())).await;
    assert_eq!(fs::read_to_string(notes).expect("still there"), "mine");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto's server: bash .ci/bucket starts it and runs this"]
async fn s3_keeps_the_current_snapshot_and_the_newest() {
    retention(&amazon("kept")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_writers_that_race_for_google_exactly_one_wins_and_the_others_are_told() {
    race(&google(&emulator())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_writers_that_race_for_a_folder_exactly_one_wins_and_the_others_are_told() {
    race(&folder(tempfile::tempdir().expect("a directory").path())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto's server: bash .ci/bucket starts it and runs this"]
async fn s3_of_writers_that_race_exactly_one_wins_and_the_others_are_told() {
    race(&amazon("race")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_overtaken_while_it_uploads_loses() {
    let emulator = emulator();
    let (bucket, (_near, slow, ours), (_far, quick, theirs)) = (google(&emulator), store("a"), store("b"));
    emulator.fault("PUT", "snapshots", 1, Effect::Wait(Duration::from_millis(700)));
    let overtake = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        push(&bucket, &quick, theirs).await
    };
    let (lost, won) = tokio::join!(push(&bucket, &slow, ours), overtake);
    won.expect("the quick one wins");
    assert!(matches!(lost, Err(BucketError::LostRace { theirs: Some(id), .. }) if id == theirs), "{lost:?}");
    // What was lost is the race, not the snapshot: the next push has only the pointer to move.
    assert!(!push(&bucket, &slow, ours).await.expect("pushed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pushes_what_was_current_already_is_told_that_it_no_longer_is() {
    let home = tempfile::tempdir().expect("a directory");
    let bucket = folder(home.path());
    let ((_one, first, a), (_two, second, c)) = (store("a"), store("c"));
    push(&bucket, &first, a).await.expect("pushed");
    let seen = bucket.look().await.expect("a pointer");
    push(&bucket, &second, c).await.expect("pushed");
    let late = bucket.push(&first, a, &seen, &Silent).await;
    assert!(
        matches!(late, Err(BucketError::LostRace { theirs: Some(theirs), .. }) if theirs == c),
        "{late:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_snapshot_built_on_two_machines_is_one_object_whatever_its_provenance() {
    let emulator = emulator();
    let bucket = google(&emulator);
    let (_near, first, id) = store("a");
    // As the other machine has it, its provenance fills another page.
    let bytes = fs::read(first.path_of(id)).expect("read");
    let mut other = Forge::open(&bytes);
    other.bytes(PROVENANCE).splice(0..0, vec![0; 8192]);
    emulator.put(NAME, &object(id), other.sign());
    assert!(!push(&bucket, &first, id).await.expect("pushed"), "it is there");
    let (_far, target, _) = store("b");
    pull(&bucket, &target).await.expect("pulled");
    assert_eq!(current(&target), id);
    // Zeros of the right length are not there.
    emulator.put(NAME, &object(id), vec![0; bytes.len()]);
    assert!(matches!(push(&bucket, &first, id).await, Err(BucketError::Foreign { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_whose_answer_was_lost_is_known_to_have_happened() {
    let emulator = emulator();
    let (bucket, (_home, store, id)) = (google(&emulator), store("a"));
    emulator.fault("PUT", "CURRENT", 1, Effect::AnswerLost);
    push(&bucket, &store, id).await.expect("pushed");
    let refused = |method: &str, status| {
        emulator.answered().iter().any(|answered| answered.method == method && answered.status == status)
    };
    assert!(refused("PUT", 503) && refused("PUT", 412), "{:?}", emulator.answered());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_snapshot_goes_up_in_parts() {
    let emulator = emulator();
    let (bucket, (_near, source, _), (_far, target, _)) = (google(&emulator), store("a"), store("b"));
    let id = source
        .publish(&snapshot("large", 1_500, 3_072).expect("a draft"), &Guard::open())
        .expect("published");
    assert!(push(&bucket, &source, id).await.expect("pushed"));
    let parts = emulator.answered().iter().filter(|answered| answered.method == "PUT").count();
    assert!(parts > 2, "{parts} parts");
    pull(&bucket, &target).await.expect("pulled");
    assert_eq!(current(&target), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_was_cut_off_goes_on_where_it_ended() {
    let emulator = emulator();
    let (bucket, (_near, source, id), (_far, target, old)) = (google(&emulator), store("a"), store("b"));
    push(&bucket, &source, id).await.expect("pushed");
    emulator.fault("GET", "snapshots", usize::MAX, Effect::Slow(Duration::from_millis(300)));
    let cut = tokio::time::timeout(Duration::from_millis(800), pull(&bucket, &target)).await;
    assert!(cut.is_err(), "{cut:?}");
    assert_eq!(current(&target), old);
    emulator.heal();

    let before = emulator.sent();
    let pulled = loop {
        // A range may still be on its way to the disk.
        match pull(&bucket, &target).await {
            Err(BucketError::Busy { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            other => break other.expect("pulled"),
        }
    };
    assert!(pulled.kept > 0, "{pulled:?}");
    assert_eq!(pulled.kept + pulled.downloaded, pulled.bytes);
    let sent = emulator.sent() - before;
    assert!((pulled.downloaded..pulled.downloaded + 1_000).contains(&sent), "{sent} bytes for {pulled:?}");
    assert_eq!(current(&target), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_faults_are_ridden_out() {
    for effect in [
        Effect::Status(429),
        Effect::Status(503),
        Effect::AnswerLost,
        Effect::Torn(5_000),
        Effect::Torn(0),
        Effect::Slow(Duration::from_millis(5)),
    ] {
        let emulator = emulator();
        let (bucket, (_near, source, id), (_far, target, _)) = (google(&emulator), store("a"), store("b"));
        emulator.fault("PUT", "", 2, effect);
        push(&bucket, &source, id).await.unwrap_or_else(|error| panic!("{effect:?}: {error}"));
        emulator.heal();
        emulator.fault("GET", "", 2, effect);
        pull(&bucket, &target).await.unwrap_or_else(|error| panic!("{effect:?}: {error}"));
        assert_eq!(current(&target), id, "{effect:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lasting_faults_are_typed_errors_and_leave_the_local_store_alone() {
    let (_near, source, id) = store("a");
    for (method, path, effect, expected) in [
        ("GET", "snapshots", Effect::Status(429), "429"),
        ("GET", "snapshots", Effect::Status(503), "503"),
        ("GET", "CURRENT", Effect::Status(503), "503"),
        ("HEAD", "snapshots", Effect::Status(403), "credentials"),
        ("GET", "CURRENT", Effect::Status(401), "credentials"),
        ("GET", "snapshots", Effect::Status(412), "replaced during the download"),
        ("GET", "snapshots", Effect::Status(404), "replaced during the download"),
        ("HEAD", "snapshots", Effect::Status(404), "is not there"),
        ("GET", "CURRENT", Effect::Status(404), "holds no snapshot yet"),
        ("GET", "snapshots", Effect::Torn(100), "connection"),
        ("GET", "snapshots", Effect::Flipped(100), "thrown away"),
        ("GET", "CURRENT", Effect::Flipped(0), "not the id of a snapshot"),
    ] {
        let emulator = emulator();
        let (bucket, (_far, target, old)) = (google(&emulator), store("b"));
        push(&bucket, &source, id).await.expect("pushed");
        emulator.fault(method, path, usize::MAX, effect);
        let error = pull(&bucket, &target).await.expect_err("a fault").to_string();
        assert!(error.contains(expected), "{method} {path} {effect:?}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
        assert_eq!(current(&target), old);
        emulator.heal();
        pull(&bucket, &target).await.expect("pulled once all is well");
        assert_eq!(current(&target), id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_objects_are_refused_and_nothing_of_them_stays() {
    let (_near, source, id) = store("a");
    let sound = fs::read(source.path_of(id)).expect("read");
    let (_other, other_store, other) = store("another");
    let mut flipped = sound.clone();
    flipped[sound.len() - 1] ^= 1;
    for wrong in [
        flipped,
        sound[..sound.len() - 1].to_vec(),
        sound[..100].to_vec(),
        Vec::new(),
        [&sound[..], b"x"].concat(),
        fs::read(other_store.path_of(other)).expect("read"),
        b"not a snapshot".to_vec(),
    ] {
        let emulator = emulator();
        let (bucket, (_far, target, old)) = (google(&emulator), store("b"));
        push(&bucket, &source, id).await.expect("pushed");
        let length = wrong.len();
        emulator.put(NAME, &object(id), wrong);
        let error = pull(&bucket, &target).await.expect_err("a wrong object");
        assert!(matches!(error, BucketError::Damaged { .. }), "{length} bytes: {error}");
        assert_eq!(current(&target), old);
        let left = fs::read_dir(target.directory().join("incoming")).expect("a directory").count();
        assert_eq!(left, 1, "only the lock stays");
        assert_eq!(target.list().expect("a list").len(), 1);
        // A writer that meets it says so, too, unless only the content is wrong.
        if length != sound.len() {
            assert!(matches!(push(&bucket, &source, id).await, Err(BucketError::Foreign { .. })));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pointer_of_any_bytes_is_an_id_or_an_error() {
    let emulator = emulator();
    let (bucket, (_near, source, id), (_far, target, old)) = (google(&emulator), store("a"), store("b"));
    for garbage in
        [&b""[..], b"\xff\xfe", b"../../etc/passwd\n", &[b'a'; 1_000], &[0; 66], "体温\n".as_bytes()]
    {
        emulator.put(NAME, "clinic/東/CURRENT", garbage.to_vec());
        assert!(matches!(pull(&bucket, &target).await, Err(BucketError::Pointer { .. })), "{garbage:?}");
        assert!(matches!(push(&bucket, &source, id).await, Err(BucketError::Pointer { .. })), "{garbage:?}");
        assert_eq!(current(&target), old);
    }
    emulator.remove(NAME, "clinic/東/CURRENT");
    push(&bucket, &source, id).await.expect("pushed once it was removed, as the error says");
    emulator.remove(NAME, &object(id));
    assert!(matches!(pull(&bucket, &target).await, Err(BucketError::Missing { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_in_the_bucket_does_not_become_current_there() {
    let bucket_home = tempfile::tempdir().expect("a directory");
    let bucket = folder(bucket_home.path());
    let (_home, here, first) = store("first");
    push(&bucket, &here, first).await.expect("pushed");
    let second = publish(&here, "second");
    push(&bucket, &here, second).await.expect("pushed");
    let object = bucket_home.path().join(format!("snapshots/{first}.karute"));
    let mut bytes = fs::read(&object).expect("an object");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&object, bytes).expect("written");
    assert!(push(&bucket, &here, first).await.expect("pushed"), "it was uploaded again");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let there = Store::open(elsewhere.path()).expect("a store");
    assert_eq!(pull(&bucket, &there).await.expect("pulled").id, first);
    assert!(!push(&bucket, &here, second).await.expect("pushed"), "it is sound and stays");
    // What is current there already is no exception.
    let object = bucket_home.path().join(format!("snapshots/{second}.karute"));
    let mut bytes = fs::read(&object).expect("an object");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&object, bytes).expect("written");
    assert!(push(&bucket, &here, second).await.expect("pushed"), "it was uploaded again");
    assert_eq!(pull(&bucket, &there).await.expect("pulled").id, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_forgotten_here_does_not_come_in_and_what_stands_in_the_place_is_fetched_once() {
    let bucket_home = tempfile::tempdir().expect("a directory");
    let bucket = folder(bucket_home.path());
    let (home, elsewhere) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("another"));
    let (here, there) =
        (Store::open(home.path()).expect("a store"), Store::open(elsewhere.path()).expect("a store"));
    let mut draft = Draft::new(Identity::new("test", "m", 2));
    for client in ["CL-1", "CL-2"] {
        let row = Row { id: client.into(), client_id: client.into(), ..Row::default() };
        draft.push(&row, &[Passage::whole(&row, &[1.0, 0.0])]).expect("a row");
    }
    let sealed = draft.finish(Provenance::default()).expect("a draft");
    let id = here.publish(&sealed, &Guard::open()).expect("published");
    push(&bucket, &here, id).await.expect("pushed");
    forget(&there, "CL-1").expect("forgotten");
    let pulled = pull(&bucket, &there).await.expect("pulled");
    assert!(pulled.id != id && pulled.moved && pulled.downloaded > 0);
    let index = there.current().expect("a snapshot").index;
    assert_eq!((index.id(), index.len(), there.list().expect("listed").len()), (pulled.id, 1, 1));
    assert!(index.rows_with(Facet::Client, "CL-1").expect("sound").is_empty());
    let again = pull(&bucket, &there).await.expect("pulled");
    assert_eq!((again.id, again.moved, again.downloaded), (pulled.id, false, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_not_pushed() {
    let emulator = emulator();
    let (bucket, (_home, store, id)) = (google(&emulator), store("a"));
    let mut bytes = fs::read(store.path_of(id)).expect("read");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::remove_file(store.path_of(id)).expect("removed");
    fs::write(store.path_of(id), bytes).expect("written");
    assert!(matches!(push(&bucket, &store, id).await, Err(BucketError::Store(_))));
    assert!(
        emulator.object(NAME, &object(id)).is_none() && bucket.look().await.expect("seen").id().is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_shown_of_a_bucket_holds_its_credentials() {
    let bucket = google(&emulator());
    let shown = format!("{bucket:?}");
    assert!(shown.contains("clinic") && !shown.to_lowercase().contains("credential"), "{shown}");
    let missing = Bucket::open(&"file:///no/such/folder".parse().expect("a URL"), None);
    assert!(missing.expect_err("no folder").to_string().contains("/no/such/folder"));
}

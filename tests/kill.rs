//! Fear: a process that is killed, or others that read meanwhile, find or leave something half done. Real processes,
//! real SIGKILL, a real file system. The deep run asks for more of them.

#![cfg(unix)]
#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use karute_engine::{Guard, Store};
use karute_tests::snapshots::sealed;
use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

fn karute(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_karute-under-test"));
    command.env_clear().current_dir(home).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env("KARUTE_DATA_DIR", "data").env("LOG_LEVEL", "ERROR").args(arguments);
    command
}

/// A workbook of `rows` records.
fn workbook(folder: &Path, rows: usize) {
    std::fs::create_dir(folder).expect("created");
    let record = |n: usize| {
        format!("KB_{n},nursing,care_record,T,s{n},CL-1,記録{n},体温は36.{n}℃。,,,,,2026-09-01,,\n")
    };
    let header = "id,domain,source_type,source_table,source_id,user_id,title,content,structured_data,metadata,tags,\
                  bm25_keywords,date,created_at,updated_at\n";
    let records: String = (0..rows).map(record).collect();
    std::fs::write(folder.join("KnowledgeBase.csv"), format!("{header}{records}")).expect("written");
    std::fs::write(folder.join("Embeddings.csv"), "kb_id,model,embedding_part1\n").expect("written");
    std::fs::write(folder.join("MedicalTerms.csv"), "canonical,synonyms\n").expect("written");
}

fn count(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn a_process_that_is_killed_at_any_moment_loses_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    workbook(&home.path().join("one"), 200);
    workbook(&home.path().join("two"), 230);
    let sync = |book: &str| {
        vec!["sync".to_owned(), "--force".into(), "--set".into(), format!("KARUTE_WORKBOOK={book}")]
    };
    let bucket = home.path().join("bucket");
    std::fs::create_dir(&bucket).expect("created");
    let with_bucket = |verb: &str| {
        let set = format!("KARUTE_BUCKET=file://{}", bucket.display());
        vec!["snapshot".to_owned(), verb.into(), "--set".into(), set]
    };
    let verbs: [Vec<String>; 6] = [
        sync("one"),
        sync("two"),
        ["snapshot", "rollback"].map(str::to_owned).to_vec(),
        ["snapshot", "prune", "--keep", "1"].map(str::to_owned).to_vec(),
        with_bucket("push"),
        with_bucket("pull"),
    ];
    // One undisturbed run of each kind of sync: the ids that may ever be seen, and how long a run takes.
    let began = Instant::now();
    for verb in &verbs[..2] {
        let arguments: Vec<&str> = verb.iter().map(String::as_str).collect();
        assert!(karute(home.path(), &arguments).status().expect("the program runs").success());
    }
    let usual = began.elapsed() / 2;
    let store = Store::open(home.path().join("data")).expect("a store");
    let known: Vec<_> = store.list().expect("a list").iter().map(|listed| listed.id).collect();
    assert_eq!(known.len(), 2);

    let mut random = ChaCha8Rng::seed_from_u64(3);
    let (mut killed, wanted) = (0, count("KARUTE_TEST_KILLS", 25));
    while killed < wanted {
        let verb = verbs.choose(&mut random).expect("verbs");
        let arguments: Vec<&str> = verb.iter().map(String::as_str).collect();
        let mut child = karute(home.path(), &arguments).spawn().expect("started");
        std::thread::sleep(usual.mul_f64(random.random_range(0.0..1.0)));
        child.kill().expect("killed, or ended by itself");
        killed += usize::from(child.wait().expect("ended").code().is_none());
        let opened = store.current().expect("a snapshot");
        assert!(opened.skipped.is_empty(), "behind {verb:?}: {:?}", opened.skipped);
        opened.index.verify().expect("whole");
        assert!(known.contains(&opened.index.id()));
    }
    for verb in &verbs {
        let arguments: Vec<&str> = verb.iter().map(String::as_str).collect();
        let ended = karute(home.path(), &arguments).status().expect("the program runs");
        // A rollback has nothing to go back to when pruning has left one.
        assert!(ended.success() || verb[1] == "rollback", "{verb:?} behind {killed} kills");
        assert!(store.current().expect("a snapshot").skipped.is_empty());
    }
}

#[test]
fn readers_in_other_processes_never_see_a_half_state_while_one_publishes() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path().join("data")).expect("a store");
    let states = [sealed(&["a"], "2026-01-01T00:00:00Z"), sealed(&["a", "b"], "2026-01-02T00:00:00Z")];
    store.publish(&states[0], &Guard::open()).expect("published");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut reads = 0;
                    while !done.load(Ordering::Relaxed) {
                        let verified = karute(home.path(), &["snapshot", "verify"]).status();
                        assert!(verified.expect("the program runs").success(), "a reader saw a half state");
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        let until = Instant::now() + Duration::from_secs(count("KARUTE_TEST_SWAP_SECONDS", 3) as u64);
        // Readers end even when a publication fails and unwinds.
        struct Done<'a>(&'a AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let ending = Done(&done);
        let mut published = 0;
        while Instant::now() < until {
            store.publish(&states[published % 2], &Guard::open()).expect("published");
            published += 1;
            // Readers find what was current a moment ago gone, and must look again.
            store.prune(0).expect("pruned");
            let other = Store::open(home.path().join("data")).expect("a store");
            assert!(other.current().expect("a snapshot").skipped.is_empty());
        }
        drop(ending);
        let reads: usize = readers.into_iter().map(|reader| reader.join().expect("a reader")).sum();
        println!("{published} publications, {reads} reads");
        assert!(published > 10 && reads > 10);
    });
}

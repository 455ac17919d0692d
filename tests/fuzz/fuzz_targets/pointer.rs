//! Any bytes in the files that a store reads as text: the pointer, the pins, the log.
#![no_main]

use std::fs;
use std::sync::OnceLock;

use karute_engine::{Draft, Guard, Identity, Provenance, Store};
use libfuzzer_sys::fuzz_target;

fn store() -> &'static Store {
    static HOME: OnceLock<(tempfile::TempDir, Store)> = OnceLock::new();
    let (_, store) = HOME.get_or_init(|| {
        let home = tempfile::tempdir().expect("a directory");
        let store = Store::open(home.path()).expect("a store");
        let draft = Draft::new(Identity::new("fuzz", "one", 1));
        store.publish(&draft.finish(Provenance::default()).expect("a draft"), &Guard::open()).expect("published");
        (home, store)
    });
    store
}

fuzz_target!(|bytes: &[u8]| {
    let store = store();
    for name in ["CURRENT", "PINNED", "store.log"] {
        fs::write(store.directory().join(name), bytes).expect("written");
    }
    let opened = store.current().expect("the one snapshot is found whatever the pointer says");
    assert_eq!(opened.index.len(), 0);
    let _ = (store.pinned(), store.list(), store.refresh(opened.index.id()), store.rollback(None));
    let _ = store.prune(0);
    assert!(store.path_of(opened.index.id()).exists(), "pruning removed the only snapshot");
});

//! Any bytes in the files of an export. The first byte chooses the file.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use karute_engine::{Draft, Identity, Index, Passage, Provenance, Row};
use karute_sync::transfer;
use libfuzzer_sys::fuzz_target;

const FILES: [&str; 5] = ["manifest.json", "rows.jsonl", "vectors.npy", "terms.json", "report.json"];

/// An export with the sound content of each of its files.
fn sound() -> &'static (tempfile::TempDir, PathBuf, Vec<Vec<u8>>) {
    static HOME: OnceLock<(tempfile::TempDir, PathBuf, Vec<Vec<u8>>)> = OnceLock::new();
    HOME.get_or_init(|| {
        let home = tempfile::tempdir().expect("a directory");
        let folder = home.path().join("export");
        let mut draft = Draft::new(Identity::new("fuzz", "two", 2));
        let row = Row { id: "r".into(), content: "熱。".into(), ..Row::default() };
        draft.push(&row, &[Passage::whole(&row, &[1.0, 0.0])]).expect("a sound row");
        let bytes = draft.finish(Provenance::default()).expect("a draft").to_bytes();
        transfer::export(&Index::from_slice(&bytes).expect("a snapshot"), &folder).expect("exported");
        let contents = FILES.iter().map(|name| fs::read(folder.join(name)).expect("read")).collect();
        (home, folder, contents)
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, content)) = bytes.split_first() else { return };
    let (_, folder, contents) = sound();
    let number = usize::from(*choice) % FILES.len();
    let path = folder.join(FILES[number]);
    fs::write(&path, content).expect("written");
    if let Ok(transfer::Imported { sealed, .. }) = transfer::import(folder, |_| {}) {
        let index = Index::from_slice(&sealed.to_bytes()).expect("what was sealed opens");
        index.verify().expect("and is sound");
    }
    fs::write(&path, &contents[number]).expect("written");
});

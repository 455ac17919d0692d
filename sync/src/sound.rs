//! Whether the current snapshot may be built upon, without reading all of it each time that nobody changed it.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use karute_engine::{Index, SnapshotId, Store};

/// Name of the file in the data directory that says which file was found to be sound, and what it was like then.
const VERIFIED: &str = "VERIFIED";

/// Whether every byte of `index` is what it was built with. Read again only where its file was written since that was last
/// found, or where it is to be read `anew`: then a disk that lost something shows.
pub(crate) fn is_sound(store: &Store, index: &Index, anew: bool) -> bool {
    let stamp = stamp(store, index.id());
    if !anew && stamp.is_some() && stamp == fs::read_to_string(file(store)).ok() {
        return true;
    }
    match index.verify() {
        Ok(_) => {
            remember(store, index.id());
            true
        }
        Err(error) => {
            tracing::warn!(snapshot = index.id().short(), %error, "the current snapshot is damaged: everything is read anew");
            false
        }
    }
}

/// Notes that snapshot `id` was found to be sound as it lies there. Where that cannot be written, it is read once more.
pub(crate) fn remember(store: &Store, id: SnapshotId) {
    let Some(stamp) = stamp(store, id) else { return };
    let written = tempfile::NamedTempFile::new_in(store.directory()).and_then(|mut beside| {
        beside.write_all(stamp.as_bytes())?;
        beside.persist(file(store)).map_err(|error| error.error)
    });
    if let Err(error) = written {
        tracing::debug!(%error, "that the snapshot is sound could not be noted");
    }
}

fn file(store: &Store) -> PathBuf {
    store.directory().join(VERIFIED)
}

/// Id, length and time of the last change of a snapshot's file.
fn stamp(store: &Store, id: SnapshotId) -> Option<String> {
    let metadata = fs::metadata(store.path_of(id)).ok()?;
    let changed = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{id} {} {}\n", metadata.len(), changed.as_nanos()))
}

//! A directory of snapshots: one writer, any number of readers, nothing ever half there.
//!
//! ```text
//! <directory>/CURRENT                  the id of the snapshot in force, one line
//! <directory>/PINNED                   ids that pruning must keep, one a line
//! <directory>/NOTE                     one line of whoever fills the store, such as which source was read last
//! <directory>/snapshots/<id>.karute    immutable, mode 0400
//! <directory>/writer.lock              held by the one process that writes
//! <directory>/store.log                one line for each move of CURRENT, and for what came in: see `log`
//! ```
//!
//! Publishing writes to a temporary name, syncs the file, verifies it, asks the [`Guard`], renames it, syncs the
//! directory, writes the line of the log, and then swaps `CURRENT` in the same way. A crash at any point leaves the old state or the new one.
//!
//! * this file: opening, listing, finding what is current.
//! * `log`: what was current when, and so what is newer than what: clocks go back, the log does not.
//! * `publish`: everything that moves `CURRENT`.
//! * `retain`: pins and pruning.

mod guard;
mod log;
mod publish;
mod retain;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{OpenError, StoreError};
use crate::index::Index;
use crate::snapshot::id::SnapshotId;
use crate::storage::{Disk, Storage};

pub use guard::{After, Guard};

const CURRENT: &str = "CURRENT";
const PINNED: &str = "PINNED";
const SNAPSHOTS: &str = "snapshots";
const LOCK: &str = "writer.lock";
const NOTE: &str = "NOTE";
const LOG: &str = "store.log";
const EXTENSION: &str = ".karute";
const TEMPORARY: &str = "tmp";
/// `CURRENT` is an id and a line feed; anything longer is not ours.
const POINTER_LIMIT: u64 = 66;

/// A directory of snapshots.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
    storage: Arc<dyn Storage>,
}

/// The snapshot to serve, and what had to be passed over to find it.
#[derive(Debug)]
pub struct Opened {
    /// The snapshot.
    pub index: Index,
    /// Better choices that could not be opened; empty when all is well.
    pub skipped: Vec<Skipped>,
}

/// A snapshot, or the pointer to it, that could not be used.
#[derive(Debug)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// The id that `CURRENT` names, and what became of opening it.
type Pointed = (SnapshotId, Result<Option<Index>, OpenError>);

/// A snapshot in the store.
#[derive(Debug)]
pub struct Listed {
    /// Its id, from its name.
    pub id: SnapshotId,
    /// Whether `CURRENT` points to it.
    pub current: bool,
    /// Whether pruning must keep it.
    pub pinned: bool,
    /// The opened snapshot, or why it cannot be opened.
    pub index: Result<Index, OpenError>,
}

impl Store {
    /// Opens the store in `directory`, creating the directory if it is not there.
    ///
    /// # Errors
    /// A directory that cannot be created or read.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_on(directory, Arc::new(Disk))
    }

    /// As [`Store::open`], on another file system.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(directory: impl Into<PathBuf>, storage: Arc<dyn Storage>) -> Result<Self, StoreError> {
        let store = Self { directory: directory.into(), storage };
        let snapshots = store.directory.join(SNAPSHOTS);
        match store.storage.list(&snapshots) {
            Ok(_) => return Ok(store),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed("list", &snapshots)(error)),
        }
        store.storage.create_directory(&snapshots).map_err(failed("create", &snapshots))?;
        Ok(store)
    }

    /// Where the store lives.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the snapshot `id` lives, or would.
    pub fn path_of(&self, id: SnapshotId) -> PathBuf {
        self.directory.join(SNAPSHOTS).join(format!("{id}{EXTENSION}"))
    }

    /// The snapshot in force. If it cannot be opened, the one that was in force before it, or else the newest one that can, and
    /// what was skipped.
    ///
    /// # Errors
    /// [`StoreError::Empty`] before the first publication, [`StoreError::NoneUsable`] when nothing can be served.
    pub fn current(&self) -> Result<Opened, StoreError> {
        self.current_avoiding(&[])
    }

    /// As [`Store::current`], but passes over the snapshots `bad`, which were found to be damaged behind what opening
    /// checks.
    ///
    /// # Errors
    /// As [`Store::current`].
    pub fn current_avoiding(&self, bad: &[SnapshotId]) -> Result<Opened, StoreError> {
        let mut skipped = Vec::new();
        let mut skip = |path: PathBuf, reason: String| skipped.push(Skipped { path, reason });
        let open = |id: SnapshotId| match bad.contains(&id) {
            true => Err("it failed verification".to_owned()),
            false => self.open_snapshot(id).map_err(|error| error.to_string()),
        };
        let wanted = |id: SnapshotId| !bad.contains(&id);
        let current = match self.pointed(wanted) {
            Ok(None) => {
                if self.log().is_ok_and(|log| log.knows_a_pointer()) {
                    skip(self.directory.join(CURRENT), "it is lost".to_owned());
                }
                None
            }
            Ok(Some((_, Ok(Some(index))))) => return Ok(Opened { index, skipped }),
            Ok(Some((id, opened))) => {
                let reason = opened.err().map(|error| error.to_string());
                skip(self.path_of(id), reason.unwrap_or_else(|| "it failed verification".to_owned()));
                Some(id)
            }
            Err(reason) => {
                skip(self.directory.join(CURRENT), reason);
                None
            }
        };
        let (log, mut ids) = (self.log().unwrap_or_default(), self.ids()?);
        let places = log.places();
        let ids_are_none = ids.is_empty();
        ids.retain(|id| current != Some(*id));
        let mut newest: Option<Index> = None;
        // What was in force before takes over; if that cannot either, the newest that can.
        let before = log.previous(current, &ids).and_then(|id| open(id).ok());
        if let Some(index) = before {
            return Ok(Opened { index, skipped });
        }
        for id in ids {
            match open(id) {
                Ok(index)
                    if newest.as_ref().is_none_or(|newest| age(&places, newest) < age(&places, &index)) =>
                {
                    newest = Some(index);
                }
                Ok(_) => {}
                // Somebody pruned it since the names were listed.
                Err(_) if !bad.contains(&id) && !self.ids()?.contains(&id) => {}
                Err(reason) => skip(self.path_of(id), reason),
            }
        }
        match newest {
            Some(index) => Ok(Opened { index, skipped }),
            None if ids_are_none && current.is_none() => {
                Err(StoreError::Empty { path: self.directory.clone() })
            }
            None => {
                let reasons = skipped.iter().map(|s| format!("{}: {}", s.path.display(), s.reason));
                let reasons = reasons.collect::<Vec<_>>().join("; ");
                Err(StoreError::NoneUsable { path: self.directory.clone(), reasons })
            }
        }
    }

    /// The snapshot in force if it is another one than `held`: what a long-lived reader asks now and then. Costs one
    /// read of a short file when nothing has changed.
    ///
    /// # Errors
    /// A pointer that cannot be read, or a snapshot that cannot be opened. The reader keeps what it holds.
    pub fn refresh(&self, held: SnapshotId) -> Result<Option<Index>, StoreError> {
        let path = self.directory.join(CURRENT);
        match self.pointed(|id| id != held) {
            Ok(Some((id, opened))) => opened.map_err(|source| StoreError::Open { id, source }),
            Ok(None) => Ok(None),
            Err(reason) => Err(StoreError::NoneUsable { path, reasons: reason }),
        }
    }

    /// The snapshot that `CURRENT` names, opened if it is `wanted`. Where that fails and `CURRENT` names another one by then,
    /// that one is tried: whoever published it may have pruned the first.
    fn pointed(&self, wanted: impl Fn(SnapshotId) -> bool) -> Result<Option<Pointed>, String> {
        let mut pointer = self.pointer()?;
        loop {
            let Some(id) = pointer else { return Ok(None) };
            let opened = wanted(id).then(|| self.open_snapshot(id)).transpose();
            if opened.is_ok() {
                return Ok(Some((id, opened)));
            }
            pointer = self.pointer()?;
            if pointer == Some(id) {
                return Ok(Some((id, opened)));
            }
        }
    }

    /// The id that `CURRENT` names, whether there is such a snapshot or not; `None` where it names none.
    pub fn current_id(&self) -> Option<SnapshotId> {
        self.pointer().ok().flatten()
    }

    /// What `CURRENT` names; where it was lost, what is served in its place.
    pub(super) fn in_force(&self) -> Option<SnapshotId> {
        self.current_id().or_else(|| self.served())
    }

    /// What is served: what `CURRENT` names, or what takes its place.
    pub(super) fn served(&self) -> Option<SnapshotId> {
        self.current().ok().map(|opened| opened.index.id())
    }

    /// The snapshot that stands in the place of `id`: `id` itself as long as it is held.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn stand_in(&self, id: SnapshotId) -> Result<SnapshotId, StoreError> {
        let log = self.log()?;
        Ok(if self.ids()?.contains(&id) { id } else { log.stand_in(id) })
    }

    /// The id that `CURRENT` names; `Ok(None)` before the first publication, `Err` with the reason if the pointer
    /// cannot be read.
    fn pointer(&self) -> Result<Option<SnapshotId>, String> {
        let bytes = match self.storage.read(&self.directory.join(CURRENT), POINTER_LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| "it is not text".to_owned())?;
        text.strip_suffix('\n').unwrap_or(text).parse().map(Some).map_err(|error| format!("{error}"))
    }

    /// Every snapshot file in the store, newest first; those that cannot be opened come last.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let current = self.in_force();
        let pinned = self.pinned()?;
        let describe = |id| Listed {
            id,
            current: current == Some(id),
            pinned: pinned.contains(&id),
            index: self.open_snapshot(id),
        };
        // One that was pruned since the names were listed is no longer there.
        let is_gone = |listed: &Listed| matches!(&listed.index, Err(OpenError::Io { source, .. }) if source.kind() == ErrorKind::NotFound);
        let listed = self.ids()?.into_iter().map(describe).filter(|listed| !is_gone(listed));
        let mut listed: Vec<Listed> = listed.collect();
        let mut places = self.log()?.places();
        if let Some(current) = current {
            // One whose line was lost came last.
            places.entry(current).or_insert(usize::MAX);
        }
        let age = |listed: &Listed| listed.index.as_ref().ok().map(|index| age(&places, index));
        listed.sort_by_key(|listed| std::cmp::Reverse(age(listed)));
        Ok(listed)
    }

    /// The ids of all snapshot files, ascending.
    fn ids(&self) -> Result<Vec<SnapshotId>, StoreError> {
        let snapshots = self.directory.join(SNAPSHOTS);
        let names = self.storage.list(&snapshots).map_err(failed("list", &snapshots))?;
        // A name in another spelling is none of ours.
        let id = |name: &String| -> Option<SnapshotId> {
            let id: SnapshotId = name.strip_suffix(EXTENSION)?.parse().ok()?;
            (*name == format!("{id}{EXTENSION}")).then_some(id)
        };
        let mut ids: Vec<SnapshotId> = names.iter().filter_map(id).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// The one snapshot whose id begins with `prefix`, opened.
    ///
    /// # Errors
    /// No such snapshot, several of them, or one that cannot be opened.
    pub fn find(&self, prefix: &str) -> Result<Index, StoreError> {
        let id = self.resolve(prefix)?;
        self.open_snapshot(id).map_err(|source| StoreError::Open { id, source })
    }

    /// The one id that begins with `prefix`, of a snapshot that is held or pinned.
    ///
    /// # Errors
    /// No such snapshot, or several of them.
    pub fn resolve(&self, prefix: &str) -> Result<SnapshotId, StoreError> {
        let mut fitting = self.ids()?;
        fitting.extend(self.pinned()?);
        fitting.sort_unstable();
        fitting.dedup();
        fitting.retain(|id| id.to_string().starts_with(prefix));
        match *fitting {
            [id] => Ok(id),
            [] => Err(StoreError::Unknown { wanted: prefix.to_owned() }),
            _ => Err(StoreError::Ambiguous { wanted: prefix.to_owned(), count: fitting.len() }),
        }
    }

    /// The line that [`Store::note`] left, if there is one that can be read.
    pub fn noted(&self) -> Option<String> {
        const NOTE_LIMIT: u64 = 64 << 10;
        let bytes = self.storage.read(&self.directory.join(NOTE), NOTE_LIMIT).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        Some(text.strip_suffix('\n').unwrap_or(&text).to_owned())
    }

    fn open_snapshot(&self, id: SnapshotId) -> Result<Index, OpenError> {
        let path = self.path_of(id);
        let bytes = self.storage.map(&path).map_err(|source| OpenError::Io { path, source })?;
        let index = Index::open(bytes)?;
        is_named(&index, id)?;
        Ok(index)
    }

    /// Makes this the one writer, and removes what writers before it left behind.
    fn lock(&self) -> Result<Box<dyn Send>, StoreError> {
        let path = self.directory.join(LOCK);
        let lock = self.storage.lock(&path).map_err(failed("lock", &path))?;
        let lock = lock.ok_or_else(|| StoreError::Locked { path: self.directory.clone() })?;
        self.sweep()?;
        Ok(lock)
    }
}

/// What snapshots are ordered by: when they came into the store, as its log says; of those that it does not know, when they
/// were built, and of two of one moment by id.
fn age(places: &HashMap<SnapshotId, usize>, index: &Index) -> (Option<usize>, String, SnapshotId) {
    (places.get(&index.id()).copied(), index.provenance().built_at.clone(), index.id())
}

/// A file must hold the snapshot that its name promises.
fn is_named(index: &Index, id: SnapshotId) -> Result<(), OpenError> {
    if index.id() == id {
        return Ok(());
    }
    let detail = format!("the file is named {id}, but holds snapshot {}", index.id());
    Err(OpenError::Corrupt { section: "header", offset: 0, detail })
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}

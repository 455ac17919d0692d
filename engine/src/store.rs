//! A directory of snapshots: one writer, any number of readers, nothing ever half there.
//!
//! ```text
//! <directory>/CURRENT                  the id of the snapshot in force, one line
//! <directory>/snapshots/<id>.karute    immutable, mode 0400
//! <directory>/writer.lock              held by the one process that writes
//! <directory>/store.log                one line for each change of CURRENT
//! ```
//!
//! Publishing writes to a temporary name, syncs the file, verifies it, renames it, syncs the directory, and then
//! swaps `CURRENT` in the same way. A crash at any point leaves the old state or the new one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{OpenError, StoreError};
use crate::index::Index;
use crate::snapshot::build::Sealed;
use crate::snapshot::id::SnapshotId;
use crate::storage::{Disk, Storage, WriteFile};

const CURRENT: &str = "CURRENT";
const SNAPSHOTS: &str = "snapshots";
const LOCK: &str = "writer.lock";
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

/// A snapshot in the store.
#[derive(Debug)]
pub struct Listed {
    /// Its id, from its name.
    pub id: SnapshotId,
    /// Whether `CURRENT` points to it.
    pub current: bool,
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
        store.storage.create_directory(&snapshots).map_err(failed("create", &snapshots))?;
        store.storage.list(&snapshots).map_err(failed("list", &snapshots))?;
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

    /// Makes a sealed snapshot durable, then current. Publishing a snapshot that the store already holds moves only
    /// the pointer.
    ///
    /// # Errors
    /// Another writer; a refusal of the file system; a file that does not read back as it was written. In each case
    /// the store still serves what it served before.
    pub fn publish(&self, sealed: &Sealed) -> Result<SnapshotId, StoreError> {
        let _lock = self.lock()?;
        self.sweep()?;
        let id = sealed.id();
        let holds_it = self.open_snapshot(id).and_then(|index| index.verify()).is_ok();
        if !holds_it {
            let path = self.path_of(id);
            self.replace(&path, |file| sealed.write_to(file), Some(id))?;
        }
        self.point_to(id)?;
        Ok(id)
    }

    /// Takes over a file that was brought here from elsewhere, such as a bucket: verifies all of it, then gives it its
    /// name. The file must be complete, synced, on this store's file system, and nobody may write to it again. It does
    /// not become current.
    ///
    /// # Errors
    /// Another writer, or a file that is not the sound snapshot `id`; it is left where it is.
    pub fn adopt(&self, file: &Path, id: SnapshotId) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        self.check_written(id, file)?;
        let path = self.path_of(id);
        self.storage.rename(file, &path).map_err(failed("rename", file))?;
        let snapshots = self.directory.join(SNAPSHOTS);
        self.storage.sync_directory(&snapshots).map_err(failed("sync", &snapshots))
    }

    /// Makes a snapshot of the store current: the pointer is swapped, nothing else is touched.
    ///
    /// # Errors
    /// Another writer, or a snapshot that the store does not hold or cannot open.
    pub fn make_current(&self, id: SnapshotId) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        self.open_snapshot(id).map_err(|source| StoreError::Open { id, source })?;
        self.point_to(id)
    }

    /// The snapshot in force. If it cannot be opened, the newest one that can, and what was skipped.
    ///
    /// # Errors
    /// [`StoreError::Empty`] before the first publication, [`StoreError::NoneUsable`] when nothing can be served.
    pub fn current(&self) -> Result<Opened, StoreError> {
        let mut skipped = Vec::new();
        match self.current_id() {
            Ok(Some(id)) => match self.open_snapshot(id) {
                Ok(index) => return Ok(Opened { index, skipped }),
                Err(error) => skipped.push(Skipped { path: self.path_of(id), reason: error.to_string() }),
            },
            Ok(None) => {}
            Err(reason) => skipped.push(Skipped { path: self.directory.join(CURRENT), reason }),
        }
        let mut usable: Vec<Index> = Vec::new();
        for listed in self.list()? {
            match listed.index {
                Ok(index) => usable.push(index),
                Err(_) if listed.current => {}
                Err(error) => {
                    skipped.push(Skipped { path: self.path_of(listed.id), reason: error.to_string() });
                }
            }
        }
        let newest = usable.into_iter().max_by_key(|index| (index.provenance().built_at.clone(), index.id()));
        match newest {
            Some(index) => Ok(Opened { index, skipped }),
            None if skipped.is_empty() => Err(StoreError::Empty { path: self.directory.clone() }),
            None => {
                let reasons: Vec<String> =
                    skipped.iter().map(|s| format!("{}: {}", s.path.display(), s.reason)).collect();
                Err(StoreError::NoneUsable { path: self.directory.clone(), reasons: reasons.join("; ") })
            }
        }
    }

    /// The id that `CURRENT` names; `Ok(None)` before the first publication, `Err` with the reason if the pointer
    /// cannot be read.
    fn current_id(&self) -> Result<Option<SnapshotId>, String> {
        let path = self.directory.join(CURRENT);
        let bytes = match self.storage.read(&path, POINTER_LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| "it is not text".to_owned())?;
        text.strip_suffix('\n').unwrap_or(text).parse().map(Some).map_err(|error| format!("{error}"))
    }

    /// Every snapshot file in the store, ascending by id.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let current = self.current_id().ok().flatten();
        let describe = |id| Listed { id, current: current == Some(id), index: self.open_snapshot(id) };
        Ok(self.ids()?.into_iter().map(describe).collect())
    }

    /// The ids of all snapshot files, ascending.
    fn ids(&self) -> Result<Vec<SnapshotId>, StoreError> {
        let snapshots = self.directory.join(SNAPSHOTS);
        let names = self.storage.list(&snapshots).map_err(failed("list", &snapshots))?;
        let mut ids: Vec<SnapshotId> =
            names.iter().filter_map(|name| name.strip_suffix(EXTENSION)?.parse().ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// The one snapshot whose id begins with `prefix`, opened.
    ///
    /// # Errors
    /// No such snapshot, several of them, or one that cannot be opened.
    pub fn find(&self, prefix: &str) -> Result<Index, StoreError> {
        let mut fitting = self.ids()?;
        fitting.retain(|id| id.to_string().starts_with(prefix));
        match *fitting {
            [id] => self.open_snapshot(id).map_err(|source| StoreError::Open { id, source }),
            [] => Err(StoreError::Unknown { wanted: prefix.to_owned() }),
            _ => Err(StoreError::Ambiguous { wanted: prefix.to_owned(), count: fitting.len() }),
        }
    }

    fn open_snapshot(&self, id: SnapshotId) -> Result<Index, OpenError> {
        let path = self.path_of(id);
        let bytes = self.storage.map(&path).map_err(|source| OpenError::Io { path, source })?;
        let index = Index::open(bytes)?;
        is_named(&index, id)?;
        Ok(index)
    }

    fn lock(&self) -> Result<Box<dyn Send>, StoreError> {
        let path = self.directory.join(LOCK);
        let lock = self.storage.lock(&path).map_err(failed("lock", &path))?;
        lock.ok_or_else(|| StoreError::Locked { path: self.directory.clone() })
    }

    /// Removes what writers that were killed left behind; the lock says that none is at work now.
    fn sweep(&self) -> Result<(), StoreError> {
        for directory in [self.directory.join(SNAPSHOTS), self.directory.clone()] {
            let names = self.storage.list(&directory).map_err(failed("list", &directory))?;
            for name in names.iter().filter(|name| Path::new(name).extension() == Some(TEMPORARY.as_ref())) {
                let path = directory.join(name);
                self.storage.remove(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    fn point_to(&self, id: SnapshotId) -> Result<(), StoreError> {
        self.replace(&self.directory.join(CURRENT), |file| writeln!(file, "{id}"), None)?;
        let log = self.directory.join(LOG);
        let mut file = self.storage.append(&log).map_err(failed("open", &log))?;
        writeln!(file, "current {id}").and_then(|()| file.sync()).map_err(failed("write", &log))
    }

    /// Writes a file under a temporary name, makes it durable, checks it as a snapshot where `snapshot` says which,
    /// and only then gives it its name.
    fn replace(
        &self,
        path: &Path,
        write: impl FnOnce(&mut Box<dyn WriteFile>) -> std::io::Result<()>,
        snapshot: Option<SnapshotId>,
    ) -> Result<(), StoreError> {
        let storage = &self.storage;
        let temporary = path.with_extension(TEMPORARY);
        let written = storage
            .create(&temporary)
            .and_then(|mut file| write(&mut file).and_then(|()| file.sync()))
            .map_err(failed("write", &temporary))
            .and_then(|()| match snapshot {
                Some(id) => self.check_written(id, &temporary),
                None => Ok(()),
            });
        if let Err(error) = written {
            // The error that stopped the writing is the one to report; what is left is removed at the next publish.
            let _ = storage.remove(&temporary);
            return Err(error);
        }
        storage.rename(&temporary, path).map_err(failed("rename", &temporary))?;
        let directory = path.parent().unwrap_or(&self.directory);
        storage.sync_directory(directory).map_err(failed("sync", directory))
    }

    /// Reads a written snapshot back and verifies all of it.
    fn check_written(&self, id: SnapshotId, path: &Path) -> Result<(), StoreError> {
        let bytes = self.storage.map(path).map_err(failed("map", path))?;
        Index::open(bytes)
            .and_then(|index| is_named(&index, id).and_then(|()| index.verify()))
            .map(drop)
            .map_err(|source| StoreError::Open { id, source })
    }
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

//! Everything that moves `CURRENT`, in the order that a crash cannot break.

use std::io::Write;
use std::path::Path;

use super::{CURRENT, Guard, LOG, NOTE, SNAPSHOTS, Store, TEMPORARY, failed, is_named};
use crate::error::StoreError;
use crate::index::Index;
use crate::snapshot::build::Sealed;
use crate::snapshot::id::SnapshotId;
use crate::storage::WriteFile;

impl Store {
    /// Makes a sealed snapshot durable, then current, unless the `guard` refuses it. Publishing a snapshot that the
    /// store already holds moves only the pointer and adds a line to the log.
    ///
    /// # Errors
    /// Another writer; a refusal of the guard or of the file system; a file that does not read back as it was
    /// written. In each case the store still serves what it served before.
    pub fn publish(&self, sealed: &Sealed, guard: &Guard) -> Result<SnapshotId, StoreError> {
        let _lock = self.lock()?;
        self.sweep()?;
        let id = sealed.id();
        let parent = self.current().ok().map(|opened| opened.index);
        let held = self.open_snapshot(id).and_then(|index| index.verify().map(|_| index));
        match held {
            Ok(index) => guard.check(parent.as_ref(), &index)?,
            Err(_) => {
                let check = |temporary: &Path| guard.check(parent.as_ref(), &self.read_back(id, temporary)?);
                self.replace(&self.path_of(id), |file| sealed.write_to(file), check)?;
            }
        }
        self.point_to(id, "publish")?;
        Ok(id)
    }

    /// Makes a sealed snapshot durable without making it current, so that it can be looked at first.
    ///
    /// # Errors
    /// As [`Store::publish`], but for the guard.
    pub fn add(&self, sealed: &Sealed) -> Result<SnapshotId, StoreError> {
        let _lock = self.lock()?;
        self.sweep()?;
        let id = sealed.id();
        if self.open_snapshot(id).and_then(|index| index.verify().map(drop)).is_err() {
            let check = |temporary: &Path| self.read_back(id, temporary).map(drop);
            self.replace(&self.path_of(id), |file| sealed.write_to(file), check)?;
        }
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
        self.read_back(id, file)?;
        self.storage.rename(file, &self.path_of(id)).map_err(failed("rename", file))?;
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
        self.point_to(id, "switch")
    }

    /// Leaves one line for whoever fills the store; the store itself does not read it. Losing it costs work, no data.
    ///
    /// # Errors
    /// Another writer, or a refusal of the file system.
    pub fn note(&self, line: &str) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        self.sweep()?;
        self.replace(&self.directory.join(NOTE), |file| writeln!(file, "{line}"), |_| Ok(()))
    }

    /// Goes back to snapshot `to`, or to the one that was current before. One write of the pointer.
    ///
    /// # Errors
    /// Another writer; no earlier snapshot; one that fails verification.
    pub fn rollback(&self, to: Option<SnapshotId>) -> Result<SnapshotId, StoreError> {
        let _lock = self.lock()?;
        let id = match to {
            Some(id) => id,
            None => self.previous()?,
        };
        self.read_back(id, &self.path_of(id))?;
        self.point_to(id, "rollback")?;
        Ok(id)
    }

    /// Whether the pointer was last moved by a rollback: somebody chose what is current.
    pub fn is_rolled_back(&self) -> bool {
        self.log().is_ok_and(|log| log.lines().next_back().is_some_and(|line| line.starts_with("rollback ")))
    }

    fn log(&self) -> Result<String, StoreError> {
        /// Enough for hundreds of thousands of lines.
        const LOG_LIMIT: u64 = 64 << 20;
        let path = self.directory.join(LOG);
        match self.storage.read(&path, LOG_LIMIT) {
            // A line that a crash cut short names no snapshot, and is passed over as such.
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// The newest snapshot in the log that is not current and still held.
    fn previous(&self) -> Result<SnapshotId, StoreError> {
        let (log, current, held) = (self.log()?, self.pointer().ok().flatten(), self.ids()?);
        let ids = log.lines().rev().filter_map(|line| line.split(' ').next_back()?.parse().ok());
        ids.into_iter()
            .find(|id| current != Some(*id) && held.contains(id))
            .ok_or_else(|| StoreError::NoEarlier { path: self.directory.clone() })
    }

    /// Removes what writers that were killed left behind; the lock says that none is at work now.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        for directory in [self.directory.join(SNAPSHOTS), self.directory.clone()] {
            let names = self.storage.list(&directory).map_err(failed("list", &directory))?;
            for name in names.iter().filter(|name| Path::new(name).extension() == Some(TEMPORARY.as_ref())) {
                let path = directory.join(name);
                self.storage.remove(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    fn point_to(&self, id: SnapshotId, why: &str) -> Result<(), StoreError> {
        self.replace(&self.directory.join(CURRENT), |file| writeln!(file, "{id}"), |_| Ok(()))?;
        let log = self.directory.join(LOG);
        let mut file = self.storage.append(&log).map_err(failed("open", &log))?;
        // One write, so that a crash leaves the line whole or a fragment that names no snapshot.
        let line = format!("{why} {id}\n");
        file.write_all(line.as_bytes()).and_then(|()| file.sync()).map_err(failed("write", &log))
    }

    /// Writes a file under a temporary name, makes it durable, checks it, and only then gives it its name.
    pub(super) fn replace(
        &self,
        path: &Path,
        write: impl FnOnce(&mut Box<dyn WriteFile>) -> std::io::Result<()>,
        check: impl FnOnce(&Path) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let storage = &self.storage;
        let temporary = path.with_extension(TEMPORARY);
        let written = storage
            .create(&temporary)
            .and_then(|mut file| write(&mut file).and_then(|()| file.sync()))
            .map_err(failed("write", &temporary))
            .and_then(|()| check(&temporary));
        if let Err(error) = written {
            // The error that stopped the writing is the one to report; what is left is removed at the next publish.
            let _ = storage.remove(&temporary);
            return Err(error);
        }
        storage.rename(&temporary, path).map_err(failed("rename", &temporary))?;
        let directory = path.parent().unwrap_or(&self.directory);
        storage.sync_directory(directory).map_err(failed("sync", directory))
    }

    /// Reads a snapshot file and verifies all of it.
    pub(super) fn read_back(&self, id: SnapshotId, path: &Path) -> Result<Index, StoreError> {
        let bytes = self.storage.map(path).map_err(failed("map", path))?;
        let check = |index: Index| {
            is_named(&index, id)?;
            index.verify()?;
            Ok(index)
        };
        Index::open(bytes).and_then(check).map_err(|source| StoreError::Open { id, source })
    }
}

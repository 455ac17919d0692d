//! Everything that moves `CURRENT`, in the order that a crash cannot break.

use std::io::{ErrorKind, Write};
use std::path::Path;

use super::guard::After;
use super::log::{self, Log, Why};
use super::{CURRENT, Guard, LOG, NOTE, PINNED, SNAPSHOTS, Store, TEMPORARY, failed, is_named};
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
    /// Another writer, now or since the snapshot was begun; a refusal of the guard or of the file system; a file that does
    /// not read back as it was written. In each case the store still serves what it served before, unless the very last step
    /// fails, which makes the new pointer durable.
    pub fn publish(&self, sealed: &Sealed, guard: &Guard) -> Result<SnapshotId, StoreError> {
        let _lock = self.lock()?;
        let id = sealed.id();
        let parent = self.current().ok().map(|opened| opened.index);
        self.check_after(guard.after, id)?;
        let held = self.open_snapshot(id).and_then(|index| index.verify().map(|_| index));
        match held {
            Ok(index) => guard.check(parent.as_ref(), &index)?,
            Err(_) => {
                let check = |temporary: &Path| guard.check(parent.as_ref(), &self.read_back(id, temporary)?);
                self.replace(&self.path_of(id), |file| sealed.write_to(file), check)?;
            }
        }
        self.point_to(id, if guard.forced { Why::Force } else { Why::Publish })?;
        Ok(id)
    }

    /// Makes a sealed snapshot durable without making it current, so that it can be looked at first.
    ///
    /// # Errors
    /// As [`Store::publish`], but for the guard.
    pub fn add(&self, sealed: &Sealed) -> Result<SnapshotId, StoreError> {
        let _lock = self.lock()?;
        self.write_unless_held(sealed)?;
        self.note_in_log(Why::Add, sealed.id(), None)?;
        Ok(sealed.id())
    }

    /// Puts a sealed snapshot in the place of another, which goes: in every order, with its pin, and as the current one where
    /// it is that at this moment.
    ///
    /// # Errors
    /// As [`Store::add`].
    pub fn replace_by(&self, of: SnapshotId, sealed: &Sealed) -> Result<SnapshotId, StoreError> {
        let _lock = self.lock()?;
        let id = sealed.id();
        self.write_unless_held(sealed)?;
        if id == of {
            return Ok(id);
        }
        self.note_in_log(Why::Instead, id, Some(of))?;
        let mut pinned = self.pinned()?;
        if let Some(pin) = pinned.iter_mut().find(|pin| **pin == of) {
            *pin = id;
            self.write_pins(&pinned)?;
        }
        if self.in_force() == Some(of) {
            // Somebody who went back to the other has gone back to this one.
            let why = if self.log()?.is_rolled_back(of) { Why::Rollback } else { Why::Switch };
            self.point_to(id, why)?;
        }
        self.remove_file(of)?;
        Ok(id)
    }

    fn write_unless_held(&self, sealed: &Sealed) -> Result<(), StoreError> {
        let id = sealed.id();
        self.settle_directories()?;
        if self.open_snapshot(id).and_then(|index| index.verify().map(drop)).is_err() {
            let check = |temporary: &Path| self.read_back(id, temporary).map(drop);
            self.replace(&self.path_of(id), |file| sealed.write_to(file), check)?;
        }
        Ok(())
    }

    /// What was current when a publication was begun must be it still, or what takes its place, or the snapshot itself.
    fn check_after(&self, after: After, id: SnapshotId) -> Result<(), StoreError> {
        let now = self.current_id();
        let is_as_before = match after {
            After::Anything => true,
            After::Nothing => now.is_none(),
            After::Snapshot(after) => now == Some(after) || now == Some(self.log()?.stand_in(after)),
        };
        match now.filter(|now| !is_as_before && *now != id) {
            Some(by) => Err(StoreError::Overtaken { id, by }),
            None => Ok(()),
        }
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
        self.settle_directories()?;
        self.storage.rename(file, &self.path_of(id)).map_err(failed("rename", file))?;
        let snapshots = self.directory.join(SNAPSHOTS);
        self.storage.sync_directory(&snapshots).map_err(failed("sync", &snapshots))?;
        self.note_in_log(Why::Add, id, None)
    }

    /// Makes a snapshot of the store current: the pointer is swapped, nothing else is touched.
    ///
    /// # Errors
    /// Another writer, or a snapshot that the store does not hold or cannot open.
    pub fn make_current(&self, id: SnapshotId) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        self.open_snapshot(id).map_err(|source| StoreError::Open { id, source })?;
        self.point_to(id, Why::Switch)
    }

    /// Leaves one line for whoever fills the store; the store itself does not read it. Losing it costs work, no data.
    ///
    /// # Errors
    /// Another writer, or a refusal of the file system.
    pub fn note(&self, line: &str) -> Result<(), StoreError> {
        let _lock = self.lock()?;
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
        self.point_to(id, Why::Rollback)?;
        Ok(id)
    }

    /// Whether the pointer was last moved by a rollback: somebody chose what is current.
    pub fn is_rolled_back(&self) -> bool {
        let (log, current) = (self.log().unwrap_or_default(), self.in_force());
        current.is_some_and(|current| log.is_rolled_back(current))
    }

    /// Whether snapshot `id` was ever published past the guard.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn is_forced(&self, id: SnapshotId) -> Result<bool, StoreError> {
        Ok(self.log()?.is_forced(id, self.current_id()))
    }

    pub(super) fn log(&self) -> Result<Log, StoreError> {
        self.log_text().map(|text| Log::parse(&text))
    }

    fn log_text(&self) -> Result<String, StoreError> {
        /// Enough for hundreds of thousands of lines.
        const LOG_LIMIT: u64 = 64 << 20;
        let path = self.directory.join(LOG);
        match self.storage.read(&path, LOG_LIMIT) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// The log, shortened to its newest half once it has grown long.
    fn compacted(&self, text: String) -> Result<String, StoreError> {
        if text.len() < LONGEST_LOG {
            return Ok(text);
        }
        let text = log::newer_half(&text, self.in_force(), &self.ids()?);
        let (path, temporary) =
            (self.directory.join(LOG), self.directory.join(LOG).with_extension(TEMPORARY));
        // It is appended to, so it is made as something that may be.
        let mut file = self.storage.append(&temporary).map_err(failed("open", &temporary))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync()).map_err(failed("write", &temporary))?;
        self.storage.rename(&temporary, &path).map_err(failed("rename", &temporary))?;
        self.storage.sync_directory(&self.directory).map_err(failed("sync", &self.directory))?;
        Ok(text)
    }

    fn note_in_log(&self, why: Why, id: SnapshotId, other: Option<SnapshotId>) -> Result<(), StoreError> {
        let path = self.directory.join(LOG);
        let text = self.compacted(self.log_text()?)?;
        let line = log::line(&text, why, id, other);
        let mut file = self.storage.append(&path).map_err(failed("open", &path))?;
        // One write, so that a crash leaves the line whole or a fragment that is no line.
        file.write_all(line.as_bytes()).and_then(|()| file.sync()).map_err(failed("write", &path))
    }

    /// The snapshot before the current one; where the log does not know, the newest other one.
    fn previous(&self) -> Result<SnapshotId, StoreError> {
        let (log, current, held) = (self.log()?, self.in_force(), self.ids()?);
        let known = log.previous(current, &held);
        let newest = || {
            let mut others = self.list().ok()?.into_iter().filter(|listed| !listed.current);
            others.find(|listed| listed.index.is_ok()).map(|listed| listed.id)
        };
        let is_first = current.is_some_and(|current| log.begins_there(current));
        known
            .or_else(|| if is_first { None } else { newest() })
            .ok_or_else(|| StoreError::NoEarlier { path: self.directory.clone() })
    }

    /// Removes what writers that were killed left behind. Only for the holder of the lock.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        for directory in [self.directory.join(SNAPSHOTS), self.directory.clone()] {
            let names = self.storage.list(&directory).map_err(failed("list", &directory))?;
            for name in names.iter().filter(|name| is_temporary(name)) {
                let path = directory.join(name);
                self.remove_if_there(&path)?;
            }
        }
        Ok(())
    }

    /// Moves the pointer. The line of the log comes first: what the log cannot say does not happen.
    fn point_to(&self, id: SnapshotId, why: Why) -> Result<(), StoreError> {
        self.note_in_log(why, id, self.current_id())?;
        self.settle_directories()?;
        // The directory is synced behind it, and so is the name of the log.
        self.replace(&self.directory.join(CURRENT), |file| writeln!(file, "{id}"), |_| Ok(()))
    }

    /// Before the first publication: the names of the store's directories must last too, whoever made them, or a crash takes
    /// all that is published into them.
    fn settle_directories(&self) -> Result<(), StoreError> {
        if self.pointer() != Ok(None) {
            return Ok(());
        }
        for directory in self.directory.ancestors() {
            let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            match self.storage.sync_directory(directory) {
                Ok(()) => {}
                // Nobody made a directory in one that he may not even open, or where directories cannot be synced.
                Err(error) if directory != self.directory && IS_NOT_OURS.contains(&error.kind()) => {}
                Err(error) => return Err(failed("sync", directory)(error)),
            }
        }
        Ok(())
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

    /// Reads the file of snapshot `id`, wherever it lies, and verifies all of it. Nobody may write to it again.
    ///
    /// # Errors
    /// A file that cannot be read, or is not the sound snapshot `id`.
    pub fn read_back(&self, id: SnapshotId, path: &Path) -> Result<Index, StoreError> {
        let bytes = self.storage.map(path).map_err(failed("map", path))?;
        let check = |index: Index| {
            is_named(&index, id)?;
            index.verify()?;
            Ok(index)
        };
        Index::open(bytes).and_then(check).map_err(|source| StoreError::Open { id, source })
    }
}

/// What the system says of a directory above the store's own that it will not sync.
const IS_NOT_OURS: [ErrorKind; 4] = [
    ErrorKind::PermissionDenied,
    ErrorKind::InvalidInput,
    ErrorKind::Unsupported,
    ErrorKind::ReadOnlyFilesystem,
];
/// Bytes of a log that is shortened: some ten thousand lines.
const LONGEST_LOG: usize = 1 << 20;

/// Whether a file of this name is one that a writer had not finished.
fn is_temporary(name: &str) -> bool {
    let stem = name.strip_suffix(TEMPORARY).and_then(|name| name.strip_suffix('.'));
    stem.is_some_and(|stem| {
        [CURRENT, PINNED, NOTE, "store"].contains(&stem) || stem.parse::<SnapshotId>().is_ok()
    })
}

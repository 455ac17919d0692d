//! Which snapshots stay: pins and pruning.

use std::io::{ErrorKind, Write};
use std::path::Path;

use super::{PINNED, SNAPSHOTS, Store, failed};
use crate::error::StoreError;
use crate::snapshot::id::SnapshotId;

/// Enough for ten thousand pins.
const PINNED_LIMIT: u64 = 1 << 20;

impl Store {
    /// Ids that pruning must keep.
    ///
    /// # Errors
    /// A list of pins that cannot be read. Pruning stops at it rather than remove what somebody wanted kept.
    pub fn pinned(&self) -> Result<Vec<SnapshotId>, StoreError> {
        let path = self.directory.join(PINNED);
        let bytes = match self.storage.read(&path, PINNED_LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let invalid = |error: String| {
            let detail = format!("{error}: mend that file, or remove it with every pin");
            failed("read", &path)(std::io::Error::other(detail))
        };
        let text = std::str::from_utf8(&bytes).map_err(|error| invalid(error.to_string()))?;
        text.lines().map(|line| line.parse().map_err(|error| invalid(format!("{error}")))).collect()
    }

    /// Keeps the snapshot `id` when pruning. Pinning twice is pinning once.
    ///
    /// # Errors
    /// Another writer, a snapshot that the store does not hold, a refusal of the file system.
    pub fn pin(&self, id: SnapshotId) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        self.open_snapshot(id).map_err(|source| StoreError::Open { id, source })?;
        let mut pinned = self.pinned()?;
        if !pinned.contains(&id) {
            pinned.push(id);
            self.write_pins(&pinned)?;
        }
        Ok(())
    }

    /// Takes a pin away; fine if there is none.
    ///
    /// # Errors
    /// Another writer, or a refusal of the file system.
    pub fn unpin(&self, id: SnapshotId) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        let mut pinned = self.pinned()?;
        let before = pinned.len();
        pinned.retain(|other| *other != id);
        if pinned.len() < before { self.write_pins(&pinned) } else { Ok(()) }
    }

    pub(super) fn write_pins(&self, pinned: &[SnapshotId]) -> Result<(), StoreError> {
        let write = |file: &mut Box<dyn crate::storage::WriteFile>| {
            pinned.iter().try_for_each(|id| writeln!(file, "{id}"))
        };
        self.replace(&self.directory.join(PINNED), write, |_| Ok(()))
    }

    /// Removes one snapshot, and its pin. The current one stays.
    ///
    /// # Errors
    /// Another writer, the current snapshot, a refusal of the file system.
    pub fn discard(&self, id: SnapshotId) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        let unreadable = |reason| StoreError::NoneUsable { path: self.directory.clone(), reasons: reason };
        let pointer = self.pointer().map_err(unreadable)?;
        if [pointer, self.served()].contains(&Some(id)) {
            return Err(StoreError::Current { id });
        }
        let mut pinned = self.pinned()?;
        let before = pinned.len();
        pinned.retain(|other| *other != id);
        if pinned.len() < before {
            self.write_pins(&pinned)?;
        }
        self.remove_file(id)
    }

    /// Removes the file of a snapshot; fine if somebody else has.
    pub(super) fn remove_file(&self, id: SnapshotId) -> Result<(), StoreError> {
        self.remove_if_there(&self.path_of(id))?;
        let snapshots = self.directory.join(SNAPSHOTS);
        self.storage.sync_directory(&snapshots).map_err(failed("sync", &snapshots))
    }

    pub(super) fn remove_if_there(&self, path: &Path) -> Result<(), StoreError> {
        match self.storage.remove(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path)(error)),
            _ => Ok(()),
        }
    }

    /// Removes all but the `keep` newest snapshots. The current one, pinned ones and the newest one that passes full
    /// verification stay whatever `keep` says. Returns what was removed.
    ///
    /// # Errors
    /// Another writer, a refusal of the file system, pins that cannot be read.
    pub fn prune(&self, keep: usize) -> Result<Vec<SnapshotId>, StoreError> {
        let _lock = self.lock()?;
        // Without a readable pointer nobody can say what is current, so nothing is removed.
        let unreadable = |reason| StoreError::NoneUsable { path: self.directory.clone(), reasons: reason };
        self.pointer().map_err(unreadable)?;
        let listed = self.list()?;
        let sound = |listed: &super::Listed| listed.index.as_ref().is_ok_and(|index| index.verify().is_ok());
        // Where the current one cannot be opened, another one is served in its place.
        let served = self.served();
        let newest_sound = listed.iter().find(|listed| sound(listed)).map(|listed| listed.id);
        let doomed: Vec<SnapshotId> = listed
            .iter()
            .enumerate()
            .filter(|(rank, listed)| {
                let is_kept =
                    listed.current || listed.pinned || [newest_sound, served].contains(&Some(listed.id));
                *rank >= keep && !is_kept
            })
            .map(|(_, listed)| listed.id)
            .collect();
        for &id in &doomed {
            let path = self.path_of(id);
            self.storage.remove(&path).map_err(failed("remove", &path))?;
        }
        if !doomed.is_empty() {
            let snapshots = self.directory.join(SNAPSHOTS);
            self.storage.sync_directory(&snapshots).map_err(failed("sync", &snapshots))?;
        }
        Ok(doomed)
    }
}

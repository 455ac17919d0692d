//! A file system in memory that remembers every operation, and can be found as a crash may leave it.
//!
//! What a crash keeps: everything that was synced. What it may do with the rest: keep it, drop it, tear it at a sector,
//! leave holes of zeros, and all of that for each file and each name on its own, which covers every reordering that a
//! file system may make between two syncs. Renames are atomic.

#![expect(clippy::expect_used, reason = "a poisoned lock means that the test has failed already")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use karute_engine::snapshot::Bytes;
use karute_engine::{Storage, WriteFile};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

const SECTOR: usize = 512;

type Inode = usize;

/// What a disk holds.
#[derive(Clone, Default)]
pub struct Files {
    directories: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, Inode>,
    contents: BTreeMap<Inode, Vec<u8>>,
}

#[derive(Clone)]
enum Operation {
    MakeDirectory(PathBuf),
    Link(PathBuf, Inode),
    Write(Inode, Vec<u8>),
    SyncFile(Inode),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncDirectory(PathBuf),
}

#[derive(Default)]
struct Inner {
    /// What the disk held before the first operation; all of it durable.
    base: Files,
    operations: Vec<Operation>,
    /// What a reader sees now.
    view: Files,
    locked: BTreeSet<PathBuf>,
    /// The operation that fails, counted from now, and how; every later one fails too until it is mended.
    failure: Option<(usize, ErrorKind)>,
    failed: bool,
}

impl Inner {
    /// Whether the disk refuses the next operation.
    fn refuses(&mut self) -> io::Result<()> {
        match &mut self.failure {
            Some((0, kind)) => {
                self.failed = true;
                Err((*kind).into())
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct StagedDisk(Arc<Mutex<Inner>>);

impl fmt::Debug for StagedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StagedDisk")
    }
}

/// What a crash does with what was not synced.
pub enum Fate<'a> {
    /// All of it reached the disk.
    Kept,
    /// None of it did.
    Dropped,
    /// Each piece has a fate of its own.
    Mixed(&'a mut ChaCha8Rng),
}

impl StagedDisk {
    /// A disk that holds `files`, all durable, and has recorded nothing.
    pub fn holding(files: Files) -> Self {
        let inner = Inner { base: files.clone(), view: files, ..Inner::default() };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// The disk as a process finds it that comes after one which was killed behind the first `count` operations of `before`:
    /// nothing is lost, and nothing that was not synced is synced.
    pub fn unsynced(before: &Self, count: usize) -> Self {
        let before = before.0.lock().expect("a lock");
        let operations: Vec<Operation> = before.operations[..count].to_vec();
        let mut view = before.base.clone();
        for operation in &operations {
            view.apply(operation);
            match operation {
                Operation::Link(_, inode) => {
                    view.contents.insert(*inode, Vec::new());
                }
                Operation::Write(inode, bytes) => {
                    view.contents.entry(*inode).or_default().extend_from_slice(bytes);
                }
                _ => {}
            }
        }
        let inner = Inner { base: before.base.clone(), operations, view, ..Inner::default() };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// How many operations were recorded.
    pub fn recorded(&self) -> usize {
        self.0.lock().expect("a lock").operations.len()
    }

    /// From the operation after the next `count` on, every operation that changes something fails with `kind`.
    pub fn fail_after(&self, count: usize, kind: ErrorKind) {
        self.0.lock().expect("a lock").failure = Some((count, kind));
    }

    /// Nothing fails any more. Says whether anything did.
    pub fn mend(&self) -> bool {
        let mut inner = self.0.lock().expect("a lock");
        inner.failure = None;
        std::mem::take(&mut inner.failed)
    }

    /// What a reader sees now, taken as durable.
    pub fn files(&self) -> Files {
        self.0.lock().expect("a lock").view.clone()
    }

    /// What the disk may hold after a crash behind the first `count` operations.
    pub fn after_crash(&self, count: usize, fate: &mut Fate<'_>) -> Files {
        let inner = self.0.lock().expect("a lock");
        let mut durable = inner.base.clone();
        // Names that were changed and contents that were written, but not synced yet.
        let mut pending: Vec<&Operation> = Vec::new();
        let mut written: BTreeMap<Inode, Vec<u8>> = durable.contents.clone();
        for operation in &inner.operations[..count] {
            match operation {
                Operation::Write(inode, bytes) => written.entry(*inode).or_default().extend_from_slice(bytes),
                Operation::SyncFile(inode) => {
                    durable.contents.insert(*inode, written.get(inode).cloned().unwrap_or_default());
                }
                Operation::SyncDirectory(directory) => {
                    let (now, later): (Vec<_>, Vec<_>) = pending
                        .into_iter()
                        .partition(|operation| operation.directory() == Some(directory.as_path()));
                    now.into_iter().for_each(|operation| durable.apply(operation));
                    pending = later;
                }
                _ => pending.push(operation),
            }
        }
        for operation in pending {
            if fate.keeps() {
                durable.apply(operation);
            }
        }
        for (inode, new) in written {
            let old = durable.contents.get(&inode).cloned().unwrap_or_default();
            if old != new {
                durable.contents.insert(inode, fate.content(&old, &new));
            }
        }
        durable.drop_orphans();
        durable
    }
}

impl Fate<'_> {
    fn keeps(&mut self) -> bool {
        match self {
            Self::Kept => true,
            Self::Dropped => false,
            Self::Mixed(random) => random.random_bool(0.5),
        }
    }

    /// What is found of a content that grew from `old` to `new` without a sync.
    fn content(&mut self, old: &[u8], new: &[u8]) -> Vec<u8> {
        match self {
            Self::Kept => new.to_vec(),
            Self::Dropped => old.to_vec(),
            Self::Mixed(random) => {
                // Torn anywhere, and any sector of the new part may still be zero.
                let length = random.random_range(old.len()..=new.len());
                let mut found = new[..length].to_vec();
                for sector in found[old.len()..].chunks_mut(SECTOR) {
                    if random.random_bool(0.3) {
                        sector.fill(0);
                    }
                }
                found
            }
        }
    }
}

impl Operation {
    /// The directory whose sync makes the operation durable.
    fn directory(&self) -> Option<&Path> {
        match self {
            Self::MakeDirectory(path) | Self::Link(path, _) | Self::Remove(path) | Self::Rename(_, path) => {
                path.parent()
            }
            Self::Write(..) | Self::SyncFile(_) | Self::SyncDirectory(_) => None,
        }
    }
}

impl Files {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::MakeDirectory(path) => {
                self.directories.insert(path.clone());
            }
            Operation::Link(path, inode) => {
                self.names.insert(path.clone(), *inode);
            }
            Operation::Rename(from, to) => {
                if let Some(inode) = self.names.remove(from) {
                    self.names.insert(to.clone(), inode);
                }
            }
            Operation::Remove(path) => {
                self.names.remove(path);
            }
            Operation::Write(..) | Operation::SyncFile(_) | Operation::SyncDirectory(_) => {}
        }
    }

    /// What lies in a directory that is not there is not there.
    fn drop_orphans(&mut self) {
        let directories = self.directories.clone();
        let there = |path: &Path| {
            path.ancestors().skip(1).all(|above| above.as_os_str().is_empty() || directories.contains(above))
        };
        self.names.retain(|path, _| there(path));
        self.directories.retain(|path| there(path));
        let names = &self.names;
        for inode in names.values() {
            self.contents.entry(*inode).or_default();
        }
    }

    fn read(&self, path: &Path) -> io::Result<&Vec<u8>> {
        let inode = self.names.get(path).ok_or_else(|| io::Error::from(ErrorKind::NotFound))?;
        self.contents.get(inode).ok_or_else(|| io::Error::from(ErrorKind::NotFound))
    }
}

struct StagedFile {
    disk: StagedDisk,
    inode: Inode,
}

impl Write for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.disk.0.lock().expect("a lock");
        inner.refuses()?;
        inner.operations.push(Operation::Write(self.inode, bytes.to_vec()));
        inner.view.contents.entry(self.inode).or_default().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WriteFile for StagedFile {
    fn sync(&mut self) -> io::Result<()> {
        let mut inner = self.disk.0.lock().expect("a lock");
        inner.refuses()?;
        inner.operations.push(Operation::SyncFile(self.inode));
        Ok(())
    }
}

struct Held(StagedDisk, PathBuf);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.lock().expect("a lock").locked.remove(&self.1);
    }
}

impl StagedDisk {
    fn record(&self, operation: Operation) -> io::Result<()> {
        let mut inner = self.0.lock().expect("a lock");
        inner.refuses()?;
        inner.view.apply(&operation);
        inner.operations.push(operation);
        Ok(())
    }

    fn open(&self, path: &Path, fresh: bool) -> io::Result<Box<dyn WriteFile>> {
        let (known, next) = {
            let inner = self.0.lock().expect("a lock");
            let next = inner.view.contents.last_key_value().map_or(0, |(inode, _)| inode + 1);
            (inner.view.names.get(path).copied(), next)
        };
        let inode = match known {
            Some(_) if fresh => return Err(ErrorKind::AlreadyExists.into()),
            Some(inode) => inode,
            None => {
                self.record(Operation::Link(path.to_owned(), next))?;
                self.0.lock().expect("a lock").view.contents.insert(next, Vec::new());
                next
            }
        };
        Ok(Box::new(StagedFile { disk: self.clone(), inode }))
    }
}

impl Storage for StagedDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let above: Vec<&Path> = path.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        for directory in above.into_iter().rev() {
            let known = self.0.lock().expect("a lock").view.directories.contains(directory);
            if !known {
                self.record(Operation::MakeDirectory(directory.to_owned()))?;
            }
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        self.open(path, true)
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        self.open(path, false)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.lock().expect("a lock").view.read(from)?;
        self.record(Operation::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.lock().expect("a lock").view.read(path)?;
        self.record(Operation::Remove(path.to_owned()))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        // The root of this disk is where relative paths begin.
        let path = if path == Path::new(".") { Path::new("") } else { path };
        self.record(Operation::SyncDirectory(path.to_owned()))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let inner = self.0.lock().expect("a lock");
        if !inner.view.directories.contains(path) {
            return Err(ErrorKind::NotFound.into());
        }
        let inside = inner.view.names.keys().filter(|name| name.parent() == Some(path));
        Ok(inside.filter_map(|name| name.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let inner = self.0.lock().expect("a lock");
        Ok(inner.view.read(path)?.iter().copied().take(limit as usize).collect())
    }

    fn map(&self, path: &Path) -> io::Result<Bytes> {
        Ok(Bytes::copied(self.0.lock().expect("a lock").view.read(path)?))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>> {
        let fresh = self.0.lock().expect("a lock").locked.insert(path.to_owned());
        Ok(fresh.then(|| Box::new(Held(self.clone(), path.to_owned())) as Box<dyn Send>))
    }
}

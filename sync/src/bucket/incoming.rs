//! A download that can be cut off at any moment and taken up again.
//!
//! ```text
//! <store>/incoming/<id>.part      the bytes, each range at its place
//! <store>/incoming/<id>.ranges    a line about the object, then the number of each range that is durable
//! <store>/incoming/lock           held by the one process that downloads
//! ```
//!
//! A range is named only after its bytes were synced, so what a killed process left is whole ranges and the rest is
//! fetched again. Should a disk lie nevertheless, the verification of the whole file finds it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use karute_engine::SnapshotId;

use super::BucketError;
use super::error::failed;

const INCOMING: &str = "incoming";
const PART: &str = "part";
const RANGES: &str = "ranges";
/// More than the list of ranges of the largest download needs; what is longer is not ours.
const LIST_LIMIT: u64 = 1 << 24;

/// The object that is downloaded. Ranges of two objects are never mixed.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) length: u64,
    pub(super) range_bytes: u64,
    /// What distinguishes this object from another of the same name.
    pub(super) version: String,
}

impl Plan {
    /// The first line of the list.
    fn line(&self) -> String {
        let version = blake3::hash(self.version.as_bytes());
        format!("{} {} {}\n", self.length, self.range_bytes, version.to_hex())
    }

    fn ranges(&self) -> u64 {
        self.length.div_ceil(self.range_bytes)
    }

    /// The bytes of a range.
    pub(super) fn bytes(&self, number: u64) -> Range<u64> {
        let start = number * self.range_bytes;
        start..self.length.min(start + self.range_bytes)
    }
}

/// A download under way. Holds the lock until it is dropped.
#[derive(Debug)]
pub(super) struct Incoming {
    plan: Plan,
    path: PathBuf,
    file: File,
    list: File,
    done: BTreeSet<u64>,
    _lock: File,
}

impl Incoming {
    /// Takes up the download of `id` where an earlier one ended, or begins it. What is left of other downloads is
    /// removed.
    pub(super) fn open(store: &Path, id: SnapshotId, plan: Plan) -> Result<Self, BucketError> {
        let directory = store.join(INCOMING);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&directory).map_err(failed("create", &directory))?;
        let lock = lock(&directory.join("lock"))?;
        remove_others(&directory, id).map_err(failed("tidy", &directory))?;

        let path = directory.join(format!("{id}.{PART}"));
        let list_path = path.with_extension(RANGES);
        let mut list = private().read(true).open(&list_path).map_err(failed("open", &list_path))?;
        let known = read_list(&mut list, &plan).map_err(failed("read", &list_path))?;
        let file = private().read(true).open(&path).map_err(failed("open", &path))?;
        let length = file.metadata().map_err(failed("look at", &path))?.len();
        let done = match known {
            Some(done) if length == plan.length => done,
            _ => {
                begin(&file, &mut list, &plan).map_err(failed("write", &path))?;
                BTreeSet::new()
            }
        };
        Ok(Self { plan, path, file, list, done, _lock: lock })
    }

    /// The ranges that are still to be fetched, by number.
    pub(super) fn missing(&self) -> Vec<u64> {
        (0..self.plan.ranges()).filter(|number| !self.done.contains(number)).collect()
    }

    /// How many bytes need not be fetched again.
    pub(super) fn kept(&self) -> u64 {
        self.done.iter().map(|&number| self.plan.bytes(number)).map(|bytes| bytes.end - bytes.start).sum()
    }

    /// Makes a range durable, then notes that it is there.
    pub(super) fn keep(&mut self, number: u64, bytes: &[u8]) -> Result<(), BucketError> {
        let mut write = || {
            self.file.seek(SeekFrom::Start(self.plan.bytes(number).start))?;
            self.file.write_all(bytes)?;
            self.file.sync_data()?;
            writeln!(self.list, "{number}")
        };
        write().map_err(failed("write", &self.path))?;
        self.done.insert(number);
        Ok(())
    }

    /// Makes the whole file durable and closed to writing, and says where it is.
    pub(super) fn seal(&self) -> Result<&Path, BucketError> {
        let seal = || {
            #[cfg(unix)]
            self.file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o400))?;
            self.file.sync_all()
        };
        seal().map_err(failed("sync", &self.path))?;
        Ok(&self.path)
    }

    /// Removes what was downloaded and what was noted about it.
    pub(super) fn discard(&self) {
        // Whatever cannot be removed here is not taken for sound later: it is verified again.
        let _ = fs::remove_file(self.path.with_extension(RANGES));
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes what is left of downloads, unless one is under way.
pub(crate) fn sweep(directory: &Path) {
    let directory = directory.join(INCOMING);
    let Ok(_lock) = lock(&directory.join("lock")) else { return };
    for path in fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == PART || extension == RANGES) {
            // Whatever cannot be removed is not taken for sound later, and is tried again by the next sweep.
            let _ = fs::remove_file(&path);
        }
    }
}

/// Options for files that only their owner may read and write.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn lock(path: &Path) -> Result<File, BucketError> {
    let file = private().open(path).map_err(failed("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BucketError::Busy { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed("lock", path)(source)),
    }
}

/// Removes the files of other downloads, and makes a sealed file of this one writable again.
fn remove_others(directory: &Path, id: SnapshotId) -> io::Result<()> {
    let own = id.to_string();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let ours = path.file_stem().is_some_and(|stem| *stem == *own);
        if matches!(extension, Some(PART | RANGES)) && !ours {
            fs::remove_file(&path)?;
        }
    }
    let part = directory.join(format!("{own}.{PART}"));
    #[cfg(unix)]
    if part.try_exists()? {
        fs::set_permissions(&part, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    }
    Ok(())
}

/// The ranges that the list names, or `None` if it is about another object. Leaves the list open at its end.
fn read_list(list: &mut File, plan: &Plan) -> io::Result<Option<BTreeSet<u64>>> {
    let mut bytes = Vec::new();
    list.take(LIST_LIMIT).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let Some(rest) = text.strip_prefix(&plan.line()) else { return Ok(None) };
    // A line that was cut off names nothing, and the next one must begin on a line of its own.
    let whole = rest.rfind('\n').map_or(0, |last| last + 1);
    list.set_len((plan.line().len() + whole) as u64)?;
    list.seek(SeekFrom::End(0))?;
    let numbers = rest[..whole].lines().filter_map(|line| line.parse().ok());
    Ok(Some(numbers.filter(|&number| number < plan.ranges()).collect()))
}

/// The list is emptied first and begun last, so that it never speaks of bytes that are not there.
fn begin(file: &File, list: &mut File, plan: &Plan) -> io::Result<()> {
    list.set_len(0)?;
    list.sync_all()?;
    file.set_len(0)?;
    file.set_len(plan.length)?;
    file.sync_all()?;
    list.seek(SeekFrom::Start(0))?;
    list.write_all(plan.line().as_bytes())?;
    list.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> SnapshotId {
        "ab".repeat(32).parse().expect("an id")
    }

    fn plan(version: &str) -> Plan {
        Plan { length: 25, range_bytes: 10, version: version.into() }
    }

    #[test]
    fn what_was_kept_is_not_fetched_again() {
        let home = tempfile::tempdir().expect("a directory");
        let mut incoming = Incoming::open(home.path(), id(), plan("a")).expect("begun");
        assert_eq!(incoming.missing(), [0, 1, 2]);
        incoming.keep(2, b"vwxyz").expect("kept");
        assert!(matches!(Incoming::open(home.path(), id(), plan("a")), Err(BucketError::Busy { .. })));
        drop(incoming);
        let mut incoming = Incoming::open(home.path(), id(), plan("a")).expect("taken up");
        assert_eq!((incoming.missing(), incoming.kept()), (vec![0, 1], 5));
        incoming.keep(0, b"abcdefghij").expect("kept");
        incoming.keep(1, b"klmnopqrst").expect("kept");
        assert!(incoming.missing().is_empty());
        let whole = fs::read(incoming.seal().expect("sealed")).expect("read");
        assert_eq!(whole, b"abcdefghijklmnopqrstvwxyz");
    }

    #[test]
    fn ranges_of_another_object_of_the_same_name_are_forgotten() {
        let home = tempfile::tempdir().expect("a directory");
        Incoming::open(home.path(), id(), plan("a"))
            .and_then(|mut i| i.keep(0, b"abcdefghij"))
            .expect("kept");
        assert_eq!(Incoming::open(home.path(), id(), plan("b")).expect("begun").missing(), [0, 1, 2]);
    }

    #[test]
    fn a_line_that_was_cut_off_names_nothing() {
        let home = tempfile::tempdir().expect("a directory");
        Incoming::open(home.path(), id(), plan("a"))
            .and_then(|mut i| i.keep(1, b"klmnopqrst"))
            .expect("kept");
        let list = home.path().join(INCOMING).join(format!("{}.{RANGES}", id()));
        let mut bytes = fs::read(&list).expect("read");
        for torn in [&b"0"[..], b"\xff\xff", b"x\n", b"99\n"] {
            bytes.extend_from_slice(torn);
            fs::write(&list, &bytes).expect("written");
            let incoming = Incoming::open(home.path(), id(), plan("a")).expect("taken up");
            assert_eq!(incoming.missing(), [0, 2], "{torn:?}");
            bytes = fs::read(&list).expect("read");
        }
    }

    #[test]
    fn what_is_left_of_other_downloads_is_removed() {
        let home = tempfile::tempdir().expect("a directory");
        let other: SnapshotId = "cd".repeat(32).parse().expect("an id");
        Incoming::open(home.path(), other, plan("a"))
            .and_then(|mut i| i.keep(0, b"abcdefghij"))
            .expect("kept");
        drop(Incoming::open(home.path(), id(), plan("a")).expect("begun"));
        let names = fs::read_dir(home.path().join(INCOMING)).expect("a directory").count();
        assert_eq!(names, 3, "the lock, the part and the list of one download");
    }
}

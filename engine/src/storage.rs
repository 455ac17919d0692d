//! The only file of the engine that touches the file system, behind a small trait, so that a test can stage every
//! failure that a disk can have.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::snapshot::{Bytes, map};

/// A file being written. Nothing of it is durable before [`WriteFile::sync`] has returned.
pub trait WriteFile: Write {
    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// The disk's. After one, the file must be thrown away: a second sync may succeed with data lost.
    fn sync(&mut self) -> io::Result<()>;
}

/// What the store needs of a file system.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Creates a directory and its parents, readable by their owner alone; fine if it is there.
    ///
    /// # Errors
    /// The file system's.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Creates a file that must not exist yet and that nobody but this handle will ever write.
    ///
    /// # Errors
    /// The file system's; `AlreadyExists` if there is such a file.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;

    /// Opens a file to write at its end, creating it if needed.
    ///
    /// # Errors
    /// The file system's.
    fn append(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;

    /// Gives a file another name, replacing what had it, in one step.
    ///
    /// # Errors
    /// The file system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The file system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The disk's.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Names of the plain files in a directory, in no certain order. Links, pipes and whatever else has a name there are none
    /// of ours and left out, and so are names that are not UTF-8.
    ///
    /// # Errors
    /// The file system's.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// The first `limit` bytes of a file.
    ///
    /// # Errors
    /// The file system's.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;

    /// Maps a sealed file read-only.
    ///
    /// # Errors
    /// The file system's.
    fn map(&self, path: &Path) -> io::Result<Bytes>;

    /// Takes the lock of this name for as long as the returned value lives, or `None` if another holds it. The
    /// system frees it when the process ends, however it ends.
    ///
    /// # Errors
    /// The file system's.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>>;
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl WriteFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Options that create files which only their owner may read, with `mode` where there are modes.
#[cfg_attr(not(unix), expect(unused_variables))]
fn private(mode: u32) -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    options
}

/// A lock that is given back at once when it is dropped. Closing the file alone would leave it with any child process
/// that was being started at that moment and has not let go of its copy yet.
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // If this fails, closing the file frees the lock a moment later.
        let _ = self.0.unlock();
    }
}

impl Storage for Disk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(private(0o400).write(true).create_new(true).open(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(private(0o600).append(true).create(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        Ok(names)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn map(&self, path: &Path) -> io::Result<Bytes> {
        // A pipe would keep whoever opens it waiting, and a link would be listed nowhere.
        if !fs::symlink_metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"));
        }
        map::map(&File::open(path)?)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>> {
        let file = private(0o600).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(Held(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

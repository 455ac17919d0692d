//! A copy of the whole state in one file, made beside a running server, and put back where there is none.
//!
//! Conversations, feedback, answers, tokens, ledger and audit are one database, so one copy holds all of them as they were at
//! one moment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Database, FILE, StateError, own};

impl Database {
    /// Writes everything to `path`, which must not be there yet, for its owner alone. Who writes meanwhile is in the copy with
    /// all of a transaction, or with nothing of it.
    ///
    /// # Errors
    /// A file that is there, a disk that refuses, PostgreSQL.
    pub async fn copy_to(&self, path: &Path) -> Result<(), StateError> {
        let failed = |detail: String| StateError::Copy { path: path.to_owned(), detail };
        if !self.is_file {
            return Err(StateError::OwnTools);
        }
        if path.exists() {
            return Err(failed("it is there already: choose another name".into()));
        }
        let text = path.to_str().ok_or_else(|| failed("the name is not Unicode".into()))?;
        // SQLite takes an empty file as it is, rights and all.
        own(path).map_err(|error| failed(error.to_string()))?;
        let copied = sqlx::query("VACUUM INTO $1").bind(text).execute(&self.pool).await;
        if let Err(error) = copied {
            let _ = fs::remove_file(path);
            return Err(failed(error.to_string()));
        }
        fs::File::open(path).and_then(|file| file.sync_all()).map_err(|error| failed(error.to_string()))
    }

    /// Puts the copy in `path` into `directory`, where no state may be. Returns where it is now.
    ///
    /// # Errors
    /// State that is there, a file that is none of SQLite's, a disk that refuses.
    pub fn put_back(path: &Path, directory: &Path) -> Result<PathBuf, StateError> {
        let failed = |detail: String| StateError::Copy { path: path.to_owned(), detail };
        let to = directory.join(FILE);
        if to.exists() {
            return Err(failed(format!("{} is there: move it away first", to.display())));
        }
        let io = |error: io::Error| failed(error.to_string());
        let mut front = [0; 16];
        fs::File::open(path).and_then(|mut file| io::Read::read_exact(&mut file, &mut front)).map_err(io)?;
        if front != *b"SQLite format 3\0" {
            return Err(failed("it is no SQLite file".into()));
        }
        fs::create_dir_all(directory).map_err(io)?;
        // Whole, or not there.
        let mut beside = tempfile::NamedTempFile::new_in(directory).map_err(io)?;
        io::copy(&mut fs::File::open(path).map_err(io)?, &mut beside).map_err(io)?;
        beside.as_file().sync_all().map_err(io)?;
        beside.persist_noclobber(&to).map_err(|error| io(error.error))?;
        Ok(to)
    }
}

//! A copy of the whole state in one file, made beside a running server, and put back where there is none.
//!
//! Conversations, feedback, answers, tokens, ledger and audit are one database, so one copy holds all of them as they were at
//! one moment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::home::own;
use super::{Database, FILE, StateError};
use crate::config::Secret;

impl Database {
    /// Writes everything to `path`, which must not be there yet, for its owner alone. Who writes meanwhile is in the copy with
    /// all of a transaction, or with nothing of it.
    ///
    /// # Errors
    /// A file that is there, a disk that refuses, PostgreSQL.
    pub async fn copy_to(&self, path: &Path) -> Result<(), StateError> {
        let failed = |detail: String| StateError::Copy { path: path.to_owned(), detail };
        let copy = self.home.copy()?;
        if path.exists() {
            return Err(failed("it is there already: choose another name".into()));
        }
        let text = path.to_str().ok_or_else(|| failed("the name is not Unicode".into()))?;
        // SQLite takes an empty file as it is, rights and all.
        own(path).map_err(|error| failed(error.to_string()))?;
        let copied = sqlx::query(copy).bind(text).execute(&self.pool).await;
        if let Err(error) = copied {
            let _ = fs::remove_file(path);
            return Err(failed(error.to_string()));
        }
        fs::File::open(path).and_then(|file| file.sync_all()).map_err(|error| failed(error.to_string()))
    }

    /// Puts the copy in `path` into `directory`, where no state may be, once it was found to be whole. Returns where it is now.
    ///
    /// # Errors
    /// State that is there, or what a stopped server left of it; a file that is damaged, or none of SQLite's; a disk that refuses;
    /// PostgreSQL at `url`.
    pub async fn put_back(url: &Secret, path: &Path, directory: &Path) -> Result<PathBuf, StateError> {
        let failed = |detail: String| StateError::Copy { path: path.to_owned(), detail };
        if url.reveal().is_some() {
            return Err(StateError::OwnTools);
        }
        // SQLite would play an old log into whatever lies beside it.
        for name in [FILE.to_owned(), format!("{FILE}-wal"), format!("{FILE}-shm")] {
            let there = directory.join(name);
            if there.exists() {
                return Err(failed(format!("{} is there: move it away first", there.display())));
            }
        }
        let io = |error: io::Error| failed(error.to_string());
        let mut front = [0; 16];
        fs::File::open(path).and_then(|mut file| io::Read::read_exact(&mut file, &mut front)).map_err(io)?;
        if front != *b"SQLite format 3\0" {
            return Err(failed("it is no SQLite file".into()));
        }
        fs::create_dir_all(directory).map_err(io)?;
        let beside = tempfile::tempdir_in(directory).map_err(io)?;
        let copied = beside.path().join(FILE);
        own(&copied).and_then(|()| fs::copy(path, &copied)).map_err(io)?;
        let state = Self::open(&Secret::default(), beside.path()).await?;
        let damage = state.damage().await?;
        state.truncate_log().await?;
        state.pool.close().await;
        if let Some(damage) = damage.first() {
            return Err(failed(format!("it is damaged: {damage}")));
        }
        let to = directory.join(FILE);
        fs::File::open(&copied).and_then(|file| file.sync_all()).map_err(io)?;
        fs::rename(&copied, &to).map_err(io)?;
        Ok(to)
    }
}

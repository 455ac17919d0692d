//! The two homes of the state, and all that one of them does in another way. What is not here is one SQL for both.

use std::borrow::Cow;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::StateError;
use crate::config::Secret;

/// Characters of a path that stay as they are in an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How soon what is kept outlives a cut of the power. Whatever ends the program alone, it outlives from the moment it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasting {
    /// When the commit returns.
    AtOnce,
    /// With the next commit that is [`Lasting::AtOnce`], or with the next [`super::Database::flush`], a few seconds later.
    Soon,
}

/// What begins and ends a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) begin: &'static str,
    pub(super) commit: &'static str,
    pub(super) rollback: &'static str,
}

/// Where the state is kept.
pub(super) trait Home: Debug + Send + Sync {
    /// Where it is, without a password.
    fn place(&self) -> &str;

    /// Its address, for sqlx; it may hold a password.
    fn address(&self) -> Result<Cow<'_, str>, StateError>;

    /// What must be there before it is opened.
    fn prepare(&self) -> io::Result<()>;

    /// What each connection is told first.
    fn greeting(&self) -> Option<&'static str>;

    /// Whether a connection that was good may be broken when it is used again.
    fn loses_connections(&self) -> bool;

    /// Whether several programs that make its tables at once may meet, so that one has to look again.
    fn may_meet(&self) -> bool;

    /// What begins and ends a transaction.
    fn bounds(&self, lasting: Lasting) -> Bounds;

    /// Holds off, until the end of a transaction, those who note that a client is to be forgotten.
    fn while_nobody_is_forgotten(&self) -> Option<&'static str>;

    /// Brings what was written ahead to its place.
    fn settle(&self) -> Option<&'static str>;

    /// Takes what was removed out of what was written ahead, too.
    fn truncate_log(&self) -> Option<&'static str>;

    /// Tells what is wrong with the database itself, a row for each fault.
    fn check(&self) -> Option<&'static str>;

    /// Writes everything into the file `$1`.
    ///
    /// # Errors
    /// [`StateError::OwnTools`].
    fn copy(&self) -> Result<&'static str, StateError>;

    /// Whether every value has the type of its column, whoever wrote it.
    fn keeps_types(&self) -> bool;
}

/// An SQLite file, for one instance.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    place: String,
}

impl File {
    /// The file at `path`.
    pub(super) fn new(path: &Path) -> Self {
        // An address always begins at the root.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let place = path.display().to_string();
        Self { path, place }
    }
}

impl Home for File {
    fn place(&self) -> &str {
        &self.place
    }

    fn address(&self) -> Result<Cow<'_, str>, StateError> {
        let text = self.path.to_str().ok_or_else(|| StateError::Open {
            place: self.place.clone(),
            detail: "the path is not Unicode: choose another KARUTE_DATA_DIR".into(),
        })?;
        Ok(format!("sqlite://{}?mode=rwc", utf8_percent_encode(text, PLAIN)).into())
    }

    fn prepare(&self) -> io::Result<()> {
        own(&self.path)
    }

    /// A log that is written ahead, and flushed with every transaction unless that says otherwise; whoever commits does not bring it
    /// to its place as well, which takes many times as long, before it has 32 MB. What is removed is overwritten.
    fn greeting(&self) -> Option<&'static str> {
        Some(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 8000; PRAGMA foreign_keys = ON; \
             PRAGMA busy_timeout = 5000; PRAGMA secure_delete = ON;",
        )
    }

    fn loses_connections(&self) -> bool {
        false
    }

    fn may_meet(&self) -> bool {
        true
    }

    /// The file has one writer: whoever begins waits until it is his turn, rather than find out later that somebody else was
    /// first.
    fn bounds(&self, lasting: Lasting) -> Bounds {
        match lasting {
            Lasting::AtOnce => Bounds { begin: "BEGIN IMMEDIATE", commit: "COMMIT", rollback: "ROLLBACK" },
            Lasting::Soon => Bounds {
                begin: "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
                commit: "COMMIT; PRAGMA synchronous = FULL",
                rollback: "ROLLBACK; PRAGMA synchronous = FULL",
            },
        }
    }

    fn while_nobody_is_forgotten(&self) -> Option<&'static str> {
        // There is one writer.
        None
    }

    fn settle(&self) -> Option<&'static str> {
        Some("PRAGMA wal_checkpoint(PASSIVE)")
    }

    fn truncate_log(&self) -> Option<&'static str> {
        Some("PRAGMA wal_checkpoint(TRUNCATE)")
    }

    fn check(&self) -> Option<&'static str> {
        Some("PRAGMA integrity_check")
    }

    fn copy(&self) -> Result<&'static str, StateError> {
        Ok("VACUUM INTO $1")
    }

    fn keeps_types(&self) -> bool {
        false
    }
}

/// A PostgreSQL server, where several instances run.
#[derive(Debug)]
pub(super) struct Server {
    url: Secret,
}

impl Server {
    /// The server at `url`.
    pub(super) fn new(url: &Secret) -> Self {
        Self { url: url.clone() }
    }
}

impl Home for Server {
    fn place(&self) -> &str {
        "PostgreSQL"
    }

    fn address(&self) -> Result<Cow<'_, str>, StateError> {
        let url = self.url.reveal().unwrap_or_default();
        let is_known = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        if is_known { Ok(url.into()) } else { Err(StateError::Address) }
    }

    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    fn greeting(&self) -> Option<&'static str> {
        None
    }

    fn loses_connections(&self) -> bool {
        true
    }

    /// sqlx takes a lock there while it makes the tables.
    fn may_meet(&self) -> bool {
        false
    }

    /// Always to the disk: a server that ends by itself forgets what it has not written, unlike a file.
    fn bounds(&self, _lasting: Lasting) -> Bounds {
        Bounds { begin: "BEGIN", commit: "COMMIT", rollback: "ROLLBACK" }
    }

    fn while_nobody_is_forgotten(&self) -> Option<&'static str> {
        Some("LOCK TABLE forgotten IN SHARE MODE")
    }

    fn settle(&self) -> Option<&'static str> {
        None
    }

    fn truncate_log(&self) -> Option<&'static str> {
        None
    }

    fn check(&self) -> Option<&'static str> {
        None
    }

    fn copy(&self) -> Result<&'static str, StateError> {
        Err(StateError::OwnTools)
    }

    fn keeps_types(&self) -> bool {
        true
    }
}

/// Makes the file, if it is not there, for its owner alone; SQLite gives its companions the same rights.
pub(super) fn own(path: &Path) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

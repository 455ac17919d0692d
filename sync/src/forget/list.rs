//! The list of clients who are forgotten, and the lock of whoever forgets.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;

use karute_engine::Index;

use super::{ForgetError, PAUSE};
use crate::gather::Stored;

/// The list, in the directory of the store: one client a line.
const LIST: &str = "forgotten";
/// Held by the one process that forgets.
const LOCK: &str = "forgotten.lock";
/// How often another process that forgets is waited for: it may have to build every snapshot anew.
const TRIES_TO_LOCK: u32 = 3000;

/// Clients that are forgotten.
///
/// # Errors
/// A list that cannot be read: nobody may be taken in then who is perhaps on it.
pub fn list(directory: &Path) -> Result<BTreeSet<String>, ForgetError> {
    let path = directory.join(LIST);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(source) => Err(ForgetError::List { path, action: "read", source }),
    }
}

/// Clients that are forgotten here, or were where the snapshot `index` comes from.
///
/// # Errors
/// As [`list`].
pub(crate) fn known(directory: &Path, index: Option<&Index>) -> Result<BTreeSet<String>, ForgetError> {
    let mut clients = list(directory)?;
    clients.extend(index.into_iter().flat_map(told));
    Ok(clients)
}

/// Clients who were forgotten where a snapshot comes from.
pub(super) fn told(index: &Index) -> BTreeSet<String> {
    let text = index.report().ok();
    let stored = text.and_then(|text| serde_json::from_str::<Stored<serde::de::IgnoredAny>>(text).ok());
    let mut clients = stored.map(|stored| stored.forgotten).unwrap_or_default();
    // Another version, or somebody hostile, may have told what the list cannot hold.
    clients.retain(|client| is_listable(client));
    clients
}

pub(super) fn is_listable(client: &str) -> bool {
    !client.is_empty() && !client.contains(['\n', '\r'])
}

/// Waits until nobody else forgets, for ten minutes at most. The system frees the lock when the process ends, however it
/// ends.
pub(super) fn alone(directory: &Path) -> Result<File, ForgetError> {
    let path = directory.join(LOCK);
    let locked = || -> io::Result<File> {
        let mut options = OpenOptions::new();
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.write(true).create(true).truncate(false).open(&path)?;
        for _ in 0..TRIES_TO_LOCK {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "another process has held it for ten minutes"))
    };
    locked().map_err(|source| ForgetError::List { path: path.clone(), action: "locked", source })
}

/// Puts a client on the list.
pub(super) fn enlist(directory: &Path, client: &str) -> Result<(), ForgetError> {
    let mut clients = list(directory)?;
    if !clients.insert(client.to_owned()) {
        return Ok(());
    }
    let path = directory.join(LIST);
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        for client in &clients {
            writeln!(file, "{client}")?;
        }
        file.as_file().sync_all()?;
        file.persist(&path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|source| ForgetError::List { path: path.clone(), action: "written", source })
}

/// Puts clients on the list, if they are not there yet.
pub(super) fn enlist_all(directory: &Path, clients: &[String]) -> Result<(), ForgetError> {
    let known = list(directory)?;
    if clients.iter().all(|client| known.contains(client)) {
        return Ok(());
    }
    let _lock = alone(directory)?;
    clients.iter().try_for_each(|client| enlist(directory, client))
}

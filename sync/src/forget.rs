//! Forgetting a client (利用者): a list of whom no sync takes in again, and every snapshot built anew without the client's
//! rows.

use std::collections::{BTreeSet, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use karute_engine::{
    BuildError, Draft, Facet, Guard, Index, Listed, OpenError, Provenance, Sealed, SnapshotId, Store,
    StoreError,
};
use serde::Serialize;

use crate::bucket::incoming;
use crate::embed::passage_text;
use crate::gather::{Stored, computed_from};
use crate::report::QualityReport;

/// The list, in the directory of the store: one client a line.
const LIST: &str = "forgotten";
/// Held by the one process that forgets.
const LOCK: &str = "forgotten.lock";
/// How often, and how far apart, another writer of the store is waited for.
const TRIES: u32 = 150;
const PAUSE: Duration = Duration::from_millis(200);
/// How often another process that forgets is waited for: it may have to build every snapshot anew.
const TRIES_TO_LOCK: u32 = 3000;

/// What became of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// The snapshot that held the client's rows; its file is gone.
    pub removed: String,
    /// The one in its place; `None` for one that could not be read, and for one of before that held nobody else.
    pub replaced_by: Option<String>,
    /// Rows that are no longer there.
    pub rows: u64,
}

/// A client could not be forgotten. Doing it again goes on where this ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForgetError {
    /// The list.
    #[error("the list of forgotten clients {path} cannot be {action}: {source}")]
    List {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A line break in an id.
    #[error("a client's id has no line break and is not empty")]
    Id,
    /// A snapshot that cannot be read through.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A snapshot that cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Rows cannot be kept on the disk on their way.
    #[error(
        "rows cannot be kept in the data directory on their way: {0}. Free some space, then forget again"
    )]
    Spool(io::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing could be served any more.
    #[error("snapshot {0}, which is in force, cannot be read, and neither can any other: sync first")]
    NothingSound(String),
}

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
fn told(index: &Index) -> BTreeSet<String> {
    let text = index.report().ok();
    let stored = text.and_then(|text| serde_json::from_str::<Stored<serde::de::IgnoredAny>>(text).ok());
    let mut clients = stored.map(|stored| stored.forgotten).unwrap_or_default();
    // Another version, or somebody hostile, may have told what the list cannot hold.
    clients.retain(|client| is_listable(client));
    clients
}

fn is_listable(client: &str) -> bool {
    !client.is_empty() && !client.contains(['\n', '\r'])
}

/// Waits until nobody else forgets, for ten minutes at most. The system frees the lock when the process ends, however it
/// ends.
fn alone(directory: &Path) -> Result<File, ForgetError> {
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

/// Does `work` on the store, once another writer is done.
fn patiently<T>(work: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    for _ in 1..TRIES {
        match work() {
            Err(StoreError::Locked { .. }) => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
    work()
}

/// Puts a client on the list.
fn enlist(directory: &Path, client: &str) -> Result<(), ForgetError> {
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

/// Removes a client from every snapshot of `store`, and from whatever will be synced. The list comes first, and whatever
/// publishes looks at it last ([`publish`]), so that nothing which runs meanwhile brings the client back.
///
/// # Errors
/// Whatever keeps a snapshot from being built without the client. What was done stays done.
pub fn forget(store: &Store, client: &str) -> Result<Vec<Rebuilt>, ForgetError> {
    if !is_listable(client) {
        return Err(ForgetError::Id);
    }
    let _lock = alone(store.directory())?;
    enlist(store.directory(), client)?;
    let rebuilt = remove(store, &[client.to_owned()].into())?;
    let damaged = discard_damaged(store, |_| true)?;
    incoming::sweep(store.directory());
    Ok(rebuilt.into_iter().chain(damaged).collect())
}

/// Forgets here whoever was forgotten elsewhere: puts `clients` on the list, then removes them from every snapshot that has
/// rows of theirs, as often as it takes. Costs one look at the store where nobody is to be removed.
///
/// # Errors
/// As [`forget`].
pub fn follow(store: &Store, clients: &[String]) -> Result<Vec<Rebuilt>, ForgetError> {
    // Whatever keeps them from being removed, nothing takes them in from here on.
    enlist_all(store.directory(), clients)?;
    keep_out(store)
}

/// Removes whoever is forgotten, here or where a snapshot of `store` comes from, from every snapshot: after each one that came in
/// from elsewhere, or was built from a list of before. Costs one look at the store where nobody is to be removed.
///
/// # Errors
/// As [`forget`].
pub fn keep_out(store: &Store) -> Result<Vec<Rebuilt>, ForgetError> {
    let listed = store.list()?;
    let indexes = || listed.iter().filter_map(|listed| listed.index.as_ref().ok());
    enlist_all(store.directory(), &indexes().flat_map(told).collect::<Vec<_>>())?;
    let clients = list(store.directory())?;
    if indexes().all(|index| rows_of(index, &clients) == 0) {
        return Ok(Vec::new());
    }
    let _lock = alone(store.directory())?;
    remove(store, &clients)
}

/// Puts clients on the list, if they are not there yet.
fn enlist_all(directory: &Path, clients: &[String]) -> Result<(), ForgetError> {
    let known = list(directory)?;
    if clients.iter().all(|client| known.contains(client)) {
        return Ok(());
    }
    let _lock = alone(directory)?;
    clients.iter().try_for_each(|client| enlist(directory, client))
}

/// Whether `index` has no row of anybody who is forgotten here.
///
/// # Errors
/// As [`list`].
pub fn is_free_of_forgotten(directory: &Path, index: &Index) -> Result<bool, ForgetError> {
    Ok(rows_of(index, &list(directory)?) == 0)
}

/// Rows of clients; at least one where nobody can tell.
fn rows_of(index: &Index, clients: &BTreeSet<String>) -> u64 {
    let of = |client: &String| index.rows_with(Facet::Client, client).map_or(1, |rows| rows.len() as u64);
    clients.iter().map(of).sum()
}

/// Publishes what was built without `left_out`, and without whoever else is forgotten by now. Nobody can be forgotten between
/// this look and the publication.
///
/// # Errors
/// As [`Store::publish`] and [`forget`].
pub fn publish(
    store: &Store,
    sealed: &Sealed,
    left_out: &BTreeSet<String>,
    guard: &Guard,
) -> Result<SnapshotId, ForgetError> {
    let _lock = alone(store.directory())?;
    let cleaned = cleaned(store, sealed, left_out)?;
    Ok(store.publish(cleaned.as_ref().unwrap_or(sealed), guard)?)
}

/// As [`publish`], but without making the snapshot current.
///
/// # Errors
/// As [`Store::add`] and [`forget`].
pub(crate) fn add(
    store: &Store,
    sealed: &Sealed,
    left_out: &BTreeSet<String>,
) -> Result<SnapshotId, ForgetError> {
    let _lock = alone(store.directory())?;
    let cleaned = cleaned(store, sealed, left_out)?;
    Ok(store.add(cleaned.as_ref().unwrap_or(sealed))?)
}

/// Takes over the file of snapshot `id` from elsewhere, as [`Store::adopt`] does; if somebody in it is forgotten here, what it
/// holds of the others comes in in its place. Returns the id of what came in.
///
/// # Errors
/// As [`Store::adopt`] and [`forget`].
pub(crate) fn adopt(store: &Store, file: &Path, id: SnapshotId) -> Result<SnapshotId, ForgetError> {
    let _lock = alone(store.directory())?;
    let clients = known_by(store)?;
    if !clients.is_empty()
        && let Some(sealed) = clean(store, &store.read_back(id, file)?, &clients)?
    {
        return Ok(store.replace_by(id, &sealed)?);
    }
    store.adopt(file, id)?;
    Ok(id)
}

/// Makes snapshot `id` of the store current, without whoever is forgotten here. Returns the id of what is current now.
///
/// # Errors
/// As [`Store::make_current`] and [`forget`].
pub(crate) fn make_current(store: &Store, mut id: SnapshotId) -> Result<SnapshotId, ForgetError> {
    let _lock = alone(store.directory())?;
    if let Some(sealed) = clean(store, &store.find(&id.to_string())?, &known_by(store)?)? {
        id = store.replace_by(id, &sealed)?;
    }
    store.make_current(id)?;
    Ok(id)
}

/// Clients who are forgotten here, or were where the current snapshot comes from.
fn known_by(store: &Store) -> Result<BTreeSet<String>, ForgetError> {
    known(store.directory(), store.current().ok().map(|opened| opened.index).as_ref())
}

/// What was built without `left_out`, without whoever else is on the list; `None` where nobody is in it.
fn cleaned(
    store: &Store,
    sealed: &Sealed,
    left_out: &BTreeSet<String>,
) -> Result<Option<Sealed>, ForgetError> {
    let late = &list(store.directory())? - left_out;
    match late.is_empty() {
        true => Ok(None),
        false => clean(store, &sealed.open_in(store.directory())?, &late),
    }
}

/// What `index` holds without the rows of `clients`; `None` where it has none.
fn clean(store: &Store, index: &Index, clients: &BTreeSet<String>) -> Result<Option<Sealed>, ForgetError> {
    (rows_of(index, clients) > 0).then(|| without(store, index, clients)).transpose()
}

/// Builds every snapshot that has rows of `clients` anew without them, the one that is served first. A damaged one goes: what is
/// built of it would be signed anew, damage and all.
fn remove(store: &Store, clients: &BTreeSet<String>) -> Result<Vec<Rebuilt>, ForgetError> {
    let mut rebuilt = Vec::new();
    let served = store.current().ok().map(|opened| opened.index.id());
    let is_served = |listed: &Listed| listed.current || served == Some(listed.id);
    let mut listed = store.list()?;
    listed.sort_by_key(|listed| !is_served(listed));
    for listed in listed {
        let Ok(index) = &listed.index else { continue };
        let rows = rows_of(index, clients);
        if rows == 0 || index.verify().is_err() {
            continue;
        }
        let mut replaced_by = None;
        // Of a snapshot of before that held nobody else nothing is worth keeping; the one that is served is served empty.
        if is_served(&listed) || rows < u64::from(index.len()) {
            let sealed = without(store, index, clients)?;
            replaced_by = Some(patiently(|| store.replace_by(listed.id, &sealed))?.to_string());
        } else {
            patiently(|| store.discard(listed.id))?;
        }
        rebuilt.push(Rebuilt { removed: listed.id.to_string(), replaced_by, rows });
    }
    rebuilt.extend(discard_damaged(store, |index| index.is_some_and(|index| rows_of(index, clients) > 0))?);
    if !rebuilt.is_empty() {
        incoming::sweep(store.directory());
    }
    Ok(rebuilt)
}

/// Removes snapshots that are damaged and are meant (`None` for one that cannot even be opened): nobody can say what is in them, and
/// nothing can be built of them. If the current one is among them, the newest sound one takes its place.
fn discard_damaged(
    store: &Store,
    is_meant: impl Fn(Option<&Index>) -> bool,
) -> Result<Vec<Rebuilt>, ForgetError> {
    let mut gone = Vec::new();
    let is_sound = |listed: &Listed| listed.index.as_ref().is_ok_and(|index| index.verify().is_ok());
    let mut listed = store.list()?;
    let unopened = listed.iter().position(|listed| matches!(listed.index, Err(OpenError::Io { .. })));
    // What the system does not let anybody open now may be sound.
    if let (true, Some(at)) = (is_meant(None), unopened)
        && let Err(error) = listed.swap_remove(at).index
    {
        return Err(error.into());
    }
    // Only those that are meant are read whole: this runs at each start and sync.
    let meant = listed.iter().filter(|listed| is_meant(listed.index.as_ref().ok()));
    for damaged in meant.filter(|listed| !is_sound(listed)) {
        if damaged.current || store.current().is_ok_and(|opened| opened.index.id() == damaged.id) {
            let ids = listed.iter().filter(|listed| !is_sound(listed)).map(|listed| listed.id);
            let sound = store.current_avoiding(&ids.collect::<Vec<_>>());
            let sound = sound.map_err(|_| ForgetError::NothingSound(damaged.id.short()))?;
            patiently(|| store.make_current(sound.index.id()))?;
        }
        patiently(|| store.discard(damaged.id))?;
        gone.push(Rebuilt { removed: damaged.id.to_string(), replaced_by: None, rows: 0 });
    }
    Ok(gone)
}

/// What `index` holds, but for the rows of `clients`.
fn without(store: &Store, index: &Index, clients: &BTreeSet<String>) -> Result<Sealed, ForgetError> {
    let mut draft =
        Draft::spooled(index.identity().clone(), store.directory()).map_err(ForgetError::Spool)?;
    draft.set_precision(index.precision())?;
    draft.set_terms(index.terms().to_vec());
    let (mut gone, mut made_from) = (HashSet::new(), HashSet::new());
    for number in 0..index.len() {
        let row = index.row(number)?;
        let passages = index.passages_of(number)?;
        if clients.contains(&row.client_id) {
            for passage in &passages {
                let text = row.content.get(passage.range()).unwrap_or_default();
                made_from.insert(computed_from(&row.id, &passage_text(&row.title, text)));
            }
            gone.insert(row.id);
            continue;
        }
        draft.push(&row, &passages)?;
    }
    // A report that this version cannot read is left out rather than kept with the client's rows in it.
    if let Ok(mut stored) = serde_json::from_str::<Stored<QualityReport>>(index.report()?) {
        stored.report.used = stored.report.used.saturating_sub(gone.len() as u64);
        stored.report.findings.retain(|finding| !gone.contains(&finding.id));
        stored.computed_vectors.retain(|digest| !made_from.contains(digest));
        stored.forgotten.extend(clients.iter().cloned());
        draft.set_report(
            serde_json::to_string(&stored)
                .map_err(|error| BuildError::Archive { id: "report".into(), detail: error.to_string() })?,
        );
    }
    let provenance = Provenance { parent: String::new(), ..index.provenance().clone() };
    Ok(draft.finish(provenance)?)
}

//! Forgetting a client (利用者): a list of whom no sync takes in again, and every snapshot built anew without the client's
//! rows.

mod coming;
mod list;

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use karute_engine::{
    BuildError, Draft, Facet, Index, Listed, OpenError, Provenance, Sealed, Store, StoreError,
};
use serde::Serialize;

pub use coming::publish;
pub(crate) use coming::{add, adopt, make_current};
pub(crate) use list::known;
pub use list::list;
use list::{alone, enlist, enlist_all, is_listable, told};

use crate::bucket::incoming;
use crate::embed::passage_text;
use crate::gather::{Stored, computed_from};
use crate::report::QualityReport;

/// How often, and how far apart, another writer of the store is waited for.
const TRIES: u32 = 150;
const PAUSE: Duration = Duration::from_millis(200);

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
/// rows of theirs, as often as it takes; and whoever is on it already. Costs one look at the store where nobody is to be removed.
///
/// # Errors
/// As [`forget`].
pub fn follow(store: &Store, clients: &[String]) -> Result<Vec<Rebuilt>, ForgetError> {
    // Whatever keeps them from being removed, nothing takes them in from here on.
    enlist_all(store.directory(), clients)?;
    let clients = list(store.directory())?;
    if clients.is_empty() {
        return Ok(Vec::new());
    }
    let listed = store.list()?;
    let mut indexes = listed.iter().filter_map(|listed| listed.index.as_ref().ok());
    if !indexes.any(|index| is_in(index, &clients)) {
        return Ok(Vec::new());
    }
    let _lock = alone(store.directory())?;
    remove(store, &clients)
}

/// As [`follow`], of whoever was forgotten where a snapshot of `store` comes from: after each one that came in from elsewhere, or
/// was built from a list of before. Reads the report of every snapshot.
///
/// # Errors
/// As [`forget`].
pub fn keep_out(store: &Store) -> Result<Vec<Rebuilt>, ForgetError> {
    let listed = store.list()?;
    let indexes = listed.iter().filter_map(|listed| listed.index.as_ref().ok());
    follow(store, &indexes.flat_map(told).collect::<Vec<_>>())
}

/// Whether `index` holds nothing of anybody who is forgotten here.
///
/// # Errors
/// As [`list()`].
pub fn is_free_of_forgotten(directory: &Path, index: &Index) -> Result<bool, ForgetError> {
    Ok(!is_in(index, &list(directory)?))
}

/// Whether `index` has rows of `clients`, or their names.
fn is_in(index: &Index, clients: &BTreeSet<String>) -> bool {
    rows_of(index, clients) > 0 || index.clients().iter().any(|client| clients.contains(&client.id))
}

/// Rows of clients; at least one where nobody can tell.
fn rows_of(index: &Index, clients: &BTreeSet<String>) -> u64 {
    let of = |client: &String| index.rows_with(Facet::Client, client).map_or(1, |rows| rows.len() as u64);
    clients.iter().map(of).sum()
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
        if !is_in(index, clients) || index.verify().is_err() {
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
    rebuilt.extend(discard_damaged(store, |index| index.is_some_and(|index| is_in(index, clients)))?);
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
    draft.set_clients(
        index.clients().iter().filter(|client| !clients.contains(&client.id)).cloned().collect(),
    );
    if let Some(settings) = index.lexical_settings()? {
        draft.set_lexical(settings);
    }
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
        stored
            .report
            .findings
            .retain(|finding| !gone.contains(&finding.id) && !clients.contains(&finding.id));
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

//! What comes into a store, from a build or from elsewhere, without whoever is forgotten: nobody can be forgotten between the look
//! at the list and the moment at which it is in.

use std::collections::BTreeSet;
use std::path::Path;

use karute_engine::{Guard, Index, Sealed, SnapshotId, Store};

use super::list::{alone, known, list};
use super::{ForgetError, is_in, without};

/// Publishes what was built without `left_out`, and without whoever else is forgotten by now. Nobody can be forgotten between
/// this look and the publication.
///
/// # Errors
/// As [`Store::publish`] and [`super::forget()`].
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
/// As [`Store::add`] and [`super::forget()`].
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
/// As [`Store::adopt`] and [`super::forget()`].
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
/// As [`Store::make_current`] and [`super::forget()`].
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

/// What `index` holds without `clients`; `None` where nothing in it is theirs.
fn clean(store: &Store, index: &Index, clients: &BTreeSet<String>) -> Result<Option<Sealed>, ForgetError> {
    is_in(index, clients).then(|| without(store, index, clients)).transpose()
}

//! The verbs that change what the store keeps.

use std::collections::BTreeSet;
use std::path::Path;

use karute_engine::{Guard, Index, SnapshotId, Store};
use karute_sync::job::Publishing;
use karute_sync::{forget, transfer};
use serde_json::json;

use super::super::{Outcome, print_json};
use crate::config::Settings;
use crate::start;

/// Tells what was done to one snapshot.
fn done(json: bool, done: &str, id: SnapshotId) -> Outcome {
    if json {
        return print_json(&json!({ "done": done, "snapshot_id": id.to_string() }));
    }
    say!("{done}: {id}")?;
    Ok(())
}

pub(super) fn rollback(store: &Store, id: Option<&str>, json: bool) -> Outcome {
    let mut to = id.map(|id| store.resolve(id)).transpose()?;
    if let Some(id) = to
        && store.find(&id.to_string()).is_ok_and(|index| !is_free(store, &index))
    {
        // Nobody who is forgotten is gone back to.
        forget::keep_out(store)?;
        to = Some(store.stand_in(id)?);
    }
    done(json, "current is now", store.rollback(to)?)
}

fn is_free(store: &Store, index: &Index) -> bool {
    forget::is_free_of_forgotten(store.directory(), index).unwrap_or(false)
}

pub(super) fn pin(store: &Store, index: &Index, json: bool) -> Outcome {
    store.pin(index.id())?;
    done(json, "pinned", index.id())
}

pub(super) fn unpin(store: &Store, id: SnapshotId, json: bool) -> Outcome {
    store.unpin(id)?;
    done(json, "unpinned", id)
}

pub(super) fn prune(store: &Store, keep: usize, json: bool) -> Outcome {
    let removed: Vec<String> = store.prune(keep)?.iter().map(SnapshotId::to_string).collect();
    if json {
        return print_json(&json!({ "removed": removed }));
    }
    for id in &removed {
        say!("removed {id}")?;
    }
    say!("{} removed, {} left", removed.len(), store.list()?.len())?;
    Ok(())
}

pub(super) fn export(index: &Index, folder: &Path, json: bool) -> Outcome {
    transfer::export(index, folder)?;
    done(json, &format!("exported to {}", folder.display()), index.id())
}

pub(super) fn import(
    store: &Store,
    settings: &Settings,
    folder: &Path,
    force: bool,
    changed: bool,
    json: bool,
) -> Outcome {
    let publishing = if force { Publishing::Forced } else { start::guarded(settings) };
    let begun = store.current_id();
    let parent = begun.map(|id| id.to_string()).unwrap_or_default();
    let transfer::Imported { sealed, differs_from } = transfer::import(folder, |provenance| {
        provenance.parent = parent;
        provenance.forced = force;
    })?;
    if let (Some(id), false) = (differs_from, changed) {
        return Err(format!(
            "these files are not snapshot {id}, from which they were exported: they were changed since, or another version built it. \
             --changed publishes them all the same"
        )
        .into());
    }
    let guard = Guard { after: begun.into(), ..publishing.guard() };
    let id = forget::publish(store, &sealed, &BTreeSet::new(), &guard)?;
    // Whoever was forgotten where these files come from goes here, too.
    forget::keep_out(store)?;
    done(json, "imported and current", id)
}

//! `karute snapshot`: the snapshots of the store, to look at and to look after.

mod keep;
mod show;

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use karute_engine::{Embedding, Index, Store};
use karute_sync::embed::embed_questions;

use super::sync::paying;
use super::{Outcome, bucket, runtime};
use crate::config::Settings;
use crate::setup;

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Every snapshot in the store, newest first.
    List {
        /// Those in the bucket, not those here.
        #[arg(long)]
        bucket: bool,
    },
    /// What a snapshot holds and where it came from.
    Inspect(One),
    /// Read a snapshot whole and check every byte of it.
    Verify {
        #[command(flatten)]
        one: One,
        /// Measure the recall again as well, and hold it against what the snapshot states.
        #[arg(long)]
        recall: bool,
    },
    /// Which rows were added, removed and changed from snapshot A to snapshot B.
    Diff {
        /// The older snapshot's id or its beginning.
        a: String,
        /// The newer snapshot's id or its beginning.
        b: String,
    },
    /// Serve an earlier snapshot again.
    Rollback {
        /// The snapshot's id or its beginning; the one that was current before if left out.
        id: Option<String>,
        /// Make it current in the bucket, not here: whatever follows the bucket goes back to it. Nothing here is needed.
        #[arg(long)]
        bucket: bool,
    },
    /// Keep a snapshot whatever is pruned.
    Pin(One),
    /// Take a pin away.
    Unpin(One),
    /// Remove old snapshots; never the current one, a pinned one, or the newest that verifies.
    Prune {
        /// How many of the newest snapshots stay.
        #[arg(long, value_name = "N")]
        keep: usize,
        /// Of those in the bucket, not of those here: but for the current one, and what was pushed within the hour.
        #[arg(long)]
        bucket: bool,
    },
    /// Upload a snapshot to the bucket and make it current there.
    Push {
        #[command(flatten)]
        one: One,
        /// Do nothing where no bucket is set, or where the snapshot is current already; and leave KARUTE_BUCKET_KEEP snapshots
        /// there. For a timer.
        #[arg(long)]
        if_new: bool,
    },
    /// Download the bucket's current snapshot, verify it, and make it current here.
    Pull,
    /// Write a snapshot as plain files (JSON lines and a NumPy array).
    Export {
        /// The folder to create.
        folder: PathBuf,
        #[command(flatten)]
        one: One,
    },
    /// Publish a snapshot from an export.
    Import {
        /// The folder that an export wrote.
        folder: PathBuf,
        /// Publish even what the guard takes for an accident.
        #[arg(long)]
        force: bool,
        /// Publish files that are not the snapshot that was exported: changed since, or of another version.
        #[arg(long)]
        changed: bool,
    },
}

/// One snapshot.
#[derive(Debug, Args)]
pub(super) struct One {
    /// The snapshot's id or its beginning; the current one if left out.
    id: Option<String>,
}

pub(super) fn run(settings: &Settings, verb: Verb, json: bool) -> Outcome {
    let store = Store::open(&settings.data_dir)?;
    match verb {
        Verb::List { bucket: true } => bucket::list(settings, json),
        Verb::List { bucket: false } => show::list(&store, json),
        Verb::Inspect(one) => {
            let index = one.open(&store)?;
            let forced = store.is_forced(index.id())?;
            show::inspect(&index, forced, &setup::gate(settings, &index.identity().model)?, json)
        }
        Verb::Verify { one, recall } => {
            let index = one.open(&store)?;
            // Of what promises nothing on questions from outside, nothing is measured on them either.
            let given = index.promise()?.is_some_and(|promise| promise.questions > 0);
            let questions = if recall && given { recall_questions(settings)? } else { Vec::new() };
            show::verify(&index, recall.then_some(questions), json)
        }
        Verb::Diff { a, b } => show::diff(&store.find(&a)?, &store.find(&b)?, json),
        Verb::Rollback { id, bucket: true } => bucket::rollback(settings, id.as_deref(), json),
        Verb::Rollback { id, bucket: false } => keep::rollback(&store, id.as_deref(), json),
        Verb::Pin(one) => keep::pin(&store, &one.open(&store)?, json),
        // A pin can be taken away from what cannot be opened any more.
        Verb::Unpin(One { id: Some(id) }) => keep::unpin(&store, store.resolve(&id)?, json),
        Verb::Unpin(one) => keep::unpin(&store, one.open(&store)?.id(), json),
        Verb::Prune { keep, bucket: true } => bucket::prune(settings, keep, json),
        Verb::Prune { keep, bucket: false } => keep::prune(&store, keep, json),
        Verb::Push { if_new: true, .. } if settings.bucket.is_none() => Ok(()),
        Verb::Push { one, if_new } => bucket::push(settings, &store, one.open(&store)?.id(), if_new, json),
        Verb::Pull => bucket::pull(settings, &store, json),
        Verb::Export { folder, one } => keep::export(&one.open(&store)?, &folder, json),
        Verb::Import { folder, force, changed } => {
            keep::import(&store, settings, &folder, force, changed, json)
        }
    }
}

impl One {
    /// The snapshot of this id, or the current one. Never a stand-in for a current one that is damaged.
    fn open(self, store: &Store) -> Result<Index, Box<dyn std::error::Error>> {
        match self.id {
            Some(id) => Ok(store.find(&id)?),
            None => {
                let opened = store.current()?;
                match opened.skipped.first() {
                    None => Ok(opened.index),
                    Some(skipped) => Err(format!("{}: {}", skipped.path.display(), skipped.reason).into()),
                }
            }
        }
    }
}

/// The questions of the settings, embedded.
fn recall_questions(settings: &Settings) -> Result<Vec<Embedding>, Box<dyn Error>> {
    let (texts, runtime) = (setup::recall_questions(settings)?, runtime()?);
    let mut embedder = setup::embedder(settings)?;
    if !embedder.is_free() {
        embedder = paying(settings, embedder, &runtime)?;
    }
    Ok(runtime.block_on(embed_questions(&texts, embedder.as_ref()))?)
}

//! The way to the bucket and back: `karute snapshot push` and `pull`, `list`, `rollback` and `prune` with `--bucket`, and `karute
//! sync --push`.

use karute_engine::{SnapshotId, Store};
use karute_sync::bucket::{Bucket, BucketError, Held, Pruned, Pushed, Seen};
use karute_sync::forget;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::runtime::Runtime;

use super::{Outcome, print_json, runtime};
use crate::config::Settings;
use crate::progress;
use crate::setup::SetupError;

/// The bucket around a sync: what is current there comes first, what was built goes there after it.
pub(super) struct Around {
    bucket: Bucket,
    seen: Seen,
}

impl Around {
    /// Makes current here what is current in the bucket, so that unchanged vectors are taken from it and the guard compares
    /// with it. Only the `first` run may find nothing there, or nothing sound.
    pub(super) fn begin(
        settings: &Settings,
        store: &Store,
        first: bool,
        runtime: &Runtime,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let bucket = open(settings)?;
        let seen = runtime.block_on(bucket.look())?;
        if seen.id().is_none() && !first {
            let empty = BucketError::Empty { url: bucket.url().to_string() };
            return Err(format!("{empty}. The very first time: karute sync --push --first").into());
        }
        if seen.id().is_some() {
            match runtime.block_on(bucket.pull(store, progress::for_stderr().as_ref())) {
                Ok(_) => {}
                Err(error @ (BucketError::Missing { .. } | BucketError::Damaged { .. })) if first => {
                    tracing::warn!(%error, "the sync begins anew, as --first asks for");
                }
                Err(error) => return Err(error.into()),
            }
            forget::keep_out(store)?;
            // What was read of the source, and when, is not in a snapshot that did not change.
            if let Some(note) = runtime.block_on(bucket.noted())? {
                store.note(note.trim_end())?;
            }
        }
        Ok(Self { bucket, seen })
    }

    /// Makes snapshot `id` current in the bucket, if nobody moved its pointer since the beginning, and removes what is older than
    /// the settings ask for. Returns what there is to tell.
    pub(super) fn end(
        self,
        settings: &Settings,
        store: &Store,
        id: SnapshotId,
        runtime: &Runtime,
    ) -> Result<Value, Box<dyn std::error::Error>> {
        let Self { bucket, seen } = self;
        let pushed = runtime.block_on(bucket.push(store, id, &seen, progress::for_stderr().as_ref()))?;
        if let Some(note) = store.noted() {
            runtime.block_on(bucket.note(note))?;
        }
        let mut told = told(&bucket, &pushed);
        if let Some(removed) = runtime.block_on(pruned(&bucket, settings)) {
            told["removed"] = removed.into();
        }
        Ok(told)
    }
}

/// Removes what is older than the settings ask for, after a push. How many there were; `None`, and said in the log, where it
/// failed: what had to be done is done.
async fn pruned(bucket: &Bucket, settings: &Settings) -> Option<usize> {
    let pruned = bucket.prune(settings.bucket_keep, OffsetDateTime::now_utc()).await;
    pruned
        .inspect_err(|error| tracing::error!(%error, "pushed, but old snapshots stay in the bucket"))
        .map(|pruned| pruned.removed.len())
        .ok()
}

fn told(bucket: &Bucket, pushed: &Pushed) -> Value {
    json!({
        "bucket": bucket.url().to_string(), "snapshot_id": pushed.id.to_string(), "bytes": pushed.bytes,
        "uploaded": pushed.uploaded, "replaced": pushed.replaced.map(|id| id.to_string()),
    })
}

fn open(settings: &Settings) -> Result<Bucket, Box<dyn std::error::Error>> {
    let url = settings.bucket.as_ref().ok_or(SetupError::Missing {
        wanted: "the bucket",
        missing: "KARUTE_BUCKET",
        instead: "leave out what asks for it; it is gs://bucket/prefix, s3://bucket/prefix or file:///path",
    })?;
    Ok(Bucket::open(url, settings.bucket_endpoint.as_ref())?)
}

pub(super) fn push(settings: &Settings, store: &Store, id: SnapshotId, if_new: bool, json: bool) -> Outcome {
    let bucket = open(settings)?;
    let progress = progress::for_stderr();
    let pushed = runtime()?.block_on(async {
        let seen = bucket.look().await?;
        // Whoever follows the bucket learns by it when the source was last looked at.
        let note = store.noted().filter(|note| note.starts_with(&id.to_string()));
        let pushed = match if_new && seen.id() == Some(id) {
            true => None,
            false => Some(bucket.push(store, id, &seen, progress.as_ref()).await?),
        };
        if let Some(note) = note {
            bucket.note(note).await?;
        }
        if if_new && pushed.is_some() {
            pruned(&bucket, settings).await;
        }
        Ok::<_, BucketError>(pushed)
    })?;
    let Some(pushed) = pushed else { return Ok(()) };
    if json {
        return print_json(&told(&bucket, &pushed));
    }
    let how = if pushed.uploaded { "uploaded" } else { "there already" };
    say!("{id} is current in {} ({} bytes, {how})", bucket.url(), pushed.bytes)?;
    if let Some(before) = pushed.replaced.filter(|before| *before != id) {
        say!("before it, {before} was")?;
    }
    Ok(())
}

pub(super) fn prune(settings: &Settings, keep: usize, json: bool) -> Outcome {
    let bucket = open(settings)?;
    let Pruned { removed, left } = runtime()?.block_on(bucket.prune(keep, OffsetDateTime::now_utc()))?;
    let removed: Vec<String> = removed.iter().map(SnapshotId::to_string).collect();
    if json {
        return print_json(&json!({ "bucket": bucket.url().to_string(), "removed": removed, "left": left }));
    }
    for id in &removed {
        say!("removed {id}")?;
    }
    Ok(say!("{} removed, {left} left in {}", removed.len(), bucket.url())?)
}

pub(super) fn list(settings: &Settings, json: bool) -> Outcome {
    let bucket = open(settings)?;
    let held = runtime()?.block_on(bucket.held())?;
    let uploaded = |held: &Held| {
        let moment = OffsetDateTime::from_unix_timestamp(held.uploaded).ok();
        moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default()
    };
    if json {
        let line = |held: &Held| json!({ "id": held.id.to_string(), "current": held.current, "uploaded": uploaded(held) });
        return print_json(&held.iter().map(line).collect::<Vec<Value>>());
    }
    for held in &held {
        say!("{} {}  {}", if held.current { '*' } else { ' ' }, held.id, uploaded(held))?;
    }
    Ok(())
}

pub(super) fn rollback(settings: &Settings, id: Option<&str>, json: bool) -> Outcome {
    let bucket = open(settings)?;
    let id = runtime()?.block_on(bucket.go_back(id))?;
    if json {
        return print_json(&json!({ "bucket": bucket.url().to_string(), "snapshot_id": id.to_string() }));
    }
    Ok(say!("{id} is current in {}", bucket.url())?)
}

pub(super) fn pull(settings: &Settings, store: &Store, json: bool) -> Outcome {
    let bucket = open(settings)?;
    let progress = progress::for_stderr();
    let pulled = runtime()?.block_on(bucket.pull(store, progress.as_ref()))?;
    forget::keep_out(store)?;
    let id = pulled.id;
    if json {
        return print_json(&json!({
            "bucket": bucket.url().to_string(), "snapshot_id": id.to_string(), "bytes": pulled.bytes,
            "kept": pulled.kept, "downloaded": pulled.downloaded, "moved": pulled.moved,
        }));
    }
    match (pulled.bytes, pulled.moved) {
        (0, false) => say!("{id} is current here already")?,
        (0, true) => say!("{id} was here already and is current now")?,
        (bytes, _) => say!(
            "{id} is current here ({bytes} bytes, {} of them downloaded now and verified with the rest)",
            pulled.downloaded
        )?,
    }
    Ok(())
}

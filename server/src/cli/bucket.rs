//! `karute snapshot push` and `karute snapshot pull`: the way to the bucket and back.

use karute_engine::{SnapshotId, Store};
use karute_sync::bucket::Bucket;
use serde_json::json;

use super::{Outcome, print_json, runtime};
use crate::config::Settings;
use crate::progress;

fn open(settings: &Settings) -> Result<Bucket, Box<dyn std::error::Error>> {
    let url = settings.bucket.as_ref().ok_or(
        "there is no bucket: set KARUTE_BUCKET to gs://bucket/prefix, s3://bucket/prefix or file:///path",
    )?;
    Ok(Bucket::open(url, settings.bucket_endpoint.as_ref())?)
}

pub(super) fn push(settings: &Settings, store: &Store, id: SnapshotId, json: bool) -> Outcome {
    let bucket = open(settings)?;
    let progress = progress::for_stderr();
    let pushed = runtime()?.block_on(async {
        let seen = bucket.look().await?;
        bucket.push(store, id, &seen, progress.as_ref()).await
    })?;
    let replaced = pushed.replaced.map(|id| id.to_string());
    if json {
        return print_json(&json!({
            "bucket": bucket.url().to_string(), "snapshot_id": id.to_string(), "bytes": pushed.bytes,
            "uploaded": pushed.uploaded, "replaced": replaced,
        }));
    }
    let how = if pushed.uploaded { "uploaded" } else { "there already" };
    say!("{id} is current in {} ({} bytes, {how})", bucket.url(), pushed.bytes)?;
    match replaced {
        Some(before) if before != id.to_string() => say!("before it, {before} was")?,
        _ => {}
    }
    Ok(())
}

pub(super) fn pull(settings: &Settings, store: &Store, json: bool) -> Outcome {
    let bucket = open(settings)?;
    let progress = progress::for_stderr();
    let pulled = runtime()?.block_on(bucket.pull(store, progress.as_ref()))?;
    karute_sync::forget::keep_out(store)?;
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

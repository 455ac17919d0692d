//! Following a bucket: what a job pushes there is pulled while questions are answered.

use std::time::Duration;

use karute_engine::{SnapshotId, Store, StoreError};
use karute_sync::bucket::{Bucket, BucketError, BucketUrl};
use karute_sync::forget::{self, ForgetError};
use karute_sync::job::Silent;

use crate::app::App;
use crate::start;

/// Snapshots of the bucket that stay on this disk: the current one, and one to go back to.
const KEEP: usize = 2;

/// Why a look at the bucket came to nothing.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Forget(#[from] ForgetError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the thread that looks after the store ended: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// Looks at the pointer of the bucket now and then until the program ends, and pulls what it names once it has moved.
/// [`crate::reload::watch`] takes it up from the store.
pub(crate) async fn follow(app: App, url: BucketUrl) {
    let pause = Duration::from_secs(app.settings.pull_every);
    // What the start pulled, or failed to, is looked at once more.
    let mut followed = None;
    loop {
        tokio::time::sleep(pause).await;
        if let Err(error) = look(&app, &url, &mut followed).await {
            tracing::error!(%error, "the bucket could not be followed; the snapshot before is still served");
        }
    }
}

/// One look. `followed` is what the pointer named when it was last followed to its end: as long as it names that, whatever was
/// published here meanwhile stays.
async fn look(app: &App, url: &BucketUrl, followed: &mut Option<SnapshotId>) -> Result<(), FollowError> {
    let bucket = Bucket::open(url, app.settings.bucket_endpoint.as_ref())?;
    let named = bucket.look().await?.id();
    if named.is_some() && named == *followed {
        return Ok(());
    }
    let store = Store::open(&app.settings.data_dir)?;
    if start::is_chosen(&store) {
        tracing::info!("the store was rolled back: the bucket is not followed until `karute snapshot pull`");
        return Ok(());
    }
    let pulled = bucket.pull(&store, &Silent).await?;
    let pruned = tokio::task::spawn_blocking(move || -> Result<usize, FollowError> {
        forget::keep_out(&store)?;
        Ok(store.prune(KEEP)?.len())
    });
    let removed = pruned.await??;
    let (snapshot, bytes) = (pulled.id.short(), pulled.downloaded);
    tracing::info!(snapshot, bytes, moved = pulled.moved, removed, "followed the bucket");
    *followed = named;
    Ok(())
}

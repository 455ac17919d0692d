//! Following a bucket: what a job pushes there is pulled while questions are answered.

use std::sync::atomic::Ordering;
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

/// As often as a look fails, the pause before the next one is doubled, up to this many times.
const DOUBLINGS: u32 = 4;

/// Looks at the pointer of the bucket now and then until the program ends, and pulls what it names once it has moved.
/// [`crate::reload::watch`] takes it up from the store. `/health` tells whether the last look failed.
pub(crate) async fn follow(app: App, url: BucketUrl) {
    let pause = Duration::from_secs(app.settings.pull_every);
    let (mut followed, mut failures) = (pulled_at_start(&app, &url).await, 0);
    loop {
        tokio::time::sleep(pause * 2u32.pow(failures)).await;
        let looked = look(&app, &url, &mut followed).await;
        app.lags.store(looked.is_err(), Ordering::Relaxed);
        failures = match looked {
            Ok(()) => 0,
            Err(error) => {
                tracing::error!(%error, "the bucket could not be followed");
                DOUBLINGS.min(failures + 1)
            }
        };
    }
}

/// What the bucket names, if the start has pulled it: then there is nothing to follow.
async fn pulled_at_start(app: &App, url: &BucketUrl) -> Option<SnapshotId> {
    let bucket = Bucket::open(url, app.settings.bucket_endpoint.as_ref()).ok()?;
    let named = bucket.look().await.ok()?.id()?;
    let store = Store::open(&app.settings.data_dir).ok()?;
    (store.current_id() == Some(store.stand_in(named).ok()?)).then_some(named)
}

/// One look. `followed` is what the pointer named when it was last followed to its end: as long as it names that, whatever was
/// published here meanwhile stays.
async fn look(app: &App, url: &BucketUrl, followed: &mut Option<SnapshotId>) -> Result<(), FollowError> {
    let bucket = Bucket::open(url, app.settings.bucket_endpoint.as_ref())?;
    let named = bucket.look().await?.id();
    let store = Store::open(&app.settings.data_dir)?;
    if named.is_some() && named == *followed {
        start::take_note(&bucket, &store).await;
        return Ok(());
    }
    if start::is_chosen(&store) {
        tracing::info!("the store was rolled back: the bucket is not followed until `karute snapshot pull`");
        return Ok(());
    }
    // Before the download, so that the disk never holds more than what is served, what comes, and one to go back to.
    pruned(&store, KEEP - 1).await?;
    let pulled = bucket.pull(&store, &Silent).await?;
    start::take_note(&bucket, &store).await;
    pruned(&store, KEEP).await?;
    let (snapshot, bytes) = (pulled.id.short(), pulled.downloaded);
    tracing::info!(snapshot, bytes, moved = pulled.moved, "followed the bucket");
    *followed = named;
    Ok(())
}

/// Keeps out who is forgotten, and no more than `keep` snapshots.
async fn pruned(store: &Store, keep: usize) -> Result<(), FollowError> {
    let store = store.clone();
    tokio::task::spawn_blocking(move || {
        forget::keep_out(&store)?;
        store.prune(keep)?;
        Ok(())
    })
    .await?
}

//! From a bucket to the local store: ranges in parallel, verified whole, current last.

use std::sync::{Arc, Mutex};

use futures_util::{StreamExt, TryStreamExt, stream};
use karute_engine::{SnapshotId, Store, StoreError};
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use super::error::failed;
use super::incoming::{self, Incoming, Plan};
use super::push::blocking;
use super::{Bucket, BucketError};
use crate::forget::{self, ForgetError};
use crate::job::{Progress, Stage};

/// More bytes than any snapshot has, so that an answer of the bucket cannot fill the memory with plans.
const LENGTH_LIMIT: u64 = 1 << 40;

/// A pull that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The snapshot, now current in the local store.
    pub id: SnapshotId,
    /// Its length; 0 if the store held it already.
    pub bytes: u64,
    /// Bytes that an earlier pull, which was cut off, had brought.
    pub kept: u64,
    /// Bytes that came over the line.
    pub downloaded: u64,
    /// Whether the local pointer moved.
    pub moved: bool,
}

impl Bucket {
    /// Makes the snapshot that is current in the bucket current in `store`, downloading it unless the store holds
    /// it. A pull that was cut off, by a kill or by dropping this future, is taken up where it ended.
    ///
    /// # Errors
    /// A bucket that does not answer or holds nothing; [`BucketError::Damaged`] for a download that is not the sound
    /// snapshot, which is thrown away; a refusal of the file system. In each case `store` is as it was.
    pub async fn pull(&self, store: &Store, progress: &dyn Progress) -> Result<Pulled, BucketError> {
        let seen = self.look().await?;
        let wanted = seen.id().ok_or_else(|| BucketError::Empty { url: self.url.to_string() })?;
        let (local, begun) = (store.clone(), store.current_id());
        let (id, held, current) = blocking(store.path_of(wanted), move || -> Result<_, StoreError> {
            // Where somebody in it is forgotten here, another one stands in its place.
            let id = local.stand_in(wanted)?;
            let current =
                local.current().is_ok_and(|opened| opened.skipped.is_empty() && opened.index.id() == id);
            // A copy that lies here already is verified too: what is damaged is downloaded again.
            let held = local.find(&id.to_string()).is_ok_and(|index| index.verify().is_ok());
            if held {
                // What is left of a download holds records, and perhaps of somebody who is forgotten.
                incoming::sweep(local.directory());
            }
            Ok((id, held, current && held))
        })
        .await??;
        let mut pulled = Pulled { id, bytes: 0, kept: 0, downloaded: 0, moved: false };
        if !held {
            self.download(store, wanted, &mut pulled, progress).await?;
        }
        if !current {
            let local = store.clone();
            // Whoever is forgotten here must not be in force for a moment.
            let made = blocking(store.directory().into(), move || match local.current_id() {
                // A download takes long enough for somebody to go back, or to publish.
                Some(by) if begun != Some(by) && by != pulled.id => {
                    Err(StoreError::Overtaken { id: pulled.id, by }.into())
                }
                _ => forget::make_current(&local, pulled.id),
            });
            pulled.id = made.await??;
            pulled.moved = true;
        }
        Ok(pulled)
    }

    async fn download(
        &self,
        store: &Store,
        id: SnapshotId,
        pulled: &mut Pulled,
        progress: &dyn Progress,
    ) -> Result<(), BucketError> {
        let path = self.snapshot_path(id);
        let meta = match self.objects.head(&path).await {
            Ok(meta) => meta,
            Err(Error::NotFound { .. }) => {
                return Err(BucketError::Missing { url: self.url.to_string(), id });
            }
            Err(error) => return Err(self.request("look at", &path)(error)),
        };
        if meta.size > LENGTH_LIMIT {
            let object = format!("{}/{path}", self.url);
            let reason = format!("it is said to have {} bytes, more than any snapshot", meta.size);
            return Err(BucketError::Request { action: "download", object, reason });
        }
        let version = meta.e_tag.clone().unwrap_or_else(|| meta.last_modified.to_rfc3339());
        let plan = Plan { length: meta.size, range_bytes: self.range_bytes, version };
        let (directory, plan_of_file) = (store.directory().to_owned(), plan.clone());
        let opened = blocking(directory.clone(), move || Incoming::open(&directory, id, plan_of_file));
        let incoming = opened.await??;
        let missing = incoming.missing();
        (pulled.bytes, pulled.kept) = (meta.size, incoming.kept());

        progress.begin(Stage::Downloading, Some(meta.size));
        progress.advance(pulled.kept);
        let incoming = Arc::new(Mutex::new(incoming));
        let ranges = missing.into_iter().map(|number| {
            let (incoming, bytes, e_tag) = (incoming.clone(), plan.bytes(number), meta.e_tag.clone());
            async move {
                let bytes = self.range(id, bytes, e_tag, progress).await?;
                let length = bytes.len() as u64;
                let file = store.path_of(id);
                // Once begun, the writing ends even if this future is dropped; the lock goes with it.
                blocking(file, move || {
                    incoming.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).keep(number, &bytes)
                })
                .await??;
                Ok::<u64, BucketError>(length)
            }
        });
        let downloaded = stream::iter(ranges).buffer_unordered(self.at_once);
        pulled.downloaded = downloaded.try_fold(0, async |sum, length| Ok(sum + length)).await?;
        progress.finish();

        progress.begin(Stage::Verifying, None);
        let (local, url) = (store.clone(), self.url.to_string());
        let taken_in = blocking(store.path_of(id), move || {
            let incoming = incoming.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            match forget::adopt(&local, incoming.seal()?, id) {
                Ok(taken_in) => {
                    incoming.discard();
                    Ok(taken_in)
                }
                Err(ForgetError::Store(source @ StoreError::Open { .. })) => {
                    incoming.discard();
                    Err(BucketError::Damaged { url, id, source: Box::new(source) })
                }
                Err(error) => Err(error.into()),
            }
        });
        pulled.id = taken_in.await??;
        progress.finish();
        Ok(())
    }

    /// One range of a snapshot, of the very object that the download began with.
    async fn range(
        &self,
        id: SnapshotId,
        bytes: std::ops::Range<u64>,
        e_tag: Option<String>,
        progress: &dyn Progress,
    ) -> Result<Vec<u8>, BucketError> {
        let path = self.snapshot_path(id);
        let expected = bytes.end - bytes.start;
        let options =
            GetOptions { range: Some(GetRange::Bounded(bytes)), if_match: e_tag, ..GetOptions::default() };
        let got = match self.objects.get_opts(&path, options).await {
            Ok(got) => got,
            Err(Error::Precondition { .. } | Error::NotFound { .. }) => {
                return Err(BucketError::Changed { url: self.url.to_string(), id });
            }
            Err(error) => return Err(self.request("download", &path)(error)),
        };
        let mut chunks = got.into_stream();
        let mut whole = Vec::with_capacity(expected as usize);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(self.request("download", &path))?;
            progress.advance(chunk.len() as u64);
            whole.extend_from_slice(&chunk);
            // What was not asked for is not kept.
            if whole.len() as u64 > expected {
                break;
            }
        }
        match whole.len() as u64 == expected {
            true => Ok(whole),
            false => Err(failed("download", path.as_ref().as_ref())(std::io::Error::other(format!(
                "{} bytes or more came where {expected} were asked for",
                whole.len()
            )))),
        }
    }
}

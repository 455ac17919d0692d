//! From the local store to a bucket: the snapshot first, the pointer last.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::StreamExt;
use karute_engine::{Front, Passing, SnapshotId, Store, StoreError};
use object_store::path::Path as ObjectPath;
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, WriteMultipart,
};

use super::error::failed;
use super::{Bucket, BucketError, Seen};
use crate::job::{Progress, Stage};

/// From this many bytes on a snapshot is uploaded in parts. Up to here it is one request, which the bucket refuses
/// when another writer was quicker.
const IN_PARTS_FROM: u64 = 16 << 20;
/// Bytes of a part. S3 takes no less than 5 MiB.
const PART_BYTES: u64 = 8 << 20;
/// S3 takes no more than 10,000 parts.
const PARTS_LIMIT: u64 = 10_000;

/// A push that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The snapshot, now current in the bucket.
    pub id: SnapshotId,
    /// Its length.
    pub bytes: u64,
    /// Whether it was uploaded; `false` if the bucket held it already.
    pub uploaded: bool,
    /// The snapshot that was current before.
    pub replaced: Option<SnapshotId>,
}

impl Bucket {
    /// Verifies snapshot `id` of `store`, uploads it unless the bucket holds it, and makes it current there if
    /// `CURRENT` is still what was `seen`.
    ///
    /// # Errors
    /// A snapshot that the store does not hold or that is damaged; a bucket that does not answer or holds something
    /// else under that name; [`BucketError::LostRace`] if another writer moved the pointer.
    pub async fn push(
        &self,
        store: &Store,
        id: SnapshotId,
        seen: &Seen,
        progress: &dyn Progress,
    ) -> Result<Pushed, BucketError> {
        progress.begin(Stage::Verifying, None);
        let bytes = self.verified_length(store.clone(), id).await?;
        progress.finish();
        let there = self.is_there(id).await?;
        // What is current in the bucket is whole: one that lies there already is read again.
        let is_sound = there && self.is_sound(id).await?;
        if !is_sound {
            self.upload(&store.path_of(id), id, bytes, there, progress).await?;
        }
        match seen.id() == Some(id) {
            false => self.swap(seen, id).await?,
            // There is nothing to swap, and yet somebody else may have been quicker.
            true => {
                let now = self.look().await?;
                if now.id() != Some(id) {
                    return Err(self.lost(id, now.id()));
                }
            }
        }
        // Whoever prunes may have taken it for an old one until the pointer named it.
        let is_gone = is_sound && !self.is_there(id).await?;
        if is_gone {
            self.upload(&store.path_of(id), id, bytes, false, progress).await?;
        }
        Ok(Pushed { id, bytes, uploaded: !is_sound || is_gone, replaced: seen.id() })
    }

    async fn verified_length(&self, store: Store, id: SnapshotId) -> Result<u64, BucketError> {
        let path = store.path_of(id);
        let verified = blocking(path, move || -> Result<u64, StoreError> {
            let index = store.find(&id.to_string())?;
            index.verify().map_err(|source| StoreError::Open { id, source })?;
            Ok(index.file_length())
        });
        Ok(verified.await??)
    }

    /// Uploads a snapshot, over one that is damaged if there is one `there`.
    async fn upload(
        &self,
        file: &Path,
        id: SnapshotId,
        length: u64,
        there: bool,
        progress: &dyn Progress,
    ) -> Result<(), BucketError> {
        let path = self.snapshot_path(id);
        progress.begin(Stage::Uploading, Some(length));
        if length < IN_PARTS_FROM {
            let mode = if there { PutMode::Overwrite } else { PutMode::Create };
            self.upload_at_once(file, &path, length, mode).await?;
            progress.advance(length);
        } else {
            // Completing the parts replaces an object that somebody else put there meanwhile: of the same name, so
            // of the same content, but for its provenance.
            self.upload_in_parts(file, &path, length, progress).await?;
        }
        progress.finish();
        match self.is_there(id).await? {
            true => Ok(()),
            false => Err(BucketError::Missing { url: self.url.to_string(), id }),
        }
    }

    /// Whether the object of snapshot `id` is that snapshot, down to its last byte.
    pub(super) async fn is_sound(&self, id: SnapshotId) -> Result<bool, BucketError> {
        let path = self.snapshot_path(id);
        let got = self.objects.get(&path).await.map_err(self.request("read", &path))?;
        let length = got.meta.size;
        let (mut chunks, mut front, mut passing) = (got.into_stream(), Vec::new(), None::<Passing>);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(self.request("read", &path))?;
            let fed = match &mut passing {
                Some(passing) => passing.feed(&chunk),
                None => {
                    front.extend_from_slice(&chunk);
                    if (front.len() as u64) < length.min(Front::LONGEST) {
                        continue;
                    }
                    let Ok(known) = Front::of(&front, length) else { return Ok(false) };
                    if known.id != id {
                        return Ok(false);
                    }
                    passing.insert(known.into_passing()).feed(&front)
                }
            };
            if fed.is_err() {
                return Ok(false);
            }
        }
        Ok(passing.is_some_and(|passing| passing.finish().is_ok()))
    }

    /// Whether the bucket holds snapshot `id`, by the front of the object: two that differ in their provenance alone have one id
    /// and may have two lengths.
    ///
    /// # Errors
    /// [`BucketError::Foreign`] for an object that is something else.
    async fn is_there(&self, id: SnapshotId) -> Result<bool, BucketError> {
        let path = self.snapshot_path(id);
        let options =
            GetOptions { range: Some(GetRange::Bounded(0..Front::LONGEST)), ..GetOptions::default() };
        let foreign = |detail: String| BucketError::Foreign { url: self.url.to_string(), id, detail };
        let got = match self.objects.get_opts(&path, options).await {
            Ok(got) => got,
            Err(Error::NotFound { .. }) => return Ok(false),
            Err(error) => {
                // A range of an empty object is none.
                let meta = self.objects.head(&path).await;
                return match meta.is_ok_and(|meta| meta.size == 0) {
                    true => Err(foreign("it is empty".into())),
                    false => Err(self.request("look at", &path)(error)),
                };
            }
        };
        let length = got.meta.size;
        let front = got.bytes().await.map_err(self.request("look at", &path))?;
        let found = Front::of(&front, length).map_err(|error| foreign(error.to_string()))?;
        match found.id == id {
            true => Ok(true),
            false => Err(foreign(format!("it is snapshot {}", found.id))),
        }
    }

    async fn upload_at_once(
        &self,
        file: &Path,
        path: &ObjectPath,
        length: u64,
        mode: PutMode,
    ) -> Result<(), BucketError> {
        let (_, bytes) = read(open(file)?, file, length).await?;
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.objects.put_opts(path, bytes.into(), options).await {
            // Somebody else was quicker with the same snapshot.
            Ok(_) | Err(Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(self.request("upload", path)(error)),
        }
    }

    async fn upload_in_parts(
        &self,
        file: &Path,
        path: &ObjectPath,
        length: u64,
        progress: &dyn Progress,
    ) -> Result<(), BucketError> {
        let part_bytes = PART_BYTES.max(length.div_ceil(PARTS_LIMIT));
        let mut handle = open(file)?;
        let parts = self.objects.put_multipart(path).await.map_err(self.request("upload", path))?;
        let mut parts = WriteMultipart::new_with_chunk_size(parts, part_bytes as usize);
        let mut left = length;
        while left > 0 {
            let room = parts.wait_for_capacity(self.at_once).await;
            let part = match room.map_err(self.request("upload", path)) {
                Ok(()) => read(handle, file, part_bytes.min(left)).await,
                Err(error) => Err(error),
            };
            match part {
                Ok((again, part)) => {
                    handle = again;
                    left -= part.len() as u64;
                    progress.advance(part.len() as u64);
                    parts.put(part);
                }
                Err(error) => {
                    // The error that stopped the upload is the one to report; parts left behind are the bucket's to
                    // expire.
                    let _ = parts.abort().await;
                    return Err(error);
                }
            }
        }
        parts.finish().await.map(drop).map_err(self.request("upload", path))
    }
}

fn open(path: &Path) -> Result<File, BucketError> {
    File::open(path).map_err(failed("open", path))
}

/// The next `length` bytes of a file, and the file.
async fn read(mut file: File, path: &Path, length: u64) -> Result<(File, Bytes), BucketError> {
    let read = blocking(path.to_owned(), move || {
        let mut bytes = vec![0; length as usize];
        file.read_exact(&mut bytes).map(|()| (file, Bytes::from(bytes)))
    });
    read.await?.map_err(failed("read", path))
}

/// Runs work that waits for the disk away from the threads that wait for the network.
pub(super) async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BucketError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| failed("finish the work on", &path)(std::io::Error::other(error)))
}

//! The pointer of a bucket: read with its version, swapped only where it still has that version.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use karute_engine::SnapshotId;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};

use super::error::failed;
use super::{Bucket, BucketError};

/// `CURRENT` is an id and a line feed; anything longer is not ours.
const POINTER_LIMIT: u64 = 66;
/// A note is a line.
const NOTE_LIMIT: u64 = 64 << 10;
/// How often a swap is tried when the bucket calls it a conflict and yet nothing has changed.
const SWAP_ATTEMPTS: usize = 3;
/// How long a folder's pointer may be held by another process; a swap takes milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// What `CURRENT` of a bucket was at a certain moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    id: Option<SnapshotId>,
    /// `None` where there was no pointer.
    version: Option<UpdateVersion>,
}

impl Seen {
    /// The snapshot that it named; `None` before the first push.
    pub fn id(&self) -> Option<SnapshotId> {
        self.id
    }
}

impl Bucket {
    /// Reads the pointer.
    ///
    /// # Errors
    /// A bucket that does not answer, or a pointer that is no id.
    pub async fn look(&self) -> Result<Seen, BucketError> {
        let path = self.pointer_path();
        let got = match self.objects.get(&path).await {
            Ok(got) => got,
            Err(Error::NotFound { .. }) => return Ok(Seen { id: None, version: None }),
            Err(error) => return Err(self.request("read", &path)(error)),
        };
        let version = UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
        let length = got.meta.size;
        let garbage = |found| BucketError::Pointer { url: self.url.to_string(), found };
        if length > POINTER_LIMIT {
            return Err(garbage(format!("{length} bytes")));
        }
        let bytes = got.bytes().await.map_err(self.request("read", &path))?;
        let text = String::from_utf8_lossy(&bytes);
        match text.strip_suffix('\n').unwrap_or(&text).parse() {
            Ok(id) => Ok(Seen { id: Some(id), version: Some(version) }),
            Err(_) => Err(garbage(format!("{text:?}"))),
        }
    }

    /// What was noted of the source: [`Store::noted`](karute_engine::Store::noted) of the machine that last synced it, so that
    /// a machine without a disk knows what was read when. `None` where there is no note, or no sound one.
    ///
    /// # Errors
    /// A bucket that does not answer.
    pub async fn noted(&self) -> Result<Option<String>, BucketError> {
        let path = self.prefix.clone().join("NOTE");
        let got = match self.objects.get(&path).await {
            Ok(got) => got,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.request("read", &path)(error)),
        };
        if got.meta.size > NOTE_LIMIT {
            return Ok(None);
        }
        let bytes = got.bytes().await.map_err(self.request("read", &path))?;
        Ok(String::from_utf8(bytes.to_vec()).ok())
    }

    /// Keeps `note` for the next machine.
    ///
    /// # Errors
    /// A bucket that does not answer.
    pub async fn note(&self, note: String) -> Result<(), BucketError> {
        let path = self.prefix.clone().join("NOTE");
        self.objects.put(&path, note.into()).await.map(drop).map_err(self.request("write", &path))
    }

    /// Whether this account may write here: an object of no meaning is written, and removed.
    ///
    /// # Errors
    /// A bucket that does not answer.
    pub async fn can_be_written(&self) -> Result<bool, BucketError> {
        let path = self.prefix.clone().join("PROBE");
        match self.objects.put(&path, "karute preflight\n".into()).await {
            Ok(_) => {
                // Who may write but not remove leaves it there: nothing looks at it.
                let _ = self.objects.delete(&path).await;
                Ok(true)
            }
            Err(Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => Ok(false),
            Err(error) => Err(self.request("write", &path)(error)),
        }
    }

    /// Makes `id` current if the pointer is still what was seen.
    pub(super) async fn swap(&self, seen: &Seen, id: SnapshotId) -> Result<(), BucketError> {
        if let Some(folder) = self.folder.clone() {
            return self.swap_in_folder(folder, seen, id).await;
        }
        let path = self.pointer_path();
        let mode = seen.version.clone().map_or(PutMode::Create, PutMode::Update);
        let mut attempts = 1;
        loop {
            let options = PutOptions { mode: mode.clone(), ..PutOptions::default() };
            let error = match self.objects.put_opts(&path, format!("{id}\n").into(), options).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            // Whatever the error says, the pointer says what came of it: the answer to a swap that was carried out
            // may have been lost, and its repetition refused.
            let refused = matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. });
            match self.look().await {
                Ok(now) if now.id == Some(id) => return Ok(()),
                Ok(now) if now != *seen => return Err(self.lost(id, now.id)),
                Ok(_) if refused && attempts < SWAP_ATTEMPTS => attempts += 1,
                Err(unread) if refused => return Err(unread),
                _ => return Err(self.request("swap", &path)(error)),
            }
        }
    }

    pub(super) fn lost(&self, ours: SnapshotId, theirs: Option<SnapshotId>) -> BucketError {
        BucketError::LostRace { url: self.url.to_string(), ours, theirs }
    }

    /// A file system has no conditional write of a file that exists, so whoever swaps holds a lock beside the
    /// pointer while comparing and writing. The system frees it when the process ends, however it ends.
    async fn swap_in_folder(&self, folder: PathBuf, seen: &Seen, id: SnapshotId) -> Result<(), BucketError> {
        let path = folder.join("CURRENT.lock");
        let _lock = lock(&path).await?;
        let now = self.look().await?;
        if now != *seen {
            return Err(self.lost(id, now.id));
        }
        replace(&folder, id)
    }
}

async fn lock(path: &Path) -> Result<File, BucketError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let file = file.map_err(failed("open", path))?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_PATIENCE => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(TryLockError::WouldBlock) => return Err(BucketError::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed("lock", path)(source)),
        }
    }
}

/// Writes the pointer under a temporary name, makes it durable, and gives it its name in one step. A few bytes: not
/// worth a thread of its own.
fn replace(folder: &Path, id: SnapshotId) -> Result<(), BucketError> {
    let temporary = folder.join("CURRENT.tmp");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(format!("{id}\n").as_bytes())?;
        file.sync_all()
    });
    written.map_err(failed("write", &temporary))?;
    fs::rename(&temporary, folder.join("CURRENT")).map_err(failed("rename", &temporary))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
}

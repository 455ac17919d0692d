//! What a bucket holds and keeps: the current snapshot, the newest, and whatever may be on its way; and the way back to one of them.

use std::cmp::Reverse;
use std::time::Duration;

use futures_util::TryStreamExt;
use karute_engine::SnapshotId;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use time::OffsetDateTime;

use super::{Bucket, BucketError};

/// As long as this a snapshot without a pointer is taken for one whose push is under way.
const UNDER_WAY: Duration = Duration::from_secs(3_600);

/// A snapshot in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its id.
    pub id: SnapshotId,
    /// When it was uploaded, seconds since 1970.
    pub uploaded: i64,
    /// Whether the pointer names it.
    pub current: bool,
}

/// What pruning came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// What was removed, newest first.
    pub removed: Vec<SnapshotId>,
    /// How many snapshots are left.
    pub left: usize,
}

impl Bucket {
    /// Removes all snapshots but `keep`: the current one first, then the newest, by when they were uploaded. The current one
    /// stays whatever `keep` says, and so does what was uploaded within the hour before `now`: its push may be under way.
    /// Objects of other names are left alone.
    ///
    /// A bucket that keeps earlier versions of its objects keeps what is removed here for as long as it was told to.
    ///
    /// # Errors
    /// A bucket that does not answer, or that has no pointer: then nobody can say what is current, and nothing is removed.
    pub async fn prune(&self, keep: usize, now: OffsetDateTime) -> Result<Pruned, BucketError> {
        let snapshots = self.held().await?;
        if !snapshots.iter().any(|held| held.current) && self.look().await?.id().is_none() {
            return Err(BucketError::Empty { url: self.url.to_string() });
        }
        let settled = now.unix_timestamp() - UNDER_WAY.as_secs() as i64;
        let old = snapshots.iter().skip(keep).filter(|held| !held.current && held.uploaded < settled);
        let mut pruned = Pruned::default();
        for &Held { id, .. } in old {
            // Somebody may be going back to it.
            if self.look().await?.id() == Some(id) {
                continue;
            }
            let path = self.snapshot_path(id);
            match self.objects.delete(&path).await {
                // Somebody else prunes, too.
                Ok(()) | Err(Error::NotFound { .. }) => pruned.removed.push(id),
                Err(error) => return Err(self.request("remove", &path)(error)),
            }
        }
        pruned.left = snapshots.len() - pruned.removed.len();
        Ok(pruned)
    }

    /// The snapshots that the bucket holds: the current one first, then the newest, by when they were uploaded.
    ///
    /// # Errors
    /// A bucket that does not answer.
    pub async fn held(&self) -> Result<Vec<Held>, BucketError> {
        let current = self.look().await?.id();
        let folder = self.prefix.clone().join("snapshots");
        let listed: Vec<_> =
            self.objects.list(Some(&folder)).try_collect().await.map_err(self.request("list", &folder))?;
        let id_of = |path: &object_store::path::Path| -> Option<SnapshotId> {
            let id = path.filename()?.strip_suffix(".karute")?.parse().ok()?;
            (*path == self.snapshot_path(id)).then_some(id)
        };
        let held = |object: &object_store::ObjectMeta| {
            let id = id_of(&object.location)?;
            Some(Held { id, uploaded: object.last_modified.timestamp(), current: current == Some(id) })
        };
        let mut snapshots: Vec<Held> = listed.iter().filter_map(held).collect();
        snapshots.sort_by_key(|held| (!held.current, Reverse(held.uploaded), held.id));
        Ok(snapshots)
    }

    /// Makes a snapshot current that the bucket holds, named by the beginning of its id; without one, the newest of those that were
    /// uploaded before the current one. It
    /// is read whole before. No store is needed, and whatever is current now may be damaged or gone. Returns its id.
    ///
    /// # Errors
    /// A bucket that does not answer; [`BucketError::NotHeld`] where it has no such snapshot, or several; a snapshot that is
    /// not sound; [`BucketError::LostRace`] if another writer moved the pointer.
    pub async fn go_back(&self, wanted: Option<&str>) -> Result<SnapshotId, BucketError> {
        let seen = self.look().await?;
        let held = self.held().await?;
        let current = held.iter().find(|held| held.current);
        let is_meant = |held: &&Held| match wanted {
            Some(beginning) => held.id.to_string().starts_with(beginning),
            None => !held.current && current.is_some_and(|current| held.uploaded <= current.uploaded),
        };
        let mut meant = held.iter().filter(is_meant);
        let id = match (meant.next(), wanted.and_then(|_| meant.next())) {
            (Some(held), None) => held.id,
            (_, other) => {
                let found = if other.is_some() { "several snapshots" } else { "no snapshot" };
                let wanted =
                    wanted.map_or_else(|| "from before the current one".to_owned(), |id| format!("{id:?}"));
                return Err(BucketError::NotHeld { url: self.url.to_string(), found, wanted });
            }
        };
        if !self.is_sound(id).await? {
            let detail = "its bytes are not those of its id".to_owned();
            return Err(BucketError::Foreign { url: self.url.to_string(), id, detail });
        }
        self.swap(&seen, id).await?;
        Ok(id)
    }
}

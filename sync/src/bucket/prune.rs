//! What a bucket keeps: the current snapshot, the newest, and whatever may be on its way.

use std::cmp::Reverse;
use std::time::Duration;

use futures_util::TryStreamExt;
use karute_engine::SnapshotId;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use time::OffsetDateTime;

use super::{Bucket, BucketError};

/// As long as this a snapshot without a pointer is taken for one whose push is under way.
const UNDER_WAY: Duration = Duration::from_secs(3_600);

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
        let current =
            self.look().await?.id().ok_or_else(|| BucketError::Empty { url: self.url.to_string() })?;
        let folder = self.prefix.clone().join("snapshots");
        let listed: Vec<_> =
            self.objects.list(Some(&folder)).try_collect().await.map_err(self.request("list", &folder))?;
        let id_of = |path: &object_store::path::Path| -> Option<SnapshotId> {
            let id = path.filename()?.strip_suffix(".karute")?.parse().ok()?;
            (*path == self.snapshot_path(id)).then_some(id)
        };
        let mut snapshots: Vec<_> = listed
            .iter()
            .filter_map(|object| Some((id_of(&object.location)?, object.last_modified.timestamp())))
            .collect();
        snapshots.sort_by_key(|&(id, uploaded)| (id != current, Reverse(uploaded), id));
        let settled = now.unix_timestamp() - UNDER_WAY.as_secs() as i64;
        let old = snapshots.iter().skip(keep).filter(|(id, uploaded)| *id != current && *uploaded < settled);
        let mut pruned = Pruned::default();
        for &(id, _) in old {
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
}

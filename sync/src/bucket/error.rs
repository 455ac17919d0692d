//! What can go wrong between a store and a bucket, and the words for it, from which every secret has been kept out.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use karute_engine::{SnapshotId, StoreError};
use object_store::client::{HttpError, HttpErrorKind};

use crate::forget::ForgetError;

/// Longest text of a foreign error that is passed on.
const REASON_LIMIT: usize = 200;

/// A push or a pull did not come to its end. The local store serves what it served before, and `CURRENT` of the
/// bucket names a snapshot that is there whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BucketError {
    /// The client of the bucket cannot be set up.
    #[error("cannot open the bucket {url}: {detail}")]
    Setup {
        /// The bucket.
        url: String,
        /// What is wrong and what to look at.
        detail: String,
    },
    /// The bucket did not answer, or not with what was asked for.
    #[error("cannot {action} {object}: {reason}")]
    Request {
        /// What was tried, as a verb.
        action: &'static str,
        /// The object's URL.
        object: String,
        /// Why not.
        reason: String,
    },
    /// `CURRENT` of the bucket is not the id of a snapshot.
    #[error(
        "CURRENT of {url} is not the id of a snapshot but {found}: remove that object, then run `karute snapshot push`"
    )]
    Pointer {
        /// The bucket.
        url: String,
        /// How it begins.
        found: String,
    },
    /// Nothing was ever pushed.
    #[error(
        "{url} holds no snapshot yet (or there is no such bucket): run `karute snapshot push` where there is one"
    )]
    Empty {
        /// The bucket.
        url: String,
    },
    /// `CURRENT` names a snapshot that is not there.
    #[error(
        "CURRENT of {url} names snapshot {id}, which is not there: push it again from where it was built"
    )]
    Missing {
        /// The bucket.
        url: String,
        /// The snapshot.
        id: SnapshotId,
    },
    /// There is nothing to go back to, or more than one thing.
    #[error("{url} holds {found} {wanted}: `karute snapshot list --bucket` shows what it holds")]
    NotHeld {
        /// The bucket.
        url: String,
        /// `no snapshot` or `several snapshots`.
        found: &'static str,
        /// The beginning of the id that was asked for.
        wanted: String,
    },
    /// The bucket has an object of this name that is something else.
    #[error(
        "the object of snapshot {id} in {url} is not that snapshot ({detail}): remove that object, then push again"
    )]
    Foreign {
        /// The bucket.
        url: String,
        /// The snapshot.
        id: SnapshotId,
        /// What it is.
        detail: String,
    },
    /// Another writer moved `CURRENT` first.
    #[error(
        "lost the race for CURRENT of {url}: another writer made {} current while {ours} was being pushed. \
         Nothing was overwritten. Look at the other snapshot (`karute snapshot pull`), then push again if yours is to win",
        theirs.map_or_else(|| "nothing".to_owned(), |id| format!("snapshot {id}"))
    )]
    LostRace {
        /// The bucket.
        url: String,
        /// The snapshot that was to become current.
        ours: SnapshotId,
        /// The snapshot that is current instead.
        theirs: Option<SnapshotId>,
    },
    /// The object was replaced while it was being downloaded.
    #[error("snapshot {id} in {url} was replaced during the download: run `karute snapshot pull` again")]
    Changed {
        /// The bucket.
        url: String,
        /// The snapshot.
        id: SnapshotId,
    },
    /// What was downloaded is not the snapshot. It has been thrown away.
    #[error(
        "what {url} holds as snapshot {id} is not sound and was thrown away: {source}. \
         Pull again; if that does not help, remove the object and push the snapshot again from where it was built"
    )]
    Damaged {
        /// The bucket.
        url: String,
        /// The snapshot.
        id: SnapshotId,
        /// What the verification found.
        source: Box<StoreError>,
    },
    /// Another process holds the lock of a download or of a folder's pointer.
    #[error("another process holds {}: wait for it to end, then try again", path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// The local store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whoever is forgotten here is in what came, and cannot be taken out of it.
    #[error(transparent)]
    Forget(Box<ForgetError>),
    /// The local file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl From<ForgetError> for BucketError {
    fn from(error: ForgetError) -> Self {
        match error {
            ForgetError::Store(error) => Self::Store(error),
            error => Self::Forget(Box::new(error)),
        }
    }
}

/// Names what the file system refused, and where.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BucketError {
    let path = path.to_owned();
    move |source| BucketError::Io { action, path, source }
}

/// Says why a request failed. The bodies of answers are left out: that of a refused signature repeats the headers of
/// the request, the token among them.
pub(super) fn reason(error: &object_store::Error) -> String {
    let chain = || std::iter::successors(Some(error as &(dyn Error + 'static)), |&error| error.source());
    let innermost = chain().last().map(ToString::to_string).unwrap_or_default();
    let text = error.to_string();
    if let Some(http) = chain().find_map(|error| error.downcast_ref::<HttpError>()) {
        let what = match http.kind() {
            HttpErrorKind::Connect => "no connection",
            HttpErrorKind::Timeout => "no answer in time",
            HttpErrorKind::Interrupted => "the connection broke",
            HttpErrorKind::Decode => return "the answer cannot be understood".into(),
            _ => "the request failed",
        };
        return limited(&format!("{what} ({innermost})"));
    }
    if let Some((_, status)) = text.split_once("status code: ") {
        let status = status.split(':').next().unwrap_or_default().trim();
        let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
        let code = code.map(|(code, _)| code).filter(|code| code.chars().all(|c| c.is_ascii_alphanumeric()));
        let hint = match error {
            object_store::Error::PermissionDenied { .. } => "; may these credentials do this?",
            object_store::Error::Unauthenticated { .. } => "; are there credentials for it?",
            _ => "",
        };
        return limited(&format!(
            "the bucket answered {status}{}{hint}",
            code.map_or(String::new(), |c| format!(" ({c})"))
        ));
    }
    limited(&innermost)
}

fn limited(text: &str) -> String {
    let mut line: String =
        text.chars().take(REASON_LIMIT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(REASON_LIMIT).is_some() {
        line.push('…');
    }
    line
}

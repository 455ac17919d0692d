//! The same store in a bucket: immutable snapshots, and a pointer that is swapped by compare-and-set.
//!
//! ```text
//! <url>/CURRENT                  the id of the snapshot in force, one line
//! <url>/snapshots/<id>.karute    immutable; its name says what it must hold
//! <url>/NOTE                     what the last sync noted of the source, one line
//! ```
//!
//! A [push](Bucket::push) uploads the snapshot under its own name and only then swaps the pointer, expecting the very
//! version that was [seen](Bucket::look) at the beginning: of two writers that race, exactly one wins, and the other
//! is told so. A [pull](Bucket::pull) downloads in parallel ranges, goes on where an earlier one was cut off, and
//! verifies every byte before the local store takes the file over.
//!
//! Credentials come from the environment, the way `object_store` reads them (`GOOGLE_APPLICATION_CREDENTIALS`,
//! `AWS_ACCESS_KEY_ID`, a machine's own account, ...). They reach no log, no error and no `Debug` output.

mod error;
pub(crate) mod incoming;
mod place;
mod pointer;
mod prune;
mod pull;
mod push;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use karute_engine::SnapshotId;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::client::ClientConfigKey;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{BackoffConfig, ObjectStore, RetryConfig, StaticCredentialProvider};

pub use error::BucketError;
pub use place::{BucketUrl, Endpoint, UrlFault};
pub use pointer::Seen;
pub use prune::{Held, Pruned};
pub use pull::Pulled;
pub use push::Pushed;

use place::Place;

/// Bytes that one request of a download asks for, unless said otherwise.
const RANGE_BYTES: u64 = 8 << 20;
/// Requests of a transfer that are under way at the same time, unless said otherwise.
const AT_ONCE: usize = 4;
/// What a client of `object_store` may take its time for. The whole of a request is bounded widely, as a range may
/// come over a slow link; silence on the line is not.
const PATIENCE: [(ClientConfigKey, &str); 3] = [
    (ClientConfigKey::ConnectTimeout, "5 seconds"),
    (ClientConfigKey::ReadTimeout, "20 seconds"),
    (ClientConfigKey::Timeout, "10 minutes"),
];

/// A bucket of snapshots.
#[derive(Clone)]
pub struct Bucket {
    url: BucketUrl,
    objects: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    /// Set for `file://`, where the pointer is swapped under a lock.
    folder: Option<PathBuf>,
    range_bytes: u64,
    at_once: usize,
}

impl fmt::Debug for Bucket {
    /// The client is left out: it holds the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Bucket {
    /// Sets up the client of a bucket. Nothing is asked of it yet; a folder must be there. With an `endpoint`,
    /// requests go there; to a plain `http://` one Google's credentials are not sent.
    ///
    /// # Errors
    /// Credentials that cannot be used, or a folder that is not there.
    pub fn open(url: &BucketUrl, endpoint: Option<&Endpoint>) -> Result<Self, BucketError> {
        let (objects, prefix, folder): (Arc<dyn ObjectStore>, &str, Option<PathBuf>) = match &url.0 {
            Place::Google { bucket, prefix } => (Arc::new(google(url, bucket, endpoint)?), prefix, None),
            Place::Amazon { bucket, prefix } => (Arc::new(amazon(url, bucket, endpoint)?), prefix, None),
            Place::Folder(path) => {
                let local = LocalFileSystem::new_with_prefix(path).map_err(|error| BucketError::Setup {
                    url: url.to_string(),
                    detail: format!("{}. Create the folder, or correct KARUTE_BUCKET", error::reason(&error)),
                })?;
                (Arc::new(local.with_fsync(true)), "", Some(path.clone()))
            }
        };
        let prefix = ObjectPath::parse(prefix)
            .map_err(|_| BucketError::Setup { url: url.to_string(), detail: UrlFault::Prefix.to_string() })?;
        Ok(Self { url: url.clone(), objects, prefix, folder, range_bytes: RANGE_BYTES, at_once: AT_ONCE })
    }

    /// Downloads in ranges of `bytes`, `at_once` of them at a time; at least one byte and one range.
    #[must_use]
    pub fn in_ranges(self, bytes: u64, at_once: usize) -> Self {
        Self { range_bytes: bytes.max(1), at_once: at_once.max(1), ..self }
    }

    /// Where the bucket is.
    pub fn url(&self) -> &BucketUrl {
        &self.url
    }

    fn pointer_path(&self) -> ObjectPath {
        self.prefix.clone().join("CURRENT")
    }

    fn snapshot_path(&self, id: SnapshotId) -> ObjectPath {
        self.prefix.clone().join("snapshots").join(format!("{id}.karute"))
    }

    fn request(
        &self,
        action: &'static str,
        path: &ObjectPath,
    ) -> impl FnOnce(object_store::Error) -> BucketError {
        let name = path.prefix_match(&self.prefix).map_or_else(
            || path.to_string(),
            |parts| parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"),
        );
        let object = format!("{}/{name}", self.url);
        move |error| BucketError::Request { action, object, reason: error::reason(&error) }
    }
}

/// A few attempts with growing, jittered pauses, and an end.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: 4,
        retry_timeout: Duration::from_secs(60),
    }
}

/// The builder's own error may quote the credentials that it could not read.
fn unusable(url: &BucketUrl, variables: &'static str) -> impl FnOnce(object_store::Error) -> BucketError {
    let url = url.to_string();
    move |_| BucketError::Setup {
        url,
        detail: format!(
            "the credentials or settings of the environment cannot be used; check {variables}, and that this \
             machine has CA certificates"
        ),
    }
}

fn google(
    url: &BucketUrl,
    bucket: &str,
    endpoint: Option<&Endpoint>,
) -> Result<impl ObjectStore + use<>, BucketError> {
    crate::tls::choose();
    let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket).with_retry(retries());
    for (key, value) in PATIENCE {
        builder = builder.with_config(GoogleConfigKey::Client(key), value);
    }
    let plain = endpoint.is_some_and(Endpoint::is_plain);
    builder = builder.with_config(GoogleConfigKey::Client(ClientConfigKey::AllowHttp), plain.to_string());
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(endpoint.as_str());
    }
    if plain {
        let nobody = GcpCredential { bearer: String::new() };
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(nobody)));
    }
    builder.build().map_err(unusable(url, "GOOGLE_APPLICATION_CREDENTIALS and the variables GOOGLE_*"))
}

fn amazon(
    url: &BucketUrl,
    bucket: &str,
    endpoint: Option<&Endpoint>,
) -> Result<impl ObjectStore + use<>, BucketError> {
    crate::tls::choose();
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_retry(retries())
        .with_conditional_put(S3ConditionalPut::ETagMatch);
    for (key, value) in PATIENCE {
        builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.as_str());
    }
    let plain = endpoint.is_some_and(Endpoint::is_plain);
    builder.with_allow_http(plain).build().map_err(unusable(url, "the variables AWS_*"))
}

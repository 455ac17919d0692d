//! Access tokens: by service-account key, by user credentials, by the metadata server, whichever `gcp_auth` finds.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gcp_auth::{ConfigDefaultCredentials, CustomServiceAccount, Error, GCloudAuthorizedUser, TokenProvider};
use tokio::sync::Mutex;

use super::metadata::MetadataServer;
use super::{GoogleError, Host};

/// How long a token may take: a metadata server that is not there must not hold up a run.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where tokens come from. Nothing is asked before the first token is needed.
pub struct Credentials {
    origin: Origin,
    // One lock for finding the provider and for refreshing: `gcp_auth` looks at its cache before it locks, so that
    // several callers would each fetch a token of their own.
    provider: Mutex<Option<Arc<dyn TokenProvider>>>,
}

enum Origin {
    /// What is found; the metadata server may be at another place.
    Found(Host),
    /// A key file, perhaps on behalf of a user of the domain.
    Key { file: PathBuf, subject: Option<String> },
    /// No token at all.
    Nobody,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    fn new(origin: Origin) -> Self {
        Self { origin, provider: Mutex::new(None) }
    }

    /// `GOOGLE_APPLICATION_CREDENTIALS`, else the user's application-default credentials, else the metadata server,
    /// else `gcloud`.
    pub fn found(host: Host) -> Self {
        Self::new(Origin::Found(host))
    }

    /// The service-account key in `file`, acting for the user `subject` where one is named.
    pub fn key(file: impl Into<PathBuf>, subject: Option<String>) -> Self {
        Self::new(Origin::Key { file: file.into(), subject })
    }

    /// Calls go out without a token, as an emulator may take them.
    pub fn nobody() -> Self {
        Self::new(Origin::Nobody)
    }

    /// A token for `scopes`, `None` for [`Credentials::nobody`].
    ///
    /// # Errors
    /// No credentials, or nobody who takes them.
    pub async fn token(&self, scopes: &[&str]) -> Result<Option<Arc<gcp_auth::Token>>, GoogleError> {
        if matches!(self.origin, Origin::Nobody) {
            return Ok(None);
        }
        let fetched = tokio::time::timeout(PATIENCE, async {
            let mut provider = self.provider.lock().await;
            let provider = match &mut *provider {
                Some(provider) => provider,
                none => none.insert(self.origin.provider().await?),
            };
            provider.token(scopes).await
        });
        match fetched.await {
            Ok(Ok(token)) => Ok(Some(token)),
            Ok(Err(error)) => Err(GoogleError::Credentials { detail: described(&error) }),
            Err(_) => {
                Err(GoogleError::Credentials { detail: format!("no answer within {} s", PATIENCE.as_secs()) })
            }
        }
    }
}

impl Origin {
    async fn provider(&self) -> Result<Arc<dyn TokenProvider>, Error> {
        match self {
            Self::Key { file, subject } => {
                let account = CustomServiceAccount::from_file(file)?;
                Ok(match subject {
                    Some(user) => Arc::new(account.with_subject(user.clone())),
                    None => Arc::new(account),
                })
            }
            Self::Found(host) => found(host).await,
            Self::Nobody => Err(Error::Str("no credentials are to be used")),
        }
    }
}

/// What `gcp_auth` would find, in its order, but for the metadata server, which it asks without the scopes.
async fn found(host: &Host) -> Result<Arc<dyn TokenProvider>, Error> {
    if let Some(account) = CustomServiceAccount::from_env()? {
        return Ok(Arc::new(account));
    }
    let user = match ConfigDefaultCredentials::new().await {
        Ok(user) => return Ok(Arc::new(user)),
        Err(error) => Box::new(error),
    };
    let machine = match MetadataServer::find(host).await {
        Ok(machine) => return Ok(Arc::new(machine)),
        Err(error) => Box::new(error),
    };
    match GCloudAuthorizedUser::new().await {
        Ok(gcloud) => Ok(Arc::new(gcloud)),
        Err(error) => Err(Error::NoAuthMethod(Box::new(error), machine, user)),
    }
}

/// An error with its causes, without what a file of keys or an answer with a token holds: serde quotes the text that it did
/// not expect, and that may be the key.
fn described(error: &Error) -> String {
    match error {
        Error::Json(what, error) => {
            return format!(
                "{what}: it is not the JSON object of a key, at line {} column {}",
                error.line(),
                error.column()
            );
        }
        Error::NoAuthMethod(..) => return error.to_string(),
        _ => {}
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

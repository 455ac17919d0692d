//! What can go wrong between karute and Google, with what to do about it.

use std::time::Duration;

use serde::Deserialize;

/// A call to Google failed for good. Holds no cell text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GoogleError {
    /// No credentials, or they were refused.
    #[error(
        "Google's credentials cannot be used: {detail}. Set GOOGLE_APPLICATION_CREDENTIALS to a service-account key, \
         or run `gcloud auth application-default login`, or run where a metadata server is"
    )]
    Credentials {
        /// What the credentials library says.
        detail: String,
    },
    /// 401: the token is not taken.
    #[error("{service} does not take the access token: check the service account and this machine's clock")]
    Unauthorised {
        /// Which of Google's services.
        service: &'static str,
    },
    /// 403: the account may not see the file.
    #[error(
        "{service} refuses access to {what}: share it with the account that karute runs as (its e-mail address; an IAM \
         role alone is not enough). Google says: {message}"
    )]
    Forbidden {
        /// Which of Google's services.
        service: &'static str,
        /// What was asked for.
        what: String,
        /// Google's words.
        message: String,
    },
    /// 403: the token lacks a scope.
    #[error(
        "the access token does not cover {service}: it needs the scopes {scopes}. On a VM, widen the instance's access \
         scopes; with user credentials, log in again with --scopes"
    )]
    Scope {
        /// Which of Google's services.
        service: &'static str,
        /// The scopes that the call needs.
        scopes: String,
    },
    /// 403: the API is off in the project.
    #[error(
        "{service} is not enabled in the project of these credentials: run `gcloud services enable {api}`"
    )]
    Disabled {
        /// Which of Google's services.
        service: &'static str,
        /// The API's name.
        api: &'static str,
    },
    /// 403: a service account has no space of its own in Drive.
    #[error(
        "Drive has no space for the copy (storageQuotaExceeded): a service account owns no storage. Copy into a folder \
         of a shared drive (KARUTE_BACKUP_FOLDER), or as a user by delegation (KARUTE_BACKUP_USER)"
    )]
    NoSpace,
    /// 404: there is no such thing, or it is not shared.
    #[error(
        "{service} knows no {what}: check the id, and that it is shared with the account that karute runs as"
    )]
    NotFound {
        /// Which of Google's services.
        service: &'static str,
        /// What was asked for.
        what: String,
    },
    /// 400: the request is not understood.
    #[error("{service} refuses the request for {what}: {message}. Check names and ids in the settings")]
    Refused {
        /// Which of Google's services.
        service: &'static str,
        /// What was asked for.
        what: String,
        /// Google's words.
        message: String,
    },
    /// 429 or 5xx, or a broken connection, however often it was tried.
    #[error(
        "{service} did not answer the request for {what} in {attempts} attempts: {last}. Try again later"
    )]
    Unavailable {
        /// Which of Google's services.
        service: &'static str,
        /// What was asked for.
        what: String,
        /// How often it was tried.
        attempts: u32,
        /// How the last attempt ended.
        last: String,
        /// Whether the service itself said no each time, so that nothing was done and nothing is billed.
        refused: bool,
        /// How long it wants to be left alone, if it said so.
        after: Option<Duration>,
    },
    /// The run may make no more calls.
    #[error(
        "{limit} calls were made, as many as a run may make: see why it needs so many, or raise KARUTE_SYNC_MAX_CALLS"
    )]
    TooManyCalls {
        /// Most calls.
        limit: u64,
    },
    /// The run may take no more time.
    #[error(
        "it did not end within {seconds} s: try again when Google answers sooner, or raise KARUTE_SYNC_DEADLINE"
    )]
    Deadline {
        /// Longest run.
        seconds: u64,
    },
    /// An answer larger than karute holds.
    #[error(
        "{service} answered with more than {limit} bytes to the request for {what}: one row alone is too long for karute"
    )]
    TooLarge {
        /// Which of Google's services.
        service: &'static str,
        /// What was asked for.
        what: String,
        /// Most bytes.
        limit: usize,
    },
    /// An answer that is not what the API's documents say.
    #[error(
        "{service} gave an answer that karute cannot read to the request for {what}: {detail}. Is a proxy between?"
    )]
    Malformed {
        /// Which of Google's services.
        service: &'static str,
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up: {detail}. Check this machine's certificates")]
    Setup {
        /// Why.
        detail: String,
    },
}

impl GoogleError {
    /// Whether the service itself said no, so that nothing was done and nothing is billed.
    pub fn refused(&self) -> bool {
        match self {
            Self::Unauthorised { .. }
            | Self::Disabled { .. }
            | Self::Scope { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::Refused { .. }
            // Nothing was even sent.
            | Self::TooManyCalls { .. }
            | Self::Credentials { .. } => true,
            Self::Unavailable { refused, .. } => *refused,
            _ => false,
        }
    }
}

/// Where an answer stops being what it should be. serde quotes what it did not expect, and that may be a record or a key.
pub(crate) fn place(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "something else is expected",
        serde_json::error::Category::Eof => "it breaks off",
        _ => "it is no JSON",
    };
    format!("{what} at line {} column {}", error.line(), error.column())
}

/// Google's error body.
#[derive(Deserialize)]
struct Body {
    error: Inner,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Inner {
    message: String,
    status: String,
    details: Vec<Detail>,
    errors: Vec<Detail>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Detail {
    reason: String,
}

/// What Google says about a failed call.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// For people; cut to a line.
    pub(crate) message: String,
    /// `PERMISSION_DENIED`, ...
    pub(crate) status: String,
    /// Reasons for programs: `SERVICE_DISABLED`, `storageQuotaExceeded`, ...
    reasons: Vec<String>,
}

impl Said {
    /// Reads an error body; what is none is passed over, for it may hold anything.
    pub(crate) fn read(body: &[u8]) -> Self {
        /// Enough for every message that Google writes by hand.
        const LONGEST: usize = 300;
        let Ok(Body { error }) = serde_json::from_slice::<Body>(body) else { return Self::default() };
        let message: String =
            error.message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
        let details = error.details.into_iter().chain(error.errors);
        Self { message, status: error.status, reasons: details.map(|detail| detail.reason).collect() }
    }

    pub(crate) fn has(&self, reason: &str) -> bool {
        self.reasons.iter().any(|found| found == reason)
    }
}

//! Google's REST APIs as far as karute speaks them: one careful [client](client::Client), and the few calls of
//! [Drive](drive) and [Sheets](sheets) on top of it.
//!
//! Facts about the APIs come from Google's discovery documents (`sheets.v4`, `drive.v3`, `aiplatform.v1`).

pub mod auth;
pub mod client;
pub mod drive;
pub mod error;
mod metadata;
pub mod monitoring;
mod plain;
pub mod rank;
pub mod sheets;
pub mod trace;

use std::str::FromStr;

pub use auth::Credentials;
pub use client::{Client, Limits, Usage};
pub use error::GoogleError;
pub use plain::Plain;

/// Least scopes of each thing that karute does.
pub mod scope {
    /// Reading a spreadsheet and noticing its changes: a sync.
    pub const READ: &[&str] = &[
        "https://www.googleapis.com/auth/spreadsheets.readonly",
        "https://www.googleapis.com/auth/drive.metadata.readonly",
    ];
    /// Writing cells: `--write-back` and `init-sheet`.
    pub const WRITE: &[&str] = &[
        "https://www.googleapis.com/auth/spreadsheets",
        "https://www.googleapis.com/auth/drive.metadata.readonly",
    ];
    /// Copying the spreadsheet and removing old copies: `backup`.
    pub const BACKUP: &[&str] =
        &["https://www.googleapis.com/auth/spreadsheets.readonly", "https://www.googleapis.com/auth/drive"];
    /// Looking which alerts there are: `preflight`.
    pub const MONITORING: &[&str] = &["https://www.googleapis.com/auth/monitoring.read"];
    /// Calling models.
    pub const CLOUD: &[&str] = &["https://www.googleapis.com/auth/cloud-platform"];
}

/// Where Google's services are: at Google, or all at one other address, such as an emulator's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host(Option<String>);

impl Host {
    /// The address of a service, without a slash at its end.
    pub fn of(&self, google: &str) -> String {
        self.0.clone().unwrap_or_else(|| google.to_owned())
    }

    /// The other address, where there is one.
    pub fn other(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// The host of Vertex AI in a location: one of its own, one of several countries, or the global one.
pub fn vertex_host(host: &Host, location: &str) -> String {
    host.of(&match location {
        "global" => "https://aiplatform.googleapis.com".to_owned(),
        "us" | "eu" => format!("https://aiplatform.{location}.rep.googleapis.com"),
        _ => format!("https://{location}-aiplatform.googleapis.com"),
    })
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().trim_end_matches('/');
        if text.is_empty() {
            return Ok(Self(None));
        }
        match reqwest::Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                Ok(Self(Some(text.into())))
            }
            _ => Err("must be an address such as http://127.0.0.1:8085".into()),
        }
    }
}

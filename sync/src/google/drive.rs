//! Drive v3: whether a file changed.

use reqwest::{Method, Url};
use serde::Deserialize;

use super::client::{Call, Client, Effect};
use super::error::GoogleError;

pub(crate) const GOOGLE: &str = "https://www.googleapis.com";
pub(crate) const SERVICE: &str = "Google Drive";
pub(crate) const API: &str = "drive.googleapis.com";

/// What Drive says of a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct File {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Grows with every change of the file, of its sharing too.
    pub version: String,
    /// Whether it lies in the bin.
    #[serde(default)]
    pub trashed: bool,
}

/// Asks for name and version of the file `id`.
///
/// # Errors
/// As [`Client::call`]; a file in the bin.
pub async fn file(client: &Client, id: &str) -> Result<File, GoogleError> {
    let mut url = address(client, &["files", id])?;
    url.query_pairs_mut()
        .append_pair("fields", "name,version,trashed")
        .append_pair("supportsAllDrives", "true");
    let what = format!("spreadsheet {id}");
    let call = Call {
        service: SERVICE,
        api: API,
        what: what.clone(),
        method: Method::GET,
        url,
        body: None,
        effect: Effect::Read,
    };
    let body = client.call(&call).await?;
    let file: File = serde_json::from_slice(&body).map_err(|error| GoogleError::Malformed {
        service: SERVICE,
        what: what.clone(),
        detail: error.to_string(),
    })?;
    match file.trashed {
        true => Err(GoogleError::NotFound { service: SERVICE, what: format!("{what} outside the bin") }),
        false => Ok(file),
    }
}

/// An address under `drive/v3`, its parts encoded.
pub(crate) fn address(client: &Client, parts: &[&str]) -> Result<Url, GoogleError> {
    built(&client.host().of(GOOGLE), &[&["drive", "v3"], parts].concat())
}

/// `base` followed by the encoded `parts`.
pub(crate) fn built(base: &str, parts: &[&str]) -> Result<Url, GoogleError> {
    let bad = || GoogleError::Setup { detail: format!("{base} is no address") };
    let mut url = Url::parse(base).map_err(|_| bad())?;
    url.path_segments_mut().map_err(|()| bad())?.pop_if_empty().extend(parts);
    Ok(url)
}

//! Drive v3: whether a file changed.

use reqwest::{Method, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::client::{Call, Client, Effect};
use super::error::{GoogleError, place};

pub(crate) const GOOGLE: &str = "https://www.googleapis.com";
pub(crate) const SERVICE: &str = "Google Drive";
pub(crate) const API: &str = "drive.googleapis.com";

/// The property of a copy that says what it is a copy of.
const COPY_OF: &str = "karuteCopyOf";

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

/// A copy of a spreadsheet in Drive.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Copied {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// When it was made, RFC 3339.
    #[serde(default)]
    pub created_time: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    #[serde(default)]
    files: Vec<Copied>,
    #[serde(default)]
    next_page_token: Option<String>,
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
    let file: File = ask(client, Method::GET, url, None, what.clone()).await?;
    match file.trashed {
        true => Err(GoogleError::NotFound { service: SERVICE, what: format!("{what} outside the bin") }),
        false => Ok(file),
    }
}

/// Copies the file `id` under another name, into `folder` where one is given.
///
/// # Errors
/// As [`Client::call`]; no space of its own.
pub async fn copy(
    client: &Client,
    id: &str,
    name: &str,
    folder: Option<&str>,
) -> Result<Copied, GoogleError> {
    let mut url = address(client, &["files", id, "copy"])?;
    url.query_pairs_mut()
        .append_pair("fields", "id,name,createdTime")
        .append_pair("supportsAllDrives", "true");
    let mut body = json!({"name": name, "appProperties": {COPY_OF: id}});
    if let Some(folder) = folder {
        body["parents"] = json!([folder]);
    }
    ask(client, Method::POST, url, Some(&body), format!("a copy of spreadsheet {id}")).await
}

/// Copies that karute made of the file `id`, outside the bin, in `folder` where one is given; newest first. Whatever else
/// bears such a name is not among them.
///
/// # Errors
/// As [`Client::call`].
pub async fn copies(client: &Client, id: &str, folder: Option<&str>) -> Result<Vec<Copied>, GoogleError> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let mut query =
        format!("appProperties has {{ key='{COPY_OF}' and value='{}' }} and trashed = false", quoted(id));
    if let Some(folder) = folder {
        query += &format!(" and '{}' in parents", quoted(folder));
    }
    let (mut files, mut page): (Vec<Copied>, Option<String>) = (Vec::new(), None);
    loop {
        let mut url = address(client, &["files"])?;
        url.query_pairs_mut()
            .append_pair("q", &query)
            .append_pair("fields", "nextPageToken,files(id,name,createdTime)")
            .append_pair("supportsAllDrives", "true")
            .append_pair("includeItemsFromAllDrives", "true");
        if let Some(page) = &page {
            url.query_pairs_mut().append_pair("pageToken", page);
        }
        let listing: Listing = ask(client, Method::GET, url, None, "earlier copies".into()).await?;
        files.extend(listing.files);
        page = listing.next_page_token;
        if page.is_none() {
            files.sort_by(|a, b| b.created_time.cmp(&a.created_time));
            return Ok(files);
        }
    }
}

/// Puts the file `id` into the bin, from where people can take it back for 30 days.
///
/// # Errors
/// As [`Client::call`].
pub async fn bin(client: &Client, id: &str) -> Result<(), GoogleError> {
    let mut url = address(client, &["files", id])?;
    url.query_pairs_mut().append_pair("fields", "id").append_pair("supportsAllDrives", "true");
    let body = json!({"trashed": true});
    let _: Value = ask(client, Method::PATCH, url, Some(&body), format!("file {id} in the bin")).await?;
    Ok(())
}

async fn ask<T: DeserializeOwned>(
    client: &Client,
    method: Method,
    url: Url,
    body: Option<&Value>,
    what: String,
) -> Result<T, GoogleError> {
    let effect = if method == Method::GET { Effect::Read } else { Effect::Write };
    let call = Call { service: SERVICE, api: API, what: what.clone(), method, url, body, effect };
    let answer = client.call(&call).await?;
    serde_json::from_slice(&answer).map_err(|error| GoogleError::Malformed {
        service: SERVICE,
        what,
        detail: place(&error),
    })
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

//! What a preflight asks of Google beside the spreadsheet: what time it is there, and which alerts a project has.

use std::time::Duration;

use reqwest::header::DATE;
use reqwest::{Method, Url};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::client::{Call, Client, Effect};
use super::drive::{GOOGLE as DRIVE, built};
use super::error::{GoogleError, place};
use super::{Host, drive};

const GOOGLE: &str = "https://monitoring.googleapis.com";
const SERVICE: &str = "Cloud Monitoring";
const API: &str = "monitoring.googleapis.com";
/// How long the clock may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far this machine's clock is ahead of Google's, to the second. Nothing is told but that somebody asks.
///
/// # Errors
/// No answer, or one that says no time.
pub async fn ahead(host: &Host) -> Result<time::Duration, GoogleError> {
    let what = || "the time".to_owned();
    let unavailable = |last: String| GoogleError::Unavailable {
        service: drive::SERVICE,
        what: what(),
        attempts: 1,
        last,
        refused: false,
        after: None,
    };
    crate::tls::choose();
    let http = reqwest::Client::builder()
        .timeout(PATIENCE)
        .build()
        .map_err(|error| GoogleError::Setup { detail: error.to_string() })?;
    let answer = http
        .get(host.of(DRIVE))
        .send()
        .await
        .map_err(|error| unavailable(error.without_url().to_string()))?;
    let there = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    let there = there.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok());
    let there = there.ok_or_else(|| unavailable("an answer without a time".into()))?;
    Ok(OffsetDateTime::now_utc() - there)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    #[serde(default)]
    alert_policies: Vec<Policy>,
    #[serde(default)]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    #[serde(default)]
    display_name: String,
    /// Absent where it is on.
    #[serde(default)]
    enabled: Option<bool>,
}

/// The names of the alerts of `project` that are on.
///
/// # Errors
/// As [`Client::call`].
pub async fn alerts(client: &Client, project: &str) -> Result<Vec<String>, GoogleError> {
    let mut names = Vec::new();
    let mut page: Option<String> = None;
    loop {
        let mut url: Url = built(&client.host().of(GOOGLE), &["v3", "projects", project, "alertPolicies"])?;
        url.query_pairs_mut()
            .append_pair("fields", "alertPolicies(displayName,enabled),nextPageToken")
            .append_pair("pageSize", "1000");
        if let Some(token) = &page {
            url.query_pairs_mut().append_pair("pageToken", token);
        }
        let what = format!("the alert policies of project {project}");
        let (service, api, method) = (SERVICE, API, Method::GET);
        let call = Call { service, api, what: what.clone(), method, url, body: None, effect: Effect::Read };
        let found: Listing = serde_json::from_slice(&client.call(&call).await?)
            .map_err(|error| GoogleError::Malformed { service: SERVICE, what, detail: place(&error) })?;
        let on = found.alert_policies.into_iter().filter(|policy| policy.enabled != Some(false));
        names.extend(on.map(|policy| policy.display_name));
        page = found.next_page_token.filter(|token| !token.is_empty());
        if page.is_none() {
            return Ok(names);
        }
    }
}

//! Tokens of the metadata server, which every machine at Google has, with the scopes that a call needs.
//!
//! `gcp_auth` takes whatever scopes the machine has. On Cloud Run those are `cloud-platform`, which opens neither a spreadsheet
//! nor Drive; the server gives others to whoever names them (cloud.google.com/run/docs/securing/service-identity).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use gcp_auth::{Error, Token, TokenProvider};
use reqwest::Url;
use tokio::sync::Mutex;

use super::Host;

/// Where it is on any machine at Google.
const PLACE: &str = "http://metadata.google.internal";
/// The header that both sides send.
const FLAVOR: &str = "Metadata-Flavor";
/// It is on the machine itself: who takes longer is not there.
const PATIENCE: Duration = Duration::from_secs(5);

/// The metadata server of this machine.
pub(super) struct MetadataServer {
    http: reqwest::Client,
    root: String,
    /// By scopes.
    tokens: Mutex<HashMap<String, Arc<Token>>>,
}

impl MetadataServer {
    /// The server at `host`, or else the one of this machine.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn find(host: &Host) -> Result<Self, Error> {
        crate::tls::choose();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .map_err(|error| Error::Other("no HTTP client", error.into()))?;
        let mut failed = Error::Str("no metadata server");
        for place in host.other().into_iter().chain([PLACE]) {
            let found = Self {
                http: http.clone(),
                root: format!("{place}/computeMetadata/v1"),
                tokens: Mutex::default(),
            };
            match found.project_id().await {
                Ok(_) => return Ok(found),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn get(&self, path: &str, scopes: Option<&str>) -> Result<reqwest::Response, Error> {
        let mut url = Url::parse(&format!("{}/{path}", self.root))
            .map_err(|error| Error::Other("the metadata server's address", error.into()))?;
        if let Some(scopes) = scopes {
            url.query_pairs_mut().append_pair("scopes", scopes);
        }
        let request = self.http.get(url).header(FLAVOR, "Google");
        let failed = |error: reqwest::Error| Error::Other("the metadata server", error.without_url().into());
        let answer = request.send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        // Some networks answer for every name.
        match answer.headers().get(FLAVOR) {
            Some(flavor) if flavor == "Google" => Ok(answer),
            _ => Err(Error::Str("what answers for the metadata server is none")),
        }
    }
}

#[async_trait]
impl TokenProvider for MetadataServer {
    async fn token(&self, scopes: &[&str]) -> Result<Arc<Token>, Error> {
        let scopes = scopes.join(",");
        let mut tokens = self.tokens.lock().await;
        if let Some(token) = tokens.get(&scopes).filter(|token| !token.has_expired()) {
            return Ok(token.clone());
        }
        let fetch = || self.get("instance/service-accounts/default/token", Some(&scopes));
        let patience =
            ExponentialBuilder::default().with_min_delay(Duration::from_millis(50)).with_max_times(4);
        let answer = fetch.retry(patience).await?;
        let unreadable =
            |error: reqwest::Error| Error::Other("the metadata server", error.without_url().into());
        let body = answer.bytes().await.map_err(unreadable)?;
        let token = serde_json::from_slice::<Token>(&body);
        let token = Arc::new(token.map_err(|error| Error::Json("the metadata server's token", error))?);
        tokens.insert(scopes, token.clone());
        Ok(token)
    }

    async fn project_id(&self) -> Result<Arc<str>, Error> {
        let unreadable =
            |error: reqwest::Error| Error::Other("the metadata server's project", error.without_url().into());
        Ok(self.get("project/project-id", None).await?.text().await.map_err(unreadable)?.into())
    }
}

//! Public documents that need no token, such as the keys that ID tokens are signed with.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::CACHE_CONTROL;

use super::GoogleError;

const SERVICE: &str = "Google's keys";

/// A client for public documents.
#[derive(Debug)]
pub struct Plain {
    http: reqwest::Client,
}

impl Plain {
    /// A client that waits so long for a whole document.
    ///
    /// # Errors
    /// An HTTP client that cannot be set up.
    pub fn new(patience: Duration) -> Result<Self, GoogleError> {
        crate::tls::choose();
        let http = reqwest::Client::builder().timeout(patience).build();
        Ok(Self { http: http.map_err(|error| GoogleError::Setup { detail: error.to_string() })? })
    }

    /// A document of at most `most` bytes, and how long it is good by its own word (`max-age`, RFC 9111, 5.2.2.1).
    ///
    /// # Errors
    /// A service that does not answer, refuses, or sends too much.
    pub async fn get(&self, url: &str, most: usize) -> Result<(Vec<u8>, Option<Duration>), GoogleError> {
        let failed = |last: String| GoogleError::Unavailable {
            service: SERVICE,
            what: url.to_owned(),
            attempts: 1,
            last,
            refused: false,
            after: None,
        };
        let response =
            self.http.get(url).send().await.map_err(|error| failed(error.without_url().to_string()))?;
        if !response.status().is_success() {
            return Err(failed(response.status().to_string()));
        }
        let control =
            response.headers().get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let age = control.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok());
        let mut body = Vec::new();
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            body.extend_from_slice(&piece.map_err(|error| failed(error.without_url().to_string()))?);
            if body.len() > most {
                return Err(failed(format!("more than {most} bytes")));
            }
        }
        Ok((body, age.map(Duration::from_secs)))
    }
}

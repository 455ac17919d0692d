//! Ranking of Google's Discovery Engine (`discoveryengine.v1`): records in the order in which they answer a query.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::client::{Call, Effect};
use super::drive::built;
use super::{Client, GoogleError};
use crate::models::RankingModel;

const SERVICE: &str = "Discovery Engine";
/// Most records that one call takes.
pub const MOST_RECORDS: usize = 200;

/// A record to be ranked. Beyond about 1,024 tokens the service cuts it without a word.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Heading.
    pub title: &'a str,
    /// Text.
    pub content: &'a str,
}

/// A ranking model.
#[derive(Debug)]
pub struct Ranker {
    client: Client,
    project: String,
    model: RankingModel,
}

#[derive(Deserialize)]
struct Ranked {
    #[serde(default)]
    records: Vec<Scored>,
}

#[derive(Deserialize)]
struct Scored {
    id: String,
    #[serde(default)]
    score: f32,
}

impl Ranker {
    /// `model` in a project. The service runs in Google's global location only.
    pub fn new(client: Client, project: &str, model: RankingModel) -> Self {
        Self { client, project: project.to_owned(), model }
    }

    /// The model.
    pub fn model(&self) -> &str {
        &self.model.name
    }

    /// What a call costs, US dollars: each hundred rows count as one.
    pub fn usd(&self, records: usize) -> f64 {
        records.div_ceil(100) as f64 * self.model.usd_per_call
    }

    /// The score of each record, 0 to 1, in the order of `records`, at most [`MOST_RECORDS`] of them. Scores are rounded to
    /// hundredths, so many are equal.
    ///
    /// # Errors
    /// A refusal, or an answer that lacks one of the records or names another.
    pub async fn scores(&self, query: &str, records: &[Record<'_>]) -> Result<Vec<f32>, GoogleError> {
        let listed = |(number, record): (usize, &Record<'_>)| {
            let text = |text: &str| if text.trim().is_empty() { "-".to_owned() } else { text.to_owned() };
            json!({"id": number.to_string(), "title": text(record.title), "content": text(record.content)})
        };
        let body = json!({
            "model": self.model.name,
            "query": query,
            "topN": records.len(),
            "records": records.iter().enumerate().map(listed).collect::<Vec<_>>(),
            "ignoreRecordDetailsInResponse": true,
        });
        let path = [
            "v1",
            "projects",
            &self.project,
            "locations",
            "global",
            "rankingConfigs",
            "default_ranking_config:rank",
        ];
        let url = built(&self.client.host().of("https://discoveryengine.googleapis.com"), &path)?;
        let call = Call {
            service: SERVICE,
            api: "discoveryengine.googleapis.com",
            what: format!("{} of project {}", self.model.name, self.project),
            method: Method::POST,
            url,
            body: Some(&body),
            effect: Effect::Paid,
        };
        let malformed = |detail: String| GoogleError::Malformed {
            service: SERVICE,
            what: self.model.name.clone(),
            detail,
        };
        let ranked: Ranked = serde_json::from_slice(&self.client.call(&call).await?)
            .map_err(|error| malformed(super::error::place(&error)))?;
        let mut scores = vec![None; records.len()];
        for Scored { id, score } in &ranked.records {
            let place = id.parse::<usize>().ok().and_then(|number| scores.get_mut(number));
            *place.ok_or_else(|| malformed(format!("a record {id:?} that was not asked for")))? =
                Some(*score);
        }
        let without = scores.iter().filter(|score| score.is_none()).count();
        let lacking = || malformed(format!("no score for {without} of {} records", records.len()));
        scores.into_iter().collect::<Option<_>>().ok_or_else(lacking)
    }
}

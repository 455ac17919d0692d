//! Which rows a question is limited to by whoever asks it. What he may see limits it besides.

use karute_engine::{Day, Facet, Filter};
use serde::{Deserialize, Serialize};

/// Limits of a question; each that is there must be met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Only rows of this client (利用者), by id.
    pub client_id: Option<String>,
    /// Only rows of this domain.
    pub domain: Option<String>,
    /// Only rows of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_type: Option<String>,
    /// Only rows with one of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Only rows of this day or later ones; rows without a day are none of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_from: Option<Day>,
    /// Only rows of this day or earlier ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_to: Option<Day>,
}

impl Limits {
    /// Whether the first day is not behind the last.
    pub fn in_order(&self) -> bool {
        self.date_from.zip(self.date_to).is_none_or(|(first, last)| first <= last)
    }

    /// `filter` within these limits.
    pub fn narrow(&self, mut filter: Filter) -> Filter {
        let Self { client_id, domain, source_type, tags, date_from, date_to } = self;
        let values = [(Facet::Client, client_id), (Facet::Domain, domain), (Facet::SourceType, source_type)];
        for (facet, value) in values {
            if let Some(value) = value {
                filter = filter.only(facet, [value]);
            }
        }
        if !tags.is_empty() {
            filter = filter.only(Facet::Tag, tags);
        }
        match (date_from, date_to) {
            (None, None) => filter,
            (first, last) => filter.days(first.unwrap_or(Day::FIRST), last.unwrap_or(Day::LAST)),
        }
    }
}

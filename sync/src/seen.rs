//! What is remembered of a source between two syncs: its version, and when all of it was last read.

use std::time::Duration;

use karute_engine::{Index, Store};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::source::Source;

/// What a source was like when it was last found to give a snapshot: its version, and when all of it was last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) version: String,
    /// RFC 3339; empty for a source that is always read whole.
    pub(crate) full_pass: String,
}

impl Seen {
    /// `version` alone where the source is always read whole.
    pub(crate) fn written(&self) -> String {
        match self.full_pass.is_empty() {
            true => self.version.clone(),
            false => format!("{} full-pass={}", self.version, self.full_pass),
        }
    }

    fn read(text: &str) -> Self {
        let (version, full_pass) = text.split_once(" full-pass=").unwrap_or((text, ""));
        Self { version: version.to_owned(), full_pass: full_pass.to_owned() }
    }

    /// The last time that `source` was found to give `index`: when it was built, or since.
    pub(crate) fn of(index: &Index, store: &Store, source: &dyn Source) -> Option<Self> {
        let (id, place) = (index.id().to_string(), source.place());
        let noted = store.noted();
        let noted = noted.as_deref().and_then(|note| note.strip_prefix(&id)?.strip_suffix(&place));
        let provenance = index.provenance();
        let built = (provenance.place == place).then_some(provenance.source_version.as_str());
        noted.map(str::trim).or(built).map(Self::read)
    }

    /// Whether another full pass is due at `now`.
    pub(crate) fn is_due(&self, now: OffsetDateTime, every: Duration) -> bool {
        match OffsetDateTime::parse(&self.full_pass, &Rfc3339) {
            Ok(then) => now - then >= every,
            Err(_) => true,
        }
    }
}

/// What is noted in the store when a sync has found that a source still gives the snapshot that is there: the file of
/// that snapshot is immutable, so its own provenance cannot say so.
pub(crate) fn note(index: &Index, source: &dyn Source, seen: &Seen) -> String {
    format!("{} {} {}", index.id(), seen.written(), source.place())
}

/// A moment as it is stored.
pub(crate) fn rfc3339(moment: OffsetDateTime) -> String {
    moment.to_offset(time::UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
}

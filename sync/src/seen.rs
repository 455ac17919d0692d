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
        let noted =
            noted.map(str::trim).map(|noted| noted.split_once(LOOKED).map_or(noted, |(noted, _)| noted));
        noted.or(built).map(Self::read)
    }

    /// Whether another full pass is due at `now`.
    pub(crate) fn is_due(&self, now: OffsetDateTime, every: Duration) -> bool {
        match OffsetDateTime::parse(&self.full_pass, &Rfc3339) {
            Ok(then) => now - then >= every,
            Err(_) => true,
        }
    }
}

/// Before the moment in a note.
const LOOKED: &str = " looked=";

/// What is noted in the store when a sync has found, at `now`, that a source still gives the snapshot that is there: the file of
/// that snapshot is immutable, so its own provenance cannot say so.
pub(crate) fn note(index: &Index, source: &dyn Source, seen: &Seen, now: OffsetDateTime) -> String {
    format!("{} {}{LOOKED}{} {}", index.id(), seen.written(), rfc3339(now), source.place())
}

/// When a source was last found to give `index`: when that was built, or since, by what a sync noted in `store`, or in the bucket
/// that it follows. `None` for a snapshot that does not say when it was built.
pub fn looked_at(index: &Index, store: &Store) -> Option<OffsetDateTime> {
    let parsed = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let noted = || {
        let note = store.noted()?;
        let (_, rest) = note.strip_prefix(&index.id().to_string())?.split_once(LOOKED)?;
        parsed(rest.split(' ').next()?)
    };
    parsed(&index.provenance().built_at).max(noted())
}

/// A moment as it is stored.
pub(crate) fn rfc3339(moment: OffsetDateTime) -> String {
    moment.to_offset(time::UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
}

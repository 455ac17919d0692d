//! Refusing to publish what looks like an accident: half a sheet deleted, a column renamed.

use crate::diff::diff;
use crate::error::StoreError;
use crate::index::Index;
use crate::snapshot::id::SnapshotId;

/// When a snapshot may take its parent's place. A parent of another source that has no row in common with it is another
/// matter, and not compared, as long as the new one has rows at all; nor is one that cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guard {
    /// Largest share of the parent's rows that may be missing, 0 to 1.
    pub max_lost: f64,
    /// Largest growth of the quarantine, as a share of the rows read, 0 to 1.
    pub max_quarantine_growth: f64,
    /// What must still be current: whoever began with something else would undo what was published meanwhile.
    pub after: After,
    /// Somebody ordered that everything pass that can be read back whole; the log says so.
    pub forced: bool,
}

/// What a publication was begun with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum After {
    /// That does not matter.
    #[default]
    Anything,
    /// Nothing was current.
    Nothing,
    /// This snapshot was, or what takes its place.
    Snapshot(SnapshotId),
}

impl From<Option<SnapshotId>> for After {
    fn from(current: Option<SnapshotId>) -> Self {
        current.map_or(Self::Nothing, Self::Snapshot)
    }
}

impl Default for Guard {
    fn default() -> Self {
        Self { max_lost: 0.2, max_quarantine_growth: 0.1, after: After::Anything, forced: false }
    }
}

impl Guard {
    /// Lets everything pass that can be read back whole.
    pub fn open() -> Self {
        Self { forced: true, ..Self::default() }
    }

    /// Compares `new` with the snapshot that is current.
    pub(super) fn check(&self, parent: Option<&Index>, new: &Index) -> Result<(), StoreError> {
        let refuse = |reason: String| Err(StoreError::Refused { id: new.id(), reason });
        let Some(parent) = parent.filter(|parent| parent.id() != new.id() && !self.forced) else {
            return Ok(());
        };
        // A parent that is damaged can still be counted.
        let removed = diff(parent, new).map(|diff| diff.removed.len());
        let lost = removed.unwrap_or_else(|_| parent.len().saturating_sub(new.len()) as usize);
        let (before, after) = (parent.provenance(), new.provenance());
        if before.source != after.source && lost == parent.len() as usize && !new.is_empty() {
            return Ok(());
        }
        let grown = after.rows_quarantined.saturating_sub(before.rows_quarantined);
        let limit = self.max_quarantine_growth;
        if grown as f64 > limit * after.rows_read as f64 {
            return refuse(format!(
                "{} rows are quarantined where {} were before, which is more than {} % of {}",
                after.rows_quarantined,
                before.rows_quarantined,
                limit * 100.0,
                after.rows_read
            ));
        }
        if lost as f64 > self.max_lost * f64::from(parent.len()) {
            let limit = self.max_lost * 100.0;
            return refuse(format!(
                "{lost} of the {} rows before are missing, which is more than {limit} %",
                parent.len()
            ));
        }
        Ok(())
    }
}

//! Refusing to publish what looks like an accident: half a sheet deleted, a column renamed.

use crate::diff::diff;
use crate::error::StoreError;
use crate::index::Index;
use crate::snapshot::id::SnapshotId;

/// When a snapshot may take its parent's place. A parent of another source that has no row in common with it is another
/// matter, and not compared; nor is one that cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guard {
    /// Largest share of the parent's rows that may be missing, 0 to 1.
    pub max_lost: f64,
    /// Largest growth of the quarantine, as a share of the rows read, 0 to 1.
    pub max_quarantine_growth: f64,
    /// The snapshot that must still be current: somebody who began with another one would undo what was published
    /// meanwhile. `None` where that does not matter.
    pub after: Option<SnapshotId>,
}

impl Default for Guard {
    fn default() -> Self {
        Self { max_lost: 0.2, max_quarantine_growth: 0.1, after: None }
    }
}

impl Guard {
    /// Lets everything pass that can be read back whole.
    pub fn open() -> Self {
        Self { max_lost: 1.0, max_quarantine_growth: 1.0, after: None }
    }

    /// Whether it lets everything pass.
    pub(super) fn is_open(&self) -> bool {
        self.max_lost >= 1.0 && self.max_quarantine_growth >= 1.0
    }

    /// Compares `new` with the snapshot that is current.
    pub(super) fn check(&self, parent: Option<&Index>, new: &Index) -> Result<(), StoreError> {
        let refuse = |reason: String| Err(StoreError::Refused { id: new.id(), reason });
        let Some(parent) = parent.filter(|parent| parent.id() != new.id() && !self.is_open()) else {
            return Ok(());
        };
        // A parent that is damaged can still be counted.
        let removed = diff(parent, new).map(|diff| diff.removed.len());
        let lost = removed.unwrap_or_else(|_| parent.len().saturating_sub(new.len()) as usize);
        let (before, after) = (parent.provenance(), new.provenance());
        if before.source != after.source && lost == parent.len() as usize {
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

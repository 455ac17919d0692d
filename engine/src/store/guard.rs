//! Refusing to publish what looks like an accident: half a sheet deleted, a column renamed.

use crate::diff::diff;
use crate::error::StoreError;
use crate::index::Index;

/// When a snapshot may take its parent's place. Only a parent of the same source is compared: another workbook is
/// another matter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guard {
    /// Largest share of the parent's rows that may be missing, 0 to 1.
    pub max_lost: f64,
    /// Largest growth of the quarantine, as a share of the rows read, 0 to 1.
    pub max_quarantine_growth: f64,
}

impl Default for Guard {
    fn default() -> Self {
        Self { max_lost: 0.2, max_quarantine_growth: 0.1 }
    }
}

impl Guard {
    /// Lets everything pass that can be read back whole.
    pub fn open() -> Self {
        Self { max_lost: 1.0, max_quarantine_growth: 1.0 }
    }

    /// Compares `new` with the snapshot that is current. A snapshot whose provenance says that it was forced passes.
    pub(super) fn check(&self, parent: Option<&Index>, new: &Index) -> Result<(), StoreError> {
        let (Some(parent), false) = (parent, new.provenance().forced) else { return Ok(()) };
        let (before, after) = (parent.provenance(), new.provenance());
        if before.source != after.source || parent.id() == new.id() {
            return Ok(());
        }
        let refuse = |reason: String| Err(StoreError::Refused { id: new.id(), reason });
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
        let lost =
            diff(parent, new).map_err(|source| StoreError::Open { id: new.id(), source })?.removed.len();
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

//! What a sync could use, what it mended, and what it had to leave out.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What was done about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The row (or the vector, or the term) was left out.
    Quarantined,
    /// It was used after mending what could be mended without guessing.
    Repaired,
    /// It was used as it is; somebody should look at it.
    Noted,
}

impl Action {
    /// The name that stands in JSON.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Quarantined => "quarantined",
            Self::Repaired => "repaired",
            Self::Noted => "noted",
        }
    }
}

macro_rules! reasons {
    ($($variant:ident, $code:literal, $meaning:literal;)*) => {
        /// Why a row is in the report.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Reason { $(#[doc = $meaning] $variant,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// The name that stands in JSON.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }
            /// What it means, for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

reasons! {
    EmptyId, "empty_id", "the row has no id";
    EmptyContent, "empty_content", "the row has neither title nor content";
    DuplicateSame, "duplicate_same", "another row has the same id and the same content";
    DuplicateDifferent, "duplicate_different", "a newer row has the same id but other content";
    ShiftedColumns, "shifted_columns", "14 cells under 15 headers: the cells behind tags were moved one to the right";
    NoHeader, "no_header", "a cell stands under no header and is left out: name the column in row 1";
    DateFormat, "date_format", "the date was written in another form than YYYY-MM-DD";
    DateUnreadable, "date_unreadable", "the date cannot be read and was left empty";
    MissingClient, "missing_client", "no client is named";
    PlaceholderClient, "placeholder_client", "the client is a placeholder such as unknown, taken as none";
    OddClient, "odd_client", "the client id has another form than nearly all others (a staff id?)";
    MissingSourceId, "missing_source_id", "the row does not say which record it came from";
    InvalidJson, "invalid_json", "structured_data or metadata is not a JSON object; kept as text";
    OversizedCell, "oversized_cell", "a cell is close to the 50,000 characters that a sheet can hold";
    FormulaLike, "formula_like", "a text begins like a formula";
    Instruction, "instruction", "the text tries to give instructions to a model; it is only ever quoted as data";
    Forgotten, "forgotten", "the client of the row is to be forgotten (karute forget): nothing of it is taken in";
    NoWords, "no_words", "the text holds no word to search by; the row can only be listed";
    TextCut, "text_cut", "the text is longer than the model reads; its vector is made from the beginning";
    NoVector, "no_vector", "the record has no usable vector, so only its words can be found; --embed-missing makes one";
    OrphanVector, "orphan_vector", "no record has this vector's id";
    VectorDuplicate, "vector_duplicate", "an earlier vector has the same id";
    VectorOfDuplicate, "vector_of_duplicate", "several different records share this vector's id, so whose it is cannot be told";
    VectorUnparsable, "vector_unparsable", "the vector cells are not lists of numbers";
    VectorIncomplete, "vector_incomplete", "a part of the vector is missing";
    VectorDimension, "vector_dimension", "the vector has another number of dimensions than it says, or than its model has";
    VectorNotFinite, "vector_not_finite", "a number of the vector is not finite";
    VectorZero, "vector_zero", "all numbers of the vector are zero";
    VectorNotUnit, "vector_not_unit", "the vector is not of unit length; it was scaled";
    VectorOtherModel, "vector_other_model", "the vector was made by another model than the one in use";
    VectorStale, "vector_stale", "the text of the record changed after its vector was made";
    VectorOldLayout, "vector_old_layout", "the vector stands in the old layout (one cell) under the new header";
    TermSynonyms, "term_synonyms", "the synonyms are not a JSON list; they were split at commas";
    TermEmpty, "term_empty", "the term has no canonical form";
    ClientColumns, "client_columns", "the sheet of clients has no columns client_id and name, so it was left out";
    ClientUnnamed, "client_unnamed", "the line of clients has no id, or no name of at most 40 characters";
    ClientDuplicate, "client_duplicate", "an earlier line of clients has the same id";
}

/// One thing worth knowing about one row. Holds no record text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was done.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// Sheet in which the row stands.
    pub sheet: String,
    /// Row number as a person sees it.
    pub row: u32,
    /// The row's id, where it has one.
    pub id: String,
}

/// The data-quality report of one sync. Equal sources give equal reports: it holds no times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualityReport {
    /// Records in the source.
    pub records: u64,
    /// Records in the snapshot.
    pub used: u64,
    /// Of those, records that were mended first.
    pub repaired: u64,
    /// Records left out.
    pub quarantined: u64,
    /// Vectors in the source.
    pub vectors: u64,
    /// Vectors taken from the source.
    pub vectors_used: u64,
    /// Vectors left out of the source's.
    pub vectors_quarantined: u64,
    /// Vectors computed because the source had no usable one.
    pub vectors_computed: u64,
    /// Medical terms in the snapshot.
    pub terms: u64,
    /// Number of the records' sheet in links, `#gid=`; absent where the source has no links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<i64>,
    /// Everything that is not plainly used, in the order of sheets and rows.
    pub findings: Vec<Finding>,
}

impl QualityReport {
    /// How often each reason occurs, with what was done about it.
    pub fn by_reason(&self) -> BTreeMap<(Action, Reason), u64> {
        let mut counts = BTreeMap::new();
        for finding in &self.findings {
            *counts.entry((finding.action, finding.reason)).or_default() += 1;
        }
        counts
    }
}

impl QualityReport {
    /// Whether there is a finding for this reason.
    pub fn has(&self, reason: Reason) -> bool {
        self.findings.iter().any(|finding| finding.reason == reason)
    }

    /// How often there is a finding for this reason.
    pub fn count(&self, reason: Reason) -> u64 {
        self.findings.iter().filter(|finding| finding.reason == reason).count() as u64
    }

    /// The worst that was done about any row, vector or term: `None` where everything is used as it is.
    pub fn worst(&self) -> Option<Action> {
        let acted = self.findings.iter().map(|finding| finding.action);
        acted.filter(|action| *action != Action::Noted).min()
    }

    /// The findings as CSV with a header line: action, reason, meaning, sheet, row, id.
    ///
    /// # Errors
    /// A text that CSV cannot hold, which there is none of.
    pub fn to_csv(&self) -> Result<String, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["action", "reason", "meaning", "sheet", "row", "id"])?;
        for Finding { action, reason, sheet, row, id } in &self.findings {
            // A spreadsheet program that opens the report must not take an id for a formula.
            let id =
                if id.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{id}") } else { id.clone() };
            writer.write_record([
                action.code(),
                reason.code(),
                reason.meaning(),
                sheet,
                &row.to_string(),
                &id,
            ])?;
        }
        let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl fmt::Display for QualityReport {
    /// A table for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, used, repaired, quarantined, vectors, vectors_used, vectors_computed, .. } = self;
        writeln!(
            f,
            "records  {records} read: {used} used ({repaired} of them repaired), {quarantined} quarantined"
        )?;
        writeln!(
            f,
            "vectors  {vectors} read: {vectors_used} used, {} quarantined; {vectors_computed} computed",
            self.vectors_quarantined
        )?;
        writeln!(f, "terms    {}", self.terms)?;
        for ((action, reason), count) in self.by_reason() {
            writeln!(f, "  {count:>5} {:<11} {:<20} {}", action.code(), reason.code(), reason.meaning())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_called_in_json_what_its_code_says() {
        for &reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).expect("a name"), reason.code());
        }
    }
}

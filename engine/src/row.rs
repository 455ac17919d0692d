//! What a snapshot remembers of a source: rows, names, terms and provenance. The one place where archived types live.

use rkyv::{Archive, Deserialize, Serialize};

/// One record, as its source gives it. Texts are kept as they were written; dates are `YYYY-MM-DD` or empty.
#[derive(
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    Archive,
    Serialize,
    Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Row {
    /// Unique within a snapshot, never empty.
    pub id: String,
    /// Area of work: `nursing`, `clients`, `calls`, `sales`.
    pub domain: String,
    /// Kind of record: `care_record`, `call_summary`, ...
    pub source_type: String,
    /// Table that the record came from in the system of record.
    pub source_table: String,
    /// The record's key in that table.
    pub source_id: String,
    /// The client (利用者) whom the record is about; empty when nobody is named.
    pub client_id: String,
    /// Heading.
    pub title: String,
    /// Full text.
    pub content: String,
    /// A JSON object as text, or empty.
    pub structured_data: String,
    /// A JSON object as text, or empty.
    pub metadata: String,
    /// Labels.
    pub tags: Vec<String>,
    /// Words that the source chose for keyword search.
    pub keywords: Vec<String>,
    /// Day that the record is about, `YYYY-MM-DD`, or empty.
    pub date: String,
    /// When the source created the row, as written there.
    pub created_at: String,
    /// When the source last changed the row, as written there.
    pub updated_at: String,
    /// Where the row stands in its source.
    pub origin: Origin,
}

/// The place of a row in its source, for citations.
#[derive(
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    Archive,
    Serialize,
    Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Origin {
    /// Spreadsheet: an id, or a file's name.
    pub spreadsheet: String,
    /// Sheet (tab) name.
    pub sheet: String,
    /// Row number as a person sees it: the header is row 1.
    pub row_number: u32,
    /// BLAKE3 of the row's cells, so that a later change of the row can be told.
    pub cell_digest: [u8; 32],
}

/// What a client (利用者) is called.
#[derive(
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    Archive,
    Serialize,
    Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct ClientName {
    /// Id, as in [`Row::client_id`]; never empty.
    pub id: String,
    /// Family and given name, one space between them.
    pub name: String,
    /// The same in kana; may be empty.
    pub name_kana: String,
}

/// A medical term and the other words for it.
#[derive(
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    Archive,
    Serialize,
    Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Term {
    /// Id in the source.
    pub id: String,
    /// The preferred word.
    pub canonical: String,
    /// Other words with the same meaning.
    pub synonyms: Vec<String>,
    /// Kind of term: 症状, 薬剤, ...
    pub category: String,
}

/// How a snapshot came to be. It is stored in the file but is no part of the snapshot's id: the same rows sealed on
/// two days are the same snapshot.
#[derive(
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    Archive,
    Serialize,
    Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Provenance {
    /// What the rows were read from, for people.
    pub source: String,
    /// Where exactly that source is: a full path, an address. Two sources may share a name.
    pub place: String,
    /// Fingerprint of that source's state when it was read.
    pub source_version: String,
    /// Rows that the source held.
    pub rows_read: u64,
    /// Rows that were left out, with a reason each in the quality report.
    pub rows_quarantined: u64,
    /// Id of the snapshot that was current before, or empty.
    pub parent: String,
    /// Name and version of the program that sealed the snapshot.
    pub builder: String,
    /// When it was sealed, RFC 3339 in UTC.
    pub built_at: String,
    /// Whether somebody ordered that it be published whatever the guard says.
    pub forced: bool,
}

//! A retrieved row as clients know it.

use karute_engine::{Row, SnapshotId};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::retrieve::Evidence;
use crate::retrieve::explain::Same;

/// A row in an answer's context or in search results.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KnowledgeItem {
    id: String,
    domain: String,
    source_type: String,
    source_table: String,
    source_id: String,
    title: String,
    content: String,
    score: f32,
    date: Option<String>,
    tags: Vec<String>,
    metadata: Map<String, Value>,
    /// Always null: vectors are of no use to a client, and 3,072 numbers long.
    embedding: Option<Vec<f32>>,
}

impl From<&Evidence> for KnowledgeItem {
    fn from(Evidence { row, similarity, by_vector, by_words, score, same, .. }: &Evidence) -> Self {
        let mut metadata: Map<String, Value> = serde_json::from_str(&row.metadata).unwrap_or_default();
        metadata.insert("similarity".into(), json!(similarity));
        metadata.insert("rank_by_vector".into(), json!(by_vector));
        metadata.insert("rank_by_words".into(), json!(by_words));
        metadata.insert("client_id".into(), json!(row.client_id));
        if !same.is_empty() {
            metadata.insert("same".into(), json!(same.iter().map(Same::of).collect::<Vec<_>>()));
        }
        metadata.insert(
            "origin".into(),
            json!({
                "spreadsheet": row.origin.spreadsheet,
                "sheet": row.origin.sheet,
                "row": row.origin.row_number,
            }),
        );
        Self {
            id: row.id.clone(),
            domain: row.domain.clone(),
            source_type: row.source_type.clone(),
            source_table: row.source_table.clone(),
            source_id: row.source_id.clone(),
            title: row.title.clone(),
            content: row.content.clone(),
            score: *score,
            date: Some(row.date.clone()).filter(|date| !date.is_empty()),
            tags: row.tags.clone(),
            metadata,
            embedding: None,
        }
    }
}

/// A row of a snapshot, whole.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RowItem {
    id: String,
    domain: String,
    source_type: String,
    source_table: String,
    source_id: String,
    client_id: String,
    title: String,
    content: String,
    date: Option<String>,
    tags: Vec<String>,
    created_at: String,
    updated_at: String,
    /// Where the row stands.
    origin: Place,
    /// The snapshot that it is from.
    snapshot_id: String,
}

/// Where a row stands in its source.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Place {
    /// A spreadsheet's id, or a file's name.
    spreadsheet: String,
    sheet: String,
    /// As a person sees it: the header is row 1.
    row: u32,
    /// A link that a browser can open.
    link: Option<String>,
}

impl RowItem {
    /// `row` of this snapshot.
    pub(super) fn new(row: Row, snapshot: SnapshotId, link: Option<String>) -> Self {
        let origin = row.origin;
        Self {
            id: row.id,
            domain: row.domain,
            source_type: row.source_type,
            source_table: row.source_table,
            source_id: row.source_id,
            client_id: row.client_id,
            title: row.title,
            content: row.content,
            date: Some(row.date).filter(|date| !date.is_empty()),
            tags: row.tags,
            created_at: row.created_at,
            updated_at: row.updated_at,
            origin: Place {
                spreadsheet: origin.spreadsheet,
                sheet: origin.sheet,
                row: origin.row_number,
                link,
            },
            snapshot_id: snapshot.to_string(),
        }
    }
}

/// All of them, in order.
pub(super) fn items(evidence: &[Evidence]) -> Vec<KnowledgeItem> {
    evidence.iter().map(KnowledgeItem::from).collect()
}

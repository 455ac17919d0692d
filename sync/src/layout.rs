//! The four sheets as karute makes them: names, headers, colours.

use serde_json::{Value, json};

use crate::google::sheets;
use crate::google::{Client, GoogleError};
use crate::source::SheetNames;

/// Header of the records.
pub const KNOWLEDGE_BASE: &[&str] = &[
    "id",
    "domain",
    "source_type",
    "source_table",
    "source_id",
    "user_id",
    "title",
    "content",
    "structured_data",
    "metadata",
    "tags",
    "bm25_keywords",
    "date",
    "created_at",
    "updated_at",
];
/// Header of the vectors.
pub const EMBEDDINGS: &[&str] =
    &["kb_id", "model", "dimension", "embedding_part1", "embedding_part2", "embedding_part3", "created_at"];
/// Header of the medical terms.
pub const MEDICAL_TERMS: &[&str] =
    &["term_id", "canonical", "synonyms", "category", "umls_cui", "frequency", "created_at"];
/// Header of the conversations.
pub const CHAT_HISTORY: &[&str] = &[
    "session_id",
    "user_id",
    "role",
    "message",
    "context_ids",
    "suggested_terms",
    "term_feedback",
    "timestamp",
];

/// What was made and what was there already.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Made {
    /// Sheets that were made.
    pub made: Vec<String>,
    /// Sheets that were there; nothing of them was touched.
    pub kept: Vec<String>,
}

/// Makes the sheets that spreadsheet `id` lacks: a frozen, coloured header, a filter, and every column as plain text, so
/// that nothing typed into it becomes a date, a number or a formula.
///
/// # Errors
/// As [`Client::call`].
pub async fn create(client: &Client, id: &str, names: &SheetNames) -> Result<Made, GoogleError> {
    let SheetNames { knowledge_base, embeddings, medical_terms, chat_history, .. } = names;
    let wanted = [
        (knowledge_base, KNOWLEDGE_BASE, 0x0042_85F4),
        (embeddings, EMBEDDINGS, 0x0034_A853),
        (medical_terms, MEDICAL_TERMS, 0x00FB_BC04),
        (chat_history, CHAT_HISTORY, 0x00EA_4335),
    ];
    let there = sheets::tabs(client, id).await?;
    let mut result = Made::default();
    let mut gid = there.iter().map(|tab| tab.gid).max().unwrap_or(0);
    let mut changes = Vec::new();
    for (name, header, colour) in wanted {
        if there.iter().any(|tab| tab.title == *name) {
            result.kept.push(name.clone());
            continue;
        }
        gid += 1;
        changes.extend(requests(name, gid, header, colour));
        result.made.push(name.clone());
    }
    // In one call, which is carried out whole or not at all: no sheet is left without its header.
    if !changes.is_empty() {
        sheets::change(client, id, &changes).await?;
    }
    Ok(result)
}

fn requests(name: &str, gid: i64, header: &[&str], colour: u32) -> Vec<Value> {
    let columns = header.len();
    let part = |shift: u32| f64::from((colour >> shift) & 0xFF) / 255.0;
    let colour = json!({"red": part(16), "green": part(8), "blue": part(0)});
    let range = |rows: Option<u32>| {
        let mut range =
            json!({"sheetId": gid, "startRowIndex": 0, "startColumnIndex": 0, "endColumnIndex": columns});
        if let Some(rows) = rows {
            range["endRowIndex"] = json!(rows);
        }
        range
    };
    vec![
        json!({"addSheet": {"properties": {
            "sheetId": gid, "title": name,
            "gridProperties": {"rowCount": 1_000, "columnCount": columns, "frozenRowCount": 1, "frozenColumnCount": 1},
        }}}),
        json!({"repeatCell": {
            "range": range(None),
            "cell": {"userEnteredFormat": {"numberFormat": {"type": "TEXT"}}},
            "fields": "userEnteredFormat.numberFormat",
        }}),
        json!({"repeatCell": {
            "range": range(Some(1)),
            "cell": {"userEnteredFormat": {"backgroundColor": colour, "textFormat": {"bold": true}}},
            "fields": "userEnteredFormat(backgroundColor,textFormat)",
        }}),
        json!({"updateCells": {
            "start": {"sheetId": gid, "rowIndex": 0, "columnIndex": 0},
            "rows": [{"values": header.iter().map(|name| json!({"userEnteredValue": {"stringValue": name}})).collect::<Value>()}],
            "fields": "userEnteredValue",
        }}),
        json!({"setBasicFilter": {"filter": {"range": range(None)}}}),
    ]
}

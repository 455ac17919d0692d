//! `karute privacy`: what leaves this machine, where to, and how to switch it off.

use serde::Serialize;

use super::{Outcome, print_json};
use crate::config::{AnswererKind, EmbedderKind, RerankerKind, Settings};
use crate::setup;

/// One thing that leaves this machine.
#[derive(Debug, Serialize)]
struct Leaving {
    what: &'static str,
    #[serde(rename = "where")]
    place: String,
    when: &'static str,
    off: &'static str,
}

/// Everything that leaves this machine by these settings.
fn leaving(settings: &Settings) -> Vec<Leaving> {
    let mut all = Vec::new();
    let mut add = |what, place: String, when, off| all.push(Leaving { what, place, when, off });
    let google = |service: &str| match settings.google_endpoint.other() {
        Some(other) => format!("{service} at {other} (KARUTE_GOOGLE_ENDPOINT)"),
        None => format!("Google, {service}"),
    };
    let location = &settings.gcp_location;
    let embeds = match settings.embedder {
        EmbedderKind::Vertex => true,
        EmbedderKind::Lexical => false,
        EmbedderKind::Auto => setup::from_sheets(settings),
    };
    if embeds {
        let place = google(&format!("Vertex AI in {location}"));
        add(
            "the text of every question, to be embedded",
            place.clone(),
            "at each question that is not in the cache",
            "KARUTE_EMBEDDER=lexical",
        );
        add(
            "titles and texts of records without a vector, to be embedded",
            place.clone(),
            "only at `karute sync --embed-missing`",
            "leave --embed-missing out",
        );
        add(
            "titles and texts of all records, to be embedded anew",
            place.clone(),
            "only at `karute sync --re-embed`",
            "leave --re-embed out",
        );
        add(
            "whatever texts a client sends to /v1/embeddings, and the questions of `karute eval`",
            place,
            "at each such call",
            "KARUTE_EMBEDDER=lexical",
        );
    }
    if settings.recall_questions.is_some() && embeds {
        add(
            "the questions of KARUTE_RECALL_QUESTIONS",
            google(&format!("Vertex AI in {location}, model {}", settings.embedding_model)),
            "only at `karute sync --embed-missing` and `karute snapshot verify --recall`",
            "KARUTE_RECALL_QUESTIONS empty",
        );
    }
    if !embeds && !settings.gcp_project.is_empty() {
        add(
            "titles and contents of records",
            google(&format!("Vertex AI in {location}")),
            "only at `karute sync --re-embed MODEL` with a model of Google's",
            "do not run that",
        );
    }
    let answerers = match settings.answerers.0.as_slice() {
        [] if setup::is_paid(settings) => &[AnswererKind::Vertex][..],
        kinds => kinds,
    };
    for kind in answerers {
        match kind {
            AnswererKind::Extractive => {}
            AnswererKind::Vertex => add(
                "the question, earlier ones of the conversation with their answers, and the records found",
                google(&format!("Vertex AI in {location}, model {}", settings.generation_model)),
                "at each question that the records answer",
                "KARUTE_ANSWERERS=extractive",
            ),
            AnswererKind::OpenAi => add(
                "the question, earlier ones of the conversation with their answers, and the records found",
                format!("{} (KARUTE_OPENAI_URL)", settings.openai_url),
                "at each question that the records answer",
                "KARUTE_ANSWERERS=extractive",
            ),
        }
    }
    if settings.reranker == RerankerKind::Vertex {
        add(
            "the question and the records found, to be ranked",
            google("Discovery Engine in the location global"),
            "at each search",
            "KARUTE_RERANKER=local",
        );
    }
    if setup::from_sheets(settings) {
        add(
            "the id of the spreadsheet, to read records from it",
            google("Sheets and Drive"),
            "at each sync",
            "KARUTE_SOURCE=workbook",
        );
        add(
            "vectors that were made here, written to the Embeddings sheet",
            google("Sheets"),
            "only at `karute sync --embed-missing --write-back`",
            "leave --write-back out",
        );
        add(
            "a copy of the whole spreadsheet, kept in Drive",
            google("Drive"),
            "only at `karute backup`",
            "karute backup --files-only",
        );
        add(
            "a conversation, appended to the ChatHistory sheet",
            google("Sheets"),
            "only when its owner exports it",
            "do not export",
        );
    }
    if settings.cost_log.is_some() {
        add(
            "callers' names, models, tokens and yen of each paid call; no question, no record",
            google("Sheets"),
            "every half minute",
            "COST_LOG_SPREADSHEET_ID empty",
        );
    }
    if let Some(bucket) = &settings.bucket {
        add(
            "whole snapshots, records and all",
            bucket.to_string(),
            "only at `karute snapshot push`",
            "KARUTE_BUCKET empty",
        );
        add(
            "nothing but the request for the snapshot that is current there",
            bucket.to_string(),
            "at each start, and at `karute snapshot pull`",
            "KARUTE_BUCKET empty",
        );
    }
    if settings.database.reveal().is_some() {
        add(
            "conversations, answers, feedback, the ledger and the audit",
            "PostgreSQL of DATABASE_URL".into(),
            "at each question",
            "DATABASE_URL empty",
        );
    }
    if !settings.firebase_project.is_empty() || !settings.google_clients.0.is_empty() {
        add(
            "nothing but the request for the public keys of ID tokens",
            google("its published keys"),
            "about every hour",
            "FIREBASE_PROJECT_ID and KARUTE_GOOGLE_CLIENT_IDS empty",
        );
    }
    all
}

pub(super) fn run(settings: &Settings, json: bool) -> Outcome {
    let leaving = leaving(settings);
    if json {
        return print_json(&leaving);
    }
    if leaving.is_empty() {
        return Ok(say!("Nothing leaves this machine.")?);
    }
    for Leaving { what, place, when, off } in &leaving {
        say!("{what}\n    to {place}\n    {when}; to switch it off: {off}")?;
    }
    Ok(())
}

//! The hand-written records, filled up from templates to the size and the proportions of a workbook in use.

use std::collections::BTreeMap;
use std::io;

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::{Date, Duration, Month};

use super::templates::{Filler, Template};
use super::{CLIENTS, KINDS, ROWS, read_lines};

/// A record as its file has it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Record {
    pub(super) client: String,
    pub(super) source_type: String,
    pub(super) date: String,
    pub(super) title: String,
    pub(super) content: String,
    pub(super) tags: Vec<String>,
    pub(super) keywords: Vec<String>,
    #[serde(default)]
    pub(super) structured: Map<String, Value>,
    pub(super) staff: String,
}

#[derive(Debug, Deserialize)]
struct TermLine {
    canonical: String,
    synonyms: Vec<String>,
    category: String,
}

const WRITTEN: [&str; 3] = ["records-a.jsonl", "records-b.jsonl", "records-c.jsonl"];

/// Every record as a row of 15 cells, in the order of their dates.
pub(super) fn all(random: &mut ChaCha8Rng) -> io::Result<Vec<Vec<String>>> {
    let mut records: Vec<Record> = Vec::with_capacity(ROWS);
    for name in WRITTEN {
        records.extend(read_lines::<Record>(name)?);
    }
    let mut templates: BTreeMap<String, Vec<Template>> = BTreeMap::new();
    for template in read_lines::<Template>("templates.jsonl")? {
        templates.entry(template.source_type.clone()).or_default().push(template);
    }
    for (kind, _, count) in KINDS {
        let written = records.iter().filter(|record| record.source_type == kind).count();
        if written > count {
            return Err(io::Error::other(format!(
                "{written} records of {kind} are written, {count} are wanted"
            )));
        }
        let Some(templates) = templates.get_mut(kind) else {
            if written == count {
                continue;
            }
            return Err(io::Error::other(format!(
                "{count} records of {kind} are wanted, {written} are written"
            )));
        };
        templates.shuffle(random);
        for number in written..count {
            let (client, name, _) = *CLIENTS.choose(random).unwrap_or(&CLIENTS[0]);
            let date = day(random);
            let filler = Filler::new(client, name, date, random);
            records.push(filler.fill(&templates[number % templates.len()], random));
        }
    }
    // Of one day in the order of writing, as a station's sheet grows.
    records.sort_by(|a, b| a.date.cmp(&b.date));
    Ok(records.iter().enumerate().map(|(number, record)| cells(number, record)).collect())
}

fn day(random: &mut ChaCha8Rng) -> Date {
    let first = Date::from_calendar_date(2026, Month::April, 1).unwrap_or(Date::MIN);
    first + Duration::days(random.random_range(0..214))
}

/// The table of the system of record that a kind comes from.
fn table(kind: &str) -> &'static str {
    match kind {
        "call_summary" | "call_qa" => "Call_Logs",
        "thread" => "Threads",
        "care_record" => "Care_Records",
        "plan_evaluation" => "Plan_Evaluations",
        "report" => "Visit_Reports",
        "care_plan" => "Care_Plans",
        "facesheet" => "Facesheets",
        "family_info" => "Family_Members",
        _ => "Clients",
    }
}

fn cells(number: usize, record: &Record) -> Vec<String> {
    let domain =
        KINDS.iter().find(|(kind, ..)| *kind == record.source_type).map_or("", |(_, domain, _)| domain);
    let source_id = format!("{:08x}", (number as u32 + 1).wrapping_mul(0x9E37_79B1));
    // Both of the forms that ids had: batches named the source, the hooks counted within a day.
    let id = match domain {
        "nursing" => format!("KB_nursing_{}_{:05}", record.date.replace('-', ""), number + 1),
        domain => format!("{domain}_{}_{source_id}", record.source_type),
    };
    let moment = format!("{} {:02}:{:02}:00", record.date, 8 + number % 11, number * 7 % 60);
    vec![
        id,
        domain.to_owned(),
        record.source_type.clone(),
        table(&record.source_type).to_owned(),
        source_id,
        record.client.clone(),
        record.title.clone(),
        record.content.clone(),
        structured(record),
        json!({ "staff": record.staff }).to_string(),
        record.tags.join(","),
        record.keywords.join(";"),
        record.date.clone(),
        moment.clone(),
        moment,
    ]
}

/// What the system of record keeps in fields of their own; of a client's basic record also how the name is read.
fn structured(record: &Record) -> String {
    let mut fields = record.structured.clone();
    if record.source_type == "client_info"
        && let Some((.., kana)) = CLIENTS.iter().find(|(client, ..)| *client == record.client)
    {
        fields.insert("フリガナ".into(), Value::from(*kana));
    }
    if fields.is_empty() { String::new() } else { Value::from(fields).to_string() }
}

/// The MedicalTerms sheet's rows.
pub(super) fn terms() -> io::Result<Vec<Vec<String>>> {
    let lines = read_lines::<TermLine>("terms.jsonl")?;
    let row = |(number, line): (usize, TermLine)| {
        vec![
            format!("TERM_{:05}", number + 1),
            line.canonical,
            json!(line.synonyms).to_string(),
            line.category,
            String::new(),
            "0".into(),
            "2026-04-01 09:00:00".into(),
        ]
    };
    Ok(lines.into_iter().enumerate().map(row).collect())
}

/// A conversation, so that the ChatHistory sheet shows its form.
pub(super) fn chat() -> Vec<Vec<String>> {
    let turn = |role: &str, message: &str, second: u32| {
        ["sample-session", "sample-user", role, message, "[]", "[]", "{}"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("2026-10-31T09:00:{second:02}+09:00")])
            .collect()
    };
    vec![turn("user", "久保田さんのバルーンの交換はいつですか", 0), turn("assistant", "（例）", 2)]
}
